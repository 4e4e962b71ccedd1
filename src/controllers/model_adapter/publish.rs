// SPDX-License-Identifier: Apache-2.0
//! Third stage: Service and EndpointSlice, changed only where they differ. Pure.

use std::net::IpAddr;

use k8s_openapi::{
    api::{core::v1::Service, discovery::v1::EndpointSlice},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use serde_json::{Map, Value, json};

use crate::api::keys::{MODEL_NAME, SERVICE_NAME_LABEL, model_adapter::NAME_LABEL};
use kube_fenced_election::clock::Timestamp;
use kube_loops::{
    rollout::controller_ref::{adoption_patch, controller_of},
    runtime::children::ChildRef,
};

use super::{
    objects::{build_endpoint_slice, build_service, common_port},
    snapshot::{ChildSeen, PodSeen, ServiceContent, SliceContent, Snapshot},
    status,
    steps::{Plan, Step},
};

/// Makes the Service what it has to be for these instances.
pub(super) fn ensure_service(
    plan: &mut Plan,
    seen: &Snapshot,
    instances: &[&PodSeen],
    now: Timestamp,
) -> Option<Step> {
    let want = || build_service(&seen.adapter, port_of(seen, instances));
    match &seen.service {
        ChildSeen::Foreign => {
            warn_of_conflict(plan, seen);
            None
        }
        ChildSeen::Orphan { child, owners, content } => {
            let want = want();
            let patch = adopted(child, owners, &want.metadata, service_patch(content, &want))?;
            Some(Step::PatchService { child: child.clone(), patch })
        }
        ChildSeen::Absent if seen.caught_up => {
            let refused = plan.remember.refused.as_ref().is_some_and(|refused| {
                refused.generation == seen.adapter.metadata.generation && now < refused.until
            });
            (!refused).then(|| Step::CreateService(Box::new(want())))
        }
        ChildSeen::Ours { child, leaving: false, content } if seen.caught_up => {
            let patch = service_patch(content, &want())?;
            Some(Step::PatchService { child: child.clone(), patch })
        }
        ChildSeen::Absent | ChildSeen::Ours { .. } => None,
    }
}

/// Makes the EndpointSlice lead to these instances.
pub(super) fn ensure_slice(plan: &mut Plan, seen: &Snapshot, instances: &[&PodSeen]) -> Option<Step> {
    match &seen.slice {
        ChildSeen::Foreign => {
            warn_of_conflict(plan, seen);
            None
        }
        ChildSeen::Orphan { .. } => adopted_slice(seen, instances),
        ChildSeen::Absent if seen.caught_up && !refuses_service(plan, seen) => {
            Some(Step::CreateSlice(Box::new(slice_for(seen, instances))))
        }
        ChildSeen::Ours { child, leaving: false, content } if seen.caught_up => {
            let want = slice_for(seen, instances);
            if content.address_type != want.address_type {
                return Some(Step::DeleteSlice { child: child.clone() });
            }
            let patch = slice_patch(content, &want)?;
            Some(Step::PatchSlice { child: child.clone(), patch })
        }
        ChildSeen::Absent | ChildSeen::Ours { .. } => None,
    }
}

/// Takes all endpoints out of an EndpointSlice of ours.
pub(super) fn empty_slice(seen: &Snapshot) -> Option<Step> {
    match &seen.slice {
        ChildSeen::Ours { child, leaving: false, content } if !content.endpoints.is_empty() => {
            Some(Step::PatchSlice { child: child.clone(), patch: json!({"endpoints": []}) })
        }
        ChildSeen::Orphan { .. } => adopted_slice(seen, &[]),
        ChildSeen::Absent | ChildSeen::Foreign | ChildSeen::Ours { .. } => None,
    }
}

/// Whether the Service is known to be impossible: then nothing is published.
pub(super) fn refuses_service(plan: &Plan, seen: &Snapshot) -> bool {
    seen.service == ChildSeen::Absent
        && plan
            .remember
            .refused
            .as_ref()
            .is_some_and(|refused| refused.generation == seen.adapter.metadata.generation)
}

fn warn_of_conflict(plan: &mut Plan, seen: &Snapshot) {
    for message in seen.conflicts(&status::full_name(&seen.adapter)) {
        plan.warn_once(status::RESOURCE_CONFLICT, message);
    }
}

/// Adopts an EndpointSlice that nobody controls, with these endpoints. One of another family of addresses is replaced
/// once it is ours.
fn adopted_slice(seen: &Snapshot, instances: &[&PodSeen]) -> Option<Step> {
    let ChildSeen::Orphan { child, owners, content } = &seen.slice else { return None };
    let want = slice_for(seen, instances);
    let change = if content.address_type == want.address_type {
        slice_patch(content, &want)
    } else {
        Some(json!({"endpoints": []}))
    };
    let patch = adopted(child, owners, &want.metadata, change)?;
    Some(Step::PatchSlice { child: child.clone(), patch })
}

/// `change`, with which a child becomes ours as well.
fn adopted(
    child: &ChildRef,
    owners: &[OwnerReference],
    want: &ObjectMeta,
    change: Option<Value>,
) -> Option<Value> {
    let have = ObjectMeta {
        uid: Some(child.uid.clone()),
        resource_version: Some(child.version.clone()),
        owner_references: Some(owners.to_vec()),
        ..ObjectMeta::default()
    };
    let mut patch = change.unwrap_or_else(|| json!({}));
    json_patch::merge(&mut patch, &adoption_patch(&have, controller_of(want)?));
    Some(patch)
}

/// Where the instances listen; without any, where the candidates do.
fn port_of(seen: &Snapshot, instances: &[&PodSeen]) -> u16 {
    if instances.is_empty() {
        if let ChildSeen::Ours { content, .. } = &seen.service
            && let Some(port) = content.ports.first().and_then(target_port)
        {
            return port;
        }
        return common_port(seen.pods.iter().map(|pod| pod.port));
    }
    common_port(instances.iter().map(|pod| pod.port))
}

fn target_port(port: &k8s_openapi::api::core::v1::ServicePort) -> Option<u16> {
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    match port.target_port.as_ref()? {
        IntOrString::Int(port) => u16::try_from(*port).ok(),
        IntOrString::String(_) => None,
    }
}

fn slice_for(seen: &Snapshot, instances: &[&PodSeen]) -> EndpointSlice {
    let addresses: Vec<IpAddr> = instances.iter().filter_map(|pod| pod.facts.ip).collect();
    build_endpoint_slice(&seen.adapter, &addresses, port_of(seen, instances))
}

/// What of the Service has to change; `None`: nothing. Labels of others and the cluster IP stay.
pub(super) fn service_patch(have: &ServiceContent, want: &Service) -> Option<Value> {
    let labels = want.metadata.labels.clone().unwrap_or_default();
    let annotations = want.metadata.annotations.clone().unwrap_or_default();
    let mut metadata = Map::new();
    let mut set = |group: &str, key: &str, have: &Option<String>, want: Option<&String>| {
        if have.as_ref() != want {
            let group = metadata.entry(group).or_insert_with(|| json!({}));
            if let Some(group) = group.as_object_mut() {
                group.insert(key.to_owned(), json!(want));
            }
        }
    };
    set("labels", NAME_LABEL, &have.name_label, labels.get(NAME_LABEL));
    set("labels", MODEL_NAME, &have.model_label, labels.get(MODEL_NAME));
    set("annotations", MODEL_NAME, &have.model_annotation, annotations.get(MODEL_NAME));
    let ports = want.spec.as_ref().and_then(|spec| spec.ports.clone()).unwrap_or_default();
    let mut patch = Map::new();
    if !metadata.is_empty() {
        patch.insert("metadata".to_owned(), Value::Object(metadata));
    }
    if have.ports != ports {
        patch.insert("spec".to_owned(), json!({"ports": ports}));
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// What of the EndpointSlice has to change; `None`: nothing.
pub(super) fn slice_patch(have: &SliceContent, want: &EndpointSlice) -> Option<Value> {
    let service = want.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME_LABEL));
    let mut patch = Map::new();
    if have.service_label.as_ref() != service {
        patch.insert("metadata".to_owned(), json!({"labels": {SERVICE_NAME_LABEL: service}}));
    }
    if have.endpoints != want.endpoints {
        patch.insert("endpoints".to_owned(), json!(want.endpoints));
    }
    if Some(&have.ports) != want.ports.as_ref() {
        patch.insert("ports".to_owned(), json!(want.ports));
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

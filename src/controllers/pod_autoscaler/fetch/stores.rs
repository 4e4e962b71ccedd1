// SPDX-License-Identifier: Apache-2.0
//! The stores that passes read, and what they keep of each object.

use std::{borrow::Cow, sync::Arc};

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Map, Value};

use crate::{
    api::{
        autoscaling::{GROUP, POD_AUTOSCALER, PodAutoscaler},
        keys,
    },
    controllers::pod_autoscaler::{targets, triggers},
    k8s::pod_facts::{self, PodFacts},
};
use kube_loops::runtime::{
    children::Children,
    controller::Kind,
    loops::Sources,
    watches::{Index, Owned as _, Store, Stored, WatchSpec, interner::Interner},
};

/// PodAutoscalers by the name of their target, whatever its kind.
pub(super) const BY_TARGET: Index<PodAutoscaler> =
    Index::new("target", |pa| vec![Cow::Borrowed(pa.spec.scale_target_ref.name.as_str())]);

/// Kinds of targets that are watched. Others are read live.
const WATCHED_TARGETS: [Kind; 4] = [
    Kind { group: "apps", version: "v1", kind: "Deployment", plural: "deployments" },
    Kind { group: "apps", version: "v1", kind: "StatefulSet", plural: "statefulsets" },
    ours("StormService", "stormservices"),
    ours("RayClusterFleet", "rayclusterfleets"),
];

const fn ours(kind: &'static str, plural: &'static str) -> Kind {
    Kind { group: keys::ORCHESTRATION_GROUP, version: "v1alpha1", kind, plural }
}

/// Everything that passes read from memory.
#[derive(Debug)]
pub(in crate::controllers::pod_autoscaler) struct Stores {
    /// All PodAutoscalers.
    pub(in crate::controllers::pod_autoscaler) autoscalers: Store<PodAutoscaler>,
    /// All HorizontalPodAutoscalers; those that no PodAutoscaler controls without their content.
    pub(in crate::controllers::pod_autoscaler) hpas: Children<HorizontalPodAutoscaler>,
    /// All pods.
    pub(in crate::controllers::pod_autoscaler) pods: Store<PodFacts>,
    /// Targets by kind.
    pub(in crate::controllers::pod_autoscaler) targets: Vec<TargetStore>,
}

/// The targets of one kind.
#[derive(Debug, Clone)]
pub(in crate::controllers::pod_autoscaler) struct TargetStore {
    /// The kind.
    pub(in crate::controllers::pod_autoscaler) resource: ApiResource,
    /// Its objects.
    pub(in crate::controllers::pod_autoscaler) store: Store<TargetFacts>,
}

impl Stores {
    /// Opens the stores, and says which keys their changes queue.
    pub(in crate::controllers::pod_autoscaler) fn open(sources: &mut Sources<'_>) -> Self {
        let autoscalers = WatchSpec::<PodAutoscaler>::all().indexed(BY_TARGET);
        let autoscalers = sources.primary_when(autoscalers, triggers::worth_a_pass);
        let hpas = WatchSpec::<HorizontalPodAutoscaler>::all().keeping(keep_hpa);
        let hpas = sources.owns(hpas, GROUP, POD_AUTOSCALER);
        let pods = sources.reads(pod_facts::watch());
        let targets = WATCHED_TARGETS.map(|target| {
            let Kind { group, kind, .. } = target;
            let resource = target.resource();
            let spec = WatchSpec::<DynamicObject>::all_of(resource.clone()).keeping(TargetFacts::keep);
            let builtin = group == "apps";
            let store = if builtin { sources.reads(spec) } else { sources.reads_if_served(spec) };
            // A PodAutoscaler that waits for its target reacts when it appears.
            let autoscalers = autoscalers.clone();
            sources.triggered(&store, move |change| {
                let Some(object) = change.object().filter(|_| triggers::has_appeared(change)) else {
                    return Vec::new();
                };
                let of_name = autoscalers.by_index_in(object.namespace(), &BY_TARGET, object.name());
                triggers::that_target(&of_name, group, kind, object.name())
            });
            TargetStore { resource, store }
        });
        Self { autoscalers, hpas, pods, targets: targets.into() }
    }

    /// The store of a kind of targets, whatever version of the group a user names; `None`: not watched.
    pub(in crate::controllers::pod_autoscaler) fn targets_of(
        &self,
        group: &str,
        kind: &str,
    ) -> Option<&TargetStore> {
        self.targets.iter().find(|target| target.resource.group == group && target.resource.kind == kind)
    }
}

/// What passes read of a target, whatever its kind: the JSON of the object, reduced.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::controllers::pod_autoscaler) struct TargetFacts {
    namespace: String,
    name: String,
    version: String,
    /// Uid.
    pub(in crate::controllers::pod_autoscaler) uid: String,
    /// The field manager besides us that wrote the replicas last.
    pub(super) other_writer: Option<Arc<str>>,
    /// `spec.{replicas,selector}`, roles, and the parts of the status that say how it is selected.
    pub(in crate::controllers::pod_autoscaler) object: Value,
}

impl TargetFacts {
    fn keep(object: DynamicObject, interner: &Interner) -> Self {
        let DynamicObject { metadata, data, .. } = object;
        let other_writer = targets::other_writer(metadata.managed_fields.as_deref());
        Self {
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            version: metadata.resource_version.unwrap_or_default(),
            uid: metadata.uid.unwrap_or_default(),
            other_writer: other_writer.map(|writer| interner.share(writer)),
            object: reduced(&data),
        }
    }

    /// The object with what tells one version of it from another.
    pub(super) fn whole(&self) -> Value {
        let mut object = self.object.clone();
        if let Some(object) = object.as_object_mut() {
            let metadata = serde_json::json!({"uid": self.uid, "resourceVersion": self.version});
            object.insert("metadata".to_owned(), metadata);
        }
        object
    }
}

#[cfg(test)]
impl TargetFacts {
    /// What is kept of this object.
    pub(in crate::controllers::pod_autoscaler) fn for_test(object: &Value) -> Self {
        Self::keep(serde_json::from_value(object.clone()).unwrap_or_else(|e| panic!("{e}")), &Interner::new())
    }
}

impl Stored for TargetFacts {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> &str {
        &self.version
    }
}

/// The parts of a target that [`read_target`](super::super::targets::read_target) reads.
fn reduced(object: &Value) -> Value {
    let spec = object.get("spec");
    let mut kept_spec = picked(spec, &["replicas", "selector"]);
    // Only a StormService has roles in its template; the templates of the others are large.
    if let Some(template) = spec.and_then(|spec| spec.pointer("/template/spec"))
        && let Some(roles) = template.get("roles").and_then(Value::as_array)
    {
        let roles: Vec<Value> =
            roles.iter().map(|role| Value::Object(picked(Some(role), &["name", "replicas"]))).collect();
        kept_spec.insert("template".to_owned(), serde_json::json!({"spec": {"roles": roles}}));
    }
    let mut kept_status = picked(object.get("status"), &["selector"]);
    if let Some(roles) = object.pointer("/status/roleStatuses").and_then(Value::as_array) {
        let roles = roles.iter().map(|role| Value::Object(picked(Some(role), &["name", "replicas"])));
        kept_status.insert("roleStatuses".to_owned(), roles.collect());
    }
    serde_json::json!({"spec": kept_spec, "status": kept_status})
}

fn picked(object: Option<&Value>, fields: &[&str]) -> Map<String, Value> {
    let field = |name: &&str| Some(((*name).to_owned(), object?.get(*name)?.clone()));
    fields.iter().filter_map(field).collect()
}

pub(super) fn keep_hpa(mut hpa: HorizontalPodAutoscaler, _: &Interner) -> HorizontalPodAutoscaler {
    // Who wrote it, not what.
    for entry in hpa.metadata.managed_fields.iter_mut().flatten() {
        entry.fields_v1 = None;
    }
    let ours = hpa.controller().is_some_and(|owner| (owner.group, owner.kind) == (GROUP, POD_AUTOSCALER));
    if !ours {
        // Only that it exists, and whose it is, matters.
        hpa.metadata.managed_fields = None;
        hpa.metadata.labels = None;
        hpa.metadata.annotations = None;
        hpa.spec = None;
        hpa.status = None;
    }
    hpa
}

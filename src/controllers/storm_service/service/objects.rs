// SPDX-License-Identifier: Apache-2.0
//! The objects that a StormService makes. Pure.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{apps::v1::ControllerRevision, core::v1::Service},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;
use kube_loops::rollout::{
    controller_ref::controller_reference,
    revisions::{RevisionName, next_revision_name},
};
use serde::Serialize;
use serde_json::{Map, Value, json, value::RawValue};

use crate::api::{
    keys::{
        STORM_SERVICE_NAME_LABEL,
        storm_service::{REVISION, REVISION_LABEL, ROLE_REVISION_NAME_OF, ROLE_REVISION_OF, ROLE_SET_INDEX},
    },
    orchestration::{API_VERSION, RoleSet, StormService},
};

use super::{
    super::{
        json::{at, put},
        merge::merge_between,
        names, render,
    },
    snapshot::Record,
};

/// Bytes of the owner's name in the name of a revision: with hash and dash it fits a label.
pub(super) const REVISION_PREFIX: usize = 56;
/// Label of a revision: the StormService.
const REVISION_OWNER: &str = "name";
/// Label of a revision: hash of its data.
const REVISION_HASH: &str = "controller.kubernetes.io/hash";

/// A RoleSet as a template says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rendered<'a> {
    /// The StormService.
    pub(super) service: &'a StormService,
    /// The template: that of the StormService, or a recorded one.
    pub(super) template: &'a Value,
    /// The revision of the template.
    pub(super) revision: &'a str,
    /// The revision at which each role changed last.
    pub(super) roles: &'a BTreeMap<String, &'a Record>,
}

impl Rendered<'_> {
    fn labels(self) -> Map<String, Value> {
        let mut labels = at(self.template, &["metadata", "labels"]).as_object().cloned().unwrap_or_default();
        labels.insert(STORM_SERVICE_NAME_LABEL.to_owned(), json!(self.service.name_any()));
        labels.insert(REVISION_LABEL.to_owned(), json!(self.revision));
        labels
    }

    fn annotations(self) -> Map<String, Value> {
        let mut annotations =
            at(self.template, &["metadata", "annotations"]).as_object().cloned().unwrap_or_default();
        annotations.insert(REVISION.to_owned(), json!(self.revision));
        for (role, record) in self.roles {
            let number = record.recorded.number.to_string();
            annotations.insert(format!("{ROLE_REVISION_OF}{role}"), json!(number));
            annotations.insert(format!("{ROLE_REVISION_NAME_OF}{role}"), json!(record.recorded.name));
        }
        annotations
    }

    /// A new RoleSet.
    pub(super) fn role_set(self, index: usize, seed: &str, place: usize) -> Value {
        let prefix = names::shorten_prefix_keeping_start(&format!("{}-roleset-", self.service.name_any()));
        let mut annotations = self.annotations();
        annotations.insert(ROLE_SET_INDEX.to_owned(), json!(index.to_string()));
        json!({
            "apiVersion": API_VERSION,
            "kind": "RoleSet",
            "metadata": {
                "name": names::generated(&prefix, seed, place),
                "generateName": prefix,
                "namespace": self.service.namespace(),
                "labels": self.labels(),
                "annotations": annotations,
                "ownerReferences": [render::owner(self.service, "StormService")],
            },
            "spec": at(self.template, &["spec"]),
        })
    }

    /// The merge patch that moves a RoleSet to this template, in place: what the template it was made from said, and
    /// this one does not, goes; what others wrote stays. `before`: that template, where it is recorded.
    pub(super) fn patch(self, role_set: &RoleSet, before: Option<&Value>) -> Value {
        let old = |part: &str| {
            let keys = before.and_then(|before| at(before, &["metadata", part]).as_object());
            keys.into_iter().flatten().map(|(key, _)| key.clone()).collect::<Vec<_>>()
        };
        let part = |have: &BTreeMap<String, String>, wanted: Map<String, Value>, old: Vec<String>| {
            let of_roles =
                |key: &str| key.starts_with(ROLE_REVISION_OF) || key.starts_with(ROLE_REVISION_NAME_OF);
            let gone =
                have.keys().filter(|key| !wanted.contains_key(*key) && (old.contains(key) || of_roles(key)));
            let gone: Vec<String> = gone.cloned().collect();
            let changed =
                wanted.into_iter().filter(|(key, value)| have.get(key).map(String::as_str) != value.as_str());
            changed.chain(gone.into_iter().map(|key| (key, Value::Null))).collect::<Map<String, Value>>()
        };
        let labels = part(role_set.labels(), self.labels(), old("labels"));
        let annotations = part(role_set.annotations(), self.annotations(), old("annotations"));
        let have = json!(role_set.spec);
        let nothing = Map::new();
        let spec = merge_between(
            have.as_object().unwrap_or(&nothing),
            at(self.template, &["spec"]).as_object().unwrap_or(&nothing),
        );
        json!({"metadata": {"labels": labels, "annotations": annotations}, "spec": spec})
    }
}

/// A template to be recorded. Its data is written byte for byte: the API server compares the bytes when it is patched.
#[derive(Debug, Clone, Serialize, kube::Resource)]
#[resource(inherit = ControllerRevision)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewRevision {
    api_version: &'static str,
    kind: &'static str,
    metadata: ObjectMeta,
    data: Box<RawValue>,
    revision: i64,
    /// The collision count that its name is taken with.
    #[serde(skip)]
    pub(super) collisions: u32,
    /// The one to go on with where the name is another's.
    #[serde(skip)]
    pub(super) next_collisions: u32,
}

/// The next name of a revision where this one is taken.
pub(super) fn next_name(service: &StormService, data: &str, taken: &RevisionName) -> Option<RevisionName> {
    next_revision_name(&service.name_any(), REVISION_PREFIX, data, taken)
}

/// A template to be recorded under this name and number; `None`: it cannot be written as JSON.
pub(super) fn revision(
    service: &StormService,
    name: &RevisionName,
    number: i64,
    data: &str,
) -> Option<NewRevision> {
    let labels = BTreeMap::from([
        (REVISION_OWNER.to_owned(), service.name_any()),
        (REVISION_HASH.to_owned(), name.hash.clone()),
    ]);
    let uid = service.metadata.uid.as_deref().unwrap_or_default();
    let owner = controller_reference(API_VERSION, "StormService", &service.name_any(), uid);
    Some(NewRevision {
        api_version: "apps/v1",
        kind: "ControllerRevision",
        metadata: ObjectMeta {
            name: Some(name.name.clone()),
            namespace: service.namespace(),
            labels: Some(labels),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        data: RawValue::from_string(data.to_owned()).ok()?,
        revision: number,
        collisions: name.collision_count,
        next_collisions: next_name(service, data, name)
            .map_or(name.collision_count, |next| next.collision_count),
    })
}

/// The Service by which pods find each other before they are ready.
pub(super) fn headless(service: &StormService) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": service.name_any(),
            "namespace": service.namespace(),
            "labels": service.labels(),
            "ownerReferences": [render::owner(service, "StormService")],
        },
        "spec": headless_spec(service),
    })
}

fn headless_spec(service: &StormService) -> Value {
    json!({
        "type": "ClusterIP",
        "clusterIP": "None",
        "selector": {STORM_SERVICE_NAME_LABEL: service.name_any()},
        "publishNotReadyAddresses": true,
    })
}

/// The merge patch that makes a Service ours what it has to be; `None`: it is.
pub(super) fn headless_patch(service: &StormService, found: &Service, adopt: bool) -> Option<Value> {
    let have = json!(found.spec);
    let wanted = headless_spec(service);
    let mut spec = Map::new();
    for (field, wanted) in wanted.as_object().into_iter().flatten() {
        match (at(&have, &[field]), wanted) {
            (have, wanted) if have == wanted => {}
            (Value::Object(have), Value::Object(wanted)) => {
                spec.insert(field.clone(), Value::Object(merge_between(have, wanted)));
            }
            (_, wanted) => {
                spec.insert(field.clone(), wanted.clone());
            }
        }
    }
    let mut patch = json!({});
    if adopt {
        let others = found.metadata.owner_references.iter().flatten();
        let others =
            others.filter(|other| Some(&other.uid) != service.metadata.uid.as_ref()).map(|it| json!(it));
        let owners = others.chain([render::owner(service, "StormService")]);
        put(&mut patch, &["metadata", "ownerReferences"], owners.collect::<Value>());
    }
    if !spec.is_empty() {
        put(&mut patch, &["spec"], spec);
    }
    patch.as_object().is_some_and(|patch| !patch.is_empty()).then_some(patch)
}

/// Whether a Service that nobody controls is the one that an old AIBrix made for this StormService.
pub(super) fn is_old_headless(service: &StormService, found: &Service) -> bool {
    let spec = json!(found.spec);
    let selector = json!({STORM_SERVICE_NAME_LABEL: service.name_any()});
    *at(&spec, &["selector"]) == selector && at(&spec, &["clusterIP"]) == "None"
}

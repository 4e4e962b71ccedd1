// SPDX-License-Identifier: Apache-2.0
//! Pods and `PodSets` as they are created. Pure.
//!
//! What the controllers say wins over what the template says: labels, annotations, host name, subdomain, and the
//! variables, which stand before those of the user.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::api::{
    keys::{self, storm_service as ours},
    orchestration::{API_VERSION, PodGroupKind, PodSet, RoleSet, RoleSpec},
};
use kube::ResourceExt;

use super::{
    json::{at, at_mut, list, put},
    names,
    templates::{digest_of, fingerprint_of},
    topology,
};

/// What a replica is created from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Replica<'a> {
    /// The RoleSet.
    pub(super) role_set: &'a RoleSet,
    /// The role.
    pub(super) role: &'a RoleSpec,
    /// Hash of the role's template.
    pub(super) hash: &'a str,
    /// Digest of the role's template.
    pub(super) digest: &'a str,
}

/// Marks that tell a scheduler which pods belong together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct GroupMarks {
    labels: Vec<(&'static str, String)>,
    annotations: Vec<(&'static str, String)>,
}

impl GroupMarks {
    /// Pods of the `PodGroup` `name`.
    fn of(kind: PodGroupKind, name: &str) -> Self {
        let (key, annotated) = match kind {
            PodGroupKind::Coscheduling => (ours::COSCHEDULING_GROUP, false),
            PodGroupKind::Godel => (ours::GODEL_GROUP, true),
            PodGroupKind::Volcano => (ours::VOLCANO_GROUP, true),
        };
        let mark = vec![(key, name.to_owned())];
        Self { labels: mark.clone(), annotations: if annotated { mark } else { Vec::new() } }
    }

    fn put(&self, metadata: &mut Value) {
        for (part, marks) in [("labels", &self.labels), ("annotations", &self.annotations)] {
            for (key, value) in marks {
                put(metadata, &[part, key], value.as_str());
            }
        }
    }
}

impl Replica<'_> {
    /// A pod without an index. `name`: under [`Self::prefix`].
    pub(super) fn pod(self, name: &str) -> Value {
        let mut pod = self.pod_of(None);
        put(&mut pod, &["metadata", "name"], name);
        put(&mut pod, &["metadata", "generateName"], self.prefix());
        stamped(pod, self.digest)
    }

    /// The pod with this index.
    pub(super) fn indexed_pod(self, index: usize) -> Value {
        let mut pod = self.pod_of(Some(index));
        let name = self.indexed_name(index);
        put(&mut pod, &["spec", "hostname"], name.as_str());
        put(&mut pod, &["metadata", "name"], name);
        let prefix = names::generate_name(&self.role_set.name_any());
        put(&mut pod, &["metadata", "generateName"], prefix);
        stamped(pod, self.digest)
    }

    /// Fingerprint of the pod with or without an index: [`fingerprint_of`].
    pub(super) fn fingerprint(self, index: Option<usize>) -> String {
        fingerprint_of(&self.pod_of(index))
    }

    /// Prefix of the names of pods without an index.
    pub(super) fn prefix(self) -> String {
        names::shorten_prefix_keeping_end(&format!("{}-{}-", self.role_set.name_any(), self.role.name))
    }

    /// Name of the pod or `PodSet` with this index.
    pub(super) fn indexed_name(self, index: usize) -> String {
        names::indexed(&self.role_set.name_any(), &self.role.name, self.hash, index)
    }

    fn pod_of(self, index: Option<usize>) -> Value {
        let template = self.role.template.as_ref().unwrap_or(&Value::Null);
        let mut pod = bare_pod(template, &self.role_set.namespace().unwrap_or_default());
        put(&mut pod, &["metadata", "ownerReferences"], json!([owner(self.role_set, "RoleSet")]));
        self.mark(at_mut(&mut pod, &["metadata"]), index);
        let spec = at_mut(&mut pod, &["spec"]);
        set_or_remove(spec, "subdomain", service_of(self.role_set.labels()));
        set_or_remove(spec, "hostname", "");
        self.set_variables(spec, index);
        if let Some(term) = topology::Term::of(self.role_set, &self.role.name) {
            term.put(spec);
        }
        if let Some((kind, _)) = self.role_set.spec.scheduling_strategy.as_ref().and_then(|it| it.chosen()) {
            GroupMarks::of(kind, &self.role_set.name_any()).put(at_mut(&mut pod, &["metadata"]));
        }
        pod
    }

    /// The `PodSet` with this index.
    pub(super) fn pod_set(self, index: usize) -> Value {
        let mut template = self.role.template.clone().unwrap_or_else(|| json!({}));
        let spec = at_mut(&mut template, &["spec"]);
        if !spec.is_object() {
            *spec = json!({});
        }
        self.set_variables(spec, Some(index));
        if let Some(term) = topology::Term::of(self.role_set, &self.role.name) {
            term.put(spec);
        }
        let name = self.indexed_name(index);
        let mut metadata = json!({
            "name": name,
            "namespace": self.role_set.namespace().unwrap_or_default(),
            "ownerReferences": [owner(self.role_set, "RoleSet")],
        });
        self.mark(&mut metadata, Some(index));
        put(&mut metadata, &["annotations", ours::TEMPLATE_DIGEST], self.digest);
        let strategies = [
            (&self.role_set.spec.scheduling_strategy, self.role_set.name_any()),
            (&self.role.scheduling_strategy, name),
        ];
        for (strategy, group) in strategies {
            if let Some((kind, _)) = strategy.as_ref().and_then(|it| it.chosen()) {
                GroupMarks::of(kind, &group).put(&mut metadata);
            }
        }
        let mut spec = json!({"podGroupSize": self.role.pod_group_size, "template": template});
        if self.role.stateful {
            put(&mut spec, &["stateful"], true);
        }
        if let Some(strategy) = &self.role.scheduling_strategy {
            put(&mut spec, &["schedulingStrategy"], json!(strategy));
        }
        json!({"apiVersion": API_VERSION, "kind": "PodSet", "metadata": metadata, "spec": spec})
    }

    /// Labels and annotations of a replica.
    fn mark(self, metadata: &mut Value, index: Option<usize>) {
        let (labels, annotations) = (self.role_set.labels(), self.role_set.annotations());
        let mut put = |part: &str, key: &str, value: &str| put(metadata, &[part, key], value);
        put("labels", ours::ROLE_SET_NAME, &self.role_set.name_any());
        put("labels", keys::ROLE_NAME_LABEL, &self.role.name);
        put("labels", ours::ROLE_TEMPLATE_HASH, self.hash);
        put("labels", keys::STORM_SERVICE_NAME_LABEL, service_of(labels));
        for key in ours::INHERITED_LABELS {
            if let Some(value) = labels.get(key) {
                put("labels", key, value);
            }
        }
        for (label, value) in revision_labels(annotations, &self.role.name) {
            put("labels", label, value);
        }
        let of_role_set = annotations.get(ours::ROLE_SET_INDEX).map_or("", String::as_str);
        put("annotations", ours::ROLE_SET_INDEX, of_role_set);
        if let Some(index) = index {
            put("labels", ours::ROLE_REPLICA_INDEX, &index.to_string());
            put("annotations", ours::ROLE_REPLICA_INDEX, &index.to_string());
        }
    }

    fn set_variables(self, spec: &mut Value, index: Option<usize>) {
        let of_role_set = self.role_set.annotations().get(ours::ROLE_SET_INDEX).map_or("", String::as_str);
        let mut values = vec![
            service_of(self.role_set.labels()).to_owned(),
            self.role_set.name_any(),
            of_role_set.to_owned(),
            self.role.name.clone(),
            self.hash.to_owned(),
        ];
        values.extend(index.map(|index| index.to_string()));
        put_variables(spec, "containers", &ours::ROLE_VARIABLES, &values);
    }
}

/// Labels of a role's replicas that say at which revision the role changed last.
pub(super) fn revision_labels<'a>(
    annotations: &'a BTreeMap<String, String>,
    role: &'a str,
) -> impl Iterator<Item = (&'static str, &'a str)> {
    let labels = [
        (ours::ROLE_REVISION, ours::ROLE_REVISION_OF),
        (ours::ROLE_REVISION_NAME, ours::ROLE_REVISION_NAME_OF),
    ];
    labels.into_iter().filter_map(move |(label, prefix)| {
        Some((label, annotations.get(&format!("{prefix}{role}"))?.as_str()))
    })
}

/// The pod of a `PodSet` with this index.
pub(super) fn pod_of_group(pod_set: &PodSet, index: usize) -> Value {
    let name = names::of_group(&pod_set.name_any(), index);
    let mut pod = bare_pod(&pod_set.spec.template, &pod_set.namespace().unwrap_or_default());
    let metadata = at_mut(&mut pod, &["metadata"]);
    inherit(at_mut(metadata, &["labels"]), pod_set.labels());
    inherit(at_mut(metadata, &["annotations"]), pod_set.annotations());
    put(metadata, &["name"], name.as_str());
    put(metadata, &["generateName"], names::generate_name(&pod_set.name_any()));
    put(metadata, &["ownerReferences"], json!([owner(pod_set, "PodSet")]));
    put(metadata, &["labels", ours::POD_SET_NAME], pod_set.name_any());
    put(metadata, &["labels", keys::POD_GROUP_INDEX_LABEL], index.to_string());
    let digest = at_mut(metadata, &["annotations", ours::TEMPLATE_DIGEST]);
    if digest.is_null() {
        *digest = json!(digest_of(&pod_set.spec.template));
    }
    if let Some((kind, _)) = pod_set.spec.scheduling_strategy.as_ref().and_then(|it| it.chosen()) {
        GroupMarks::of(kind, &pod_set.name_any()).put(metadata);
    }
    let spec = at_mut(&mut pod, &["spec"]);
    set_or_remove(spec, "hostname", &name);
    set_or_remove(spec, "subdomain", service_of(pod_set.labels()));
    let values = [pod_set.name_any(), index.to_string(), pod_set.spec.pod_group_size.to_string()];
    for containers in ["initContainers", "containers"] {
        put_variables(spec, containers, &ours::POD_SET_VARIABLES, &values);
    }
    pod
}

/// Names of user's variables in the template of a `PodSet` that its pods do not get.
pub(super) fn dropped_variables(pod_set: &PodSet) -> Vec<String> {
    let parts = ["initContainers", "containers"].into_iter();
    let containers = parts.flat_map(|part| list(&pod_set.spec.template, &["spec", part]));
    let variables = containers.flat_map(|container| list(container, &["env"]));
    let names = variables.filter_map(|variable| at(variable, &["name"]).as_str());
    let mut dropped: Vec<String> =
        names.filter(|name| ours::POD_SET_VARIABLES.contains(name)).map(str::to_owned).collect();
    dropped.sort();
    dropped.dedup();
    dropped
}

/// Annotations of a `PodSet` that are about the `PodSet`.
const OWN_ANNOTATIONS: [&str; 2] = [ours::ACCEPTED_GROUP_SIZE, keys::LAST_APPLIED_ANNOTATION];

/// Labels or annotations of a `PodSet` reach its pods. What the template says wins, but for keys that others select by.
fn inherit(entries: &mut Value, of_pod_set: &BTreeMap<String, String>) {
    for (key, value) in of_pod_set.iter().filter(|(key, _)| !OWN_ANNOTATIONS.contains(&key.as_str())) {
        let entry = at_mut(entries, &[key]);
        if entry.is_null() || is_ours(key) {
            *entry = json!(value);
        }
    }
}

fn is_ours(key: &str) -> bool {
    let bare = [
        ours::ROLE_SET_NAME,
        keys::ROLE_NAME_LABEL,
        ours::ROLE_TEMPLATE_HASH,
        keys::STORM_SERVICE_NAME_LABEL,
        ours::COSCHEDULING_GROUP,
        ours::GODEL_GROUP,
        ours::VOLCANO_GROUP,
    ];
    key.starts_with(ours::PREFIX) || bare.contains(&key)
}

/// A pod with what a template says: labels, annotations, finalizers and spec.
fn bare_pod(template: &Value, namespace: &str) -> Value {
    let part = |name: &str| at(template, &["metadata", name]).as_object().cloned().unwrap_or_default();
    let mut metadata =
        json!({"namespace": namespace, "labels": part("labels"), "annotations": part("annotations")});
    let finalizers = at(template, &["metadata", "finalizers"]);
    if finalizers.as_array().is_some_and(|it| !it.is_empty()) {
        put(&mut metadata, &["finalizers"], finalizers.clone());
    }
    let spec = at(template, &["spec"]).as_object().cloned().unwrap_or_default();
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

/// With the digest of its template, and its fingerprint.
fn stamped(mut pod: Value, digest: &str) -> Value {
    let fingerprint = fingerprint_of(&pod);
    put(&mut pod, &["metadata", "annotations", ours::TEMPLATE_DIGEST], digest);
    put(&mut pod, &["metadata", "annotations", ours::POD_FINGERPRINT], fingerprint);
    pod
}

/// Puts variables in front of those of the user, whose namesakes go, also where there is no value for a name.
fn put_variables(spec: &mut Value, containers: &str, names: &[&str], values: &[String]) {
    for container in at_mut(spec, &[containers]).as_array_mut().into_iter().flatten() {
        let set = names.iter().zip(values).map(|(name, value)| json!({"name": name, "value": value}));
        let is_ours =
            |variable: &&Value| at(variable, &["name"]).as_str().is_some_and(|name| names.contains(&name));
        let kept = list(container, &["env"]).filter(|variable| !is_ours(variable)).cloned();
        let env: Value = set.chain(kept).collect();
        put(container, &["env"], env);
    }
}

fn set_or_remove(spec: &mut Value, field: &str, value: &str) {
    if !value.is_empty() {
        put(spec, &[field], value);
    } else if let Some(spec) = spec.as_object_mut() {
        spec.remove(field);
    }
}

/// Name of the StormService in labels; empty: none.
pub(super) fn service_of(labels: &BTreeMap<String, String>) -> &str {
    labels.get(keys::STORM_SERVICE_NAME_LABEL).map_or("", String::as_str)
}

/// The reference that makes an object of this group the controller.
pub(super) fn owner(object: &impl ResourceExt, kind: &str) -> Value {
    let mut reference = Map::new();
    reference.insert("apiVersion".to_owned(), json!(API_VERSION));
    reference.insert("kind".to_owned(), json!(kind));
    reference.insert("name".to_owned(), json!(object.name_any()));
    reference.insert("uid".to_owned(), json!(object.uid()));
    reference.insert("controller".to_owned(), json!(true));
    reference.insert("blockOwnerDeletion".to_owned(), json!(true));
    Value::Object(reference)
}

// SPDX-License-Identifier: Apache-2.0
//! Templates of roles and services: when two mean the same, and what stands for one. Pure.

use std::sync::OnceLock;

use kube_loops::rollout::template::{
    canonical::{Leniency, canonical},
    contains::{Ignored, first_difference},
    go_hash::{GoTemplateHash, go_template_hash},
    go_json::revision_data as go_revision_data,
    hashes::template_digest,
    layout::{Layout, POD_TEMPLATE},
};
use serde_json::{Value, json};

use crate::api::keys::storm_service as keys;

use super::json::{at, at_mut, put};

/// The template of a StormService's RoleSets, in Go.
const ROLE_SET_TEMPLATE: &str = "aibrix.RoleSetTemplate";

/// The types of pod templates and of the templates of StormServices.
fn layout() -> &'static Layout {
    static LAYOUT: OnceLock<Layout> = OnceLock::new();
    LAYOUT.get_or_init(|| Layout::core().with(include_str!("role_set_types.txt")))
}

/// A pod template in canonical form; an absent one is empty.
fn canonical_pod_template(template: &Value) -> Value {
    canonical(template, layout(), POD_TEMPLATE, Leniency::Exact)
}

/// What stands for a pod template: equal templates have equal digests, and others have not.
pub(super) fn digest_of(template: &Value) -> String {
    template_digest(&canonical_pod_template(template))
}

/// What AIBrix puts into the label of a pod made from this template; `None`: it is none of its types.
pub(super) fn aibrix_hash_of(template: &Value) -> Option<GoTemplateHash> {
    go_template_hash(template, layout())
}

/// Whether two templates of a StormService mean the same.
pub(super) fn same_service_template(one: &Value, other: &Value) -> bool {
    let reduced = |template: &Value| canonical(template, layout(), ROLE_SET_TEMPLATE, Leniency::Exact);
    reduced(one) == reduced(other)
}

/// What a revision records of a StormService's template, byte for byte as AIBrix writes it.
pub(super) fn revision_data(template: &Value) -> String {
    go_revision_data(template, layout(), ROLE_SET_TEMPLATE)
}

/// Members of a pod that its controllers set, whatever the template says.
const SET_BY_CONTROLLERS: [&str; 7] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.generateName",
    "metadata.ownerReferences",
    "metadata.creationTimestamp",
    "spec.hostname",
    "spec.subdomain",
];

/// The path of the first thing that the template asks for and a live pod, or the template of a `PodSet`, has not;
/// `None`: it is what the template asks for. `images`: whether the images of containers count.
pub(super) fn first_difference_of(template: &Value, live: &Value, images: bool) -> Option<String> {
    let reduced = canonical(template, layout(), POD_TEMPLATE, Leniency::Lenient);
    let keys = ignored_keys();
    let variables: Vec<&str> = keys::ROLE_VARIABLES.into_iter().chain(keys::POD_SET_VARIABLES).collect();
    let ignored = Ignored { paths: &SET_BY_CONTROLLERS, keys: &keys, variables: &variables, images: !images };
    first_difference(&reduced, live, layout(), POD_TEMPLATE, ignored)
}

/// Labels and annotations that controllers set on pods and `PodSets`.
fn ignored_keys() -> Vec<&'static str> {
    let labels = [
        keys::ROLE_SET_NAME,
        crate::api::keys::ROLE_NAME_LABEL,
        keys::ROLE_TEMPLATE_HASH,
        crate::api::keys::STORM_SERVICE_NAME_LABEL,
        keys::ROLE_REPLICA_INDEX,
        keys::POD_SET_NAME,
        crate::api::keys::POD_GROUP_INDEX_LABEL,
        keys::ROLE_REVISION,
        keys::ROLE_REVISION_NAME,
        keys::COSCHEDULING_GROUP,
        keys::GODEL_GROUP,
        keys::VOLCANO_GROUP,
    ];
    let annotations = [
        keys::ROLE_SET_INDEX,
        keys::TARGET_HASH,
        keys::IN_PLACE_STATE,
        keys::PENDING_REASON,
        keys::TEMPLATE_DIGEST,
        keys::POD_FINGERPRINT,
    ];
    labels.into_iter().chain(keys::INHERITED_LABELS).chain(annotations).collect()
}

/// What stands for a rendered pod, without what an update in place changes and without what follows from the role's
/// revision: images of containers, name, host name, the hash, revisions, and our own annotations.
pub(super) fn fingerprint_of(pod: &Value) -> String {
    let mut reduced = json!({"metadata": {}, "spec": at(pod, &["spec"])});
    for part in ["labels", "annotations", "finalizers"] {
        put(&mut reduced, &["metadata", part], at(pod, &["metadata", part]).clone());
    }
    let dropped = [
        keys::ROLE_TEMPLATE_HASH,
        keys::ROLE_REVISION,
        keys::ROLE_REVISION_NAME,
        keys::TARGET_HASH,
        keys::IN_PLACE_STATE,
        keys::PENDING_REASON,
        keys::TEMPLATE_DIGEST,
        keys::POD_FINGERPRINT,
    ];
    for part in ["labels", "annotations"] {
        if let Some(entries) = at_mut(&mut reduced, &["metadata", part]).as_object_mut() {
            entries.retain(|key, _| !dropped.contains(&key.as_str()));
        }
    }
    if let Some(spec) = at_mut(&mut reduced, &["spec"]).as_object_mut() {
        spec.remove("hostname");
    }
    let containers = at_mut(&mut reduced, &["spec", "containers"]).as_array_mut().into_iter().flatten();
    for container in containers.filter_map(Value::as_object_mut) {
        container.remove("image");
        if let Some(env) = container.get_mut("env").and_then(Value::as_array_mut) {
            env.retain(|variable| at(variable, &["name"]) != "ROLE_TEMPLATE_HASH");
        }
    }
    template_digest(&canonical(&reduced, layout(), POD_TEMPLATE, Leniency::Exact))
}

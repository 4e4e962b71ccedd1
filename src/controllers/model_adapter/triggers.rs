// SPDX-License-Identifier: Apache-2.0
//! Which changes are worth a pass, and whose.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::{
    api::{keys::model_adapter::LOADED_SPEC_HASH, model::ModelAdapter},
    k8s::pod_facts::PodFacts,
};
use kube_loops::{
    k8s::selector::Selector,
    runtime::{reconciler::Key, watches::Change},
};

/// Whether an update of a ModelAdapter is worth a pass: spec, labels, annotations of others, start of a
/// deletion, or another object of the same name. What this loop writes itself is not.
pub(super) fn worth_a_pass(old: &ModelAdapter, new: &ModelAdapter) -> bool {
    let (old, new) = (&old.metadata, &new.metadata);
    let annotations = |annotations: &Option<BTreeMap<String, String>>| {
        let mut annotations = annotations.clone().unwrap_or_default();
        annotations.remove(LOADED_SPEC_HASH);
        annotations
    };
    old.generation != new.generation
        || old.uid != new.uid
        || old.labels != new.labels
        || old.deletion_timestamp.is_some() != new.deletion_timestamp.is_some()
        || annotations(&old.annotations) != annotations(&new.annotations)
}

/// Those of the ModelAdapters of a namespace that a change of a pod concerns: it may or might host them, or
/// does.
pub(super) fn of_pod(
    change: &Change<PodFacts>,
    adapters_in: impl FnOnce(&str) -> Vec<Arc<ModelAdapter>>,
) -> Vec<Key> {
    if !matters(change) {
        return Vec::new();
    }
    let Some(pod) = change.object() else { return Vec::new() };
    let versions: Vec<&Arc<PodFacts>> = change.old.iter().chain(&change.new).collect();
    let concerns = |adapter: &&Arc<ModelAdapter>| {
        let hosts = adapter
            .status
            .as_ref()
            .is_some_and(|status| status.instances.iter().any(|name| **name == *pod.name));
        let selector = adapter.spec.pod_selector.as_ref();
        hosts || selector.is_some_and(|it| versions.iter().any(|pod| selects(it, &pod.labels)))
    };
    let key = |adapter: &Arc<ModelAdapter>| {
        Key::new(pod.namespace.to_string(), adapter.metadata.name.clone().unwrap_or_default())
    };
    adapters_in(&pod.namespace).iter().filter(concerns).map(key).collect()
}

/// Whether a change of a pod can change anything for any adapter.
fn matters(change: &Change<PodFacts>) -> bool {
    match (change.old.as_deref(), change.new.as_deref()) {
        (Some(old), Some(new)) => {
            is_usable(old) != is_usable(new)
                || old.uid != new.uid
                || old.leaving != new.leaving
                || old.is_finished() != new.is_finished()
                || (is_usable(new) && differs(old, new))
        }
        // What was never usable is no loss, and what is not usable yet no gain.
        (None, Some(new)) => is_usable(new),
        (Some(_), None) => true,
        (None, None) => false,
    }
}

fn differs(old: &PodFacts, new: &PodFacts) -> bool {
    old.labels != new.labels
        || old.ip != new.ip
        || old.ready_since != new.ready_since
        || old.has_sidecar != new.has_sidecar
}

/// Whether a pod can host adapters now: ready, staying, with an address.
pub(super) fn is_usable(pod: &PodFacts) -> bool {
    pod.ready_since.is_some() && !pod.leaving && !pod.is_finished() && pod.ip.is_some()
}

/// Whether the selector matches these labels; one that cannot be read matches none.
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    // Most selectors are decided here, without being taken apart.
    let mut equal = selector.match_labels.iter().flatten();
    if !equal.all(|(key, value)| labels.get(key) == Some(value)) {
        return false;
    }
    let expressions = selector.match_expressions.as_deref().unwrap_or_default();
    expressions.is_empty()
        || Selector::of_label_selector(selector).is_ok_and(|selector| selector.matches(labels))
}

// SPDX-License-Identifier: Apache-2.0
//! Which changes are worth a pass, and whose.

use std::sync::Arc;

use crate::api::autoscaling::PodAutoscaler;
use kube_loops::{
    k8s::owner::group_of,
    runtime::{reconciler::Key, watches::Change},
};

use super::fetch::stores::TargetFacts;

/// Whether an update of a PodAutoscaler is worth a pass: spec, labels, annotations, start of a deletion,
/// or another object of the same name. Our own status writes are not: they would turn one measurement
/// into many steps.
pub(super) fn worth_a_pass(old: &PodAutoscaler, new: &PodAutoscaler) -> bool {
    let (old, new) = (&old.metadata, &new.metadata);
    old.generation != new.generation
        || old.uid != new.uid
        || old.labels != new.labels
        || old.annotations != new.annotations
        || old.deletion_timestamp.is_some() != new.deletion_timestamp.is_some()
}

/// Whether a target has appeared (again). Its other changes wait for the next period: passes that
/// follow every change would scale in steps faster than the rates allow.
pub(super) fn has_appeared(change: &Change<TargetFacts>) -> bool {
    match (&change.old, &change.new) {
        (old, Some(new)) => old.as_ref().is_none_or(|old| old.uid != new.uid),
        (_, None) => false,
    }
}

/// Those of the PodAutoscalers of a namespace that target this object.
pub(super) fn that_target(
    autoscalers: &[Arc<PodAutoscaler>],
    group: &str,
    kind: &str,
    name: &str,
) -> Vec<Key> {
    let targets = |pa: &&Arc<PodAutoscaler>| {
        let target = &pa.spec.scale_target_ref;
        target.name == name && target.kind == kind && group_of(&target.api_version) == group
    };
    let key = |pa: &Arc<PodAutoscaler>| {
        let metadata = &pa.metadata;
        Key::new(metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
    };
    autoscalers.iter().filter(targets).map(key).collect()
}

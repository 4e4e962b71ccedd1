// SPDX-License-Identifier: Apache-2.0
//! Which replica goes first, and which one stays.
//!
//! Every order is total and ends in the name: the same replicas give the same victims, whatever the order
//! in which a store lists them, and so does another process after a take-over. The rules are those of each
//! kind:
//!
//! | Order | Replicas | First to go |
//! |---|---|---|
//! | [`pool_scale_in`] | pods of a role without indexes | draining; outdated; not ready; lower cost; newer |
//! | [`pool_rollout`] | the same, in a rollout | draining; not ready; newer |
//! | [`set_scale_in`] | sets of roles of a service | outdated; not ready; lower cost; higher index; newer |
//! | [`set_rollout`] | the same, in a rollout | not ready; higher index; newer |
//! | [`cluster_scale_in`] | Ray clusters of a set | not ready; lower cost; **older** |
//! | [`group_surplus`] | pods of a group | no index; higher index |
//! | [`keep_first`] | duplicates of one index | (first to *stay*) ready; older |
//!
//! Kubernetes' own ReplicaSet goes by assignment to a node, phase, readiness, deletion cost, number of
//! siblings on the node, time of readiness, restarts and age. No kind here asks for that, so it is not
//! here.

use std::{
    cmp::{Ordering, Reverse},
    collections::BTreeMap,
};

use super::replica::Replica;

/// Annotation with which users say that a replica is worth more, or less, than its siblings.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The deletion cost of an object, as Kubernetes reads it: a decimal 32-bit integer without plus sign or
/// leading zeros. Absent and anything else is 0.
pub fn deletion_cost(annotations: Option<&BTreeMap<String, String>>) -> i32 {
    let text = annotations.and_then(|annotations| annotations.get(DELETION_COST));
    let well_formed = |text: &&String| {
        **text == "0" || text.starts_with(['-', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
    };
    text.filter(well_formed).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Replicas of a role without indexes, when there are too many: those that drain already, then outdated
/// before updated, not ready before ready, lower cost, newest, name.
pub fn pool_scale_in(a: &Replica, b: &Replica) -> Ordering {
    let key = |r: &Replica| (!r.draining, r.is_updated(), r.ready, r.deletion_cost);
    key(a).cmp(&key(b)).then_with(|| newer_first(a, b))
}

/// Outdated replicas of a role without indexes, in a rollout: those that drain already, then not ready
/// before ready, newest, name. Costs are not looked at.
pub fn pool_rollout(a: &Replica, b: &Replica) -> Ordering {
    let key = |r: &Replica| (!r.draining, r.ready);
    key(a).cmp(&key(b)).then_with(|| newer_first(a, b))
}

/// Sets of roles, when there are too many: not at the update revision before at it, not ready before ready,
/// lower cost (the sum over the pods), then [`higher_index_first`].
pub fn set_scale_in(a: &Replica, b: &Replica) -> Ordering {
    let key = |r: &Replica| (r.is_updated(), r.ready, r.deletion_cost);
    key(a).cmp(&key(b)).then_with(|| higher_index_first(a, b))
}

/// Sets of roles of one class of a partition: as [`set_scale_in`] without the revision.
pub fn set_in_class(a: &Replica, b: &Replica) -> Ordering {
    let key = |r: &Replica| (r.ready, r.deletion_cost);
    key(a).cmp(&key(b)).then_with(|| higher_index_first(a, b))
}

/// Outdated sets of roles, in a rollout: not ready before ready, then [`higher_index_first`].
pub fn set_rollout(a: &Replica, b: &Replica) -> Ordering {
    a.ready.cmp(&b.ready).then_with(|| higher_index_first(a, b))
}

/// Ray clusters, when there are too many: not ready before ready, lower cost, **oldest**, name. The age is
/// the opposite of Kubernetes' ReplicaSet.
pub fn cluster_scale_in(a: &Replica, b: &Replica) -> Ordering {
    let key = |r: &Replica| (r.ready, r.deletion_cost);
    key(a).cmp(&key(b)).then_with(|| older_first(a, b))
}

/// Pods of a group, when it shrinks: those without a usable index, then the highest index, newest, name.
pub fn group_surplus(a: &Replica, b: &Replica) -> Ordering {
    let key = |r: &Replica| Reverse(r.index.map_or((1, 0), |index| (0, index)));
    key(a).cmp(&key(b)).then_with(|| newer_first(a, b))
}

/// Of several replicas with one index, the one to keep comes first: ready before not ready, oldest, name.
pub fn keep_first(a: &Replica, b: &Replica) -> Ordering {
    b.ready.cmp(&a.ready).then_with(|| older_first(a, b))
}

/// Higher index first (an absent one counts as below 0, so it goes last), then newest, then name.
pub fn higher_index_first(a: &Replica, b: &Replica) -> Ordering {
    b.index.cmp(&a.index).then_with(|| newer_first(a, b))
}

/// Lower index first (an absent one first of all), then oldest, then name: who is held back by a partition.
pub fn lower_index_first(a: &Replica, b: &Replica) -> Ordering {
    a.index.cmp(&b.index).then_with(|| older_first(a, b))
}

/// Oldest first, then name: the order in which replica sets are scaled down.
pub fn older_first(a: &Replica, b: &Replica) -> Ordering {
    age(a).cmp(&age(b)).then_with(|| a.name.cmp(&b.name))
}

/// Newest first, then name.
pub fn newer_first(a: &Replica, b: &Replica) -> Ordering {
    age(b).cmp(&age(a)).then_with(|| a.name.cmp(&b.name))
}

/// An object without creation time was just made.
fn age(replica: &Replica) -> (bool, Option<jiff::Timestamp>) {
    (replica.created.is_none(), replica.created)
}

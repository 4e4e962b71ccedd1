// SPDX-License-Identifier: Apache-2.0
//! The status of a RoleSet. Pure.

use kube_fenced_election::clock::Timestamp;
use kube_loops::rollout::replica::Life;

use crate::api::orchestration::{ConditionStatus, RoleSet, RoleSetStatus, RoleSpec, RoleStatus};

use super::{
    super::conditions::{self, Stated},
    member::Member,
    roles::Role,
    snapshot::Snapshot,
};

/// Condition: whether every role has its replicas ready.
pub(super) const READY: &str = "Ready";
/// Condition: what went wrong in the last pass; absent: nothing.
const REPLICA_FAILURE: &str = "ReplicaFailure";

/// What there is of each role of the spec, in its order.
pub(super) fn counts_of(seen: &Snapshot, usable: &[Role<'_>]) -> Vec<RoleStatus> {
    let counts = |spec: &RoleSpec| {
        let role = usable.iter().find(|role| std::ptr::eq(role.spec, spec));
        role.map_or_else(|| RoleStatus { name: spec.name.clone(), ..RoleStatus::default() }, counts_of_role)
    };
    seen.role_set.spec.roles.iter().map(counts).collect()
}

/// Pods: those that are active. `PodSets`: all of them, but only those that do not terminate are ready or updated.
fn counts_of_role(role: &Role<'_>) -> RoleStatus {
    let active = || role.members.iter().filter(|member| member.life() == Life::Active);
    let existing =
        role.members.iter().filter(|member| member.is_set() || member.life() == Life::Active).count();
    let ready = active().filter(|member| member.is_ready()).count();
    let updated = |member: &&Member| member.is_updated(&role.digest, role.spec);
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    RoleStatus {
        name: role.spec.name.clone(),
        replicas: count(existing),
        ready_replicas: count(ready),
        not_ready_replicas: count(existing - ready),
        updated_replicas: count(active().filter(updated).count()),
        updated_ready_replicas: count(active().filter(updated).filter(|member| member.is_ready()).count()),
    }
}

/// The status after a pass. `errors`: what went wrong in it.
pub(super) fn status_with(
    role_set: &RoleSet,
    roles: Vec<RoleStatus>,
    errors: &[String],
    now: Timestamp,
) -> RoleSetStatus {
    let pairs = role_set.spec.roles.iter().zip(&roles);
    let late = pairs.filter(|(spec, status)| status.ready_replicas < spec.replicas.unwrap_or(0));
    let late: Vec<&str> = late.map(|(spec, _)| spec.name.as_str()).collect();
    let mut conditions = role_set.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
    let (status, reason, message) = if late.is_empty() {
        (ConditionStatus::True, "roleset is ready", String::new())
    } else {
        (ConditionStatus::False, "roleset is not ready", format!("role {} is not ready", late.join(",")))
    };
    conditions::state(&mut conditions, Stated { kind: READY, status, reason, message }, now);
    if errors.is_empty() {
        conditions::remove(&mut conditions, REPLICA_FAILURE);
    } else {
        let failure = Stated {
            kind: REPLICA_FAILURE,
            status: ConditionStatus::True,
            reason: "reconcile roleset error",
            message: format!("[{}]", errors.join(" ")),
        };
        conditions::state(&mut conditions, failure, now);
    }
    RoleSetStatus { roles, conditions }
}

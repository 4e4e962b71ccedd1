// SPDX-License-Identifier: Apache-2.0
//! The status of a StormService. Pure.

use std::{collections::BTreeMap, time::Duration};

use kube::ResourceExt;
use kube_fenced_election::clock::Timestamp;

use crate::api::{
    keys::STORM_SERVICE_NAME_LABEL,
    orchestration::{ConditionStatus, RoleStatus, StormServiceStatus},
};

use super::{
    super::conditions::{self, Stated},
    revisions::Revisions,
    snapshot::{Set, Snapshot},
};

/// Condition: all RoleSets are ready, at the template.
pub(super) const READY: &str = "Ready";
const PROGRESSING: &str = "Progressing";
const REPLICA_FAILURE: &str = "ReplicaFailure";
/// How long a term waits for the RoleSet loop before it says what statuses say.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// The status of what was seen, and whether something has yet to be looked at by the RoleSet loop. In the first moments
/// of a term there is none until all is: nothing is known to have changed.
pub(super) fn status_of(
    seen: &Snapshot,
    revisions: &Revisions<'_>,
    collisions: u32,
    since: Option<Timestamp>,
    now: Timestamp,
) -> (Option<StormServiceStatus>, bool) {
    let waits = seen.sets.iter().any(|set| !set.terminating && !set.passed);
    let fresh = since
        .is_none_or(|since| Duration::try_from(now.duration_since(since)).is_ok_and(|it| it < FIRST_LOOK));
    if waits && fresh && seen.service.status.is_some() {
        return (None, true);
    }
    let update = revisions.update.recorded.name.as_str();
    let stored = revisions.current.recorded.name.as_str();
    let at_update = |set: &&Set| set.revision() == update;
    let promoted = seen
        .sets
        .iter()
        .all(|set| at_update(&set) && (set.terminating || set.all_roles(|role| role.updated_replicas)));
    let current = if promoted { update } else { stored };
    let count = |picked: &dyn Fn(&&Set) -> bool| {
        i32::try_from(seen.sets.iter().filter(picked).count()).unwrap_or(i32::MAX)
    };
    let ready = count(&|set| set.is_ready());
    let total = count(&|_| true);
    let updated = |set: &&Set| at_update(set) && set.all_roles(|role| role.updated_replicas);
    let updated_ready =
        |set: &&Set| updated(set) && set.is_ready() && set.all_roles(|role| role.updated_ready_replicas);
    let service = &seen.service;
    let status = StormServiceStatus {
        observed_generation: service.metadata.generation.unwrap_or_default(),
        replicas: total,
        ready_replicas: ready,
        not_ready_replicas: total - ready,
        current_replicas: count(&|set| set.revision() == current),
        updated_replicas: count(&updated),
        updated_ready_replicas: count(&updated_ready),
        current_revision: current.to_owned(),
        update_revision: update.to_owned(),
        collision_count: Some(i32::try_from(collisions).unwrap_or(i32::MAX)),
        scaling_target_selector: format!("{STORM_SERVICE_NAME_LABEL}={}", service.name_any()),
        conditions: service.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default(),
        role_statuses: roles_of(seen, update),
    };
    (Some(with_ready(status, seen, now)), waits)
}

fn with_ready(mut status: StormServiceStatus, seen: &Snapshot, now: Timestamp) -> StormServiceStatus {
    let desired = i32::try_from(seen.desired()).unwrap_or(i32::MAX);
    let ready = status.ready_replicas >= desired
        && status.updated_replicas == desired
        && status.replicas == desired
        && status.current_revision == status.update_revision;
    let said = |kind, status, reason| Stated { kind, status, reason, message: String::new() };
    if ready {
        conditions::state(&mut status.conditions, said(READY, ConditionStatus::True, "Ready"), now);
        conditions::remove(&mut status.conditions, PROGRESSING);
    } else {
        conditions::state(&mut status.conditions, said(READY, ConditionStatus::False, "NotReady"), now);
        let progressing = said(PROGRESSING, ConditionStatus::True, "Processing");
        conditions::state(&mut status.conditions, progressing, now);
    }
    status
}

/// With what went wrong in the pass; `None`: nothing did.
pub(super) fn with_failure(
    mut status: StormServiceStatus,
    failure: Option<String>,
    now: Timestamp,
) -> StormServiceStatus {
    match failure {
        None => conditions::remove(&mut status.conditions, REPLICA_FAILURE),
        Some(message) => {
            let failure =
                Stated { kind: REPLICA_FAILURE, status: ConditionStatus::True, reason: "Failure", message };
            conditions::state(&mut status.conditions, failure, now);
        }
    }
    status
}

/// Sums over the RoleSets by role, sorted by name; updated ones only of those at the update revision.
fn roles_of(seen: &Snapshot, update: &str) -> Vec<RoleStatus> {
    let mut roles: BTreeMap<&str, RoleStatus> = BTreeMap::new();
    for set in &seen.sets {
        let statuses = set.role_set.status.as_ref().map(|status| status.roles.as_slice()).unwrap_or_default();
        for role in statuses {
            let sum = roles
                .entry(&role.name)
                .or_insert_with(|| RoleStatus { name: role.name.clone(), ..RoleStatus::default() });
            sum.replicas = sum.replicas.saturating_add(role.replicas);
            sum.ready_replicas = sum.ready_replicas.saturating_add(role.ready_replicas);
            sum.not_ready_replicas = sum.not_ready_replicas.saturating_add(role.not_ready_replicas);
            if set.revision() == update && set.passed {
                sum.updated_replicas = sum.updated_replicas.saturating_add(role.updated_replicas);
                sum.updated_ready_replicas =
                    sum.updated_ready_replicas.saturating_add(role.updated_ready_replicas);
            }
        }
    }
    roles.into_values().collect()
}

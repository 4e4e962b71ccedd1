// SPDX-License-Identifier: Apache-2.0
//! What a pass of a `PodSet` does. Pure.
//!
//! A group has one live pod for each index of `0..podGroupSize`. A pod that has ended is deleted and made again, and an
//! index is free only once its object is gone.
//!
//! | Policy | An index without a live pod |
//! |---|---|
//! | `ReplaceUnhealthy` | is filled again; if the group was complete before, live pods whose containers were restarted go, too |
//! | `Recreate` | of a group that was complete, or with a pod that ended or terminates: all pods go, and come back together |
//!
//! Under `Recreate` a group that was never complete since its pods were made is completed, not made anew: the status
//! tells the two apart, and says 0 pods between the end of the old ones and the first of the new ones.

use std::collections::BTreeSet;

use kube::ResourceExt;
use kube_loops::{cluster::events::EventText, rollout::slots::missing, runtime::children::ChildRef};
use serde_json::{Value, json};

use crate::api::{
    keys::storm_service::{IN_PLACE_READY, POD_SET_NAME, TARGET_HASH, TEMPLATE_DIGEST},
    orchestration::PodSetStatus,
};

use super::{
    super::{json::at, pod_groups, render, templates::digest_of},
    snapshot::{Member, Snapshot},
};

/// A change.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Nobody's pod with our label becomes ours.
    Adopt(ChildRef),
    /// The pod is noted to be of this template.
    Stamp(ChildRef, String),
    /// The condition of our readiness gate becomes true.
    OpenGate(ChildRef),
    /// The pod goes.
    Delete(ChildRef),
    /// A pod is made: its index, and the whole object.
    Create(usize, Value),
}

/// What a pass does.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Plan {
    /// Changes of pods: deletions come before creations, and one that fails does not keep the others back.
    pub(super) steps: Vec<Step>,
    /// Changes of `PodGroups`.
    pub(super) groups: pod_groups::GroupPlan,
    /// To be told once the steps are done.
    pub(super) events: Vec<EventText>,
    /// To be told once for as long as it is so.
    pub(super) warnings: Vec<EventText>,
    /// All pods are gone, and so may the `PodSet`.
    pub(super) finalized: bool,
}

/// Same inputs, same plan; of a group that is as wanted, no steps.
pub(super) fn plan(seen: &Snapshot) -> Plan {
    if seen.pod_set.metadata.deletion_timestamp.is_some() {
        return finalize(seen);
    }
    let mut plan = Plan { groups: plan_groups(seen), ..Plan::default() };
    plan.steps.extend(seen.adoptable.iter().map(|pod| Step::Adopt(ChildRef::to(&**pod))));
    if !seen.adoptable.is_empty() || !seen.caught_up {
        return plan; // what there is comes first
    }
    let carriers = seen.carriers();
    let names: BTreeSet<&str> = carriers.values().map(|member| member.name()).collect();
    let size = seen.size();
    let ended = seen.members.iter().filter(|member| member.has_ended());
    let mut delete: Vec<&Member> = ended.collect();
    let beside: Vec<&Member> =
        seen.members.iter().filter(|member| member.is_live() && !names.contains(member.name())).collect();
    // What AIBrix left without a usable index is nobody's fault and serves: it stays, and people are told.
    let (ours, strays): (Vec<&Member>, Vec<&Member>) =
        beside.into_iter().partition(|member| member.has_digest());
    let excess = ours.iter().filter(|member| member.index().is_none_or(|index| index >= size)).count();
    if excess > 0 {
        plan.events.push(normal(
            "ScalingDown",
            format!("Deleting {excess} excess pods to meet desired count of {size}"),
        ));
    }
    delete.extend(ours);
    if !strays.is_empty() {
        plan.warnings.push(stray(&strays));
    }
    if seen.recreates() {
        recreate(seen, delete, &mut plan);
    } else {
        replace(seen, delete, &mut plan);
    }
    plan.steps.extend(carriers.values().flat_map(|member| settle(seen, member)));
    plan.warnings.extend(plan.groups.trouble.take());
    plan
}

/// Deletes the pods, then what schedules them together, then lets the `PodSet` go.
fn finalize(seen: &Snapshot) -> Plan {
    let live = seen.members.iter().filter(|member| !member.terminating);
    let steps: Vec<Step> = live.map(|member| Step::Delete(member.reference())).collect();
    let gone = seen.members.is_empty() && seen.caught_up;
    let groups = if gone { pod_groups::plan_none(&seen.groups) } else { Vec::new() };
    Plan {
        finalized: gone && groups.is_empty(),
        groups: pod_groups::GroupPlan { steps: groups, ..pod_groups::GroupPlan::default() },
        steps,
        ..Plan::default()
    }
}

fn plan_groups(seen: &Snapshot) -> pod_groups::GroupPlan {
    let (name, namespace) = (seen.pod_set.name_any(), seen.pod_set.namespace().unwrap_or_default());
    let owner = pod_groups::GroupOwner {
        namespace: &namespace,
        name: &name,
        reference: render::owner(&*seen.pod_set, "PodSet"),
        label: POD_SET_NAME,
    };
    pod_groups::plan(&owner, seen.pod_set.spec.scheduling_strategy.as_ref(), &seen.groups)
}

impl Snapshot {
    fn recreates(&self) -> bool {
        self.pod_set.spec.recovery_policy.as_deref() == Some("Recreate")
    }

    /// Indexes that an object has, whatever its state.
    fn occupied(&self) -> impl Iterator<Item = usize> + '_ {
        self.members.iter().filter_map(Member::index)
    }

    /// Whether a pod was lost, so that the group is to be made anew.
    fn has_loss(&self) -> bool {
        let carriers = self.carriers();
        let size = self.size();
        let without = |index: &usize| !carriers.contains_key(index);
        let dead = self.members.iter().filter(|member| !member.is_live()).filter_map(Member::index);
        let ended = dead.filter(|index| *index < size).any(|index| without(&index));
        let was_complete =
            self.total_before() >= size || carriers.values().any(|member| member.is_of_other_size(size));
        ended || was_complete && (0..size).any(|index| without(&index))
    }
}

impl Member {
    /// Whether it was made for a group of another size.
    fn is_of_other_size(&self, size: usize) -> bool {
        let made_for = self.member().and_then(|member| member.group_size.as_deref());
        made_for.is_some_and(|made_for| made_for != size.to_string())
    }
}

/// Fills free indexes.
fn replace<'a>(seen: &'a Snapshot, mut delete: Vec<&'a Member>, plan: &mut Plan) {
    let carriers = seen.carriers();
    let size = seen.size();
    let lost_some = seen.total_before() >= size && carriers.len() < size;
    if lost_some {
        let restarted: Vec<&Member> =
            carriers.values().copied().filter(|member| member.was_restarted()).collect();
        if !restarted.is_empty() {
            plan.events.push(normal(
                "DeletingUnhealthyPods",
                format!("Deleting {} unhealthy pods due to container restarts.", restarted.len()),
            ));
        }
        delete.extend(restarted);
    }
    let free = missing(seen.occupied(), size);
    if lost_some && carriers.len() < size {
        plan.events.push(normal(
            "ReplacingUnhealthy",
            format!(
                "ReplaceUnhealthy policy: creating {} pod(s) to replace missing ones, aiming for {size} total.",
                size - carriers.len()
            ),
        ));
    }
    plan.steps.extend(delete.iter().map(|member| Step::Delete(member.reference())));
    create(seen, free, plan);
}

/// Makes all pods anew after a loss, or completes a group that was never complete.
fn recreate<'a>(seen: &'a Snapshot, mut delete: Vec<&'a Member>, plan: &mut Plan) {
    if seen.has_loss() {
        let live: Vec<&Member> = seen.carriers().into_values().collect();
        if !live.is_empty() {
            plan.events.push(normal(
                "RecreatingAllPods",
                format!(
                    "Recreate policy triggered: deleting all {} active pods before creating new ones",
                    live.len()
                ),
            ));
        }
        delete.extend(live);
        plan.steps.extend(delete.iter().map(|member| Step::Delete(member.reference())));
        return; // the status says that there are none before the first is made
    }
    plan.steps.extend(delete.iter().map(|member| Step::Delete(member.reference())));
    let free = missing(seen.occupied(), seen.size());
    create(seen, free, plan);
}

fn create(seen: &Snapshot, free: Vec<usize>, plan: &mut Plan) {
    for index in free {
        let pod = render::pod_of_group(&seen.pod_set, index);
        let name = at(&pod, &["metadata", "name"]).as_str().unwrap_or_default().to_owned();
        if seen.taken.contains(&name) {
            let message =
                format!("pod {name} (index {index}) cannot be made: a pod of this name is not ours");
            plan.warnings.push(EventText { warning: true, reason: "PodNameConflict", message });
            continue;
        }
        plan.steps.push(Step::Create(index, pod));
    }
}

/// What a pod that stays needs: the condition of our gate, and, in a group that users made, the digest of its template.
fn settle(seen: &Snapshot, member: &Member) -> Vec<Step> {
    let Some(facts) = member.member() else { return Vec::new() };
    let mut steps = Vec::new();
    let closed = facts.gates.iter().any(|(gate, holds)| &**gate == IN_PLACE_READY && *holds != Some(true));
    if closed && facts.annotation(TARGET_HASH).is_none() {
        steps.push(Step::OpenGate(member.reference()));
    }
    if !member.has_digest() && steps.is_empty() {
        // Of a group that AIBrix made for a RoleSet, the RoleSet's loop says first whether it is of the role's template.
        let controlled = kube_loops::k8s::owner::controller_of(&seen.pod_set.metadata).is_some();
        let own = seen.pod_set.annotations().get(TEMPLATE_DIGEST).cloned();
        let digest = own.or_else(|| (!controlled).then(|| digest_of(&seen.pod_set.spec.template)));
        steps.extend(digest.map(|digest| Step::Stamp(member.reference(), digest)));
    }
    steps
}

fn normal(reason: &'static str, message: String) -> EventText {
    EventText { warning: false, reason, message }
}

fn stray(strays: &[&Member]) -> EventText {
    let names: Vec<&str> = strays.iter().map(|member| member.name()).collect();
    let message = format!(
        "pods without a usable index of their own are not counted and stay until the PodSet goes: {}",
        names.join(", ")
    );
    EventText { warning: true, reason: "StrayGroupMembers", message }
}

/// The status after a pass. `deleted`: names of pods that were deleted in it; `created`: how many were made.
pub(super) fn status_after(seen: &Snapshot, deleted: &BTreeSet<String>, created: usize) -> PodSetStatus {
    let stays = |member: &&&Member| !deleted.contains(member.name());
    let carriers = seen.carriers();
    let staying: Vec<&&Member> = carriers.values().filter(stays).collect();
    let ready = staying.iter().filter(|member| member.is_ready()).count();
    let total = staying.len() + created;
    let phase = match ready {
        _ if total == 0 => "Pending",
        ready if ready == seen.size() => "Ready",
        0 => "Pending",
        _ => "Running",
    };
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    PodSetStatus {
        ready_pods: count(ready),
        total_pods: count(total),
        phase: phase.to_owned(),
        conditions: seen.pod_set.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default(),
    }
}

/// The patch of [`Step::Stamp`].
pub(super) fn stamp(digest: &str) -> Value {
    json!({"metadata": {"annotations": {TEMPLATE_DIGEST: digest}}})
}

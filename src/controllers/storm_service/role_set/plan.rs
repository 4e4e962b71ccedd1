// SPDX-License-Identifier: Apache-2.0
//! What a pass of a RoleSet does. Pure.
//!
//! Take over what is there, scale every role, and only when no role had to be scaled roll one or more of them on. A role
//! whose replicas were refused when they were made last keeps the others from nothing, and gives up its own outdated ones
//! within its budget: that may be what makes room. What is rolled:
//!
//! | `updateStrategy` | Rolls |
//! |---|---|
//! | `Parallel` | all roles |
//! | `Sequential` | by `upgradeOrder`, the next one when the one before is wholly updated and ready |
//! | `Interleave` | all unfinished roles that are not ahead of the slowest, a step at a time |

use std::collections::BTreeSet;

use kube_loops::rollout::{interleave::pace_of_step, pool::Pace};
use serde_json::json;

use crate::api::{keys::storm_service::ROLE_SET_NAME, orchestration::SchedulingStrategy};

use super::{
    super::{merge, pod_groups, render},
    adoption, in_place,
    in_place::Update,
    roles::{Kept, Role, roles_of},
    scaling,
    snapshot::Snapshot,
    status,
    steps::{Notice, Plan, Step},
    topology_notice,
};

/// Same inputs, same plan; of a RoleSet that is as wanted, no steps.
pub(super) fn plan(seen: &Snapshot) -> Plan {
    if seen.role_set.metadata.deletion_timestamp.is_some() {
        return finalize(seen);
    }
    let mut plan = Plan { groups: plan_groups(seen), ..Plan::default() };
    if let Some(trouble) = plan.groups.trouble.take() {
        plan.notices.push(Notice {
            key: format!("{}/{}", trouble.reason, trouble.message),
            text: trouble,
            once: false,
        });
    }
    plan.steps = adoption::of_orphans(seen);
    if !plan.steps.is_empty() {
        plan.look_again = true;
        return plan;
    }
    let roles = roles_of(seen);
    plan.errors.clone_from(&roles.errors);
    // Counts without members that could not be judged would say that there is something to roll.
    plan.roles = (!roles.unknown).then(|| status::counts_of(seen, &roles.usable));
    plan.notices.extend(roles.notices.iter().cloned());
    let conflicts = roles.usable.iter().flat_map(|role| scaling::conflicts(seen, role));
    for conflict in conflicts {
        plan.notices.push(Notice::warning("NameConflict", conflict.clone()));
        plan.errors.push(conflict);
    }
    plan.notices.extend(unused_strategies(&roles.usable));
    plan.steps = adoption::of_members(seen, &roles, &mut plan.notices);
    plan.steps.extend(roles.usable.iter().flat_map(drifted_sets));
    plan.notices.extend(topology_notice::of(seen, &roles.usable));
    if !seen.caught_up || roles.unknown {
        return plan; // what there is has to be known before anything is made or taken away
    }
    plan.steps.extend(roles.usable.iter().flat_map(|role| in_place::settle(seen, role)));
    plan.steps.extend(adoption::of_removed_roles(seen, &mut plan.notices));
    let (mut busy, mut filling) = (false, BTreeSet::new());
    for role in &roles.usable {
        let scaled = scaling::scale(seen, role);
        if seen.refused.contains(&role.spec.name) && scaled.only_creates() {
            filling.insert(role.spec.name.as_str());
        } else {
            busy |= scaled.busy;
        }
        plan.steps.extend(scaled.steps);
    }
    if !busy {
        roll(seen, &roles.usable, &filling, &mut plan);
    }
    let heading = |role: &Role<'_>| role.members.iter().any(|member| member.target().is_some());
    plan.updates_in_place = roles.usable.iter().any(heading);
    plan
}

/// `PodSets` first, then pods, then what schedules them together, then the RoleSet.
fn finalize(seen: &Snapshot) -> Plan {
    let doomed = |sets: bool| {
        let live =
            seen.members.iter().filter(move |member| member.is_set() == sets && !member.is_terminating());
        live.map(scaling::delete_step).collect::<Vec<_>>()
    };
    if seen.members.iter().any(super::member::Member::is_set) {
        return Plan { steps: doomed(true), ..Plan::default() };
    }
    if !seen.members.is_empty() || !seen.caught_up {
        return Plan { steps: doomed(false), ..Plan::default() };
    }
    let steps = pod_groups::plan_none(&seen.groups);
    Plan {
        finalized: steps.is_empty(),
        groups: pod_groups::GroupPlan { steps, ..pod_groups::GroupPlan::default() },
        ..Plan::default()
    }
}

fn plan_groups(seen: &Snapshot) -> pod_groups::GroupPlan {
    let (namespace, name) = adoption::identity(seen);
    let owner = pod_groups::GroupOwner {
        namespace: &namespace,
        name: &name,
        reference: render::owner(&*seen.role_set, "RoleSet"),
        label: ROLE_SET_NAME,
    };
    pod_groups::plan(&owner, seen.role_set.spec.scheduling_strategy.as_ref(), &seen.groups)
}

/// A strategy of a role whose replicas are single pods has no effect.
fn unused_strategies(roles: &[Role<'_>]) -> Vec<Notice> {
    let unused =
        roles.iter().filter(|role| role.kept != Kept::Sets && role.spec.scheduling_strategy.is_some());
    let notice = |role: &Role<'_>| {
        let message = format!(
            "role {}: its schedulingStrategy has no effect, because its podGroupSize is not above 1",
            role.spec.name
        );
        Notice::warning("SchedulingStrategyUnused", message)
    };
    unused.map(notice).collect()
}

/// `PodSets` whose scheduling strategy is not the role's any more.
fn drifted_sets(role: &Role<'_>) -> Vec<Step> {
    if role.kept != Kept::Sets {
        return Vec::new();
    }
    let live = role.members.iter().filter(|member| !member.is_terminating() && member.digest().is_some());
    let patch = |member: &super::member::Member| {
        let (have, wanted) = (&member.set()?.spec.scheduling_strategy, &role.spec.scheduling_strategy);
        if pod_groups::ask_for_the_same(have.as_ref(), wanted.as_ref()) {
            return None;
        }
        let spec = |strategy: &Option<SchedulingStrategy>| {
            let strategy =
                strategy.as_ref().map(|strategy| ("schedulingStrategy".to_owned(), json!(strategy)));
            strategy.into_iter().collect()
        };
        let patch = merge::merge_between(&spec(have), &spec(wanted));
        Some(Step::PatchSet(member.reference(), json!({"spec": patch})))
    };
    live.filter_map(patch).collect()
}

/// Rolls the roles whose turn it is; of those that are being filled up, nothing more is made.
fn roll(seen: &Snapshot, roles: &[Role<'_>], filling: &BTreeSet<&str>, plan: &mut Plan) {
    let mut roll_one = |role: &Role<'_>, pace| {
        let mut steps = roll_one(seen, role, pace, &mut plan.notices);
        steps.retain(|step| !step.creates() || !filling.contains(role.spec.name.as_str()));
        plan.steps.extend(steps);
    };
    match seen.role_set.spec.update_strategy.as_deref() {
        Some("Parallel") => roles.iter().for_each(|role| roll_one(role, Pace::Free)),
        Some("Interleave") => interleave(roles, roll_one),
        _ => {
            let mut ordered: Vec<&Role<'_>> = roles.iter().collect();
            ordered.sort_by_key(|role| (role.spec.upgrade_order.is_none(), role.spec.upgrade_order));
            for role in ordered {
                roll_one(role, Pace::Free);
                if !role.progress().all_ready {
                    break;
                }
            }
        }
    }
}

fn interleave(roles: &[Role<'_>], mut roll_one: impl FnMut(&Role<'_>, Pace)) {
    let unfinished = roles.iter().filter(|role| !role.progress().all_ready);
    let steps: Vec<(usize, &Role<'_>)> =
        unfinished.map(|role| (role.progress().step(role.limits), role)).collect();
    let Some(step) = steps.iter().map(|(step, _)| *step).min() else { return };
    for (own, role) in steps {
        if own <= step {
            roll_one(role, pace_of_step(step, role.limits));
        }
    }
}

fn roll_one(seen: &Snapshot, role: &Role<'_>, pace: Pace, notices: &mut Vec<Notice>) -> Vec<Step> {
    if role.is_updated_in_place() {
        match in_place::update(seen, role, pace) {
            Update::InPlace(steps) => return steps,
            Update::Replace(why) => notices.extend(why),
        }
    }
    scaling::replace(seen, role, pace)
}

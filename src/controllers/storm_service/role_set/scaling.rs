// SPDX-License-Identifier: Apache-2.0
//! What a pass does to the members of one role: scale, and replace what is outdated. Pure.

use kube_loops::rollout::{
    order::{pool_rollout, pool_scale_in},
    pool::{self, Pace, Surplus},
    replica::Replica,
    slots,
};

use super::{
    super::{batches, names},
    roles::{Kept, Role},
    snapshot::Snapshot,
    steps::Step,
};

/// Brings the role to its number of replicas. What is left from before its group size changed goes first, and nothing
/// else happens until it is gone.
pub(super) fn scale(seen: &Snapshot, role: &Role<'_>) -> Scaling {
    if !role.strays.is_empty() {
        let doomed = role.strays.iter().filter(|stray| !stray.is_terminating());
        return Scaling { steps: doomed.map(delete_step).collect(), busy: true };
    }
    let (delete, create) = match role.kept {
        Kept::Pool => {
            let step = pool::scale(&role.replicas, role.limits, pool_scale_in, Surplus::Waits);
            (step.delete, New::Pods(step.create))
        }
        Kept::Slots | Kept::Sets => {
            let step = slots::scale(&role.replicas, role.limits, |index| has_free_name(seen, role, index));
            (step.delete, New::Indexed(step.create))
        }
    };
    let steps = steps_for(seen, role, &delete, &create);
    Scaling { busy: !steps.is_empty(), steps }
}

/// Whether the replica of this index can be made: nobody else has its name, and none of ours that has ended or terminates.
fn has_free_name(seen: &Snapshot, role: &Role<'_>, index: usize) -> bool {
    let name = role.rendered(&seen.role_set).indexed_name(index);
    !seen.taken.contains(&name) && seen.members.iter().all(|member| member.name() != name)
}

/// Replicas that cannot be made, because somebody else has their names.
pub(super) fn conflicts(seen: &Snapshot, role: &Role<'_>) -> Vec<String> {
    if seen.taken.is_empty() || role.kept == Kept::Pool {
        return Vec::new();
    }
    let kind = if role.kept == Kept::Sets { "PodSet" } else { "pod" };
    let rendered = role.rendered(&seen.role_set);
    let names = (0..role.limits.desired).map(|index| rendered.indexed_name(index));
    let taken = names.filter(|name| seen.taken.contains(name));
    taken
        .map(|name| {
            format!(
                "role {}: {kind} {name} cannot be made, because one of this name is not ours",
                role.spec.name
            )
        })
        .collect()
}

/// What scaling does.
#[derive(Debug, Default)]
pub(super) struct Scaling {
    /// Changes.
    pub(super) steps: Vec<Step>,
    /// Whether anything is done or waited for, so that nothing is rolled.
    pub(super) busy: bool,
}

impl Scaling {
    /// Whether it makes replicas and does nothing else.
    pub(super) fn only_creates(&self) -> bool {
        !self.steps.is_empty() && self.steps.iter().all(Step::creates)
    }
}

/// Replaces outdated replicas.
pub(super) fn replace(seen: &Snapshot, role: &Role<'_>, pace: Pace) -> Vec<Step> {
    let (delete, create) = match role.kept {
        Kept::Pool => {
            let step = pool::roll(&role.replicas, role.limits, pool_rollout, pace);
            (step.delete, New::Pods(step.create))
        }
        Kept::Slots | Kept::Sets => {
            let rendered = role.rendered(&seen.role_set);
            let holds_name = |replica: &Replica| {
                replica.index.is_some_and(|index| rendered.indexed_name(index) == replica.name)
            };
            let step = slots::roll(&role.replicas, role.limits, pace, holds_name);
            (step.delete, New::Indexed(step.create))
        }
    };
    steps_for(seen, role, &delete, &create)
}

/// What is to be made.
enum New {
    Pods(usize),
    Indexed(Vec<usize>),
}

fn steps_for(seen: &Snapshot, role: &Role<'_>, delete: &[&Replica], create: &New) -> Vec<Step> {
    let rendered = role.rendered(&seen.role_set);
    let created: Vec<Step> = match create {
        New::Pods(count) => {
            let (prefix, draw) = (rendered.prefix(), format!("{:x}", seen.draw));
            let name = |place| names::generated(&prefix, &draw, place);
            (0..(*count).min(batches::MOST))
                .map(|place| Step::CreatePod(rendered.pod(&name(place))))
                .collect()
        }
        New::Indexed(indexes) => {
            let free = indexes.iter().filter(|index| has_free_name(seen, role, **index));
            let made = |index: &usize| match role.kept {
                Kept::Sets => Step::CreateSet(rendered.pod_set(*index)),
                Kept::Slots | Kept::Pool => Step::CreatePod(rendered.indexed_pod(*index)),
            };
            free.take(batches::MOST).map(made).collect()
        }
    };
    let doomed =
        delete.iter().take(batches::MOST).filter_map(|replica| role.member(replica)).map(delete_step);
    created.into_iter().chain(doomed).collect()
}

/// The deletion of a member.
pub(super) fn delete_step(member: &super::member::Member) -> Step {
    if member.is_set() { Step::DeleteSet(member.reference()) } else { Step::DeletePod(member.reference()) }
}

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
    steps::{Notice, Step},
};

/// Brings the role to its number of replicas. What is left from before its group size changed goes first, and nothing
/// else happens until it is gone.
pub(super) fn scale(seen: &Snapshot, role: &Role<'_>, notices: &mut Vec<Notice>) -> Scaling {
    if !role.strays.is_empty() {
        let doomed = role.strays.iter().filter(|stray| !stray.is_terminating());
        let steps = doomed.map(delete_step).collect();
        return Scaling { steps, busy: true };
    }
    let (delete, create) = match role.kept {
        Kept::Pool => {
            let step = pool::scale(&role.replicas, role.limits, pool_scale_in, Surplus::Waits);
            (step.delete, New::Pods(step.create))
        }
        Kept::Slots | Kept::Sets => {
            let step = slots::scale(&role.replicas, role.limits);
            (step.delete, New::Indexed(step.create))
        }
    };
    let steps = steps_for(seen, role, &delete, &create, notices);
    Scaling { busy: !steps.is_empty(), steps }
}

/// What scaling does.
#[derive(Debug, Default)]
pub(super) struct Scaling {
    /// Changes.
    pub(super) steps: Vec<Step>,
    /// Whether anything is done or waited for, so that nothing is rolled.
    pub(super) busy: bool,
}

/// Replaces outdated replicas.
pub(super) fn replace(seen: &Snapshot, role: &Role<'_>, pace: Pace, notices: &mut Vec<Notice>) -> Vec<Step> {
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
    steps_for(seen, role, &delete, &create, notices)
}

/// What is to be made.
enum New {
    Pods(usize),
    Indexed(Vec<usize>),
}

fn steps_for(
    seen: &Snapshot,
    role: &Role<'_>,
    delete: &[&Replica],
    create: &New,
    notices: &mut Vec<Notice>,
) -> Vec<Step> {
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
            let free = |index: &&usize| {
                let name = rendered.indexed_name(**index);
                let taken = seen.taken.contains(&name);
                if taken {
                    let kind = if role.kept == Kept::Sets { "PodSet" } else { "pod" };
                    let message = format!(
                        "role {}: {kind} {name} cannot be made, because one of this name is not ours",
                        role.spec.name
                    );
                    notices.push(Notice::warning("NameConflict", message));
                }
                !taken
            };
            let made = |index: &usize| match role.kept {
                Kept::Sets => Step::CreateSet(rendered.pod_set(*index)),
                Kept::Slots | Kept::Pool => Step::CreatePod(rendered.indexed_pod(*index)),
            };
            indexes.iter().take(batches::MOST).filter(free).map(made).collect()
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

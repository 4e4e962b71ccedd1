// SPDX-License-Identifier: Apache-2.0
//! Pods on which the adapter is not wanted any more: it is unloaded there if that is possible. Pure.

use super::{
    plan::unload,
    snapshot::{PodSeen, Snapshot},
    state::UnloadAttempt,
    status,
    steps::Plan,
};

/// What became of a pod without use.
enum Fate {
    /// It is wanted again, gone, or rid of the adapter.
    Settled,
    /// Nothing can be done now.
    Waits,
    /// The adapter is to be unloaded.
    Unload,
}

/// Plans to unload the adapter where it is left over, beside these `instances`.
pub(super) fn plan_unload(plan: &mut Plan, seen: &Snapshot, instances: &[&PodSeen]) {
    let is_instance = |pod: &PodSeen| instances.iter().any(|it| it.facts.uid == pod.facts.uid);
    let left_over = |pod: &&PodSeen| pod.engine.loaded.is_some() && pod.engine.unloaded != Some(true);
    // Loads that ended too late to be wanted.
    let late_inside = seen.pods.iter().filter(|pod| {
        seen.is_single() && !instances.is_empty() && !is_instance(pod) && (left_over(pod) || pod.has_it())
    });
    let late = late_inside.chain(seen.outside.iter().filter(left_over));
    for pod in late {
        plan.remember.unwanted.entry(pod.facts.uid.clone()).or_default();
    }
    let unwanted = std::mem::take(&mut plan.remember.unwanted);
    for (uid, before) in unwanted {
        let pods = || seen.pods.iter().chain(&seen.outside);
        let Some(pod) = pods().find(|pod| pod.facts.uid == uid) else { continue };
        let is_candidate = seen.pods.iter().any(|it| it.facts.uid == uid);
        let wanted = if seen.is_single() { is_instance(pod) } else { is_candidate };
        match fate(seen, pod, &before, wanted, instances) {
            Fate::Settled => {
                if pod.engine.unloaded == Some(true) && !wanted {
                    let message = format!("Unloaded adapter from pod {}", pod.name());
                    plan.tell(false, status::UNLOADED, message);
                }
            }
            Fate::Waits => {
                plan.remember.unwanted.insert(uid, before);
            }
            Fate::Unload => {
                plan.steps.extend(unload(pod));
                plan.remember
                    .unwanted
                    .insert(uid, UnloadAttempt { asked: true, ready_since: pod.facts.ready_since });
            }
        }
    }
}

fn fate(
    seen: &Snapshot,
    pod: &PodSeen,
    before: &UnloadAttempt,
    wanted: bool,
    instances: &[&PodSeen],
) -> Fate {
    if wanted || pod.facts.is_finished() {
        return Fate::Settled;
    }
    if pod.engine.call.is_some() {
        return Fate::Waits;
    }
    if before.asked && pod.engine.unloaded == Some(true) {
        return Fate::Settled;
    }
    // A pod that is selected may be needed again, unless another one does its work.
    let needless = !pod.selected || (seen.is_single() && !instances.is_empty());
    let callable = !pod.facts.leaving && pod.facts.ip.is_some() && pod.endpoint.is_ok();
    // Once more each time that it becomes ready.
    let anew = pod.facts.ready_since.is_some() && pod.facts.ready_since != before.ready_since;
    let tried = before.asked && !anew;
    if needless && callable && !tried { Fate::Unload } else { Fate::Waits }
}

// SPDX-License-Identifier: Apache-2.0
//! Deletion: the adapter is unloaded wherever it may be, within a bound, then the object is let go. Pure.

use std::time::Duration;

use jiff::SignedDuration;

use crate::api::keys::model_adapter::FINALIZER;
use kube_fenced_election::clock::Timestamp;

use super::{
    plan::unload,
    snapshot::{Change, Listed, PodSeen, Snapshot},
    state::State,
    status,
    steps::{Plan, Step},
};

/// All the time that unloading may take.
const BUDGET: Duration = Duration::from_secs(30);
/// The part of it in which a load that is under way may come to its end: what is unloaded before would be
/// loaded after.
const PATIENCE: Duration = Duration::from_secs(20);
/// The part of it in which engines may say what they list, that this term has not asked before.
const LIST_WAIT: Duration = Duration::from_secs(10);

/// Plans the next step of a deletion.
pub(super) fn plan_finalize(seen: &Snapshot, state: &State, now: Timestamp) -> Plan {
    let mut plan = Plan { remember: state.clone(), ..Plan::default() };
    let finalizers = seen.adapter.metadata.finalizers.as_deref().unwrap_or_default();
    if !finalizers.iter().any(|it| it == FINALIZER) {
        return plan;
    }
    let since = *plan.remember.deletion_seen_at.get_or_insert(now);
    let passed = Duration::try_from(now.duration_since(since).max(SignedDuration::ZERO)).unwrap_or(BUDGET);
    let mut waits = false;
    let pods: Vec<&PodSeen> = seen.pods.iter().chain(&seen.outside).collect();
    for pod in pods.into_iter().filter(|pod| is_target(seen, pod, state)) {
        let unload_requested = plan.remember.unload_requested.contains(&pod.facts.uid);
        match pod.engine.call {
            Some(Change::Unload) => waits = true,
            Some(Change::Load) if !unload_requested && passed < PATIENCE => {
                waits = true;
                plan.within(PATIENCE.saturating_sub(passed));
            }
            Some(Change::Load) | None if !unload_requested => {
                waits = true;
                plan.remember.unload_requested.insert(pod.facts.uid.clone());
                plan.steps.extend(unload(pod));
            }
            Some(Change::Load) | None => {}
        }
    }
    // The pod of a single replica is in the status before anything is loaded. Of others, an earlier term may have
    // loaded some without the status saying so: their engines are asked.
    let listing = seen.pods.iter().filter(|pod| !seen.is_single() && pod.endpoint.is_ok());
    let listing: Vec<&PodSeen> = listing.collect();
    if passed < LIST_WAIT && listing.iter().any(|pod| pod.engine.listed == Listed::Unknown) {
        waits = true;
        plan.within(LIST_WAIT.saturating_sub(passed));
    }
    if !waits || passed >= BUDGET {
        plan.steps = vec![Step::Release];
        plan.requeue = None;
        return plan;
    }
    plan.watch = listing.iter().map(|pod| pod.facts.uid.clone()).collect();
    plan.within(BUDGET.saturating_sub(passed));
    plan
}

/// Whether the pod may have the adapter and can be called.
fn is_target(seen: &Snapshot, pod: &PodSeen, state: &State) -> bool {
    let stored = seen.status();
    let is_instance = stored.instances.iter().any(|name| name == pod.name());
    let chosen = status::stored_choice(&stored) == Some(pod.name());
    let engine = &pod.engine;
    let attempted = engine.call.is_some()
        || engine.failed.is_some()
        || (engine.loaded.is_some() && engine.unloaded != Some(true))
        || state.unwanted.contains_key(&pod.facts.uid)
        || state.unload_requested.contains(&pod.facts.uid);
    let is_unstable = matches!(engine.listed, Listed::Unstable(_));
    let callable = !pod.facts.is_finished() && pod.facts.ip.is_some() && pod.endpoint.is_ok();
    callable && (is_instance || chosen || attempted || pod.has_it() || is_unstable)
}

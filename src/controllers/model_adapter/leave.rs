// SPDX-License-Identifier: Apache-2.0
//! Deletion: the adapter is unloaded wherever it may be, within a bound, then the object is let go. Pure.

use std::time::Duration;

use jiff::SignedDuration;

use crate::api::keys::model_adapter::FINALIZER;
use kube_fenced_election::clock::Timestamp;

use super::{
    memory::Memory,
    plan::unload,
    snapshot::{Change, PodSeen, Snapshot},
    status,
    steps::{Plan, Step},
};

/// All the time that unloading may take.
const BUDGET: Duration = Duration::from_secs(30);
/// The part of it in which a load that is under way may come to its end: what is unloaded before would be
/// loaded after.
const PATIENCE: Duration = Duration::from_secs(20);

/// Plans the next step of a deletion.
pub(super) fn plan_leave(seen: &Snapshot, memory: &Memory, now: Timestamp) -> Plan {
    let mut plan = Plan { remember: memory.clone(), ..Plan::default() };
    let finalizers = seen.adapter.metadata.finalizers.as_deref().unwrap_or_default();
    if !finalizers.iter().any(|it| it == FINALIZER) {
        return plan;
    }
    let since = *plan.remember.leaving_since.get_or_insert(now);
    let passed = Duration::try_from(now.duration_since(since).max(SignedDuration::ZERO)).unwrap_or(BUDGET);
    let mut waits = false;
    let pods: Vec<&PodSeen> = seen.pods.iter().chain(&seen.outside).collect();
    for pod in pods.into_iter().filter(|pod| is_target(seen, pod, memory)) {
        let dismissed = plan.remember.dismissed.contains(&pod.facts.uid);
        match pod.engine.call {
            Some(Change::Unload) => waits = true,
            Some(Change::Load) if !dismissed && passed < PATIENCE => {
                waits = true;
                plan.within(PATIENCE.saturating_sub(passed));
            }
            Some(Change::Load) | None if !dismissed => {
                waits = true;
                plan.remember.dismissed.insert(pod.facts.uid.clone());
                plan.steps.extend(unload(pod));
            }
            Some(Change::Load) | None => {}
        }
    }
    if !waits || passed >= BUDGET {
        plan.steps = vec![Step::Release];
        plan.requeue = None;
        return plan;
    }
    plan.within(BUDGET.saturating_sub(passed));
    plan
}

/// Whether the pod may have the adapter and can be called.
fn is_target(seen: &Snapshot, pod: &PodSeen, memory: &Memory) -> bool {
    let stored = seen.status();
    let is_instance = stored.instances.iter().any(|name| name == pod.name());
    let chosen = status::stored_choice(&stored) == Some(pod.name());
    let engine = &pod.engine;
    let attempted = engine.call.is_some()
        || engine.failed.is_some()
        || (engine.loaded.is_some() && engine.unloaded != Some(true))
        || memory.dropped.contains_key(&pod.facts.uid)
        || memory.dismissed.contains(&pod.facts.uid);
    let callable = !pod.facts.is_finished() && pod.facts.ip.is_some() && pod.endpoint.is_ok();
    callable && (is_instance || chosen || attempted || pod.has_it())
}

// SPDX-License-Identifier: Apache-2.0
//! What a pass does, from what it saw and remembers: place → load → publish. Pure: same inputs, same plan; on a
//! world that already matches, no steps.

use std::{collections::BTreeSet, sync::Arc};

use crate::api::{
    keys::model_adapter::{FINALIZER, LOADED_SPEC_HASH},
    model::{ModelAdapter, ModelAdapterStatus},
};
use kube_fenced_election::clock::Timestamp;
use kube_loops::k8s::selector::Selector;

use super::{
    finalize::plan_finalize,
    load::plan_load,
    publish,
    schedule::plan_schedule,
    snapshot::{PodSeen, Snapshot},
    state::{State, UnloadAttempt},
    status::{self, Draft},
    steps::{Plan, PodTarget, Step},
    unload::plan_unload,
};

/// What has to be stored before anything is loaded: the finalizer, and with it what is going to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FinalizerPatch {
    /// Hash of the source; `None`: an older manager has loaded something, nobody knows from what.
    pub(super) hash: Option<String>,
}

/// The first write of a new object; `None`: it was made, or the object is going.
pub(super) fn ensure_finalizer(adapter: &ModelAdapter, hash: &str) -> Option<FinalizerPatch> {
    let metadata = &adapter.metadata;
    let marked = metadata.finalizers.iter().flatten().any(|it| it == FINALIZER);
    if marked || metadata.deletion_timestamp.is_some() {
        return None;
    }
    let loaded = adapter.status.as_ref().is_some_and(|status| !status.instances.is_empty());
    Some(FinalizerPatch { hash: (!loaded).then(|| hash.to_owned()) })
}

/// The status that a new object gets before anything else; `None`: it has one, or it is going.
pub(super) fn initial_status(adapter: &ModelAdapter, now: Timestamp) -> Option<ModelAdapterStatus> {
    let has_conditions = adapter.status.as_ref().is_some_and(|status| !status.conditions.is_empty());
    let leaving = adapter.metadata.deletion_timestamp.is_some();
    (!has_conditions && !leaving).then(|| status::initial(adapter, now))
}

/// The selector of an adapter.
///
/// # Errors
/// What to tell people.
pub(super) fn selector_of(adapter: &ModelAdapter) -> Result<Selector, String> {
    let selector = adapter.spec.pod_selector.as_ref().ok_or("spec.podSelector is required")?;
    Selector::of_label_selector(selector).map_err(|error| format!("spec.podSelector is invalid: {error}"))
}

/// Hash of what was loaded last, as stored; `None`: an older manager loaded it.
pub(super) fn stored_hash(adapter: &ModelAdapter) -> Option<&str> {
    adapter.metadata.annotations.as_ref()?.get(LOADED_SPEC_HASH).map(String::as_str)
}

/// Decides on a snapshot.
pub(super) fn plan(seen: &Snapshot, state: &State, now: Timestamp) -> Plan {
    if seen.is_leaving() {
        return plan_finalize(seen, state, now);
    }
    let mut plan = Plan { remember: state.clone(), ..Plan::default() };
    if let Err(problem) = selector_of(&seen.adapter) {
        let mut draft = Draft::of(&seen.adapter, now);
        draft.begun();
        draft.phase(status::FAILED);
        draft.ready(false, status::VALIDATION_FAILED, &problem);
        plan.status = Some(draft.status);
        return plan;
    }
    let stored = seen.status();
    if !stored.instances.is_empty() {
        plan.remember.measuring_since = None;
    }
    // Whoever wrote a name twice: one pod is one instance.
    let mut named = BTreeSet::new();
    let instances = stored.instances.iter().filter(|name| named.insert(name.as_str()));
    let keep: Vec<&PodSeen> = instances.filter_map(|name| find(&seen.pods, name)).collect();
    for pod in seen.outside.iter().filter(|pod| stored.instances.iter().any(|name| name == pod.name())) {
        plan.remember.unwanted.entry(pod.facts.uid.clone()).or_default();
    }
    if !stored.instances.is_empty() && keep.is_empty() {
        plan_lost(&mut plan, seen, now);
    } else if seen.pods.is_empty() {
        plan_idle(&mut plan, seen, now);
    } else if let [first, rest @ ..] = keep.as_slice()
        && seen.is_single()
        && !rest.is_empty()
    {
        plan_scaled(&mut plan, seen, first, rest, now);
    } else {
        plan_hosted(&mut plan, seen, &keep, now);
    }
    plan
}

/// Every instance is gone: what is stored must not lead anybody to them.
fn plan_lost(plan: &mut Plan, seen: &Snapshot, now: Timestamp) {
    let mut draft = counted(seen, now);
    draft.instances(Vec::new());
    status::say_rescheduling(&mut draft);
    if seen.pods.is_empty() {
        say_unavailable(&mut draft, seen);
    } else {
        draft.ready(false, status::MIGRATING, "Adapter pod removed, migrating to new pod");
    }
    plan.steps.extend(publish::empty_slice(seen));
    plan.status = Some(draft.status);
    plan.remember.recovering = true;
    plan.again = true;
}

/// No pod can host it.
fn plan_idle(plan: &mut Plan, seen: &Snapshot, now: Timestamp) {
    let mut draft = counted(seen, now);
    draft.instances(Vec::new());
    say_unavailable(&mut draft, seen);
    let service = publish::ensure_service(plan, seen, &[], now);
    plan.steps.extend(service);
    plan.steps.extend(publish::empty_slice(seen));
    plan.status = Some(draft.status);
    plan_unload(plan, seen, &[]);
}

/// One replica is asked for, and several have it.
fn plan_scaled(plan: &mut Plan, seen: &Snapshot, first: &PodSeen, rest: &[&PodSeen], now: Timestamp) {
    let mut draft = counted(seen, now);
    draft.instances(vec![first.name().to_owned()]);
    draft.phase(status::SCALED);
    let name = status::full_name(&seen.adapter);
    draft.scheduled(true, status::SCALED, format!("ModelAdapter {name} scaled to 1 replicas"));
    for pod in rest {
        plan.remember.unwanted.insert(pod.facts.uid.clone(), UnloadAttempt::default());
    }
    plan.status = Some(draft.status);
    plan.again = true;
}

/// There are pods: place, load, publish.
fn plan_hosted(plan: &mut Plan, seen: &Snapshot, keep: &[&PodSeen], now: Timestamp) {
    let mut draft = counted(seen, now);
    let order: Vec<&PodSeen> = if !seen.is_single() {
        seen.pods.iter().collect()
    } else if let [only, ..] = keep {
        vec![*only]
    } else {
        let Some(order) = plan_schedule(plan, seen, &mut draft, now) else {
            plan.status = Some(draft.status);
            return;
        };
        order
    };
    plan.watch = order.iter().map(|pod| pod.facts.uid.clone()).collect();
    let instances = plan_load(plan, seen, &mut draft, &order, keep);
    plan_unload(plan, seen, &instances);
    if instances.is_empty() {
        plan.steps.extend(publish::empty_slice(seen));
    } else {
        let service = publish::ensure_service(plan, seen, &instances, now);
        // While the API server will not have the Service, the status goes on to say so.
        plan.serves = service.is_some() || !publish::refuses_service(plan, seen);
        plan.steps.extend(service);
        let slice = publish::ensure_slice(plan, seen, &instances);
        plan.steps.extend(slice);
    }
    plan.status = Some(draft.status);
}

/// The stored status with the numbers of this pass.
fn counted(seen: &Snapshot, now: Timestamp) -> Draft {
    let mut draft = Draft::of(&seen.adapter, now);
    let candidates = seen.pods.len();
    if candidates > 0 {
        draft.begun();
    }
    draft.wanted(candidates, if seen.is_single() { 1 } else { candidates });
    draft
}

fn say_unavailable(draft: &mut Draft, seen: &Snapshot) {
    let name = status::full_name(&seen.adapter);
    let message = format!("ModelAdapter {name} has no ready pods matching its selector");
    draft.ready(false, status::UNAVAILABLE, &message);
    draft.phase(status::PENDING);
}

pub(super) fn find<'a>(pods: &'a [PodSeen], name: &str) -> Option<&'a PodSeen> {
    pods.binary_search_by(|pod| pod.name().cmp(name)).ok().and_then(|at| pods.get(at))
}

/// Starts to unload the adapter from a pod that can be called.
pub(super) fn unload(pod: &PodSeen) -> Option<Step> {
    let endpoint = pod.endpoint.clone().ok()?;
    Some(Step::Unload { pod: PodTarget { facts: Arc::clone(&pod.facts), endpoint } })
}

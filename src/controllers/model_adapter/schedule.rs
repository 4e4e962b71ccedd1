// SPDX-License-Identifier: Apache-2.0
//! First stage, for one replica without an instance: which pod, and which ones if it refuses. Pure.

use std::time::Duration;

use jiff::SignedDuration;
use rand::{SeedableRng as _, rngs::SmallRng};

use kube_fenced_election::clock::Timestamp;

use super::{
    PERIOD,
    plan::find,
    policies::{self, CAPACITY, Candidate, Measured},
    settings::SchedulerPolicy,
    snapshot::{Change, PodSeen, Snapshot},
    status::{self, Draft},
    steps::{Plan, Reservation},
};

/// How long a choice waits for measurements: then it is made on those that are known.
const MEASURING: Duration = Duration::from_secs(10);
/// How long a pod must be ready before it is chosen.
const STABLE: Duration = Duration::from_secs(5);

/// Pods in the order in which they are tried. `None`: none is tried in this pass; the plan says why and when it
/// goes on.
pub(super) fn plan_schedule<'a>(
    plan: &mut Plan,
    seen: &'a Snapshot,
    draft: &mut Draft,
    now: Timestamp,
) -> Option<Vec<&'a PodSeen>> {
    let stored = seen.status();
    let known = chosen_before(seen, status::stored_choice(&stored));
    let first = match known {
        Some(pod) => pod,
        None => choose(plan, seen, draft, now)?,
    };
    plan.remember.measuring_since = None;
    let is_stored = status::stored_choice(&stored) == Some(first.name());
    if !is_stored {
        let name = status::full_name(&seen.adapter);
        status::say_scheduled(draft, &name, first.name());
        draft.phase(status::SCHEDULED);
        let message = format!("ModelAdapter has selected 1 pods for scheduling: [{}]", first.name());
        plan.tell(false, status::SCHEDULED, message);
        if status::is_rescheduling(&stored) {
            plan.remember.recovering = true;
        }
    }
    if seen.chosen.as_deref() != Some(&*first.facts.uid) {
        plan.reserve = Some(Reservation { pod: first.facts.name.clone(), uid: first.facts.uid.clone() });
    }
    if !is_stored {
        // The choice is stored before anything is loaded: whoever takes over goes on with it.
        plan.again = true;
        return None;
    }
    let others = seen.pods.iter().filter(|pod| pod.facts.uid != first.facts.uid && may_host(seen, pod));
    Some(std::iter::once(first).chain(others).collect())
}

/// The pod that was chosen already: it is being loaded, or has the adapter, or was told to.
fn chosen_before<'a>(seen: &'a Snapshot, stored: Option<&str>) -> Option<&'a PodSeen> {
    let is_loading = |pod: &&PodSeen| pod.engine.call == Some(Change::Load);
    let loading = seen.pods.iter().find(is_loading);
    let having = || seen.pods.iter().find(|pod| pod.has_it() && pod.engine.call.is_none());
    let chosen = || seen.pods.iter().find(|pod| Some(&*pod.facts.uid) == seen.chosen.as_deref());
    loading.or_else(having).or_else(chosen).or_else(|| find(&seen.pods, stored?).filter(|_| is_fresh(seen)))
}

/// Whether nothing was tried in this term: then what is stored is the choice of a predecessor.
fn is_fresh(seen: &Snapshot) -> bool {
    seen.pods.iter().all(|pod| pod.engine.failed.is_none() && pod.engine.loaded.is_none())
}

fn may_host(seen: &Snapshot, pod: &PodSeen) -> bool {
    !pod.engine.full && (seen.policy != SchedulerPolicy::BinPack || pod.models < CAPACITY)
}

fn choose<'a>(plan: &mut Plan, seen: &'a Snapshot, draft: &mut Draft, now: Timestamp) -> Option<&'a PodSeen> {
    let age = |pod: &PodSeen| pod.facts.ready_since.map_or(SignedDuration::ZERO, |at| now.duration_since(at));
    let stable = SignedDuration::try_from(STABLE).unwrap_or(SignedDuration::ZERO);
    let (old, young): (Vec<&PodSeen>, Vec<&PodSeen>) = seen.pods.iter().partition(|pod| age(pod) >= stable);
    if old.is_empty() {
        let oldest = young.iter().map(|pod| age(pod)).max().unwrap_or(SignedDuration::ZERO);
        let wait = Duration::try_from(stable - oldest).unwrap_or(Duration::ZERO);
        plan.within(wait.min(STABLE));
        let name = status::full_name(&seen.adapter);
        let message = format!("ModelAdapter {name} waits until a pod has been ready for 5 seconds");
        draft.instances(Vec::new());
        draft.ready(false, status::POD_NOT_READY, &message);
        draft.phase(status::PENDING);
        return None;
    }
    if measures(seen.policy) {
        if let Some(error) = &seen.metrics_error {
            plan.warn_once(status::FAILED_GET_METRICS, error.clone());
        }
        if old.iter().any(|pod| pod.measured.is_none()) && awaits_measurements(plan, now) {
            return None;
        }
    }
    let roomy = old.iter().filter(|pod| !pod.engine.full);
    let candidates: Vec<Candidate> = roomy.map(|pod| candidate(pod)).collect();
    let pick = if candidates.is_empty() { None } else { pick(seen, &candidates) };
    if pick.is_none() {
        let message = if candidates.is_empty() {
            "no pod has room: every engine pushes an adapter out when another one is loaded".to_owned()
        } else {
            format!("no pod has room: every candidate serves {CAPACITY} models or more")
        };
        draft.scheduled(false, status::UNSCHEDULABLE, message);
        draft.phase(status::PENDING);
        plan.within(PERIOD);
    }
    find(&seen.pods, &pick?.name)
}

/// Whether a choice waits (on) for measurements that are under way. Their end is a trigger, and so is that of
/// the wait.
fn awaits_measurements(plan: &mut Plan, now: Timestamp) -> bool {
    // A clock that was set back must not make the wait longer.
    let since = plan.remember.measuring_since.filter(|since| *since <= now).unwrap_or(now);
    let waited = Duration::try_from(now.duration_since(since)).unwrap_or(Duration::ZERO);
    let waits = waited < MEASURING;
    if waits {
        plan.remember.measuring_since = Some(since);
        plan.within(MEASURING.saturating_sub(waited));
    }
    waits
}

/// A pod that has not been measured in time comes last, like one that does not answer.
fn candidate(pod: &PodSeen) -> Candidate {
    let measured = pod.measured.unwrap_or(Measured::Unreachable);
    Candidate { name: pod.name().to_owned(), models: pod.models, measured }
}

/// Whether a policy needs measurements.
pub(super) fn measures(policy: SchedulerPolicy) -> bool {
    matches!(policy, SchedulerPolicy::LeastLatency | SchedulerPolicy::LeastThroughput)
}

fn pick<'a>(seen: &Snapshot, candidates: &'a [Candidate]) -> Option<&'a Candidate> {
    match seen.policy {
        SchedulerPolicy::Random => policies::random(candidates, &mut SmallRng::seed_from_u64(seen.draw)),
        SchedulerPolicy::LeastAdapters => policies::least_adapters(candidates),
        SchedulerPolicy::BinPack => policies::bin_pack(candidates),
        SchedulerPolicy::LeastLatency => policies::least_latency(candidates),
        SchedulerPolicy::LeastThroughput => policies::least_throughput(candidates),
    }
}

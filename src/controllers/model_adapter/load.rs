// SPDX-License-Identifier: Apache-2.0
//! Second stage: what is loaded where. Pure. Loads run outside passes; their ends are facts of later ones.

use std::{collections::BTreeSet, sync::Arc};

use kube_loops::k8s::text::cut;

use super::{
    plan::stored_hash,
    snapshot::{Change, Failed, Listed, PodSeen, Snapshot, Trouble},
    source::Source,
    status::{self, Draft, POD_ERROR_BYTES},
    steps::{Plan, PodTarget, Step},
};

/// Loads of one adapter that are under way at a time.
const AT_ONCE: usize = 16;
/// Failures in a row that deserve an event of their own.
const MANY_FAILURES: u32 = 5;

/// How an adapter stands on a pod.
enum Standing<'a> {
    /// The engine lists it, loaded from the present spec as far as is known.
    Serving,
    /// Something is under way, or not known yet.
    Waiting,
    /// It is to be loaded now; `reload`: in place of another version.
    Due { reload: bool },
    /// It could not be loaded, or the engine not be asked; the next attempt is not due yet.
    Failed(&'a Failed),
    /// The pod cannot be called at all.
    Unreachable(&'a str),
}

/// Plans loads on `order`, all of them or, for one replica, the first that takes it, and says how far it has
/// come. Returns the instances.
pub(super) fn plan_load<'a>(
    plan: &mut Plan,
    seen: &Snapshot,
    draft: &mut Draft,
    order: &[&'a PodSeen],
    keep: &[&'a PodSeen],
) -> Vec<&'a PodSeen> {
    let source = Arc::new(Source::of(&seen.adapter));
    let stored = stored_hash(&seen.adapter);
    let standings: Vec<(&PodSeen, Standing<'_>)> =
        order.iter().map(|pod| (*pod, standing(pod, &source.hash, stored))).collect();
    let (attempts, settled) = attempts(seen, &standings);
    if records_hash(&standings, keep, &source.hash, stored) {
        plan.steps.push(Step::RecordHash { hash: Arc::clone(&source.hash) });
    }
    for (pod, reload) in attempts {
        let Ok(endpoint) = pod.endpoint.clone() else { continue };
        let target = PodTarget { facts: Arc::clone(&pod.facts), endpoint };
        plan.steps.push(Step::Load { pod: target, source: Arc::clone(&source), reload });
    }
    let instances = instances(seen, order, keep);
    draft.instances(instances.iter().map(|pod| pod.name().to_owned()).collect());
    tell(plan, seen, &instances, order);
    for (pod, standing) in &standings {
        // The end of a list is a trigger; of an attempt that waits, only time is.
        if let Standing::Failed(failed) = standing
            && !matches!(pod.engine.listed, Listed::Failed(_))
        {
            plan.within(failed.retry_in);
        }
    }
    match instances.first() {
        Some(first) => {
            draft.bound();
            if plan.remember.recovering || status::is_rescheduling(&draft.status) {
                status::say_rescheduled(draft, first.name());
            }
            draft.placed();
            plan.remember.recovering = false;
        }
        None => say_failed(draft, &standings, settled),
    }
    instances
}

fn standing<'a>(pod: &'a PodSeen, want: &str, stored: Option<&str>) -> Standing<'a> {
    if let Err(why) = &pod.endpoint {
        return Standing::Unreachable(why);
    }
    if pod.engine.call.is_some() {
        return Standing::Waiting;
    }
    let failed = pod.engine.failed.as_ref();
    let attempt = |reload| match failed.filter(|failed| !failed.retry_in.is_zero()) {
        Some(failed) => Standing::Failed(failed),
        None => Standing::Due { reload },
    };
    match &pod.engine.listed {
        Listed::Unknown => Standing::Waiting,
        Listed::Failed(failed) | Listed::Unstable(failed) => Standing::Failed(failed),
        Listed::Known(false) => attempt(false),
        Listed::Foreign => attempt(true),
        Listed::Known(true) | Listed::Vouched if is_outdated(pod, want, stored) => attempt(true),
        Listed::Known(true) | Listed::Vouched => Standing::Serving,
    }
}

/// Whether what is loaded was made from another spec. What nobody knows is taken as it is.
fn is_outdated(pod: &PodSeen, want: &str, stored: Option<&str>) -> bool {
    pod.engine.loaded.as_deref().or(stored).is_some_and(|loaded| loaded != want)
}

/// The attempts to make now, and whether nothing else is going to happen without them.
fn attempts<'a>(
    seen: &Snapshot,
    standings: &[(&'a PodSeen, Standing<'_>)],
) -> (Vec<(&'a PodSeen, bool)>, bool) {
    let busy = standings.iter().filter(|(pod, _)| pod.engine.call == Some(Change::Load)).count();
    let mut attempts = Vec::new();
    let mut settled = true;
    for (pod, standing) in standings {
        match standing {
            Standing::Serving if seen.is_single() => break,
            Standing::Serving | Standing::Failed(_) | Standing::Unreachable(_) => {}
            Standing::Waiting => settled = false,
            Standing::Due { reload } => {
                settled = false;
                if busy + attempts.len() < AT_ONCE {
                    attempts.push((*pod, *reload));
                }
            }
        }
        // One after the other: two that both take it would be one too many.
        if seen.is_single() && !settled {
            break;
        }
    }
    (attempts, settled)
}

/// Whether what is stored about the loaded version can be brought up to date: nothing that is loaded, or may
/// be, is another version.
fn records_hash(
    standings: &[(&PodSeen, Standing<'_>)],
    keep: &[&PodSeen],
    want: &str,
    stored: Option<&str>,
) -> bool {
    let is_current = |pod: &PodSeen, standing: &Standing<'_>| match standing {
        Standing::Serving | Standing::Unreachable(_) => true,
        Standing::Due { reload } => !reload,
        // A load of another version that is under way may still come to its end. And as long as the engine does
        // not say that it has none, an older version may still be there, to be replaced by this load.
        Standing::Waiting => {
            pod.engine.loading.as_deref() == Some(want) && pod.engine.listed == Listed::Known(false)
        }
        Standing::Failed(_) => pod.engine.listed == Listed::Known(false),
    };
    let is_kept = |pod: &PodSeen| keep.iter().any(|kept| kept.facts.uid == pod.facts.uid);
    let matters = |pod: &PodSeen, standing: &Standing<'_>| match standing {
        // An engine that cannot be asked and was not serving: it is asked again before it is believed.
        Standing::Failed(_) => is_kept(pod),
        Standing::Serving | Standing::Unreachable(_) | Standing::Due { .. } | Standing::Waiting => true,
    };
    stored != Some(want)
        && standings.iter().all(|(pod, standing)| !matters(pod, standing) || is_current(pod, standing))
}

/// Instances that stay, in their order, then those that have come.
fn instances<'a>(seen: &Snapshot, order: &[&'a PodSeen], keep: &[&'a PodSeen]) -> Vec<&'a PodSeen> {
    let is_kept = |pod: &PodSeen| keep.iter().any(|kept| kept.facts.uid == pod.facts.uid);
    let stays = |pod: &PodSeen| match &pod.engine.listed {
        // A silent engine of a ready pod is believed to go on.
        Listed::Unknown | Listed::Failed(_) | Listed::Known(true) | Listed::Vouched => true,
        // It restarted: as long as the first attempt to load again has not failed.
        Listed::Known(false) => pod.engine.failed.is_none(),
        Listed::Foreign | Listed::Unstable(_) => false,
    };
    let stay = keep.iter().filter(|pod| stays(pod)).copied();
    let come = order.iter().filter(|pod| pod.has_it() && !is_kept(pod)).copied();
    let all = stay.chain(come);
    if seen.is_single() { all.take(1).collect() } else { all.collect() }
}

fn tell(plan: &mut Plan, seen: &Snapshot, instances: &[&PodSeen], order: &[&PodSeen]) {
    let stored = seen.status().instances;
    for pod in instances.iter().filter(|pod| !stored.iter().any(|name| name == pod.name())) {
        let message = format!("Successfully loaded adapter on pod {}", pod.name());
        plan.tell(false, status::LOADED, message);
    }
    let before = std::mem::take(&mut plan.remember.told);
    for pod in order {
        let Some(failed) = failure(pod) else { continue };
        let told = before.get(&pod.facts.uid).copied().unwrap_or(0);
        plan.remember.told.insert(pod.facts.uid.clone(), failed.failures);
        let error = cut(&failed.error, POD_ERROR_BYTES);
        if failed.failures > told {
            let (reason, what) = match failed.trouble {
                Trouble::Load => (status::LOAD_FAILED, "Failed to load adapter on"),
                Trouble::Evicted => (status::EVICTED, "Adapter was pushed out of"),
                Trouble::Unstable => (status::UNSTABLE, "Adapter comes and goes on"),
            };
            plan.tell(true, reason, format!("{what} pod {}: {error}", pod.name()));
        }
        if failed.trouble == Trouble::Load && told < MANY_FAILURES && failed.failures >= MANY_FAILURES {
            let message = format!("Max retries exceeded for pod {}: {error}", pod.name());
            plan.tell(true, status::MAX_RETRIES, message);
        }
    }
    let name = seen.adapter.metadata.name.as_deref().unwrap_or_default();
    for pod in order.iter().filter(|pod| pod.facts.base_model() == Some(name)) {
        let message = format!(
            "pod {} serves a base model of the name of this adapter: what its engine lists cannot be told apart",
            pod.name()
        );
        plan.warn_once(status::NAME_CONFLICT, message);
    }
}

/// The failure that counts for a pod. What the engine lists is no failure, whatever happened before.
fn failure(pod: &PodSeen) -> Option<&Failed> {
    match &pod.engine.listed {
        Listed::Failed(failed) | Listed::Unstable(failed) => Some(failed),
        Listed::Unknown | Listed::Known(_) | Listed::Foreign | Listed::Vouched => pod.engine.failed.as_ref(),
    }
}

/// No instance: says why, once all that could help has been tried, or when the status promises one.
fn say_failed(draft: &mut Draft, standings: &[(&PodSeen, Standing<'_>)], settled: bool) {
    let mut troubles = BTreeSet::new();
    let errors = standings.iter().filter_map(|(pod, standing)| {
        let failed = failure(pod);
        troubles.insert(failed.map_or(Trouble::Load, |failed| failed.trouble));
        let error = match standing {
            Standing::Unreachable(why) => why,
            Standing::Serving | Standing::Waiting | Standing::Due { .. } | Standing::Failed(_) => {
                failed?.error.as_str()
            }
        };
        Some(format!("pod {}: {}", pod.name(), cut(error, POD_ERROR_BYTES)))
    });
    let errors: Vec<String> = errors.collect();
    if errors.is_empty() || !(settled || draft.is_ready()) {
        return;
    }
    draft.phase(status::FAILED);
    let (reason, what) = match troubles.into_iter().collect::<Vec<_>>().as_slice() {
        [Trouble::Evicted] => (status::EVICTED, "No pod keeps the adapter"),
        [Trouble::Unstable] => (status::UNSTABLE, "No pod keeps the adapter"),
        _ => (status::LOADING_ERROR, "Loading failed on all pods"),
    };
    draft.ready(false, reason, &format!("{what}: {}", errors.join("; ")));
}

// SPDX-License-Identifier: Apache-2.0
//! Measurements for the policies that need them: taken when a pod is chosen, of the candidates only, and
//! beside the passes. A measurement serves all adapters that are placed within some seconds, and after that
//! until a newer one is there.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::{
    controllers::model_adapter::{policies::Measured, settings::EngineMetricsSettings},
    k8s::pod_facts::PodFacts,
};
use kube_fenced_election::clock::Instant;
use kube_loops::runtime::{
    reconciler::Key,
    requests::{
        Job, Lane, RequestScheduler,
        runner::{Now, RequestBook},
    },
};

/// How old a measurement may be before it is taken anew, where one pod is asked for after the other.
const FRESH_QUERIES: Duration = Duration::from_secs(30);
/// How old a measurement may be to serve while a newer one is taken: beyond it, nothing is known.
const STALE: Duration = Duration::from_mins(5);
/// Measurements may queue for a Prometheus server that is asked at a pace; each query has a shorter limit of its own.
const LANE: Lane = Lane { at_once: 64, per_host: usize::MAX, time_limit: Duration::from_mins(5), slow: None };

/// Measurements of one term.
#[derive(Debug)]
pub(in crate::controllers::model_adapter) struct Scores {
    /// By uid of the pod. Watchers have no value that serves them meanwhile.
    requests: RequestScheduler<Box<str>>,
    pods: HashMap<Box<str>, Score>,
    /// Why the source that pods share failed when it was last asked.
    last_error: Option<String>,
    fresh: Duration,
}

#[derive(Debug)]
struct Score {
    pod: Arc<PodFacts>,
    known: Option<(Measured, Instant)>,
}

/// What came of a measurement.
#[derive(Debug)]
pub(in crate::controllers::model_adapter) struct Measurement {
    /// What a policy wants to know of the pod.
    pub(super) measured: Measured,
    /// Why the source that pods share fails, in words for users; `None`: it does not, or there is none.
    pub(super) last_error: Option<String>,
}

impl Scores {
    /// Nothing is measured.
    pub(in crate::controllers::model_adapter) fn new(settings: &EngineMetricsSettings) -> Self {
        Self {
            requests: RequestScheduler::new(&[LANE], |pod| pod),
            pods: HashMap::new(),
            last_error: None,
            fresh: if settings.prometheus.is_some() { FRESH_QUERIES } else { settings.refresh_interval },
        }
    }

    /// What is known of a pod; `None`: it is being measured, and `key` is woken then. What is known and old
    /// is measured anew as well, and nobody waits for that.
    pub(super) fn ask(&mut self, key: &Key, pod: &Arc<PodFacts>, now: Instant) -> Option<Measured> {
        let score = self.pods.entry(pod.uid.clone());
        let score = score.or_insert_with(|| Score { pod: Arc::clone(pod), known: None });
        let known = score.known.filter(|(_, at)| now.saturating_duration_since(*at) < STALE);
        if known.is_none_or(|(_, at)| now.saturating_duration_since(at) >= self.fresh) {
            if !self.requests.is_scheduled(&pod.uid) {
                score.pod = Arc::clone(pod);
                self.requests.schedule(pod.uid.clone(), 0, now);
            }
            if known.is_none() {
                self.requests.also_watch(key, pod.uid.clone());
            }
        }
        known.map(|(measured, _)| measured)
    }

    /// Why the source that pods share fails; `None`: it does not, or there is none.
    pub(super) fn last_error(&self) -> Option<String> {
        self.last_error.clone()
    }
}

impl RequestBook for Scores {
    type Request = Arc<PodFacts>;
    type Answer = Measurement;

    fn next(&mut self, now: Instant) -> Option<Job<Arc<PodFacts>>> {
        let job = self.requests.next(now)?;
        let pod = Arc::clone(&self.pods.get(&**job.request)?.pod);
        Some(job.map(|_| pod))
    }

    fn next_moment(&self) -> Option<Instant> {
        self.requests.next_moment()
    }

    fn ended(&mut self, number: u64, pod: Arc<PodFacts>, answer: Option<Measurement>, now: Now) -> Vec<Key> {
        if self.requests.ended(&pod.uid, number).is_none() {
            return Vec::new();
        }
        let none = || Measurement { measured: Measured::Unreachable, last_error: self.last_error.take() };
        let Measurement { measured, last_error } = answer.unwrap_or_else(none);
        self.last_error = last_error;
        if let Some(score) = self.pods.get_mut(&pod.uid) {
            score.known = Some((measured, now.instant));
        }
        // What serves nobody any more is forgotten here, too.
        let (requests, now) = (&self.requests, now.instant);
        let serves = |known: Option<(Measured, Instant)>| {
            known.is_some_and(|(_, at)| now.saturating_duration_since(at) < STALE)
        };
        self.pods.retain(|uid, score| serves(score.known) || requests.is_scheduled(uid));
        self.requests.unwatch_all(&pod.uid)
    }
}

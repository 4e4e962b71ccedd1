// SPDX-License-Identifier: Apache-2.0
//! Measurements for the policies that need them: taken when a pod is chosen, of the candidates only, and
//! beside the passes. A measurement serves all adapters that are placed within some seconds, and after that
//! until a newer one is there.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    future::Future,
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    controllers::model_adapter::{placement::Measured, settings::EngineMetricsSettings},
    k8s::pod_facts::PodFacts,
};
use kube_fenced_election::clock::{Instant, SharedClock};
use kube_loops::runtime::reconciler::Key;

/// How old a measurement may be before it is taken anew, where one pod is asked for after the other.
const FRESH_QUERIES: Duration = Duration::from_secs(30);
/// How old a measurement may be to serve while a newer one is taken: beyond it, nothing is known.
const STALE: Duration = Duration::from_mins(5);
/// Measurements under way at a time.
const AT_ONCE: usize = 64;

/// How pods are measured.
pub(in crate::controllers::model_adapter) trait Measure:
    Send + Sync
{
    /// What a policy wants to know of a pod.
    fn measure(&self, pod: &PodFacts) -> impl Future<Output = Measured> + Send;

    /// Why the source that pods share fails, in words for users; `None`: it does not, or there is none.
    fn trouble(&self) -> Option<String> {
        None
    }
}

/// Measurements of one term, shared by its passes and the task that runs [`Scores::run`].
#[derive(Debug)]
pub(in crate::controllers::model_adapter) struct Scores {
    state: Mutex<State>,
    asked: Notify,
    clock: SharedClock,
    fresh: Duration,
}

#[derive(Debug, Default)]
struct State {
    /// By uid of the pod.
    scores: HashMap<Box<str>, Score>,
    waiting: VecDeque<Arc<PodFacts>>,
    /// Why the source that pods share failed when it was last asked.
    trouble: Option<String>,
}

#[derive(Debug, Default)]
struct Score {
    known: Option<(Measured, Instant)>,
    /// Asked for and not there yet: who waits for it.
    pending: Option<BTreeSet<Key>>,
}

impl Scores {
    /// Nothing is measured.
    pub(in crate::controllers::model_adapter) fn new(
        clock: SharedClock,
        settings: &EngineMetricsSettings,
    ) -> Self {
        let fresh = if settings.prometheus.is_some() { FRESH_QUERIES } else { settings.refresh_interval };
        Self { state: Mutex::default(), asked: Notify::new(), clock, fresh }
    }

    /// What is known of a pod; `None`: it is being measured, and `key` is woken then. What is known and old
    /// is measured anew as well, and nobody waits for that.
    pub(super) fn ask(&self, key: &Key, pod: &Arc<PodFacts>) -> Option<Measured> {
        let now = self.clock.instant();
        let mut state = self.state.lock();
        let State { scores, waiting, .. } = &mut *state;
        let score = scores.entry(pod.uid.clone()).or_default();
        let age = |at: Instant| now.saturating_duration_since(at);
        let known = score.known.filter(|(_, at)| age(*at) < STALE);
        if known.is_none_or(|(_, at)| age(at) >= self.fresh) {
            if score.pending.is_none() {
                waiting.push_back(Arc::clone(pod));
                self.asked.notify_one();
            }
            let waits = score.pending.get_or_insert_default();
            if known.is_none() {
                waits.insert(key.clone());
            }
        }
        known.map(|(measured, _)| measured)
    }

    /// Why the source that pods share fails; `None`: it does not, or there is none.
    pub(super) fn trouble(&self) -> Option<String> {
        self.state.lock().trouble.clone()
    }

    /// Measures, until dropped. `wake` gets those who have waited.
    pub(in crate::controllers::model_adapter) async fn run(
        &self,
        measure: &impl Measure,
        wake: impl Fn(Key),
    ) {
        let mut under_way = FuturesUnordered::new();
        loop {
            while under_way.len() < AT_ONCE {
                let next = self.state.lock().waiting.pop_front();
                let Some(pod) = next else { break };
                let measuring = async move {
                    let measured = measure.measure(&pod).await;
                    (pod, measured)
                };
                under_way.push(measuring.boxed());
            }
            tokio::select! {
                Some((pod, measured)) = under_way.next() => {
                    self.came(&pod.uid, measured, measure.trouble()).into_iter().for_each(&wake);
                }
                () = self.asked.notified() => {}
            }
        }
    }

    fn came(&self, pod: &str, measured: Measured, trouble: Option<String>) -> BTreeSet<Key> {
        let now = self.clock.instant();
        let mut state = self.state.lock();
        state.trouble = trouble;
        // What serves nobody any more is forgotten here, too.
        state.scores.retain(|uid, score| {
            let old = score.known.is_none_or(|(_, at)| now.saturating_duration_since(at) >= STALE);
            !old || score.pending.is_some() || **uid == *pod
        });
        let Some(score) = state.scores.get_mut(pod) else { return BTreeSet::new() };
        score.known = Some((measured, now));
        score.pending.take().unwrap_or_default()
    }
}

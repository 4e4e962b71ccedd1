// SPDX-License-Identifier: Apache-2.0
//! Measurements for the policies that need them: taken when a pod is chosen, of the candidates only, and beside
//! the passes. A measurement serves all adapters that are placed within some seconds.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    future::Future,
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::sync::{Notify, OnceCell};

use crate::{
    api::keys::{DEFAULT_ENGINE_PORT, ENGINE_LABEL, METRIC_PORT_LABEL},
    controllers::model_adapter::{
        placement::{Mean, Measured, latency_score, throughput_score},
        settings::{EngineMetricsSettings, PrometheusLogin, PrometheusSettings, SchedulerPolicy},
    },
    engine::{
        exposition::Families,
        http::{EngineClient, Scheme, Target},
        metric_names,
        promql::Server,
    },
    k8s::pod_facts::PodFacts,
};
use kube_fenced_election::clock::{Instant, SharedClock};
use kube_loops::runtime::reconciler::Key;

/// How long a measurement serves where one pod is asked for after the other.
const FRESH_QUERIES: Duration = Duration::from_secs(30);
/// Longest scrape of a pod.
const SCRAPE: Duration = Duration::from_secs(2);
/// Between two reads of a counter that make a rate.
const BETWEEN_READS: Duration = Duration::from_secs(1);
const SECONDS_A_MINUTE: f64 = 60.0;
/// Measurements under way at a time.
const AT_ONCE: usize = 64;

const QUEUE_TIME: &str = "vllm:request_queue_time_seconds";
const QUEUE_TIME_TRTLLM: &str = "trtllm_request_queue_time_seconds";
const INFERENCE_TIME: &str = "vllm:request_inference_time_seconds";
const PROMPT_GAUGE: &str = "vllm:avg_prompt_throughput_toks_per_s";
const GENERATION_GAUGE: &str = "vllm:avg_generation_throughput_toks_per_s";
const PROMPT_TOKENS: &str = "vllm:prompt_tokens_total";
const GENERATION_TOKENS: &str = "vllm:generation_tokens_total";

/// How pods are measured.
pub(in crate::controllers::model_adapter) trait Measure:
    Send + Sync
{
    /// What a policy wants to know of a pod.
    fn measure(&self, pod: &PodFacts) -> impl Future<Output = Measured> + Send;
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

    /// What is known of a pod; `None`: it is being measured, and `key` is woken then.
    pub(super) fn ask(&self, key: &Key, pod: &Arc<PodFacts>) -> Option<Measured> {
        let now = self.clock.instant();
        let mut state = self.state.lock();
        let State { scores, waiting } = &mut *state;
        let score = scores.entry(pod.uid.clone()).or_default();
        if let Some((measured, at)) = score.known
            && now.saturating_duration_since(at) < self.fresh
        {
            return Some(measured);
        }
        let news = score.pending.is_none();
        score.pending.get_or_insert_default().insert(key.clone());
        if news {
            waiting.push_back(Arc::clone(pod));
            self.asked.notify_one();
        }
        None
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
                Some((pod, measured)) = under_way.next() => self.came(&pod.uid, measured).into_iter().for_each(&wake),
                () = self.asked.notified() => {}
            }
        }
    }

    fn came(&self, pod: &str, measured: Measured) -> BTreeSet<Key> {
        let now = self.clock.instant();
        let mut state = self.state.lock();
        // What serves nobody any more is forgotten here, too.
        state.scores.retain(|uid, score| {
            let old = score.known.is_none_or(|(_, at)| now.saturating_duration_since(at) >= self.fresh);
            !old || score.pending.is_some() || **uid == *pod
        });
        let Some(score) = state.scores.get_mut(pod) else { return BTreeSet::new() };
        score.known = Some((measured, now));
        score.pending.take().unwrap_or_default()
    }
}

/// Measures pods by their own metrics, or by those that a Prometheus server has of them.
pub(in crate::controllers::model_adapter) struct Meter {
    engine: EngineClient,
    client: Client,
    policy: SchedulerPolicy,
    prometheus: Option<PrometheusSettings>,
    server: OnceCell<Server>,
    /// The turn to ask the Prometheus server: one pod at a time, at a pace.
    turn: tokio::sync::Mutex<()>,
}

impl Meter {
    /// Measures for `policy`. `client` reads the Secret with the login to a Prometheus server.
    pub(in crate::controllers::model_adapter) fn new(
        engine: EngineClient,
        client: Client,
        policy: SchedulerPolicy,
        prometheus: Option<PrometheusSettings>,
    ) -> Self {
        let turn = tokio::sync::Mutex::new(());
        Self { engine, client, policy, prometheus, server: OnceCell::new(), turn }
    }

    async fn scrape<const N: usize>(&self, pod: &PodFacts, wanted: [&str; N]) -> Option<Families> {
        let port = pod.port_label(METRIC_PORT_LABEL).unwrap_or(DEFAULT_ENGINE_PORT).to_string();
        let path = metric_names::path_for("/metrics", engine_of(pod));
        let target = Target::pod(Scheme::Http, pod.ip?, &port, path).ok()?;
        tokio::time::timeout(SCRAPE, self.engine.scrape(&target, wanted)).await.ok()?.ok()
    }

    async fn latency(&self, pod: &PodFacts) -> Measured {
        let queue = if engine_of(pod) == "trtllm" { QUEUE_TIME_TRTLLM } else { QUEUE_TIME };
        let [queue, inference] =
            [queue, INFERENCE_TIME].map(|name| [format!("{name}_sum"), format!("{name}_count")]);
        let wanted = [&queue[0], &queue[1], &inference[0], &inference[1]].map(String::as_str);
        let Some(families) = self.scrape(pod, wanted).await else { return Measured::Unreachable };
        let mean = |[sum, count]: &[String; 2]| {
            Some(Mean { sum: families.sum(sum).ok()?, count: families.sum(count).ok()? })
        };
        match (mean(&queue), mean(&inference)) {
            (None, None) => Measured::Missing,
            (queue, inference) => {
                Measured::Score(latency_score(queue.unwrap_or_default(), inference.unwrap_or_default()))
            }
        }
    }

    async fn throughput(&self, pod: &PodFacts) -> Measured {
        if let Some(settings) = &self.prometheus
            && let Some(score) = self.queried(settings, pod).await
        {
            return Measured::Score(score);
        }
        let wanted = [PROMPT_GAUGE, GENERATION_GAUGE, PROMPT_TOKENS, GENERATION_TOKENS];
        let Some(first) = self.scrape(pod, wanted).await else { return Measured::Unreachable };
        if let (Ok(prompt), Ok(generation)) = (first.sum(PROMPT_GAUGE), first.sum(GENERATION_GAUGE)) {
            return Measured::Score(throughput_score(
                prompt * SECONDS_A_MINUTE,
                generation * SECONDS_A_MINUTE,
            ));
        }
        let (Ok(prompt), Ok(generation)) = (first.sum(PROMPT_TOKENS), first.sum(GENERATION_TOKENS)) else {
            return Measured::Missing;
        };
        tokio::time::sleep(BETWEEN_READS).await;
        let Some(second) = self.scrape(pod, [PROMPT_TOKENS, GENERATION_TOKENS]).await else {
            return Measured::Unreachable;
        };
        // Counters that went back belong to an engine that has just started.
        let rate = |name: &str, before: f64| {
            let per_second = (second.sum(name).ok()? - before) / BETWEEN_READS.as_secs_f64();
            (per_second >= 0.0).then_some(per_second * SECONDS_A_MINUTE)
        };
        match (rate(PROMPT_TOKENS, prompt), rate(GENERATION_TOKENS, generation)) {
            (Some(prompt), Some(generation)) => Measured::Score(throughput_score(prompt, generation)),
            _ => Measured::Missing,
        }
    }

    /// Tokens a minute, as a Prometheus server knows them; `None`: it does not.
    async fn queried(&self, settings: &PrometheusSettings, pod: &PodFacts) -> Option<f64> {
        let ip = pod.ip?;
        let port = pod.port_label(METRIC_PORT_LABEL).unwrap_or(DEFAULT_ENGINE_PORT);
        let instance = std::net::SocketAddr::new(ip, port);
        let server = self.server.get_or_try_init(|| self.log_in(settings)).await.ok()?;
        let _turn = self.turn.lock().await;
        let rate =
            |metric: &str| format!("increase({metric}{{instance=\"{instance}\", job=\"pods\"}}[5m]) / 5");
        let prompt = self.engine.query(server, &rate(PROMPT_TOKENS)).await.ok()??;
        let generation = self.engine.query(server, &rate(GENERATION_TOKENS)).await.ok()??;
        tokio::time::sleep(settings.query_interval).await;
        Some(throughput_score(prompt, generation))
    }

    /// How to ask; the Secret is read once.
    async fn log_in(&self, settings: &PrometheusSettings) -> Result<Server, ()> {
        let login = match &settings.login {
            PrometheusLogin::Anonymous => None,
            PrometheusLogin::Password { username, password } => Some((username.clone(), password.clone())),
            PrometheusLogin::Secret { namespace, name, username_key, password_key } => {
                let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
                let secret = secrets.get(name).await.map_err(drop)?;
                let data = secret.data.unwrap_or_default();
                let text = |key: &str| data.get(key).map(|it| String::from_utf8_lossy(&it.0).into_owned());
                Some(text(username_key).zip(text(password_key)).ok_or(())?)
            }
        };
        Ok(Server { endpoint: settings.endpoint.clone(), login, within: settings.query_timeout })
    }
}

impl Measure for Meter {
    async fn measure(&self, pod: &PodFacts) -> Measured {
        match self.policy {
            SchedulerPolicy::LeastLatency => self.latency(pod).await,
            SchedulerPolicy::LeastThroughput => self.throughput(pod).await,
            SchedulerPolicy::Random | SchedulerPolicy::LeastAdapters | SchedulerPolicy::BinPack => {
                Measured::Missing
            }
        }
    }
}

fn engine_of(pod: &PodFacts) -> &str {
    pod.labels.get(ENGINE_LABEL).map_or("", String::as_str)
}

// SPDX-License-Identifier: Apache-2.0
//! How a pod is measured: by its own metrics, or by those that a Prometheus server has of it. A server that
//! fails is left alone for a while, is named to users with its address, and keeps nobody waiting: pods are
//! asked instead.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::{
    api::keys::{DEFAULT_ENGINE_PORT, ENGINE_LABEL, METRIC_PORT_LABEL},
    controllers::model_adapter::{
        metrics::{FailedSource, SourceFailures},
        policies::{Mean, Measured, latency_score, throughput_score},
        settings::{ModelAdapterSettings, PrometheusLogin, PrometheusSettings, SchedulerPolicy},
    },
    engine::{
        exposition::Families,
        http::{EngineClient, Scheme, Target},
        metric_names,
        promql::{self, Server},
    },
    k8s::pod_facts::PodFacts,
};
use kube_fenced_election::clock::{Instant, SharedClock};
use kube_loops::runtime::requests::runner::SendRequest;

use super::scores::{Measurement, Scores};

/// How long a Prometheus server that failed is not asked: pods are measured by their own metrics meanwhile.
const REST: Duration = Duration::from_secs(30);
/// Longest scrape of a pod.
const SCRAPE: Duration = Duration::from_secs(2);
/// Between two reads of a counter that make a rate.
const BETWEEN_READS: Duration = Duration::from_secs(1);
const SECONDS_A_MINUTE: f64 = 60.0;
const QUEUE_TIME: &str = "vllm:request_queue_time_seconds";
const QUEUE_TIME_TRTLLM: &str = "trtllm_request_queue_time_seconds";
const INFERENCE_TIME: &str = "vllm:request_inference_time_seconds";
const PROMPT_GAUGE: &str = "vllm:avg_prompt_throughput_toks_per_s";
const GENERATION_GAUGE: &str = "vllm:avg_generation_throughput_toks_per_s";
const PROMPT_TOKENS: &str = "vllm:prompt_tokens_total";
const GENERATION_TOKENS: &str = "vllm:generation_tokens_total";

/// Measures pods by their own metrics, or by those that a Prometheus server has of them.
pub(in crate::controllers::model_adapter) struct Meter {
    engine: EngineClient,
    client: Client,
    policy: SchedulerPolicy,
    prometheus: Option<PrometheusSettings>,
    server: OnceCell<Server>,
    /// The turn to ask the Prometheus server: one pod at a time, at a pace. When the next turn begins.
    turn: tokio::sync::Mutex<Option<Instant>>,
    /// The last query failed: since when, and why.
    failing: Mutex<Option<(Instant, String)>>,
    failures: SourceFailures,
    clock: SharedClock,
}

impl Meter {
    /// Measures for the policy of the settings. `client` reads the Secret with the login to a Prometheus
    /// server.
    pub(in crate::controllers::model_adapter) fn new(
        engine: EngineClient,
        client: Client,
        settings: &ModelAdapterSettings,
        failures: SourceFailures,
        clock: SharedClock,
    ) -> Self {
        Self {
            engine,
            client,
            policy: settings.policy,
            prometheus: settings.metrics.prometheus.clone(),
            server: OnceCell::new(),
            turn: tokio::sync::Mutex::default(),
            failing: Mutex::default(),
            failures,
            clock,
        }
    }

    async fn scrape<const N: usize>(&self, pod: &PodFacts, wanted: [&str; N]) -> Option<Families> {
        let port = pod.port_label(METRIC_PORT_LABEL).unwrap_or(DEFAULT_ENGINE_PORT).to_string();
        let path = metric_names::path_for("/metrics", engine_of(pod));
        let target = Target::pod(Scheme::Http, pod.ip?, &port, path).ok()?;
        let scraped = tokio::time::timeout(SCRAPE, self.engine.scrape(&target, wanted)).await;
        let scraped = scraped.ok().and_then(Result::ok);
        if scraped.is_none() {
            self.failures.count(FailedSource::Pod);
        }
        scraped
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

    /// Tokens a minute, as a Prometheus server knows them; `None`: it does not, or it fails.
    async fn queried(&self, settings: &PrometheusSettings, pod: &PodFacts) -> Option<f64> {
        let ip = pod.ip?;
        let port = pod.port_label(METRIC_PORT_LABEL).unwrap_or(DEFAULT_ENGINE_PORT);
        if self.rests() {
            return None;
        }
        let mut turn = self.turn.lock().await;
        // Whoever had the turn before may have found out that it fails.
        if self.rests() {
            return None;
        }
        if let Some(begins) = *turn {
            tokio::time::sleep_until(begins).await;
        }
        let answer = self.query(settings, SocketAddr::new(ip, port)).await;
        *turn = Some(self.clock.instant() + settings.query_interval);
        match answer {
            Ok(score) => {
                *self.failing.lock() = None;
                score
            }
            Err(why) => {
                let address = promql::address(&settings.endpoint);
                let why = format!(
                    "failed to query Prometheus at {address}: {why}; pods are measured by their own metrics"
                );
                self.failures.count(FailedSource::Prometheus);
                *self.failing.lock() = Some((self.clock.instant(), why));
                None
            }
        }
    }

    /// Whether the Prometheus server failed a short while ago.
    fn rests(&self) -> bool {
        let now = self.clock.instant();
        let is_recent = |(since, _): &(Instant, String)| now.saturating_duration_since(*since) < REST;
        self.failing.lock().as_ref().is_some_and(is_recent)
    }

    /// Asks for both rates of a pod; `None`: the server does not know the pod.
    async fn query(
        &self,
        settings: &PrometheusSettings,
        instance: SocketAddr,
    ) -> Result<Option<f64>, String> {
        let server = self.server.get_or_try_init(|| self.log_in(settings)).await?;
        let rate =
            |metric: &str| format!("increase({metric}{{instance=\"{instance}\", job=\"pods\"}}[5m]) / 5");
        let (prompt, generation) = (rate(PROMPT_TOKENS), rate(GENERATION_TOKENS));
        let both =
            futures::try_join!(self.engine.query(server, &prompt), self.engine.query(server, &generation));
        let (prompt, generation) = both.map_err(|error| error.to_string())?;
        Ok(prompt.zip(generation).map(|(prompt, generation)| throughput_score(prompt, generation)))
    }

    /// How to ask; the Secret is read once.
    async fn log_in(&self, settings: &PrometheusSettings) -> Result<Server, String> {
        let login = match &settings.login {
            PrometheusLogin::Anonymous => None,
            PrometheusLogin::Password { username, password } => Some((username.clone(), password.clone())),
            PrometheusLogin::Secret { namespace, name, username_key, password_key } => {
                let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
                let secret = secrets.get(name).await;
                let secret = secret.map_err(|_| format!("the Secret {namespace}/{name} cannot be read"))?;
                let data = secret.data.unwrap_or_default();
                let text = |key: &str| data.get(key).map(|it| String::from_utf8_lossy(&it.0).into_owned());
                let lacks =
                    || format!("the Secret {namespace}/{name} lacks {username_key} or {password_key}");
                Some(text(username_key).zip(text(password_key)).ok_or_else(lacks)?)
            }
        };
        Ok(Server { endpoint: settings.endpoint.clone(), login, within: settings.query_timeout })
    }
}

impl SendRequest<Scores> for Meter {
    async fn send(&self, pod: &Arc<PodFacts>) -> Measurement {
        let measured = match self.policy {
            SchedulerPolicy::LeastLatency => self.latency(pod).await,
            SchedulerPolicy::LeastThroughput => self.throughput(pod).await,
            SchedulerPolicy::Random | SchedulerPolicy::LeastAdapters | SchedulerPolicy::BinPack => {
                Measured::Missing
            }
        };
        let last_error = self.failing.lock().as_ref().map(|(_, why)| why.clone());
        Measurement { measured, last_error }
    }
}

fn engine_of(pod: &PodFacts) -> &str {
    pod.labels.get(ENGINE_LABEL).map_or("", String::as_str)
}

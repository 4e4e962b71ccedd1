// SPDX-License-Identifier: Apache-2.0
//! A controller that leads, against an API server in memory and engines on loopback addresses.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use prometheus::Registry;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    controllers::{Deps, LoopSettings, by_name},
    testkit::fake_engine::{FakeEngine, lora::LoraEngine},
};
use kube_fenced_election::{
    clock::{SharedClock, SystemClock},
    fence::{Fence, FenceKeeper},
};
use kube_loops::{
    metrics::Metrics,
    runtime::{
        controller::{FencedClient, RunError, Term},
        metrics::RuntimeMetrics,
        progress::Progress,
        watches::Watches,
    },
    testkit::stored_api::StoredApi,
};

use super::{ModelAdapterSettings, SPEC};

pub(super) const ADAPTERS: &str = "/apis/model.aibrix.ai/v1alpha1/modeladapters";
pub(super) const PODS: &str = "/api/v1/pods";
pub(super) const SERVICES: &str = "/api/v1/services";
pub(super) const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";
pub(super) const EVENTS: &str = "/api/v1/events";

/// Each test has addresses of its own: engines are told apart by address.
static NETWORKS: AtomicU8 = AtomicU8::new(1);

pub(super) struct ControllerHarness {
    pub(super) api: StoredApi,
    pub(super) engine: FakeEngine,
    /// Metrics of the term that leads.
    pub(super) metrics: Metrics,
    network: u8,
    settings: ModelAdapterSettings,
    term: Option<TermOf>,
}

struct TermOf {
    drain: CancellationToken,
    running: JoinSet<Result<(), RunError>>,
    _right: FenceKeeper,
}

impl ControllerHarness {
    pub(super) async fn start() -> Self {
        Self::start_with(ModelAdapterSettings::default()).await
    }

    pub(super) async fn start_with(settings: ModelAdapterSettings) -> Self {
        let api = StoredApi::default();
        for path in [ADAPTERS, PODS, SERVICES, SLICES] {
            api.watched.serve(path);
        }
        let engine = FakeEngine::start(SocketAddr::from(([0, 0, 0, 0], 0))).await.unwrap();
        let network = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let mut harness = Self { api, engine, metrics: Metrics::new(), network, settings, term: None };
        harness.lead();
        harness
    }

    /// Begins a term, in place of the one that there is: it ends as if its Lease were lost.
    pub(super) fn lead(&mut self) {
        self.term = None;
        let clock: SharedClock = Arc::new(SystemClock);
        let runtime = RuntimeMetrics::register(&Registry::new()).unwrap();
        let watches = Watches::new(self.api.watched.client(), Arc::clone(&clock), runtime.clone(), true);
        self.metrics = Metrics::new();
        let settings = LoopSettings { model_adapter: self.settings.clone(), ..LoopSettings::default() };
        let deps = Deps::new(watches, runtime, &self.metrics, "test", settings).unwrap();
        let (right, fence) = Fence::without_election(Arc::clone(&clock));
        let drain = CancellationToken::new();
        let progress = Arc::new(Progress::new(Arc::clone(&clock)));
        let client = FencedClient(self.api.client());
        let tasks = TaskTracker::new();
        let term = Term { fence, client, clock, drain: drain.clone(), tasks, progress, workers: None };
        let mut running = JoinSet::new();
        let controller = by_name(SPEC.name, &deps).unwrap().unwrap();
        drop(controller.reads());
        running.spawn(controller.run(term));
        self.term = Some(TermOf { drain, running, _right: right });
    }

    pub(super) fn ip(&self, number: u8) -> IpAddr {
        Ipv4Addr::new(127, 1, self.network, number).into()
    }

    /// A pod `pod-<number>` that has long been ready, with an engine of its own.
    pub(super) fn pod(&self, number: u8, like: LoraEngine) -> IpAddr {
        let ip = self.ip(number);
        self.engine.pods.engine(Some(ip), like);
        self.set_pod(number, &json!({}));
        ip
    }

    /// Stores the pod with this difference.
    pub(super) fn set_pod(&self, number: u8, difference: &Value) {
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("pod-{number}"), "namespace": "ns",
                "labels": {"app": "base", "model.aibrix.ai/port": self.engine.port()}},
            "spec": {"containers": [{"name": "engine"}]},
            "status": {"phase": "Running", "podIP": self.ip(number), "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        });
        json_patch::merge(&mut pod, difference);
        self.api.put(PODS, pod);
    }

    /// A ModelAdapter that selects all these pods, with this difference.
    pub(super) fn adapter(&self, name: &str, spec: &Value) {
        let mut adapter = json!({
            "apiVersion": "model.aibrix.ai/v1alpha1", "kind": "ModelAdapter",
            "metadata": {"name": name, "namespace": "ns", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"artifactURL": format!("/models/{name}"), "podSelector": {"matchLabels": {"app": "base"}}},
        });
        json_patch::merge(&mut adapter["spec"], spec);
        self.api.put(ADAPTERS, adapter);
    }

    pub(super) fn status(&self, name: &str) -> Value {
        self.api.get(ADAPTERS, name).map(|adapter| adapter["status"].clone()).unwrap_or_default()
    }

    pub(super) async fn until<T>(&self, what: &str, look: impl Fn(&Self) -> Option<T>) -> T {
        let found = self.api.wait(what, |_| look(self)).await;
        found.unwrap_or_else(|error| panic!("{error}\n{:#?}", self.engine.pods.journal.entries()))
    }

    pub(super) async fn phase(&self, name: &str, phase: &str) -> Value {
        self.until(&format!("{name} to be {phase}"), |harness| {
            Some(harness.status(name)).filter(|status| status["phase"] == phase)
        })
        .await
    }

    pub(super) async fn running_on(&self, name: &str, instances: &[&str]) -> Value {
        self.until(&format!("{name} to run on {instances:?}"), |harness| {
            let status = harness.status(name);
            let there = status["phase"] == "Running" && status["instances"] == json!(instances);
            there.then_some(status)
        })
        .await
    }

    /// Methods and paths that changed engines, and bodies.
    pub(super) fn changes(&self) -> Vec<(String, Value)> {
        let entries = self.engine.pods.journal.entries();
        let changes = entries.iter().filter(|entry| entry.method == "POST");
        changes.map(|entry| (entry.path.clone(), entry.json())).collect()
    }

    pub(super) fn reasons_of_events(&self) -> Vec<String> {
        let reason = |event: &Value| event["reason"].as_str().unwrap_or_default().to_owned();
        self.api.list(EVENTS).iter().map(reason).collect()
    }

    pub(super) async fn stop(mut self) {
        let mut term = self.term.take().unwrap();
        term.drain.cancel();
        timeout(Duration::from_secs(3), term.running.join_next()).await.unwrap().unwrap().unwrap().unwrap();
    }
}

/// What a condition of a status says.
pub(super) fn condition(status: &Value, kind: &str) -> Option<(String, String, String)> {
    let conditions = status["conditions"].as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == kind)?;
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason"), text("message")))
}

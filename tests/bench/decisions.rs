// SPDX-License-Identifier: Apache-2.0
//! Whether an autoscaler orders more than it needs, and what one that asks for too much costs.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use aibrix_controller_manager::testkit::fake_engine::{Engine, FakeEngine, Load};
use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client};
use kube_fenced_election::clock::Instant;
use serde_json::{Value, json};

use super::{
    Figure,
    autoscalers::create,
    megabytes,
    subject::{Subject, at_rest, usage, wait_taken},
};
use crate::support::{ControlPlane, Options, kubelet::Kubelet, objects, wait};

const NS: &str = "bench-decisions";
/// Requests that the pods of a target share, whatever their number.
const LOAD: f64 = 20.0;
/// Requests for each pod: right are 5 pods.
const TARGET: &str = "4";
const START: u32 = 2;
/// A target whose replicas stay for so long has settled.
const SETTLED: Duration = Duration::from_mins(4);
const LONGEST: Duration = Duration::from_mins(15);
const SOURCES: u32 = 13_000;
const PODS: u32 = 100;

/// A target whose pods share a constant load as soon as they are ready.
struct Shared {
    name: &'static str,
    /// From a pod's start until it is ready.
    delay: Duration,
    /// Pods by number: address, when it started, and whether it is ready.
    pods: Vec<(IpAddr, Instant, bool)>,
    most: usize,
    replicas: usize,
    since: Instant,
}

impl Shared {
    fn new(name: &'static str, delay: Duration) -> Self {
        Self { name, delay, pods: Vec::new(), most: 0, replicas: 0, since: wait::instant() }
    }

    fn pod(&self, n: usize) -> String {
        format!("{}-{n}", self.name)
    }

    /// Does what a controller of Deployments and a kubelet would, and shares the load.
    async fn step(&mut self, client: &Client, engine: &FakeEngine) -> Result<()> {
        let (deployments, kubelet) =
            (Api::<Deployment>::namespaced(client.clone(), NS), Kubelet::new(client.clone(), NS));
        let replicas = deployments.get(self.name).await?.spec.and_then(|spec| spec.replicas).unwrap_or(0);
        let replicas = usize::try_from(replicas)?;
        if replicas != self.replicas {
            (self.replicas, self.since) = (replicas, wait::instant());
        }
        self.most = self.most.max(replicas);
        while self.pods.len() > replicas {
            self.pods.pop();
            kubelet.gone(&self.pod(self.pods.len())).await;
        }
        while self.pods.len() < replicas {
            let name = self.pod(self.pods.len());
            let mut pod = objects::pod(NS, &name);
            if let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.insert("labels".to_owned(), json!({"app": self.name}));
            }
            objects::create(client, &pod).await;
            let address = kubelet.not_ready(&name).await.parse().context("an address")?;
            self.pods.push((address, wait::instant(), false));
        }
        for n in 0..self.pods.len() {
            let (_, started, is_ready) = self.pods.get(n).copied().context("a pod")?;
            if !is_ready && started.elapsed() >= self.delay {
                kubelet.ready(&self.pod(n)).await;
                if let Some(pod) = self.pods.get_mut(n) {
                    pod.2 = true;
                }
            }
        }
        let ready = u32::try_from(self.pods.iter().filter(|pod| pod.2).count())?;
        for (address, _, is_ready) in &self.pods {
            // Who is not ready does not answer.
            if *is_ready {
                let share = LOAD / f64::from(ready);
                let load = Load::of(Engine::Vllm).with("num_requests_running", share);
                engine.pods.load(Some(*address), &load);
            }
        }
        Ok(())
    }
}

/// A constant load under APA and all defaults, with pods that are ready at once and with some that take a minute.
pub(crate) async fn measure(subject: &Subject) -> Result<Vec<Figure>> {
    let plane = ControlPlane::start(Options::bare()).await;
    plane.install_manager().await;
    let client = plane.client().await;
    objects::create(&client, &objects::namespace(NS)).await;
    let engine = FakeEngine::start(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8000))).await?;
    let mut targets = [Shared::new("at-once", Duration::ZERO), Shared::new("slow", Duration::from_mins(1))];
    for target in &mut targets {
        objects::create(&client, &objects::deployment(NS, target.name, START)).await;
        // Those of the start have been ready for long.
        let delay = std::mem::take(&mut target.delay);
        target.step(&client, &engine).await?;
        target.delay = delay;
        let mut autoscaler = objects::pod_autoscaler(NS, target.name, "APA");
        for (place, value) in
            [("/spec/maxReplicas", json!(40)), ("/spec/metricsSources/0/targetValue", json!(TARGET))]
        {
            *autoscaler.pointer_mut(place).context("it has that")? = value;
        }
        objects::create(&client, &autoscaler).await;
    }
    let _manager = subject.start(&plane).await;
    let from = wait::instant();
    while from.elapsed() < LONGEST && targets.iter().any(|it| it.since.elapsed() < SETTLED) {
        for target in &mut targets {
            target.step(&client, &engine).await?;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let figure = |it: &Shared, of: &str| {
        let settled =
            if it.since.elapsed() < SETTLED { "not settled".to_owned() } else { it.replicas.to_string() };
        let work = format!("constant total load 20, target 4, APA, from 2{of}: most replicas, settled");
        Figure::new(&work, format!("{}, {settled}", it.most), "≤ 6, 5")
    };
    let [at_once, slow] = &targets;
    Ok(vec![figure(at_once, ""), figure(slow, ", pods ready after 60 s")])
}

/// One autoscaler of 13,000 sources on a target of 100 pods, stored without admission.
pub(crate) async fn measure_sources(subject: &Subject) -> Result<Vec<Figure>> {
    let plane = ControlPlane::start(Options::bare()).await;
    plane.install_manager().await;
    let client = plane.client().await;
    objects::create(&client, &objects::namespace(NS)).await;
    objects::create(&client, &objects::deployment(NS, "many", PODS)).await;
    let engine = FakeEngine::start(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8000))).await?;
    engine.pods.load(None, &Load::of(Engine::Vllm).with("num_requests_running", 1.0));
    let labelled = |n: u32| {
        let mut pod = objects::pod(NS, &format!("many-{n}"));
        if let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("labels".to_owned(), json!({"app": "many"}));
        }
        pod
    };
    create(&client, (0..PODS).map(labelled)).await?;
    Kubelet::new(client.clone(), NS).ready_all().await;
    let mut autoscaler = objects::pod_autoscaler(NS, "many", "APA");
    let source = |n: u32| {
        json!({"metricSourceType": "pod", "protocolType": "http", "port": "8000", "path": "m",
            "targetMetric": format!("m{n}"), "targetValue": "1"})
    };
    *autoscaler.pointer_mut("/spec/metricsSources").context("it has sources")? =
        (0..SOURCES).map(source).collect();
    let mut log = plane.audit();
    let launched = wait::now();
    let manager = subject.start(&plane).await;
    wait_taken(&mut log, launched, "").await?;
    objects::create(&client, &autoscaler).await;
    at_rest(&manager, Duration::from_mins(2)).await?;
    let used = usage(&manager)?;
    let scrapes: u64 = engine.pods.counts().values().flat_map(BTreeMap::values).sum();
    Ok(vec![
        Figure::new(
            "peak RSS, one PodAutoscaler of 13,000 sources on 100 pods",
            megabytes(used.peak_bytes),
            "≤ 128 MB",
        ),
        Figure::new("… scrapes of its pods", scrapes, "0"),
    ])
}

// SPDX-License-Identifier: Apache-2.0
//! Adapters: one at a time, five hundred at once, at rest, after the death of the leader, beside many pods.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use aibrix_controller_manager::testkit::fake_engine::{Effect, FakeEngine, LoraEngine};
use anyhow::{Context, Result, ensure};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    Figure, megabytes, memory, ratio, spread,
    subject::{Subject, asked, at_rest, usage, wait_taken},
};
use crate::support::{
    ControlPlane, Options,
    audit::{self, Entry},
    kubelet::Kubelet,
    manager::Manager,
    objects,
    wait::{instant, now, within_deadline},
};

const NS: &str = "bench-adapters";
const PODS: usize = 50;
const ADAPTERS: usize = 500;
/// Adapters that are made one after the other.
const SINGLES: usize = 20;
/// How long the rest is watched.
const REST: Duration = Duration::from_secs(150);
/// Longest wait for all adapters.
const READY: Duration = Duration::from_mins(4);
/// After a take-over: three looks at each adapter.
const AFTERWARDS: Duration = Duration::from_secs(35);

/// Pods whose engines answer at once, and a manager that leads.
struct Scene {
    plane: ControlPlane,
    client: Client,
    engine: FakeEngine,
    pods: Vec<IpAddr>,
}

/// One at a time, many at once, at rest, failover.
pub(crate) async fn measure(subject: &Subject) -> Result<Vec<Figure>> {
    let scene = Scene::new().await?;
    let mut log = scene.plane.audit();
    let launched = now();
    let leader = subject.start(&scene.plane).await;
    wait_taken(&mut log, launched, "").await?;
    at_rest(&leader, Duration::from_secs(45)).await?;

    let mut figures = vec![scene.singles().await?];
    figures.extend(scene.crowd().await?);
    at_rest(&leader, Duration::from_mins(1)).await?;
    figures.extend(scene.rest(&leader).await?);
    figures.push(scene.failover(subject, leader).await?);
    Ok(figures)
}

/// Resident memory beside ten thousand pods.
pub(crate) async fn measure_memory(subject: &Subject) -> Result<Vec<Figure>> {
    let scene = Scene::new().await?;
    memory::fill(&scene.plane).await?;
    let mut log = scene.plane.audit();
    let launched = now();
    let manager = subject.start(&scene.plane).await;
    wait_taken(&mut log, launched, "").await?;
    scene.create((0..ADAPTERS).map(adapter)).await?;
    scene.wait_ready(ADAPTERS).await?;
    at_rest(&manager, Duration::from_mins(2)).await?;
    let used = usage(&manager)?;
    Ok(vec![
        Figure::new("RSS, 10,000 pods and 500 adapters", megabytes(used.resident_bytes), "≤ 56 MB"),
        Figure::new("… peak", megabytes(used.peak_bytes), ""),
    ])
}

impl Scene {
    async fn new() -> Result<Self> {
        let plane = ControlPlane::start(Options::bare()).await;
        plane.install_manager().await;
        let client = plane.client().await;
        objects::create(&client, &objects::namespace(NS)).await;
        let engine = FakeEngine::start(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8000))).await?;
        engine.pods.engine(None, LoraEngine { max_loras: ADAPTERS, ..LoraEngine::default() });
        let kubelet = Kubelet::new(client.clone(), NS);
        let mut pods = Vec::new();
        for n in 0..PODS {
            let name = format!("engine-{n:02}");
            let mut pod = objects::pod(NS, &name);
            set(&mut pod, "/metadata/labels", json!({"app": "engine", "model.aibrix.ai/name": "base"}));
            objects::create(&client, &pod).await;
            let ip = Kubelet::next_address();
            let since = "2026-01-01T00:00:00Z";
            let said = |kind| json!({"type": kind, "status": "True", "lastTransitionTime": since});
            let status = json!({"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "startTime": since,
                                "conditions": [said("ContainersReady"), said("Ready")]});
            kubelet.patch(&name, &status).await;
            pods.push(ip.parse().context("an address")?);
        }
        Ok(Self { plane, client, engine, pods })
    }

    async fn api(&self) -> Api<DynamicObject> {
        objects::api_of(&self.client, &adapter(0)).await
    }

    /// One after the other, each deleted before the next.
    async fn singles(&self) -> Result<Figure> {
        let api = self.api().await;
        let mut samples = Vec::new();
        for n in 0..SINGLES {
            let name = format!("single-{n}");
            let mut it = adapter(0);
            set(&mut it, "/metadata/name", json!(name));
            let object: DynamicObject = serde_json::from_value(it)?;
            let from = instant();
            api.create(&PostParams::default(), &object).await?;
            loop {
                if is_ready(&api.get(&name).await?) {
                    break;
                }
                ensure!(from.elapsed() < READY, "{name} does not get ready");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            samples.push(from.elapsed());
            api.delete(&name, &DeleteParams::default()).await?;
            let gone = within_deadline(READY, async || match api.get_opt(&name).await {
                Ok(None) => Ok(()),
                Ok(Some(_)) => Err("it is there".to_owned()),
                Err(error) => Err(error.to_string()),
            })
            .await;
            gone.map_err(|seen| anyhow::anyhow!("{name} does not go: {seen}"))?;
        }
        Ok(Figure::new("one ModelAdapter applied → Ready", spread(&samples), "p95 < 1 s"))
    }

    /// All at once.
    async fn crowd(&self) -> Result<Vec<Figure>> {
        let mut log = self.plane.audit();
        let mark = log.mark();
        let from = instant();
        self.create((0..ADAPTERS).map(adapter)).await?;
        let created = from.elapsed();
        self.wait_ready(ADAPTERS).await?;
        let ready = from.elapsed();
        // Events come a little later.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let ours: Vec<Entry> = log.since(mark).iter().filter(|it| is_work(it)).cloned().collect();
        eprintln!("bench: {ADAPTERS} adapters created after {created:?}:\n{}", audit::summary(&ours));
        let events = ours.iter().filter(|it| it.resource() == "events").count();
        let adapters = f64::from(u32::try_from(ADAPTERS)?);
        let counts: Vec<usize> = self.pods.iter().map(|pod| self.engine.pods.loaded(*pod).len()).collect();
        let (most, least) = (counts.iter().max().copied(), counts.iter().min().copied());
        Ok(vec![
            Figure::new(
                "500 adapters of one replica on 50 pods → all Ready",
                format!("{:.1} s", ready.as_secs_f64()),
                "≤ 20 s",
            ),
            Figure::new("… API requests per adapter", ratio(ours.len(), adapters), "≤ 6"),
            Figure::new("… … without events", ratio(ours.len() - events, adapters), ""),
            Figure::new(
                "… adapters on the fullest and the emptiest pod",
                format!("{} and {}", most.unwrap_or(0), least.unwrap_or(0)),
                "at most 1 apart",
            ),
        ])
    }

    /// Nothing changes.
    async fn rest(&self, leader: &Manager) -> Result<Vec<Figure>> {
        let mut log = self.plane.audit();
        let mark = log.mark();
        self.engine.pods.clear_counts();
        let before = usage(leader)?;
        tokio::time::sleep(REST).await;
        let after = usage(leader)?;
        let counts = self.engine.pods.counts();
        let calls: u64 = counts.values().flat_map(BTreeMap::values).sum();
        let ours: Vec<Entry> = log.since(mark).iter().filter(|it| is_work(it)).cloned().collect();
        eprintln!("bench: at rest:\n{}", audit::summary(&ours));
        let minutes = REST.as_secs_f64() / 60.0;
        let pods = f64::from(u32::try_from(PODS)?);
        let writes = ours.iter().filter(|it| it.is_write()).count();
        Ok(vec![
            Figure::new("500 adapters at rest: API writes per minute", ratio(writes, minutes), "0"),
            Figure::new(
                "… API requests per minute, without Leases and watches",
                ratio(ours.len(), minutes),
                "",
            ),
            Figure::new(
                "… engine calls per pod and minute",
                ratio(usize::try_from(calls)?, pods * minutes),
                "≤ 7",
            ),
            Figure::new(
                "… CPU over 2.5 minutes",
                format!("{:.2} s", after.cpu.saturating_sub(before.cpu).as_secs_f64()),
                "",
            ),
            Figure::new("… RSS", megabytes(after.resident_bytes), ""),
        ])
    }

    /// The leader dies.
    async fn failover(&self, subject: &Subject, leader: Manager) -> Result<Figure> {
        let heir = subject.start(&self.plane).await;
        at_rest(&heir, Duration::from_secs(20)).await?;
        let placed = self.placements().await?;
        self.engine.pods.journal.clear();
        let mut log = self.plane.audit();
        let killed = now();
        leader.sigkill();
        let taken = wait_taken(&mut log, killed, "").await?;
        ensure!(heir.is(&taken.holder), "{} took the Lease", taken.holder);
        tokio::time::sleep(AFTERWARDS).await;
        let moved =
            self.placements().await?.iter().filter(|(name, on)| placed.get(*name) != Some(on)).count();
        let entries = self.engine.pods.journal.entries();
        let asked = |part: &str| entries.iter().filter(|entry| entry.path.contains(part)).count();
        let loaded = entries.iter().filter(|it| matches!(it.effect, Some(Effect::Loaded(_)))).count();
        let figure = format!(
            "{} unloaded, {moved} moved, {} loaded again ({loaded} took effect)",
            asked("unload_lora"),
            asked("/load_lora")
        );
        Ok(Figure::new("leader killed with 500 loaded adapters", figure, "0, 0, 0"))
    }

    async fn placements(&self) -> Result<BTreeMap<String, Value>> {
        let list = self.api().await.list(&ListParams::default()).await?;
        let placed = |it: DynamicObject| {
            let on = it.data.pointer("/status/instances").cloned().unwrap_or_default();
            (it.metadata.name.unwrap_or_default(), on)
        };
        Ok(list.items.into_iter().map(placed).collect())
    }

    async fn create(&self, all: impl Iterator<Item = Value>) -> Result<()> {
        super::autoscalers::create(&self.client, all).await
    }

    async fn wait_ready(&self, want: usize) -> Result<()> {
        let api = self.api().await;
        let all = within_deadline(READY, async || {
            let list = api.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            let ready = list.items.iter().filter(|it| is_ready(it)).count();
            if ready >= want { Ok(()) } else { Err(format!("{ready} of {want} are ready")) }
        })
        .await;
        all.map_err(|seen| anyhow::anyhow!("not all adapters got ready: {seen}"))
    }
}

/// A request of a manager about its work.
fn is_work(entry: &Entry) -> bool {
    asked(entry) && !entry.is_lease() && entry.verb != "watch"
}

fn is_ready(adapter: &DynamicObject) -> bool {
    let conditions = adapter.data.pointer("/status/conditions").and_then(Value::as_array);
    let is = |it: &Value, key: &str, want: &str| it.get(key).and_then(Value::as_str) == Some(want);
    conditions.is_some_and(|all| all.iter().any(|it| is(it, "type", "Ready") && is(it, "status", "True")))
}

fn adapter(n: usize) -> Value {
    json!({
        "apiVersion": "model.aibrix.ai/v1alpha1",
        "kind": "ModelAdapter",
        "metadata": {"name": format!("adapter-{n:03}"), "namespace": NS},
        "spec": {
            "baseModel": "base",
            "podSelector": {"matchLabels": {"app": "engine"}},
            "artifactURL": format!("s3://models/adapter-{n:03}"),
            "replicas": 1,
        },
    })
}

fn set(object: &mut Value, place: &str, value: Value) {
    if let Some(old) = object.pointer_mut(place) {
        *old = value;
    }
}

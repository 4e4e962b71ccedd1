// SPDX-License-Identifier: Apache-2.0
//! StormServices: six hundred pods made, replaced, updated in place, and left alone.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, ensure};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    Figure, megabytes, ratio,
    subject::{Subject, asked, at_rest, stop, usage, wait_taken},
};
use crate::support::{
    ControlPlane, Options,
    audit::{self, Entry},
    manager::Manager,
    objects,
    wait::{instant, now, within_deadline},
};

const NS: &str = "bench-storm";
const SERVICES: usize = 25;
const COPIES: usize = 4;
const PREFILL: usize = 2;
const DECODE: usize = 4;
const PODS: usize = SERVICES * COPIES * (PREFILL + DECODE);
/// How long the rest is watched.
const REST: Duration = Duration::from_mins(1);
/// Longest wait for all pods.
const READY: Duration = Duration::from_mins(6);

struct Scene {
    plane: ControlPlane,
    client: Client,
}

/// Made, at rest, replaced, replaced while the leader dies, updated in place, restarted.
pub(crate) async fn measure(subject: &Subject) -> Result<Vec<Figure>> {
    let scene = Scene::new().await;
    let mut log = scene.plane.audit();
    let launched = now();
    let leader = subject.start(&scene.plane).await;
    wait_taken(&mut log, launched, "").await?;
    at_rest(&leader, Duration::from_secs(45)).await?;

    let mut figures = scene
        .work(&format!("{SERVICES} StormServices → {PODS} pods ready"), "≤ 1.4", || scene.create())
        .await?;
    at_rest(&leader, Duration::from_mins(1)).await?;
    figures.extend(scene.rest(&leader).await?);
    figures
        .extend(scene.work(&format!("rollout of {PODS} pods"), "≤ 2.6", || scene.change("engine:2")).await?);
    at_rest(&leader, Duration::from_mins(1)).await?;
    let (failover, leader) = scene.failover(subject, leader).await?;
    figures.push(failover);
    at_rest(&leader, Duration::from_mins(1)).await?;

    let mark = scene.mark();
    stop(&leader).await?;
    let launched = now();
    let leader = subject.start(&scene.plane).await;
    wait_taken(&mut log, launched, "").await?;
    at_rest(&leader, Duration::from_mins(1)).await?;
    let writes = scene.ours(mark).iter().filter(|it| it.is_write() && it.resource() != "events").count();
    figures.push(Figure::new(&format!("restart of the manager, {PODS} pods: writes"), writes, "0"));
    figures.push(Figure::new("… RSS", megabytes(usage(&leader)?.resident_bytes), ""));
    Ok(figures)
}

impl Scene {
    async fn new() -> Self {
        let plane =
            ControlPlane::start(Options { controller_manager: false, nodes: 10, ..Options::full() }).await;
        plane.install_manager().await;
        let client = plane.client().await;
        objects::create(&client, &objects::namespace(NS)).await;
        Self { plane, client }
    }

    async fn api(&self) -> Api<DynamicObject> {
        objects::api_of(&self.client, &storm_service(0, "")).await
    }

    async fn create(&self) -> Result<()> {
        super::autoscalers::create(&self.client, (0..SERVICES).map(|n| storm_service(n, "engine:1"))).await
    }

    /// A new image for both roles of all.
    async fn change(&self, image: &str) -> Result<()> {
        let api = self.api().await;
        for n in 0..SERVICES {
            let wanted = storm_service(n, image);
            let spec = json!({"spec": {"template": wanted.pointer("/spec/template")}});
            api.patch(&name(n), &PatchParams::default(), &Patch::Merge(&spec)).await?;
        }
        Ok(())
    }

    fn mark(&self) -> usize {
        self.plane.audit().mark()
    }

    /// What managers asked for since, without Leases and watches.
    fn ours(&self, mark: usize) -> Vec<Entry> {
        let mut log = self.plane.audit();
        let ours = log.since(mark).iter().filter(|it| asked(it) && !it.is_lease() && it.verb != "watch");
        ours.cloned().collect()
    }

    /// Time and requests until all is ready again.
    async fn work(
        &self,
        what: &str,
        wanted: &str,
        begin: impl AsyncFnOnce() -> Result<()>,
    ) -> Result<Vec<Figure>> {
        let mark = self.mark();
        let from = instant();
        begin().await?;
        self.wait_ready().await?;
        let took = from.elapsed();
        let ours = self.ours(mark);
        eprintln!("bench: {what}:\n{}", audit::summary(&ours));
        let pods = f64::from(u32::try_from(PODS)?);
        let events = ours.iter().filter(|it| it.resource() == "events").count();
        Ok(vec![
            Figure::new(what, format!("{:.1} s", took.as_secs_f64()), ""),
            Figure::new("… API requests per pod", hundredths(ours.len(), pods), wanted),
            Figure::new("… … without events", hundredths(ours.len() - events, pods), ""),
        ])
    }

    /// Nothing changes.
    async fn rest(&self, leader: &Manager) -> Result<Vec<Figure>> {
        let mark = self.mark();
        tokio::time::sleep(REST).await;
        let ours = self.ours(mark);
        let writes = ours.iter().filter(|it| it.is_write()).count();
        Ok(vec![
            Figure::new("… at rest: API writes a minute", ratio(writes, 1.0), "0"),
            Figure::new("… … requests a minute", ratio(ours.len(), 1.0), "health reads"),
            Figure::new("… RSS", megabytes(usage(leader)?.resident_bytes), ""),
        ])
    }

    /// The leader dies in mid-rollout.
    async fn failover(&self, subject: &Subject, leader: Manager) -> Result<(Figure, Manager)> {
        let heir = subject.start(&self.plane).await;
        at_rest(&heir, Duration::from_secs(20)).await?;
        let mark = self.mark();
        self.change("engine:3").await?;
        let begun = within_deadline(READY, async || {
            let made =
                self.ours(mark).iter().filter(|it| it.verb == "create" && it.resource() == "pods").count();
            if made > PODS / 6 { Ok(()) } else { Err(format!("{made} pods were made")) }
        })
        .await;
        begun.map_err(|seen| anyhow::anyhow!("the rollout does not begin: {seen}"))?;
        leader.sigkill();
        let fewest = self.wait_ready().await?;
        let ours = self.ours(mark);
        let made =
            ours.iter().filter(|it| it.is_ok() && it.verb == "create" && it.resource() == "pods").count();
        let names: BTreeSet<String> = self.pods().await?;
        ensure!(names.len() == PODS, "{} pods", names.len());
        let figure = format!(
            "{} made too many, never less than {fewest} of {COPIES} copies ready",
            made.saturating_sub(PODS)
        );
        Ok((Figure::new("rollout, leader killed", figure, "0, 3"), heir))
    }

    async fn pods(&self) -> Result<BTreeSet<String>> {
        let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(self.client.clone(), NS);
        Ok(pods.list(&ListParams::default()).await?.iter().map(ResourceExt::name_any).collect())
    }

    /// Waits until all copies of all services are of the newest revision and ready. Answers with the fewest ready
    /// copies that a status showed of one that had had all.
    async fn wait_ready(&self) -> Result<i64> {
        let api = self.api().await;
        let copies = i64::try_from(COPIES)?;
        let (mut full, mut fewest) = (BTreeSet::new(), copies);
        let all = within_deadline(READY, async || {
            let list = api.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            let mut done = 0;
            for it in &list.items {
                let count = |field: &str| {
                    it.data.pointer(&format!("/status/{field}")).and_then(Value::as_i64).unwrap_or(0)
                };
                let seen = it.data.pointer("/status/observedGeneration").and_then(Value::as_i64);
                let ready = count("readyReplicas");
                if ready == copies {
                    full.insert(it.name_any());
                } else if full.contains(&it.name_any()) {
                    fewest = fewest.min(ready);
                }
                let whole =
                    count("updatedReadyReplicas") == copies && ready == copies && count("replicas") == copies;
                done += usize::from(whole && seen == it.metadata.generation);
            }
            if done == SERVICES { Ok(()) } else { Err(format!("{done} of {SERVICES} are ready")) }
        })
        .await;
        all.map_err(|seen| anyhow::anyhow!("not all StormServices got ready: {seen}"))?;
        Ok(fewest)
    }
}

fn name(n: usize) -> String {
    format!("storm-{n:02}")
}

fn storm_service(n: usize, image: &str) -> Value {
    let role = |name: &str, replicas: usize| {
        json!({
            "name": name, "replicas": replicas,
            "template": {"spec": {"containers": [{"name": "engine", "image": image}]}},
        })
    };
    json!({
        "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "StormService",
        "metadata": {"name": name(n), "namespace": NS},
        "spec": {
            "replicas": COPIES, "selector": {"matchLabels": {"app": name(n)}},
            "template": {
                "metadata": {"labels": {"app": name(n)}},
                "spec": {"updateStrategy": "Parallel", "roles": [role("prefill", PREFILL), role("decode", DECODE)]},
            },
        },
    })
}

/// How many of something there are for each of some number, to two decimals.
fn hundredths(count: usize, of: f64) -> String {
    let count = u32::try_from(count).map_or(f64::INFINITY, f64::from);
    format!("{:.2}", count / of)
}

// SPDX-License-Identifier: Apache-2.0
//! Many autoscalers at rest, and when the load doubles.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use aibrix_controller_manager::testkit::fake_engine::{Engine, FakeEngine, Load};
use anyhow::{Context, Result};
use futures::{StreamExt, stream};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, PostParams},
};
use kube_fenced_election::clock::Timestamp;
use serde_json::{Value, json};

use super::{
    Figure, ratio,
    subject::{Subject, asked, at_rest, between, usage, wait_taken},
};
use crate::support::{
    ControlPlane, Options,
    audit::{AuditLog, Entry, count_by},
    objects,
    wait::{instant, now, within_deadline},
};

const NS: &str = "bench-autoscalers";
const TARGETS: usize = 200;
const PODS_EACH: u32 = 3;
/// Window of the autoscalers.
const WINDOW_SECONDS: u32 = 30;
/// How long the rest is watched.
const REST: Duration = Duration::from_secs(150);
/// Longest wait for all targets.
const SCALED: Duration = Duration::from_mins(2);

/// 200 Deployments of three pods, each with an autoscaler, and engines that all report the same.
pub(crate) async fn measure(subject: &Subject) -> Result<Vec<Figure>> {
    let plane = ControlPlane::start(Options::full()).await;
    plane.install_manager().await;
    let client = plane.client().await;
    objects::create(&client, &objects::namespace(NS)).await;
    let engine = FakeEngine::start(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8000))).await?;
    engine.pods.load(None, &load(10.0));
    create(&client, (0..TARGETS).map(|n| objects::deployment(NS, &name(n), PODS_EACH))).await?;
    wait_for_pods(&client).await?;
    create(&client, (0..TARGETS).map(autoscaler)).await?;

    let mut log = plane.audit();
    let launched = now();
    let manager = subject.start(&plane).await;
    wait_taken(&mut log, launched, "").await?;
    at_rest(&manager, Duration::from_secs(45)).await?;
    // Two rounds of measurements, so that the first status of every autoscaler is written.
    tokio::time::sleep(Duration::from_secs(25)).await;

    let mark = log.mark();
    engine.pods.clear_counts();
    let before = usage(&manager)?;
    tokio::time::sleep(REST).await;
    let after = usage(&manager)?;
    let counts = engine.pods.counts();
    let requests: Vec<_> = log.since(mark).iter().filter(|it| asked(it) && !it.is_lease()).cloned().collect();
    let (watches, others): (Vec<_>, Vec<_>) = requests.into_iter().partition(|it| it.verb == "watch");
    let reopened: BTreeSet<_> =
        watches.iter().filter(|it| it.is_ok()).map(|it| (it.received, &it.uri)).collect();
    // A refused watch leaves two lines.
    let refused: BTreeSet<_> =
        watches.iter().filter(|it| !it.is_ok()).map(|it| (it.received, &it.uri)).collect();
    for (kind, count) in count_by(&others, |it: &Entry| (it.verb.clone(), it.resource())) {
        eprintln!("bench: at rest: {count} × {} {}", kind.0, kind.1);
    }
    let scrapes: u64 = counts.values().flat_map(BTreeMap::values).sum();
    let minutes = REST.as_secs_f64() / 60.0;
    let pods = f64::from(PODS_EACH) * f64::from(u32::try_from(TARGETS).context("few targets")?);
    let mut figures = vec![
        Figure::new(
            "200 autoscalers at rest: scrapes per pod and minute",
            ratio(usize::try_from(scrapes)?, pods * minutes),
            "≤ 7",
        ),
        Figure::new(
            "… API requests per minute, without Leases and watches",
            ratio(others.len(), minutes),
            "0",
        ),
        Figure::new("… watches opened again, per minute", ratio(reopened.len(), minutes), ""),
        Figure::new(
            "… watches of kinds that are not installed, per minute",
            ratio(refused.len(), minutes),
            "",
        ),
        Figure::new(
            "… CPU over 2.5 minutes",
            format!("{:.2} s", (after.cpu.saturating_sub(before.cpu)).as_secs_f64()),
            "≤ 5 s",
        ),
        Figure::new("… RSS", super::megabytes(after.resident_bytes), ""),
    ];
    after_a_round(&engine).await;
    let doubled = now();
    engine.pods.load(None, &load(20.0));
    let (first, last, scaled) = wait_scaled(&mut log, doubled).await;
    figures.push(Figure::new(
        "the metric doubles right after a round → first target scaled",
        seconds(first),
        "",
    ));
    figures.push(Figure::new(
        &format!("… → all targets scaled ({scaled} of {TARGETS})"),
        seconds(last),
        "≤ 12 s",
    ));
    Ok(figures)
}

fn name(n: usize) -> String {
    format!("model-{n:03}")
}

/// With a window so short that one measurement of twice the load is above the tolerance. The mean over the
/// 180 s of the default needs two, by the algorithm and whoever computes it: that would be measured too.
fn autoscaler(n: usize) -> Value {
    let mut autoscaler = objects::pod_autoscaler(NS, &name(n), "APA");
    if let Some(spec) = autoscaler.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("observeWindowSeconds".to_owned(), json!(WINDOW_SECONDS));
        spec.insert("panicWindowSeconds".to_owned(), json!(WINDOW_SECONDS));
    }
    autoscaler
}

fn load(running: f64) -> Load {
    Load::of(Engine::Vllm).with("num_requests_running", running)
}

fn seconds(span: Option<Duration>) -> String {
    span.map_or_else(|| "never".to_owned(), |it| format!("{:.1} s", it.as_secs_f64()))
}

/// Creates objects of one kind, 20 at a time.
pub(crate) async fn create(client: &Client, all: impl Iterator<Item = Value>) -> Result<()> {
    let all: Vec<Value> = all.collect();
    let api = objects::api_of(client, all.first().context("nothing to create")?).await;
    let created = all.into_iter().map(|object| {
        let api = api.clone();
        async move {
            let object: DynamicObject = serde_json::from_value(object)?;
            api.create(&PostParams::default(), &object).await?;
            Ok::<_, anyhow::Error>(())
        }
    });
    let results: Vec<Result<()>> = stream::iter(created).buffer_unordered(20).collect().await;
    results.into_iter().collect()
}

/// Waits until a round of measurements has just come to its end: a load that changes now is seen as late as
/// it can be, by a manager that measures in rounds.
async fn after_a_round(engine: &FakeEngine) {
    let count = || engine.pods.counts().values().flat_map(BTreeMap::values).sum::<u64>();
    let (from, start) = (instant(), count());
    let mut last = (start, instant());
    while from.elapsed() < Duration::from_secs(20) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let seen = count();
        if seen != last.0 {
            last = (seen, instant());
        } else if seen > start && last.1.elapsed() > Duration::from_millis(500) {
            return;
        }
    }
}

async fn wait_for_pods(client: &Client) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NS);
    let ready = within_deadline(Duration::from_mins(5), async || {
        let list = deployments.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let replicas = |it: &Deployment| it.status.as_ref().and_then(|it| it.ready_replicas).unwrap_or(0);
        let ready: i32 = list.iter().map(replicas).sum();
        let want = i32::try_from(TARGETS).unwrap_or(i32::MAX).saturating_mul(3);
        if ready >= want { Ok(()) } else { Err(format!("{ready} of {want} pods are ready")) }
    })
    .await;
    ready.map_err(|seen| anyhow::anyhow!("not all pods came up: {seen}"))?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), NS);
    let count = pods.list_metadata(&ListParams::default()).await?.items.len();
    eprintln!("bench: {count} pods run");
    Ok(())
}

/// Times until the first and the last target were scaled, and how many were.
async fn wait_scaled(log: &mut AuditLog, since: Timestamp) -> (Option<Duration>, Option<Duration>, usize) {
    let mut firsts: BTreeMap<String, Timestamp> = BTreeMap::new();
    let all = within_deadline(SCALED, async || {
        let scales = |it: &&Entry| {
            let resource = it.resource();
            let about = resource == "deployments" || resource == "deployments/scale";
            about && it.received > since && it.is_write() && it.is_ok() && asked(it)
        };
        for entry in log.entries().iter().filter(scales) {
            let name = entry.object.as_ref().map(|it| it.name.clone()).unwrap_or_default();
            let first = firsts.entry(name).or_insert(entry.finished);
            *first = (*first).min(entry.finished);
        }
        if firsts.len() >= TARGETS { Ok(()) } else { Err(String::new()) }
    })
    .await;
    drop(all);
    let times: BTreeSet<Timestamp> = firsts.values().copied().collect();
    let span = |at: Option<&Timestamp>| at.map(|at| between(since, *at));
    (span(times.first()), span(times.last()), firsts.len())
}

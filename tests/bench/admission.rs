// SPDX-License-Identifier: Apache-2.0
//! How long one replica takes to answer the API server, at a steady rate.

#![expect(clippy::indexing_slicing, reason = "JSON that is made here; an absent member reads as null")]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    Figure,
    subject::{PATIENCE, Subject, stop},
};
use crate::support::{
    ControlPlane, Options,
    authority::Authority,
    manager::Launch,
    objects,
    ports::free_port,
    reviews::{Reviewer, creation, hostile},
    usage,
    wait::{instant, within_deadline},
};

const PER_SECOND: u32 = 200;
const FOR: Duration = Duration::from_secs(30);

/// Reviews of all kinds in turn, of the size that users' objects have, at 200 a second whether or not earlier
/// ones were answered: a time counts from the moment at which the review was due.
pub(crate) async fn measure(subject: &Subject) -> Result<Vec<Figure>> {
    let plane = ControlPlane::start(Options::bare()).await;
    plane.install_manager().await;
    let (authority, folder) = (Authority::new(), plane.dir().join("webhook-certs"));
    authority.write_certificate(&folder);
    let port = free_port();
    let args = [
        "--leader-elect".to_owned(),
        "--manage-webhook-certs=false".to_owned(),
        format!("--webhook-cert-dir={}", folder.display()),
        format!("--webhook-port={port}"),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut launch = Launch::new(&plane, &args).await;
    launch.binary = Some(subject.binary.clone());
    let manager = launch.start();
    let ready = within_deadline(PATIENCE, async || match manager.get("/readyz").await {
        Ok(answer) if answer.code == 200 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    ready.await.map_err(anyhow::Error::msg).context("the manager is not ready")?;

    let reviewer = Reviewer::new(authority.der(), ([127, 0, 0, 1], port).into());
    let reviews = reviews();
    // Connections and caches are warm in a cluster.
    for (path, review) in reviews.iter().cycle().take(100) {
        reviewer.ask(path, review).await?;
    }
    let mut samples = ask(&reviewer, &reviews).await?;
    samples.sort_unstable();
    let asked = hostile().into_iter().map(|(path, body)| reviewer.post(path, "application/json", body));
    for answer in futures::future::join_all(asked).await {
        answer?;
    }
    let peak = usage::of(manager.pid()).context("the manager has ended")?.peak_bytes;
    stop(&manager).await?;
    let work = format!("admission reviews, {PER_SECOND} a second, {} of them", samples.len());
    let spread = format!("p50 {}, p99 {}, max {}", at(&samples, 50), at(&samples, 99), at(&samples, 100));
    Ok(vec![
        Figure::new(&work, spread, "p99 < 10 ms"),
        Figure::new(
            "… then 16 of 7 MiB at once, all of it small values: peak RSS",
            super::megabytes(peak),
            "< 200 MB",
        ),
    ])
}

async fn ask(reviewer: &Reviewer, reviews: &[(&'static str, Value)]) -> Result<Vec<Duration>> {
    let (mut asked, start) = (JoinSet::new(), instant());
    let (period, count) = (Duration::from_secs(1) / PER_SECOND, FOR.as_secs() * u64::from(PER_SECOND));
    let mut due = start;
    for (path, review) in reviews.iter().cycle().take(usize::try_from(count)?) {
        tokio::time::sleep_until(due).await;
        let (reviewer, path, review, from) = (reviewer.clone(), *path, review.clone(), due);
        asked.spawn(async move {
            let answer = reviewer.ask(path, &review).await?;
            ensure!(answer["allowed"] == json!(true), "{path}: {answer}");
            anyhow::Ok(from.elapsed())
        });
        due += period;
    }
    asked.join_all().await.into_iter().collect()
}

/// One review for each path, all of them accepted.
fn reviews() -> Vec<(&'static str, Value)> {
    let orchestration = "orchestration.aibrix.ai/v1alpha1";
    let mut deployment = objects::deployment("ns", "web", 3);
    deployment["metadata"]["annotations"] = json!({"model.aibrix.ai/sidecar-injection": "true"});
    let env: Vec<_> =
        (0..60).map(|n| json!({"name": format!("SETTING_{n}"), "value": "x".repeat(60)})).collect();
    deployment["spec"]["template"]["spec"]["containers"][0]["env"] = json!(env);
    let meta = json!({"name": "it", "namespace": "ns"});
    let roles: Vec<_> = ["prefill", "decode"]
        .map(|name| json!({"name": name, "template": deployment["spec"]["template"].clone()}))
        .into();
    let storm = json!({
        "apiVersion": orchestration, "kind": "StormService", "metadata": meta,
        "spec": {"template": {"spec": {"roles": roles}}},
    });
    let cache = json!({"apiVersion": orchestration, "kind": "KVCache", "metadata": meta, "spec": {}});
    let adapter = json!({
        "apiVersion": "model.aibrix.ai/v1alpha1", "kind": "ModelAdapter", "metadata": meta,
        "spec": {"artifactURL": "s3://bucket/model", "podSelector": {}},
    });
    let autoscaler = objects::pod_autoscaler("ns", "web", "KPA");
    [
        ("/mutate-apps-v1-deployment", &deployment),
        ("/validate-apps-v1-deployment", &deployment),
        ("/mutate-orchestration-aibrix-ai-v1alpha1-kvcache", &cache),
        ("/validate-orchestration-aibrix-ai-v1alpha1-kvcache", &cache),
        ("/mutate-model-aibrix-ai-v1alpha1-modeladapter", &adapter),
        ("/validate-model-aibrix-ai-v1alpha1-modeladapter", &adapter),
        ("/mutate-autoscaling-aibrix-ai-v1alpha1-podautoscaler", &autoscaler),
        ("/validate-autoscaling-aibrix-ai-v1alpha1-podautoscaler", &autoscaler),
        ("/mutate-orchestration-aibrix-ai-v1alpha1-stormservice", &storm),
        ("/validate-orchestration-aibrix-ai-v1alpha1-stormservice", &storm),
    ]
    .map(|(path, object)| (path, creation(object)))
    .into()
}

/// The sample below which `percent` of a hundred lie, of sorted ones.
fn at(sorted: &[Duration], percent: usize) -> String {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    let sample = sorted.get(rank - 1).copied().unwrap_or_default();
    format!("{:.1} ms", sample.as_secs_f64() * 1000.0)
}

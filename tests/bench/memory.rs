// SPDX-License-Identifier: Apache-2.0
//! Resident memory in an empty cluster and with many pods.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    Figure, megabytes,
    subject::{Subject, at_rest, stop, usage, wait_taken},
};
use crate::support::{ControlPlane, Options, objects, wait::now};

const PODS: u32 = 10_000;
const ENV_ENTRIES: usize = 15;
/// Creations under way at a time.
const AT_ONCE: usize = 40;
const NS: &str = "bench-memory";

/// Starts the manager twice: before and after the pods are there.
pub(crate) async fn measure(subject: &Subject) -> Result<Vec<Figure>> {
    let plane = ControlPlane::start(Options::bare()).await;
    plane.install_manager().await;
    let (empty, empty_peak) = resident(subject, &plane).await?;
    fill(&plane).await?;
    let (full, peak) = resident(subject, &plane).await?;
    Ok(vec![
        Figure::new("RSS, empty cluster", megabytes(empty), "≤ 20 MB"),
        Figure::new("RSS, empty cluster, peak", megabytes(empty_peak), ""),
        Figure::new("RSS, 10,000 pods", megabytes(full), "≤ 48 MB"),
        Figure::new("RSS, 10,000 pods, peak", megabytes(peak), "≤ 64 MB"),
    ])
}

/// Creates the pods.
pub(crate) async fn fill(plane: &ControlPlane) -> Result<()> {
    let client = plane.client().await;
    objects::create(&client, &objects::namespace(NS)).await;
    create_pods(&client, NS).await
}

/// Resident memory of a fresh process that leads and is at rest, and its peak.
async fn resident(subject: &Subject, plane: &ControlPlane) -> Result<(u64, u64)> {
    let mut log = plane.audit();
    let launched = now();
    let manager = subject.start(plane).await;
    wait_taken(&mut log, launched, "").await?;
    at_rest(&manager, Duration::from_mins(2)).await?;
    let used = usage(&manager)?;
    stop(&manager).await?;
    Ok((used.resident_bytes, used.peak_bytes))
}

/// Creates 10,000 pods in the namespace `ns`.
///
/// # Errors
/// One could not be created.
pub(crate) async fn create_pods(client: &Client, ns: &str) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), ns);
    let created = (0..PODS).map(|n| {
        let pods = pods.clone();
        async move {
            let object: Pod = serde_json::from_value(pod(n)).context("build a pod")?;
            pods.create(&PostParams::default(), &object).await.context("create a pod")?;
            let status = Patch::Merge(status(n));
            let patched = pods.patch_status(&name(n), &PatchParams::default(), &status).await;
            patched.map(drop).context("write the status of a pod")
        }
    });
    stream::iter(created).buffer_unordered(AT_ONCE).try_collect::<()>().await
}

fn name(n: u32) -> String {
    format!("model-{:03}-7d4f9c6b5d-{:05}", n / 20, n)
}

/// A pod as a Deployment's would be: 20 of each, with environment, probes, mounts and owner.
fn pod(n: u32) -> Value {
    let model = format!("model-{:03}", n / 20);
    let env = (0..ENV_ENTRIES)
        .map(|i| json!({"name": format!("ENGINE_OPTION_{i}"), "value": format!("value-{i}-of-{model}")}));
    let probe = json!({"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 10});
    json!({
        "metadata": {
            "name": name(n),
            "labels": {
                "app": model, "model.aibrix.ai/name": model, "model.aibrix.ai/port": "8000",
                "model.aibrix.ai/engine": "vllm", "pod-template-hash": "7d4f9c6b5d",
            },
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8000"},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{model}-7d4f9c6b5d"),
                "uid": format!("00000000-0000-4000-8000-{:012}", n / 20), "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "nodeName": format!("node-{}", n % 200),
            "volumes": [{"name": "models", "emptyDir": {}}],
            "containers": [{
                "name": "engine",
                "image": "example.invalid/engine:1",
                "command": ["python3", "-m", "vllm.entrypoints.openai.api_server", "--model", model],
                "env": env.collect::<Vec<_>>(),
                "ports": [{"name": "http", "containerPort": 8000}],
                "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
                "volumeMounts": [{"name": "models", "mountPath": "/models"}],
                "livenessProbe": probe,
                "readinessProbe": probe,
            }],
        },
    })
}

fn status(n: u32) -> Value {
    let ip = format!("10.244.{}.{}", n / 250, n % 250 + 1);
    let since = "2026-01-01T00:00:00Z";
    let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"];
    let conditions = conditions.map(|it| json!({"type": it, "status": "True", "lastTransitionTime": since}));
    json!({"status": {
        "phase": "Running",
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "hostIP": "127.0.0.1",
        "startTime": since,
        "conditions": conditions,
        "containerStatuses": [{
            "name": "engine", "ready": true, "started": true, "restartCount": 0,
            "image": "example.invalid/engine:1", "imageID": "example.invalid/engine@sha256:0",
            "containerID": format!("containerd://{n:064}"), "state": {"running": {"startedAt": since}},
        }],
    }})
}

// SPDX-License-Identifier: Apache-2.0
//! Kubernetes objects as JSON, and the requests that tests make with them.
//!
//! Builders start valid and small; a test changes what it is about: `let mut it = deployment("web", 2);
//! it["spec"]["template"]["metadata"]["annotations"] = json!({…});`.

use std::time::Duration;

use kube::{
    Api, Client, Discovery,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
    discovery::{ApiCapabilities, Scope, pinned_kind},
};
use serde_json::{Value, json};

use super::wait::instant;

/// A namespace.
pub(crate) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

/// A Deployment `ns/name` of `replicas` pods with the labels `app: name` and `model.aibrix.ai/name: name` and
/// one container that serves on port 8000.
pub(crate) fn deployment(ns: &str, name: &str, replicas: u32) -> Value {
    let mut template = pod(ns, name);
    template["metadata"] = json!({"labels": template["metadata"]["labels"]});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": ns, "labels": {"app": name}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": template["metadata"], "spec": template["spec"]},
        },
    })
}

/// A pod `ns/name` with the labels of [`deployment`].
pub(crate) fn pod(ns: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": ns,
            "labels": {"app": name, "model.aibrix.ai/name": name, "model.aibrix.ai/port": "8000"},
        },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "engine",
                "image": "example.invalid/engine:1",
                "ports": [{"name": "http", "containerPort": 8000}],
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
            }],
        },
    })
}

/// A PodAutoscaler `ns/name` of strategy `strategy` (`KPA`, `APA` or `HPA`) on the Deployment of the same
/// name, 1 to 10 replicas, with one pod metric `vllm:num_requests_running` on port 8000 and the target 10.
pub(crate) fn pod_autoscaler(ns: &str, name: &str, strategy: &str) -> Value {
    json!({
        "apiVersion": "autoscaling.aibrix.ai/v1alpha1",
        "kind": "PodAutoscaler",
        "metadata": {"name": name, "namespace": ns},
        "spec": {
            "scalingStrategy": strategy,
            "minReplicas": 1,
            "maxReplicas": 10,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "metricsSources": [{
                "metricSourceType": "pod",
                "protocolType": "http",
                "port": "8000",
                "path": "/metrics",
                "targetMetric": "vllm:num_requests_running",
                "targetValue": "10",
            }],
        },
    })
}

/// The API of the object's kind, in the object's namespace where the kind has namespaces.
///
/// # Panics
/// When the kind is not served.
pub(crate) async fn api_of(client: &Client, object: &Value) -> Api<DynamicObject> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let api_version = text("/apiVersion").expect("an object has apiVersion");
    let kind = text("/kind").expect("an object has a kind");
    api(client, api_version, kind, text("/metadata/namespace")).await
}

/// How long a kind may take to be served.
const SERVED: Duration = Duration::from_secs(5);

/// The API of a kind; `ns: None` means all namespaces.
///
/// # Panics
/// When the kind is not served.
pub(crate) async fn api(
    client: &Client,
    api_version: &str,
    kind: &str,
    ns: Option<&str>,
) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let gvk = GroupVersionKind::gvk(group, version, kind);
    let (resource, capabilities) = served(client, &gvk).await;
    match (capabilities.scope, ns) {
        (Scope::Namespaced, Some(ns)) => Api::namespaced_with(client.clone(), ns, &resource),
        _ => Api::all_with(client.clone(), &resource),
    }
}

/// The kind, which may have been stored just now; and a connection may have ended just now.
async fn served(client: &Client, kind: &GroupVersionKind) -> (ApiResource, ApiCapabilities) {
    let deadline = instant() + SERVED;
    loop {
        match pinned_kind(client, kind).await {
            Ok(found) => return found,
            Err(error) => assert!(instant() < deadline, "{kind:?} is not served: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Creates the object and returns it as stored.
///
/// # Panics
/// When the API server refuses it.
pub(crate) async fn create(client: &Client, object: &Value) -> DynamicObject {
    try_create(client, object).await.unwrap_or_else(|error| panic!("create {object}: {error}"))
}

/// Creates the object.
///
/// # Errors
/// The API server's refusal, for tests that expect one.
pub(crate) async fn try_create(client: &Client, object: &Value) -> kube::Result<DynamicObject> {
    let typed: DynamicObject = serde_json::from_value(object.clone()).expect("an object");
    api_of(client, object).await.create(&PostParams::default(), &typed).await
}

/// Merges `patch` into the object `like` (kind, namespace and name count), and returns it as stored.
///
/// # Panics
/// When the API server refuses it.
pub(crate) async fn patch(client: &Client, like: &Value, patch: &Value) -> DynamicObject {
    let name = name_of(like);
    let api = api_of(client, like).await;
    api.patch(&name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap_or_else(|error| panic!("patch {name} with {patch}: {error}"))
}

/// Reads the object `like` (kind, namespace and name count); `None` when it is not there.
///
/// # Panics
/// When it cannot be read.
pub(crate) async fn get(client: &Client, like: &Value) -> Option<Value> {
    let found = api_of(client, like).await.get_opt(&name_of(like)).await;
    let found = found.unwrap_or_else(|error| panic!("read {}: {error}", name_of(like)));
    found.map(|object| serde_json::to_value(object).expect("an object is JSON"))
}

/// Deletes the object `like`; it may be gone already.
///
/// # Panics
/// When the API server refuses it.
pub(crate) async fn delete(client: &Client, like: &Value) {
    match api_of(client, like).await.delete(&name_of(like), &DeleteParams::default()).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => panic!("delete {}: {error}", name_of(like)),
    }
}

/// All kinds that the API server serves, as `kind.group`.
pub(crate) async fn served_kinds(client: &Client) -> Vec<String> {
    let discovery = Discovery::new(client.clone()).run().await.expect("discover");
    let groups = discovery.groups();
    groups
        .flat_map(|group| {
            let kinds = group.recommended_resources();
            kinds.into_iter().map(|(it, _)| format!("{}.{}", it.kind, it.group))
        })
        .collect()
}

fn name_of(object: &Value) -> String {
    let name = object.pointer("/metadata/name").and_then(Value::as_str);
    name.expect("an object has a name").to_owned()
}

// SPDX-License-Identifier: Apache-2.0
//! Refusals of ModelAdapters.

use serde_json::{Value, json};

use super::world::Scene;
use crate::support::objects;

fn adapter(scene: &Scene, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "model.aibrix.ai/v1alpha1", "kind": "ModelAdapter",
        "metadata": {"name": name, "namespace": scene.ns}, "spec": spec,
    })
}

fn with_url(scene: &Scene, name: &str, url: &str) -> Value {
    adapter(scene, name, &json!({"artifactURL": url, "podSelector": {}}))
}

// scenario: model-adapter-and-router 1-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bucket_is_accepted_and_rubbish_is_refused_with_a_message_that_helps() {
    let scene = Scene::new("adapter").await;
    let stored = scene.accepts(&with_url(&scene, "good", "s3://test-bucket/test-model")).await;
    assert_eq!(stored["spec"]["schedulerName"], "default");
    let status = scene.rejects(&with_url(&scene, "bad", "aabbcc")).await;
    assert_eq!((status.code, status.reason.as_str()), (403, "Forbidden"), "{status:?}");
    for part in ["vmodeladapter.kb.io", "spec.artifactURL", "artifactURL is invalid", "unsupported schema"] {
        assert!(status.message.contains(part), "{part}: {}", status.message);
    }
}

// scenario: model-adapter-and-router 3-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spec_that_lacks_something_is_refused_by_webhook_or_schema() {
    let scene = Scene::new("adapter").await;
    let status = scene.rejects(&with_url(&scene, "empty", "")).await;
    assert_eq!(status.code, 403, "by the webhook: {status:?}");
    let status = scene.rejects(&adapter(&scene, "without", &json!({"podSelector": {}}))).await;
    assert_eq!(status.code, 422, "by the schema: {status:?}");
    assert!(status.message.contains("spec.artifactURL"), "{}", status.message);

    let url = "s3://bucket/model";
    for replicas in [0, -1, 2] {
        let spec = json!({"artifactURL": url, "podSelector": {}, "replicas": replicas});
        let status = scene.rejects(&adapter(&scene, "replicas", &spec)).await;
        assert!(status.message.contains("spec.replicas"), "{}", status.message);
    }
    scene
        .accepts(&adapter(&scene, "one", &json!({"artifactURL": url, "podSelector": {}, "replicas": 1})))
        .await;
    let stored = scene.accepts(&with_url(&scene, "all", url)).await;
    assert_eq!(stored["spec"].get("replicas"), None);

    let status = scene.rejects(&adapter(&scene, "selector", &json!({"artifactURL": url}))).await;
    assert_eq!(status.code, 422, "by the schema: {status:?}");
    assert!(status.message.contains("spec.podSelector"), "{}", status.message);
}

// scenario: model-adapter-and-router 6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemes_are_those_that_engines_can_load() {
    let scene = Scene::new("adapter").await;
    for (place, url) in
        ["ms://x", "ftp://b/p", "hugingface://a/b", "gs://b/p", "https://h/x"].into_iter().enumerate()
    {
        let status = scene.rejects(&with_url(&scene, &format!("bad-{place}"), url)).await;
        assert!(status.code == 403 && status.message.contains("unsupported schema"), "{url}: {status:?}");
    }
    for (place, url) in
        ["gcs://b/p", "tos://b/p", "hf://a/b", "huggingface://a/b", "/models/x"].into_iter().enumerate()
    {
        scene.accepts(&with_url(&scene, &format!("good-{place}"), url)).await;
    }
}

// scenario: model-adapter-and-router 7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn object_that_exists_is_not_judged_again() {
    let scene = Scene::new("adapter").await;
    let object = with_url(&scene, "a", "s3://bucket/model");
    scene.accepts(&object).await;
    let changed = scene.changes(&object, &json!({"spec": {"artifactURL": "ftp://x"}})).await;
    assert_eq!(changed["spec"]["artifactURL"], "ftp://x");
    objects::delete(&scene.client, &object).await;
    assert_eq!(objects::get(&scene.client, &object).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusal_shows_no_credentials() {
    let scene = Scene::new("adapter").await;
    let status = scene.rejects(&with_url(&scene, "a", "https://me:s3cr3t@host/x?token=t0k3n")).await;
    for secret in ["s3cr3t", "t0k3n"] {
        assert!(!format!("{status:?}").contains(secret), "{status:?}");
    }
}

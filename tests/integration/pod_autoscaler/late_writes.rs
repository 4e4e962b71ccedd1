// SPDX-License-Identifier: Apache-2.0
//! Writes of a leader that arrive once more after its successor's: each is refused.

use http::{Request, header::CONTENT_TYPE};
use kube::Client;
use serde_json::Value;

use crate::support::{
    Options, audit::Entry, eventually, holders::wait_all_held, install::NAMESPACE, manager::Manager,
};

use super::{
    scene::{Scene, said, scale},
    world::{QUICK, SOON, plane},
};

const LEASE: &str = "aibrix-pod-autoscaler-controller";

/// Sends a request once more, as an administrator; the code of the answer.
async fn replay(client: &Client, entry: &Entry) -> u16 {
    let body = entry.request.as_ref().expect("the audit log has the body");
    let (method, kind) = match (entry.verb.as_str(), body) {
        ("patch", Value::Array(_)) => ("PATCH", "application/json-patch+json"),
        ("patch", _) => ("PATCH", "application/merge-patch+json"),
        ("update", _) => ("PUT", "application/json"),
        ("delete", _) => ("DELETE", "application/json"),
        other => panic!("{other:?}"),
    };
    let request = Request::builder().method(method).uri(&entry.uri).header(CONTENT_TYPE, kind);
    let request = request.body(body.to_string().into_bytes()).expect("a request");
    match client.request_text(request).await {
        Ok(_) => 200,
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("{error}"),
    }
}

// scenario: hardening 7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scale_delete_and_status_of_a_leader_that_arrive_after_its_successors_are_refused() {
    let plane = plane(Options::bare()).await;
    let scene = Scene::new(&plane, "late").await;
    for name in ["web", "made"] {
        scene.deployment(name, 2).await;
    }
    scene.say("web", 40);
    let scaled = scene.by_endpoint("web", "KPA", "10");
    let made = scene.autoscaler("made", "HPA", "10");
    let hpa = scene.hpa("made-hpa");
    let strategy = async |name: &str| {
        scene.patch(&made, &serde_json::json!({"spec": {"scalingStrategy": name}})).await;
    };
    let uid = |seen: &Value| seen["metadata"]["uid"].clone();

    let first = Manager::start(&plane, &QUICK).await;
    wait_all_held(&scene.client, NAMESPACE, SOON, &[LEASE], &[&first]).await;
    scene.create(&scaled).await;
    scene.create(&made).await;
    scene.until_replicas("web", 4, SOON).await;
    scene.until(&scaled, SOON, "it says so", |seen| scale(seen) == (4, 4)).await;
    let deleted = uid(&scene.until(&hpa, SOON, "it is made", |_| true).await);
    scene.until_said(&made, "AbleToScale", "True/Configured", SOON).await;
    strategy("APA").await;
    eventually(SOON, "the HorizontalPodAutoscaler is deleted", async || {
        scene.get(&hpa).await?.map_or(Ok(()), |seen| Err(seen.to_string()))
    })
    .await;
    first.sigterm();
    assert_eq!(first.wait_exit(SOON).await, Some(0), "{}", first.log());

    let second = Manager::start(&plane, &QUICK).await;
    wait_all_held(&scene.client, NAMESPACE, SOON, &[LEASE], &[&second]).await;
    scene.say("web", 80);
    strategy("HPA").await;
    scene.until_replicas("web", 8, SOON).await;
    scene.until(&scaled, SOON, "it says so", |seen| scale(seen) == (8, 8)).await;
    let again = scene.until(&hpa, SOON, "it is made again", |seen| uid(seen) != deleted).await;
    scene.until(&made, SOON, "it says so", |seen| said(seen, "AbleToScale") == "True/Configured").await;
    second.sigterm();
    assert_eq!(second.wait_exit(SOON).await, Some(0), "{}", second.log());

    let mut log = plane.audit();
    let by_first = |it: &&Entry| it.caller.as_ref().is_some_and(|it| first.is(&it.identity));
    let changes = log.entries().iter().filter(by_first).filter(|it| it.is_ok() && it.is_in(&scene.ns));
    let changes: Vec<&Entry> = changes
        .filter(|it| it.is_write() && it.verb != "create" && !it.resource().starts_with("events"))
        .collect();
    for (verb, resource) in [
        ("patch", "deployments"),
        ("delete", "horizontalpodautoscalers"),
        ("update", "podautoscalers/status"),
    ] {
        let seen = changes.iter().any(|it| it.verb == verb && it.resource() == resource);
        assert!(seen, "no {verb} {resource} among {changes:?}");
    }
    let shown = async || {
        let deployment = scene.named("apps/v1", "Deployment", "web");
        let mut shown = Vec::new();
        for object in [&scaled, &made, &hpa, &deployment] {
            shown.push(scene.get(object).await.expect("an answer").expect("it is there"));
        }
        shown
    };
    let before = shown().await;
    for change in changes {
        let code = replay(&scene.client, change).await;
        assert!(matches!(code, 409 | 422), "{code} for {change:?}");
    }
    assert_eq!(shown().await, before);
    assert_eq!(uid(&before[2]), uid(&again));
}

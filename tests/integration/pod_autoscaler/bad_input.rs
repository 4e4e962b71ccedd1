// SPDX-License-Identifier: Apache-2.0
//! Input that is wrong: objects that cannot be parsed, and what engines must not answer.

use std::time::Duration;

use aibrix_controller_manager::testkit::fake_engine::{Fault, Page};
use serde_json::json;

use super::{
    scene::{Scene, said, scale},
    world::{QUICK, SOON, SYNC, bare, plane},
};
use crate::support::{Options, manager::Manager};

/// Each of these says nothing that may be acted upon.
fn useless() -> Vec<(&'static str, Page)> {
    let gauge = |value: &str| Page::ok(format!("# TYPE load gauge\nload {value}\n"));
    vec![
        ("nan", gauge("NaN")),
        ("infinite", gauge("+Inf")),
        ("minus-infinite", gauge("-Inf")),
        ("not-a-number", gauge("many")),
        ("empty", Page::ok("")),
        ("absent", Page::ok("# TYPE other gauge\nother 5\n")),
        (
            "histogram",
            Page::ok("# TYPE load histogram\nload_bucket{le=\"+Inf\"} 4\nload_sum 2\nload_count 4\n"),
        ),
        ("binary", Page::ok([0xff, 0xfe, 0, 0x80].repeat(1000))),
        ("cut", Page::ok("# TYPE load gauge\nload{a=\"b")),
        ("endless", Page::fault(Fault::Endless)),
        ("hangs", Page::fault(Fault::Hang)),
        ("slow", gauge("500").after(Duration::from_secs(20))),
        ("broken", Page { status: http::StatusCode::INTERNAL_SERVER_ERROR, ..gauge("500") }),
        ("redirect", Page { status: http::StatusCode::FOUND, ..gauge("500") }),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn useless_answers_change_no_replicas_and_delay_nobody() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "useless").await;
    let annotations = json!({"autoscaling.aibrix.ai/scale-down-cooldown-window": "0s"});
    for (name, page) in useless() {
        scene.deployment(name, 3).await;
        scene.engine.pods.set(None, name, page);
        let mut it = scene.by_endpoint(name, "APA", "10");
        it["metadata"]["annotations"] = annotations.clone();
        scene.create(&it).await;
    }
    // Numbers, if strange ones: a negative load is less than any target, a huge one is more.
    for (name, value) in [("negative", "-5"), ("huge", "1e308"), ("beyond", "1e999"), ("twice", "20\nload 5")]
    {
        scene.deployment(name, 3).await;
        scene.say(name, value);
        let mut it = scene.by_endpoint(name, "APA", "10");
        it["metadata"]["annotations"] = annotations.clone();
        scene.create(&it).await;
    }
    scene.deployment("good", 3).await;
    scene.say("good", 10);
    let good = scene.by_endpoint("good", "APA", "10");
    scene.create(&good).await;
    scene.until_said(&good, "Ready", "True/AsExpected", SOON).await;

    for (name, _) in useless() {
        let event = scene.until_event(name, "Warning FailedComputeScale: ").await;
        assert!(event.len() < 1024, "{event}");
    }
    scene.until_event("beyond", "Warning FailedComputeScale: ").await;
    scene.until_replicas("huge", 10, SYNC).await;
    scene.until_replicas("negative", 1, SYNC).await;
    // Of a service-wide value the series are summed: 25 of 10.
    scene.until_event("twice", "Normal SuccessfulRescale: New size: 6; reason: apa above target").await;
    scene.say("good", 20);
    scene.until_replicas("good", 6, SYNC).await;
    for (name, _) in useless() {
        scene.keeps_replicas(name, 3, &scene.passes(&world.manager, name), 2).await;
    }
    assert!(world.manager.exit_status().is_none());
    assert!(!world.manager.log().contains("panicked"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_cannot_be_parsed_is_named_and_the_others_go_on() {
    let plane = plane(Options::bare()).await;
    let scene = Scene::new(&plane, "unparsable").await;
    // The schema of some later release, or of none.
    let mut crd = scene.named(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "podautoscalers.autoscaling.aibrix.ai",
    );
    crd["metadata"] = json!({"name": "podautoscalers.autoscaling.aibrix.ai"});
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": open, "status": open}}});
    plane
        .kubectl(&[
            "patch",
            "crd",
            "podautoscalers.autoscaling.aibrix.ai",
            "--type=json",
            "-p",
            &json!([{"op": "replace", "path": "/spec/versions/0/schema", "value": schema}]).to_string(),
        ])
        .await
        .expect("loosen the schema");
    let mut bad = scene.autoscaler("bad", "APA", "10");
    bad["spec"]["maxReplicas"] = json!("many");
    let mut worse = scene.autoscaler("worse", "APA", "10");
    worse["spec"] = json!([1, 2, 3]);
    let mut wide = scene.autoscaler("wide", "APA", "10");
    wide["spec"]["maxReplicas"] = json!(99_999_999_999_i64);
    // Until the new schema is in force.
    crate::support::eventually(SOON, "the API server takes it", async || {
        crate::support::objects::try_create(&scene.client, &bad)
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    })
    .await;
    scene.create(&wide).await;
    drop(crate::support::objects::try_create(&scene.client, &worse).await);

    let manager = Manager::start(&plane, &QUICK).await;
    scene.deployment("good", 1).await;
    scene.say("good", 20);
    let good = scene.by_endpoint("good", "APA", "10");
    scene.create(&good).await;
    scene.until_replicas("good", 2, SOON).await;
    for name in ["bad", "wide"] {
        let event = scene.until_event(name, "Warning MalformedObject: ").await;
        assert!(event.contains("skipped until it is corrected"), "{event}");
    }
    // Corrected, it is looked at like any other; and one that breaks while it is watched is let go.
    scene.deployment("bad", 1).await;
    scene.patch(&bad, &json!({"spec": {"maxReplicas": 4, "minReplicas": 3}})).await;
    scene.until_replicas("bad", 3, SYNC).await;
    scene.patch(&good, &json!({"spec": {"maxReplicas": {"a": 1}}})).await;
    scene.until_event("good", "Warning MalformedObject: ").await;
    scene.patch(&bad, &json!({"spec": {"minReplicas": 4}})).await;
    scene.until_replicas("bad", 4, SYNC).await;
    let seen = scene.until(&bad, SYNC, "its status", |seen| scale(seen).0 == 4).await;
    assert_eq!(said(&seen, "ValidSpec"), "True/AsExpected");
    assert!(manager.exit_status().is_none() && !manager.log().contains("panicked"), "{}", manager.log());
}

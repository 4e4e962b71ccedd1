// SPDX-License-Identifier: Apache-2.0
//! Loads that fail and engines that forget.

use std::{net::IpAddr, time::Duration};

use aibrix_controller_manager::testkit::fake_engine::{LoraEngine, lora::Running};
use serde_json::json;

use super::{
    scene::{Call, Scene, counts, instances, message, phase, said},
    world::{NEXT_LOOK, SOON, bare},
};

/// Longest wait between two attempts at first.
const RETRY: Duration = Duration::from_secs(20);

/// Times between the loads that a pod was asked for, in seconds.
fn gaps(scene: &Scene, pod: IpAddr) -> Vec<f64> {
    let loads = scene.asked(pod, Call::Load);
    loads.windows(2).map(|pair| pair[1].at.duration_since(pair[0].at).as_secs_f64()).collect()
}

// scenario: model-adapter-and-router 18
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adapter_that_an_engine_lost_is_loaded_again_within_a_period() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "lost").await;
    let [dropped, restarted] = scene.pods(["web-0", "web-1"]).await;
    let it = scene.adapter("sql");
    scene.run(&it, &["web-0", "web-1"]).await;
    let history = scene.watch(&it).await;
    scene.engines.change(dropped, |engine| engine.drop_adapter("sql"));
    // The engine's container restarts, and its pod stays ready.
    scene.engines.change(restarted, Running::restart);
    for pod in [dropped, restarted] {
        scene.until_asked(pod, Call::Load, 2, Duration::from_secs(16)).await;
    }
    let seen = scene.until_on(&it, &["web-0", "web-1"], SOON).await;
    assert_eq!(counts(&seen), (2, 2, 2));
    for pod in [dropped, restarted] {
        assert!(scene.engines.loaded(pod).contains_key("sql"), "{pod}");
        assert_eq!(scene.count(pod, Call::Load), 2, "{pod}");
    }
    assert_eq!(history.texts(0, phase).await, ["Running"]);
}

// scenario: model-adapter-and-router 19
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pod_that_cannot_load_again_leaves_until_it_can() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "reload").await;
    let [good, bad] = scene.pods(["web-0", "web-1"]).await;
    let it = scene.adapter("sql");
    scene.run(&it, &["web-0", "web-1"]).await;
    scene.refuse(bad, Call::Load, 500, "boom");
    scene.engines.change(bad, Running::restart);
    let seen = scene.until_on(&it, &["web-0"], NEXT_LOOK).await;
    assert_eq!(counts(&seen), (2, 2, 1));
    scene.until_endpoints("sql", &[good], SOON).await;
    scene.accept(bad);
    let seen = scene.until_on(&it, &["web-0", "web-1"], RETRY).await;
    assert_eq!(counts(&seen), (2, 2, 2));
    scene.until_endpoints("sql", &[good, bad], SOON).await;
    assert_eq!(scene.count(good, Call::Load), 1, "the good one is left alone");
}

// scenario: model-adapter-and-router 20
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adapter_that_fails_everywhere_says_why_and_is_tried_at_a_pace() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "boom").await;
    let mut pods = Vec::new();
    for name in ["web-0", "web-1"] {
        let pod = scene.pod(name).await;
        scene.refuse(pod, Call::Load, 500, "boom");
        pods.push(pod);
    }
    let it = scene.adapter("sql");
    let history = scene.watch(&it).await;
    scene.create(&it).await;
    let seen = scene.until_said(&it, "Ready", "False/ModelAdapterLoadingError", SOON).await;
    assert_eq!(phase(&seen), "Failed");
    assert_eq!(counts(&seen), (2, 2, 0));
    let text = message(&seen, "Ready");
    assert!(text.starts_with("Loading failed on all pods: pod "), "{text}");
    assert!(text.contains("status 500") && text.contains("boom"), "{text}");
    assert!(text.contains("pod web-0: ") && text.contains("pod web-1: "), "{text}");
    scene.until_event("sql", "Warning LoadFailed: Failed to load adapter on pod web-0: ").await;
    scene.until_asked(pods[0], Call::Load, 3, 3 * RETRY).await;
    for gap in gaps(&scene, pods[0]) {
        assert!((9.5..16.0).contains(&gap), "attempts are 10 s apart: {:?}", gaps(&scene, pods[0]));
    }
    assert_eq!(history.texts(0, phase).await, ["Pending", "Failed"], "it does not flap");
    for pod in pods {
        scene.accept(pod);
    }
    let seen = scene.until_on(&it, &["web-0", "web-1"], RETRY).await;
    assert_eq!(message(&seen, "Ready"), format!("ModelAdapter {}/sql is ready", scene.ns));
}

// scenario: model-adapter-and-router 21
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adapter_that_fails_on_one_pod_runs_on_the_other() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "partial").await;
    let [good, bad] = scene.pods(["web-0", "web-1"]).await;
    scene.refuse(bad, Call::Load, 500, "boom");
    let it = scene.adapter("sql");
    let seen = scene.run(&it, &["web-0"]).await;
    assert_eq!(counts(&seen), (2, 2, 1));
    scene.until_endpoints("sql", &[good], SOON).await;
    scene.until_asked(bad, Call::Load, 2, RETRY).await;
    assert!((9.5..16.0).contains(&gaps(&scene, bad)[0]), "{:?}", gaps(&scene, bad));
    scene.accept(bad);
    scene.until_on(&it, &["web-0", "web-1"], RETRY).await;
    assert_eq!(scene.count(good, Call::Load), 1);
}

// scenario: model-adapter-and-router 22
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_errors_of_many_pods_fit_into_the_status() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "long").await;
    for n in 0..40 {
        let name = format!("web-{n:02}");
        let pod = scene.pod(&name).await;
        scene.refuse(pod, Call::Load, 500, &"é".repeat(2048));
    }
    let it = scene.adapter("sql");
    scene.create(&it).await;
    let seen = scene.until_said(&it, "Ready", "False/ModelAdapterLoadingError", SOON).await;
    assert_eq!(phase(&seen), "Failed");
    assert_eq!(counts(&seen), (40, 40, 0));
    let text = message(&seen, "Ready");
    assert!(text.chars().count() <= 4096, "{} characters", text.chars().count());
    assert!(text.starts_with("Loading failed on all pods: pod web-00: "), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_load_is_asked_for_once_and_waited_for() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "slow").await;
    let slow = LoraEngine { load_ms: 25_000, ..LoraEngine::default() };
    let slow = scene.pod_like("web-0", slow).await;
    let quick = scene.pod("web-1").await;
    let it = scene.adapter("sql");
    // Two looks at rest pass meanwhile, and the other pod does not wait.
    scene.run(&it, &["web-1"]).await;
    assert!(scene.engines.loaded(quick).contains_key("sql"));
    scene.until_on(&it, &["web-0", "web-1"], Duration::from_mins(1)).await;
    let loads = scene.asked(slow, Call::Load);
    assert_eq!(loads.len(), 1, "{loads:?}");
    assert_eq!(loads[0].status, Some(200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engine_that_says_loaded_already_is_believed_after_its_list() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "already").await;
    let [already, liar] = scene.pods(["web-0", "web-1"]).await;
    scene.refuse(already, Call::Load, 400, "The lora adapter 'sql' has already been loaded.");
    scene.engines.change(liar, |engine| engine.like.lies = true);
    let it = scene.adapter("sql");
    scene.create(&it).await;
    // Whoever loaded it: the list tells.
    scene.until_asked(already, Call::Load, 1, SOON).await;
    scene.engines.change(already, |engine| engine.put_adapter("sql", "/models/sql"));
    scene.until(&it, 2 * RETRY, "it is on web-0", |seen| instances(seen).contains(&"web-0".to_owned())).await;
    // The liar's list never shows it: the lie lasts until the next look.
    scene
        .until(&it, 2 * NEXT_LOOK, "the liar is found out", |seen| {
            said(seen, "Ready") == "True/ModelAdapterAvailable"
        })
        .await;
    scene.until_asked(liar, Call::Load, 2, 2 * NEXT_LOOK).await;
    let patience = json!(scene.count(liar, Call::Load));
    assert!(patience.as_u64() < Some(6), "a liar is not hammered: {patience}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_engine_is_reported() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "full").await;
    let full = LoraEngine { max_loras: 1, ..LoraEngine::default() };
    scene.pod_like("web-0", full).await;
    scene.run(&scene.adapter("first"), &["web-0"]).await;
    let second = scene.adapter("second");
    scene.create(&second).await;
    let seen = scene.until_said(&second, "Ready", "False/ModelAdapterLoadingError", SOON).await;
    assert!(message(&seen, "Ready").contains("max_loras (1) is reached"), "{}", message(&seen, "Ready"));
    // Room again.
    scene.delete(&scene.adapter("first")).await;
    scene.until_on(&second, &["web-0"], 2 * RETRY).await;
}

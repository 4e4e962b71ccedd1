// SPDX-License-Identifier: Apache-2.0
//! Adapters on all pods that match: found, counted, followed.

use std::time::Duration;

use aibrix_controller_manager::testkit::fake_engine::LoraEngine;
use serde_json::json;

use crate::support::wait::instant;

use super::{
    scene::{Call, Scene, condition, counts, finalizers, instances, message, phase, said},
    world::{NEXT_LOOK, SOON, bare},
};

const FINALIZER: &str = "adapter.model.aibrix.ai/finalizer";

// scenario: model-adapter-and-router 9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_adapter_is_guarded_and_pending_at_first() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "new").await;
    let it = scene.adapter("sql");
    let history = scene.watch(&it).await;
    scene.create(&it).await;
    let pending = history.until(0, SOON, "it is pending", |seen| phase(seen) == "Pending").await;
    assert_eq!(finalizers(&pending), [FINALIZER]);
    assert_eq!(said(&pending, "Initialized"), "Unknown/ModelAdapterPending");
    assert_eq!(message(&pending, "Initialized"), "Starting reconciliation");
    // The very first status is this one, also where pods are ready.
    scene.pod("web-0").await;
    let other = scene.adapter("ready");
    let history = scene.watch(&other).await;
    scene.run(&other, &["web-0"]).await;
    let first = history.all().await.into_iter().find(|seen| !phase(seen).is_empty()).expect("a status");
    assert_eq!(
        (phase(&first), said(&first, "Initialized")),
        ("Pending".into(), "Unknown/ModelAdapterPending".into())
    );
    assert_eq!(finalizers(&first), [FINALIZER]);
    assert_eq!(history.texts(0, phase).await, ["Pending", "Running"]);
}

// scenario: model-adapter-and-router 10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adapter_is_loaded_once_on_each_pod_that_matches() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "all").await;
    let pods = scene.pods(["web-0", "web-1", "web-2"]).await;
    let it = scene.adapter("sql");
    let seen = scene.run(&it, &["web-0", "web-1", "web-2"]).await;
    assert_eq!(counts(&seen), (3, 3, 3));
    assert_eq!(message(&seen, "Ready"), format!("ModelAdapter {}/sql is ready", scene.ns));
    assert_eq!(condition(&seen, "Ready").unwrap()["observedGeneration"], seen["metadata"]["generation"]);
    for pod in pods {
        assert_eq!(scene.count(pod, Call::Load), 1, "{pod}");
        assert_eq!(scene.engines.loaded(pod)["sql"], "/models/sql");
    }
    // At rest it is listed, and neither loaded nor written.
    let version = super::scene::version(&seen);
    let lists = scene.count(pods[0], Call::Models);
    scene.until_asked(pods[0], Call::Models, lists + 1, NEXT_LOOK).await;
    let seen = scene.get(&it).await.unwrap();
    assert_eq!(super::scene::version(&seen), version, "nobody writes at rest");
    assert!(pods.iter().all(|pod| scene.count(*pod, Call::Load) == 1), "nobody loads at rest");
    scene.until_event("sql", "Normal Loaded: Successfully loaded adapter on pod web-0").await;
}

// scenario: model-adapter-and-router 13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_that_cannot_host_are_neither_called_nor_counted() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "hosts").await;
    let elsewhere = Scene::new(&world.plane, "elsewhere").await;
    let far = elsewhere.pod("web-0").await;
    let good = scene.pod("good").await;
    let unready = scene.pod("unready").await;
    scene.set_ready("unready", false, Duration::from_mins(1)).await;
    let leaving = scene.pod("leaving").await;
    scene.terminate("leaving").await;
    let other = json!({"phase": "Pending", "podIP": null, "podIPs": null});
    let homeless = scene.make(&scene.bare_pod("homeless"), LoraEngine::default(), &other).await;
    let mut stranger = scene.bare_pod("stranger");
    stranger["metadata"]["labels"] = json!({"app": "other", "adapter.model.aibrix.ai/enabled": "true"});
    let stranger = scene.make(&stranger, LoraEngine::default(), &json!({})).await;

    let it = scene.adapter("sql");
    let seen = scene.run(&it, &["good"]).await;
    assert_eq!(counts(&seen), (1, 1, 1));
    scene.looked_at_again(&world.manager, &it).await;
    // The engine's own list is asked for each period.
    let asked = scene.count(good, Call::Models);
    scene.until_asked(good, Call::Models, asked + 1, SOON).await;
    for pod in [unready, leaving, homeless, stranger] {
        assert_eq!(scene.engines.journal.of(pod), [], "only one pod is called");
    }
    assert_eq!(elsewhere.engines.journal.of(far), [], "only one pod is called");
    let seen = scene.get(&it).await.expect("it is there");
    assert_eq!(counts(&seen), (1, 1, 1));
    assert_eq!(scene.count(good, Call::Load), 1);
}

// scenario: model-adapter-and-router 14
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pod_that_becomes_ready_is_loaded_at_once() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "fourth").await;
    let [a, b, c] = scene.pods(["web-0", "web-1", "web-2"]).await;
    let it = scene.adapter("sql");
    let before = scene.run(&it, &["web-0", "web-1", "web-2"]).await;
    let d = scene.pod("web-3").await;
    scene.set_ready("web-3", false, Duration::from_mins(1)).await;
    scene.set_ready("web-3", true, Duration::ZERO).await;
    let from = instant();
    let seen = scene.until_on(&it, &["web-0", "web-1", "web-2", "web-3"], SOON).await;
    assert!(from.elapsed() < Duration::from_secs(5), "it took {:?}", from.elapsed());
    assert_eq!(counts(&seen), (4, 4, 4));
    assert_eq!(instances(&seen)[..3], instances(&before)[..], "who was there first stays first");
    scene.until_endpoints("sql", &[a, b, c, d], SOON).await;
    for pod in [a, b, c] {
        assert_eq!(scene.count(pod, Call::Load), 1, "{pod} is not loaded again");
        assert!(scene.count(pod, Call::Models) >= 1, "{pod} is listed");
    }
}

// scenario: model-adapter-and-router 15
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pod_that_is_deleted_leaves_within_seconds() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "leaves").await;
    let [a, b] = scene.pods(["web-0", "web-1"]).await;
    let it = scene.adapter("sql");
    scene.run(&it, &["web-0", "web-1"]).await;
    scene.until_endpoints("sql", &[a, b], SOON).await;
    let history = scene.watch(&it).await;
    scene.delete_pod("web-1").await;
    let from = instant();
    let seen = scene.until_on(&it, &["web-0"], SOON).await;
    scene.until_endpoints("sql", &[a], SOON).await;
    assert!(from.elapsed() < Duration::from_secs(5), "it took {:?}", from.elapsed());
    assert_eq!(counts(&seen), (1, 1, 1));
    assert_eq!(history.texts(0, phase).await, ["Running"]);
}

// scenario: model-adapter-and-router 16
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adapter_without_pods_says_so_and_comes_back() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "none").await;
    scene.pods(["web-0", "web-1"]).await;
    let it = scene.adapter("sql");
    scene.run(&it, &["web-0", "web-1"]).await;
    scene.delete_pod("web-0").await;
    scene.delete_pod("web-1").await;
    let seen = scene
        .until(&it, SOON, "it is pending and unavailable", |seen| {
            phase(seen) == "Pending" && said(seen, "Ready") == "False/ModelAdapterUnavailable"
        })
        .await;
    assert_eq!(instances(&seen), [""; 0]);
    assert_eq!(counts(&seen), (0, 0, 0));
    let text = format!("ModelAdapter {}/sql has no ready pods matching its selector", scene.ns);
    assert_eq!(message(&seen, "Ready"), text);
    scene.until_endpoints("sql", &[], SOON).await;
    let back = scene.pod("web-2").await;
    let seen = scene.until_on(&it, &["web-2"], SOON).await;
    assert_eq!(counts(&seen), (1, 1, 1));
    scene.until_endpoints("sql", &[back], SOON).await;
}

// scenario: model-adapter-and-router 17
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adapter_that_an_engine_lists_already_is_not_loaded() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "listed").await;
    let pod = scene.pod("web-0").await;
    scene.engines.change(pod, |engine| engine.put_adapter("sql", "/models/sql"));
    let it = scene.adapter("sql");
    let seen = scene.run(&it, &["web-0"]).await;
    assert_eq!(counts(&seen), (1, 1, 1));
    assert_eq!(scene.count(pod, Call::Load), 0);
}

// scenario: hardening 38
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adapter_that_an_engine_has_from_elsewhere_is_replaced() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "elsewhere").await;
    let pod = scene.pod("web-0").await;
    scene.engines.change(pod, |engine| engine.put_adapter("sql", "/elsewhere"));
    let it = scene.adapter("sql");
    scene.run(&it, &["web-0"]).await;
    scene.looked_at_again(&world.manager, &it).await;
    assert_eq!((scene.count(pod, Call::Unload), scene.count(pod, Call::Load)), (1, 1));
    assert_eq!(scene.engines.loaded(pod)["sql"], "/models/sql");
}

// scenario: model-adapter-and-router 23
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn selectors_of_expressions_select() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "expressions").await;
    for (name, labels) in [
        ("gold", json!({"tier": "gold"})),
        ("tin", json!({"tier": "tin", "old": "yes"})),
        ("plain", json!({})),
    ] {
        let mut pod = scene.bare_pod(name);
        pod["metadata"]["labels"] = labels;
        scene.make(&pod, LoraEngine::default(), &json!({})).await;
    }
    for (name, expression, on) in [
        ("in", json!({"key": "tier", "operator": "In", "values": ["gold", "iron"]}), &["gold"][..]),
        ("not-in", json!({"key": "tier", "operator": "NotIn", "values": ["gold"]}), &["tin", "plain"]),
        ("exists", json!({"key": "tier", "operator": "Exists"}), &["gold", "tin"]),
        ("absent", json!({"key": "tier", "operator": "DoesNotExist"}), &["plain"]),
    ] {
        let mut it = scene.adapter(name);
        it["spec"]["podSelector"] = json!({"matchExpressions": [expression]});
        let seen = scene.run(&it, on).await;
        assert_eq!(counts(&seen).0, i64::try_from(on.len()).unwrap(), "{name}");
    }
    let mut all = scene.adapter("empty");
    all["spec"]["podSelector"] = json!({});
    scene.run(&all, &["gold", "tin", "plain"]).await;
}

// scenario: model-adapter-and-router 25
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adapter_with_another_artifact_is_loaded_anew() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "anew").await;
    let pods = scene.pods(["web-0", "web-1"]).await;
    let it = scene.adapter("sql");
    scene.run(&it, &["web-0", "web-1"]).await;
    scene.patch(&it, &json!({"spec": {"artifactURL": "/models/better"}})).await;
    for pod in pods {
        scene.until_asked(pod, Call::Load, 2, SOON).await;
    }
    scene.until_on(&it, &["web-0", "web-1"], SOON).await;
    // Once, and not again at the next look.
    let lists = scene.count(pods[0], Call::Models);
    scene.until_asked(pods[0], Call::Models, lists + 2, 2 * NEXT_LOOK).await;
    for pod in pods {
        let unloads = scene.asked(pod, Call::Unload);
        assert_eq!(unloads.len(), 1, "{pod}");
        assert_eq!(unloads[0].json(), json!({"lora_name": "sql"}));
        let loads = scene.asked(pod, Call::Load);
        assert_eq!(loads.len(), 2, "{pod}");
        assert_eq!(loads[1].json(), json!({"lora_name": "sql", "lora_path": "/models/better"}));
        assert!(unloads[0].at < loads[1].at);
        assert_eq!(scene.engines.loaded(pod)["sql"], "/models/better");
    }
}

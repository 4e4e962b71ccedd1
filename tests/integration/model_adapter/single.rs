// SPDX-License-Identifier: Apache-2.0
//! Adapters on one pod: which, when, and where to when it goes.

use std::time::Duration;

use aibrix_controller_manager::testkit::fake_engine::LoraEngine;
use serde_json::json;

use crate::support::wait::instant;

use super::{
    scene::{Call, Scene, counts, instances, message, phase, said, told},
    world::{SOON, STABLE, bare},
};

// scenario: model-adapter-and-router 26
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_pods_is_chosen_and_said() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "one").await;
    let pods = scene.pods(["web-0", "web-1", "web-2"]).await;
    let it = scene.single("sql");
    let history = scene.watch(&it).await;
    scene.create(&it).await;
    let seen = scene.until_on(&it, &["web-0"], SOON).await;
    assert_eq!(counts(&seen), (3, 1, 1));
    assert_eq!(history.texts(0, phase).await, ["Pending", "Scheduled", "Running"]);
    let text =
        format!("True/Scheduled: ModelAdapter {}/sql has selected 1 pods for scheduling: [web-0]", scene.ns);
    assert_eq!(history.texts(0, |seen| told(seen, "Scheduled")).await, [text]);
    let scheduled = history.all().await.into_iter().find(|seen| phase(seen) == "Scheduled").unwrap();
    assert_eq!(said(&scheduled, "Scheduled"), "True/Scheduled");
    let loads: Vec<_> = pods.iter().map(|pod| scene.count(*pod, Call::Load)).collect();
    assert_eq!(loads, [1, 0, 0]);
    scene.until_endpoints("sql", &pods[..1], SOON).await;
    scene
        .until_event("sql", "Normal Scheduled: ModelAdapter has selected 1 pods for scheduling: [web-0]")
        .await;
}

// scenario: model-adapter-and-router 27
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pod_is_chosen_once_it_has_been_ready_for_a_while() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "stable").await;
    let pod = scene.pod("web-0").await;
    scene.set_ready("web-0", true, Duration::ZERO).await;
    let ready = scene.get(&scene.bare_pod("web-0")).await.unwrap();
    let at = &ready["status"]["conditions"][3]["lastTransitionTime"];
    let at: kube_fenced_election::clock::Timestamp = at.as_str().unwrap().parse().unwrap();
    let it = scene.single("sql");
    scene.create(&it).await;
    let waiting = scene.until_said(&it, "Ready", "False/PodNotReady", SOON).await;
    assert_eq!((phase(&waiting).as_str(), counts(&waiting)), ("Pending", (1, 1, 0)));
    assert_eq!(scene.count(pod, Call::Load), 0);
    scene.until_on(&it, &["web-0"], SOON).await;
    let load = &scene.asked(pod, Call::Load)[0];
    let waited = load.at.duration_since(at).as_secs_f64();
    // The time of the transition is in whole seconds; the next look at rest would come after ten.
    assert!((STABLE.as_secs_f64()..STABLE.as_secs_f64() + 4.5).contains(&waited), "it took {waited} s");
}

// scenario: model-adapter-and-router 28, 38
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emptiest_pod_is_chosen_whatever_the_scheduler_is_called() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "least").await;
    for name in ["web-0", "web-1", "web-2"] {
        let mut pod = scene.bare_pod(name);
        pod["metadata"]["labels"] = json!({"app": "web", "own": name});
        scene.make(&pod, LoraEngine::default(), &json!({})).await;
    }
    for (name, pod) in [("x", "web-0"), ("y", "web-0"), ("z", "web-2")] {
        let mut other = scene.adapter(name);
        other["spec"]["podSelector"] = json!({"matchLabels": {"own": pod}});
        scene.run(&other, &[pod]).await;
    }
    // 2, 0, 1; then 2, 1, 1: of equals the first by name; then 2, 2, 1; then all equal.
    for (name, scheduler, on) in [
        ("a", "default", "web-1"),
        ("b", "least-adapters", "web-1"),
        ("c", "binPack", "web-2"),
        ("d", "nonsense", "web-0"),
    ] {
        let mut it = scene.single(name);
        it["spec"]["schedulerName"] = json!(scheduler);
        scene.run(&it, &[on]).await;
    }
}

// scenario: model-adapter-and-router 29
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adapters_made_together_see_each_other() {
    let world = bare().await;
    for round in 0..3 {
        let scene = Scene::new(&world.plane, "together").await;
        let pods = scene.pods(["web-0", "web-1"]).await;
        let (a, b) = (scene.single("a"), scene.single("b"));
        tokio::join!(scene.create(&a), scene.create(&b));
        let running = |seen: &serde_json::Value| phase(seen) == "Running";
        let a = scene.until(&a, SOON, "it runs", running).await;
        let b = scene.until(&b, SOON, "it runs", running).await;
        assert_ne!(instances(&a), instances(&b), "round {round}");
        assert_eq!(pods.map(|pod| scene.engines.loaded(pod).len()), [1, 1]);
    }
}

// scenario: model-adapter-and-router 33
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_without_a_model_name_are_candidates() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "nameless").await;
    let mut named = scene.bare_pod("web-0");
    named["metadata"]["labels"]["model.aibrix.ai/name"] = json!("base");
    scene.make(&named, LoraEngine::default(), &json!({})).await;
    scene.pod("web-1").await;
    let it = scene.single("sql");
    let seen = scene.run(&it, &["web-1"]).await;
    assert_eq!(counts(&seen), (2, 1, 1));
}

// scenario: model-adapter-and-router 34
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_pod_is_tried_in_the_same_pass() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "switch").await;
    let [first, second] = scene.pods(["web-0", "web-1"]).await;
    scene.refuse(first, Call::Load, 500, "boom");
    let it = scene.single("sql");
    let seen = scene.run(&it, &["web-1"]).await;
    assert_eq!(counts(&seen), (2, 1, 1));
    let (refused, loaded) = (scene.asked(first, Call::Load), scene.asked(second, Call::Load));
    assert_eq!((refused.len(), loaded.len()), (1, 1));
    let between = loaded[0].at.duration_since(refused[0].at).as_secs_f64();
    // A second pass would come after ten.
    assert!((0.0..8.0).contains(&between), "{between} s between them");
    scene.until_endpoints("sql", &[second], SOON).await;
}

// scenario: model-adapter-and-router 35
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adapter_moves_when_its_pod_goes() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "moves").await;
    let [_, second] = scene.pods(["web-0", "web-1"]).await;
    let it = scene.single("sql");
    scene.run(&it, &["web-0"]).await;
    let history = scene.watch(&it).await;
    let mark = history.mark().await;
    let from = instant();
    scene.terminate("web-0").await;
    let seen = scene.until_on(&it, &["web-1"], SOON).await;
    assert!(from.elapsed() < Duration::from_secs(5), "it took {:?}", from.elapsed());
    let lost =
        history.until(mark, SOON, "it is lost", |seen| said(seen, "Ready") == "False/AdapterMigrating").await;
    assert_eq!(said(&lost, "Scheduled"), "False/Rescheduling");
    assert_eq!(message(&lost, "Ready"), "Adapter pod removed, migrating to new pod");
    assert_eq!(message(&lost, "Scheduled"), "Need to reschedule adapter on available pods");
    assert_eq!(instances(&lost), [""; 0]);
    assert_eq!(said(&seen, "Scheduled"), "True/Rescheduled");
    assert_eq!(message(&seen, "Scheduled"), "Adapter successfully loaded on new pod web-1");
    assert_eq!(counts(&seen), (1, 1, 1));
    scene.until_endpoints("sql", &[second], SOON).await;
    assert!(scene.engines.loaded(second).contains_key("sql"));
}

// scenario: model-adapter-and-router 36
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adapter_without_another_pod_serves_nowhere() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "nowhere").await;
    let pod = scene.pod("web-0").await;
    let it = scene.single("sql");
    scene.run(&it, &["web-0"]).await;
    scene.until_endpoints("sql", &[pod], SOON).await;
    scene.terminate("web-0").await;
    scene.until_endpoints("sql", &[], SOON).await;
    let seen = scene.until_said(&it, "Ready", "False/ModelAdapterUnavailable", SOON).await;
    assert_eq!((phase(&seen).as_str(), counts(&seen)), ("Pending", (0, 1, 0)));
    scene.looked_at_again(&world.manager, &it).await;
    let seen = scene.get(&it).await.expect("it is there");
    let out = instances(&seen).is_empty() && said(&seen, "Ready").starts_with("False/");
    assert!(out, "the stale pod stays out: {}", seen["status"]);
    // A pod that comes and has been ready for long enough takes it.
    let next = scene.pod("web-1").await;
    scene.until_on(&it, &["web-1"], SOON).await;
    scene.until_endpoints("sql", &[next], SOON).await;
}

// scenario: model-adapter-and-router 37
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn number_changes_from_all_to_one_and_back() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "number").await;
    let pods = scene.pods(["web-0", "web-1", "web-2"]).await;
    let it = scene.adapter("sql");
    let all = scene.run(&it, &["web-0", "web-1", "web-2"]).await;
    let history = scene.watch(&it).await;
    let mark = history.mark().await;
    scene.patch(&it, &json!({"spec": {"replicas": 1}})).await;
    let first = instances(&all)[0].clone();
    let seen = scene.until_on(&it, &[&first], SOON).await;
    assert_eq!(counts(&seen), (3, 1, 1));
    let scaled = history.until(mark, SOON, "it is scaled", |seen| phase(seen) == "Scaled").await;
    assert_eq!(said(&scaled, "Scheduled"), "True/Scaled");
    assert_eq!(message(&scaled, "Scheduled"), format!("ModelAdapter {}/sql scaled to 1 replicas", scene.ns));
    let unloads: usize = pods.iter().map(|pod| scene.count(*pod, Call::Unload)).sum();
    assert_eq!(unloads, 2);
    let loaded = pods.iter().filter(|pod| scene.engines.loaded(**pod).contains_key("sql")).count();
    assert_eq!(loaded, 1);
    scene.patch(&it, &json!({"spec": {"replicas": null}})).await;
    let seen = scene.until_on(&it, &["web-0", "web-1", "web-2"], SOON).await;
    assert_eq!(counts(&seen), (3, 3, 3));
    assert_eq!(pods.iter().map(|pod| scene.count(*pod, Call::Load)).sum::<usize>(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn placement_stays_while_its_pod_does() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "stays").await;
    scene.pod("web-1").await;
    let it = scene.single("sql");
    scene.run(&it, &["web-1"]).await;
    // A pod that sorts first and is as empty as can be.
    let other = scene.pod("web-0").await;
    scene.until(&it, SOON, "the other is a candidate", |seen| counts(seen).0 == 2).await;
    scene.looked_at_again(&world.manager, &it).await;
    let seen = scene.get(&it).await.expect("it is there");
    assert_eq!(instances(&seen), ["web-1"], "nothing moves: {}", seen["status"]);
    assert_eq!(scene.count(other, Call::Load), 0);
}

// SPDX-License-Identifier: Apache-2.0
//! How many replicas strategies APA and KPA want, and how they get there.

use std::{net::IpAddr, time::Duration};

use aibrix_controller_manager::testkit::fake_engine::{Fault, Page};
use serde_json::{Value, json};

use super::{
    scene::{Scene, condition, said, scale},
    world::{PERIOD, SOON, SYNC, bare},
};
use crate::support::eventually;

/// An annotation by the last part of its key.
fn annotate(it: &mut Value, values: &[(&str, &str)]) {
    for (key, value) in values {
        it["metadata"]["annotations"][format!("autoscaling.aibrix.ai/{key}")] = json!(value);
    }
}

// scenario: pod-autoscaler 29
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apa_follows_the_mean_of_the_pods_and_says_so() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "apa").await;
    scene.deployment("web", 2).await;
    let pods = scene.pods("web", 2).await;
    for pod in &pods {
        scene.load(*pod, 45.0);
    }
    let mut it = scene.autoscaler("web", "APA", "30");
    // Also where the load below comes too late for the next sync.
    it["spec"]["maxReplicas"] = json!(3);
    let history = scene.watch(&it).await;
    scene.create(&it).await;
    let seen = history.until(0, SOON, "2 to 3", |seen| scale(seen) == (3, 2)).await;
    // The mean of the window comes down to the target with it.
    for pod in &pods {
        scene.load(*pod, 10.0);
    }
    assert_eq!(said(&seen, "ScalingActive"), "True/ReconcilingScaleDiff");
    assert_eq!(condition(&seen, "ScalingActive").expect("said")["message"], "desired=3, actual=2");
    assert_eq!(scene.replicas("web").await, Ok(3));
    let settled = |seen: &Value| scale(seen) == (3, 3) && said(seen, "ScalingActive") == "False/Stable";
    let seen = scene.until(&it, SOON, "3 of 3", settled).await;
    assert_eq!(said(&seen, "AbleToScale"), "True/SucceededGetScale");
    assert_eq!(said(&seen, "Ready"), "True/AsExpected");
    scene
        .until_event(
            "web",
            "Normal AlgorithmRun: APA algorithm completed. currentReplicas: 2, desiredReplicas: 3, shouldScale: true",
        )
        .await;
    scene.until_event("web", "Normal SuccessfulRescale: New size: 3; reason: apa above target").await;
    scene.keeps_replicas("web", 3, &scene.passes(&world.manager, "web"), 3).await;
}

// scenario: pod-autoscaler 31
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limits_each_sync_and_not_each_pass() {
    let scene = Scene::new(&bare().await.plane, "rate").await;
    scene.deployment("web", 1).await;
    scene.say("web", 30);
    let mut it = scene.by_endpoint("web", "APA", "10");
    it["spec"]["maxReplicas"] = json!(16);
    annotate(&mut it, &[("max-scale-up-rate", "2"), ("allow-unresponsive-metric", "true")]);
    let steps = scene.record("web").await;
    scene.create(&it).await;
    let steps = steps.until(16, SOON).await;
    let counts: Vec<i64> = steps.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [1, 2, 4, 8, 16]);
    // The first round is awaited; the last three steps are as many periods apart.
    let between = steps[4].0.checked_sub(steps[1].0).expect("later");
    assert!(between >= PERIOD * 5 / 2, "{steps:?}");
    // The pass that measures follows at once upon the one that asked for it, and loses nothing by that.
    let seen = scene.until(&it, SYNC, "it is settled", |seen| scale(seen) == (16, 16)).await;
    let history = seen["status"]["scalingHistory"].as_array().expect("a history");
    let told: Vec<i64> = history.iter().filter_map(|it| it["newScale"].as_i64()).collect();
    assert_eq!(told, [2, 4, 8, 16]);
}

// scenario: pod-autoscaler 32
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_values_change_nothing() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "missing").await;
    for (name, count) in [("half", 2), ("dead", 2), ("none", 0)] {
        scene.deployment(name, 2).await;
        let pods = scene.pods(name, count).await;
        for (n, pod) in pods.into_iter().enumerate() {
            if name == "half" && n == 0 {
                scene.load(pod, 30.0);
            } else {
                scene.engine.pods.set(Some(pod), "/metrics", Page::fault(Fault::Reset));
            }
        }
        let mut it = scene.autoscaler(name, "APA", "30");
        annotate(&mut it, &[("scale-down-cooldown-window", "0s")]);
        scene.create(&it).await;
    }
    let it = |name| scene.named("autoscaling.aibrix.ai/v1alpha1", "PodAutoscaler", name);
    let failed = "Warning FailedComputeScale: failed to compute metric-based replicas: all 1 metric sources failed for PodAutoscaler ";
    for name in ["dead", "none"] {
        let event = scene.until_event(name, failed).await;
        let seen = scene
            .until(&it(name), SOON, "a failure in the history", |seen| {
                seen["status"]["scalingHistory"][0].is_object()
            })
            .await;
        let entry = &seen["status"]["scalingHistory"][0];
        assert_eq!((&entry["reason"], &entry["success"]), (&json!("FailedComputeScale"), &json!(false)));
        assert!(seen["status"].get("lastScaleTime").is_none(), "nothing was scaled");
        let ready = if name == "dead" { "False/MetricsUnavailable" } else { "True/AsExpected" };
        scene.until_said(&it(name), "Ready", ready, SOON).await;
        scene.stays(&it(name), &scene.passes(&world.manager, name), 3).await;
        assert_eq!(scene.events(name).await.expect("read"), [event]);
    }
    scene.until_said(&it("half"), "Ready", "True/PartialMetrics", SOON).await;
    for name in ["half", "dead", "none"] {
        scene.keeps_replicas(name, 2, &scene.passes(&world.manager, name), 2).await;
    }
}

// scenario: pod-autoscaler 33
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kpa_works_on_the_total() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "kpa").await;
    scene.deployment("busy", 8).await;
    for pod in scene.pods("busy", 8).await {
        scene.load(pod, 0.9);
    }
    let mut busy = scene.autoscaler("busy", "KPA", "0.5");
    busy["spec"]["maxReplicas"] = json!(20);
    let steps = scene.record("busy").await;
    scene.create(&busy).await;

    scene.deployment("idle", 0).await;
    world.values.external(&scene.ns, "queue", &["15"]);
    let mut idle = scene.autoscaler("idle", "KPA", "10");
    idle["spec"]["minReplicas"] = json!(0);
    idle["spec"]["metricsSources"] =
        json!([{"metricSourceType": "external", "targetMetric": "queue", "targetValue": "10"}]);
    scene.create(&idle).await;
    assert_eq!(steps.until(15, SOON).await.len(), 2, "in one step");
    scene.until_replicas("busy", 15, SOON).await;
    scene.until_event("busy", "Normal SuccessfulRescale: New size: 15; reason: kpa above target").await;
    let seen =
        scene.until(&idle, SOON, "it woke", |seen| seen["status"]["scalingHistory"][0].is_object()).await;
    assert_eq!(seen["status"]["scalingHistory"][0]["newScale"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kpa_panics_on_a_burst_that_the_stable_window_hides() {
    let scene = Scene::new(&bare().await.plane, "burst").await;
    for (name, threshold) in [("panics", "1.2"), ("waits", "1000")] {
        scene.deployment(name, 1).await;
        scene.say(name, 10);
        let mut it = scene.by_endpoint(name, "KPA", "10");
        it["spec"]["observeWindowSeconds"] = json!(600);
        it["spec"]["panicWindowSeconds"] = json!(1);
        it["spec"]["maxReplicas"] = json!(100);
        annotate(&mut it, &[("panic-threshold", threshold), ("max-scale-up-rate", "100")]);
        scene.create(&it).await;
        scene.until_said(&it, "Ready", "True/AsExpected", SOON).await;
    }
    eventually(SOON, "five samples of 10 are taken", async || {
        let counts = scene.engine.pods.counts();
        let taken = |name: &str| {
            let paths = counts.values().filter_map(|paths| paths.get(&format!("/{name}")));
            paths.sum::<u64>()
        };
        if taken("panics").min(taken("waits")) >= 6 { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
    for name in ["panics", "waits"] {
        scene.say(name, 300);
    }
    // One sample of 300 among at least five of 10: the stable mean is well below 100.
    scene.until_replicas("panics", 30, SYNC).await;
    let it = scene.named("autoscaling.aibrix.ai/v1alpha1", "PodAutoscaler", "waits");
    let seen =
        scene.until(&it, SYNC, "it scales", |seen| seen["status"]["scalingHistory"][0].is_object()).await;
    let step = seen["status"]["scalingHistory"][0]["newScale"].as_i64().expect("a count");
    assert!((2..=10).contains(&step), "the stable window wants {step}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scaling_down_waits_for_its_window_and_obeys_its_rate() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "down").await;
    for (name, window) in [("now", "0s"), ("later", "8s"), ("default", "")] {
        scene.deployment(name, 8).await;
        scene.say(name, 10);
        let mut it = scene.by_endpoint(name, "APA", "10");
        if !window.is_empty() {
            annotate(&mut it, &[("scale-down-cooldown-window", window)]);
        }
        it["spec"]["observeWindowSeconds"] = json!(1);
        it["spec"]["panicWindowSeconds"] = json!(1);
        scene.create(&it).await;
        scene.until_said(&it, "Ready", "True/AsExpected", SOON).await;
    }
    // Five periods are longer than the window of 8 s: from now on, it is not because of a new term that one waits.
    scene.passes(&world.manager, "later").wait(6).await;
    let (now, later) = (scene.record("now").await, scene.record("later").await);
    let dropped = crate::support::wait::instant();
    for name in ["now", "later", "default"] {
        scene.say(name, 1);
    }
    let (now, later) = tokio::join!(now.until(1, SOON), later.until(4, SOON));
    let counts = |steps: &[(Duration, i64)]| steps.iter().map(|(_, count)| *count).collect::<Vec<_>>();
    assert_eq!(counts(&now), [8, 4, 2, 1]);
    assert!(now[1].0 <= SYNC, "{now:?}");
    assert_eq!(counts(&later)[..2], [8, 4]);
    // The last high recommendation is up to one period older than the drop.
    assert!(later[1].0 >= Duration::from_millis(5500), "{later:?}");
    assert_eq!(scene.replicas("default").await, Ok(8), "{:?} after the drop", dropped.elapsed());
    let it = scene.named("autoscaling.aibrix.ai/v1alpha1", "PodAutoscaler", "default");
    let seen = scene.get(&it).await.expect("read").expect("there");
    let message = condition(&seen, "ScalingActive").expect("said")["message"].as_str().expect("text");
    assert!(message.contains("scale-down withheld until "), "{message}");
}

// scenario: pod-autoscaler 37
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_recommendation_wins_and_a_failing_source_blocks_no_other() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "several").await;
    let with = |name: &str, sources: Value| {
        let mut it = scene.by_endpoint(name, "APA", "10");
        it["spec"]["metricsSources"] = sources;
        annotate(&mut it, &[("max-scale-up-rate", "4"), ("scale-down-cooldown-window", "0s")]);
        it
    };
    scene.say("seventy", 70);
    scene.say("one", 1);
    scene.deployment("both", 1).await;
    scene
        .create(&with("both", json!([scene.endpoint("seventy", "50"), scene.endpoint("seventy", "30")])))
        .await;
    scene.deployment("broken", 1).await;
    scene
        .create(&with("broken", json!([scene.endpoint("nothing", "50"), scene.endpoint("seventy", "30")])))
        .await;
    // What fails may want more than what does not.
    scene.deployment("down", 8).await;
    let down = with("down", json!([scene.endpoint("nothing", "50"), scene.endpoint("one", "30")]));
    scene.create(&down).await;
    for name in ["both", "broken"] {
        let event = scene.until_event(name, "Normal SuccessfulRescale: ").await;
        assert_eq!(event, "Normal SuccessfulRescale: New size: 3; reason: apa above target");
    }
    scene
        .until(&down, SOON, "scaling down is withheld", |seen| {
            let message = condition(seen, "ScalingActive").map(|it| it["message"].to_string());
            message.is_some_and(|it| it.contains("scale-down withheld: not all metric sources have values"))
        })
        .await;
    scene.keeps_replicas("down", 8, &scene.passes(&world.manager, "down"), 2).await;
}

// scenario: pod-autoscaler 38
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_annotation_costs_its_own_key_only() {
    let scene = Scene::new(&bare().await.plane, "annotated").await;
    let mut recordings = Vec::new();
    for (name, replicas, load) in [("up", 1, 1000), ("down", 8, 1)] {
        scene.deployment(name, replicas).await;
        recordings.push(scene.record(name).await);
        scene.say(name, load);
        let mut it = scene.by_endpoint(name, "APA", "10");
        annotate(
            &mut it,
            &[
                ("max-scale-up-rate", "fast"),
                ("allow-unresponsive-metric", "true"),
                ("scale-down-cooldown-window", "0s"),
                ("max-scale-down-rate", "4"),
            ],
        );
        scene.create(&it).await;
    }
    let (up, down) = tokio::join!(recordings[0].until(10, SOON), recordings[1].until(1, SOON));
    assert_eq!(up[1].1, 2, "the default rate up: {up:?}");
    assert_eq!(down[1].1, 2, "the given rate down: {down:?}");
    for name in ["up", "down"] {
        let event = scene.until_event(name, "Warning InvalidAnnotation: ").await;
        assert!(event.contains("autoscaling.aibrix.ai/max-scale-up-rate"), "{event}");
        let warned = scene.events(name).await.expect("read");
        assert_eq!(warned.iter().filter(|it| it.contains("InvalidAnnotation")).count(), 1, "{warned:?}");
    }
}

// scenario: pod-autoscaler 39
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_history_keeps_the_last_five_and_stays() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "history").await;
    scene.deployment("web", 1).await;
    scene.say("web", 10);
    let it = scene.by_endpoint("web", "APA", "10");
    scene.create(&it).await;
    scene.until_said(&it, "Ready", "True/AsExpected", SOON).await;
    for min in 2..=7 {
        scene.patch(&it, &json!({"spec": {"minReplicas": min}})).await;
        scene.until_replicas("web", min, SYNC).await;
        scene.until(&it, SYNC, "it is recorded", |seen| scale(seen).0 == min).await;
    }
    let seen = scene.until(&it, SYNC, "it is settled", |seen| scale(seen) == (7, 7)).await;
    let history = seen["status"]["scalingHistory"].as_array().expect("a history");
    let counts: Vec<(i64, i64)> = history
        .iter()
        .map(|it| (it["previousScale"].as_i64().expect("a count"), it["newScale"].as_i64().expect("a count")))
        .collect();
    assert_eq!(counts, [(2, 3), (3, 4), (4, 5), (5, 6), (6, 7)]);
    scene.stays(&it, &scene.passes(&world.manager, "web"), 4).await;
}

/// Pods that are leaving or have not started count as missing, whatever they answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_running_pods_are_asked() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "running").await;
    scene.deployment("web", 2).await;
    let running: Vec<IpAddr> = scene.pods("web", 2).await;
    for pod in &running {
        scene.load(*pod, 10.0);
    }
    let finished = scene.pod("web-done", &json!({"app": "web"})).await;
    scene.load(finished, 1000.0);
    scene.finish("web-done").await;
    let it = scene.autoscaler("web", "APA", "10");
    scene.create(&it).await;
    scene.until_said(&it, "Ready", "True/AsExpected", SOON).await;
    scene.keeps_replicas("web", 2, &scene.passes(&world.manager, "web"), 3).await;
    assert_eq!(scene.engine.pods.count(finished, "/metrics"), 0);
    assert!(scene.engine.pods.count(running[0], "/metrics") > 0);
}

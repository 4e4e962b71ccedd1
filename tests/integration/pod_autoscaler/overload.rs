// SPDX-License-Identifier: Apache-2.0
//! Engines that answer late exactly when they have too much to do.

use std::time::Duration;

use aibrix_controller_manager::testkit::fake_engine::{Engine, Fault, Load, Page};
use serde_json::{Value, json};

use super::{
    scene::{Scene, condition},
    world::{ALONE, SOON, plane},
};
use crate::support::{Options, manager::Manager, passes::LOG_PASSES, wait::instant};

/// The period that is shipped.
const SHIPPED: Duration = Duration::from_secs(10);
/// A read that is in time, and one that is not: 8 s are allowed.
const LATE: Duration = Duration::from_secs(4);
const TOO_LATE: Duration = Duration::from_secs(9);

/// A page that says so many requests are waiting, after a while.
fn waiting(requests: f64, delay: Duration) -> Page {
    let page = Load::of(Engine::Vllm).with("num_requests_waiting", requests).render();
    Page { delay, ..Page::ok(page) }
}

/// One whose decisions are those of the last round.
fn reactive(scene: &Scene, name: &str, target: &str) -> Value {
    let mut it = scene.autoscaler(name, "APA", target);
    it["spec"]["metricsSources"][0]["targetMetric"] = json!("num_requests_waiting");
    it["spec"]["observeWindowSeconds"] = json!(1);
    it["spec"]["panicWindowSeconds"] = json!(1);
    it["metadata"]["annotations"] = json!({"autoscaling.aibrix.ai/scale-down-cooldown-window": "0s"});
    it
}

// scenario: hardening 31
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_answers_count_and_missing_ones_are_no_rest() {
    let plane = plane(Options::bare()).await;
    let manager = Manager::start(&plane, &[ALONE[0], ALONE[1], LOG_PASSES]).await;
    let scene = Scene::new(&plane, "late").await;
    for (name, first, second) in [
        ("late", waiting(80.0, LATE), waiting(80.0, LATE)),
        // At the target: were the other one idle, one would do.
        ("half", waiting(5.0, Duration::ZERO), waiting(5.0, TOO_LATE)),
        ("silent", waiting(0.0, TOO_LATE), waiting(0.0, TOO_LATE)),
    ] {
        scene.deployment(name, 2).await;
        let pods = scene.pods(name, 2).await;
        scene.engine.pods.set(Some(pods[0]), "/metrics", first);
        scene.engine.pods.set(Some(pods[1]), "/metrics", second);
        let mut it = reactive(&scene, name, "5");
        it["spec"]["maxReplicas"] = json!(4);
        scene.create(&it).await;
    }
    scene.until_replicas("late", 4, SOON).await;
    let it = |name| scene.named("autoscaling.aibrix.ai/v1alpha1", "PodAutoscaler", name);
    let event = scene.until_event("silent", "Warning FailedComputeScale: ").await;
    assert!(event.contains("no answer in time"), "{event}");
    let seen = scene.until_said(&it("half"), "Ready", "True/PartialMetrics", SOON).await;
    let message = condition(&seen, "Ready").expect("said")["message"].as_str().expect("text").to_owned();
    assert!(
        message.contains("1 of 2 pods have no value\n") && message.ends_with("no answer in time"),
        "{message}"
    );
    for name in ["half", "silent"] {
        scene.keeps_replicas(name, 2, &scene.passes(&manager, name), 3).await;
    }
}

// scenario: hardening 31
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_pods_that_never_answer_delay_no_other_autoscaler_by_more_than_a_period() {
    let plane = plane(Options::bare()).await;
    let manager = Manager::start(&plane, &ALONE).await;
    let scene = Scene::new(&plane, "hole").await;
    scene.deployment("good", 1).await;
    let good = scene.pods("good", 1).await;
    scene.engine.pods.set(Some(good[0]), "/metrics", waiting(10.0, Duration::ZERO));
    let it = reactive(&scene, "good", "10");
    scene.create(&it).await;
    scene.until_said(&it, "Ready", "True/AsExpected", SOON).await;
    scene.deployment("hole", 100).await;
    for pod in scene.pods("hole", 100).await {
        scene.engine.pods.set(Some(pod), "/metrics", Page::fault(Fault::Hang));
    }
    let mut hole = reactive(&scene, "hole", "10");
    hole["spec"]["maxReplicas"] = json!(200);
    scene.create(&hole).await;
    let react = async |load: f64, want: i64| {
        scene.engine.pods.set(Some(good[0]), "/metrics", waiting(load, Duration::ZERO));
        let from = instant();
        scene.until_replicas("good", want, 6 * SHIPPED).await;
        from.elapsed()
    };
    // While they are new, and once they are known to be silent.
    let first = react(20.0, 2).await;
    scene.until_event("hole", "Warning FailedComputeScale: ").await;
    for pod in scene.pods_more("good", 1, 2).await {
        scene.engine.pods.set(Some(pod), "/metrics", waiting(20.0, Duration::ZERO));
    }
    let second = react(20.0, 4).await;
    // Up to a period until the next round in any case, and a period for a machine that has other things to do. Whoever
    // waited for the hundred would wait for eight seconds several times.
    assert!(first < 3 * SHIPPED && second < 3 * SHIPPED, "{first:?} and {second:?}");
    scene.keeps_replicas("hole", 100, &scene.passes(&manager, "hole"), 1).await;
}

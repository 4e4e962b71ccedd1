// SPDX-License-Identifier: Apache-2.0
//! Restarts, deletion, shutdown and change of leader.

use std::time::Duration;

use aibrix_controller_manager::testkit::fake_engine::{Fault, Page};
use serde_json::{Value, json};

use super::{
    scene::{Scene, condition, said, scale},
    world::{QUICK, SOON, SYNC, bare, plane},
};
use crate::support::{
    Options, eventually, holders::wait_all_held, install::NAMESPACE, leases::who_wrote_without_lease,
    manager::Manager, wait::instant,
};

const CONFLICT: &str = "MultiPodAutoscalerConflict";
const LEASE: &str = "aibrix-pod-autoscaler-controller";

// scenario: pod-autoscaler 17, 50
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_the_owners_and_a_stop_does_not_wait_for_engines() {
    let plane = plane(Options::bare()).await;
    let manager = Manager::start(&plane, &QUICK).await;
    let scene = Scene::new(&plane, "restart").await;
    scene.deployment("web", 2).await;
    let on_web = |name: &str| {
        let mut it = scene.by_endpoint(name, "KPA", "10");
        it["spec"]["scaleTargetRef"]["name"] = json!("web");
        it
    };
    // The older one has the larger name: neither order of names nor luck keeps it.
    let (owner, loser) = (on_web("z"), on_web("a"));
    for name in ["z", "a"] {
        scene.say(name, 20);
    }
    scene.create(&owner).await;
    scene.until_said(&owner, "ValidSpec", "True/AsExpected", SOON).await;
    scene.create(&loser).await;
    scene.until_said(&loser, CONFLICT, "False/MultiPodAutoscalerConflict", SOON).await;

    // A stop in the middle of a round whose engine never answers.
    for path in ["/z", "/a"] {
        scene.engine.pods.set(None, path, Page::fault(Fault::Hang));
    }
    scene.engine.pods.clear_counts();
    eventually(SOON, "a round is under way", async || {
        let counts = scene.engine.pods.counts();
        if counts.is_empty() { Err("not asked yet".to_owned()) } else { Ok(()) }
    })
    .await;
    let asked = instant();
    manager.sigterm();
    assert_eq!(manager.wait_exit(SOON).await, Some(0), "{}", manager.log());
    assert!(asked.elapsed() < Duration::from_secs(3), "it took {:?}", asked.elapsed());

    for name in ["z", "a"] {
        scene.say(name, 20);
    }
    let again = Manager::start(&plane, &QUICK).await;
    wait_all_held(&scene.client, NAMESPACE, SOON, &[LEASE], &[&again]).await;
    let look = async || {
        let (owner, loser) =
            (scene.get(&owner).await?.ok_or("gone")?, scene.get(&loser).await?.ok_or("gone")?);
        let kept = condition(&owner, CONFLICT).is_none() && condition(&loser, CONFLICT).is_some();
        if kept { Ok(()) } else { Err(format!("{owner} {loser}")) }
    };
    for name in ["z", "a"] {
        scene.passes(&again, name).hold(3, "the owner stays the owner", look).await;
    }
    // The restart has not made both of them deaf.
    scene.say("z", 200);
    scene.until_replicas("web", 10, SOON).await;
    who_wrote_without_lease(plane.audit().entries()).assert_clean();
}

// scenario: pod-autoscaler 49
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_deleted_one_is_left_to_its_namesake() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "again").await;
    scene.deployment("web", 8).await;
    scene.say("web", 80);
    let mut it = scene.by_endpoint("web", "KPA", "10");
    let window = 8_u64;
    it["spec"]["observeWindowSeconds"] = json!(window);
    it["spec"]["panicWindowSeconds"] = json!(window);
    it["metadata"]["annotations"] = json!({"autoscaling.aibrix.ai/scale-down-cooldown-window": "0s"});
    let mut heir = it.clone();
    heir["metadata"]["name"] = json!("heir");
    scene.create(&it).await;
    scene.until_said(&it, "Ready", "True/AsExpected", SOON).await;
    scene.create(&heir).await;
    scene.until_said(&heir, CONFLICT, "False/MultiPodAutoscalerConflict", SOON).await;
    eventually(SYNC, "its decision is shown", async || {
        let gauge = scene.gauge(&world.manager, "web").await;
        if gauge.len() == 1 && gauge[0].ends_with(" 8") { Ok(()) } else { Err(format!("{gauge:?}")) }
    })
    .await;
    assert!(scene.gauge(&world.manager, "heir").await.is_empty(), "only who decides is shown");
    // Enough periods that the window is whole and a low value would scale down at once.
    scene.passes(&world.manager, "web").wait(6).await;

    scene.delete(&it).await;
    eventually(SYNC, "its series is dropped", async || {
        let gauge = scene.gauge(&world.manager, "web").await;
        if gauge.is_empty() { Ok(()) } else { Err(format!("{gauge:?}")) }
    })
    .await;
    scene
        .until(&heir, SYNC, "its target is free", |seen| {
            condition(seen, CONFLICT).is_none() && said(seen, "AbleToScale") == "True/SucceededGetScale"
        })
        .await;
    scene.delete(&heir).await;
    scene.say("web", 20);
    let steps = scene.record("web").await;
    scene.create(&it).await;
    scene
        .until(&it, SYNC, "it waits for its window", |seen| {
            let message = condition(seen, "ScalingActive").map(|it| it["message"].to_string());
            message.is_some_and(|it| it.contains("scale-down withheld until "))
        })
        .await;
    // With the windows of before it would go down at its first sync.
    let steps = steps.until(4, SOON).await;
    assert_eq!(steps.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [8, 4]);
    assert!(steps[1].0 >= Duration::from_secs(window), "{steps:?}");
}

// scenario: pod-autoscaler 51
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_scales_up_at_once_and_down_only_after_a_window() {
    let plane = plane(Options::bare()).await;
    let managers = [Manager::start(&plane, &QUICK).await, Manager::start(&plane, &QUICK).await];
    let both: Vec<&Manager> = managers.iter().collect();
    let scene = Scene::new(&plane, "leader").await;
    let held = wait_all_held(&scene.client, NAMESPACE, SOON, &[LEASE], &both).await;
    // Far longer than this takes: within it, nothing may fall.
    let window = 60_u64;
    let strategies = [("kpa", "KPA"), ("apa", "APA")];
    let mut all: Vec<Value> = Vec::new();
    for (name, strategy) in strategies {
        scene.deployment(name, 4).await;
        scene.say(name, if strategy == "KPA" { 40 } else { 10 });
        let mut it = scene.by_endpoint(name, strategy, "10");
        it["spec"]["maxReplicas"] = json!(100);
        it["spec"]["observeWindowSeconds"] = json!(window);
        it["spec"]["panicWindowSeconds"] = json!(2);
        it["metadata"]["annotations"] =
            json!({"autoscaling.aibrix.ai/scale-down-cooldown-window": format!("{window}s")});
        scene.create(&it).await;
        scene.until(&it, SOON, "it is settled at four", |seen| scale(seen) == (4, 4)).await;
        all.push(it);
    }
    let (leader, heir) = if managers[0].is(&held[LEASE]) {
        (&managers[0], &managers[1])
    } else {
        (&managers[1], &managers[0])
    };
    leader.sigkill();
    // The first samples of the new term are low ones.
    for (name, strategy) in strategies {
        scene.say(name, if strategy == "KPA" { 4 } else { 1 });
    }
    wait_all_held(&scene.client, NAMESPACE, SOON, &[LEASE], &[heir]).await;
    let term = instant();
    let mut high = false;
    for _ in 0..4 {
        for (name, _) in strategies {
            scene.keeps_replicas(name, 4, &scene.passes(heir, name), 2).await;
        }
        // About the target: low, then at it.
        high = !high;
        for (name, strategy) in strategies {
            let at_target = if strategy == "KPA" { 40 } else { 10 };
            scene.say(name, if high { at_target } else { at_target / 10 });
        }
    }
    for it in &all {
        let seen = scene.get(it).await.expect("read").expect("there");
        let message = condition(&seen, "ScalingActive").expect("said")["message"].to_string();
        assert!(high || message.contains("scale-down withheld"), "{message}");
    }
    // Within the window of the new term, up goes at once. KPA sees its burst in the panic window.
    for (name, strategy) in strategies {
        scene.say(name, if strategy == "KPA" { 800 } else { 200 });
    }
    for (name, _) in strategies {
        eventually(SOON, "a doubled load scales up", async || {
            let count = scene.replicas(name).await?;
            if count > 4 { Ok(()) } else { Err(count.to_string()) }
        })
        .await;
    }
    assert!(term.elapsed() < Duration::from_secs(window), "the test was too slow to show it");
    who_wrote_without_lease(plane.audit().entries()).assert_clean();
}

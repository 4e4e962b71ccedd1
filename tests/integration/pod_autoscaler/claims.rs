// SPDX-License-Identifier: Apache-2.0
//! One target, one autoscaler.

use serde_json::{Value, json};

use super::{
    scene::{Scene, condition, said},
    world::{SOON, SYNC, bare},
};

const CONFLICT: &str = "MultiPodAutoscalerConflict";
const CONFLICTS: &str = "False/MultiPodAutoscalerConflict";

fn on(scene: &Scene, name: &str, target: &str) -> Value {
    let mut it = scene.autoscaler(name, "HPA", "10");
    it["spec"]["scaleTargetRef"]["name"] = json!(target);
    it
}

async fn until_free(scene: &Scene, it: &Value, within: std::time::Duration) {
    scene
        .until(it, within, "it has conditions and no conflict", |seen| {
            condition(seen, "ValidSpec").is_some() && condition(seen, CONFLICT).is_none()
        })
        .await;
}

// scenario: pod-autoscaler 13, 14
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_on_a_target_waits_until_the_first_is_gone() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "conflict").await;
    for target in ["touched", "untouched"] {
        scene.deployment(target, 1).await;
        let (first, second) =
            (on(&scene, &format!("a-{target}"), target), on(&scene, &format!("b-{target}"), target));
        scene.create(&first).await;
        scene.create(&second).await;
        let seen = scene.until_said(&second, CONFLICT, CONFLICTS, SOON).await;
        let ns = &scene.ns;
        assert_eq!(
            condition(&seen, CONFLICT).expect("said")["message"],
            format!(
                "Scaling target apps/v1.Deployment/{ns}/{target} is already controlled by PodAutoscaler \
                 {ns}/a-{target}, it will not take effect"
            )
        );
        assert_eq!(said(&seen, "AbleToScale"), "False/InvalidSpec");
        scene.until(&scene.hpa(&format!("a-{target}-hpa")), SOON, "the first one acts", |_| true).await;
        let look = async || {
            let seen = scene.get(&first).await?.ok_or("gone")?;
            let acts = scene.get(&scene.hpa(&format!("b-{target}-hpa"))).await?.is_some();
            if condition(&seen, CONFLICT).is_some() || acts { Err(seen.to_string()) } else { Ok(()) }
        };
        let what = "the first has no conflict and the second no HPA";
        for name in ["a", "b"] {
            scene.passes(&world.manager, &format!("{name}-{target}")).hold(2, what, look).await;
        }
        scene.delete(&first).await;
        if target == "touched" {
            scene.patch(&second, &json!({"metadata": {"annotations": {"touched": "yes"}}})).await;
        }
        until_free(&scene, &second, 2 * SYNC).await;
        scene.until(&scene.hpa(&format!("b-{target}-hpa")), SYNC, "the second one acts", |_| true).await;
    }
}

// scenario: pod-autoscaler 15
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_of_a_service_are_targets_of_their_own() {
    let scene = Scene::new(&bare().await.plane, "roles").await;
    let service = json!({
        "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "StormService",
        "metadata": {"name": "llm", "namespace": scene.ns},
        "spec": {"replicas": 1, "selector": {}, "template": {"spec": {"roles": [
            {"name": "prefill", "replicas": 1}, {"name": "decode", "replicas": 1}]}}},
    });
    scene.create(&service).await;
    let of_role = |name: &str, role: &str| {
        let mut it = scene.by_endpoint(name, "APA", "10");
        it["spec"]["scaleTargetRef"] =
            json!({"apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "StormService", "name": "llm"});
        it["spec"]["subTargetSelector"] = json!({"roleName": role});
        it
    };
    let (one, two, other) =
        (of_role("one", "prefill"), of_role("two", "prefill"), of_role("three", "decode"));
    for it in [&one, &two, &other] {
        scene.create(it).await;
    }
    let seen = scene.until_said(&two, CONFLICT, CONFLICTS, SOON).await;
    let message = condition(&seen, CONFLICT).expect("said")["message"].as_str().expect("text").to_owned();
    assert!(message.contains(&format!("StormService/{}/llm/prefill is already", scene.ns)), "{message}");
    until_free(&scene, &one, SOON).await;
    until_free(&scene, &other, SOON).await;
}

// scenario: pod-autoscaler 16
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_moves_onto_a_taken_target_gives_up_its_old_one() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "moves").await;
    let (a, b, c) = (on(&scene, "a", "x"), on(&scene, "b", "y"), on(&scene, "c", "x"));
    for it in [&a, &b] {
        scene.create(it).await;
        until_free(&scene, it, SOON).await;
    }
    scene.until(&scene.hpa("a-hpa"), SOON, "a acts", |_| true).await;
    scene.patch(&a, &json!({"spec": {"scaleTargetRef": {"name": "y"}}})).await;
    scene.until_said(&a, CONFLICT, CONFLICTS, SYNC).await;
    scene.create(&c).await;
    until_free(&scene, &c, SYNC).await;
    scene
        .until(&scene.hpa("c-hpa"), SYNC, "c acts on what a gave up", |seen| {
            seen["spec"]["scaleTargetRef"]["name"] == "x"
        })
        .await;
    until_free(&scene, &b, SYNC).await;
    let look = async || match scene.get(&scene.hpa("a-hpa")).await? {
        None => Ok(()),
        Some(left) => Err(left.to_string()),
    };
    scene.passes(&world.manager, "a").hold(2, "what a generated is gone", look).await;
}

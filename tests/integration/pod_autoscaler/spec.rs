// SPDX-License-Identifier: Apache-2.0
//! What is said about a spec, before anything is scaled.

use serde_json::json;

use super::{
    scene::{Scene, condition, said, version},
    world::{SOON, SYNC, bare},
};

// scenario: pod-autoscaler 7, 9-11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_spec_is_named_and_only_a_valid_one_acts() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "spec").await;
    let mut nameless = scene.autoscaler("nameless", "HPA", "10");
    nameless["spec"]["scaleTargetRef"]["name"] = json!("");
    let mut crossed = scene.autoscaler("crossed", "HPA", "10");
    crossed["spec"]["minReplicas"] = json!(5);
    crossed["spec"]["maxReplicas"] = json!(3);
    // Its Deployment does not exist.
    let valid = scene.autoscaler("valid", "HPA", "10");
    for it in [&nameless, &crossed, &valid] {
        scene.create(it).await;
    }
    let seen = scene.until_said(&nameless, "ValidSpec", "False/MissingScaleTargetRef", SOON).await;
    let message = "scaleTargetRef.kind and scaleTargetRef.name must be set.";
    assert_eq!(condition(&seen, "ValidSpec").expect("said")["message"], message);
    assert_eq!(said(&seen, "AbleToScale"), "False/InvalidSpec");
    let seen = scene.until_said(&crossed, "ValidSpec", "False/InvalidBounds", SOON).await;
    let message = "minReplicas cannot be greater than maxReplicas.";
    assert_eq!(condition(&seen, "ValidSpec").expect("said")["message"], message);

    let seen = scene.until_said(&valid, "ValidSpec", "True/AsExpected", SOON).await;
    assert_eq!(said(&seen, "AbleToScale"), "True/Configured");
    assert_eq!(said(&seen, "ScalingActive"), "False/Stable");
    assert_eq!(said(&seen, "Ready"), "True/AsExpected");
    let bounds = json!({"effectiveMinReplicas": 1, "effectiveMaxReplicas": 10});
    assert_eq!(seen["status"]["scheduledBounds"], bounds, "and no activeSchedule");
    scene.until(&scene.hpa("valid-hpa"), SOON, "the HPA exists", |_| true).await;
    for name in ["nameless", "crossed"] {
        let look = async || match scene.get(&scene.hpa(&format!("{name}-hpa"))).await? {
            None => Ok(()),
            Some(made) => Err(made.to_string()),
        };
        scene.passes(&world.manager, name).hold(2, "no HPA of an invalid spec", look).await;
    }
}

// scenario: pod-autoscaler 6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn table_has_the_columns_of_aibrix() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "table").await;
    scene.deployment("web", 3).await;
    let it = scene.by_endpoint("web", "APA", "10");
    scene.say("web", 10);
    scene.create(&it).await;
    scene.until(&it, SOON, "the count is known", |seen| seen["status"]["actualScale"] == 3).await;
    let table = world.plane.kubectl(&["get", "podautoscalers", "-n", &scene.ns]).await.expect("a table");
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "MINPODS", "MAXPODS", "REPLICAS", "STRATEGY", "AGE"]);
    assert_eq!(rows[1][..5], ["web", "1", "10", "3", "APA"]);
}

// scenario: pod-autoscaler 8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spec_that_becomes_invalid_is_reported_and_scales_nothing_until_it_is_corrected() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "edited").await;
    scene.deployment("web", 2).await;
    scene.say("web", 10);
    let it = scene.by_endpoint("web", "APA", "10");
    scene.create(&it).await;
    scene.until_said(&it, "Ready", "True/AsExpected", SOON).await;
    scene
        .patch(
            &it,
            &json!({"spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": ""}}}),
        )
        .await;
    scene.until_said(&it, "ValidSpec", "False/MissingScaleTargetRef", SYNC).await;
    scene.say("web", 20);
    scene.keeps_replicas("web", 2, &scene.passes(&world.manager, "web"), 3).await;
    scene.patch(&it, &json!({"spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}})).await;
    scene.until_said(&it, "ValidSpec", "True/AsExpected", SYNC).await;
    scene.until_replicas("web", 4, SYNC).await;
}

// scenario: pod-autoscaler 45
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_in_another_namespace_is_refused() {
    let world = bare().await;
    let plane = &world.plane;
    let (scene, other) = (Scene::new(plane, "here").await, Scene::new(plane, "there").await);
    other.deployment("web", 8).await;
    let foreign = other.named("apps/v1", "Deployment", "web");
    let before = version(&other.get(&foreign).await.expect("read").expect("there"));
    for strategy in ["APA", "HPA"] {
        let mut it = scene.by_endpoint("web", strategy, "10");
        it["metadata"]["name"] = json!(strategy.to_lowercase());
        it["spec"]["scaleTargetRef"]["namespace"] = json!(other.ns);
        it["spec"]["maxReplicas"] = json!(5);
        scene.create(&it).await;
        let seen = scene.until_said(&it, "ValidSpec", "False/InvalidSpec", SOON).await;
        let message = "scaleTargetRef.namespace must be empty or equal to the PodAutoscaler namespace.";
        assert_eq!(condition(&seen, "ValidSpec").expect("said")["message"], message);
    }
    other.stays(&foreign, &scene.passes(&world.manager, "apa"), 3).await;
    assert_eq!(version(&other.get(&foreign).await.expect("read").expect("there")), before);
    for ns in [&scene, &other] {
        assert!(ns.get(&ns.hpa("hpa-hpa")).await.expect("read").is_none());
    }
}

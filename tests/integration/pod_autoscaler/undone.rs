// SPDX-License-Identifier: Apache-2.0
//! Somebody else undoes what the autoscaler writes, or admission changes it.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{
    scene::{Scene, api_of, condition},
    world::{SOON, bare},
};
use crate::support::{eventually, objects, wait::instant};

/// What the condition that scaling is possible says.
fn able(seen: &Value) -> &str {
    condition(seen, "AbleToScale").and_then(|it| it["message"].as_str()).unwrap_or_default()
}

// scenario: hardening 35
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_resets_the_replicas_is_named_and_written_over_ever_more_rarely() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "undone").await;
    scene.deployment("web", 2).await;
    scene.say("web", 40);
    let mut it = scene.by_endpoint("web", "KPA", "10");
    it["spec"]["minReplicas"] = json!(4);
    it["spec"]["maxReplicas"] = json!(4);
    let deployment = scene.named("apps/v1", "Deployment", "web");
    let api = api_of(&scene.client, &deployment);
    let argo = PatchParams { field_manager: Some("argocd-controller".to_owned()), ..PatchParams::default() };
    scene.create(&it).await;
    let (mut writes, start) = (Vec::new(), instant());
    for _ in 0..3 {
        scene.until_replicas("web", 4, SOON).await;
        writes.push(start.elapsed());
        let reset = Patch::Merge(json!({"spec": {"replicas": 2}}));
        api.patch("web", &argo, &reset).await.expect("reset the replicas");
    }
    // Two at once, in two periods; then 20 s after the second.
    let distance = writes[2].checked_sub(writes[1]).expect("later");
    assert!(distance >= Duration::from_secs(17), "{writes:?}");
    let event = scene.until_event("web", "Warning WritesUndone: ").await;
    assert!(event.contains("field manager \"argocd-controller\""), "{event}");
    let seen = scene.until_said(&it, "AbleToScale", "False/WritesUndone", SOON).await;
    assert!(able(&seen).contains("field manager \"argocd-controller\""), "{seen}");
    scene.keeps_replicas("web", 2, &scene.passes(&world.manager, "web"), 3).await;
    let events = scene.events("web").await.expect("read");
    let told = |reason: &str| events.iter().filter(|it| it.contains(reason)).count();
    assert_eq!((told("WritesUndone"), told("SuccessfulRescale") <= 2), (1, true), "{events:?}");
    // It stops, and the next write lasts.
    scene.until_replicas("web", 4, SOON).await;
    scene.until_said(&it, "AbleToScale", "True/SucceededGetScale", 2 * SOON).await;
}

// scenario: hardening 35
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_changes_the_hpa_is_told_and_left_alone() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "capped").await;
    let ns = &scene.ns;
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": "cap-hpa"},
        "spec": {
            "failurePolicy": "Fail", "reinvocationPolicy": "Never",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["autoscaling"], "apiVersions": ["v2"], "operations": ["CREATE", "UPDATE"],
                "resources": ["horizontalpodautoscalers"],
            }]},
            "matchConditions": [{"name": "here", "expression": format!("object.metadata.namespace == '{ns}'")}],
            "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {
                "expression": "Object{spec: Object.spec{maxReplicas: 8}}",
            }}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": "cap-hpa"}, "spec": {"policyName": "cap-hpa"},
    });
    objects::create(&scene.client, &policy).await;
    objects::create(&scene.client, &binding).await;
    let mut probe = scene.hpa("probe");
    probe["spec"] = json!({"maxReplicas": 20, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}});
    eventually(SOON, "the policy works", async || {
        let made = objects::try_create(&scene.client, &probe).await.map_err(|error| error.to_string())?;
        scene.delete(&probe).await;
        if made.data["spec"]["maxReplicas"] == 8 { Ok(()) } else { Err(made.data.to_string()) }
    })
    .await;

    let mut it = scene.autoscaler("web", "HPA", "10");
    it["spec"]["maxReplicas"] = json!(20);
    let mut log = world.plane.audit();
    let mark = log.mark();
    scene.create(&it).await;
    let seen = scene.until_said(&it, "AbleToScale", "False/FailedUpdateHPA", SOON).await;
    assert!(able(&seen).contains("spec.maxReplicas"), "{seen}");
    scene.until_event("web", "Warning FailedUpdateHPA: ").await;
    scene.stays(&it, &scene.passes(&world.manager, "web"), 4).await;
    let entries = log.since(mark).to_vec();
    let patches = entries
        .iter()
        .filter(|it| it.verb == "patch" && it.resource() == "horizontalpodautoscalers" && it.is_in(ns));
    assert!(patches.count() <= 2, "{entries:?}");
    // Another spec is tried.
    scene.patch(&it, &json!({"spec": {"maxReplicas": 8}})).await;
    scene.until(&it, SOON, "nothing is in the way", |seen| !able(seen).contains("maxReplicas")).await;
}

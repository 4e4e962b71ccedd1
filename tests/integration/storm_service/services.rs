// SPDX-License-Identifier: Apache-2.0
//! StormServices.

use std::collections::BTreeSet;

use kube::{ResourceExt, api::ListParams};
use serde_json::{Value, json};

use crate::support::objects;

use super::world::{API_VERSION, PREFIX, Scene, role, said, with};

/// A StormService with these roles.
pub(super) fn service(scene: &Scene, name: &str, replicas: Option<u32>, roles: &[Value]) -> Value {
    let mut spec = json!({
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"roles": roles}},
    });
    if let Some(replicas) = replicas {
        spec["replicas"] = json!(replicas);
    }
    scene.object("StormService", name, &spec)
}

/// Its RoleSets.
pub(super) async fn sets(scene: &Scene, name: &str) -> Vec<Value> {
    let api = objects::api(&scene.client, API_VERSION, "RoleSet", Some(&scene.ns)).await;
    let listed = api.list(&ListParams::default().labels(&format!("storm-service-name={name}"))).await;
    let named = |set| with(json!(set), &json!({"apiVersion": API_VERSION, "kind": "RoleSet"}));
    listed.expect("list").into_iter().map(named).collect()
}

/// Numbers of its status.
pub(super) fn status(seen: &Value, fields: &[&str]) -> Vec<i64> {
    fields.iter().map(|field| seen["status"][field].as_i64().unwrap_or(0)).collect()
}

/// Those that count RoleSets.
pub(super) const COUNTS: [&str; 6] = [
    "replicas",
    "readyReplicas",
    "notReadyReplicas",
    "currentReplicas",
    "updatedReplicas",
    "updatedReadyReplicas",
];

// scenario: storm-service 1, 3-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_has_its_role_sets_revision_and_headless_service() {
    let scene = Scene::new("service").await;
    let roles =
        [role("prefill", 3, "engine:1"), with(role("decode", 2, "engine:1"), &json!({"stateful": true}))];
    let it = service(&scene, "llm", Some(2), &roles);
    scene.create(&it).await;
    scene.until_pods(("storm-service-name", "llm"), "ten pods", |pods| pods.len() == 10).await;
    let seen =
        scene.ready_until(&it, "all are ready", |seen| status(seen, &COUNTS) == [2, 2, 0, 2, 2, 2]).await;
    let status_of = &seen["status"];
    let revision = status_of["currentRevision"].as_str().expect("a revision");
    assert_eq!(status_of["updateRevision"], json!(revision));
    let hash = revision.strip_prefix("llm-").expect("its name");
    assert!(hash.len() == 6 && hash.bytes().all(|it| b"0456789bcdf".contains(&it)), "{revision}");
    assert_eq!(status_of["scalingTargetSelector"], "storm-service-name=llm");
    assert_eq!(status_of["collisionCount"], 0);
    assert_eq!(said(&seen, "Ready"), "True/Ready");
    assert_eq!(status_of["roleStatuses"][0]["name"], "decode");
    assert_eq!(status_of["roleStatuses"][1]["replicas"], 6);
    let mut indexes = BTreeSet::new();
    for set in sets(&scene, "llm").await {
        let annotations = &set["metadata"]["annotations"];
        indexes.insert(annotations[format!("{PREFIX}/roleset-index")].as_str().expect("an index").to_owned());
        assert_eq!(annotations[format!("{PREFIX}/role-revision.prefill")], "1");
        assert_eq!(annotations[format!("{PREFIX}/role-revision-name.decode")], json!(revision));
        assert_eq!(set["metadata"]["labels"]["storm-service-revision"], json!(revision));
        assert!(set["metadata"]["name"].as_str().expect("a name").starts_with("llm-roleset-"));
    }
    assert_eq!(indexes, ["0", "1"].map(String::from).into());
    let recorded = json!({"apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {"name": revision, "namespace": scene.ns}});
    let recorded = objects::get(&scene.client, &recorded).await.expect("it is recorded");
    assert_eq!((&recorded["revision"], &recorded["metadata"]["labels"]["name"]), (&json!(1), &json!("llm")));
    assert_eq!(recorded["data"]["spec"]["template"]["$patch"], "replace");
    let headless =
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "llm", "namespace": scene.ns}});
    let headless = objects::get(&scene.client, &headless).await.expect("it is there");
    assert_eq!(headless["spec"]["clusterIP"], "None");
    assert_eq!(headless["spec"]["publishNotReadyAddresses"], true);

    for replicas in [1, 3] {
        scene.patch(&it, &json!({"spec": {"replicas": replicas}})).await;
        scene
            .ready_until(&it, "it is scaled", |seen| status(seen, &COUNTS[..2]) == [replicas, replicas])
            .await;
    }
    objects::delete(&scene.client, &it).await;
    scene.until_gone(&it).await;
    assert!(sets(&scene, "llm").await.is_empty());

    let it = service(&scene, "default", None, &[role("only", 1, "engine:1")]);
    scene.create(&it).await;
    scene.ready_until(&it, "one by default", |seen| status(seen, &COUNTS[..2]) == [1, 1]).await;
}

// scenario: storm-service 6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_that_the_selector_does_not_find_is_reported_and_cured() {
    let scene = Scene::new("selector").await;
    let mut it = service(&scene, "llm", Some(1), &[role("only", 1, "engine:1")]);
    it["spec"]["template"]["metadata"]["labels"] = json!({"app": "other"});
    scene.create(&it).await;
    scene.until(&it, "it is said", |seen| said(seen, "ReplicaFailure") == "True/Failure").await;
    let event = scene.until_event("llm", "Warning Scaling: scaling error roleSet labels").await;
    assert!(event.contains("does not match stormService selector"), "{event}");
    assert!(sets(&scene, "llm").await.is_empty());
    scene.patch(&it, &json!({"spec": {"template": {"metadata": {"labels": {"app": "llm"}}}}})).await;
    scene.ready_until(&it, "it works", |seen| said(seen, "Ready") == "True/Ready").await;
    scene.until(&it, "nothing is wrong", |seen| said(seen, "ReplicaFailure").is_empty()).await;
}

// scenario: storm-service 14
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_update_replaces_one_role_set_after_the_other_and_goes_back() {
    let scene = Scene::new("rolling").await;
    let it = service(&scene, "llm", Some(3), &[role("only", 1, "engine:1")]);
    scene.create(&it).await;
    let ready = |seen: &Value| said(seen, "Ready") == "True/Ready" && status(seen, &COUNTS[..2]) == [3, 3];
    let first = scene.ready_until(&it, "all are ready", ready).await["status"]["updateRevision"].clone();
    let to = |image: &str| json!({"spec": {"template": {"spec": {"roles": [role("only", 1, image)]}}}});
    scene.patch(&it, &to("engine:2")).await;
    crate::support::eventually(super::world::SOON, "all are at the new revision", async || {
        let sets = sets(&scene, "llm").await;
        let ready = sets.iter().filter(|set| said(set, "Ready").starts_with("True")).count();
        assert!(sets.len() <= 3 && ready >= 2, "{} RoleSets, {ready} ready", sets.len());
        scene.kubelet.ready_all().await;
        let seen = objects::get(&scene.client, &it).await.ok_or("gone")?;
        let done = seen["status"]["currentRevision"] != first && said(&seen, "Ready") == "True/Ready";
        if done { Ok(()) } else { Err(seen["status"].to_string()) }
    })
    .await;
    let mut indexes: Vec<String> = sets(&scene, "llm")
        .await
        .iter()
        .map(|set| {
            set["metadata"]["annotations"][format!("{PREFIX}/roleset-index")]
                .as_str()
                .unwrap_or("")
                .to_owned()
        })
        .collect();
    indexes.sort();
    assert_eq!(indexes, ["0", "1", "2"]);
    scene.patch(&it, &to("engine:1")).await;
    let seen = scene
        .ready_until(&it, "it went back to the old revision", |seen| {
            ready(seen) && seen["status"]["currentRevision"] == first
        })
        .await;
    let recorded = json!({"apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {"name": seen["status"]["currentRevision"], "namespace": scene.ns}});
    assert_eq!(objects::get(&scene.client, &recorded).await.expect("recorded")["revision"], 3);
    let listed = objects::api(&scene.client, "apps/v1", "ControllerRevision", Some(&scene.ns)).await;
    let names: Vec<String> =
        listed.list(&ListParams::default()).await.expect("list").iter().map(ResourceExt::name_any).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

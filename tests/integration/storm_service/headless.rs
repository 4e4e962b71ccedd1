// SPDX-License-Identifier: Apache-2.0
//! The Service by which the pods of a StormService find each other.

use serde_json::{Value, json};

use crate::support::objects;

use super::{
    services::{service, sets},
    world::{Scene, role, said},
};

fn headless(scene: &Scene) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "llm", "namespace": scene.ns}})
}

fn is_as_wanted(seen: &Value) -> bool {
    let spec = &seen["spec"];
    spec["type"] == "ClusterIP"
        && spec["clusterIP"] == "None"
        && spec["selector"] == json!({"storm-service-name": "llm"})
        && spec["publishNotReadyAddresses"] == true
        && spec["ports"].is_null()
}

// scenario: storm-service 38
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_headless_service_is_kept_as_it_has_to_be() {
    let scene = Scene::new("headless").await;
    let mut it = service(&scene, "llm", Some(1), &[role("only", 1, "engine:1")]);
    it["metadata"]["labels"] = json!({"team": "a"});
    let created = scene.create(&it).await;
    let wanted = headless(&scene);
    let seen = scene.until(&wanted, "it is made", is_as_wanted).await;
    assert_eq!(seen["metadata"]["labels"]["team"], "a");
    let owner = &seen["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["uid"], &owner["controller"]), (&json!(created.metadata.uid), &json!(true)));
    scene.until_event("llm", "Normal HeadlessServiceSynced: Headless Service(discovery) llm created").await;
    scene.ready_until(&it, "it is ready", |seen| said(seen, "Ready") == "True/Ready").await;

    for change in [
        json!({"selector": {"storm-service-name": "other", "more": "1"}}),
        json!({"publishNotReadyAddresses": false}),
    ] {
        let changed = objects::patch(&scene.client, &wanted, &json!({"spec": change})).await;
        let seen = scene.until(&wanted, "it is corrected", is_as_wanted).await;
        assert_ne!(seen["metadata"]["resourceVersion"], json!(changed.metadata.resource_version));
    }
    let before = objects::get(&scene.client, &wanted).await.expect("it is there");
    objects::delete(&scene.client, &wanted).await;
    scene
        .until(&wanted, "it is made anew", |seen| {
            is_as_wanted(seen) && seen["metadata"]["uid"] != before["metadata"]["uid"]
        })
        .await;
}

// scenario: storm-service 39
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_of_somebody_else_stays_as_it_is_and_holds_nothing_up() {
    let scene = Scene::new("foreign").await;
    let mut foreign = headless(&scene);
    foreign["spec"] = json!({"selector": {"storm-service-name": "llm"}, "ports": [{"port": 80}]});
    let foreign = json!(scene.create(&foreign).await);
    let it = service(&scene, "llm", Some(1), &[role("only", 1, "engine:1")]);
    scene.create(&it).await;
    scene.ready_until(&it, "it is ready", |seen| said(seen, "Ready") == "True/Ready").await;
    scene.until_event("llm", "Warning HeadlessServiceConflict: ").await;
    assert_eq!(sets(&scene, "llm").await.len(), 1);
    let seen = objects::get(&scene.client, &foreign).await.expect("it is there");
    assert_eq!(seen["metadata"]["resourceVersion"], foreign["metadata"]["resourceVersion"]);
    // Its end is an event for nobody here; it is looked at now and then.
    objects::delete(&scene.client, &foreign).await;
    scene.until(&headless(&scene), "ours takes its place", is_as_wanted).await;
}

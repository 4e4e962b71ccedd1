// SPDX-License-Identifier: Apache-2.0
//! Service and EndpointSlice of an adapter.

use aibrix_controller_manager::testkit::fake_engine::LoraEngine;
use serde_json::{Value, json};

use super::{
    scene::{Scene, endpoints, instances, message, phase, said, version},
    world::{SOON, bare},
};

fn owner(adapter: &Value) -> Value {
    json!([{
        "apiVersion": "model.aibrix.ai/v1alpha1", "kind": "ModelAdapter", "name": adapter["metadata"]["name"],
        "uid": adapter["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
    }])
}

// scenario: model-adapter-and-router 11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_are_as_specified() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "children").await;
    scene.pods(["web-0", "web-1", "web-2"]).await;
    let it = scene.adapter("sql");
    let seen = scene.run(&it, &["web-0", "web-1", "web-2"]).await;

    let service = scene.get(&scene.service("sql")).await.expect("a Service");
    let meta = &service["metadata"];
    assert_eq!(
        meta["labels"],
        json!({"adapter.model.aibrix.ai/name": "sql", "model.aibrix.ai/name": "base-model"})
    );
    assert_eq!(meta["ownerReferences"], owner(&seen));
    assert_eq!(meta.get("annotations"), None);
    let spec = &service["spec"];
    assert_eq!(spec["clusterIP"], "None");
    assert_eq!(spec["publishNotReadyAddresses"], true);
    assert_eq!(spec["ports"], json!([{"name": "http", "port": 8000, "targetPort": 8000, "protocol": "TCP"}]));
    assert_eq!(spec.get("selector"), None);

    let slice =
        scene.until(&scene.slice("sql"), SOON, "three endpoints", |it| endpoints(it).len() == 3).await;
    let meta = &slice["metadata"];
    assert_eq!(meta["labels"], json!({"kubernetes.io/service-name": "sql"}));
    assert_eq!(meta["ownerReferences"], owner(&seen));
    assert_eq!(slice["addressType"], "IPv4");
    assert_eq!(slice["ports"], json!([{"name": "http", "protocol": "TCP", "port": 8000}]));
    let mut addresses = Vec::new();
    for name in instances(&seen) {
        let pod = scene.get(&scene.bare_pod(&name)).await.expect("the pod");
        addresses.push(pod["status"]["podIP"].as_str().expect("an address").to_owned());
    }
    assert_eq!(endpoints(&slice), addresses, "in the order of the instances");
    for endpoint in slice["endpoints"].as_array().expect("endpoints") {
        let endpoint = endpoint.as_object().expect("an endpoint");
        // The API server adds empty conditions.
        let said: Vec<_> =
            endpoint.iter().filter(|(_, value)| **value != json!({})).map(|(key, _)| key).collect();
        assert_eq!(said, ["addresses"]);
    }
}

// scenario: model-adapter-and-router 12
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_without_base_model_has_one_label() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "baseless").await;
    scene.pod("web-0").await;
    let mut it = scene.adapter("sql");
    it["spec"].as_object_mut().unwrap().remove("baseModel");
    scene.run(&it, &["web-0"]).await;
    let service = scene.get(&scene.service("sql")).await.expect("a Service");
    assert_eq!(service["metadata"]["labels"], json!({"adapter.model.aibrix.ai/name": "sql"}));
}

// scenario: model-adapter-and-router 24
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_are_healed() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "healed").await;
    let [a, b] = scene.pods(["web-0", "web-1"]).await;
    let it = scene.adapter("sql");
    let seen = scene.run(&it, &["web-0", "web-1"]).await;
    let (service, slice) = (scene.service("sql"), scene.slice("sql"));
    scene.until_endpoints("sql", &[a, b], SOON).await;

    let old = scene.get(&service).await.expect("a Service")["metadata"]["uid"].clone();
    scene.delete(&service).await;
    let healed = scene.until(&service, SOON, "the Service is back", |it| it["metadata"]["uid"] != old).await;
    assert_eq!(healed["metadata"]["ownerReferences"], owner(&seen));

    let old = scene.get(&slice).await.expect("a slice")["metadata"]["uid"].clone();
    scene.delete(&slice).await;
    scene.until(&slice, SOON, "the slice is back", |it| it["metadata"]["uid"] != old).await;
    scene.until_endpoints("sql", &[a, b], SOON).await;

    scene.patch(&slice, &json!({"endpoints": [{"addresses": ["10.0.0.9"]}]})).await;
    scene.until_endpoints("sql", &[a, b], SOON).await;
    // The labels and ports of a Service, too; what it got from the API server stays.
    let edit = json!({"metadata": {"labels": {"model.aibrix.ai/name": "other"}},
                      "spec": {"ports": [{"name": "http", "port": 9, "protocol": "TCP"}]}});
    scene.patch(&service, &edit).await;
    scene
        .until(&service, SOON, "the Service is as it was", |it| {
            it["metadata"]["labels"]["model.aibrix.ai/name"] == "base-model"
                && it["spec"]["ports"]
                    == json!([{"name": "http", "port": 8000, "targetPort": 8000, "protocol": "TCP"}])
        })
        .await;
}

// scenario: hardening 39
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_that_were_restored_without_owner_are_adopted_and_corrected() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "restored").await;
    let pod = scene.pod("web-0").await;
    let mut service = scene.service("sql");
    service["metadata"]["labels"] = json!({"adapter.model.aibrix.ai/name": "sql"});
    service["spec"] =
        json!({"clusterIP": "None", "ports": [{"name": "http", "port": 9000, "protocol": "TCP"}]});
    let mut slice = scene.slice("sql");
    slice["metadata"]["labels"] = json!({"kubernetes.io/service-name": "sql"});
    slice["addressType"] = json!("IPv4");
    slice["endpoints"] = json!([{"addresses": ["10.244.9.9"]}]);
    scene.create(&service).await;
    scene.create(&slice).await;
    let seen = scene.run(&scene.adapter("sql"), &["web-0"]).await;
    for child in [&service, &slice] {
        scene.until(child, SOON, "it is ours", |it| it["metadata"]["ownerReferences"] == owner(&seen)).await;
    }
    scene.until_endpoints("sql", &[pod], SOON).await;
    scene.until(&service, SOON, "its port is ours", |it| it["spec"]["ports"][0]["port"] == 8000).await;
    // Taken away from under us, they come back.
    scene.patch(&slice, &json!({"metadata": {"ownerReferences": null}})).await;
    scene
        .until(&slice, SOON, "it is ours again", |it| it["metadata"]["ownerReferences"] == owner(&seen))
        .await;
}

// scenario: model-adapter-and-router 52
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_children_are_left_alone() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "foreign").await;
    scene.pod("web-0").await;
    let mut service = scene.service("sql");
    service["spec"] = json!({"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8000}]});
    scene.create(&service).await;
    let mut slice = scene.slice("sql");
    slice["addressType"] = json!("IPv4");
    slice["endpoints"] = json!([{"addresses": ["10.0.0.9"]}]);
    scene.create(&slice).await;
    let before = [&service, &slice];
    let mut versions = Vec::new();
    for it in before {
        versions.push(version(&scene.get(it).await.expect("it is there")));
    }
    let it = scene.adapter("sql");
    scene.create(&it).await;
    let seen = scene.until_said(&it, "Ready", "False/ResourceConflict", SOON).await;
    assert_eq!((phase(&seen).as_str(), instances(&seen)), ("Running", vec!["web-0".to_owned()]));
    assert_eq!(said(&seen, "ResourceCreated"), "False/ResourceConflict");
    assert!(message(&seen, "Ready").contains("Service "), "{}", message(&seen, "Ready"));
    scene.until_event("sql", "Warning ResourceConflict: ").await;
    for (it, before) in [&service, &slice].into_iter().zip(versions) {
        assert_eq!(version(&scene.get(it).await.expect("it is there")), before, "{it}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_follow_the_labels() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "ports").await;
    let mut pod = scene.bare_pod("web-0");
    // The port of the sidecar, where the fake answers as well.
    pod["metadata"]["labels"]["model.aibrix.ai/port"] = json!("8080");
    let address = scene.make(&pod, LoraEngine::default(), &json!({})).await;
    let mut it = scene.adapter("sql");
    it["metadata"]["labels"] = json!({"model.aibrix.ai/port": "9000"});
    scene.run(&it, &["web-0"]).await;
    assert!(scene.engines.journal.of(address).iter().all(|entry| entry.port == 8080));
    let service = scene.get(&scene.service("sql")).await.expect("a Service");
    assert_eq!(
        service["spec"]["ports"],
        json!([{"name": "http", "port": 9000, "targetPort": 8080, "protocol": "TCP"}])
    );
    let slice = scene.until_endpoints("sql", &[address], SOON).await;
    assert_eq!(slice["ports"], json!([{"name": "http", "protocol": "TCP", "port": 8080}]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn name_that_no_service_can_have_is_reported_and_stays_loaded() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "dots").await;
    let pod = scene.pod("web-0").await;
    let mut it = scene.adapter("7b.sql");
    it["spec"]["baseModel"] = json!("Org/Llama-2");
    scene.create(&it).await;
    let seen = scene.until_said(&it, "ResourceCreated", "False/ServiceCreateError", SOON).await;
    assert_eq!(seen["status"]["phase"], "ResourceCreated");
    assert_eq!(instances(&seen), ["web-0"]);
    assert!(scene.engines.loaded(pod).contains_key("7b.sql"));
    // A base model with a slash is no label, which is no reason to fail.
    let mut it = scene.adapter("slash");
    it["spec"]["baseModel"] = json!("Org/Llama-2");
    scene.run(&it, &["web-0"]).await;
    let service = scene.get(&scene.service("slash")).await.expect("a Service");
    assert_eq!(service["metadata"]["annotations"]["model.aibrix.ai/name"], "Org/Llama-2");
}

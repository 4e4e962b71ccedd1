// SPDX-License-Identifier: Apache-2.0
//! Defaults and refusals of KVCaches.

use serde_json::{Value, json};

use super::world::Scene;

const BACKEND: &str = "kvcache.orchestration.aibrix.ai/backend";
const MODE: &str = "kvcache.orchestration.aibrix.ai/mode";
const LINK_TYPE: &str = "infinistore.kvcache.orchestration.aibrix.ai/link-type";
const GID_INDEX: &str = "infinistore.kvcache.orchestration.aibrix.ai/hint-gid-index";

fn cache(scene: &Scene, name: &str, annotations: &Value, spec: &Value) -> Value {
    json!({
        "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "KVCache",
        "metadata": {"name": name, "namespace": scene.ns, "annotations": annotations}, "spec": spec,
    })
}

/// As a typed client sends it.
fn typed_spec() -> Value {
    json!({
        "metadata": {}, "watcher": {"resources": {}}, "cache": {"resources": {}},
        "service": {"ports": [{"name": "service", "port": 12345}, {"name": "admin", "port": 8088}]},
    })
}

// scenario: kv-cache 1-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn annotations_are_filled_in_and_nothing_else_is_added() {
    let scene = Scene::new("kv").await;
    let given = json!({LINK_TYPE: "Ethernet"});
    let stored = scene.accepts(&cache(&scene, "plain", &given, &typed_spec())).await;
    let annotations = json!({LINK_TYPE: "Ethernet", BACKEND: "vineyard", MODE: "vineyard"});
    let meta = &stored["metadata"];
    assert_eq!(meta["annotations"], annotations);
    assert_eq!((meta.get("finalizers"), meta.get("labels")), (None, None));
    let spec = &stored["spec"];
    assert_eq!(spec["mode"], "distributed");
    for runtime in ["watcher", "cache"] {
        let want = json!({"replicas": 1, "imagePullPolicy": "IfNotPresent", "env": [], "resources": {}});
        assert_eq!(spec[runtime], want, "{runtime}, and no image");
    }
    assert_eq!(spec["metadata"], json!({}));
    assert_eq!(stored.get("status"), None);

    let given = json!({BACKEND: "infinistore", LINK_TYPE: "Ethernet", GID_INDEX: "7"});
    let stored = scene.accepts(&cache(&scene, "infinistore", &given, &typed_spec())).await;
    let mut want = given.clone();
    want[MODE] = json!("vineyard");
    assert_eq!(stored["metadata"]["annotations"], want);
}

// scenario: kv-cache 3-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_backend_is_refused_and_the_mode_chooses_none() {
    let scene = Scene::new("kv").await;
    let status =
        scene.rejects(&cache(&scene, "a", &json!({BACKEND: "unsupported_backend"}), &json!({}))).await;
    assert_eq!((status.code, status.reason.as_str()), (403, "Forbidden"), "{status:?}");
    let said = "invalid backend \"unsupported_backend\" specified, supported backends are: vineyard, hpkv, infinistore";
    assert!(status.message.contains(said), "{}", status.message);

    let other = json!({"infinistore.kvcache.orchestration.aibrix.ai/mode": "distributed"});
    let stored = scene.accepts(&cache(&scene, "b", &other, &json!({}))).await;
    assert_eq!(stored["metadata"]["annotations"][BACKEND], "vineyard");
    let stored = scene.accepts(&cache(&scene, "c", &json!({MODE: "distributed"}), &json!({}))).await;
    assert_eq!(stored["metadata"]["annotations"], json!({BACKEND: "vineyard", MODE: "distributed"}));
}

// scenario: kv-cache 6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn annotations_that_are_taken_away_come_back() {
    let scene = Scene::new("kv").await;
    let object = cache(&scene, "a", &json!({}), &json!({}));
    scene.accepts(&object).await;
    let stored = scene.changes(&object, &json!({"metadata": {"annotations": null}})).await;
    assert_eq!(stored["metadata"]["annotations"], json!({BACKEND: "vineyard", MODE: "vineyard"}));
}

// scenario: kv-cache 7-8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_out_stays_out_and_zero_stays_zero() {
    let scene = Scene::new("kv").await;
    let stored = scene.accepts(&cache(&scene, "empty", &json!({}), &json!({}))).await;
    let want = json!({
        "image": "aibrix/kvcache:20241120", "imagePullPolicy": "IfNotPresent", "replicas": 1, "env": [],
    });
    assert_eq!(stored["spec"], json!({"mode": "distributed", "cache": want}), "and no service");
    let stored = scene.accepts(&cache(&scene, "zero", &json!({}), &json!({"cache": {"replicas": 0}}))).await;
    assert_eq!(stored["spec"]["cache"]["replicas"], 0);
}

// scenario: kv-cache 9-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_needs_ports_and_metadata_of_a_template_is_kept() {
    let scene = Scene::new("kv").await;
    for service in [json!({"type": "ClusterIP"}), json!({"type": "ClusterIP", "ports": []})] {
        let status = scene.rejects(&cache(&scene, "a", &json!({}), &json!({"service": service}))).await;
        assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"), "by the schema: {status:?}");
        assert!(status.message.contains("spec.service.ports"), "{}", status.message);
    }
    let meta = json!({"labels": {"team": "a"}, "annotations": {"note": "b"}});
    let template = json!({"metadata": meta, "spec": {"containers": [{"name": "kv", "image": "kv:1"}]}});
    let object = cache(&scene, "b", &json!({}), &json!({"cache": {"template": template}}));
    scene.accepts(&object).await;
    let read = crate::support::objects::get(&scene.client, &object).await.expect("it is stored");
    assert_eq!(read["spec"]["cache"]["template"]["metadata"], meta);
}

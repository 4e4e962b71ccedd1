// SPDX-License-Identifier: Apache-2.0
//! Sidecar injection into StormServices, and refusals.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::world::Scene;
use crate::support::objects;

const INJECTION: &str = "model.aibrix.ai/sidecar-injection";
const IMAGE: &str = "model.aibrix.ai/sidecar-runtime-image";
const ENGINE: &str = "model.aibrix.ai/engine";

fn role(name: &str, image: &str) -> Value {
    let containers = json!([{"name": "engine", "image": image}]);
    json!({"name": name, "replicas": 1, "template": {"spec": {"containers": containers}}})
}

/// As the API server stores it: everything that the schema fills in is there.
fn service(scene: &Scene, name: &str, annotations: &Value, roles: &[Value]) -> Value {
    json!({
        "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "StormService",
        "metadata": {"name": name, "namespace": scene.ns, "annotations": annotations},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"updateStrategy": "Sequential", "roles": roles},
            },
        },
    })
}

fn pod_of(stored: &Value, role: usize) -> &Value {
    &stored["spec"]["template"]["spec"]["roles"][role]["template"]["spec"]
}

fn engine_of(stored: &Value, role: usize) -> &Value {
    &pod_of(stored, role)["containers"][0]["env"][0]["value"]
}

// scenario: storm-service 41
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_of_one_that_asks_for_it_gets_the_sidecar_first() {
    let scene = Scene::new("storm").await;
    let roles = [role("prefill", "vllm/vllm-openai:v1"), role("decode", "vllm/vllm-openai:v1")];
    let plain = service(&scene, "plain", &json!({"note": "kept"}), &roles);
    let stored = scene.accepts(&plain).await;
    assert_eq!(stored["spec"], plain["spec"]);
    assert_eq!(stored["metadata"]["annotations"], json!({"note": "kept"}));

    let asking = service(&scene, "asking", &json!({INJECTION: "true"}), &roles);
    let stored = scene.accepts(&asking).await;
    let mount = json!({"name": "adapter-storage", "mountPath": "/tmp/aibrix/adapters"});
    for place in 0..2 {
        let pod = pod_of(&stored, place);
        let containers = pod["containers"].as_array().expect("containers");
        assert_eq!(containers.len(), 2);
        assert_eq!(
            containers[0],
            json!({
                "name": "aibrix-runtime", "image": "aibrix/runtime:v0.5.0",
                "command": ["aibrix_runtime", "--port", "8080"],
                "env": [
                    {"name": "INFERENCE_ENGINE", "value": "vllm"},
                    {"name": "INFERENCE_ENGINE_ENDPOINT", "value": "http://localhost:8000"},
                ],
                "ports": [{"name": "metrics", "containerPort": 8080, "protocol": "TCP"}],
                "livenessProbe": {
                    "httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"},
                    "initialDelaySeconds": 3, "periodSeconds": 2,
                },
                "readinessProbe": {
                    "httpGet": {"path": "/ready", "port": 8080, "scheme": "HTTP"},
                    "initialDelaySeconds": 5, "periodSeconds": 10,
                },
                "resources": {
                    "requests": {"cpu": "100m", "memory": "256Mi"},
                    "limits": {"cpu": "500m", "memory": "512Mi"},
                },
                "volumeMounts": [mount],
            })
        );
        let engine = json!({"name": "engine", "image": "vllm/vllm-openai:v1", "volumeMounts": [mount]});
        assert_eq!(containers[1], engine);
        assert_eq!(pod["volumes"], json!([{"name": "adapter-storage", "emptyDir": {}}]));
    }

    // Applied again, as a user does it: the roles of the manifest have no sidecar.
    let again = scene.changes(&asking, &json!({"spec": asking["spec"]})).await;
    assert_eq!(again["spec"], stored["spec"]);
    assert_eq!(again["metadata"]["generation"], stored["metadata"]["generation"], "nothing has changed");

    let own = service(&scene, "own", &json!({INJECTION: "true", IMAGE: "my/runtime:2"}), &roles);
    assert_eq!(pod_of(&scene.accepts(&own).await, 1)["containers"][0]["image"], "my/runtime:2");
}

// scenario: storm-service 42
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engine_is_named_by_the_template_or_inferred_from_images() {
    let scene = Scene::new("storm").await;
    let roles = [
        role("a", "lmsysorg/sglang:v0.5"),
        role("b", "ghcr.io/huggingface/text-generation-inference:3"),
        role("c", "nvcr.io/nvidia/tritonserver:24.01"),
        role("d", "ghcr.io/ggml-org/llama.cpp:server"),
        role("e", "nginx:1.27"),
    ];
    let stored = scene.accepts(&service(&scene, "inferred", &json!({INJECTION: "true"}), &roles)).await;
    for (place, engine) in ["sglang", "tgi", "triton", "llamacpp", "unknown"].into_iter().enumerate() {
        assert_eq!(engine_of(&stored, place), engine);
    }
    let mut named = service(&scene, "named", &json!({INJECTION: "true"}), &roles);
    named["spec"]["template"]["metadata"]["annotations"] = json!({ENGINE: "vllm"});
    let stored = scene.accepts(&named).await;
    assert!((0..5).all(|place| engine_of(&stored, place) == "vllm"), "{stored}");
    let not = service(&scene, "not", &json!({INJECTION: "false"}), &roles);
    assert_eq!(scene.accepts(&not).await["spec"], not["spec"]);
}

// scenario: storm-service 43
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_leave_no_room_are_refused() {
    let scene = Scene::new("storm").await;
    let name = |length: usize| "n".repeat(length);
    let plain = |length: usize| role(&name(length), "vllm");
    let grouped = |length: usize| {
        let mut role = plain(length);
        role["podGroupSize"] = json!(2);
        role
    };
    let none = json!({});
    let refused = [
        (64, vec![plain(5)], "StormService name must be no more than 63 characters"),
        (50, vec![grouped(20)], "50 characters"),
        (30, vec![grouped(5), grouped(35)], "35 characters"),
        (17, vec![grouped(11)], "shorter"),
    ];
    for (length, roles, part) in refused {
        let status = scene.rejects(&service(&scene, &name(length), &none, &roles)).await;
        assert_eq!((status.code, status.reason.as_str()), (403, "Forbidden"), "{length}: {status:?}");
        assert!(status.message.contains(part), "{length}: {}", status.message);
    }
    let accepted = [
        (12, vec![grouped(11)]),
        (16, vec![grouped(11)]),
        (50, vec![plain(20)]),
        (30, vec![plain(5), plain(35)]),
    ];
    for (length, roles) in accepted {
        scene.accepts(&service(&scene, &name(length), &none, &roles)).await;
    }
    // As long as the name of an object with a label of its own may be.
    scene.accepts(&service(&scene, &name(60), &none, &[plain(5)])).await;
}

// scenario: storm-service 51
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooled_one_has_one_replica_at_most_by_whichever_way() {
    let scene = Scene::new("storm").await;
    let pooled = |name: &str, replicas: i64| {
        let mut object = service(&scene, name, &json!({}), &[role("a", "vllm")]);
        object["spec"]["mode"] = json!("Pooled");
        object["spec"]["replicas"] = json!(replicas);
        object
    };
    let why = "spec.mode Pooled allows at most one replica, got 2; scale spec.template.spec.roles[].replicas instead";
    let status = scene.rejects(&pooled("two", 2)).await;
    assert!(status.code == 403 && status.message.contains(why), "{status:?}");
    let one = pooled("one", 1);
    scene.accepts(&one).await;
    let status = scene.rejects_change(&one, &json!({"spec": {"replicas": 2}})).await;
    assert!(status.code == 403 && status.message.contains(why), "{status:?}");
    let api = objects::api_of(&scene.client, &one).await;
    let scale = async |name: &str, replicas: i64| {
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        api.patch_scale(name, &PatchParams::default(), &patch).await
    };
    match scale("one", 2).await {
        Err(kube::Error::Api(status)) => assert!(status.message.contains(why), "{status:?}"),
        other => panic!("{other:?}"),
    }
    for replicas in [0, 1] {
        scale("one", replicas).await.expect("it is scaled");
    }
    for (name, mode) in [("copies", json!("Replica")), ("without", json!(null))] {
        let mut object = pooled(name, 3);
        object["spec"]["mode"] = mode;
        scene.accepts(&object).await;
        scale(name, 4).await.expect("it is scaled");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn specs_that_hang_a_roll_out_are_refused_with_their_path() {
    let scene = Scene::new("storm").await;
    let mut object = service(&scene, "web", &json!({}), &[role("a", "vllm")]);
    object["spec"]["updateStrategy"] = json!({"type": "RollingUpdate", "maxSurge": "abc"});
    let status = scene.rejects(&object).await;
    assert!(status.code == 403 && status.message.contains("spec.updateStrategy.maxSurge"), "{status:?}");
    let mut without = object.clone();
    without["spec"]["updateStrategy"] = json!({});
    without["spec"]["template"].as_object_mut().expect("fields").remove("spec");
    let status = scene.rejects(&without).await;
    assert!(status.code == 403 && status.message.contains("spec.template.spec"), "no panic: {status:?}");
    object["spec"]["updateStrategy"] = json!({"type": "RollingUpdate", "maxSurge": "25%"});
    scene.accepts(&object).await;
    let worse = json!({"spec": {"updateStrategy": {"maxUnavailable": -1}}});
    assert_eq!(scene.rejects_change(&object, &worse).await.code, 403);
}

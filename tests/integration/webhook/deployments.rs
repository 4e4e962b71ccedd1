// SPDX-License-Identifier: Apache-2.0
//! Sidecar injection into Deployments, and that nothing else ever happens to one.

use serde_json::{Value, json};

use super::world::{Scene, endpoint, launch, plane, wait_called, world};
use crate::support::{
    Options,
    authority::Authority,
    objects,
    reviews::{Reviewer, creation},
    tools::repository,
};

const INJECTION: &str = "model.aibrix.ai/sidecar-injection";
const IMAGE: &str = "model.aibrix.ai/sidecar-runtime-image";
const MUTATE: &str = "/mutate-apps-v1-deployment";

/// Without pods, so that nothing else has to be done about it.
fn deployment(scene: &Scene, name: &str, annotations: &Value) -> Value {
    let mut object = objects::deployment(&scene.ns, name, 0);
    object["metadata"]["annotations"] = annotations.clone();
    object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("vllm/vllm-openai:v1");
    object
}

fn pod(stored: &Value) -> &Value {
    &stored["spec"]["template"]["spec"]
}

/// Whether everything in `want` stands in `have`, which may hold more: defaults of the API server.
fn holds(have: &Value, want: &Value) -> bool {
    match (have, want) {
        (Value::Object(have), Value::Object(want)) => {
            want.iter().all(|(key, want)| have.get(key).is_some_and(|have| holds(have, want)))
        }
        (Value::Array(have), Value::Array(want)) => {
            have.len() == want.len() && have.iter().zip(want).all(|(have, want)| holds(have, want))
        }
        (have, want) => have == want,
    }
}

// scenario: storm-service 44
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deployment_that_asks_for_it_gets_the_sidecar_and_no_other_does() {
    let scene = Scene::new("deployment").await;
    let plain = deployment(&scene, "plain", &json!({}));
    let stored = scene.accepts(&plain).await;
    assert!(holds(&stored["spec"], &plain["spec"]), "{stored}");
    assert_eq!(pod(&stored).get("volumes"), None);
    assert_eq!(pod(&stored)["containers"][0].get("volumeMounts"), None);

    let stored = scene.accepts(&deployment(&scene, "asking", &json!({INJECTION: "true"}))).await;
    let mount = json!({"name": "adapter-storage", "mountPath": "/tmp/aibrix/adapters"});
    let want = json!([
        {
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
                "requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "500m", "memory": "512Mi"},
            },
            "volumeMounts": [mount],
        },
        {"name": "engine", "image": "vllm/vllm-openai:v1", "volumeMounts": [mount]},
    ]);
    assert!(holds(&pod(&stored)["containers"], &want), "{stored}");
    assert_eq!(pod(&stored)["volumes"], json!([{"name": "adapter-storage", "emptyDir": {}}]));

    let own = json!({INJECTION: "true", IMAGE: "my/runtime:2"});
    let stored = scene.accepts(&deployment(&scene, "own-image", &own)).await;
    assert_eq!(pod(&stored)["containers"][0]["image"], "my/runtime:2");

    let mut taken = deployment(&scene, "taken", &json!({INJECTION: "true"}));
    taken["spec"]["template"]["spec"]["volumes"] =
        json!([{"name": "adapter-storage", "hostPath": {"path": "/data"}}]);
    let stored = scene.accepts(&taken).await;
    assert_eq!(pod(&stored)["volumes"], json!([{"name": "adapter-storage", "emptyDir": {}}]));

    for (name, value) in [("shouting", "True"), ("number", "1")] {
        let stored = scene.accepts(&deployment(&scene, name, &json!({INJECTION: value}))).await;
        assert_eq!(pod(&stored)["containers"].as_array().map(Vec::len), Some(1), "{value}");
    }
    let mut inside = deployment(&scene, "inside", &json!({}));
    inside["spec"]["template"]["metadata"]["annotations"] = json!({INJECTION: "true"});
    let stored = scene.accepts(&inside).await;
    assert_eq!(pod(&stored)["containers"].as_array().map(Vec::len), Some(1), "only on the pod template");
}

// scenario: storm-service 45
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_that_nobody_here_knows_survive() {
    let scene = Scene::new("deployment").await;
    // Newer than the types that AIBrix is built with: resources of a whole pod.
    let mut newer = deployment(&scene, "newer", &json!({INJECTION: "true"}));
    newer["spec"]["template"]["spec"]["resources"] = json!({"limits": {"cpu": "2", "memory": "4Gi"}});
    let stored = scene.accepts(&newer).await;
    assert_eq!(pod(&stored)["containers"][0]["name"], "aibrix-runtime");
    assert_eq!(pod(&stored)["resources"]["limits"], json!({"cpu": "2", "memory": "4Gi"}));

    let containers = json!([{"name": "engine", "image": "vllm", "notYetInvented": {"a": [1, null, {}]}}]);
    let storm = json!({
        "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "StormService",
        "metadata": {"name": "newer", "namespace": scene.ns, "annotations": {INJECTION: "true"}},
        "spec": {
            "replicas": 1, "selector": {}, "template": {"spec": {"roles": [{
                "name": "a", "template": {"spec": {"containers": containers, "alsoNew": true}},
            }]}},
        },
    });
    let stored = scene.accepts(&storm).await;
    let pod = &stored["spec"]["template"]["spec"]["roles"][0]["template"]["spec"];
    assert_eq!((&pod["containers"][0]["name"], &pod["alsoNew"]), (&json!("aibrix-runtime"), &json!(true)));
    assert_eq!(pod["containers"][1]["notYetInvented"], json!({"a": [1, null, {}]}));

    let world = world().await;
    let reviewer = Reviewer::new(world.authority.der(), world.managers[0].webhooks());
    let mut plain = deployment(&scene, "plain", &json!({}));
    plain["spec"]["notYetInvented"] = json!([{}]);
    let answer = reviewer.ask(MUTATE, &creation(&plain)).await.expect("an answer");
    assert_eq!((&answer["allowed"], answer.get("patch")), (&json!(true), None), "{answer}");
    let mut storm = storm.clone();
    storm["metadata"]["annotations"] = json!({});
    let path = "/mutate-orchestration-aibrix-ai-v1alpha1-stormservice";
    let answer = reviewer.ask(path, &creation(&storm)).await.expect("an answer");
    assert_eq!((&answer["allowed"], answer.get("patch")), (&json!(true), None), "{answer}");
}

/// The optional component: an API server from 1.30 on asks about no other Deployment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn match_conditions_keep_other_deployments_away() {
    let plane = plane(Options::bare()).await;
    let client = plane.client().await;
    let ns = plane.namespace("conditions").await;
    let address = endpoint(&client).await;
    let (authority, folder) = (Authority::new(), plane.dir().join("webhook-certs"));
    authority.write_certificate(&folder);
    let manager = launch(&plane, &client, &folder, "only", &address).await.start();
    manager.wait_ready().await;

    // A kustomization takes others by relative ways only.
    let own = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("with-match-conditions");
    std::fs::create_dir_all(&own).expect("a folder");
    let up = "../".repeat(own.strip_prefix(repository()).expect("below the repository").components().count());
    let text = format!(
        "resources: [{up}deploy/kustomize/overlays/webhook-only]\n\
         components: [{up}deploy/kustomize/components/deployment-match-conditions]\n"
    );
    std::fs::write(own.join("kustomization.yaml"), text).expect("write");
    plane.apply_kustomization(&own).await;
    authority.publish(&client).await;
    wait_called(&plane).await;

    let mut plain = objects::deployment(&ns, "plain", 0);
    objects::create(&client, &plain).await;
    plain["metadata"] = json!({"name": "noted", "namespace": ns, "annotations": {"note": "x"}});
    objects::create(&client, &plain).await;
    plain["metadata"] = json!({"name": "asking", "namespace": ns, "annotations": {INJECTION: "true"}});
    let stored = json!(objects::create(&client, &plain).await);
    assert_eq!(pod(&stored)["containers"][0]["name"], "aibrix-runtime");
    let series = format!("controller_runtime_webhook_requests_total{{code=\"200\",webhook=\"{MUTATE}\"}}");
    assert_eq!(manager.metric(&series).await.expect("metrics"), Some(1.0), "it was asked about one");
}

// SPDX-License-Identifier: Apache-2.0
//! The runtime sidecar: when it is asked, what it is told, credentials.

use std::net::IpAddr;

use aibrix_controller_manager::testkit::fake_engine::LoraEngine;
use serde_json::{Value, json};

use super::{
    scene::{Call, ENGINE, SIDECAR, Scene, message, phase},
    world::{NEXT_LOOK, SOON, bare},
};

/// A pod with the container of the sidecar.
pub(super) async fn pod_with_sidecar(scene: &Scene, name: &str) -> IpAddr {
    let mut pod = scene.bare_pod(name);
    let sidecar = json!({"name": "aibrix-runtime", "image": "example.invalid/runtime:1"});
    pod["spec"]["containers"].as_array_mut().unwrap().push(sidecar);
    scene.make(&pod, LoraEngine { sidecar: true, ..LoraEngine::default() }, &json!({})).await
}

fn from(adapter: &Value, url: &str) -> Value {
    let mut it = adapter.clone();
    it["spec"]["artifactURL"] = json!(url);
    it
}

// scenario: model-adapter-and-router 41
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sidecar_is_asked_where_there_is_one() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "sidecar").await;
    let pod = pod_with_sidecar(&scene, "web-0").await;
    let it = from(&scene.adapter("sql"), "s3://bucket/key");
    scene.run(&it, &["web-0"]).await;
    let load = scene.asked(pod, Call::Load).pop().expect("a load");
    assert_eq!((load.port, load.path.as_str()), (SIDECAR, "/v1/lora_adapter/load"));
    let body = r#"{"lora_name":"sql","artifact_url":"s3://bucket/key"}"#;
    assert_eq!(load.body.as_deref(), Some(body), "no credentials and no settings where there are none");
    assert!(scene.engines.journal.of(pod).iter().all(|entry| entry.port == SIDECAR));
    // What the sidecar does not know is said otherwise.
    scene.run(&from(&scene.adapter("hub"), "hf://Org/R"), &["web-0"]).await;
    let load = scene.asked(pod, Call::Load).pop().expect("a load");
    assert_eq!(load.json(), json!({"lora_name": "hub", "artifact_url": "huggingface://Org/R"}));
    scene.run(&from(&scene.adapter("file"), "/m/x"), &["web-0"]).await;
    let load = scene.asked(pod, Call::Load).pop().expect("a load");
    assert_eq!(load.json(), json!({"lora_name": "file", "lora_path": "/m/x"}));

    // The name of an init container does not count, and a pod without the sidecar is asked itself.
    let direct = Scene::new(&world.plane, "direct").await;
    let mut other = direct.bare_pod("web-0");
    let init = json!({"name": "aibrix-runtime", "image": "example.invalid/runtime:1"});
    other["spec"]["initContainers"] = json!([init]);
    let other = direct.make(&other, LoraEngine { sidecar: true, ..LoraEngine::default() }, &json!({})).await;
    direct.run(&from(&direct.adapter("sql"), "s3://bucket/key"), &["web-0"]).await;
    let load = direct.asked(other, Call::Load).pop().expect("a load");
    assert_eq!((load.port, load.path.as_str()), (ENGINE, "/v1/load_lora_adapter"));

    for (status, good) in [(201, true), (204, false), (202, false)] {
        let scene = Scene::new(&world.plane, "status").await;
        let pod = pod_with_sidecar(&scene, "web-0").await;
        let it = from(&scene.adapter("sql"), "s3://bucket/key");
        if good {
            scene.engines.change(pod, |engine| engine.like.loaded_status = status);
            scene.run(&it, &["web-0"]).await;
            assert_eq!(scene.count(pod, Call::Load), 1);
        } else {
            scene.refuse(pod, Call::Load, status, "");
            scene.create(&it).await;
            let seen = scene.until_said(&it, "Ready", "False/ModelAdapterLoadingError", SOON).await;
            let text = message(&seen, "Ready");
            assert!(text.contains(&format!("failed to load LoRA adapter (status {status})")), "{text}");
        }
    }
}

// scenario: model-adapter-and-router 42
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_are_those_of_the_secret() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "secret").await;
    let pod = pod_with_sidecar(&scene, "web-0").await;
    let mut it = from(&scene.adapter("sql"), "s3://bucket/key");
    it["spec"]["credentialsSecretRef"] = json!({"name": "s3-keys"});
    it["spec"]["additionalConfig"] = json!({"rank": "8", "alpha": "16"});
    scene.create(&it).await;
    let seen = scene.until_said(&it, "Ready", "False/ModelAdapterLoadingError", SOON).await;
    assert_eq!(phase(&seen), "Failed");
    assert!(message(&seen, "Ready").contains("s3-keys"), "{}", message(&seen, "Ready"));
    assert_eq!(scene.count(pod, Call::Load), 0);
    let data =
        json!({"aws_access_key_id": "AKIA-very-secret", "aws_secret_access_key": "pa\"ss\nword-very-secret"});
    scene.secret("s3-keys", &data).await;
    scene.until_on(&it, &["web-0"], 2 * NEXT_LOOK).await;
    let load = scene.asked(pod, Call::Load).pop().expect("a load");
    let want = json!({"lora_name": "sql", "artifact_url": "s3://bucket/key", "credentials": data,
                      "additional_config": {"rank": "8", "alpha": "16"}});
    assert_eq!(load.json(), want);
    // Without either, neither stands in the body.
    let plain = from(&scene.adapter("plain"), "s3://bucket/key");
    scene.run(&plain, &["web-0"]).await;
    let load = scene.asked(pod, Call::Load).pop().expect("a load");
    assert_eq!(load.json(), json!({"lora_name": "plain", "artifact_url": "s3://bucket/key"}));
    // An empty map is present.
    let mut empty = from(&scene.adapter("empty"), "s3://bucket/key");
    empty["spec"]["additionalConfig"] = json!({});
    scene.run(&empty, &["web-0"]).await;
    let load = scene.asked(pod, Call::Load).pop().expect("a load");
    assert_eq!(load.json()["additional_config"], json!({}));
    assert!(!world.manager.log().contains("very-secret"), "no credentials are logged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_a_sidecar_repeats_stay_secret() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "echo").await;
    let pod = pod_with_sidecar(&scene, "web-0").await;
    scene.secret("keys", &json!({"huggingface_token": "hf_abcdefgh"})).await;
    scene.refuse(pod, Call::Load, 500, r#"{"error":"401 for hf_abcdefgh, api key kkkkkkkk"}"#);
    let mut it = from(&scene.adapter("sql"), "s3://user:pa55word@bucket/key");
    it["spec"]["credentialsSecretRef"] = json!({"name": "keys"});
    it["spec"]["additionalConfig"] = json!({"api-key": "kkkkkkkk"});
    scene.create(&it).await;
    let seen = scene.until_said(&it, "Ready", "False/ModelAdapterLoadingError", SOON).await;
    assert!(message(&seen, "Ready").contains("401 for xxxxx, api key xxxxx"), "{}", message(&seen, "Ready"));
    scene.until_event("sql", "Warning LoadFailed: ").await;
    let told = format!("{} {:?} {}", seen["status"], scene.events("sql").await, world.manager.log());
    for secret in ["hf_abcdefgh", "kkkkkkkk", "pa55word"] {
        assert!(!told.contains(secret), "{secret} is told");
    }
}

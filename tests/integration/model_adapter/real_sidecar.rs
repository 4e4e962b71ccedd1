// SPDX-License-Identifier: Apache-2.0
//! AIBrix's own runtime sidecar between the manager and an engine.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use aibrix_controller_manager::testkit::fake_engine::LoraEngine;
use serde_json::json;

use crate::support::{
    eventually, http,
    kubelet::{Kubelet, running},
    process::Process,
    tools,
};

use super::{
    scene::{Call, ENGINE, SIDECAR, Scene, message, phase},
    world::{SOON, World, bare},
};

/// A pod whose engine is a fake one and whose sidecar is real.
async fn pod(world: &World, scene: &Scene) -> (IpAddr, Process) {
    let mut pod = scene.bare_pod("web-0");
    let sidecar = json!({"name": "aibrix-runtime", "image": "example.invalid/runtime:1"});
    pod["spec"]["containers"].as_array_mut().unwrap().push(sidecar);
    scene.create(&pod).await;
    let address: IpAddr = Kubelet::next_address().parse().expect("an address");
    scene.engines.engine(Some(address), LoraEngine::default());
    scene.serve_at(SocketAddr::from((address, ENGINE))).await;
    let host = address.to_string();
    let env = [
        ("PYTHONPATH", tools::runtime_sidecar().display().to_string()),
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ("INFERENCE_ENGINE_ENDPOINT", format!("http://{address}:{ENGINE}")),
        ("PROMETHEUS_MULTIPROC_DIR", world.plane.new_path("sidecar-metrics").display().to_string()),
    ];
    let args = ["-m", "aibrix.app", "--host", &host, "--port", &SIDECAR.to_string()];
    let log = world.plane.new_path("sidecar.log");
    let process = Process::spawn("python3".as_ref(), args, &env, &log).expect("start the sidecar");
    eventually(SOON, "the sidecar answers", async || {
        match http::get(&format!("http://{address}:{SIDECAR}/v1/models")).await {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{error}\n{}", process.last_lines(20))),
        }
    })
    .await;
    scene.kubelet.patch("web-0", &running(address, Duration::from_mins(1))).await;
    (address, process)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_sidecar_loads_and_unloads() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "real").await;
    let (address, _sidecar) = pod(world, &scene).await;
    let it = scene.adapter("sql");
    scene.run(&it, &["web-0"]).await;
    let load = scene.asked(address, Call::Load).pop().expect("a load");
    assert_eq!((load.port, load.path.as_str()), (ENGINE, "/v1/load_lora_adapter"));
    assert_eq!(load.json(), json!({"lora_name": "sql", "lora_path": "/models/sql"}));
    // Another artifact takes its place.
    scene.patch(&it, &json!({"spec": {"artifactURL": "/models/new"}})).await;
    eventually(SOON, "the new one is loaded", async || {
        let loaded = scene.engines.loaded(address);
        if loaded.get("sql").is_some_and(|path| path == "/models/new") {
            Ok(())
        } else {
            Err(format!("{loaded:?}"))
        }
    })
    .await;
    scene.until_on(&it, &["web-0"], SOON).await;
    scene.delete(&it).await;
    scene.until_gone(&it, SOON).await;
    assert!(scene.engines.loaded(address).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_of_engines_are_understood_through_the_real_sidecar() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "real-refusal").await;
    let (address, _sidecar) = pod(world, &scene).await;
    for (name, status, words, hint) in [
        (
            "rank",
            400,
            r#"{"error":{"message":"LoRA rank 64 is greater than max_lora_rank 16."}}"#,
            "--max-lora-rank",
        ),
        ("bare", 404, r#"{"detail":"Not Found"}"#, "VLLM_ALLOW_RUNTIME_LORA_UPDATING"),
    ] {
        scene.refuse(address, Call::Load, status, words);
        let it = scene.adapter(name);
        scene.create(&it).await;
        let seen = scene.until_said(&it, "Ready", "False/ModelAdapterLoadingError", SOON).await;
        assert_eq!(phase(&seen), "Failed");
        let said = message(&seen, "Ready");
        assert!(said.contains(hint), "{name}: {said}");
        scene.accept(address);
    }
    // What the sidecar itself cannot do, it says.
    let mut it = scene.adapter("object-store");
    it["spec"]["artifactURL"] = json!("s3://bucket/key");
    scene.create(&it).await;
    let seen = scene.until_said(&it, "Ready", "False/ModelAdapterLoadingError", SOON).await;
    assert!(message(&seen, "Ready").contains("status 500"), "{}", message(&seen, "Ready"));
}

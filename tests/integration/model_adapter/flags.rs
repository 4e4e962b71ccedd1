// SPDX-License-Identifier: Apache-2.0
//! Flags of the process: whom it asks, how it places.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use aibrix_controller_manager::testkit::fake_engine::{FakeEngine, LoraEngine, Page, Pods};
use serde_json::json;

use crate::support::{
    eventually,
    manager::{Launch, Manager},
};

use super::{
    scene::{Call, ENGINE, Scene, instances, phase, said},
    sidecar::pod_with_sidecar,
    world::{ALONE, SOON, World, plane},
};

// scenario: model-adapter-and-router 41
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sidecar_is_not_asked_without_the_flag() {
    let world = World::with(&ALONE[..2]).await;
    let scene = Scene::new(&world.plane, "flag").await;
    let pod = pod_with_sidecar(&scene, "web-0").await;
    let mut it = scene.adapter("sql");
    it["spec"]["artifactURL"] = json!("s3://bucket/key");
    scene.run(&it, &["web-0"]).await;
    let load = scene.asked(pod, Call::Load).pop().expect("a load");
    assert_eq!((load.port, load.path.as_str()), (ENGINE, "/v1/load_lora_adapter"));
    assert_eq!(load.json(), json!({"lora_name": "sql", "lora_path": "s3://bucket/key"}));
    assert!(scene.engines.journal.of(pod).iter().all(|entry| entry.port == ENGINE));
}

// scenario: model-adapter-and-router 45
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn debug_mode_asks_one_place_for_all_pods() {
    let world = World::with(&[ALONE[0], ALONE[1], ALONE[2], "--debug-mode"]).await;
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let pods: Arc<Pods> = Arc::default();
    pods.engine(Some(local), LoraEngine { sidecar: true, ..LoraEngine::default() });
    // The only one of its kind: whoever else was given the port by the kernel is waited for.
    let place = SocketAddr::from((local, 30081));
    let _server = eventually(SOON, "it listens on 30081", async || {
        FakeEngine::start_with(place, Arc::clone(&pods), false).await.map_err(|error| error.to_string())
    })
    .await;
    let scene = Scene::new(&world.plane, "debug").await;
    let direct = scene.pod("web-0").await;
    let beside = pod_with_sidecar(&scene, "web-1").await;
    for pod in [direct, beside] {
        scene.stop(pod).await;
    }
    for (name, on, load, unload) in [
        ("direct", "web-0", "/v1/load_lora_adapter", "/v1/unload_lora_adapter"),
        ("beside", "web-1", "/v1/lora_adapter/load", "/v1/lora_adapter/unload"),
    ] {
        let own = json!({"metadata": {"labels": {"own": name}}});
        scene.patch(&scene.bare_pod(on), &own).await;
        let mut it = scene.adapter(name);
        it["spec"]["podSelector"] = json!({"matchLabels": {"own": name}});
        it["spec"]["artifactURL"] = json!("s3://bucket/key");
        scene.run(&it, &[on]).await;
        scene.delete(&it).await;
        scene.until_gone(&it, SOON).await;
        let paths: BTreeSet<_> = pods.journal.entries().into_iter().map(|entry| entry.path).collect();
        let want = ["/v1/models", load, unload].map(str::to_owned);
        assert_eq!(paths, BTreeSet::from(want));
        let hosts: BTreeSet<_> =
            pods.journal.entries().iter().map(|entry| entry.header("host").to_owned()).collect();
        assert_eq!(hosts, BTreeSet::from(["localhost:30081".to_owned()]));
        pods.journal.clear();
    }
    assert_eq!(scene.engines.journal.entries(), []);
}

// scenario: model-adapter-and-router 31
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_uses_every_pod_and_an_unknown_policy_ends_the_start() {
    let plane = plane().await;
    let unknown =
        Launch::new(&plane, &[ALONE[0], ALONE[1], "--model-adapter-scheduler-policy=roundRobin"]).await;
    let unknown = unknown.start();
    assert_eq!(unknown.wait_exit(SOON).await, Some(1));
    assert!(unknown.log().contains("unknown scheduler policy"), "{}", unknown.log());

    let manager =
        Manager::start(&plane, &[ALONE[0], ALONE[1], "--model-adapter-scheduler-policy=random"]).await;
    manager.wait_ready().await;
    let scene = Scene::new(&plane, "random").await;
    scene.pods(["web-0", "web-1", "web-2"]).await;
    let adapters: Vec<_> = (0..60).map(|n| scene.single(&format!("a-{n}"))).collect();
    for it in &adapters {
        scene.create(it).await;
    }
    let mut used = BTreeSet::new();
    for it in &adapters {
        let seen = scene.until(it, SOON, "it runs", |seen| phase(seen) == "Running").await;
        assert_eq!(instances(&seen).len(), 1);
        used.extend(instances(&seen));
    }
    assert_eq!(used.len(), 3, "{used:?}");
}

// scenario: model-adapter-and-router 30
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bin_pack_fills_the_fullest_pod_that_has_room() {
    let plane = plane().await;
    let manager =
        Manager::start(&plane, &[ALONE[0], ALONE[1], "--model-adapter-scheduler-policy=binPack"]).await;
    manager.wait_ready().await;
    let scene = Scene::new(&plane, "pack").await;
    for (name, adapters) in [("web-0", 9), ("web-1", 5), ("web-2", 10)] {
        let mut pod = scene.bare_pod(name);
        pod["metadata"]["labels"]["own"] = json!(name);
        scene.make(&pod, LoraEngine::default(), &json!({})).await;
        for n in 0..adapters {
            let mut it = scene.adapter(&format!("{name}-{n}"));
            it["spec"]["podSelector"] = json!({"matchLabels": {"own": name}});
            scene.create(&it).await;
        }
        for n in 0..adapters {
            scene.until_on(&scene.adapter(&format!("{name}-{n}")), &[name], SOON).await;
        }
    }
    scene.run(&scene.single("first"), &["web-0"]).await;
    // Now 10, 5, 10: five more fit, and the sixth nowhere.
    for n in 0..5 {
        scene.run(&scene.single(&format!("more-{n}")), &["web-1"]).await;
    }
    let loads = || scene.engines.engines().iter().map(|pod| scene.count(*pod, Call::Load)).sum::<usize>();
    let before = loads();
    let last = scene.single("last");
    scene.create(&last).await;
    let seen = scene.until_said(&last, "Scheduled", "False/Unschedulable", SOON).await;
    assert_eq!(phase(&seen), "Pending");
    assert_ne!(said(&seen, "Ready"), "True/ModelAdapterAvailable");
    assert_eq!(loads(), before, "it is loaded nowhere");
}

// scenario: model-adapter-and-router 32
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn measuring_policies_place_without_measurements_and_prefer_the_idle() {
    let plane = plane().await;
    for policy in ["leastLatency", "leastThroughput"] {
        let flag = format!("--model-adapter-scheduler-policy={policy}");
        let manager = Manager::start(&plane, &[ALONE[0], ALONE[1], &flag]).await;
        manager.wait_ready().await;
        let scene = Scene::new(&plane, &policy.to_lowercase()).await;
        scene.pods(["web-0", "web-1"]).await;
        // The fake answers 404 to /metrics: nothing is known of either.
        let it = scene.single("unknown");
        scene.create(&it).await;
        scene.until(&it, SOON, "it is placed", |seen| instances(seen).len() == 1).await;
        // Other pods: a measurement serves for some seconds.
        let scene = Scene::new(&plane, &policy.to_lowercase()).await;
        let [busy, idle] = scene.pods(["web-0", "web-1"]).await;
        for (pod, seconds, rate) in [(busy, 9.0, 900.0), (idle, 0.5, 1.0)] {
            scene.engines.set(Some(pod), "/metrics", Page::ok(metrics(seconds, rate)));
        }
        scene.run(&scene.single("known"), &["web-1"]).await;
        manager.sigterm();
        assert_eq!(manager.wait_exit(SOON).await, Some(0));
    }
}

/// Ten requests that took `seconds` each, and a throughput of `rate` tokens a second.
fn metrics(seconds: f64, rate: f64) -> String {
    let total = seconds * 10.0;
    let labels = "model_name=\"base\"";
    format!(
        "# TYPE vllm:request_queue_time_seconds histogram\n\
         vllm:request_queue_time_seconds_bucket{{{labels},le=\"+Inf\"}} 10\n\
         vllm:request_queue_time_seconds_sum{{{labels}}} {total}\n\
         vllm:request_queue_time_seconds_count{{{labels}}} 10\n\
         # TYPE vllm:request_inference_time_seconds histogram\n\
         vllm:request_inference_time_seconds_bucket{{{labels},le=\"+Inf\"}} 10\n\
         vllm:request_inference_time_seconds_sum{{{labels}}} {total}\n\
         vllm:request_inference_time_seconds_count{{{labels}}} 10\n\
         # TYPE vllm:avg_prompt_throughput_toks_per_s gauge\n\
         vllm:avg_prompt_throughput_toks_per_s{{{labels}}} {rate}\n\
         # TYPE vllm:avg_generation_throughput_toks_per_s gauge\n\
         vllm:avg_generation_throughput_toks_per_s{{{labels}}} {rate}\n"
    )
}

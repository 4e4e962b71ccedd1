// SPDX-License-Identifier: Apache-2.0
//! Where measurements come from.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
};

use aibrix_controller_manager::testkit::{
    fake_engine::{Engine, FakeEngine, Load, Page, render},
    metrics_api::PodUsage,
};
use http::StatusCode;
use serde_json::{Value, json};

use super::{
    scene::{Scene, said},
    world::{ENDPOINT, SOON, SYNC, bare},
};
use crate::support::ports::free_port;

fn set_source(it: &mut Value, source: &Value) {
    it["spec"]["metricsSources"] = json!([source]);
}

// scenario: pod-autoscaler 30
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn external_metrics_are_summed_and_an_empty_list_is_a_failure() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "external").await;
    let mut recordings = Vec::new();
    for (name, items) in [("one", &["100"][..]), ("two", &["40", "60"]), ("none", &[])] {
        scene.deployment(name, 1).await;
        recordings.push(scene.record(name).await);
        world.values.external(&scene.ns, name, items);
        let mut it = scene.autoscaler(name, "APA", "40");
        it["spec"]["maxReplicas"] = json!(4);
        it["metadata"]["annotations"] = json!({"autoscaling.aibrix.ai/max-scale-up-rate": "4"});
        set_source(
            &mut it,
            &json!({"metricSourceType": "external", "targetMetric": name, "targetValue": "40"}),
        );
        scene.create(&it).await;
    }
    let (one, two) = tokio::join!(recordings[0].until(4, SOON), recordings[1].until(4, SOON));
    for (name, steps) in [("one", one), ("two", two)] {
        assert!(steps.iter().any(|(_, count)| *count == 3), "{name}: {steps:?}");
    }
    let event = scene.until_event("none", "Warning FailedComputeScale: ").await;
    let text = format!("no external metric values returned for none in namespace {}", scene.ns);
    assert!(event.contains(&text), "{event}");
    scene.keeps_replicas("none", 1, &scene.passes(&world.manager, "none"), 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resource_and_custom_metrics_are_read_for_each_pod() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "metrics").await;
    for (name, target, source) in [
        ("cpu", "100", json!({"metricSourceType": "resource", "targetMetric": "cpu", "targetValue": "100"})),
        (
            "custom",
            "0.5",
            json!({"metricSourceType": "custom", "targetMetric": "queue", "targetValue": "0.5"}),
        ),
    ] {
        scene.deployment(name, 2).await;
        scene.pods(name, 2).await;
        for n in 0..2 {
            let pod = format!("{name}-{n}");
            let labels = BTreeMap::from([("app".to_owned(), name.to_owned())]);
            // 100 + 50 milli-cores: 150; and fractions count (D-25): 0.75.
            let container = |cpu: &str| (cpu.to_owned(), "1Mi".to_owned());
            let usage = PodUsage { labels, containers: vec![container("0.1"), container("50m")] };
            world.values.pod(&scene.ns, &pod, Some(usage));
            world.values.custom(&scene.ns, &pod, "queue", Some("750m"));
        }
        let mut it = scene.autoscaler(name, "APA", target);
        // One step, however often it is measured until somebody looks.
        it["spec"]["maxReplicas"] = json!(3);
        set_source(&mut it, &source);
        scene.create(&it).await;
    }
    for name in ["cpu", "custom"] {
        scene.until_replicas(name, 3, SOON).await;
        let event = scene.until_event(name, "Normal SuccessfulRescale: ").await;
        assert_eq!(event, "Normal SuccessfulRescale: New size: 3; reason: apa above target");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn protocol_path_and_engine_decide_what_is_asked_of_a_pod() {
    let scene = Scene::new(&bare().await.plane, "asked").await;
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, free_port()));
    let secure = FakeEngine::start_tls(address).await.expect("listen");
    scene.deployment("secure", 2).await;
    scene.deployment("sglang", 2).await;
    scene.deployment("trtllm", 2).await;
    let secured = scene.pods("secure", 2).await;
    let mut it = scene.autoscaler("secure", "APA", "10");
    // One step, however often it is measured until somebody looks.
    it["spec"]["maxReplicas"] = json!(4);
    let source = &mut it["spec"]["metricsSources"][0];
    source["protocolType"] = json!("https");
    source["path"] = json!("custom/metrics");
    source["port"] = json!(secure.port());
    // Looked up as it is: no engine has such a name.
    source["targetMetric"] = json!("my:own");
    secure.pods.set(None, "/custom/metrics", Page::ok("my:own{a=\"b\"} 20\n"));
    scene.create(&it).await;
    for engine in [Engine::Sglang, Engine::Trtllm] {
        let name = engine.label();
        for n in 0..2 {
            let labels = json!({"app": name, "model.aibrix.ai/engine": name});
            let pod = scene.pod(&format!("{name}-{n}"), &labels).await;
            let (metric, value) =
                if name == "sglang" { ("num_requests_waiting", 20.0) } else { ("kv_cache_hit_rate", 20.0) };
            scene.engine.pods.load(Some(pod), &Load::of(engine).with(metric, value));
        }
        let mut it = scene.autoscaler(name, "APA", "10");
        it["spec"]["maxReplicas"] = json!(4);
        let metric = if name == "sglang" { "num_requests_waiting" } else { "kv_cache_hit_rate" };
        it["spec"]["metricsSources"][0]["targetMetric"] = json!(metric);
        scene.create(&it).await;
    }
    for name in ["secure", "sglang", "trtllm"] {
        let event = scene.until_event(name, "Normal SuccessfulRescale: ").await;
        assert_eq!(event, "Normal SuccessfulRescale: New size: 4; reason: apa above target");
    }
    let counts = secure.pods.counts();
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), secured);
    assert!(counts.values().all(|paths| paths.keys().eq(["/custom/metrics"])), "{counts:?}");
}

// scenario: hardening 29
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_in_the_middle_of_an_upgrade_of_its_engine_is_read_as_a_whole() {
    let scene = Scene::new(&bare().await.plane, "upgrade").await;
    for (name, metric) in [("old", "gpu_cache_usage_perc"), ("new", "kv_cache_usage_perc")] {
        scene.deployment(name, 2).await;
        let pods = scene.pods(name, 2).await;
        let pages = [
            "# TYPE vllm:gpu_cache_usage_perc gauge\nvllm:gpu_cache_usage_perc{model_name=\"demo\"} 0.92\n",
            "# TYPE vllm:kv_cache_usage_perc gauge\nvllm:kv_cache_usage_perc{engine=\"0\",model_name=\"demo\"} 0.92\n",
        ];
        for (pod, page) in pods.iter().zip(pages) {
            scene.engine.pods.set(Some(*pod), "/metrics", Page::ok(page));
        }
        let steps = scene.record(name).await;
        let mut it = scene.autoscaler(name, "KPA", "0.5");
        it["spec"]["metricsSources"][0]["targetMetric"] = json!(metric);
        scene.create(&it).await;
        assert_eq!(steps.until(4, SOON).await.len(), 2, "1.84 of 0.5, in one step");
    }
}

// scenario: pod-autoscaler 41
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_optimizer_says_the_replicas_and_its_absence_changes_nothing() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "optimizer").await;
    scene.deployment("llama", 2).await;
    scene.engine.pods.set(None, "/metrics/llama", Page::ok(render::optimizer("llama", 4.0)));
    let mut it = scene.autoscaler("llama", "KPA", "1");
    set_source(
        &mut it,
        &json!({
            "metricSourceType": "domain", "protocolType": "http", "path": "/metrics/llama",
            "endpoint": format!("{ENDPOINT}:{}", scene.engine.port()),
            "targetMetric": "vllm:deployment_replicas", "targetValue": "1",
        }),
    );
    it["spec"]["observeWindowSeconds"] = json!(1);
    it["spec"]["panicWindowSeconds"] = json!(1);
    it["metadata"]["annotations"] = json!({"autoscaling.aibrix.ai/scale-down-cooldown-window": "0s"});
    let steps = scene.record("llama").await;
    scene.create(&it).await;
    assert_eq!(steps.until(4, SOON).await.len(), 2, "in one step");
    scene.until_said(&it, "Ready", "True/AsExpected", SYNC).await;
    let mut absent = Page::ok("{\"detail\": \"no such model\"}");
    absent.status = StatusCode::NOT_FOUND;
    scene.engine.pods.set(None, "/metrics/llama", absent);
    let event = scene.until_event("llama", "Warning FailedComputeScale: ").await;
    assert!(event.contains("404"), "{event}");
    scene.keeps_replicas("llama", 4, &scene.passes(&world.manager, "llama"), 3).await;
    let seen = scene.get(&it).await.expect("read").expect("there");
    assert_eq!(said(&seen, "AbleToScale"), "True/SucceededGetScale");
}

// SPDX-License-Identifier: Apache-2.0
//! Whole terms: watches, passes, calls to engines and writes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::testkit::fake_engine::{Page, lora::LoraEngine};

use super::{ModelAdapterSettings, PrometheusLogin, PrometheusSettings, SchedulerPolicy};

use super::controller_harness::{ADAPTERS, ControllerHarness, EVENTS, PODS, SERVICES, SLICES, condition};

fn writes(harness: &ControllerHarness) -> Vec<String> {
    let is_event = |asked: &String| asked.contains("/events");
    harness.api.asked().into_iter().filter(|asked| !asked.starts_with("GET") && !is_event(asked)).collect()
}

#[tokio::test]
async fn without_replicas_the_adapter_is_loaded_on_all_pods_and_published() {
    let harness = ControllerHarness::start().await;
    for number in 1..=3 {
        harness.pod(number, LoraEngine::default());
    }
    harness.adapter("sql", &json!({"baseModel": "llama"}));
    let status = harness.running_on("sql", &["pod-1", "pod-2", "pod-3"]).await;
    let numbers = ["candidates", "desiredReplicas", "readyReplicas"].map(|key| status[key].clone());
    assert_eq!(numbers, [json!(3), json!(3), json!(3)]);
    let ready = ("True".into(), "ModelAdapterAvailable".into(), "ModelAdapter ns/sql is ready".into());
    assert_eq!(condition(&status, "Ready"), Some(ready));
    let adapter = harness.api.get(ADAPTERS, "sql").unwrap();
    assert_eq!(adapter["metadata"]["finalizers"], json!(["adapter.model.aibrix.ai/finalizer"]));
    let body = json!({"lora_name": "sql", "lora_path": "/models/sql"});
    assert_eq!(harness.changes(), vec![("/v1/load_lora_adapter".to_owned(), body); 3]);
    let service = harness.api.get(SERVICES, "sql").unwrap();
    assert_eq!(service["metadata"]["labels"]["model.aibrix.ai/name"], "llama");
    let slice = harness.api.get(SLICES, "sql").unwrap();
    let ips: Vec<Value> = (1..=3).map(|number| json!({"addresses": [harness.ip(number)]})).collect();
    assert_eq!(slice["endpoints"], json!(ips));
    harness.stop().await;
}

#[tokio::test]
async fn one_replica_costs_six_writes_and_nothing_more_follows() {
    let harness = ControllerHarness::start().await;
    harness.pod(1, LoraEngine::default());
    harness.pod(2, LoraEngine::default());
    harness.adapter("sql", &json!({"replicas": 1}));
    let status = harness.running_on("sql", &["pod-1"]).await;
    assert_eq!((&status["candidates"], &status["desiredReplicas"]), (&json!(2), &json!(1)));
    let message = "ModelAdapter ns/sql has selected 1 pods for scheduling: [pod-1]";
    assert_eq!(condition(&status, "Scheduled"), Some(("True".into(), "Scheduled".into(), message.into())));
    harness.until("the events", |harness| (harness.reasons_of_events().len() == 2).then_some(())).await;
    assert_eq!(harness.reasons_of_events(), ["Scheduled", "Loaded"]);
    let adapter = "/apis/model.aibrix.ai/v1alpha1/namespaces/ns/modeladapters/sql";
    let want = [
        format!("PATCH {adapter}"),
        format!("PUT {adapter}/status"),
        format!("PUT {adapter}/status"),
        "POST /api/v1/namespaces/ns/services".to_owned(),
        "POST /apis/discovery.k8s.io/v1/namespaces/ns/endpointslices".to_owned(),
        format!("PUT {adapter}/status"),
    ];
    assert_eq!(writes(&harness), want);
    harness.api.change(ADAPTERS, "sql", &json!({"metadata": {"labels": {"a": "b"}}}));
    harness.pod(3, LoraEngine::default());
    harness
        .until("the third candidate", |harness| (harness.status("sql")["candidates"] == 3).then_some(()))
        .await;
    assert_eq!(writes(&harness).len(), 7);
    assert_eq!(harness.changes().len(), 1);
    harness.stop().await;
}

#[tokio::test]
async fn a_deleted_adapter_is_unloaded_and_goes() {
    let harness = ControllerHarness::start().await;
    harness.pod(1, LoraEngine::default());
    harness.pod(2, LoraEngine::default());
    harness.adapter("sql", &json!({}));
    harness.running_on("sql", &["pod-1", "pod-2"]).await;
    harness.engine.pods.journal.clear();
    harness.api.delete(ADAPTERS, "sql");
    harness
        .until("the adapter to go", |harness| harness.api.get(ADAPTERS, "sql").is_none().then_some(()))
        .await;
    let unload = ("/v1/unload_lora_adapter".to_owned(), json!({"lora_name": "sql"}));
    assert_eq!(harness.changes(), [unload.clone(), unload]);
    harness.stop().await;
}

#[tokio::test]
async fn a_pod_that_goes_is_replaced_by_another_one() {
    let harness = ControllerHarness::start().await;
    harness.pod(1, LoraEngine::default());
    harness.pod(2, LoraEngine::default());
    harness.adapter("sql", &json!({"replicas": 1}));
    harness.running_on("sql", &["pod-1"]).await;
    harness.api.remove(PODS, "pod-1");
    let status = harness.running_on("sql", &["pod-2"]).await;
    let message = "Adapter successfully loaded on new pod pod-2";
    assert_eq!(condition(&status, "Scheduled"), Some(("True".into(), "Rescheduled".into(), message.into())));
    harness
        .until("the endpoint to follow", |harness| {
            let endpoints = harness.api.get(SLICES, "sql")?["endpoints"].clone();
            (endpoints == json!([{"addresses": [harness.ip(2)]}])).then_some(())
        })
        .await;
    harness.stop().await;
}

#[tokio::test]
async fn a_takeover_changes_nothing() {
    let mut harness = ControllerHarness::start().await;
    harness.pod(1, LoraEngine::default());
    harness.pod(2, LoraEngine::default());
    harness.adapter("all", &json!({}));
    harness.adapter("one", &json!({"replicas": 1}));
    harness.running_on("all", &["pod-1", "pod-2"]).await;
    harness.phase("one", "Running").await;
    let before = [harness.api.get(ADAPTERS, "all"), harness.api.get(ADAPTERS, "one")];
    harness.api.forget_asked();
    harness.engine.pods.journal.clear();
    harness.lead();
    harness
        .until("all engines to be asked", |harness| {
            let asked = harness.engine.pods.journal.entries();
            (1..=2).all(|number| asked.iter().any(|entry| entry.pod == harness.ip(number))).then_some(())
        })
        .await;
    harness.api.change(ADAPTERS, "all", &json!({"metadata": {"labels": {"a": "b"}}}));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(writes(&harness), Vec::<String>::new());
    assert_eq!(harness.changes(), []);
    assert_eq!(before[1], harness.api.get(ADAPTERS, "one"));
    harness.stop().await;
}

/// A page with a throughput of `rate` tokens a second.
fn throughput(rate: u32) -> Page {
    let gauge = |name: &str| format!("# TYPE vllm:{name} gauge\nvllm:{name}{{model_name=\"base\"}} {rate}\n");
    Page::ok(gauge("avg_prompt_throughput_toks_per_s") + &gauge("avg_generation_throughput_toks_per_s"))
}

// scenario: hardening 19
#[tokio::test]
async fn a_prometheus_server_that_never_answers_is_named_once_and_delays_no_choice_among_five_hundred_pods() {
    // Connections are accepted by the kernel, and nobody answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let mut settings =
        ModelAdapterSettings { policy: SchedulerPolicy::LeastThroughput, ..ModelAdapterSettings::default() };
    settings.metrics.prometheus = Some(PrometheusSettings {
        endpoint: format!("http://user:secret@{address}/"),
        query_interval: Duration::from_millis(200),
        query_timeout: Duration::from_secs(1),
        login: PrometheusLogin::Anonymous,
    });
    let harness = ControllerHarness::start_with(settings).await;
    harness.engine.pods.engine(None, LoraEngine::default());
    harness.engine.pods.set(None, "/metrics", throughput(900));
    for number in 0..500 {
        let ip = std::net::IpAddr::from([
            127,
            3,
            u8::try_from(number / 250).unwrap(),
            u8::try_from(number % 250 + 1).unwrap(),
        ]);
        if number == 321 {
            harness.engine.pods.engine(Some(ip), LoraEngine::default());
            harness.engine.pods.set(Some(ip), "/metrics", throughput(1));
        }
        let labels = json!({"app": "base", "model.aibrix.ai/port": harness.engine.port(),
            "model.aibrix.ai/metric-port": harness.engine.port()});
        let metadata = json!({"name": format!("pod-{number}"), "labels": labels});
        harness.set_pod(1, &json!({"metadata": metadata, "status": {"podIP": ip}}));
    }
    harness.adapter("sql", &json!({"replicas": 1}));
    harness.running_on("sql", &["pod-321"]).await;
    harness
        .until("the load to be told", |harness| {
            harness.reasons_of_events().contains(&"Loaded".to_owned()).then_some(())
        })
        .await;
    let told: Vec<Value> =
        harness.api.list(EVENTS).into_iter().filter(|event| event["reason"] == "FailedGetMetrics").collect();
    let message = format!(
        "failed to query Prometheus at http://{address}: the Prometheus server does not answer; pods are \
         measured by their own metrics"
    );
    assert_eq!(told.iter().map(|event| event["message"].clone()).collect::<Vec<_>>(), [json!(message)]);
    let failures = "aibrix_model_adapter_metric_source_failures_total";
    let shown = harness.metrics.render();
    for line in [format!("{failures}{{source=\"pod\"}} 0"), format!("{failures}{{source=\"prometheus\"}} 1")]
    {
        assert!(shown.lines().any(|it| it == line), "{shown}");
    }
    harness.stop().await;
}

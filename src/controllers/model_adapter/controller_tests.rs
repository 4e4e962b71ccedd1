// SPDX-License-Identifier: Apache-2.0
//! Whole terms: watches, passes, calls to engines and writes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::testkit::fake_engine::{Page, lora::LoraEngine};

use super::{ModelAdapterSettings, PrometheusLogin, PrometheusSettings, SchedulerPolicy};

use super::led::{ADAPTERS, EVENTS, Led, PODS, SERVICES, SLICES, condition};

fn writes(led: &Led) -> Vec<String> {
    let is_event = |asked: &String| asked.contains("/events");
    led.api.asked().into_iter().filter(|asked| !asked.starts_with("GET") && !is_event(asked)).collect()
}

#[tokio::test]
async fn without_replicas_the_adapter_is_loaded_on_all_pods_and_published() {
    let led = Led::start().await;
    for number in 1..=3 {
        led.pod(number, LoraEngine::default());
    }
    led.adapter("sql", &json!({"baseModel": "llama"}));
    let status = led.running_on("sql", &["pod-1", "pod-2", "pod-3"]).await;
    let numbers = ["candidates", "desiredReplicas", "readyReplicas"].map(|key| status[key].clone());
    assert_eq!(numbers, [json!(3), json!(3), json!(3)]);
    let ready = ("True".into(), "ModelAdapterAvailable".into(), "ModelAdapter ns/sql is ready".into());
    assert_eq!(condition(&status, "Ready"), Some(ready));
    let adapter = led.api.get(ADAPTERS, "sql").unwrap();
    assert_eq!(adapter["metadata"]["finalizers"], json!(["adapter.model.aibrix.ai/finalizer"]));
    let body = json!({"lora_name": "sql", "lora_path": "/models/sql"});
    assert_eq!(led.changes(), vec![("/v1/load_lora_adapter".to_owned(), body); 3]);
    let service = led.api.get(SERVICES, "sql").unwrap();
    assert_eq!(service["metadata"]["labels"]["model.aibrix.ai/name"], "llama");
    let slice = led.api.get(SLICES, "sql").unwrap();
    let ips: Vec<Value> = (1..=3).map(|number| json!({"addresses": [led.ip(number)]})).collect();
    assert_eq!(slice["endpoints"], json!(ips));
    led.stop().await;
}

#[tokio::test]
async fn one_replica_costs_six_writes_and_nothing_more_follows() {
    let led = Led::start().await;
    led.pod(1, LoraEngine::default());
    led.pod(2, LoraEngine::default());
    led.adapter("sql", &json!({"replicas": 1}));
    let status = led.running_on("sql", &["pod-1"]).await;
    assert_eq!((&status["candidates"], &status["desiredReplicas"]), (&json!(2), &json!(1)));
    let message = "ModelAdapter ns/sql has selected 1 pods for scheduling: [pod-1]";
    assert_eq!(condition(&status, "Scheduled"), Some(("True".into(), "Scheduled".into(), message.into())));
    led.until("the events", |led| (led.reasons_of_events().len() == 2).then_some(())).await;
    assert_eq!(led.reasons_of_events(), ["Scheduled", "Loaded"]);
    let adapter = "/apis/model.aibrix.ai/v1alpha1/namespaces/ns/modeladapters/sql";
    let want = [
        format!("PATCH {adapter}"),
        format!("PUT {adapter}/status"),
        format!("PUT {adapter}/status"),
        "POST /api/v1/namespaces/ns/services".to_owned(),
        "POST /apis/discovery.k8s.io/v1/namespaces/ns/endpointslices".to_owned(),
        format!("PUT {adapter}/status"),
    ];
    assert_eq!(writes(&led), want);
    led.api.change(ADAPTERS, "sql", &json!({"metadata": {"labels": {"a": "b"}}}));
    led.pod(3, LoraEngine::default());
    led.until("the third candidate", |led| (led.status("sql")["candidates"] == 3).then_some(())).await;
    assert_eq!(writes(&led).len(), 7);
    assert_eq!(led.changes().len(), 1);
    led.stop().await;
}

#[tokio::test]
async fn a_deleted_adapter_is_unloaded_and_goes() {
    let led = Led::start().await;
    led.pod(1, LoraEngine::default());
    led.pod(2, LoraEngine::default());
    led.adapter("sql", &json!({}));
    led.running_on("sql", &["pod-1", "pod-2"]).await;
    led.engine.pods.journal.clear();
    led.api.delete(ADAPTERS, "sql");
    led.until("the adapter to go", |led| led.api.get(ADAPTERS, "sql").is_none().then_some(())).await;
    let unload = ("/v1/unload_lora_adapter".to_owned(), json!({"lora_name": "sql"}));
    assert_eq!(led.changes(), [unload.clone(), unload]);
    led.stop().await;
}

#[tokio::test]
async fn a_pod_that_goes_is_replaced_by_another_one() {
    let led = Led::start().await;
    led.pod(1, LoraEngine::default());
    led.pod(2, LoraEngine::default());
    led.adapter("sql", &json!({"replicas": 1}));
    led.running_on("sql", &["pod-1"]).await;
    led.api.remove(PODS, "pod-1");
    let status = led.running_on("sql", &["pod-2"]).await;
    let message = "Adapter successfully loaded on new pod pod-2";
    assert_eq!(condition(&status, "Scheduled"), Some(("True".into(), "Rescheduled".into(), message.into())));
    led.until("the endpoint to follow", |led| {
        let endpoints = led.api.get(SLICES, "sql")?["endpoints"].clone();
        (endpoints == json!([{"addresses": [led.ip(2)]}])).then_some(())
    })
    .await;
    led.stop().await;
}

#[tokio::test]
async fn a_takeover_changes_nothing() {
    let mut led = Led::start().await;
    led.pod(1, LoraEngine::default());
    led.pod(2, LoraEngine::default());
    led.adapter("all", &json!({}));
    led.adapter("one", &json!({"replicas": 1}));
    led.running_on("all", &["pod-1", "pod-2"]).await;
    led.phase("one", "Running").await;
    let before = [led.api.get(ADAPTERS, "all"), led.api.get(ADAPTERS, "one")];
    led.api.forget_asked();
    led.engine.pods.journal.clear();
    led.lead();
    led.until("all engines to be asked", |led| {
        let asked = led.engine.pods.journal.entries();
        (1..=2).all(|number| asked.iter().any(|entry| entry.pod == led.ip(number))).then_some(())
    })
    .await;
    led.api.change(ADAPTERS, "all", &json!({"metadata": {"labels": {"a": "b"}}}));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(writes(&led), Vec::<String>::new());
    assert_eq!(led.changes(), []);
    assert_eq!(before[1], led.api.get(ADAPTERS, "one"));
    led.stop().await;
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
    let led = Led::start_with(settings).await;
    led.engine.pods.engine(None, LoraEngine::default());
    led.engine.pods.set(None, "/metrics", throughput(900));
    for number in 0..500 {
        let ip = std::net::IpAddr::from([
            127,
            3,
            u8::try_from(number / 250).unwrap(),
            u8::try_from(number % 250 + 1).unwrap(),
        ]);
        if number == 321 {
            led.engine.pods.engine(Some(ip), LoraEngine::default());
            led.engine.pods.set(Some(ip), "/metrics", throughput(1));
        }
        let labels = json!({"app": "base", "model.aibrix.ai/port": led.engine.port(),
            "model.aibrix.ai/metric-port": led.engine.port()});
        let metadata = json!({"name": format!("pod-{number}"), "labels": labels});
        led.set_pod(1, &json!({"metadata": metadata, "status": {"podIP": ip}}));
    }
    led.adapter("sql", &json!({"replicas": 1}));
    led.running_on("sql", &["pod-321"]).await;
    led.until("the load to be told", |led| {
        led.reasons_of_events().contains(&"Loaded".to_owned()).then_some(())
    })
    .await;
    let told: Vec<Value> =
        led.api.list(EVENTS).into_iter().filter(|event| event["reason"] == "FailedGetMetrics").collect();
    let message = format!(
        "failed to query Prometheus at http://{address}: the Prometheus server does not answer; pods are \
         measured by their own metrics"
    );
    assert_eq!(told.iter().map(|event| event["message"].clone()).collect::<Vec<_>>(), [json!(message)]);
    let failures = "aibrix_model_adapter_metric_source_failures_total";
    let shown = led.metrics.render();
    for line in [format!("{failures}{{source=\"pod\"}} 0"), format!("{failures}{{source=\"prometheus\"}} 1")]
    {
        assert!(shown.lines().any(|it| it == line), "{shown}");
    }
    led.stop().await;
}

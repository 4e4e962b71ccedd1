// SPDX-License-Identifier: Apache-2.0

use std::sync::Arc;

use kube::core::ApiResource;
use serde_json::json;

use crate::{
    api::autoscaling::PodAutoscaler,
    controllers::pod_autoscaler::{snapshot::SampleError, targets},
    engine::exposition::Combine,
    k8s::pod_facts::PodFacts,
    validation::target_metric::Matchers,
};

use super::{
    measure::{subject_of, wanted_by},
    samples::{Item, Origin, Pick, Wanted, WantedPod},
};

fn autoscaler(source: &serde_json::Value) -> PodAutoscaler {
    serde_json::from_value(json!({
        "metadata": {"name": "pa", "namespace": "ns", "uid": "u"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "maxReplicas": 5, "scalingStrategy": "KPA", "metricsSources": [source],
        },
    }))
    .unwrap()
}

fn pod(name: &str, labels: &[(&str, &str)], ip: Option<&str>) -> Arc<PodFacts> {
    let labels: serde_json::Map<_, _> = labels.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
    Arc::new(PodFacts::for_test(&json!({
        "metadata": {"name": name, "namespace": "ns", "labels": labels, "resourceVersion": "1"},
        "spec": {}, "status": {"phase": "Running", "podIP": ip},
    })))
}

/// What `source` wants of the pods of a Deployment that selects `app=web`.
fn wanted(source: &serde_json::Value, pods: &[Arc<PodFacts>]) -> Wanted {
    let pa = autoscaler(source);
    let kind = ApiResource::erase::<k8s_openapi::api::apps::v1::Deployment>(&());
    let target = json!({"spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}}});
    let target = targets::read_target(&pa, kind, targets::Form::Object, &target);
    wanted_by(&pa, &target.pods.unwrap(), pods).remove(0)
}

fn per_pod(path: &str, port: &str, protocol: &str, metric: &str) -> serde_json::Value {
    json!({"metricSourceType": "pod", "protocolType": protocol, "path": path, "port": port,
           "targetMetric": metric, "targetValue": "1"})
}

fn asked(wanted: &Wanted) -> Vec<(String, String)> {
    let Wanted::PerPod(items) = wanted else { panic!("{wanted:?}") };
    let asked = items.iter().map(|item| {
        let Item { origin, pick } = item.item.as_ref().unwrap();
        let Pick::Series { queries, .. } = pick else { panic!("{pick:?}") };
        (origin.to_string(), queries[0].to_string())
    });
    asked.collect()
}

// scenario: pod-autoscaler 40
#[test]
fn pod_is_asked_for_exactly_what_the_source_says() {
    let pods = [
        pod("a", &[("app", "web")], Some("10.0.0.1")),
        pod("b", &[("app", "web"), ("model.aibrix.ai/engine", "sglang")], Some("fd00::2")),
    ];
    let source = per_pod("custom/metrics", "8443", "https", "num_requests_waiting");
    assert_eq!(
        asked(&wanted(&source, &pods)),
        [
            ("GET https://10.0.0.1:8443/custom/metrics".to_owned(), "vllm:num_requests_waiting".to_owned()),
            ("GET https://[fd00::2]:8443/custom/metrics".to_owned(), "sglang:num_queue_reqs".to_owned()),
        ]
    );
    let verbatim = per_pod("/metrics", "8000", "http", "my_queue");
    let want = [("GET http://10.0.0.1:8000/metrics".to_owned(), "my_queue".to_owned())];
    assert_eq!(asked(&wanted(&verbatim, &pods[..1])), want);
}

#[test]
fn tensorrt_llm_is_asked_at_its_own_path() {
    let pods = [pod("a", &[("app", "web"), ("model.aibrix.ai/engine", "trtllm")], Some("10.0.0.1"))];
    let asked = asked(&wanted(&per_pod("/metrics", "8000", "http", "kv_cache_usage_perc"), &pods));
    let url = "GET http://10.0.0.1:8000/prometheus/metrics".to_owned();
    assert_eq!(asked, [(url, "trtllm_kv_cache_utilization".to_owned())]);
}

#[test]
fn only_running_pods_of_the_target_with_an_address_are_asked() {
    let pending = PodFacts::for_test(&json!({
        "metadata": {"name": "pending", "labels": {"app": "web"}},
        "spec": {}, "status": {"phase": "Pending", "podIP": "10.0.0.5"},
    }));
    let leaving = PodFacts::for_test(&json!({
        "metadata": {"name": "leaving", "labels": {"app": "web"}, "deletionTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {}, "status": {"phase": "Running", "podIP": "10.0.0.6"},
    }));
    let pods = [
        pod("good", &[("app", "web")], Some("10.0.0.1")),
        pod("other", &[("app", "db")], Some("10.0.0.2")),
        pod("addressless", &[("app", "web")], None),
        Arc::new(pending),
        Arc::new(leaving),
    ];
    assert_eq!(asked(&wanted(&per_pod("metrics", "8000", "http", "m"), &pods)).len(), 1);
    assert_eq!(wanted(&per_pod("metrics", "8000", "http", "m"), &[]), Wanted::PerPod(Vec::new()));
}

#[test]
fn source_that_no_pod_can_answer_fails_as_a_whole() {
    let pods = [pod("a", &[("app", "web")], Some("10.0.0.1"))];
    for (source, why) in [
        (
            per_pod("metrics", "8000", "http", "time_to_first_token_seconds"),
            "metric \"time_to_first_token_seconds\": histogram metrics are not supported for autoscaling",
        ),
        (per_pod("metrics", "http", "http", "m"), "port \"http\" is not a port number"),
    ] {
        assert_eq!(wanted(&source, &pods), Wanted::Failed(SampleError(why.to_owned())));
    }
}

#[test]
fn resource_usage_is_one_list_for_all_pods() {
    let pods = [pod("a", &[("app", "web")], Some("10.0.0.1")), pod("b", &[("app", "web")], None)];
    let source = json!({"metricSourceType": "resource", "targetMetric": "cpu", "targetValue": "1"});
    let origin = Origin::Usage { namespace: "ns".to_owned(), selector: "app=web".to_owned() };
    let item = |name: &str| WantedPod {
        uid: "".into(),
        ready: false,
        item: Ok(Item { origin: origin.clone(), pick: Pick::Cpu(name.to_owned()) }),
    };
    assert_eq!(wanted(&source, &pods), Wanted::PerPod(vec![item("a"), item("b")]));
}

#[test]
fn custom_metric_is_asked_for_each_pod() {
    let source = json!({"metricSourceType": "custom", "targetMetric": "load", "targetValue": "1"});
    let Wanted::PerPod(items) = wanted(&source, &[pod("a", &[("app", "web")], None)]) else { panic!() };
    assert_eq!(items[0].item.as_ref().unwrap().origin.to_string(), "custom metric load of pod ns/a");
}

#[test]
fn external_source_is_an_endpoint_or_the_metrics_api() {
    for kind in ["external", "domain"] {
        let api = json!({"metricSourceType": kind, "targetMetric": "queue", "targetValue": "1"});
        let series = Matchers::default();
        let origin = Origin::External { namespace: "ns".to_owned(), metric: "queue".to_owned(), series };
        assert_eq!(wanted(&api, &[]), Wanted::Total(Item { origin, pick: Pick::Number }));
        let endpoint = json!({"metricSourceType": kind, "protocolType": "http", "endpoint": "optimizer:8080",
            "path": "/metrics/ns/web", "targetMetric": "vllm:deployment_replicas", "targetValue": "1"});
        let Wanted::Total(Item { origin, pick }) = wanted(&endpoint, &[]) else { panic!() };
        assert_eq!(origin.to_string(), "GET http://optimizer:8080/metrics/ns/web");
        let queries = vec!["vllm:deployment_replicas".into()];
        assert_eq!(pick, Pick::Series { queries, combine: Combine::Sum });
    }
}

// scenario: hardening 28
#[test]
fn the_choice_of_series_reaches_pages_and_metrics_apis() {
    let pods = [pod("a", &[("app", "web")], Some("10.0.0.1"))];
    let source = per_pod("metrics", "8000", "http", "num_requests_running{engine=~\"0|1\"}");
    assert_eq!(asked(&wanted(&source, &pods))[0].1, "vllm:num_requests_running{engine=~\"0|1\"}");
    let custom = |metric| json!({"metricSourceType": "custom", "targetMetric": metric, "targetValue": "1"});
    let Wanted::PerPod(items) = wanted(&custom("load{tier!=\"test\"}"), &pods) else { panic!() };
    let origin = items[0].item.as_ref().unwrap().origin.to_string();
    assert_eq!(origin, "custom metric load{tier!=\"test\"} of pod ns/a");
    let Wanted::Failed(SampleError(error)) = wanted(&custom("load{tier=~\"x\"}"), &pods) else { panic!() };
    assert!(
        error.ends_with("=~ is not possible for a metrics API, which knows = and != at character 6"),
        "{error}"
    );
}

#[test]
fn a_part_of_one_is_averaged_under_whatever_name_an_engine_has_for_it() {
    for (metric, engine, combine) in [
        ("gpu_cache_usage_perc", "sglang", Combine::Ratio),
        ("kv_cache_usage_perc", "xllm", Combine::Ratio),
        ("vllm:kv_cache_usage_perc", "vllm", Combine::Ratio),
        ("num_requests_running", "sglang", Combine::Count),
    ] {
        let pods = [pod("a", &[("app", "web"), ("model.aibrix.ai/engine", engine)], Some("10.0.0.1"))];
        let Wanted::PerPod(items) = wanted(&per_pod("metrics", "8000", "http", metric), &pods) else {
            panic!()
        };
        let Pick::Series { combine: found, .. } = items[0].item.as_ref().unwrap().pick else { panic!() };
        assert_eq!(found, combine, "{metric} of {engine}");
    }
}

#[test]
fn rounds_are_comparable_while_target_and_sources_stay() {
    let source = per_pod("metrics", "8000", "http", "m");
    let before = autoscaler(&source);
    let mut bounds = before.clone();
    bounds.spec.max_replicas = 9;
    bounds.metadata.annotations = Some([("a".to_owned(), "b".to_owned())].into());
    assert_eq!(subject_of(&before), subject_of(&bounds));
    assert_ne!(subject_of(&before), subject_of(&autoscaler(&per_pod("metrics", "8000", "http", "n"))));
    let mut namesake = before.clone();
    namesake.metadata.uid = Some("v".to_owned());
    assert_ne!(subject_of(&before), subject_of(&namesake));
}

// scenario: hardening 14
#[test]
fn an_object_measures_ten_thousand_values_at_most() {
    let target = json!({"spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}}});
    let pods: Vec<_> =
        (0..401).map(|at| pod(&format!("p{at}"), &[("app", "web")], Some("10.0.0.1"))).collect();
    let source = per_pod("metrics", "8000", "http", "m");
    let mut pa = autoscaler(&source);
    let one = pa.spec.metrics_sources[0].clone();
    pa.spec.metrics_sources = vec![one; 25];
    let kind = ApiResource::erase::<k8s_openapi::api::apps::v1::Deployment>(&());
    let selection = targets::read_target(&pa, kind, targets::Form::Object, &target).pods.unwrap();
    let error = "25 sources for each of 401 pods are too many values, at most 10000";
    let refused = wanted_by(&pa, &selection, &pods);
    assert!(refused.iter().all(|wanted| *wanted == Wanted::Failed(SampleError(error.to_owned()))));
    let accepted = wanted_by(&pa, &selection, &pods[..400]);
    assert!(accepted.iter().all(|wanted| matches!(wanted, Wanted::PerPod(items) if items.len() == 400)));
}

// SPDX-License-Identifier: Apache-2.0
use serde_json::{Value, json};

use super::{
    field_error::invalid_message,
    pod_autoscaler::{Problem, field_errors, first_problem},
};
use crate::api::autoscaling::PodAutoscaler;

/// A valid object, with JSON pointers below `spec` replaced; `null` removes.
fn pa(changes: &[(&str, Value)]) -> PodAutoscaler {
    let mut spec = json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": 1, "maxReplicas": 10, "scalingStrategy": "KPA",
        "metricsSources": [pod_source()],
    });
    for (path, value) in changes {
        let (parent, field) = path.rsplit_once('/').unwrap();
        let parent = spec.pointer_mut(parent).unwrap();
        match value {
            Value::Null => drop(parent.as_object_mut().unwrap().remove(field)),
            value => parent[field] = value.clone(),
        }
    }
    serde_json::from_value(json!({"metadata": {"name": "pa", "namespace": "ns"}, "spec": spec})).unwrap()
}

fn pod_source() -> Value {
    json!({
        "metricSourceType": "pod", "protocolType": "http", "port": "8000", "path": "/metrics",
        "targetMetric": "num_requests_running", "targetValue": "10",
    })
}

fn source(kind: &str, metric: &str, value: &str) -> Value {
    json!({"metricSourceType": kind, "targetMetric": metric, "targetValue": value})
}

fn with(mut base: Value, changes: Value) -> Value {
    for (key, value) in changes.as_object().unwrap() {
        base[key] = value.clone();
    }
    base
}

const SOURCE: &str = "/metricsSources";

// scenario: pod-autoscaler 1
#[test]
fn valid_specs_are_accepted_by_admission_and_controller() {
    let endpoint = with(
        source("external", "vllm:deployment_replicas", "1"),
        json!({"endpoint": "optimizer:8080", "protocolType": "http", "path": "metrics"}),
    );
    let schedule = json!([{
        "name": "day", "timezone": "Asia/Shanghai", "daysOfWeek": ["Mon", "tue"],
        "startTime": "09:00", "endTime": "18:00", "minReplicas": 3, "maxReplicas": 12,
    }]);
    for changes in [
        vec![("/scalingStrategy", json!("HPA")), (SOURCE, json!([source("resource", "cpu", "30")]))],
        vec![("/minReplicas", json!(0))],
        vec![("/minReplicas", Value::Null)],
        vec![("/observeWindowSeconds", json!(600)), ("/panicWindowSeconds", json!(60))],
        vec![("/scalingStrategy", json!("APA")), (SOURCE, json!([endpoint]))],
        vec![("/schedules", schedule)],
        vec![(SOURCE, json!([source("custom", "queue", "0.5")]))],
    ] {
        assert_eq!(field_errors(&pa(&changes)), [], "{changes:?}");
        assert_eq!(first_problem(&pa(&changes)), None, "{changes:?}");
    }
}

// scenario: pod-autoscaler 2
#[test]
fn admission_refuses_with_these_errors() {
    let s = |changes: Value| json!([with(pod_source(), changes)]);
    let role = json!({"roleName": "prefill"});
    let cases: Vec<(Vec<(&str, Value)>, Vec<&str>)> = vec![
        (
            vec![("/scaleTargetRef/name", Value::Null), ("/scaleTargetRef/kind", Value::Null)],
            vec![
                "spec.scaleTargetRef.name: Required value: must be set",
                "spec.scaleTargetRef.kind: Required value: must be set",
            ],
        ),
        (
            vec![("/minReplicas", json!(11))],
            vec![
                "spec.minReplicas: Invalid value: 11: cannot be greater than maxReplicas",
                "spec.maxReplicas: Invalid value: 10: cannot be less than minReplicas",
            ],
        ),
        (
            vec![("/minReplicas", json!(-1))],
            vec!["spec.minReplicas: Invalid value: -1: must not be negative"],
        ),
        (
            vec![("/maxReplicas", json!(0)), ("/minReplicas", Value::Null)],
            vec!["spec.maxReplicas: Invalid value: 0: must be positive"],
        ),
        (
            vec![("/observeWindowSeconds", json!(0))],
            vec![
                "spec.observeWindowSeconds: Invalid value: 0: must be greater than 0",
                "spec.panicWindowSeconds: Invalid value: 60: must be less than or equal to observeWindowSeconds",
            ],
        ),
        (
            vec![("/observeWindowSeconds", json!(3601))],
            vec!["spec.observeWindowSeconds: Invalid value: 3601: must be less than or equal to 3600"],
        ),
        (
            vec![("/observeWindowSeconds", json!(60)), ("/panicWindowSeconds", json!(120))],
            vec![
                "spec.panicWindowSeconds: Invalid value: 120: must be less than or equal to observeWindowSeconds",
            ],
        ),
        (
            vec![("/observeWindowSeconds", json!(30))],
            vec![
                "spec.panicWindowSeconds: Invalid value: 60: must be less than or equal to observeWindowSeconds",
            ],
        ),
        (
            vec![("/schedules", json!([]))],
            vec!["spec.schedules: Invalid value: []: schedules must not be empty"],
        ),
        (
            vec![("/scalingStrategy", json!("XPA"))],
            vec![r#"spec.scalingStrategy: Unsupported value: "XPA": supported values: "HPA", "KPA", "APA""#],
        ),
        (
            vec![("/scalingStrategy", json!("HPA")), ("/subTargetSelector", role)],
            vec![
                "spec.subTargetSelector.roleName: Forbidden: not supported with scalingStrategy=HPA; \
             use APA or KPA for StormService role-level autoscaling",
            ],
        ),
        (
            vec![(SOURCE, Value::Null)],
            vec!["spec.metricsSources: Invalid value: []: at least one metricsSource is required"],
        ),
        (
            vec![(SOURCE, s(json!({"targetMetric": "", "targetValue": ""})))],
            vec![
                "spec.metricsSources[0].targetMetric: Required value: must be set",
                "spec.metricsSources[0].targetValue: Required value: must be set",
            ],
        ),
        (
            vec![(SOURCE, s(json!({"protocolType": "", "port": "", "path": ""})))],
            vec![
                "spec.metricsSources[0].protocolType: Required value: required for metricSourceType=pod",
                "spec.metricsSources[0].port: Required value: required for metricSourceType=pod",
                "spec.metricsSources[0].path: Required value: required for metricSourceType=pod",
            ],
        ),
        (
            vec![(SOURCE, json!([with(source("external", "m", "1"), json!({"endpoint": "x"}))]))],
            vec![
                "spec.metricsSources[0].protocolType: Required value: required for metricSourceType=external/domain",
                "spec.metricsSources[0].path: Required value: required for metricSourceType=external/domain",
            ],
        ),
        (
            vec![(SOURCE, json!([with(source("resource", "CPU", "1"), json!({"port": "1", "path": "p"}))]))],
            vec![
                r#"spec.metricsSources[0].targetMetric: Unsupported value: "CPU": supported values: "cpu", "memory""#,
                "spec.metricsSources[0].port: Forbidden: not allowed for metricSourceType=resource",
                "spec.metricsSources[0].path: Forbidden: not allowed for metricSourceType=resource",
            ],
        ),
        (
            vec![(SOURCE, json!([source("dream", "m", "1")]))],
            vec![
                "spec.metricsSources[0].metricSourceType: Unsupported value: \"dream\": \
             supported values: \"pod\", \"external\", \"domain\", \"resource\", \"custom\"",
            ],
        ),
    ];
    for (changes, want) in cases {
        let got: Vec<String> = field_errors(&pa(&changes)).iter().map(ToString::to_string).collect();
        assert_eq!(got, want, "{changes:?}");
    }
}

// scenario: pod-autoscaler 2
#[test]
fn a_target_value_is_a_finite_number_above_zero() {
    let valid = "must be a valid number";
    let above = "must be greater than 0";
    for (value, want) in [
        ("not-a-number", Some(valid)),
        ("-100m", Some(valid)),
        ("100m", Some(valid)),
        ("1Gi", Some(valid)),
        ("NaN", Some(valid)),
        ("inf", Some(valid)),
        ("1e999", Some(valid)),
        ("0", Some(above)),
        ("-5", Some(above)),
        ("0.5", None),
        ("0x1p-1", None),
        ("1e3", None),
    ] {
        let pa = pa(&[(SOURCE, json!([source("custom", "m", value)]))]);
        let got: Vec<String> = field_errors(&pa).iter().map(ToString::to_string).collect();
        let path = "spec.metricsSources[0].targetValue";
        let want_text: Vec<String> =
            want.iter().map(|detail| format!("{path}: Invalid value: \"{value}\": {detail}")).collect();
        assert_eq!(got, want_text);
        let message = "metricsSource[0]: targetValue must be a number greater than 0".to_owned();
        let problem = want.map(|_| Problem { reason: "MetricsConfigError", message });
        assert_eq!(first_problem(&pa), problem, "{value}");
    }
}

// scenario: pod-autoscaler 4
#[test]
fn an_error_names_the_source_that_has_it() {
    let pa = pa(&[(SOURCE, json!([pod_source(), source("resource", "gpu", "1")]))]);
    let errors = field_errors(&pa);
    assert_eq!(errors[0].field, "spec.metricsSources[1].targetMetric");
    assert_eq!(
        invalid_message("PodAutoscaler.autoscaling.aibrix.ai", "pa", &errors),
        "PodAutoscaler.autoscaling.aibrix.ai \"pa\" is invalid: spec.metricsSources[1].targetMetric: \
         Unsupported value: \"gpu\": supported values: \"cpu\", \"memory\""
    );
}

// scenario: pod-autoscaler 5
#[test]
fn external_sources_need_no_endpoint_but_a_metric() {
    for kind in ["external", "domain"] {
        let good = pa(&[(SOURCE, json!([source(kind, "queue", "1")]))]);
        assert_eq!((field_errors(&good), first_problem(&good)), (Vec::new(), None));
        let bad = pa(&[(SOURCE, json!([source(kind, "", "1")]))]);
        let message = "metricsSource[0]: targetMetric must be specified".to_owned();
        assert_eq!(first_problem(&bad), Some(Problem { reason: "MetricsConfigError", message }));
    }
}

#[test]
fn the_controller_names_the_first_problem() {
    let role = || json!({"roleName": "prefill"});
    let missing = "scaleTargetRef.kind and scaleTargetRef.name must be set.";
    let resource = |changes| json!([with(source("resource", "cpu", "1"), changes)]);
    let external = |changes| json!([with(source("domain", "m", "1"), changes)]);
    let pod = |changes| json!([with(pod_source(), changes)]);
    let cases: Vec<(Vec<(&str, Value)>, &str, &str)> = vec![
        (
            vec![("/scaleTargetRef/name", Value::Null), ("/minReplicas", json!(-1))],
            "MissingScaleTargetRef",
            missing,
        ),
        (vec![("/scaleTargetRef/kind", Value::Null)], "MissingScaleTargetRef", missing),
        (vec![("/minReplicas", json!(-1))], "InvalidBounds", "minReplicas must not be negative."),
        (vec![("/maxReplicas", json!(0))], "InvalidBounds", "maxReplicas must be positive."),
        (
            vec![("/minReplicas", json!(11))],
            "InvalidBounds",
            "minReplicas cannot be greater than maxReplicas.",
        ),
        (
            vec![("/scalingStrategy", json!("XPA"))],
            "InvalidScalingStrategy",
            "Unsupported scalingStrategy; must be one of HPA/KPA/APA.",
        ),
        (
            vec![("/scalingStrategy", json!("HPA")), ("/subTargetSelector", role())],
            "InvalidScalingStrategy",
            "subTargetSelector.roleName is not supported with scalingStrategy=HPA; \
             use APA or KPA for StormService role-level autoscaling.",
        ),
        (
            vec![("/subTargetSelector", role())],
            "InvalidSpec",
            "subTargetSelector.roleName is only supported for StormService targets.",
        ),
        (
            vec![("/observeWindowSeconds", json!(0))],
            "InvalidSpec",
            "observeWindowSeconds must be greater than 0.",
        ),
        (
            vec![("/observeWindowSeconds", json!(9999))],
            "InvalidSpec",
            "observeWindowSeconds must be less than or equal to 3600.",
        ),
        (
            vec![("/panicWindowSeconds", json!(0))],
            "InvalidSpec",
            "panicWindowSeconds must be greater than 0.",
        ),
        (
            vec![("/observeWindowSeconds", json!(30))],
            "InvalidSpec",
            "panicWindowSeconds must be less than or equal to observeWindowSeconds.",
        ),
        (vec![("/schedules", json!([]))], "InvalidSpec", "schedules must not be empty"),
        (vec![(SOURCE, Value::Null)], "MetricsConfigError", "at least one metricsSource is required."),
        (
            vec![(SOURCE, json!([pod_source(), source("custom", "m", "")]))],
            "MetricsConfigError",
            "metricsSource[1]: targetValue must be specified",
        ),
        (
            vec![(SOURCE, pod(json!({"protocolType": "", "port": ""})))],
            "MetricsConfigError",
            "protocolType is required for metricSourceType=pod.",
        ),
        (
            vec![(SOURCE, pod(json!({"port": ""})))],
            "MetricsConfigError",
            "port is required for metricSourceType=pod.",
        ),
        (
            vec![(SOURCE, pod(json!({"path": ""})))],
            "MetricsConfigError",
            "path is required for metricSourceType=pod.",
        ),
        (
            vec![(SOURCE, external(json!({"endpoint": "x", "protocolType": "http"})))],
            "MetricsConfigError",
            "path is required for metricSourceType=external.",
        ),
        (
            vec![(SOURCE, json!([source("resource", "Memory", "1")]))],
            "MetricsConfigError",
            "for metricSourceType=resource, targetMetric must be 'cpu' or 'memory'.",
        ),
        (
            vec![(SOURCE, resource(json!({"endpoint": "x"})))],
            "MetricsConfigError",
            "port, endpoint, path, and protocolType are not allowed for metricSourceType=resource.",
        ),
        (
            vec![(SOURCE, json!([source("dream", "m", "1")]))],
            "MetricsConfigError",
            "metricsSource[0]: unsupported metricSourceType: dream",
        ),
    ];
    for (changes, reason, message) in cases {
        let message = message.to_owned();
        assert_eq!(first_problem(&pa(&changes)), Some(Problem { reason, message }), "{changes:?}");
    }
}

#[test]
fn a_target_in_another_namespace_is_refused() {
    let of = |namespace: &str| first_problem(&pa(&[("/scaleTargetRef/namespace", json!(namespace))]));
    let message =
        "scaleTargetRef.namespace must be empty or equal to the PodAutoscaler namespace.".to_owned();
    assert_eq!(of("other"), Some(Problem { reason: "InvalidSpec", message }));
    assert_eq!(of("ns"), None);
}

// scenario: pod-autoscaler 44
#[test]
fn legacy_annotations_do_not_make_an_object_invalid() {
    let mut pa = pa(&[]);
    for key in ["scale-down-delay", "panic-threshold", "panic-window", "stable-window", "tolerance"] {
        let annotations = pa.metadata.annotations.get_or_insert_default();
        annotations.insert(format!("kpa.autoscaling.aibrix.ai/{key}"), "200".to_owned());
    }
    assert_eq!((field_errors(&pa), first_problem(&pa)), (Vec::new(), None));
}

#[test]
fn a_role_of_a_storm_service_is_fine() {
    let service =
        json!({"apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "StormService", "name": "s"});
    let changes = [("/scaleTargetRef", service), ("/subTargetSelector", json!({"roleName": "prefill"}))];
    assert_eq!(first_problem(&pa(&changes)), None);
    assert_eq!(first_problem(&pa(&[("/subTargetSelector", json!({}))])), None);
}

// scenario: hardening 14
#[test]
fn more_than_anybody_needs_is_refused_by_its_number() {
    let sources = vec![pod_source(); 13_000];
    let window = json!({"name": "a", "startTime": "00:00", "endTime": "01:00", "minReplicas": 1});
    let object = pa(&[(SOURCE, json!(sources)), ("/schedules", json!(vec![window; 10_000]))]);
    let errors: Vec<String> = field_errors(&object).iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "spec.schedules: Invalid value: 10000: schedules: 10000 are too many, at most 64",
            "spec.metricsSources: Invalid value: 13000: are too many, at most 32",
        ]
    );
    let problem = first_problem(&pa(&[(SOURCE, json!(sources))])).unwrap();
    assert_eq!(problem.reason, "MetricsConfigError");
    assert_eq!(problem.message, "metricsSources: 13000 are too many, at most 32.");
    assert_eq!(first_problem(&pa(&[(SOURCE, json!(vec![pod_source(); 32]))])), None);
}

// scenario: hardening 28
#[test]
fn a_choice_of_series_is_judged_by_who_has_to_read_it() {
    let choice = "load{tier=~\"gold|iron\"}";
    let at = |kind: &str, strategy: &str, metric: &str| {
        let fields = json!({"metricSourceType": kind, "targetMetric": metric});
        let object =
            pa(&[("/scalingStrategy", json!(strategy)), (SOURCE, json!([with(pod_source(), fields)]))]);
        let errors: Vec<String> = field_errors(&object).iter().map(ToString::to_string).collect();
        (errors, first_problem(&object).map(|problem| problem.message))
    };
    assert_eq!(at("pod", "APA", choice), (vec![], None));
    let refused = "=~ is not possible for a metrics API, which knows = and != at character 6";
    for (kind, strategy) in [("custom", "APA"), ("external", "KPA"), ("pod", "HPA")] {
        let (errors, problem) = at(kind, strategy, choice);
        let quoted = "load{tier=~\\\"gold|iron\\\"}";
        assert_eq!(
            errors,
            [format!("spec.metricsSources[0].targetMetric: Invalid value: \"{quoted}\": {refused}")]
        );
        assert_eq!(problem, Some(format!("metricsSource[0]: targetMetric \"{quoted}\": {refused}")));
        assert_eq!(at(kind, strategy, "load{tier=\"gold\"}"), (vec![], None), "{kind} {strategy}");
    }
    let (errors, _) = at("pod", "KPA", "load{tier}");
    assert_eq!(errors.len(), 1);
    assert!(errors[0].ends_with("expected =, !=, =~ or !~ at character 10"), "{errors:?}");
}

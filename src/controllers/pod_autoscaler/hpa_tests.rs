// SPDX-License-Identifier: Apache-2.0
use serde_json::{Value, json};

use super::{
    annotations::parse_parameters,
    bounds::resolve,
    cases::{annotated, at, pa},
    hpa::{build_hpa, name_for, patch_for},
};
use crate::api::autoscaling::PodAutoscaler;

fn hpa_pa() -> PodAutoscaler {
    pa(json!({"scalingStrategy": "HPA", "maxReplicas": 5, "metricsSources": [
        {"metricSourceType": "custom", "targetMetric": "Requests", "targetValue": "50"},
        {"metricSourceType": "resource", "targetMetric": "cpu", "targetValue": "30"},
        {"metricSourceType": "resource", "targetMetric": "memory", "targetValue": "128"},
    ]}))
}

fn built(pa: &PodAutoscaler) -> Value {
    let (bounds, _) = resolve(pa, at(0));
    serde_json::to_value(build_hpa(pa, &bounds, &parse_parameters(pa))).unwrap()
}

#[test]
fn the_generated_object_is_complete() {
    let mut pa = hpa_pa();
    pa.metadata.labels = Some([("team".to_owned(), "a".to_owned())].into());
    let annotations = [("kubectl.kubernetes.io/last-applied-configuration", "{}"), ("note", "x")];
    pa.metadata.annotations =
        Some(annotations.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect());
    assert_eq!(
        built(&pa),
        json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {
                "name": "pa-hpa", "namespace": "ns", "labels": {"team": "a"}, "annotations": {"note": "x"},
                "ownerReferences": [{
                    "apiVersion": "autoscaling.aibrix.ai/v1alpha1", "kind": "PodAutoscaler", "name": "pa",
                    "uid": "u1", "controller": true, "blockOwnerDeletion": true,
                }],
            },
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "minReplicas": 1, "maxReplicas": 5,
                "metrics": [
                    {"type": "Pods", "pods": {
                        "metric": {"name": "Requests"}, "target": {"type": "AverageValue", "averageValue": "50"},
                    }},
                    {"type": "Resource", "resource": {
                        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 30},
                    }},
                    {"type": "Resource", "resource": {
                        "name": "memory", "target": {"type": "AverageValue", "averageValue": "128Mi"},
                    }},
                ],
                "behavior": {
                    "scaleUp": {
                        "stabilizationWindowSeconds": 0, "selectPolicy": "Max",
                        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 60}],
                    },
                    "scaleDown": {
                        "stabilizationWindowSeconds": 300, "selectPolicy": "Min",
                        "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}],
                    },
                },
            },
        })
    );
    assert_eq!(name_for(&pa), "pa-hpa");
}

#[test]
fn rates_become_percentages_and_a_rate_of_one_forbids() {
    for (key, direction, rate, percent, select) in [
        ("max-scale-up-rate", "scaleUp", "2", 100, "Max"),
        ("max-scale-up-rate", "scaleUp", "1.5", 50, "Max"),
        ("max-scale-up-rate", "scaleUp", "3", 200, "Max"),
        ("max-scale-up-rate", "scaleUp", "0.5", 100, "Max"),
        ("max-scale-up-rate", "scaleUp", "1", 1, "Disabled"),
        ("max-scale-up-rate", "scaleUp", "1.001", 1, "Max"),
        ("max-scale-up-rate", "scaleUp", "1e300", i32::MAX, "Max"),
        ("max-scale-down-rate", "scaleDown", "2", 50, "Min"),
        ("max-scale-down-rate", "scaleDown", "3", 66, "Min"),
        ("max-scale-down-rate", "scaleDown", "4", 75, "Min"),
        ("max-scale-down-rate", "scaleDown", "0.5", 50, "Min"),
        ("max-scale-down-rate", "scaleDown", "0", 50, "Min"),
        ("max-scale-down-rate", "scaleDown", "1", 1, "Disabled"),
    ] {
        let hpa = built(&annotated(hpa_pa(), &[(key, rate)]));
        let rules = &hpa["spec"]["behavior"][direction];
        assert_eq!(
            (&rules["policies"][0]["value"], &rules["selectPolicy"]),
            (&json!(percent), &json!(select)),
            "{rate}"
        );
    }
}

#[test]
fn windows_are_whole_seconds_within_what_the_api_server_takes() {
    for (window, seconds) in [("30s", 30), ("10m", 600), ("1.9s", 1), ("2h", 3600), ("0", 0)] {
        let hpa = built(&annotated(hpa_pa(), &[("scale-up-cooldown-window", window)]));
        assert_eq!(hpa["spec"]["behavior"]["scaleUp"]["stabilizationWindowSeconds"], json!(seconds));
    }
}

#[test]
fn target_values_become_quantities_that_are_never_zero() {
    for (metric, value, field, want) in [
        ("gpu_cache_usage_perc", "0.5", "averageValue", json!("500m")),
        ("queue", "0.0001", "averageValue", json!("1m")),
        ("queue", "1.0006", "averageValue", json!("1001m")),
        ("queue", "2000", "averageValue", json!("2k")),
        ("CPU", "29.1", "averageUtilization", json!(30)),
        ("Memory", "0.5", "averageValue", json!("512Ki")),
    ] {
        let source = json!({"metricSourceType": "custom", "targetMetric": metric, "targetValue": value});
        let hpa = built(&pa(json!({"scalingStrategy": "HPA", "metricsSources": [source]})));
        let metric = &hpa["spec"]["metrics"][0];
        let target = metric.pointer("/pods/target").or_else(|| metric.pointer("/resource/target")).unwrap();
        assert_eq!(target[field], want);
    }
}

#[test]
fn zero_as_lower_bound_is_left_to_the_default() {
    let hpa = built(&pa(json!({"scalingStrategy": "HPA", "minReplicas": 0})));
    assert_eq!(hpa["spec"].get("minReplicas"), None);
}

#[test]
fn nothing_is_patched_while_the_stored_object_says_the_same() {
    let pa = hpa_pa();
    let want: k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler =
        serde_json::from_value(built(&pa)).unwrap();
    let mut stored = built(&pa);
    stored["metadata"]["labels"] = json!({"added": "by others"});
    stored["spec"]["metrics"][2]["resource"]["target"]["averageValue"] = json!("134217728");
    stored["spec"]["behavior"]["scaleUp"]["tolerance"] = json!("1");
    let have = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!(patch_for(&have, &want), None);

    stored["spec"]["maxReplicas"] = json!(9);
    let (patch, fields) = patch_for(&serde_json::from_value(stored.clone()).unwrap(), &want).unwrap();
    assert_eq!((&patch["spec"]["maxReplicas"], fields), (&json!(5), vec!["spec.maxReplicas".to_owned()]));
    assert_eq!(patch["metadata"], json!({}));

    stored["metadata"]["ownerReferences"] = json!([]);
    let (patch, _) = patch_for(&serde_json::from_value(stored).unwrap(), &want).unwrap();
    assert_eq!(patch["metadata"]["ownerReferences"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_lower_bound_that_is_no_longer_set_is_removed() {
    let with_min = |min: i32| {
        let hpa = built(&pa(json!({"scalingStrategy": "HPA", "minReplicas": min})));
        serde_json::from_value(hpa).unwrap()
    };
    let (patch, fields) = patch_for(&with_min(3), &with_min(0)).unwrap();
    assert_eq!(fields, ["spec.minReplicas"]);
    assert_eq!(patch["spec"]["minReplicas"], Value::Null);
    assert_eq!(patch_for(&with_min(1), &with_min(0)), None, "the API server stores its default");
}

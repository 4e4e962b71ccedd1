// SPDX-License-Identifier: Apache-2.0
//! Refusals of PodAutoscalers, with all their errors at once.

use serde_json::{Value, json};

use super::world::Scene;
use crate::support::objects;

/// A valid autoscaler whose spec has these values instead.
fn with(scene: &Scene, name: &str, changes: &Value) -> Value {
    let mut object = objects::pod_autoscaler(&scene.ns, name, "KPA");
    for (key, value) in changes.as_object().expect("fields") {
        object["spec"][key] = value.clone();
    }
    object
}

fn source(kind: &str, metric: &str, value: &str) -> Value {
    json!({"metricSourceType": kind, "targetMetric": metric, "targetValue": value})
}

/// A source of pods with these values instead; null takes one away.
fn pod_source(changes: &Value) -> Value {
    let mut source = source("pod", "vllm:num_requests_running", "10");
    for (key, value) in [("protocolType", "http"), ("port", "8000"), ("path", "/metrics")] {
        source[key] = json!(value);
    }
    for (key, value) in changes.as_object().expect("fields") {
        source[key] = value.clone();
    }
    source
}

fn window(changes: &Value) -> Value {
    let mut window = json!({
        "name": "day", "timezone": "UTC", "daysOfWeek": ["Mon", "Tue"], "startTime": "09:00",
        "endTime": "18:00", "minReplicas": 3, "maxReplicas": 8,
    });
    for (key, value) in changes.as_object().expect("fields") {
        window[key] = value.clone();
    }
    window
}

// scenario: pod-autoscaler 1
// scenario: pod-autoscaler 5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn valid_specs_are_accepted_unchanged() {
    let scene = Scene::new("autoscaler").await;
    let endpoint = json!({
        "metricSourceType": "external", "targetMetric": "m", "targetValue": "1",
        "endpoint": "optimizer:8080", "protocolType": "http", "path": "metrics",
    });
    let table = [
        ("cpu", json!({"scalingStrategy": "HPA", "metricsSources": [source("resource", "cpu", "30")]})),
        ("zero", json!({"minReplicas": 0, "metricsSources": [pod_source(&json!({}))]})),
        ("windows", json!({"observeWindowSeconds": 600, "panicWindowSeconds": 60})),
        ("endpoint", json!({"scalingStrategy": "APA", "metricsSources": [endpoint]})),
        ("schedules", json!({"schedules": [window(&json!({"timezone": "Asia/Shanghai"}))]})),
        ("external", json!({"metricsSources": [source("external", "queue", "1")]})),
        ("domain", json!({"metricsSources": [source("domain", "queue", "1")]})),
    ];
    for (name, changes) in table {
        let object = with(&scene, name, &changes);
        let stored = scene.accepts(&object).await;
        assert_eq!(stored["spec"], object["spec"], "{name}");
        assert_eq!(stored["metadata"].get("annotations"), None, "{name}");
    }
    let nameless = json!({"metricsSources": [source("external", "", "1")]});
    let status = scene.rejects(&with(&scene, "nameless", &nameless)).await;
    assert!(status.message.contains("spec.metricsSources[0].targetMetric"), "{}", status.message);
}

// scenario: pod-autoscaler 2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn specs_that_cannot_work_are_refused_with_the_path_of_the_field() {
    let scene = Scene::new("autoscaler").await;
    let value = |value: &str| json!({"metricsSources": [pod_source(&json!({"targetValue": value}))]});
    let mut resource = source("resource", "cpu", "30");
    resource["port"] = json!("8000");
    let table = [
        (json!({"minReplicas": 11}), "spec.minReplicas"),
        (json!({"minReplicas": -1}), "spec.minReplicas"),
        (json!({"maxReplicas": 0, "minReplicas": 0}), "spec.maxReplicas"),
        (json!({"scalingStrategy": "XPA"}), "spec.scalingStrategy"),
        (json!({"metricsSources": []}), "spec.metricsSources"),
        (json!({"metricsSources": [resource]}), "spec.metricsSources[0].port"),
        (
            json!({"metricsSources": [source("resource", "invalid-resource", "1")]}),
            "spec.metricsSources[0].targetMetric",
        ),
        (json!({"metricsSources": [pod_source(&json!({"path": ""}))]}), "spec.metricsSources[0].path"),
        (value("not-a-number"), "spec.metricsSources[0].targetValue"),
        (value("-100m"), "spec.metricsSources[0].targetValue"),
        (value("100m"), "spec.metricsSources[0].targetValue"),
        (value("0"), "spec.metricsSources[0].targetValue"),
        (value("-5"), "spec.metricsSources[0].targetValue"),
        (json!({"observeWindowSeconds": 0}), "spec.observeWindowSeconds"),
        (json!({"observeWindowSeconds": 3601}), "spec.observeWindowSeconds"),
        (json!({"observeWindowSeconds": 60, "panicWindowSeconds": 120}), "spec.panicWindowSeconds"),
        (json!({"observeWindowSeconds": 30}), "spec.panicWindowSeconds"),
        (
            json!({
                "scalingStrategy": "HPA", "metricsSources": [source("resource", "cpu", "30")],
                "subTargetSelector": {"roleName": "prefill"},
            }),
            "spec.subTargetSelector.roleName",
        ),
    ];
    for (changes, field) in table {
        let status = scene.rejects(&with(&scene, "bad", &changes)).await;
        assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"), "{changes}: {status:?}");
        assert!(status.message.contains(field), "{changes}: {}", status.message);
    }
    // The schema takes an absent list; only the webhook knows better.
    let mut without = objects::pod_autoscaler(&scene.ns, "without", "KPA");
    without["spec"].as_object_mut().expect("a spec").remove("metricsSources");
    let status = scene.rejects(&without).await;
    assert!(status.message.contains("at least one metricsSource is required"), "{}", status.message);
    assert!(status.message.contains("vpodautoscaler-v1alpha1.kb.io"), "{}", status.message);
}

// scenario: pod-autoscaler 3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedules_that_make_no_sense_are_refused() {
    let scene = Scene::new("autoscaler").await;
    let one = |changes: Value| json!([window(&changes)]);
    let table = [
        ("a short start", one(json!({"startTime": "9:00"}))),
        ("seconds", one(json!({"endTime": "18:00:00"}))),
        ("over midnight", one(json!({"startTime": "18:00", "endTime": "09:00"}))),
        ("a long weekday", one(json!({"daysOfWeek": ["Monday"]}))),
        ("no weekday", one(json!({"daysOfWeek": []}))),
        ("an unknown zone", one(json!({"timezone": "Mars/Olympus"}))),
        (
            "a name twice",
            json!([window(&json!({})), window(&json!({"startTime": "18:00", "endTime": "19:00"}))]),
        ),
        ("neither bound", {
            let mut window = window(&json!({}));
            window.as_object_mut().expect("fields").remove("minReplicas");
            window.as_object_mut().expect("fields").remove("maxReplicas");
            json!([window])
        }),
        ("11 over 10", {
            let mut window = window(&json!({"minReplicas": 11}));
            window.as_object_mut().expect("fields").remove("maxReplicas");
            json!([window])
        }),
        (
            "an overlap",
            json!([
                window(&json!({})),
                window(&json!({"name": "b", "startTime": "17:00", "endTime": "19:00"}))
            ]),
        ),
        (
            "mixed zones",
            json!([
                window(&json!({})),
                window(&json!({"name": "b", "timezone": "Asia/Tokyo", "daysOfWeek": ["Sun"]}))
            ]),
        ),
        ("a bad name", one(json!({"name": "Bad_Name"}))),
    ];
    for (label, schedules) in table {
        let status = scene.rejects(&with(&scene, "bad", &json!({"schedules": schedules}))).await;
        assert_eq!(status.code, 422, "{label}: {status:?}");
        assert!(status.message.contains("spec.schedules"), "{label}: {}", status.message);
    }
    let adjacent =
        json!([window(&json!({})), window(&json!({"name": "b", "startTime": "18:00", "endTime": "19:00"}))]);
    scene.accepts(&with(&scene, "adjacent", &json!({"schedules": adjacent}))).await;
}

// scenario: pod-autoscaler 4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn error_names_the_source_that_has_it_and_changes_are_judged_too() {
    let scene = Scene::new("autoscaler").await;
    let sources = json!({"metricsSources": [pod_source(&json!({})), source("resource", "gpu", "1")]});
    let status = scene.rejects(&with(&scene, "second", &sources)).await;
    assert!(status.message.contains("spec.metricsSources[1].targetMetric"), "{}", status.message);

    let object = with(&scene, "good", &json!({}));
    scene.accepts(&object).await;
    let status = scene.rejects_change(&object, &json!({"spec": {"minReplicas": 50, "maxReplicas": 5}})).await;
    assert_eq!(status.code, 422, "{status:?}");
    let said = "PodAutoscaler.autoscaling.aibrix.ai \"good\" is invalid: \
                [spec.minReplicas: Invalid value: 50: cannot be greater than maxReplicas, \
                spec.maxReplicas: Invalid value: 5: cannot be less than minReplicas]";
    assert!(status.message.contains(said), "all errors at once: {}", status.message);
}

// SPDX-License-Identifier: Apache-2.0
//! Targets of kinds that nobody watches.

use std::sync::Arc;

use serde_json::{Value, json};

use kube_fenced_election::clock::SystemClock;
use kube_loops::testkit::scripted_api::{Answer, ScriptedApi};

use super::live::{Live, LiveError, TargetRead};
use crate::controllers::pod_autoscaler::targets::Form;

const OBJECT: &str = "/apis/demo.example/v1/namespaces/ns/modelfleets/x";
const SCALE: &str = "/apis/demo.example/v1/namespaces/ns/modelfleets/x/scale";

/// An API server with kinds of a group, of which `ModelFleet` has a scale.
fn api(
    scale: impl Fn() -> Answer + Send + 'static,
    object: impl Fn() -> Answer + Send + 'static,
) -> ScriptedApi {
    ScriptedApi::new(move |request| match request.on() {
        ("GET", "/apis/demo.example") => Answer::ok(json!({
            "kind": "APIGroup", "name": "demo.example",
            "versions": [{"groupVersion": "demo.example/v1", "version": "v1"}],
        })),
        ("GET", "/apis/demo.example/v1") => {
            let resource = |name: &str, kind: &str| json!({"name": name, "kind": kind, "namespaced": true, "singularName": "", "verbs": []});
            let resources = json!([
                resource("modelfleets", "ModelFleet"),
                resource("modelfleets/scale", "Scale"),
                resource("plains", "Plain"),
                resource("plains/status", "Plain"),
            ]);
            Answer::ok(
                json!({"kind": "APIResourceList", "groupVersion": "demo.example/v1", "resources": resources}),
            )
        }
        ("GET", SCALE) => scale(),
        ("GET", OBJECT) => object(),
        ("GET", "/apis/demo.example/v1/namespaces/ns/plains/x") => {
            Answer::ok(json!({"spec": {"replicas": 7}}))
        }
        _ => Answer::not_found(),
    })
}

fn scale() -> Answer {
    Answer::ok(json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "x", "uid": "u"},
        "spec": {"replicas": 2}, "status": {"replicas": 2, "selector": "app=eng"}}))
}

fn fleet(spec: Value) -> Answer {
    Answer::ok(
        json!({"apiVersion": "demo.example/v1", "kind": "ModelFleet", "metadata": {"name": "x"}, "spec": spec}),
    )
}

async fn read(live: &Live, kind: &str) -> Result<TargetRead, LiveError> {
    live.any_kind("demo.example/v1", kind, "ns", "x").await
}

fn asked(api: &ScriptedApi) -> Vec<String> {
    api.log().into_iter().filter(|line| line.contains("/namespaces/")).collect()
}

#[tokio::test]
async fn a_kind_with_a_scale_is_read_by_that_and_one_without_by_its_object() {
    let api = api(scale, || fleet(json!({})));
    let live = Live::new(api.client(), Arc::new(SystemClock));
    let fleet = read(&live, "ModelFleet").await.unwrap();
    assert_eq!((fleet.form, &fleet.json["status"]["selector"]), (Form::Scale, &json!("app=eng")));
    let plain = read(&live, "Plain").await.unwrap();
    assert_eq!((plain.form, &plain.json["spec"]["replicas"]), (Form::Object, &json!(7)));
    assert_eq!(asked(&api).len(), 2, "{:?}", asked(&api));
}

#[tokio::test]
async fn where_the_scale_is_forbidden_the_object_is_read_for_the_rest_of_the_term() {
    let usual = || fleet(json!({"replicas": 2, "selector": {"matchLabels": {"app": "eng"}}}));
    let api = api(Answer::forbidden, usual);
    let live = Live::new(api.client(), Arc::new(SystemClock));
    for _ in 0..3 {
        assert_eq!(read(&live, "ModelFleet").await.unwrap().form, Form::ScaleForbidden);
    }
    let get = |path: &str| format!("GET {path}");
    assert_eq!(asked(&api), [SCALE, OBJECT, OBJECT, OBJECT].map(get));
}

#[tokio::test]
async fn a_grant_for_the_scale_is_noticed_where_the_object_does_not_tell_enough() {
    let granted = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_granted = Arc::clone(&granted);
    let scale = move || {
        if is_granted.load(std::sync::atomic::Ordering::Relaxed) { scale() } else { Answer::forbidden() }
    };
    let api = api(scale, || fleet(json!({"replicas": 2})));
    let live = Live::new(api.client(), Arc::new(SystemClock));
    for _ in 0..2 {
        assert_eq!(read(&live, "ModelFleet").await.unwrap().form, Form::ScaleForbidden);
    }
    granted.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(read(&live, "ModelFleet").await.unwrap().form, Form::Scale);
}

#[tokio::test]
async fn where_both_are_forbidden_the_refusal_of_the_scale_is_said_and_nothing_is_concluded() {
    let scale = || Answer::failure(403, "Forbidden", "cannot get resource \"modelfleets/scale\"");
    let api = api(scale, Answer::forbidden);
    let live = Live::new(api.client(), Arc::new(SystemClock));
    for _ in 0..2 {
        let error = read(&live, "ModelFleet").await.unwrap_err().to_string();
        assert!(error.contains("modelfleets/scale"), "{error}");
    }
    assert_eq!(asked(&api).iter().filter(|line| line.ends_with("/scale")).count(), 2);
}

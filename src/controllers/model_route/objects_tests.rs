// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use serde_json::{Value, json};

use super::{
    cases::{deployment, of_kind, settings, workload},
    objects::{Wanted, build_grant},
    sources::{Source, SourceKind},
};

fn want(source: &Source) -> Wanted {
    Wanted::of(source, &settings()).unwrap()
}

fn without_marker(mut object: Value) -> Value {
    let annotations = object["metadata"]["annotations"].as_object_mut().unwrap();
    let marker = annotations.remove("model.aibrix.ai/route-spec-hash").unwrap();
    assert_eq!(annotations.remove("model.aibrix.ai/route-owner"), Some(json!("aibrix-system")));
    let marker = marker.as_str().unwrap();
    let (hash, kind) = marker.split_once('.').unwrap();
    assert!(hash.len() == 16 && hash.bytes().all(|it| it.is_ascii_hexdigit()), "{marker}");
    assert_eq!(kind, "Deployment");
    object
}

#[test]
fn a_route_is_built_as_aibrix_builds_it() {
    let object = without_marker(want(&deployment(&workload("default", "d", "llama2-7b", 0))).object());
    let for_path = |path: &str| {
        json!({
            "path": {"type": "PathPrefix", "value": path},
            "headers": [{"type": "Exact", "name": "model", "value": "llama2-7b"}],
        })
    };
    let matches = [
        "/v1/completions",
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/messages",
        "/v1/embeddings",
        "/v1/rerank",
        "/v1/classify",
        "/generate",
        "/generatevideo",
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
    ]
    .map(for_path);
    let want = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "llama2-7b-router", "namespace": "aibrix-system", "annotations": {}},
        "spec": {
            "parentRefs": [{"name": "aibrix-eg", "namespace": "aibrix-system"}],
            "rules": [{
                "matches": matches,
                "backendRefs": [{"name": "llama2-7b", "namespace": "default", "port": 8000}],
                "timeouts": {"request": "120s"},
            }],
        },
    });
    assert_eq!(object, want);
}

#[test]
fn what_the_console_made_carries_its_label_and_its_two_annotations_only() {
    let mut object = workload("default", "d", "m", 0);
    object["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("aibrix-console");
    object["metadata"]["labels"]["other"] = json!("x");
    let annotations = &mut object["metadata"]["annotations"];
    annotations["console.aibrix.ai/deployment-id"] = json!("17");
    annotations["console.aibrix.ai/deployment-name"] = json!("Mine");
    annotations["console.aibrix.ai/else"] = json!("x");
    annotations["model.aibrix.ai/service-name"] = json!("console-mock-svc");
    let route = without_marker(want(&deployment(&object)).object());
    assert_eq!(route["metadata"]["labels"], json!({"app.kubernetes.io/managed-by": "aibrix-console"}));
    assert_eq!(
        route["metadata"]["annotations"],
        json!({"console.aibrix.ai/deployment-id": "17", "console.aibrix.ai/deployment-name": "Mine"})
    );
    assert_eq!(route["spec"]["rules"][0]["backendRefs"][0]["name"], "console-mock-svc");
    object["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("Helm");
    object["metadata"]["annotations"]["console.aibrix.ai/deployment-id"] = json!("");
    let route = without_marker(want(&deployment(&object)).object());
    assert_eq!(route["metadata"].get("labels"), None);
    assert_eq!(route["metadata"]["annotations"], json!({"console.aibrix.ai/deployment-name": "Mine"}));
}

#[test]
fn a_time_out_has_at_most_five_digits() {
    for (seconds, text) in [(1, "1s"), (600, "600s"), (99_999, "99999s"), (1_000_000, "99999s")] {
        let mut settings = settings();
        settings.request_timeout = Duration::from_secs(seconds);
        let want = Wanted::of(&deployment(&workload("default", "d", "m", 0)), &settings).unwrap();
        assert_eq!(want.spec["rules"][0]["timeouts"]["request"], text);
    }
}

#[test]
fn the_marker_changes_with_whatever_the_route_is_made_from() {
    let plain = workload("default", "d", "m", 0);
    let marker = |object: &Value| want(&deployment(object)).marker;
    assert_eq!(marker(&plain), marker(&workload("default", "d", "m", 9)), "its age is no part of the route");
    assert_ne!(marker(&plain), want(&of_kind(SourceKind::ModelAdapter, &plain)).marker);
    for (place, value) in [
        ("/metadata/namespace", "other"),
        ("/metadata/labels/model.aibrix.ai~1port", "9000"),
        // The same route, but there is something to tell.
        ("/metadata/labels/model.aibrix.ai~1port", "x"),
        ("/metadata/annotations/model.aibrix.ai~1name", "n"),
    ] {
        let mut changed = plain.clone();
        *changed.pointer_mut(place).unwrap() = json!(value);
        assert_ne!(marker(&plain), marker(&changed), "{place}");
    }
    for (key, value) in [
        ("model.aibrix.ai/service-name", "s"),
        ("model.aibrix.ai/model-router-custom-paths", "/x"),
        ("model.aibrix.ai/model-router-custom-paths", "x"),
        ("console.aibrix.ai/deployment-id", "1"),
    ] {
        let mut changed = plain.clone();
        changed["metadata"]["annotations"][key] = json!(value);
        assert_ne!(marker(&plain), marker(&changed), "{key}");
    }
}

#[test]
fn what_cannot_be_followed_is_named_and_the_route_is_made_without_it() {
    let mut object = workload("default", "d", "qwen2.5-7b", 0);
    object["metadata"]["labels"]["model.aibrix.ai/port"] = json!("70000");
    let paths = "score,/ok,/a//b,a1,a2,a3,a4,a5";
    object["metadata"]["annotations"]["model.aibrix.ai/model-router-custom-paths"] = json!(paths);
    let want = want(&deployment(&object));
    assert_eq!(
        want.advice,
        [
            "label model.aibrix.ai/port=\"70000\" is not a port from 1 to 65535; the route leads to port 8000",
            "annotation model.aibrix.ai/model-router-custom-paths names paths that a route cannot match, or more \
             than the 64 that fit; left out: \"score\", \"/a//b\", \"a1\", \"a2\", \"a3\" and 2 more",
            "\"qwen2.5-7b\" is no name of a Service, so the route leads nowhere; name the Service in annotation \
             model.aibrix.ai/service-name",
        ]
    );
    assert_eq!(want.spec["rules"][0]["matches"][11]["path"]["value"], "/ok");
    assert_eq!(want.spec["rules"][0]["backendRefs"][0]["port"], 8000);
}

#[test]
fn a_grant_is_built_as_aibrix_builds_it() {
    let want = json!({
        "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
        "metadata": {"name": "aibrix-system-reserved-referencegrant-in-default", "namespace": "default"},
        "spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "aibrix-system"}],
            "to": [{"group": "", "kind": "Service"}],
        },
    });
    assert_eq!(build_grant("default", &settings()), want);
}

#[test]
fn gateway_and_namespace_may_be_others() {
    let mut settings = settings();
    settings.gateway_name = "eg".to_owned();
    settings.gateway_namespace = "gateways".to_owned();
    let route = Wanted::of(&deployment(&workload("default", "d", "m", 0)), &settings).unwrap().object();
    assert_eq!(route["metadata"]["namespace"], "gateways");
    assert_eq!(route["spec"]["parentRefs"], json!([{"name": "eg", "namespace": "gateways"}]));
    assert_eq!(build_grant("default", &settings)["spec"]["from"][0]["namespace"], "gateways");
}

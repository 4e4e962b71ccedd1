// SPDX-License-Identifier: Apache-2.0
//! Objects for tests: they start valid, and a test changes what it is about.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    ModelRouteSettings,
    routes::{GrantFacts, RouteFacts},
    snapshot::RouteSnapshot,
    sources::{Source, SourceFacts, SourceKind},
};

/// AIBrix's constants.
pub(super) fn settings() -> ModelRouteSettings {
    ModelRouteSettings::default()
}

/// A workload `ns/name`, created at the start of the year plus `age` minutes, that serves `model`.
pub(super) fn workload(ns: &str, name: &str, model: &str, age: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "namespace": ns, "name": name, "uid": format!("uid-{ns}-{name}"), "resourceVersion": "7",
            "creationTimestamp": format!("2026-01-01T00:{age:02}:00Z"),
            "labels": {"model.aibrix.ai/port": "8000"}, "annotations": {"model.aibrix.ai/name": model},
        },
    })
}

/// The Deployment as a source.
pub(super) fn deployment(object: &Value) -> Source {
    Source { kind: SourceKind::Deployment, facts: SourceFacts::for_test(object) }
}

/// The same object as one of this kind.
pub(super) fn of_kind(kind: SourceKind, object: &Value) -> Source {
    Source { kind, facts: SourceFacts::for_test(object) }
}

/// An object as the API server would store it: with uid, version and the defaults of the Gateway API.
pub(super) fn stored(object: &Value) -> Value {
    let mut object = object.clone();
    object["metadata"]["uid"] = json!(format!("uid-{}", object["metadata"]["name"].as_str().unwrap()));
    object["metadata"]["resourceVersion"] = json!("1");
    defaulted(&mut object);
    object
}

/// Writes the defaults that the API server writes into an HTTPRoute.
pub(super) fn defaulted(route: &mut Value) {
    let set = |object: &mut Value, key: &str, value: Value| {
        if object.get(key).is_none() {
            object[key] = value;
        }
    };
    for parent in route["spec"]["parentRefs"].as_array_mut().into_iter().flatten() {
        set(parent, "group", json!("gateway.networking.k8s.io"));
        set(parent, "kind", json!("Gateway"));
    }
    for rule in route["spec"]["rules"].as_array_mut().into_iter().flatten() {
        for backend in rule["backendRefs"].as_array_mut().into_iter().flatten() {
            set(backend, "group", json!(""));
            set(backend, "kind", json!("Service"));
            set(backend, "weight", json!(1));
        }
    }
}

/// The route as passes see it.
pub(super) fn seen_route(object: &Value) -> Arc<RouteFacts> {
    RouteFacts::for_test(object)
}

/// A grant as passes see it.
pub(super) fn seen_grant(ns: &str) -> Arc<GrantFacts> {
    let name = format!("aibrix-system-reserved-referencegrant-in-{ns}");
    GrantFacts::for_test(&json!({
        "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
        "metadata": {"namespace": ns, "name": name, "uid": format!("uid-{ns}"), "resourceVersion": "3"},
        "spec": super::objects::build_grant(ns, &settings())["spec"],
    }))
}

/// What a pass sees of these workloads and this route, with nothing else in the cluster.
pub(super) fn seen(sources: &[Source], route: Option<&Value>) -> RouteSnapshot {
    RouteSnapshot {
        sources: sources.to_vec(),
        route: route.map(seen_route),
        origin_in_sight: true,
        source_lost: false,
        left: Vec::new(),
        last_use_of: None,
    }
}

/// A route that somebody wrote by hand, of the shape that AIBrix generates.
pub(super) fn hand_written(name: &str, model: &str) -> Value {
    stored(&json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "aibrix-system"},
        "spec": {
            "parentRefs": [{"name": "aibrix-eg", "namespace": "aibrix-system"}],
            "rules": [{
                "matches": [{
                    "path": {"type": "PathPrefix", "value": "/v1/completions"},
                    "headers": [{"type": "Exact", "name": "model", "value": model}],
                }],
                "backendRefs": [{"name": "mine", "namespace": "default", "port": 80}],
            }],
        },
    }))
}

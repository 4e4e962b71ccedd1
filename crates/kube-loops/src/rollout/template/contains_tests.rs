// SPDX-License-Identifier: Apache-2.0

use serde_json::{Value, json};

use super::{
    canonical::{Leniency, canonical},
    contains::{Ignored, first_difference},
    layout::{Layout, POD_TEMPLATE},
};

fn difference(template: &Value, live: &Value, ignored: Ignored<'_>) -> Option<String> {
    let layout = Layout::core();
    let template = canonical(template, &layout, POD_TEMPLATE, Leniency::Exact);
    first_difference(&template, live, &layout, POD_TEMPLATE, ignored)
}

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "x"}}, "spec": {
        "hostNetwork": false,
        "containers": [{
            "name": "engine", "image": "vllm:1", "args": ["--a", "--b"],
            "env": [{"name": "A", "value": "1"}, {"name": "EMPTY", "value": ""}],
            "ports": [{"containerPort": 8000}],
            "resources": {"limits": {"cpu": "1000m"}},
            "volumeMounts": [{"name": "v", "mountPath": "/m"}],
            "readinessProbe": {"httpGet": {"path": "/health", "port": "8000"}},
        }],
        "volumes": [{"name": "v", "projected": {"sources": [
            {"serviceAccountToken": {"path": "t"}}, {"downwardAPI": {"items": [{"path": "l",
                "fieldRef": {"fieldPath": "f"}}]}},
        ]}}],
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
    }})
}

/// What a server with an injecting webhook made of the template.
fn live() -> Value {
    json!({"metadata": {"name": "p", "labels": {"app": "x", "role-name": "r"},
        "annotations": {"injected": "yes"}}, "spec": {
        "nodeName": "n", "restartPolicy": "Always", "serviceAccountName": "default",
        "containers": [
            {"name": "proxy", "image": "envoy"},
            {
                "name": "engine", "image": "vllm:1", "args": ["--a", "--b"],
                    "imagePullPolicy": "IfNotPresent",
                "env": [{"name": "ROLE_NAME", "value": "r"}, {"name": "EMPTY"}, {"name": "A", "value": "1"}],
                "ports": [{"containerPort": 9, "protocol": "UDP"}, {"containerPort": 8000,
                    "protocol": "TCP"}],
                "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}},
                "volumeMounts": [{"name": "token", "mountPath": "/t"}, {"name": "v", "mountPath": "/m"}],
                "readinessProbe": {"httpGet": {"path": "/health", "port": 8000, "scheme": "HTTP"},
                    "periodSeconds": 10},
            },
        ],
        "volumes": [{"name": "kube-api-access-x"}, {"name": "v", "projected": {"defaultMode": 420,
            "sources": [
            {"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}},
            {"downwardAPI": {"items": [{"path": "l", "fieldRef": {"apiVersion": "v1", "fieldPath": "f"}}]}},
        ]}}],
        "tolerations": [{"key": "other"}, {"key": "gpu", "operator": "Exists"}],
    }})
}

#[test]
fn pod_with_defaults_and_injections_is_what_its_template_asks_for() {
    assert_eq!(difference(&template(), &live(), Ignored::default()), None);
}

#[test]
fn first_thing_that_differs_is_named_by_its_path() {
    let table = [
        ("/spec/containers/1/image", json!("vllm:2"), "spec.containers[engine].image"),
        ("/spec/containers/1/name", json!("motor"), "spec.containers[engine]"),
        ("/spec/containers/1/args", json!(["--a"]), "spec.containers[engine].args"),
        ("/spec/containers/1/env/2/value", json!("2"), "spec.containers[engine].env[A].value"),
        ("/spec/containers/1/ports/1/protocol", json!("UDP"), "spec.containers[engine].ports[8000/TCP]"),
        (
            "/spec/containers/1/resources/limits/cpu",
            json!("1001m"),
            "spec.containers[engine].resources.limits[cpu]",
        ),
        (
            "/spec/containers/1/volumeMounts/1/name",
            json!("w"),
            "spec.containers[engine].volumeMounts[/m].name",
        ),
        (
            "/spec/containers/1/readinessProbe/httpGet/port",
            json!(1),
            "spec.containers[engine].readinessProbe.httpGet.port",
        ),
        ("/spec/volumes/1/projected/sources/0", json!({}), "spec.volumes[v].projected.sources[0]"),
        ("/spec/tolerations/1/key", json!("cpu"), "spec.tolerations[0]"),
        ("/metadata/labels/app", json!("y"), "metadata.labels[app]"),
    ];
    for (pointer, value, path) in table {
        let mut other = live();
        *other.pointer_mut(pointer).unwrap() = value;
        assert_eq!(difference(&template(), &other, Ignored::default()).as_deref(), Some(path), "{pointer}");
    }
}

#[test]
fn elements_of_other_lists_have_to_keep_their_order() {
    let mut turned = live();
    turned["spec"]["volumes"][1]["projected"]["sources"].as_array_mut().unwrap().reverse();
    assert_eq!(
        difference(&template(), &turned, Ignored::default()).as_deref(),
        Some("spec.volumes[v].projected.sources[1]"),
    );
}

#[test]
fn what_is_ignored_may_differ() {
    let mut other = live();
    other["metadata"]["labels"]["app"] = json!("y");
    other["spec"]["containers"][1]["image"] = json!("vllm:2");
    other["spec"]["containers"][1]["env"][2]["value"] = json!("2");
    let mut template = template();
    template["spec"]["hostname"] = json!("h");
    let all = Ignored { paths: &["spec.hostname"], keys: &["app"], variables: &["A"], images: true };
    assert_eq!(difference(&template, &other, all), None);
    for (less, path) in [
        (Ignored { paths: &[], ..all }, "spec.hostname"),
        (Ignored { keys: &[], ..all }, "metadata.labels[app]"),
        (Ignored { variables: &[], ..all }, "spec.containers[engine].env[A].value"),
        (Ignored { images: false, ..all }, "spec.containers[engine].image"),
    ] {
        assert_eq!(difference(&template, &other, less).as_deref(), Some(path));
    }
}

#[test]
fn images_of_init_containers_are_compared_in_any_case() {
    let template = json!({"spec": {"initContainers": [{"name": "i", "image": "a"}], "containers": []}});
    let live = json!({"spec": {"initContainers": [{"name": "i", "image": "b"}], "containers": []}});
    let images = Ignored { images: true, ..Ignored::default() };
    assert_eq!(difference(&template, &live, images).as_deref(), Some("spec.initContainers[i].image"));
}

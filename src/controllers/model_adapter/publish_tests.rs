// SPDX-License-Identifier: Apache-2.0
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};

use crate::api::model::ModelAdapter;

use super::{
    objects::{build_endpoint_slice, build_service},
    publish::{service_patch, slice_patch},
    simulated::World,
    snapshot::{ChildSeen, ServiceContent, SliceContent},
    steps::Step,
};

fn adapter(spec: &Value) -> ModelAdapter {
    serde_json::from_value(json!({"metadata": {"name": "sql", "namespace": "ns", "uid": "u"}, "spec": spec}))
        .unwrap()
}

fn content(adapter: &ModelAdapter) -> ServiceContent {
    let service = build_service(adapter, 8000);
    let labels = service.metadata.labels.unwrap();
    ServiceContent {
        name_label: labels.get("adapter.model.aibrix.ai/name").cloned(),
        model_label: labels.get("model.aibrix.ai/name").cloned(),
        model_annotation: service.metadata.annotations.and_then(|it| it.get("model.aibrix.ai/name").cloned()),
        ports: service.spec.unwrap().ports.unwrap(),
    }
}

#[test]
fn a_service_changes_only_where_it_differs() {
    let have = content(&adapter(&json!({"baseModel": "llama"})));
    let patch = |spec: Value, port| service_patch(&have, &build_service(&adapter(&spec), port));
    assert_eq!(patch(json!({"baseModel": "llama"}), 8000), None);
    let model = "model.aibrix.ai/name";
    assert_eq!(
        patch(json!({"baseModel": "qwen"}), 8000),
        Some(json!({"metadata": {"labels": {model: "qwen"}}}))
    );
    assert_eq!(patch(json!({}), 8000), Some(json!({"metadata": {"labels": {model: null}}})));
    assert_eq!(
        patch(json!({"baseModel": "org/llama"}), 8000),
        Some(json!({"metadata": {"labels": {model: null}, "annotations": {model: "org/llama"}}}))
    );
    let ports = json!([{"name": "http", "port": 8000, "targetPort": 9000, "protocol": "TCP"}]);
    assert_eq!(patch(json!({"baseModel": "llama"}), 9000), Some(json!({"spec": {"ports": ports}})));
}

#[test]
fn a_slice_changes_only_where_it_differs() {
    let adapter = adapter(&json!({}));
    let ips = |text: &str| vec![text.parse().unwrap()];
    let have = build_endpoint_slice(&adapter, &ips("10.0.0.1"), 8000);
    let content = SliceContent {
        service_label: Some("sql".into()),
        address_type: have.address_type.clone(),
        endpoints: have.endpoints.clone(),
        ports: have.ports.clone().unwrap(),
    };
    assert_eq!(slice_patch(&content, &have), None);
    let want = build_endpoint_slice(&adapter, &ips("10.0.0.2"), 8000);
    let patch = slice_patch(&content, &want).unwrap();
    assert_eq!(patch, json!({"endpoints": [{"addresses": ["10.0.0.2"]}]}));
    let bare = SliceContent { service_label: None, ..content };
    let patch = slice_patch(&bare, &have).unwrap();
    assert_eq!(patch, json!({"metadata": {"labels": {"kubernetes.io/service-name": "sql"}}}));
}

#[test]
fn another_family_of_addresses_takes_another_slice() {
    let mut world = World::new();
    world.pods(&["a"]);
    world.adapter("sql", &json!({}));
    world.settle();
    world.change_pod("a", |pod| pod.ip = Some("fd00::1".parse().unwrap()));
    let is_it = |step: &Step| matches!(step, Step::DeleteSlice { child } if child.uid == "slice");
    assert!(world.pass("sql").steps.iter().any(is_it));
    world.settle();
    let ChildSeen::Ours { content, .. } = &world.adapters["sql"].slice else { panic!("no slice") };
    assert_eq!((content.address_type.as_str(), content.endpoints.len()), ("IPv6", 1));
}

#[test]
fn while_a_write_is_not_visible_yet_children_are_left_alone() {
    let mut world = World::new();
    world.pods(&["a"]);
    world.adapter("sql", &json!({}));
    world.settle();
    let mut seen = world.look("sql");
    (seen.service, seen.slice, seen.caught_up) = (ChildSeen::Absent, ChildSeen::Absent, false);
    let state = world.state("sql");
    assert_eq!(super::plan::plan(&seen, &state, world.now()).steps, []);
}

// scenario: hardening 39
#[test]
fn children_that_nobody_controls_are_adopted_and_corrected() {
    let mut world = World::new();
    world.pods(&["a"]);
    world.adapter("sql", &json!({}));
    world.settle();
    let ours = json!([{"apiVersion": "model.aibrix.ai/v1alpha1", "kind": "ModelAdapter", "name": "sql",
        "uid": "uid-sql", "controller": true, "blockOwnerDeletion": true}]);
    let other: OwnerReference =
        serde_json::from_value(json!({"apiVersion": "v1", "kind": "Other", "name": "o", "uid": "o"}))
            .unwrap();
    let mut seen = world.look("sql");
    let (
        ChildSeen::Ours { child: service, content: of_service, .. },
        ChildSeen::Ours { child: slice, content, .. },
    ) = (seen.service.clone(), seen.slice.clone())
    else {
        panic!("children")
    };
    let mut restored = content.clone();
    restored.endpoints[0].addresses = vec!["10.244.9.9".to_owned()];
    seen.service = ChildSeen::Orphan { child: service, owners: vec![other.clone()], content: of_service };
    seen.slice = ChildSeen::Orphan { child: slice, owners: Vec::new(), content: restored };
    let state = world.state("sql");
    let plan = super::plan::plan(&seen, &state, world.now());
    let [Step::PatchService { patch: service, .. }, Step::PatchSlice { patch: slice, .. }] =
        plan.steps.as_slice()
    else {
        panic!("{plan:?}")
    };
    assert_eq!(service["metadata"]["ownerReferences"], json!([json!(other), ours[0]]));
    assert_eq!(slice["metadata"]["ownerReferences"], ours);
    assert_eq!(slice["endpoints"], json!(content.endpoints));
    // Without pods, too: nothing must lead to stale addresses.
    (seen.pods, seen.outside) = (Vec::new(), Vec::new());
    let plan = super::plan::plan(&seen, &state, world.now());
    let emptied =
        |step: &Step| matches!(step, Step::PatchSlice { patch, .. } if patch["endpoints"] == json!([]));
    assert!(plan.steps.iter().any(emptied), "{plan:?}");
}

// SPDX-License-Identifier: Apache-2.0

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde_json::{Value, json};

use crate::testkit::scripted_api::{Answer, ScriptedApi};

use super::{
    error::WriteError,
    finalizers::{addition, removal, remove},
    writer::{Target, Writer},
};

fn target() -> Target {
    let resource = kube::core::ApiResource::erase::<Pod>(&());
    Target { resource, namespace: Some("ns".into()), name: "a".into() }
}

const OURS: &str = "a.io/ours";

fn meta(finalizers: &[&str]) -> ObjectMeta {
    serde_json::from_value(
        json!({"name": "a", "namespace": "ns", "resourceVersion": "7", "finalizers": finalizers}),
    )
    .unwrap()
}

fn as_json(patch: Option<json_patch::Patch>) -> Value {
    serde_json::to_value(patch).unwrap()
}

/// What a patch makes of an object.
fn applied(patch: Option<json_patch::Patch>, meta: &ObjectMeta) -> Value {
    let mut object = json!({"metadata": meta});
    json_patch::patch(&mut object, &patch.unwrap()).unwrap();
    object["metadata"]["finalizers"].clone()
}

#[test]
fn adding_tests_the_version_and_keeps_the_others() {
    assert_eq!(
        as_json(addition(&meta(&[]), OURS)),
        json!([
            {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
            {"op": "add", "path": "/metadata/finalizers", "value": [OURS]},
        ])
    );
    let others = meta(&["x/y"]);
    assert_eq!(applied(addition(&others, OURS), &others), json!(["x/y", OURS]));
    assert_eq!(addition(&meta(&["x/y", OURS]), OURS), None);
}

#[test]
fn removing_takes_every_occurrence_and_nothing_else() {
    let twice = meta(&[OURS, "x/y", OURS, "z/w"]);
    assert_eq!(applied(removal(&twice, OURS), &twice), json!(["x/y", "z/w"]));
    assert_eq!(removal(&meta(&["x/y"]), OURS), None);
    assert_eq!(removal(&ObjectMeta::default(), OURS), None);
}

#[tokio::test]
async fn nothing_is_sent_when_nothing_changes() {
    let api = ScriptedApi::echo();
    let writer = Writer::new(api.client());
    assert!(remove(&writer, &target(), &meta(&[]), OURS).await.unwrap().is_none());
    assert_eq!(api.requests().len(), 0);
}

#[tokio::test]
async fn a_changed_object_is_a_conflict() {
    let rejected = "the server rejected our request due to an error in our request";
    let api = ScriptedApi::in_turn([Answer::failure(422, "Invalid", rejected)]);
    let writer = Writer::new(api.client());
    let result = remove(&writer, &target(), &meta(&[OURS]), OURS).await;
    assert!(matches!(result, Err(WriteError::Conflict { .. })), "{result:?}");
    assert_eq!(api.log(), ["PATCH /api/v1/namespaces/ns/pods/a"]);
}

#[tokio::test]
async fn removal_from_a_gone_object_is_success() {
    let api = ScriptedApi::in_turn([Answer::not_found()]);
    let writer = Writer::new(api.client());
    assert!(remove(&writer, &target(), &meta(&[OURS]), OURS).await.unwrap().is_none());
}

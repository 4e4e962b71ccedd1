// SPDX-License-Identifier: Apache-2.0
use json_patch::Patch;
use k8s_openapi::api::core::v1::Pod;
use kube::core::ApiResource;
use serde_json::{Value, json};

use crate::testkit::scripted_api::{Answer, ScriptedApi};

use super::{
    dry_run::NotedStep,
    error::WriteError,
    writer::{Change, Guard, Target, Writer},
};

fn stored() -> Value {
    json!({"metadata": {"name": "a", "namespace": "ns", "uid": "u", "resourceVersion": "7", "labels": {"x": "1"}}})
}

fn pod(object: Value) -> Pod {
    serde_json::from_value(object).unwrap()
}

fn target(name: &str) -> Target {
    Target { resource: ApiResource::erase::<Pod>(&()), namespace: Some("ns".into()), name: name.into() }
}

/// An API server with the pod `a`, and the writer of a dry run.
fn start() -> (ScriptedApi, Writer) {
    let api = ScriptedApi::new(|seen| match seen.on() {
        ("GET", "/api/v1/namespaces/ns/pods/a") => Answer::ok(stored()),
        _ => Answer::not_found(),
    });
    (api.clone(), Writer::dry_run(api.client()))
}

async fn label(writer: &Writer, name: &str, value: &str, guard: Guard<'_>) -> Result<Value, WriteError> {
    let patch = Change::Merge(json!({"metadata": {"labels": {"x": value}}}));
    writer.patch(&target(name), "", patch, guard).await.map(|object| json!(object))
}

#[tokio::test]
async fn every_verb_is_noted_and_answered_and_nothing_but_reads_is_sent() {
    let (api, writer) = start();
    let made =
        writer.create(&pod(json!({"metadata": {"generateName": "b-", "namespace": "ns"}}))).await.unwrap();
    assert_eq!(made.metadata.name.as_deref(), Some("b-1"));
    assert_eq!(made.metadata.uid.as_deref(), Some("dry-run-1"));
    let replaced = writer.replace_status(&pod(stored())).await.unwrap();
    assert_eq!(replaced.metadata.resource_version.as_deref(), Some("8"));
    writer.delete(&target("c"), "uid").await.unwrap();
    assert!(writer.notes_instead(|| NotedStep { verb: "load", target: target("a"), content: Value::Null }));
    let noted = writer.take_noted();
    let short: Vec<_> = noted.iter().map(|step| (step.verb, step.target.name.as_str())).collect();
    assert_eq!(short, [("create", ""), ("update the status of", "a"), ("delete", "c"), ("load", "a")]);
    assert_eq!(noted[2].content["preconditions"]["uid"], "uid");
    assert!(writer.take_noted().is_empty(), "each is told once");
    assert!(api.log().is_empty(), "{api:?}");
}

#[tokio::test]
async fn patch_is_answered_from_what_is_stored_and_what_was_noted_before() {
    let (api, writer) = start();
    let first = label(&writer, "a", "2", Guard { uid: Some("u"), version: "7" }).await.unwrap();
    assert_eq!(first["metadata"]["resourceVersion"], "8");
    let test = json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": "8"},
        {"op": "add", "path": "/metadata/labels/y", "value": "3"},
    ]);
    let test: Patch = serde_json::from_value(test).unwrap();
    let second = writer.json_patch::<Pod>(&target("a"), test.clone()).await.unwrap();
    assert_eq!(json!(second.metadata.labels), json!({"x": "2", "y": "3"}));
    let stale = writer.json_patch::<Pod>(&target("a"), test).await;
    assert!(matches!(stale, Err(WriteError::Conflict { .. })), "{stale:?}");
    assert_eq!(api.log(), ["GET /api/v1/namespaces/ns/pods/a"]);
}

#[tokio::test]
async fn patch_of_what_is_another_or_gone_fails_as_it_would() {
    let (_, writer) = start();
    let other = label(&writer, "a", "2", Guard { uid: Some("v"), version: "7" }).await;
    assert!(matches!(other, Err(WriteError::Conflict { .. })), "{other:?}");
    let unknown = label(&writer, "nobody", "2", Guard { uid: None, version: "7" }).await;
    assert!(matches!(unknown, Err(WriteError::NotFound { .. })), "{unknown:?}");
    writer.delete(&target("a"), "u").await.unwrap();
    let deleted = label(&writer, "a", "2", Guard { uid: None, version: "7" }).await;
    assert!(matches!(deleted, Err(WriteError::NotFound { .. })), "{deleted:?}");
}

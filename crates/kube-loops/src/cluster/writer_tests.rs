// SPDX-License-Identifier: Apache-2.0

use json_patch::Patch;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::{
    api::PropagationPolicy,
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::testkit::scripted_api::{Answer, ScriptedApi, SeenRequest};

use super::{
    error::WriteError,
    writer::{Change, Deletion, Guard, Target, Writer},
};

fn pod(meta: &Value) -> Pod {
    serde_json::from_value(json!({"metadata": meta})).unwrap()
}

fn read_pod() -> Pod {
    pod(&json!({"name": "a", "namespace": "ns", "uid": "u", "resourceVersion": "7"}))
}

fn clusters() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("ray.io", "v1", "RayCluster"), "rayclusters")
}

fn target<K: kube::Resource<DynamicType = ()>>(name: &str) -> Target {
    Target { resource: ApiResource::erase::<K>(&()), namespace: Some("ns".into()), name: name.into() }
}

/// The only request.
fn only(api: &ScriptedApi) -> SeenRequest {
    let mut requests = api.requests();
    assert_eq!(requests.len(), 1, "{api:?}");
    requests.remove(0)
}

#[tokio::test]
async fn create_posts_to_the_namespace_as_manager() {
    let api = ScriptedApi::echo();
    let made =
        Writer::new(api.client()).create(&pod(&json!({"name": "a", "namespace": "ns"}))).await.unwrap();
    let seen = only(&api);
    assert_eq!(seen.on(), ("POST", "/api/v1/namespaces/ns/pods"));
    assert!(seen.query.contains("fieldManager=manager"), "{}", seen.query);
    assert_eq!(seen.body["kind"], "Pod");
    assert_eq!(made.metadata.name.as_deref(), Some("a"));
}

#[tokio::test]
async fn create_of_a_cluster_scoped_object_has_no_namespace() {
    let api = ScriptedApi::echo();
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"generateName": "n-"}})).unwrap();
    Writer::new(api.client()).create(&namespace).await.unwrap();
    assert_eq!(only(&api).on(), ("POST", "/api/v1/namespaces"));
}

#[tokio::test]
async fn create_of_what_was_read_is_refused_unsent() {
    let api = ScriptedApi::echo();
    let result = Writer::new(api.client()).create(&read_pod()).await;
    assert!(matches!(result, Err(WriteError::Invalid { .. })), "{result:?}");
    assert_eq!(api.requests().len(), 0);
}

#[tokio::test]
async fn replace_status_puts_the_object_with_its_resource_version_on_the_subresource() {
    let api = ScriptedApi::echo();
    Writer::new(api.client()).replace_status(&read_pod()).await.unwrap();
    let seen = only(&api);
    assert_eq!(seen.on(), ("PUT", "/api/v1/namespaces/ns/pods/a/status"));
    assert_eq!(seen.body["metadata"]["resourceVersion"], "7");
    assert!(seen.query.contains("fieldManager=manager"), "{}", seen.query);
}

#[tokio::test]
async fn replace_without_a_resource_version_is_refused_unsent() {
    let api = ScriptedApi::echo();
    let unread = pod(&json!({"name": "a", "namespace": "ns"}));
    let result = Writer::new(api.client()).replace_status(&unread).await;
    let error = result.unwrap_err();
    assert!(matches!(error, WriteError::Invalid { .. }), "{error}");
    assert!(error.to_string().contains("resourceVersion"), "{error}");
    assert_eq!(api.requests().len(), 0);
}

#[tokio::test]
async fn merge_patch_sends_exactly_the_value_and_the_version_that_it_is_for() {
    let api = ScriptedApi::in_turn([Answer::ok(json!({"metadata": {}}))]);
    let patch = json!({"metadata": {"annotations": {"a": null}}});
    Writer::new(api.client()).merge_patch(&target::<ConfigMap>("c"), &patch, "7").await.unwrap();
    let seen = only(&api);
    assert_eq!(seen.on(), ("PATCH", "/api/v1/namespaces/ns/configmaps/c"));
    assert_eq!(seen.header("content-type"), "application/merge-patch+json");
    assert_eq!(seen.body, json!({"metadata": {"annotations": {"a": null}, "resourceVersion": "7"}}));
    assert_eq!(seen.query.trim_matches('&'), "fieldManager=manager");
}

#[tokio::test]
async fn guards_are_part_of_the_patch() {
    let api = ScriptedApi::echo();
    let guard = Guard { uid: Some("u"), version: "7" };
    let change = Change::Strategic(json!({"status": {"conditions": []}}));
    Writer::new(api.client()).patch(&target::<Pod>("a"), "status", change, guard).await.unwrap();
    let seen = only(&api);
    assert_eq!(seen.on(), ("PATCH", "/api/v1/namespaces/ns/pods/a/status"));
    assert_eq!(seen.header("content-type"), "application/strategic-merge-patch+json");
    assert_eq!(
        seen.body,
        json!({"metadata": {"uid": "u", "resourceVersion": "7"}, "status": {"conditions": []}})
    );
}

#[tokio::test]
async fn a_namesake_under_a_uid_guard_is_a_conflict() {
    let message = "Pod \"a\" is invalid: metadata.uid: Invalid value: \"u\": field is immutable";
    let api = ScriptedApi::in_turn([Answer::failure(422, "Invalid", message)]);
    let guard = Guard { uid: Some("u"), version: "7" };
    let result =
        Writer::new(api.client()).patch(&target::<Pod>("a"), "", Change::Merge(json!({})), guard).await;
    assert!(matches!(result, Err(WriteError::Conflict { .. })), "{result:?}");
}

#[tokio::test]
async fn a_patch_that_is_no_object_is_refused_unsent() {
    let api = ScriptedApi::echo();
    let writer = Writer::new(api.client());
    let guard = Guard { uid: Some("u"), version: "7" };
    for patch in [json!([]), json!(null), json!({"metadata": 1})] {
        let result = writer.patch(&target::<Pod>("a"), "", Change::Merge(patch), guard).await;
        assert!(matches!(result, Err(WriteError::Invalid { .. })), "{result:?}");
    }
    assert_eq!(api.requests().len(), 0);
}

#[tokio::test]
async fn a_patch_that_would_undo_what_somebody_else_wrote_is_refused_unsent() {
    let api = ScriptedApi::echo();
    let writer = Writer::new(api.client());
    let result = writer.merge_patch(&target::<Pod>("a"), &json!({"spec": {}}), "").await;
    assert!(matches!(result, Err(WriteError::Invalid { .. })), "{result:?}");
    let test = |path: &str, value: Value| json!({"op": "test", "path": path, "value": value});
    let (uid, version) = (test("/metadata/uid", json!("u")), test("/metadata/resourceVersion", json!("7")));
    let count = test("/spec/replicas", json!(3));
    let tables = [
        (false, vec![]),
        (false, vec![uid.clone()]),
        (false, vec![count.clone()]),
        (false, vec![test("/metadata/resourceVersion", Value::Null)]),
        (false, vec![test("/metadata/uid", Value::Null), count.clone()]),
        (true, vec![version]),
        (true, vec![uid, count]),
    ];
    for (sent, tests) in tables {
        let before = api.requests().len();
        let change = json!({"op": "add", "path": "/spec/replicas", "value": 4});
        let patch: Patch = serde_json::from_value(tests.iter().cloned().chain([change]).collect()).unwrap();
        let result = writer.json_patch::<Value>(&target::<Pod>("a"), patch).await;
        assert_eq!(matches!(result, Err(WriteError::Invalid { .. })), !sent, "{tests:?}: {result:?}");
        assert_eq!(api.requests().len() > before, sent, "{tests:?}");
    }
}

#[tokio::test]
async fn a_json_patch_whose_test_failed_is_a_conflict_and_refused_content_is_not() {
    let tested: Patch = serde_json::from_value(json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "remove", "path": "/metadata/finalizers/0"},
    ]))
    .unwrap();
    let table = [
        ("the server rejected our request due to an error in our request", true),
        ("Pod \"a\" is invalid: spec: Forbidden: may not change", false),
    ];
    for (message, conflict) in table {
        let api = ScriptedApi::in_turn([Answer::failure(422, "Invalid", message)]);
        let error = Writer::new(api.client())
            .json_patch::<Pod>(&target::<Pod>("a"), tested.clone())
            .await
            .unwrap_err();
        assert_eq!(matches!(error, WriteError::Conflict { .. }), conflict, "{message}");
        assert_eq!(only(&api).header("content-type"), "application/json-patch+json");
        assert_eq!(only(&api).body, serde_json::to_value(&tested).unwrap());
    }
}

#[tokio::test]
async fn delete_names_the_uid_and_nothing_that_was_not_asked_for() {
    let api = ScriptedApi::echo();
    let writer = Writer::new(api.client());
    writer.delete(&target::<Pod>("a"), "u").await.unwrap();
    let seen = only(&api);
    assert_eq!(seen.on(), ("DELETE", "/api/v1/namespaces/ns/pods/a"));
    assert_eq!(seen.body, json!({"propagationPolicy": "Background", "preconditions": {"uid": "u"}}));
    let deletion = Deletion {
        propagation: Some(PropagationPolicy::Foreground),
        grace_seconds: Some(0),
        version: Some("7".into()),
    };
    writer.delete_with(&target::<Pod>("a"), "u", deletion).await.unwrap();
    let want = json!({
        "gracePeriodSeconds": 0, "propagationPolicy": "Foreground",
        "preconditions": {"uid": "u", "resourceVersion": "7"},
    });
    assert_eq!(api.requests()[1].body, want);
}

#[tokio::test]
async fn delete_of_what_is_gone_or_replaced_is_success() {
    let stored = "Precondition failed: UID in precondition: u, UID in object meta: v";
    let asked = "Operation cannot be fulfilled on pods \"a\": the UID in the precondition (u) does not match the \
                 UID in record (v). The object might have been deleted and then recreated";
    let conflict = |message| Answer::failure(409, "Conflict", message);
    let answers = [Answer::not_found(), conflict(stored), conflict(asked)];
    for answer in answers {
        let api = ScriptedApi::in_turn([answer]);
        Writer::new(api.client()).delete(&target::<Pod>("a"), "u").await.unwrap();
    }
    let api = ScriptedApi::in_turn([Answer::conflict()]);
    let result = Writer::new(api.client()).delete(&target::<Pod>("a"), "u").await;
    assert!(matches!(result, Err(WriteError::Conflict { .. })), "{result:?}");
}

#[tokio::test]
async fn delete_without_a_uid_is_refused_unsent() {
    let api = ScriptedApi::echo();
    let result = Writer::new(api.client()).delete(&target::<Pod>("a"), "").await;
    assert!(matches!(result, Err(WriteError::Invalid { .. })), "{result:?}");
    assert_eq!(api.requests().len(), 0);
}

#[tokio::test]
async fn dynamic_objects_keep_fields_that_nobody_knows() {
    let api = ScriptedApi::echo();
    let mut object = json!({
        "apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": {"name": "r", "namespace": "ns"},
        "spec": {"brandNew": [1.5, null, {"x": ""}]},
    });
    let writer = Writer::new(api.client());
    assert_eq!(writer.create_dynamic(&clusters(), &object).await.unwrap(), object);
    object["metadata"]["resourceVersion"] = "1".into();
    assert_eq!(writer.replace_dynamic(&clusters(), &object).await.unwrap(), object);
    assert_eq!(
        api.log(),
        ["POST /apis/ray.io/v1/namespaces/ns/rayclusters", "PUT /apis/ray.io/v1/namespaces/ns/rayclusters/r"]
    );
}

#[tokio::test]
async fn names_cannot_lead_to_another_path() {
    let api = ScriptedApi::echo();
    let writer = Writer::new(api.client());
    for (namespace, name) in [
        ("ns", "a/status"),
        ("ns", ".."),
        ("ns", "a?x"),
        ("a/b", "c"),
        ("..", "c"),
        ("ns", "%2e"),
        ("ns", ""),
    ] {
        let target = Target { resource: clusters(), namespace: Some(namespace.into()), name: name.into() };
        let result = writer.merge_patch(&target, &json!({}), "7").await;
        assert!(matches!(result, Err(WriteError::Invalid { .. })), "{namespace} {name}: {result:?}");
    }
    let nameless = json!({"metadata": {"namespace": "ns"}});
    assert!(matches!(writer.create_dynamic(&clusters(), &nameless).await, Err(WriteError::Invalid { .. })));
    assert_eq!(api.requests().len(), 0);
}

#[tokio::test]
async fn failures_are_sorted() {
    let table = [
        (Answer::conflict(), "Conflict "),
        (Answer::already_exists(), "AlreadyExists "),
        (Answer::not_found(), "NotFound "),
        (Answer::forbidden(), "Forbidden "),
        (Answer::server_error(), "Other "),
        (Answer::Broken, "Other "),
        (Answer::ok(json!("not a pod")), "Other "),
    ];
    for (answer, want) in table {
        let api = ScriptedApi::in_turn([answer]);
        let error = Writer::new(api.client()).replace_status(&read_pod()).await.unwrap_err();
        assert!(format!("{error:?}").starts_with(want), "{error:?}");
        assert!(error.to_string().contains("Pod ns/a"), "{error}");
    }
}

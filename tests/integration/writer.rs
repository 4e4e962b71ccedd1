// SPDX-License-Identifier: Apache-2.0
//! What the real API server answers to a writer whose guard does not hold: the unit tests repeat its words.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
    core::ApiResource,
};
use kube_loops::cluster::{
    error::WriteError,
    finalizers,
    writer::{Change, Guard, Target, Writer},
};
use serde_json::json;

use crate::support::shared;

const OURS: &str = "aibrix.ai/test";

fn wanted(ns: &str) -> ConfigMap {
    let wanted = json!({"metadata": {"name": "a", "namespace": ns}, "data": {"k": "v"}});
    serde_json::from_value(wanted).expect("a ConfigMap")
}

async fn config_map(writer: &Writer, ns: &str) -> (Target, ConfigMap) {
    let made = writer.create(&wanted(ns)).await.expect("create");
    let resource = ApiResource::erase::<ConfigMap>(&());
    (Target { resource, namespace: Some(ns.to_owned()), name: "a".to_owned() }, made)
}

#[tokio::test]
async fn guards_of_the_writer_hold_on_a_real_api_server() {
    let plane = shared().await;
    let client = plane.client().await;
    let ns = plane.namespace("writer").await;
    let writer = Writer::new(client.clone());
    let (target, made) = config_map(&writer, &ns).await;
    let maps: Api<ConfigMap> = Api::namespaced(client, &ns);
    let uid = made.uid().expect("a uid");

    let again = writer.create(&wanted(&ns)).await.expect_err("it exists");
    assert!(matches!(again, WriteError::AlreadyExists { .. }), "{again:?}");

    let stale = made.clone();
    let version = stale.resource_version().expect("a version");
    writer.merge_patch(&target, &json!({"data": {"k": "w"}}), &version).await.expect("as it was read");
    let outdated = writer.merge_patch(&target, &json!({"data": {"k": "x"}}), &version).await;
    assert!(matches!(outdated, Err(WriteError::Conflict { .. })), "{outdated:?}");
    let addition = finalizers::addition(&stale.metadata, OURS).expect("it is not there");
    let outdated = writer.json_patch::<ConfigMap>(&target, addition).await;
    assert!(matches!(outdated, Err(WriteError::Conflict { .. })), "{outdated:?}");

    let live = maps.get("a").await.expect("it is there").resource_version().expect("a version");
    let namesake = Guard { uid: Some("00000000-0000-0000-0000-000000000000"), version: &live };
    for change in [Change::Merge(json!({"data": {"k": "y"}})), Change::Strategic(json!({"data": {"k": "y"}}))]
    {
        let other = writer.patch(&target, "", change, namesake).await;
        assert!(matches!(other, Err(WriteError::Conflict { .. })), "{other:?}");
    }

    let wrong = json!([{"op": "add", "path": "/metadata/labels", "value": {"a": "b c"}}]);
    let wrong =
        writer.json_patch::<ConfigMap>(&target, serde_json::from_value(wrong).expect("a patch")).await;
    assert!(matches!(wrong, Err(WriteError::Invalid { .. })), "{wrong:?}");

    writer.delete(&target, "00000000-0000-0000-0000-000000000000").await.expect("a namesake is left alone");
    let live = maps.get("a").await.expect("it is still there");
    assert_eq!(live.data.as_ref().and_then(|data| data.get("k")).map(String::as_str), Some("w"));
    assert_eq!(live.metadata.managed_fields.expect("owners")[0].manager.as_deref(), Some("manager"));

    writer.delete(&target, &uid).await.expect("delete");
    writer.delete(&target, &uid).await.expect("gone already");
}

#[tokio::test]
async fn finalizers_come_and_go_without_touching_others() {
    let plane = shared().await;
    let client = plane.client().await;
    let ns = plane.namespace("finalizers").await;
    let writer = Writer::new(client.clone());
    let (target, made) = config_map(&writer, &ns).await;
    let maps: Api<ConfigMap> = Api::namespaced(client, &ns);

    let addition = finalizers::addition(&made.metadata, OURS).expect("it is not there");
    writer.json_patch::<ConfigMap>(&target, addition).await.expect("add");
    let others = json!({"metadata": {"finalizers": ["a.io/x", OURS, "b.io/y"]}});
    maps.patch("a", &PatchParams::default(), &Patch::Merge(&others)).await.expect("patch");
    let live = maps.get("a").await.expect("get");
    finalizers::remove(&writer, &target, &live.metadata, OURS).await.expect("remove").expect("it was there");
    assert_eq!(maps.get("a").await.expect("get").finalizers(), ["a.io/x", "b.io/y"]);
}

#[tokio::test]
async fn a_create_in_a_namespace_that_goes_away_finds_nothing() {
    let plane = shared().await;
    let client = plane.client().await;
    let ns = plane.namespace("leaving").await;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.delete(&ns, &DeleteParams::default()).await.expect("delete");
    let refused = Writer::new(client).create(&wanted(&ns)).await.expect_err("the namespace is leaving");
    assert!(matches!(refused, WriteError::NotFound { .. }), "{refused:?}");
}

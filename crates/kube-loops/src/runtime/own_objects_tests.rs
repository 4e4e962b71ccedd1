// SPDX-License-Identifier: Apache-2.0
use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use prometheus::Registry;
use serde_json::json;

use crate::testkit::scripted::ScriptedApi;

use super::{
    catch_up::catch_up,
    metrics::RuntimeMetrics,
    own_objects::{OwnObjects, WRITES},
    reconciler::Key,
    watches::{Read, Store, WatchSpec, Watches},
};
use kube_fenced_election::clock::SystemClock;

/// A pod as the answer to a write has it.
fn pod(name: &str, uid: &str, version: &str) -> Pod {
    let meta = json!({"namespace": "ns", "name": name, "uid": uid, "resourceVersion": version});
    serde_json::from_value(json!({ "metadata": meta })).unwrap()
}

/// Of a store that shows one pod, named like its uid.
async fn own(shown: &str) -> OwnObjects<Pod> {
    OwnObjects::new(store(&ScriptedApi::new(), shown).await)
}

async fn store(api: &ScriptedApi, shown: &str) -> Store<Pod> {
    api.put("/api/v1/pods", json!({"metadata": {"namespace": "ns", "name": shown, "uid": shown}}));
    let metrics = RuntimeMetrics::register(&Registry::new()).unwrap();
    let store = Watches::new(api.client(), Arc::new(SystemClock), metrics, true).store(WatchSpec::all());
    store.synced(Duration::from_mins(2)).await.unwrap();
    store
}

fn version(own: &OwnObjects<Pod>, name: &str) -> Option<String> {
    own.get(&Key::new("ns", name))?.metadata.resource_version.clone()
}

#[tokio::test(start_paused = true)]
async fn an_own_write_counts_until_the_store_shows_it_or_another_object() {
    let own = own("a").await;
    let shown = version(&own, "a");
    own.wrote(pod("a", "a", "9"));
    assert_eq!(version(&own, "a").as_deref(), Some("9"));
    assert_eq!(own.list_in("ns")[0].metadata.resource_version.as_deref(), Some("9"));
    own.wrote(pod("a", "of-a-predecessor", "9"));
    assert_eq!(version(&own, "a"), shown);
    own.wrote(pod("b", "b", "9"));
    assert_eq!(version(&own, "b"), None, "it is gone");
}

#[tokio::test(start_paused = true)]
async fn writes_that_nobody_asks_for_again_do_not_pile_up() {
    let own = own("a").await;
    let shown = version(&own, "a");
    own.wrote(pod("a", "a", "9"));
    for n in 1..WRITES.get() {
        own.wrote(pod(&format!("other-{n}"), "other", "9"));
    }
    assert_eq!(version(&own, "a").as_deref(), Some("9"));
    own.wrote(pod("one-more", "other", "9"));
    assert_eq!(version(&own, "a"), shown);
}

#[tokio::test(start_paused = true)]
async fn own_writes_from_before_the_server_went_back_to_an_earlier_state_do_not_count() {
    let api = ScriptedApi::new();
    let store = store(&api, "a").await;
    let own = OwnObjects::new(store.clone());
    let shown = version(&own, "a");
    own.wrote(pod("a", "a", "9"));
    api.put("/api/v1/pods", json!({"metadata": {"namespace": "ns", "name": "undone"}}));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(version(&own, "a").as_deref(), Some("9"));
    api.restore(&shown.clone().unwrap());
    catch_up(&Read::required(&store)).await;
    assert_eq!(version(&own, "a"), shown);
    own.wrote(pod("a", "a", "9"));
    assert_eq!(version(&own, "a").as_deref(), Some("9"), "a later one counts");
}

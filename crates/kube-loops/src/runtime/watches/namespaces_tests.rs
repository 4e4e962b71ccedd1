// SPDX-License-Identifier: Apache-2.0
//! Stores of a process that watches some namespaces only.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use parking_lot::Mutex;
use prometheus::Registry;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Change, Index, Read, Store, Subscription, WatchSpec, Watches};
use crate::{
    k8s::selector::Selector,
    runtime::{catch_up::catch_up, controller::RunError, metrics::RuntimeMetrics},
    testkit::scripted::{Ask, Fault, ScriptedApi},
};
use kube_fenced_election::clock::SystemClock;

const EVERYWHERE: &str = "/api/v1/pods";
const IN_A: &str = "/api/v1/namespaces/a/pods";
const IN_B: &str = "/api/v1/namespaces/b/pods";
const MINUTES: Duration = Duration::from_mins(2);
const BY_NAME: Index<Pod> = Index::new("name", |pod| vec![pod.name_any().into()]);

fn watches(api: &ScriptedApi) -> Watches {
    let metrics = RuntimeMetrics::register(&Registry::new()).unwrap();
    let watches = Watches::new(api.client(), Arc::new(SystemClock), metrics, true);
    watches.in_namespaces(&["b", "a"].map(str::to_owned).into())
}

fn pods() -> WatchSpec<Pod> {
    WatchSpec::all().indexed(BY_NAME).indexed(Index::label("app"))
}

fn pod(namespace: &str, name: &str) -> Value {
    json!({
        "metadata": { "namespace": namespace, "name": name, "uid": name, "labels": { "app": "x" } },
        "spec": { "containers": [] },
    })
}

/// An API server with a pod in each of two namespaces, and the store of both.
async fn two_pods() -> (ScriptedApi, Store<Pod>) {
    let api = ScriptedApi::new();
    api.put(IN_A, pod("a", "one"));
    api.put(IN_B, pod("b", "one"));
    let store = watches(&api).store(pods());
    store.synced(MINUTES).await.unwrap();
    (api, store)
}

fn keys(store: &Store<Pod>) -> Vec<String> {
    store.keys().iter().map(|key| format!("{}/{}", key.namespace, key.name)).collect()
}

/// Changes as `namespace/name` with `+` or `-` before it.
fn record(store: &Store<Pod>) -> (Arc<Mutex<Vec<String>>>, Subscription) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let to = Arc::clone(&log);
    let subscription = store.subscribe(move |change: Change<Pod>| {
        let key = change.key();
        let sign = if change.new.is_some() { '+' } else { '-' };
        to.lock().push(format!("{sign}{}/{}", key.namespace, key.name));
    });
    (log, subscription)
}

#[tokio::test(start_paused = true)]
async fn store_shows_the_watched_namespaces_and_nothing_else_is_asked_for() {
    let (api, store) = two_pods().await;
    api.put(EVERYWHERE, pod("c", "one"));
    api.put(IN_A, pod("a", "two"));
    sleep(MINUTES).await;
    assert_eq!(keys(&store), ["a/one", "a/two", "b/one"]);
    assert_eq!(
        (store.len(), store.list().len(), store.list_where(|pod| pod.name_any() == "one").len()),
        (3, 3, 2)
    );
    assert_eq!((store.list_in("a").len(), store.list_in("b").len(), store.list_in("c").len()), (2, 1, 0));
    assert_eq!(
        (store.by_index(&BY_NAME, "one").len(), store.by_index_in("b", &BY_NAME, "one").len()),
        (2, 1)
    );
    let all = Selector::parse("app=x").unwrap();
    assert_eq!((store.select("a", &all).len(), store.select("c", &all).len()), (2, 0));
    assert!(
        store.get("b", "one").is_some() && store.get("b", "two").is_none() && store.get("c", "one").is_none()
    );
    assert!(store.is_served());
    let paths: Vec<_> = api.asked().into_iter().map(|asked| asked.path).collect();
    assert!(paths.iter().all(|path| path == IN_A || path == IN_B), "{paths:?}");
}

#[tokio::test(start_paused = true)]
async fn kinds_without_namespaces_and_single_namespaces_are_watched_as_ever() {
    let api = ScriptedApi::new();
    let (nodes, in_c) = ("/api/v1/nodes", "/api/v1/namespaces/c/pods");
    api.put(nodes, json!({ "metadata": { "name": "n" } }));
    for (path, namespace) in [(IN_A, "a"), (IN_B, "b"), (in_c, "c")] {
        api.put(path, pod(namespace, "one"));
    }
    let watches = watches(&api);
    let (of_nodes, one) =
        (watches.store(WatchSpec::<Node>::all()), watches.store(WatchSpec::in_namespace("c")));
    let also = watches.store(WatchSpec::<Pod>::all().also_in("c"));
    of_nodes.synced(MINUTES).await.unwrap();
    one.synced(MINUTES).await.unwrap();
    also.synced(MINUTES).await.unwrap();
    assert_eq!(of_nodes.len(), 1);
    assert_eq!(
        (keys(&one), keys(&also)),
        (vec!["c/one".to_owned()], ["a/one", "b/one", "c/one"].map(str::to_owned).into())
    );
    assert_eq!(api.count(Ask::StreamingList, in_c), 1, "one watch, shared by both");
}

#[tokio::test(start_paused = true)]
async fn store_is_synced_when_all_its_namespaces_are() {
    let api = ScriptedApi::new();
    api.put(IN_A, pod("a", "one"));
    api.serve(IN_B);
    for ask in [Ask::StreamingList, Ask::List] {
        api.fail(ask, IN_B, Fault::Status(403));
    }
    let store = watches(&api).store(pods());
    let RunError::CacheSync { cause, .. } = store.synced(MINUTES).await.unwrap_err() else {
        panic!("no cause")
    };
    assert!(cause.contains("scripted failure 403"), "{cause}");
    assert!(!store.has_synced() && store.failing_since().is_some());
    assert_eq!(keys(&store), ["a/one"], "what may be seen is seen");
    api.heal();
    store.synced(MINUTES).await.unwrap();
    assert!(store.has_synced() && store.failing_since().is_none());
}

#[tokio::test(start_paused = true)]
async fn relist_of_one_namespace_leaves_the_others_alone() {
    let (api, store) = two_pods().await;
    let (log, _subscription) = record(&store);
    api.hold_watches(IN_A, true);
    api.put(IN_A, pod("a", "two"));
    api.delete(IN_A, "a", "one");
    api.compact(IN_A);
    api.cut_watches(IN_A);
    api.hold_watches(IN_A, false);
    sleep(MINUTES).await;
    assert_eq!(*log.lock(), ["+a/two", "-a/one"]);
    assert_eq!(keys(&store), ["a/two", "b/one"]);
    assert_eq!((api.count(Ask::StreamingList, IN_A), api.count(Ask::StreamingList, IN_B)), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn watch_that_fails_in_one_namespace_is_told_and_the_others_go_on() {
    let (api, store) = two_pods().await;
    let reads = Read::required(&store);
    api.fail(Ask::Watch, IN_B, Fault::Status(500));
    api.cut_watches(IN_B);
    api.put(IN_A, pod("a", "two"));
    sleep(MINUTES).await;
    assert!(store.failing_since().is_some());
    let failing: Vec<_> = reads.iter().map(|read| read.store.failing_since().is_some()).collect();
    assert_eq!(failing, [false, true], "each namespace is judged for itself");
    assert_eq!(keys(&store), ["a/one", "a/two", "b/one"]);
    assert!(store.has_synced());
}

#[tokio::test(start_paused = true)]
async fn catching_up_looks_at_each_namespace() {
    let (api, store) = two_pods().await;
    api.hold_watches(IN_B, true);
    api.put(IN_B, pod("b", "two"));
    api.delete(IN_B, "b", "one");
    catch_up(&Read::required(&store)).await;
    assert_eq!(keys(&store), ["a/one", "b/two"]);
}

#[tokio::test(start_paused = true)]
async fn ended_subscription_hears_of_no_namespace() {
    let (api, store) = two_pods().await;
    let (log, subscription) = record(&store);
    api.put(IN_A, pod("a", "two"));
    api.put(IN_B, pod("b", "two"));
    sleep(Duration::from_millis(1)).await;
    drop(subscription);
    api.put(IN_A, pod("a", "three"));
    api.put(IN_B, pod("b", "three"));
    sleep(Duration::from_millis(1)).await;
    assert_eq!(keys(&store).len(), 6);
    let mut heard = log.lock().clone();
    heard.sort();
    assert_eq!(heard, ["+a/two", "+b/two"]);
}

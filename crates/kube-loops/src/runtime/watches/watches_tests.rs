// SPDX-License-Identifier: Apache-2.0
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::core::{ApiResource, object::Object};
use parking_lot::Mutex;
use prometheus::Registry;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::testkit::scripted::{Ask, Fault, ScriptedApi};

use super::{
    super::{controller::RunError, metrics::RuntimeMetrics},
    Change, Index, Store, Stored, WatchSpec, Watches,
    interner::Interner,
};
use kube_fenced_election::clock::SystemClock;

const PODS: &str = "/api/v1/pods";
const MAPS: &str = "/api/v1/configmaps";
const MINUTES: Duration = Duration::from_mins(2);

fn watches(api: &ScriptedApi, warm: bool) -> Watches {
    let metrics = RuntimeMetrics::register(&Registry::new()).unwrap();
    Watches::new(api.client(), Arc::new(SystemClock), metrics, warm)
}

fn pod(name: &str) -> Value {
    json!({ "metadata": { "namespace": "ns", "name": name, "uid": name, "managedFields": [{ "manager": "x" }] },
        "spec": { "containers": [] } })
}

fn bad_pod(name: &str) -> Value {
    json!({ "metadata": { "namespace": "ns", "name": name, "uid": name }, "spec": { "containers": "none" } })
}

fn names<S: Stored>(store: &Store<S>) -> Vec<String> {
    store.list().iter().map(|object| object.name().to_owned()).collect()
}

/// Changes as `name+`, `name~`, `name-`.
fn record<S: Stored>(store: &Store<S>) -> (Arc<Mutex<Vec<String>>>, super::Subscription) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let to = Arc::clone(&log);
    let subscription = store.subscribe(move |change: Change<S>| {
        let sign = match (&change.old, &change.new) {
            (None, _) => "+",
            (Some(_), Some(_)) => "~",
            (Some(_), None) => "-",
        };
        to.lock().push(format!("{}{sign}", change.key().name));
    });
    (log, subscription)
}

/// An API server with one pod, and a store that has it.
async fn one_pod() -> (ScriptedApi, Store<Pod>) {
    let api = ScriptedApi::new();
    api.put(PODS, pod("a"));
    let store = watches(&api, true).store(WatchSpec::<Pod>::all());
    store.synced(MINUTES).await.unwrap();
    (api, store)
}

async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_fills_from_a_consistent_streaming_list_and_follows_the_watch() {
    let api = ScriptedApi::new();
    api.put(PODS, pod("a"));
    let store = watches(&api, true).store(WatchSpec::<Pod>::all());
    assert!(!store.has_synced());
    store.synced(MINUTES).await.unwrap();
    assert!(store.is_served());
    assert_eq!(names(&store), ["a"]);
    assert!(store.get("ns", "a").unwrap().metadata.managed_fields.is_none());
    let (log, _subscription) = record(&store);
    api.put(PODS, pod("b"));
    api.put(PODS, pod("a"));
    api.delete(PODS, "ns", "b");
    settle().await;
    assert_eq!(*log.lock(), ["b+", "a~", "b-"]);
    let asked = &api.asked()[0];
    assert_eq!(asked.ask, Ask::StreamingList);
    assert!(!asked.query.contains("resourceVersion=0"), "any cache may answer version 0: {}", asked.query);
}

#[tokio::test(start_paused = true)]
async fn one_watch_serves_all_who_ask_for_the_same_objects() {
    let api = ScriptedApi::new();
    api.put(PODS, pod("a"));
    api.put(MAPS, pod("a"));
    let watches = watches(&api, true);
    let (one, two) = (watches.store(WatchSpec::<Pod>::all()), watches.store(WatchSpec::<Pod>::all()));
    let maps = watches.store(WatchSpec::<ConfigMap>::all());
    let labelled = watches.store(WatchSpec::<Pod>::all().labels("app=x"));
    for result in [one.synced(MINUTES).await, two.synced(MINUTES).await, maps.synced(MINUTES).await] {
        result.unwrap();
    }
    labelled.synced(MINUTES).await.unwrap();
    assert_eq!(api.count(Ask::StreamingList, PODS), 2, "all pods once, labelled ones once");
    assert_eq!(api.count(Ask::StreamingList, MAPS), 1);
}

#[tokio::test(start_paused = true)]
async fn one_watch_has_the_indexes_of_all_who_ask_for_it() {
    let (names, apps) =
        (Index::<Pod>::new("name", |pod| vec![pod.name().into()]), Index::<Pod>::label("app"));
    let api = ScriptedApi::new();
    api.put(PODS, pod("a"));
    let watches = watches(&api, true);
    let by_name = watches.store(WatchSpec::<Pod>::all().indexed(names));
    by_name.synced(MINUTES).await.unwrap();
    let mut labelled = pod("b");
    labelled["metadata"]["labels"] = json!({"app": "x"});
    api.put(PODS, labelled);
    settle().await;
    // The second asks when there is something to find already.
    let by_label = watches.store(WatchSpec::<Pod>::all().indexed(apps).indexed(names));
    let found = |store: &Store<Pod>, index, key| store.by_index_in("ns", index, key).len();
    for store in [&by_name, &by_label] {
        assert_eq!(
            (found(store, &names, "a"), found(store, &names, "b"), found(store, &apps, "x")),
            (1, 1, 1)
        );
    }
    api.delete(PODS, "ns", "b");
    settle().await;
    assert_eq!((found(&by_name, &names, "b"), found(&by_name, &apps, "x")), (0, 0));
    assert_eq!(api.count(Ask::StreamingList, PODS), 1);
}

#[derive(Debug, Clone, Deserialize, Serialize)]
struct Spec {
    replicas: i32,
}

#[tokio::test(start_paused = true)]
async fn one_rust_type_may_stand_for_several_kinds() {
    type Scalable = Object<Spec, Value>;
    let api = ScriptedApi::new();
    let path = |kind: &str| format!("/apis/x.io/v1/{kind}s");
    let resource = |kind: &str| ApiResource {
        group: "x.io".to_owned(),
        version: "v1".to_owned(),
        api_version: "x.io/v1".to_owned(),
        kind: kind.to_owned(),
        plural: format!("{kind}s"),
    };
    for (kind, replicas) in [("fleet", 3), ("set", 5)] {
        let object =
            json!({ "metadata": { "namespace": "ns", "name": kind }, "spec": { "replicas": replicas } });
        api.put(&path(kind), object);
    }
    let watches = watches(&api, true);
    let fleets = watches.store(WatchSpec::<Scalable>::all_of(resource("fleet")));
    let sets = watches.store(WatchSpec::<Scalable>::all_of(resource("set")));
    fleets.synced(MINUTES).await.unwrap();
    sets.synced(MINUTES).await.unwrap();
    assert_eq!((names(&fleets), names(&sets)), (vec!["fleet".to_owned()], vec!["set".to_owned()]));
    assert_eq!(sets.get("ns", "set").unwrap().spec.replicas, 5);
}

/// What a watch of metadata parses into.
type Dynamic = kube::core::DynamicObject;

fn fleets() -> ApiResource {
    ApiResource {
        group: "x.io".to_owned(),
        version: "v1".to_owned(),
        api_version: "x.io/v1".to_owned(),
        kind: "fleet".to_owned(),
        plural: "fleets".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_metadata_asks_for_nothing_else_in_lists_and_watches() {
    const FLEETS: &str = "/apis/x.io/v1/fleets";
    let api = ScriptedApi::new();
    api.put(FLEETS, json!({ "metadata": { "namespace": "ns", "name": "a" } }));
    let watches = watches(&api, true);
    let store = watches.store(WatchSpec::<Dynamic>::all_of(fleets()).metadata_only());
    store.synced(MINUTES).await.unwrap();
    api.cut_watches(FLEETS);
    api.compact(FLEETS);
    api.put(FLEETS, json!({ "metadata": { "namespace": "ns", "name": "b" } }));
    sleep(MINUTES).await;
    assert_eq!(names(&store), ["a", "b"]);
    let asked = api.asked();
    assert!(asked.len() >= 3, "{asked:?}");
    assert!(asked.iter().all(|it| it.metadata_only), "{asked:?}");
    // Whole objects of the same kind are another watch.
    let whole = watches.store(WatchSpec::<Dynamic>::all_of(fleets()));
    whole.synced(MINUTES).await.unwrap();
    assert!(!api.asked().last().unwrap().metadata_only);
}

#[tokio::test(start_paused = true)]
async fn one_rust_type_may_stand_for_several_kinds_in_one_namespace() {
    const FLEETS: &str = "/apis/x.io/v1/namespaces/ns/fleets";
    let api = ScriptedApi::new();
    api.put(FLEETS, json!({ "metadata": { "namespace": "ns", "name": "a" } }));
    let store = watches(&api, true).store(WatchSpec::<Dynamic>::in_namespace_of(fleets(), "ns"));
    store.synced(MINUTES).await.unwrap();
    assert_eq!(names(&store), ["a"]);
    assert!(api.asked().iter().all(|it| it.path == FLEETS));
}

#[tokio::test(start_paused = true)]
async fn whoever_is_told_that_objects_vanish_can_see_that_their_kind_is_not_served() {
    let (api, store) = one_pod().await;
    let (log, seen) = (Arc::new(Mutex::new(Vec::new())), store.clone());
    let to = Arc::clone(&log);
    let _subscription = store.subscribe(move |change: Change<Pod>| {
        to.lock().push((change.key().name, change.new.is_none(), seen.is_served()));
    });
    api.delete(PODS, "ns", "a");
    settle().await;
    api.put(PODS, pod("b"));
    settle().await;
    api.stop_serving(PODS);
    sleep(MINUTES).await;
    let told = log.lock().clone();
    let want = [("a", true, true), ("b", false, true), ("b", true, false)];
    assert_eq!(told, want.map(|(name, gone, served)| (name.to_owned(), gone, served)));
}

#[tokio::test(start_paused = true)]
async fn a_store_may_keep_less_than_the_wire_brings_and_share_strings() {
    struct Slim {
        name: String,
        namespace: Arc<str>,
        version: String,
    }
    impl Stored for Slim {
        fn namespace(&self) -> &str {
            &self.namespace
        }
        fn name(&self) -> &str {
            &self.name
        }
        fn version(&self) -> &str {
            &self.version
        }
    }
    fn slim(pod: Pod, shared: &Interner) -> Slim {
        Slim {
            name: pod.metadata.name.unwrap_or_default(),
            namespace: shared.share(&pod.metadata.namespace.unwrap_or_default()),
            version: pod.metadata.resource_version.unwrap_or_default(),
        }
    }
    let api = ScriptedApi::new();
    api.put(PODS, pod("a"));
    api.put(PODS, pod("b"));
    let store = watches(&api, true).store(WatchSpec::<Pod>::all().keeping(slim));
    store.synced(MINUTES).await.unwrap();
    let objects = store.list_in("ns");
    assert!(Arc::ptr_eq(&objects[0].namespace, &objects[1].namespace));
}

#[tokio::test(start_paused = true)]
async fn a_malformed_object_among_good_ones_is_skipped_counted_and_reported_once() {
    let api = ScriptedApi::new();
    api.put(PODS, pod("a"));
    api.put(PODS, bad_pod("bad"));
    api.put(PODS, pod("c"));
    let registry = Registry::new();
    let metrics = RuntimeMetrics::register(&registry).unwrap();
    let watches = Watches::new(api.client(), Arc::new(SystemClock), metrics.clone(), true);
    let store = watches.store(WatchSpec::<Pod>::all());
    store.synced(MINUTES).await.unwrap();
    assert_eq!(names(&store), ["a", "c"]);
    let reports = Arc::new(Mutex::new(Vec::new()));
    let to = Arc::clone(&reports);
    let _subscription =
        store.on_malformed(move |bad| to.lock().push(format!("{} {}@{}", bad.kind, bad.name, bad.version)));
    api.put(PODS, bad_pod("a")); // version 4
    api.put(PODS, pod("d"));
    settle().await;
    assert_eq!(names(&store), ["a", "c", "d"], "the last good version of a stays");
    api.cut_watches(PODS);
    api.compact(PODS);
    sleep(MINUTES).await;
    assert_eq!(*reports.lock(), ["Pod bad@2", "Pod a@4"], "a relist is no news");
    assert_eq!(metrics.malformed("pods").get(), 2);
}

#[tokio::test(start_paused = true)]
async fn without_streaming_lists_pages_are_used_from_then_on() {
    let api = ScriptedApi::new();
    for n in 0..1200 {
        api.put(PODS, pod(&format!("pod-{n:04}")));
    }
    api.put(MAPS, pod("a"));
    api.fail(Ask::StreamingList, PODS, Fault::Status(422));
    let watches = watches(&api, true);
    let store = watches.store(WatchSpec::<Pod>::all());
    store.synced(MINUTES).await.unwrap();
    assert_eq!(store.len(), 1200);
    assert_eq!(api.count(Ask::List, PODS), 3, "pages of 500");
    assert!(store.failing_since().is_none(), "that is no failure");
    let maps = watches.store(WatchSpec::<ConfigMap>::all());
    maps.synced(MINUTES).await.unwrap();
    assert_eq!((api.count(Ask::StreamingList, MAPS), api.count(Ask::List, MAPS)), (0, 1));
    api.put(PODS, pod("new"));
    settle().await;
    assert_eq!(store.len(), 1201);
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_that_says_nothing_gives_way_to_pages() {
    let api = ScriptedApi::new();
    api.put(PODS, pod("a"));
    api.fail(Ask::StreamingList, PODS, Fault::Hang);
    let store = watches(&api, true).store(WatchSpec::<Pod>::all());
    store.synced(Duration::from_secs(31)).await.unwrap();
    assert_eq!(names(&store), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_break_differences_are_delivered_deletions_included() {
    let api = ScriptedApi::new();
    for name in ["same", "changed", "gone"] {
        api.put(PODS, pod(name));
    }
    let store = watches(&api, true).store(WatchSpec::<Pod>::all());
    store.synced(MINUTES).await.unwrap();
    let (log, _subscription) = record(&store);
    api.hold_watches(PODS, true);
    api.put(PODS, pod("changed"));
    api.put(PODS, pod("new"));
    api.delete(PODS, "ns", "gone");
    api.compact(PODS);
    api.cut_watches(PODS);
    api.hold_watches(PODS, false);
    sleep(MINUTES).await;
    assert_eq!(*log.lock(), ["changed~", "new+", "gone-"]);
    assert_eq!(names(&store), ["changed", "new", "same"]);
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_that_breaks_half_way_leaves_no_ghosts() {
    let (api, store) = one_pod().await;
    // The watch is told to list anew; that list stops after its first object, which goes meanwhile.
    api.put(PODS, pod("b"));
    settle().await;
    api.hold_watches_after(PODS, 1);
    api.compact(PODS);
    api.cut_watches(PODS);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(api.count(Ask::StreamingList, PODS), 2);
    api.delete(PODS, "ns", "a");
    api.cut_watches(PODS);
    api.hold_watches(PODS, false);
    sleep(MINUTES).await;
    assert_eq!(names(&store), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_not_served_is_waited_for_quietly() {
    let api = ScriptedApi::new();
    let store = watches(&api, true).store(WatchSpec::<Pod>::all());
    settle().await;
    assert!(!store.is_served() && !store.has_synced() && store.failing_since().is_none());
    let error = store.synced(Duration::from_secs(119)).await.unwrap_err();
    assert_eq!(error.to_string(), "could not wait for cache to sync: pods: the kind is not served");
    assert_eq!(api.asked().len(), 4, "every 30 s");
    api.put(PODS, pod("a"));
    store.synced(Duration::from_secs(31)).await.unwrap();
    assert_eq!(names(&store), ["a"]);
    let (log, _subscription) = record(&store);
    api.stop_serving(PODS);
    sleep(Duration::from_secs(40)).await;
    assert!(!store.is_served() && store.is_empty());
    assert_eq!(*log.lock(), ["a-"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_may_not_list_names_kind_and_cause() {
    let api = ScriptedApi::new();
    api.serve(PODS);
    api.fail(Ask::StreamingList, PODS, Fault::Status(403));
    api.fail(Ask::List, PODS, Fault::Status(403));
    let store = watches(&api, true).store(WatchSpec::<Pod>::all());
    let error = store.synced(MINUTES).await.unwrap_err();
    let RunError::CacheSync { kind, cause } = error else { panic!("{error}") };
    assert_eq!(kind, "pods");
    assert!(cause.contains("scripted failure 403"), "{cause}");
    assert!(store.failing_since().is_some());
    api.heal();
    store.synced(Duration::from_mins(1)).await.unwrap();
    assert!(store.failing_since().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_that_is_up_again_is_healthy() {
    let (api, store) = one_pod().await;
    api.fail(Ask::Watch, PODS, Fault::Status(500));
    api.cut_watches(PODS);
    sleep(Duration::from_secs(90)).await;
    let (since, _) = store.failing_since().unwrap();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(store.failing_since().unwrap().0, since, "without a break");
    api.heal();
    sleep(Duration::from_mins(1)).await;
    assert!(store.failing_since().is_none(), "though no event has come");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_refused_on_many_lines_is_up_again_at_its_next_try() {
    let (api, store) = one_pod().await;
    api.fail(Ask::Watch, PODS, Fault::Status(429));
    api.cut_watches(PODS);
    sleep(Duration::from_secs(20)).await;
    let (_, cause) = store.failing_since().unwrap();
    assert!(cause.contains("scripted failure 429"), "{cause}");
    api.heal();
    api.put(PODS, pod("b"));
    sleep(Duration::from_secs(6)).await;
    assert!(store.failing_since().is_none());
    assert_eq!(names(&store), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_cold_watch_ends_with_its_last_handle_and_a_warm_one_does_not() {
    for warm in [false, true] {
        let api = ScriptedApi::new();
        api.put(PODS, pod("a"));
        let watches = watches(&api, warm);
        let store = watches.store(WatchSpec::<Pod>::all());
        let again = store.clone();
        store.synced(MINUTES).await.unwrap();
        drop(store);
        settle().await;
        drop(again);
        settle().await;
        let store = watches.store(WatchSpec::<Pod>::all());
        assert_eq!(store.has_synced(), warm);
        store.synced(MINUTES).await.unwrap();
        assert_eq!(api.count(Ask::StreamingList, PODS), if warm { 1 } else { 2 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_subscription_hears_nothing() {
    let api = ScriptedApi::new();
    api.serve(PODS);
    let store = watches(&api, true).store(WatchSpec::<Pod>::all());
    store.synced(MINUTES).await.unwrap();
    let (log, subscription) = record(&store);
    api.put(PODS, pod("a"));
    settle().await;
    drop(subscription);
    api.put(PODS, pod("b"));
    settle().await;
    assert_eq!(*log.lock(), ["a+"]);
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_panics_takes_nobody_with_it() {
    let api = ScriptedApi::new();
    api.serve(PODS);
    let store = watches(&api, true).store(WatchSpec::<Pod>::all());
    store.synced(MINUTES).await.unwrap();
    let _panics = store.subscribe(|_| panic!("scripted panic"));
    let (log, _subscription) = record(&store);
    api.put(PODS, pod("a"));
    api.put(PODS, pod("b"));
    settle().await;
    assert_eq!(*log.lock(), ["a+", "b+"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_panics_is_a_failing_watch_and_starts_again() {
    static PANICS: AtomicBool = AtomicBool::new(true);
    fn keep(pod: Pod, _: &Interner) -> Pod {
        assert!(!PANICS.load(Ordering::SeqCst), "scripted panic");
        pod
    }
    let api = ScriptedApi::new();
    api.put(PODS, pod("a"));
    let store = watches(&api, true).store(WatchSpec::<Pod>::all().keeping(keep));
    let error = store.synced(Duration::from_secs(5)).await.unwrap_err();
    assert!(error.to_string().ends_with("panic: scripted panic [recovered]"), "{error}");
    PANICS.store(false, Ordering::SeqCst);
    store.synced(MINUTES).await.unwrap();
    assert!(store.failing_since().is_none());
}

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// A measurement, not a check of every run: the allocator decides. Run alone.
#[tokio::test]
#[ignore = "measures memory, run it alone"]
async fn ten_thousand_pods_fit_in_twenty_five_megabytes() {
    /// What loops may read of a pod, with everything shared that repeats.
    struct Lean {
        namespace: Arc<str>,
        name: Box<str>,
        version: Box<str>,
        _uid: Box<str>,
        _owner: Option<Arc<str>>,
        _labels: Box<[(Arc<str>, Arc<str>)]>,
        _node: Option<Arc<str>>,
    }
    impl Stored for Lean {
        fn namespace(&self) -> &str {
            &self.namespace
        }
        fn name(&self) -> &str {
            &self.name
        }
        fn version(&self) -> &str {
            &self.version
        }
    }
    #[derive(Debug, Clone, Default, Deserialize)]
    struct LeanSpec {
        #[serde(rename = "nodeName")]
        node_name: Option<String>,
    }
    type LeanPod = Object<LeanSpec, serde::de::IgnoredAny>;
    fn keep(pod: LeanPod, shared: &Interner) -> Lean {
        let meta = pod.metadata;
        let labels = meta.labels.unwrap_or_default();
        Lean {
            namespace: shared.share(&meta.namespace.unwrap_or_default()),
            name: meta.name.unwrap_or_default().into(),
            version: meta.resource_version.unwrap_or_default().into(),
            _uid: meta.uid.unwrap_or_default().into(),
            _owner: meta.owner_references.unwrap_or_default().first().map(|owner| shared.share(&owner.uid)),
            _labels: labels.iter().map(|(key, value)| (shared.share(key), shared.share(value))).collect(),
            _node: pod.spec.node_name.map(|node| shared.share(&node)),
        }
    }
    let api = ScriptedApi::new();
    let env: Vec<Value> =
        (0..15).map(|n| json!({ "name": format!("NAME_{n}"), "value": "x".repeat(60) })).collect();
    for n in 0..10_000 {
        let labels: serde_json::Map<String, Value> =
            (0..8).map(|l| (format!("example.com/label-{l}"), json!(format!("value-{l}")))).collect();
        let owner = json!({ "apiVersion": "example.com/v1", "kind": "PodSet", "name": "set-1",
            "uid": "00000000-0000-0000-0000-000000000000", "controller": true });
        api.put(
            PODS,
            json!({ "metadata": { "namespace": "ns", "name": format!("pod-{n:05}"), "labels": labels,
                    "uid": format!("00000000-0000-0000-0000-{n:012}"), "ownerReferences": [owner] },
                "spec": { "nodeName": format!("node-{}", n % 100), "containers": [{ "name": "c", "env": env }] },
                "status": { "phase": "Running", "podIP": "10.244.1.1" } }),
        );
    }
    let resource = ApiResource::erase::<Pod>(&());
    let before = resident();
    let store = watches(&api, true).store(WatchSpec::<LeanPod>::all_of(resource).keeping(keep));
    store.synced(MINUTES).await.unwrap();
    let grown = resident().saturating_sub(before) / 1_000_000;
    assert_eq!(store.len(), 10_000);
    assert!(grown <= 25, "{grown} MB");
}

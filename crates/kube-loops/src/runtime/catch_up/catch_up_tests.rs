// SPDX-License-Identifier: Apache-2.0
use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use prometheus::Registry;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::testkit::scripted::{Ask, Asked, Fault, ScriptedApi};

use super::{
    super::{
        metrics::RuntimeMetrics,
        watches::{Read, Store, WatchSpec, Watches},
    },
    catch_up,
};
use kube_fenced_election::clock::{Clock, SystemClock};

const PODS: &str = "/api/v1/pods";
const MINUTES: Duration = Duration::from_mins(2);

fn pod(name: &str) -> Value {
    json!({ "metadata": { "namespace": "ns", "name": name, "uid": name }, "spec": { "containers": [] } })
}

async fn store(api: &ScriptedApi) -> Store<Pod> {
    let metrics = RuntimeMetrics::register(&Registry::new()).unwrap();
    let watches = Watches::new(api.client(), Arc::new(SystemClock), metrics, true);
    let store = watches.store(WatchSpec::<Pod>::all());
    store.synced(MINUTES).await.unwrap();
    store
}

fn one(store: &Store<Pod>) -> Vec<Read> {
    Read::required(store)
}

fn names(store: &Store<Pod>) -> Vec<String> {
    store.keys().into_iter().map(|key| key.name).collect()
}

fn lists(api: &ScriptedApi) -> (Vec<Asked>, Vec<Asked>) {
    api.asked().into_iter().filter(|asked| asked.ask == Ask::List).partition(|asked| asked.metadata_only)
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_up_to_date_costs_one_list_of_metadata() {
    let api = ScriptedApi::new();
    (0..600).for_each(|n| drop(api.put(PODS, pod(&format!("pod-{n}")))));
    let store = store(&api).await;
    let start = SystemClock.instant();
    catch_up(&one(&store)).await;
    assert_eq!(SystemClock.instant(), start, "nothing to wait for");
    let (metadata, full) = lists(&api);
    assert_eq!((metadata.len(), full.len()), (2, 0), "two pages");
    assert!(metadata.iter().all(|asked| !asked.query.contains("resourceVersion")), "consistent");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_lags_a_little_is_waited_for() {
    let api = ScriptedApi::new();
    api.put(PODS, pod("a"));
    let store = store(&api).await;
    api.hold_watches(PODS, true);
    api.put(PODS, pod("created-by-the-predecessor"));
    api.delete(PODS, "ns", "a");
    let release = async {
        sleep(Duration::from_millis(300)).await;
        assert_eq!(names(&store), ["a"]);
        api.hold_watches(PODS, false);
    };
    let stores = one(&store);
    tokio::join!(catch_up(&stores), release);
    assert_eq!(names(&store), ["created-by-the-predecessor"]);
    assert_eq!(lists(&api).1.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_that_was_asked_for_before_a_full_list_takes_nothing_back() {
    let api = ScriptedApi::new();
    api.put(PODS, pod("a"));
    let store = store(&api).await;
    // The watch lists anew, and what it asked for does not come.
    api.hold_watches(PODS, true);
    api.compact(PODS);
    api.cut_watches(PODS);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(api.count(Ask::StreamingList, PODS), 2);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let _subscription = store.subscribe(move |change| {
        log.lock().push(format!("{}{}", change.key().name, if change.new.is_some() { '+' } else { '-' }));
    });
    api.put(PODS, pod("created-by-the-predecessor"));
    catch_up(&one(&store)).await;
    assert_eq!(names(&store), ["a", "created-by-the-predecessor"]);
    api.hold_watches(PODS, false);
    sleep(MINUTES).await;
    assert_eq!(names(&store), ["a", "created-by-the-predecessor"]);
    assert_eq!(*seen.lock(), ["created-by-the-predecessor+"], "nobody was told that it had gone");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_held_back_is_overtaken_by_a_full_list() {
    let api = ScriptedApi::new();
    for name in ["same", "changed", "deleted"] {
        api.put(PODS, pod(name));
    }
    let store = store(&api).await;
    api.hold_watches(PODS, true);
    api.put(PODS, pod("changed"));
    let changed = api.put(PODS, pod("changed"));
    api.put(PODS, pod("new"));
    api.delete(PODS, "ns", "deleted");
    let start = SystemClock.instant();
    catch_up(&one(&store)).await;
    assert_eq!(SystemClock.instant() - start, Duration::from_millis(500));
    assert_eq!(names(&store), ["changed", "new", "same"]);
    assert_eq!(store.get("ns", "changed").unwrap().metadata.resource_version.as_ref(), Some(&changed));
    // What the watch delivers later takes nothing back.
    api.hold_watches(PODS, false);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(names(&store), ["changed", "new", "same"]);
    api.put(PODS, pod("later"));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(names(&store), ["changed", "later", "new", "same"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_forgets_what_a_server_that_went_back_to_an_earlier_state_does_not_have() {
    let api = ScriptedApi::new();
    api.put(PODS, pod("changed-later"));
    let backup = api.put(PODS, pod("deleted-later"));
    let store = store(&api).await;
    let changed = api.put(PODS, pod("changed-later"));
    api.delete(PODS, "ns", "deleted-later");
    api.put(PODS, pod("created-later"));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(names(&store), ["changed-later", "created-later"]);
    api.restore(&backup);
    catch_up(&one(&store)).await;
    assert_eq!(names(&store), ["changed-later", "deleted-later"]);
    let version = |name| store.get("ns", name).unwrap().metadata.resource_version.clone().unwrap();
    assert_ne!(version("changed-later"), changed);
    assert_eq!(version("deleted-later"), backup);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_broke_does_not_go_on_at_a_server_that_went_back_to_an_earlier_state() {
    for restored in [false, true] {
        let api = ScriptedApi::new();
        api.put(PODS, pod("a"));
        let store = store(&api).await;
        let backup = api.put(PODS, pod("b"));
        sleep(Duration::from_millis(1)).await;
        api.put(PODS, pod("c"));
        api.put(PODS, pod("b"));
        sleep(Duration::from_millis(1)).await;
        let lists = api.count(Ask::StreamingList, PODS);
        api.fail(Ask::Watch, PODS, Fault::Status(500));
        api.cut_watches(PODS);
        sleep(Duration::from_secs(10)).await;
        if restored {
            api.restore(&backup);
        }
        api.heal();
        sleep(Duration::from_mins(2)).await;
        assert_eq!(store.times_rewritten(), u64::from(restored), "it is counted once");
        assert_eq!(
            api.count(Ask::StreamingList, PODS) - lists,
            usize::from(restored),
            "it goes on where it can"
        );
        assert_eq!(names(&store), if restored { vec!["a", "b"] } else { vec!["a", "b", "c"] });
        assert_eq!(store.get("ns", "b").unwrap().metadata.resource_version == Some(backup), restored);
        api.put(PODS, pod("d"));
        sleep(Duration::from_millis(1)).await;
        assert!(names(&store).contains(&"d".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_that_came_after_the_list_does_not_count_as_surplus() {
    let api = ScriptedApi::new();
    api.put(PODS, pod("a"));
    let store = store(&api).await;
    api.fail(Ask::List, PODS, Fault::Hang);
    let stores = one(&store);
    let meanwhile = async {
        sleep(Duration::from_secs(1)).await;
        api.put(PODS, pod("b"));
        sleep(Duration::from_secs(1)).await;
        api.heal();
    };
    tokio::join!(catch_up(&stores), meanwhile);
    assert_eq!(lists(&api).1.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn controllers_that_win_at_the_same_time_share_a_list_and_later_ones_do_not_join_it() {
    let api = ScriptedApi::new();
    api.put(PODS, pod("a"));
    let store = store(&api).await;
    api.fail(Ask::List, PODS, Fault::Hang);
    let stores = one(&store);
    let later = async {
        sleep(Duration::from_secs(1)).await;
        let heal = async {
            sleep(Duration::from_secs(1)).await;
            api.heal();
        };
        tokio::join!(catch_up(&stores), catch_up(&stores), heal);
    };
    tokio::join!(catch_up(&stores), catch_up(&stores), catch_up(&stores), later);
    assert_eq!(lists(&api).0.len(), 2, "one for the first three, one for the two that came during it");
}

#[tokio::test(start_paused = true)]
async fn a_failing_list_is_tried_again() {
    let api = ScriptedApi::new();
    api.put(PODS, pod("a"));
    let store = store(&api).await;
    api.fail(Ask::List, PODS, Fault::Status(500));
    let stores = one(&store);
    timeout(Duration::from_secs(10), catch_up(&stores)).await.unwrap_err();
    api.heal();
    timeout(Duration::from_secs(2), catch_up(&stores)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_optional_kind_that_is_not_served_has_nothing_to_catch_up_with() {
    let api = ScriptedApi::new();
    let metrics = RuntimeMetrics::register(&Registry::new()).unwrap();
    let watches = Watches::new(api.client(), Arc::new(SystemClock), metrics, true);
    let stores = Read::optional(&watches.store(WatchSpec::<Pod>::all()));
    timeout(Duration::from_millis(1), catch_up(&stores)).await.unwrap();
}

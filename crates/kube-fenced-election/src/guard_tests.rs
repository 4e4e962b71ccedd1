// SPDX-License-Identifier: Apache-2.0
use std::{sync::Arc, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use kube_leader_election::{LeaseLock, LeaseLockParams, LeaseLockResult};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{
    clock::{Clock, SystemClock},
    testkit::lease_store::{Fault, LeaseStore, Link},
};

use crate::testkit::names;

use super::{
    decision::Timing,
    guard::{Exchange, Guard, GuardedLease, as_seen_from_here},
    lock::{AttemptEnd, LeaseClients, Lock, ReleaseEnd},
    observation::{LeaseSnapshot, Observation, Source},
};

fn lock(client: &kube::Client, identity: &str) -> Lock {
    let guarded = GuardedLease {
        labels: names().lease_labels("kv-cache-controller"),
        annotations: [("holder", Some(identity.to_owned())), ("scope", None)]
            .map(|(key, value)| (format!("leaders.example.com/{key}"), value))
            .into(),
        ..GuardedLease::new(&names(), "ns", "x", identity, &Timing::default())
    };
    let clients = LeaseClients { first: client.clone(), second: client.clone() };
    Lock::new(&clients, guarded, Duration::from_secs(15), Arc::new(SystemClock))
}

fn expired() -> Value {
    json!({ "metadata": { "labels": { "mine": "kept" }, "annotations": { "note": "kept",
        "leaders.example.com/scope": "removed" } }, "spec": {
        "holderIdentity": "dead", "leaseDurationSeconds": 15, "leaseTransitions": 4, "strategy": "kept",
        "renewTime": "2020-01-01T00:00:00.000000Z", "acquireTime": "2020-01-01T00:00:00.000000Z",
    } })
}

async fn observed(lock: &Lock) -> Observation {
    let (snapshot, at) = lock.read().await.unwrap();
    let mut seen = Observation::new(at);
    seen.observe(snapshot, Source::Answer, at);
    seen
}

/// A store with this Lease, the lock with which `a` contends for it, and what `a` has observed.
async fn contender(lease: &Value) -> (LeaseStore, Lock, Observation) {
    let store = LeaseStore::new();
    store.edit("x", lease);
    let (client, _) = store.client("a");
    let lock = lock(&client, "a");
    let seen = observed(&lock).await;
    (store, lock, seen)
}

async fn wait() {
    tokio::time::sleep(Duration::from_secs(16)).await;
}

// scenario: leader-election 8
#[tokio::test(start_paused = true)]
async fn library_alone_lets_two_candidates_acquire_one_expired_lease_and_the_guard_does_not() {
    let store = LeaseStore::new();
    store.edit("x", &expired());
    let latency = Duration::from_millis(50);
    let unguarded = |identity: &str| {
        let (client, link) = store.client(identity);
        link.requests(Fault::Slow(latency));
        let lease_ttl = Duration::from_secs(15);
        LeaseLock::new(
            client,
            "ns",
            LeaseLockParams { lease_name: "x".into(), holder_id: identity.into(), lease_ttl },
        )
    };
    let (a, b) = (unguarded("a"), unguarded("b"));
    let (a, b) = tokio::join!(a.try_acquire_or_renew(), b.try_acquire_or_renew());
    let acquired =
        [a.unwrap(), b.unwrap()].iter().filter(|end| matches!(end, LeaseLockResult::Acquired(_))).count();
    assert_eq!(acquired, 2, "if this fails the library has become safe: does it still need the guard?");

    for round in 0..500 {
        let store = LeaseStore::new();
        store.edit("x", &expired());
        let guarded = |identity: &str, latency: u64| {
            let (client, link) = store.client(identity);
            link.requests(Fault::Slow(Duration::from_millis(latency)));
            lock(&client, identity)
        };
        let (a, b) = (guarded("a", 50), guarded("b", 40 + round % 20));
        let (seen_a, seen_b) = (observed(&a).await, observed(&b).await);
        wait().await;
        let read = round % 2 == 0;
        let (a, b) = tokio::join!(a.try_acquire(seen_a, read), b.try_acquire(seen_b, read));
        let won =
            [&a.end, &b.end].into_iter().filter(|end| matches!(end, AttemptEnd::Holding { .. })).count();
        let lost = [&a.end, &b.end].into_iter().filter(|end| matches!(end, AttemptEnd::LostRace)).count();
        assert_eq!((won, lost), (1, 1), "round {round}: {a:?} {b:?}");
        assert_eq!(store.get("x").unwrap()["spec"]["leaseTransitions"], 5);
    }
}

#[tokio::test(start_paused = true)]
async fn lease_is_created_with_labels_and_kept_up_without_losing_anything() {
    let store = LeaseStore::new();
    let (client, _) = store.client("a");
    let lock = lock(&client, "a");
    let ended = lock.try_acquire(observed(&lock).await, false).await;
    assert!(matches!(ended.end, AttemptEnd::Holding { .. }));
    let made = store.get("x").unwrap();
    assert_eq!(made["metadata"]["labels"]["app.kubernetes.io/component"], "kv-cache-controller");
    assert_eq!(made["metadata"]["labels"]["app.kubernetes.io/name"], "example");
    assert_eq!(made["metadata"]["labels"]["app.kubernetes.io/managed-by"], "example-controller-manager");
    assert_eq!(made["spec"]["leaseTransitions"], 0);
    assert_eq!(made["spec"]["leaseDurationSeconds"], 15);

    store.edit("x", &json!({ "metadata": { "labels": { "mine": "kept" } }, "spec": { "strategy": "kept" } }));
    let ended = lock.try_acquire(observed(&lock).await, false).await;
    assert!(matches!(ended.end, AttemptEnd::Holding { .. }));
    let renewed = store.get("x").unwrap();
    assert_eq!(renewed["metadata"]["labels"]["mine"], "kept");
    assert_eq!(renewed["spec"]["strategy"], "kept");
    assert_eq!(renewed["spec"]["acquireTime"], made["spec"]["acquireTime"]);
    assert_ne!(renewed["spec"]["renewTime"], made["spec"]["renewTime"]);
}

#[tokio::test(start_paused = true)]
async fn take_over_keeps_foreign_labels_and_counts_the_transition() {
    let (store, lock, seen) = contender(&expired()).await;
    wait().await;
    assert!(matches!(lock.try_acquire(seen, false).await.end, AttemptEnd::Holding { .. }));
    let taken = store.get("x").unwrap();
    assert_eq!(taken["metadata"]["labels"]["mine"], "kept");
    let annotations = json!({ "note": "kept", "leaders.example.com/holder": "a" });
    assert_eq!(taken["metadata"]["annotations"], annotations);
    assert_eq!(taken["spec"]["leaseTransitions"], 5);
    assert_eq!(taken["spec"]["holderIdentity"], "a");
}

#[tokio::test(start_paused = true)]
async fn long_dead_lease_by_its_timestamps_is_not_taken_before_it_was_observed_for_its_duration() {
    let (store, lock, seen) = contender(&expired()).await;
    for read in [false, true] {
        assert_eq!(lock.try_acquire(seen.clone(), read).await.end, AttemptEnd::HeldByOther);
    }
    assert_eq!(store.holder("x"), "dead");
}

#[tokio::test(start_paused = true)]
async fn renewal_with_an_outdated_version_changes_nothing() {
    let store = LeaseStore::new();
    let (client, _) = store.client("a");
    let lock = lock(&client, "a");
    lock.try_acquire(observed(&lock).await, false).await;
    let seen = observed(&lock).await;
    store.edit("x", &json!({ "spec": { "holderIdentity": "b" } }));
    assert_eq!(lock.try_acquire(seen.clone(), false).await.end, AttemptEnd::LostRace);
    assert_eq!(lock.release(seen, false).await.end, ReleaseEnd::LostRace);
    assert_eq!(store.holder("x"), "b");
}

#[tokio::test(start_paused = true)]
async fn release_empties_the_holder_and_keeps_the_transitions() {
    let (store, lock, seen) = contender(&expired()).await;
    wait().await;
    lock.try_acquire(seen, false).await;
    let ended = lock.release(observed(&lock).await, false).await;
    assert_eq!(ended.end, ReleaseEnd::Released);
    let spec = &store.get("x").unwrap()["spec"];
    assert_eq!(spec["holderIdentity"], "");
    assert_eq!(spec["leaseDurationSeconds"], 1);
    assert_eq!(spec["leaseTransitions"], 5);
    assert_eq!(spec["acquireTime"], spec["renewTime"]);
    assert_eq!(lock.release(observed(&lock).await, true).await.end, ReleaseEnd::NotOurs);
}

#[tokio::test(start_paused = true)]
async fn garbage_is_repaired_when_the_lease_is_taken() {
    let biggest = i32::MAX;
    for spec in [
        Value::Null,
        json!({}),
        json!({ "holderIdentity": null, "renewTime": null, "leaseTransitions": null }),
        json!({ "holderIdentity": "dead" }),
        json!({ "holderIdentity": "dead", "leaseDurationSeconds": -5, "leaseTransitions": -5 }),
        json!({ "holderIdentity": "dead", "leaseDurationSeconds": 1, "leaseTransitions": biggest }),
    ] {
        let (store, lock, seen) = contender(&json!({ "spec": spec })).await;
        wait().await;
        let ended = lock.try_acquire(seen, false).await;
        assert!(matches!(ended.end, AttemptEnd::Holding { .. }), "{spec}: {ended:?}");
        let stored = store.get("x").unwrap();
        assert_eq!(stored["spec"]["leaseDurationSeconds"], 15, "{spec}");
        assert!(stored["spec"]["leaseTransitions"].as_i64().unwrap() >= 0, "{spec}");
        for time in ["acquireTime", "renewTime"] {
            assert!(stored["spec"][time].is_string(), "{spec}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn standby_that_answers_from_its_own_observation_asks_nobody() {
    let (store, lock, seen) = contender(&expired()).await;
    let before = store.served().len();
    assert_eq!(lock.try_acquire(seen, false).await.end, AttemptEnd::HeldByOther);
    assert_eq!(store.served().len(), before);
}

#[test]
fn age_shown_to_the_library_is_the_age_by_the_monotonic_clock() {
    let at = SystemClock.instant();
    let wall = SystemClock.now();
    let lease = serde_json::from_value(json!({ "metadata": { "resourceVersion": "1" }, "spec": {
        "holderIdentity": "other", "leaseDurationSeconds": 15, "renewTime": "1999-01-01T00:00:00.000000Z",
    } }));
    let mut seen = Observation::new(at);
    seen.observe(LeaseSnapshot::Present(Box::new(lease.unwrap())), Source::Watch, at);
    let shown = as_seen_from_here(&seen, "me", at + Duration::from_secs(4), wall).unwrap().spec.unwrap();
    assert_eq!(shown.renew_time.unwrap().0, wall - jiff::SignedDuration::from_secs(4));
    assert_eq!(shown.lease_transitions, Some(0));
}

#[tokio::test(start_paused = true)]
async fn nothing_but_the_guarded_lease_passes() {
    let store = LeaseStore::new();
    store.edit("y", &expired());
    let (client, _) = store.client("a");
    let guarded = GuardedLease::new(&names(), "ns", "x", "a", &Timing::default());
    let exchange = Exchange::new(Observation::new(SystemClock.instant()), true);
    let guard = Guard::new(client, Arc::new(guarded), Arc::new(Mutex::new(exchange)), Arc::new(SystemClock));
    let behind = kube::Client::new(guard, "ns");
    let here: Api<Lease> = Api::namespaced(behind.clone(), "ns");
    let elsewhere: Api<Lease> = Api::namespaced(behind, "other");
    assert!(here.get_opt("x").await.unwrap().is_none());
    assert!(here.get("y").await.is_err());
    assert!(here.delete("x", &DeleteParams::default()).await.is_err());
    assert!(here.list(&ListParams::default()).await.is_err());
    assert!(elsewhere.get("x").await.is_err());
    assert_eq!(store.served().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn all_writes_name_one_field_manager_however_long_the_identity() {
    let store = LeaseStore::new();
    let identity = "p".repeat(128);
    let (client, _) = store.client("a");
    let lock = lock(&client, &identity);
    for _ in 0..2 {
        assert!(matches!(
            lock.try_acquire(observed(&lock).await, false).await.end,
            AttemptEnd::Holding { .. }
        ));
    }
    assert_eq!(lock.release(observed(&lock).await, false).await.end, ReleaseEnd::Released);
    let writes: Vec<_> = store.served().into_iter().filter(|served| served.verb != "GET").collect();
    assert_eq!(writes.iter().map(|served| served.verb).collect::<Vec<_>>(), ["POST", "PATCH", "PATCH"]);
    assert!(
        writes.iter().all(|served| served.field_manager.as_deref() == Some("example-controller-manager"))
    );
}

/// A lock with two connections of their own, and what it knows.
async fn two_ways(store: &LeaseStore) -> (Lock, Link, Link, Observation) {
    let ((first, first_link), (second, second_link)) = (store.client("first"), store.client("second"));
    let lock = Lock::new(
        &LeaseClients { first, second },
        GuardedLease::new(&names(), "ns", "x", "a", &Timing::default()),
        Duration::from_secs(15),
        Arc::new(SystemClock),
    );
    assert!(matches!(lock.try_acquire(observed(&lock).await, false).await.end, AttemptEnd::Holding { .. }));
    let seen = observed(&lock).await;
    (lock, first_link, second_link, seen)
}

#[tokio::test(start_paused = true)]
async fn renewal_that_is_not_answered_is_tried_on_another_connection_after_a_fifth_of_the_deadline() {
    let store = LeaseStore::new();
    let (lock, first, _, seen) = two_ways(&store).await;
    first.requests(Fault::Lost);
    let start = SystemClock.instant();
    let ended = lock.try_acquire(seen, false).await;
    assert_eq!(ended.end, AttemptEnd::Holding { sent: start + Duration::from_secs(2) });
    // The connection that answered comes first from now on.
    let again = SystemClock.instant();
    let mut seen = Observation::new(again);
    seen.observe(ended.seen[0].0.clone(), Source::Answer, again);
    assert_eq!(lock.try_acquire(seen, false).await.end, AttemptEnd::Holding { sent: again });
}

#[tokio::test(start_paused = true)]
async fn first_try_that_took_effect_without_an_answer_counts_from_its_own_sending() {
    let store = LeaseStore::new();
    let (lock, first, _, seen) = two_ways(&store).await;
    first.requests(Fault::Unanswered);
    let start = SystemClock.instant();
    let ended = lock.try_acquire(seen, false).await;
    assert_eq!(ended.end, AttemptEnd::Holding { sent: start });
    let writes = store.served().iter().filter(|it| it.verb == "PATCH" && it.code == 200).count();
    assert_eq!(writes, 1, "the second try was refused, and a read showed whose the first one was");
}

#[tokio::test(start_paused = true)]
async fn lease_that_another_took_between_two_tries_is_a_lost_race() {
    let store = LeaseStore::new();
    let (lock, first, _, seen) = two_ways(&store).await;
    first.requests(Fault::Lost);
    store.edit("x", &json!({ "spec": { "holderIdentity": "thief" } }));
    let ended = lock.try_acquire(seen, false).await;
    assert_eq!(ended.end, AttemptEnd::LostRace);
    let shown = ended.seen.last().map(|(snapshot, _)| snapshot.clone());
    let holder = shown.and_then(|snapshot| snapshot.lease()?.spec.as_ref()?.holder_identity.clone());
    assert_eq!(holder.as_deref(), Some("thief"));
}

#[tokio::test(start_paused = true)]
async fn late_answer_of_the_first_try_counts_when_the_second_fails() {
    let store = LeaseStore::new();
    let (lock, first, second, seen) = two_ways(&store).await;
    first.requests(Fault::Slow(Duration::from_secs(3)));
    second.requests(Fault::Refused(503));
    let start = SystemClock.instant();
    let ended = lock.try_acquire(seen, false).await;
    assert_eq!(ended.end, AttemptEnd::Holding { sent: start });
}

// SPDX-License-Identifier: Apache-2.0
//! Whole replicas over a Lease store under paused time.

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    clock::{Clock, SystemClock, Timestamp},
    testkit::lease_store::{Fault, LeaseStore},
};

use crate::testkit::names;

use super::{
    LeaseState, TermEnd,
    harness_tests::{HandleEvent, Replica, Skewed, pass, settings, within},
    presence::presence_name,
};

const ONE: &[(&str, &str)] = &[("kv-cache-controller", "kv")];
const KV: &str = "kv-cache-controller";

async fn leader_and_standby(store: &LeaseStore) -> (Replica, Replica) {
    let a = Replica::start(store, settings("a"), ONE);
    within(1.0, || a.leads(KV)).await;
    let b = Replica::start(store, settings("b"), ONE);
    pass(12.0).await;
    assert!(a.leads(KV) && !b.leads(KV));
    (a, b)
}

fn requests_of(store: &LeaseStore, link: &str) -> usize {
    store.served().iter().filter(|served| &*served.link == link && served.lease == "kv").count()
}

#[tokio::test(start_paused = true)]
async fn first_candidate_leads_at_once_and_renews_three_times_per_duration() {
    let store = LeaseStore::new();
    let a = Replica::start(&store, settings("a"), ONE);
    assert!(within(1.0, || a.leads(KV)).await < 0.1);
    let before = requests_of(&store, "a");
    pass(60.0).await;
    let renewals = requests_of(&store, "a") - before;
    assert!((11..=12).contains(&renewals), "{renewals}");
    assert_eq!(a.status().state, LeaseState::Leading);
    assert!(a.status().valid_for(SystemClock.instant()) > Duration::from_secs(8));
    assert!((a.figure("leading", "kv") - 1.0).abs() < 0.1);
    assert_eq!(a.events(), ["example-system/kv a became leader"]);
}

#[tokio::test(start_paused = true)]
async fn standby_sends_nothing_while_somebody_renews() {
    let store = LeaseStore::new();
    let (_a, _b) = leader_and_standby(&store).await;
    let before = requests_of(&store, "b");
    pass(300.0).await;
    assert_eq!(requests_of(&store, "b"), before);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_doubted_closes_the_fence_until_a_renewal_that_follows_at_once() {
    let store = LeaseStore::new();
    let (a, b) = leader_and_standby(&store).await;
    let told = |seconds: i64| {
        let date = Timestamp::from_second(1_800_000_000 + seconds).unwrap();
        a.clock_check.answered(a.clock_check.sent(), date);
    };
    told(0);
    let before = requests_of(&store, "a");
    told(30);
    assert!(!a.leads(KV), "nothing may be changed");
    assert!(within(1.0, || a.leads(KV)).await < 0.1);
    assert_eq!(requests_of(&store, "a") - before, 1, "one renewal");
    assert_eq!(a.times(&HandleEvent::Lost) + a.times(&HandleEvent::Acquired), 1, "the same term");
    assert!(!b.leads(KV));
    // Renewals that fail keep it closed, and the term ends as ever.
    a.link.requests(Fault::Refused(503));
    told(60);
    pass(9.0).await;
    assert!(!a.leads(KV));
    assert_eq!(a.times(&HandleEvent::Lost), 0);
    within(10.0, || b.leads(KV)).await;
    assert_eq!(a.times(&HandleEvent::Lost), 1);
}

#[tokio::test(start_paused = true)]
async fn release_hands_over_at_once() {
    let store = LeaseStore::new();
    let (a, b) = leader_and_standby(&store).await;
    a.stop().await;
    assert!(within(1.0, || b.leads(KV)).await < 0.1);
    let spec = &store.get("kv").unwrap()["spec"];
    assert_eq!(spec["leaseTransitions"], 1, "a release is no transition, taking a free Lease is one");
}

#[tokio::test(start_paused = true)]
async fn lease_of_a_killed_leader_is_taken_when_it_has_expired() {
    let store = LeaseStore::new();
    let (a, b) = leader_and_standby(&store).await;
    let version = store.get("kv").unwrap()["metadata"]["resourceVersion"].clone();
    store.until("kv", |lease| lease["metadata"]["resourceVersion"] != version).await;
    a.kill();
    let took = within(20.0, || b.leads(KV)).await;
    assert!((14.9..16.0).contains(&took), "{took}");
    assert_eq!(store.get("kv").unwrap()["spec"]["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn wall_clock_that_is_an_hour_off_neither_steals_nor_delays() {
    for skew in [-3600, 3600] {
        let store = LeaseStore::new();
        let clock = Arc::new(Skewed(skew));
        let holder = json!({ "spec": {
            "holderIdentity": "go_1", "leaseDurationSeconds": 15, "leaseTransitions": 1,
            "renewTime": "2026-11-24T00:00:00.000000Z",
        } });
        store.edit("kv", &holder);
        let b = Replica::start_with(&store, settings("b"), ONE, clock);
        for second in 0..30 {
            let renewed = format!("2026-11-24T00:00:00.{second:06}Z");
            store.edit("kv", &json!({ "spec": { "renewTime": renewed } }));
            pass(2.0).await;
            assert!(!b.leads(KV), "skew {skew}");
        }
        let took = within(20.0, || b.leads(KV)).await;
        assert!((12.9..14.0).contains(&took), "{took} with skew {skew}");
    }
}

// scenario: hardening 8
#[tokio::test(start_paused = true)]
async fn tool_that_labels_the_lease_of_a_killed_leader_does_not_keep_it() {
    for every in [0.5, 5.0] {
        let store = LeaseStore::new();
        let (a, b) = leader_and_standby(&store).await;
        let version = store.get("kv").unwrap()["metadata"]["resourceVersion"].clone();
        store.until("kv", |lease| lease["metadata"]["resourceVersion"] != version).await;
        a.kill();
        let start = SystemClock.instant();
        let labelling = async {
            for n in 0.. {
                store.edit("kv", &json!({ "metadata": { "labels": { "n": n.to_string() } } }));
                pass(every).await;
            }
        };
        tokio::select! {
            () = labelling => {}
            _ = within(20.0, || b.leads(KV)) => {}
        }
        let took = (SystemClock.instant() - start).as_secs_f64();
        assert!((15.0..16.0).contains(&took), "{took}, labelled each {every} s");
    }
}

#[tokio::test(start_paused = true)]
async fn foreign_holder_ends_the_term_at_once_and_the_controller_resumes_after_it() {
    let store = LeaseStore::new();
    let a = Replica::start(&store, settings("a"), ONE);
    within(1.0, || a.leads(KV)).await;
    pass(7.0).await;
    store.edit(
        "kv",
        &json!({ "spec": { "holderIdentity": "thief", "renewTime": "2026-11-24T00:00:00.000000Z" } }),
    );
    assert!(within(3.0, || !a.leads(KV)).await < 0.1);
    pass(1.0).await;
    assert_eq!(a.status().state, LeaseState::Standby);
    assert_eq!(a.status().holder.as_deref(), Some("thief"));
    assert!(a.events().contains(&"example-system/kv a stopped leading".to_owned()));
    assert!(within(20.0, || a.leads(KV)).await > 13.0);
    assert_eq!(a.times(&HandleEvent::Acquired), 2);
}

#[tokio::test(start_paused = true)]
async fn leader_without_api_server_stops_by_the_renew_deadline_and_comes_back() {
    for fault in [Fault::Refused(503), Fault::Lost] {
        let store = LeaseStore::new();
        let a = Replica::start(&store, settings("a"), ONE);
        within(1.0, || a.leads(KV)).await;
        pass(12.0).await;
        a.link.requests(fault.clone());
        let stopped = within(12.0, || !a.leads(KV)).await;
        assert!(stopped <= 10.0, "{stopped} with {fault:?}");
        pass(60.0).await;
        assert!(!a.leads(KV));
        assert!(a.status().last_error.is_some());
        a.link.requests(Fault::None);
        within(10.0, || a.leads(KV)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn slow_or_briefly_hanging_api_server_does_not_cost_the_lease() {
    let store = LeaseStore::new();
    // Its claim on the Lease of an older manager has to last, too.
    let legacy_lease = Some("example-controller-manager".to_owned());
    let a = Replica::start(&store, super::Settings { legacy_lease, ..settings("a") }, ONE);
    within(1.0, || a.leads(KV)).await;
    a.link.requests(Fault::Slow(Duration::from_secs(2)));
    pass(120.0).await;
    assert_eq!(a.times(&HandleEvent::Lost), 0);
    a.link.requests(Fault::None);
    for start in 0..10 {
        pass(20.0 + f64::from(start) / 2.0).await;
        a.link.requests(Fault::Hang);
        pass(4.8).await;
        a.link.requests(Fault::None);
    }
    pass(20.0).await;
    assert_eq!(a.times(&HandleEvent::Lost), 0);
    assert!(a.leads(KV));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, failure_persistence: None, ..ProptestConfig::default() })]

    // scenario: hardening 3
    #[test]
    fn no_single_lost_or_hanging_renewal_costs_a_lease(
        phase in 0.0_f64..15.0,
        latency in 0_u64..1000,
        fault in prop_oneof![
            Just(Fault::Lost),
            Just(Fault::Unanswered),
            Just(Fault::Refused(503)),
            Just(Fault::Refused(409)),
            (0_u64..20_000).prop_map(|ms| Fault::Slow(Duration::from_millis(ms))),
        ],
        stalled in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let store = LeaseStore::new();
            let (a, b) = leader_and_standby(&store).await;
            a.link.requests(Fault::Slow(Duration::from_millis(latency)));
            a.link.stall_watches(stalled);
            pass(phase).await;
            a.link.patches("kv", 1, fault.clone());
            for _ in 0..400 {
                pass(0.1).await;
                prop_assert!(a.leads(KV) && !b.leads(KV), "{:?}", a.status());
            }
            prop_assert_eq!(a.times(&HandleEvent::Lost), 0);
            Ok(())
        })?;
    }
}

#[tokio::test(start_paused = true)]
async fn unanswered_renewals_are_not_counted_as_renewals() {
    let store = LeaseStore::new();
    let (a, b) = leader_and_standby(&store).await;
    a.link.requests(Fault::Unanswered);
    within(12.0, || !a.leads(KV)).await;
    a.link.requests(Fault::Lost);
    within(40.0, || b.leads(KV)).await;
    assert!(!a.leads(KV));
}

#[tokio::test(start_paused = true)]
async fn edit_that_makes_a_renewal_fail_with_409_is_survived_by_reading_again() {
    let store = LeaseStore::new();
    let a = Replica::start(&store, settings("a"), ONE);
    within(1.0, || a.leads(KV)).await;
    a.link.stall_watches(true);
    store.edit("kv", &json!({ "metadata": { "labels": { "touched": "yes" } } }));
    pass(30.0).await;
    assert!(a.leads(KV));
    assert_eq!(a.times(&HandleEvent::Lost), 0);
    assert!(a.figure("slow path", "kv") >= 1.0);
}

#[tokio::test(start_paused = true)]
async fn deleted_lease_is_made_again_and_the_controller_never_stops() {
    let store = LeaseStore::new();
    let (a, b) = leader_and_standby(&store).await;
    store.delete("kv");
    assert!(within(5.0, || store.holder("kv") == "a").await < 0.1);
    for _ in 0..300 {
        pass(0.1).await;
        assert!(a.leads(KV) && !b.leads(KV));
    }
    assert_eq!(a.times(&HandleEvent::Lost), 0);
}

#[tokio::test(start_paused = true)]
async fn deleted_lease_of_a_leader_that_is_cut_off_is_not_taken_while_it_may_work() {
    let store = LeaseStore::new();
    let (a, b) = leader_and_standby(&store).await;
    a.link.requests(Fault::Lost);
    a.link.stall_watches(true);
    store.delete("kv");
    while a.leads(KV) {
        assert!(!b.leads(KV), "two leaders");
        pass(0.05).await;
    }
    within(20.0, || b.leads(KV)).await;
}

#[tokio::test(start_paused = true)]
async fn garbage_is_repaired_by_the_leader_and_waited_out_without_one() {
    let edits = [
        json!({ "spec": null }),
        json!({ "spec": { "holderIdentity": null, "renewTime": null, "acquireTime": null } }),
        json!({ "spec": { "leaseDurationSeconds": i32::MAX } }),
        json!({ "spec": { "leaseTransitions": null, "leaseDurationSeconds": null } }),
        json!({ "spec": { "leaseTransitions": i32::MAX, "holderIdentity": "" } }),
    ];
    for edit in edits {
        let store = LeaseStore::new();
        let (a, b) = leader_and_standby(&store).await;
        store.edit("kv", &edit);
        for _ in 0..100 {
            pass(0.05).await;
            assert!(a.leads(KV) && !b.leads(KV), "{edit}");
        }
        assert_eq!(store.get("kv").unwrap()["spec"]["leaseDurationSeconds"], 15, "{edit}");
        assert_eq!(store.holder("kv"), "a", "{edit}");
        a.kill();
        store.edit("kv", &edit);
        within(16.0, || b.leads(KV)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn release_by_somebody_else_ends_the_term() {
    let store = LeaseStore::new();
    let a = Replica::start(&store, settings("a"), ONE);
    within(1.0, || a.leads(KV)).await;
    store.edit("kv", &json!({ "spec": { "holderIdentity": "", "leaseDurationSeconds": 1 } }));
    pass(1.0).await;
    assert_eq!(a.times(&HandleEvent::Lost), 1);
    within(5.0, || a.leads(KV)).await;
}

#[tokio::test(start_paused = true)]
async fn lease_of_another_controller_is_a_conflict_until_its_holder_is_gone() {
    let store = LeaseStore::new();
    let a = Replica::start(&store, settings("a"), &[("model-route-controller", "kv")]);
    within(1.0, || a.leads("model-route-controller")).await;
    let b = Replica::start(&store, settings("b"), &[(KV, "kv"), ("stormservice-controller", "storm")]);
    within(1.0, || b.leads("stormservice-controller")).await;
    pass(120.0).await;
    assert_eq!(b.status().state, LeaseState::Conflict);
    assert!(!b.leads(KV));
    assert!((b.figure("conflict", "kv") - 1.0).abs() < 0.1);
    let conflicts: Vec<_> = b.events().into_iter().filter(|line| line.contains("conflict")).collect();
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    assert!(conflicts[0].contains("model-route-controller") && conflicts[0].contains(KV));
    a.stop().await;
    within(1.0, || b.leads(KV)).await;
    assert_eq!(store.get("kv").unwrap()["metadata"]["labels"]["app.kubernetes.io/component"], KV);
    assert!(b.figure("conflict", "kv").abs() < 0.1);
}

#[tokio::test(start_paused = true)]
async fn lost_watch_is_replaced_by_reading() {
    let store = LeaseStore::new();
    let (a, b) = leader_and_standby(&store).await;
    b.link.stall_watches(true);
    a.kill();
    within(16.0, || b.leads(KV)).await;
}

#[tokio::test(start_paused = true)]
async fn failed_controller_stands_again_after_its_back_off() {
    let store = LeaseStore::new();
    let a = Replica::start(&store, settings("a"), ONE);
    within(1.0, || a.leads(KV)).await;
    a.leave(KV, TermEnd::Failed { back_off: Duration::from_secs(8) });
    pass(0.9).await;
    assert_eq!(store.holder("kv"), "a", "requests that were cut off may be on their way");
    pass(0.2).await;
    assert_eq!(store.holder("kv"), "");
    assert_eq!(a.status().state, LeaseState::Paused);
    let took = within(20.0, || a.leads(KV)).await;
    assert!((6.4..7.4).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn controller_that_cannot_work_gives_way_to_others_and_keeps_trying_alone() {
    let store = LeaseStore::new();
    let (a, b) = leader_and_standby(&store).await;
    let gave_way = || TermEnd::GaveWay { reason: "NoPassFinished", pause: Duration::from_mins(1) };
    a.leave(KV, gave_way());
    within(1.5, || b.leads(KV)).await;
    assert!((a.figure("gave way", "kv") - 1.0).abs() < 0.1);
    a.stop().await;
    pass(40.0).await;
    b.leave(KV, gave_way());
    pass(0.05).await;
    assert!(within(5.0, || b.leads(KV)).await < 1.5, "nobody else is there");
}

#[tokio::test(start_paused = true)]
async fn controller_that_could_not_work_leaves_its_lease_to_others_until_it_can() {
    let store = LeaseStore::new();
    let (a, b) = leader_and_standby(&store).await;
    b.candidacies[KV].set_eligible(false);
    pass(11.0).await;
    assert_eq!(b.status().state, LeaseState::Paused);
    let wanted = |identity: &str| {
        let presence = store.get(&presence_name(&names(), identity)).unwrap();
        presence["metadata"]["annotations"]["leaders.example.com/contends-for"].clone()
    };
    assert_eq!((wanted("a"), wanted("b")), (json!("kv"), json!("")), "nobody offers it a lease");
    a.leave(KV, TermEnd::Failed { back_off: Duration::from_secs(8) });
    pass(8.0).await;
    assert_eq!(store.holder("kv"), "", "a stands back");
    within(3.0, || a.leads(KV)).await;
    b.candidacies[KV].set_eligible(true);
    pass(0.1).await;
    assert_eq!(b.status().state, LeaseState::Standby);
    b.candidacies[KV].set_eligible(false);
    a.kill();
    let took = within(40.0, || b.leads(KV)).await;
    assert!((25.0..31.0).contains(&took), "nobody else took it for a lease duration: {took}");
}

/// Overrunning a hand-over is an ordinary loss.
// scenario: hardening 4
#[tokio::test(start_paused = true)]
async fn controller_that_overruns_its_hand_over_loses_its_lease_and_stands_again() {
    let store = LeaseStore::new();
    let names = [("a", "la"), ("b", "lb"), ("c", "lc"), ("d", "ld")];
    let spread = |identity| super::Settings { spread: true, ..settings(identity) };
    let first = Replica::start_ignoring_requests_to_leave(&store, spread("first"), &names);
    within(3.0, || first.led() == 4).await;
    let second = Replica::start(&store, spread("second"), &names);
    let moved = within(60.0, || second.led() == 1).await;
    assert!(moved >= 36.0, "{moved}: seen for 30 s, then 5 s to finish and 1 s for requests on their way");
    within(60.0, || second.led() == 2).await;
    assert_eq!(first.led(), 2);
    let states: Vec<_> = first.statuses.iter().map(|it| it.borrow().state).collect();
    assert_eq!(states.iter().filter(|it| **it == LeaseState::Standby).count(), 2, "{states:?}");
    second.kill();
    within(20.0, || first.led() == 4).await;
}

#[tokio::test(start_paused = true)]
async fn lease_of_unfinished_work_is_left_to_expire() {
    let store = LeaseStore::new();
    let (a, b) = leader_and_standby(&store).await;
    a.leave(KV, TermEnd::Unfinished);
    pass(0.1).await;
    assert!(!a.leads(KV));
    assert_eq!(store.holder("kv"), "a");
    assert!(within(16.0, || b.leads(KV)).await > 9.0);
    assert_eq!(a.status().state, LeaseState::Stopped);
}

#[tokio::test(start_paused = true)]
async fn lease_is_kept_on_shutdown_when_told_so() {
    let store = LeaseStore::new();
    let kept = super::Settings { release_on_cancel: false, ..settings("a") };
    let a = Replica::start(&store, kept, ONE);
    within(1.0, || a.leads(KV)).await;
    a.stop().await;
    assert_eq!(store.holder("kv"), "a");
}

#[tokio::test(start_paused = true)]
async fn lease_released_by_client_go_is_taken_at_once_and_a_held_one_after_it_has_expired() {
    let store = LeaseStore::new();
    store.edit(
        "kv",
        &json!({ "spec": {
        "holderIdentity": "", "leaseDurationSeconds": 1, "leaseTransitions": 3,
        "acquireTime": "2036-11-24T00:00:00.000000Z", "renewTime": "2036-11-24T00:00:00.000000Z",
    } }),
    );
    let a = Replica::start(&store, settings("a"), ONE);
    assert!(within(1.0, || a.leads(KV)).await < 0.1);
    assert_eq!(store.get("kv").unwrap()["spec"]["leaseTransitions"], 4);
}

#[tokio::test(start_paused = true)]
async fn status_shows_progress_while_nothing_happens() {
    let store = LeaseStore::new();
    let (_a, b) = leader_and_standby(&store).await;
    let before = b.status().last_progress;
    pass(11.0).await;
    assert!(b.status().last_progress - before >= Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn missing_permission_is_shown_and_retried() {
    let store = LeaseStore::new();
    let (_, a) = (0, Replica::start(&store, settings("a"), ONE));
    a.link.requests(Fault::Refused(403));
    a.link.break_watches();
    pass(30.0).await;
    assert!(!a.leads(KV));
    assert!(a.status().last_error.is_some());
    a.link.requests(Fault::None);
    within(5.0, || a.leads(KV)).await;
}

#[tokio::test(start_paused = true)]
async fn seven_controllers_spread_over_three_replicas() {
    let store = LeaseStore::new();
    let elections: Vec<(String, String)> = (0..7).map(|n| (format!("c{n}"), format!("l{n}"))).collect();
    let pairs: Vec<(&str, &str)> =
        elections.iter().map(|(name, lease)| (name.as_str(), lease.as_str())).collect();
    let legacy = || Some("example-controller-manager".to_owned());
    let spread = |identity| super::Settings { spread: true, legacy_lease: legacy(), ..settings(identity) };
    let a = Replica::start(&store, spread("a"), &pairs);
    pass(0.5).await;
    let b = Replica::start(&store, spread("b"), &pairs);
    pass(0.9).await;
    let c = Replica::start(&store, spread("c"), &pairs);
    pass(90.0).await;
    let mut led = [a.led(), b.led(), c.led()];
    led.sort_unstable();
    assert_eq!(led, [2, 2, 3]);

    let before = store.served().len();
    pass(60.0).await;
    let writes = store.served().len() - before;
    assert!(writes <= 150, "{writes} requests a minute");
    assert_eq!([a.led(), b.led(), c.led()].iter().sum::<usize>(), 7);

    a.stop().await;
    within(2.0, || b.led() + c.led() == 7).await;
    assert!(store.get(&presence_name(&names(), "a")).is_none());
    let gone = presence_name(&names(), "b");
    b.kill();
    within(20.0, || c.led() == 7).await;
    pass(60.0).await;
    assert!(store.get(&gone).is_none(), "buried by whoever is left");
}

#[tokio::test(start_paused = true)]
async fn lone_replica_leads_everything_within_seconds() {
    let store = LeaseStore::new();
    let pairs = [("a", "la"), ("b", "lb"), ("c", "lc"), ("d", "ld"), ("e", "le"), ("f", "lf"), ("g", "lg")];
    let a = Replica::start(&store, super::Settings { spread: true, ..settings("x") }, &pairs);
    within(1.6, || a.led() == 7).await;
    for (_, lease) in pairs {
        assert_eq!(store.get(lease).unwrap_or(Value::Null)["spec"]["leaseTransitions"], 0);
    }
}

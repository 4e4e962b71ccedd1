// SPDX-License-Identifier: Apache-2.0
use std::{sync::Arc, time::Duration};

use serde_json::{Map, json};

use crate::{
    clock::{Clock, SystemClock},
    testkit::lease_store::{Fault, LeaseStore, Served},
};

use super::{
    Settings, TermEnd,
    harness_tests::{HandleEvent, Replica, Skewed, pass, settings, within},
};

const TWO: &[(&str, &str)] = &[("kv-cache-controller", "kv"), ("stormservice-controller", "storm")];
const OLD: &str = "example-controller-manager";
/// The identity as which all managers of ours hold it.
const GROUP: &str = "example-controller-manager-group";

fn guarded(identity: &str) -> Settings {
    Settings { legacy_lease: Some(OLD.to_owned()), ..settings(identity) }
}

/// A Go manager renews its Lease.
fn renew(store: &LeaseStore, round: u32) {
    let now = SystemClock.now();
    store.edit(
        OLD,
        &json!({ "spec": {
            "holderIdentity": "old-pod_x", "leaseDurationSeconds": 15, "leaseTransitions": 1,
            "renewTime": format!("{:.6}", now + Duration::from_micros(round.into())),
        } }),
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_starts_while_an_older_manager_renews_and_everything_after_it_stopped() {
    let store = LeaseStore::new();
    renew(&store, 0);
    let a = Replica::start(&store, guarded("a"), TWO);
    for round in 1..40 {
        pass(2.0).await;
        renew(&store, round);
        assert_eq!(a.led(), 0);
        assert!(store.get("kv").is_none());
    }
    assert!((a.figure("waiting for legacy", OLD) - 1.0).abs() < 0.1);
    let took = within(17.0, || a.led() == 2).await;
    assert!(took < 17.0, "{took}");
    assert_eq!(store.holder(OLD), GROUP);
    assert!(a.figure("waiting for legacy", OLD).abs() < 0.1);
}

// scenario: hardening 1
#[tokio::test(start_paused = true)]
async fn wall_clock_that_is_an_hour_off_takes_no_lease_from_an_older_manager() {
    for skew in [-3600, 3600] {
        let store = LeaseStore::new();
        renew(&store, 0);
        let a = Replica::start_with(&store, guarded("a"), TWO, Arc::new(Skewed(skew)));
        for round in 1..30 {
            pass(2.0).await;
            renew(&store, round);
            assert_eq!(a.led(), 0);
        }
        pass(10.0).await;
        assert_eq!(a.led(), 0, "a pause of two thirds of its duration");
        renew(&store, 30);
        let took = within(20.0, || a.led() == 2).await;
        assert!((15.0..17.0).contains(&took), "{took} after the last renewal, clock {skew} s off");
    }
}

// scenario: manager-and-deployment 21
#[tokio::test(start_paused = true)]
async fn stale_lease_is_waited_for_as_long_as_it_lasts_and_empty_or_missing_ones_are_not() {
    let stale = |seconds: u32| {
        json!({ "spec": {
        "holderIdentity": "old-pod_x", "leaseDurationSeconds": seconds,
        "renewTime": "2020-01-01T00:00:00.000000Z",
    } })
    };
    for (lease, least, most) in [
        (None, 0.0, 1.0),
        (Some(json!({ "spec": { "holderIdentity": "" } })), 0.0, 1.0),
        (Some(json!({})), 0.0, 1.0),
        (Some(stale(15)), 15.0, 17.0),
        (Some(stale(2)), 4.0, 6.0),
    ] {
        let store = LeaseStore::new();
        if let Some(lease) = &lease {
            store.edit(OLD, lease);
        }
        let a = Replica::start(&store, guarded("a"), TWO);
        let took = within(20.0, || a.led() == 2).await;
        assert!((least..most).contains(&took), "{took} with {lease:?}");
        within(1.0, || store.holder(OLD) == GROUP).await;
    }
}

#[tokio::test(start_paused = true)]
async fn older_manager_that_comes_back_waits_until_the_last_of_us_has_left() {
    let store = LeaseStore::new();
    let a = Replica::start(&store, guarded("a"), TWO);
    within(2.0, || a.led() == 2).await;
    let b = Replica::start(&store, guarded("b"), &[("model-claim-controller", "claim")]);
    within(2.0, || b.led() == 1).await;
    let version = store.get(OLD).unwrap()["metadata"]["resourceVersion"].clone();
    pass(60.0).await;
    assert_ne!(store.get(OLD).unwrap()["metadata"]["resourceVersion"], version, "renewed");
    a.stop().await;
    assert_eq!(store.holder(OLD), GROUP, "b still leads");
    pass(60.0).await;
    assert_eq!(store.holder(OLD), GROUP);
    b.stop().await;
    assert_eq!(store.holder(OLD), "");
    assert_eq!(store.get(OLD).unwrap()["spec"]["leaseDurationSeconds"], 1);
}

#[tokio::test(start_paused = true)]
async fn two_that_leave_at_once_release_the_lease() {
    let store = LeaseStore::new();
    let a = Replica::start(&store, guarded("a"), TWO);
    let b = Replica::start(&store, guarded("b"), &[("model-claim-controller", "claim")]);
    within(2.0, || a.led() == 2 && b.led() == 1).await;
    pass(5.0).await;
    tokio::join!(a.stop(), b.stop());
    assert_eq!(store.holder(OLD), "");
}

#[tokio::test(start_paused = true)]
async fn signature_of_a_killed_manager_does_not_keep_the_lease() {
    let store = LeaseStore::new();
    let a = Replica::start(&store, guarded("a"), TWO);
    let b = Replica::start(&store, guarded("b"), &[("model-claim-controller", "claim")]);
    within(2.0, || a.led() == 2 && b.led() == 1).await;
    pass(30.0).await;
    b.kill();
    pass(90.0).await;
    a.stop().await;
    assert_eq!(store.holder(OLD), "");
}

#[tokio::test(start_paused = true)]
async fn older_manager_that_takes_its_lease_stops_all_controllers() {
    let store = LeaseStore::new();
    let a = Replica::start(&store, guarded("a"), TWO);
    within(2.0, || a.led() == 2).await;
    pass(20.0).await;
    renew(&store, 1);
    within(12.0, || store.holder("kv").is_empty() && store.holder("storm").is_empty()).await;
    assert_eq!(a.led(), 0);
    assert_eq!(a.times(&HandleEvent::StepDownRequested("LegacyLease")), 2);
    assert_eq!(store.holder(OLD), "old-pod_x");
}

#[tokio::test(start_paused = true)]
async fn forbidden_lease_of_an_older_manager_keeps_the_guard_closed() {
    let store = LeaseStore::new();
    let a = Replica::start(&store, guarded("a"), TWO);
    a.link.patches(OLD, usize::MAX, Fault::Refused(403));
    a.link.requests(Fault::Refused(403));
    pass(60.0).await;
    assert_eq!(a.led(), 0);
    a.link.patches(OLD, 0, Fault::None);
    a.link.requests(Fault::None);
    within(8.0, || a.led() == 2).await;
}

/// A manager that leads two controllers and has held the Lease as the group for a while.
async fn settled(store: &LeaseStore) -> Replica {
    let a = Replica::start(store, guarded("a"), TWO);
    within(2.0, || a.led() == 2).await;
    pass(11.0).await;
    a
}

// scenario: hardening 2
#[tokio::test(start_paused = true)]
async fn one_lost_renewal_of_the_groups_claim_costs_nothing_at_any_phase() {
    for (phase, fault) in (0..60).zip([Fault::Lost, Fault::Unanswered, Fault::Refused(503)].iter().cycle()) {
        let store = LeaseStore::new();
        let a = settled(&store).await;
        pass(f64::from(phase) / 10.0).await;
        a.link.patches(OLD, 1, fault.clone());
        let mut version = store.get(OLD).unwrap()["metadata"]["resourceVersion"].clone();
        let mut unchanged = 0.0;
        for _ in 0..400 {
            pass(0.1).await;
            let now = store.get(OLD).unwrap()["metadata"]["resourceVersion"].clone();
            unchanged = if now == version { unchanged + 0.1 } else { 0.0 };
            version = now;
            assert!(unchanged < 14.0, "a Go manager would take it, phase {phase} with {fault:?}");
            assert_eq!(a.led(), 2, "phase {phase} with {fault:?}");
        }
        assert_eq!((store.holder(OLD).as_str(), a.times(&HandleEvent::Lost)), (GROUP, 0));
    }
}

// scenario: hardening 2
#[tokio::test(start_paused = true)]
async fn nothing_is_written_after_the_groups_claim_ended_though_own_leases_are_renewed() {
    for fault in [Fault::Lost, Fault::Refused(503), Fault::Refused(403), Fault::Refused(409)] {
        let store = LeaseStore::new();
        let a = settled(&store).await;
        let version = store.get(OLD).unwrap()["metadata"]["resourceVersion"].clone();
        store.until(OLD, |lease| lease["metadata"]["resourceVersion"] != version).await;
        // The last renewal of the group's claim was just now.
        a.link.patches(OLD, usize::MAX, fault.clone());
        let stopped = within(15.0, || a.led() == 0).await;
        assert!((13.0..14.1).contains(&stopped), "{stopped} with {fault:?}");
        for _ in 0..300 {
            pass(0.1).await;
            assert_eq!(a.led(), 0, "{fault:?}");
        }
        a.link.patches(OLD, 0, Fault::None);
        within(5.0, || a.led() == 2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn managers_with_other_durations_keep_the_one_that_is_stored() {
    let store = LeaseStore::new();
    let long = Settings {
        lease_duration: Duration::from_secs(60),
        renew_deadline: Duration::from_secs(40),
        ..guarded("long")
    };
    for (first, second, stored) in [(guarded("a"), long.clone(), 15), (long, guarded("a"), 60)] {
        store.delete(OLD);
        let first = Replica::start(&store, first, TWO);
        within(2.0, || first.led() == 2).await;
        let second = Replica::start(&store, second, &[("model-claim-controller", "claim")]);
        within(2.0, || second.led() == 1).await;
        for _ in 0..900 {
            pass(0.1).await;
            assert_eq!(store.get(OLD).unwrap()["spec"]["leaseDurationSeconds"], stored);
            assert_eq!((first.led(), second.led()), (2, 1));
        }
        tokio::join!(first.stop(), second.stop());
    }
}

#[tokio::test(start_paused = true)]
async fn claim_of_the_group_is_renewed_every_third_of_the_stored_duration() {
    let long = || Settings { lease_duration: Duration::from_secs(60), ..guarded("long") };
    for (first, second, third) in [(guarded("a"), long(), 5.0), (long(), guarded("a"), 20.0)] {
        let store = LeaseStore::new();
        let first = Replica::start(&store, first, TWO);
        within(2.0, || first.led() == 2).await;
        let second = Replica::start(&store, second, &[("model-claim-controller", "claim")]);
        within(2.0, || second.led() == 1).await;
        pass(2.0 * third).await;
        let before = store.served().len();
        pass(12.0 * third).await;
        let served = store.served();
        for link in ["a", "long"] {
            let by = |it: &&Served| &*it.link == link && it.lease == OLD && it.verb == "PATCH";
            let writes = served[before..].iter().filter(by).count();
            assert!((11..=13).contains(&writes), "{writes} writes by {link} in twelve thirds of {third} s");
        }
        tokio::join!(first.stop(), second.stop());
    }
}

/// A standby renews no claim, so it needs one of its own before it may lead; whoever leaves must see it there.
#[tokio::test(start_paused = true)]
async fn standby_signs_the_groups_claim_before_it_takes_over_and_the_lease_is_never_released_between() {
    for latency in [0, 3, 20, 150] {
        let store = LeaseStore::new();
        let a = settled(&store).await;
        let b = Replica::start(&store, guarded("b"), TWO);
        pass(40.0).await;
        assert_eq!((a.led(), b.led()), (2, 0));
        assert_eq!(store.get(OLD).unwrap()["metadata"]["annotations"].as_object().map(Map::len), Some(1));
        let asked = SystemClock.instant();
        b.link.requests(Fault::Slow(Duration::from_millis(latency)));
        let handed_over = async {
            a.stop().await;
            assert!(within(2.0, || b.led() == 2).await < 1.0);
            pass(60.0).await;
        };
        tokio::select! {
            () = store.until(OLD, |lease| lease["spec"]["holderIdentity"] != GROUP) => {
                panic!("a Go manager could take it, with a latency of {latency} ms");
            }
            () = handed_over => {}
        }
        let writes = store.served();
        let by_b = |it: &&Served| &*it.link == "b" && it.at >= asked && it.verb == "PATCH" && it.code == 200;
        let of_elections = |it: &&Served| [OLD, "kv", "storm"].contains(&it.lease.as_str());
        let first = writes.iter().filter(by_b).find(of_elections).map(|it| it.lease.as_str());
        assert_eq!(first, Some(OLD), "with a latency of {latency} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn manager_that_leads_nothing_any_more_lets_the_lease_go_when_its_claim_has_ended() {
    let store = LeaseStore::new();
    let a = settled(&store).await;
    for (controller, _) in TWO {
        a.candidacies[*controller].withdraw();
        a.leave(controller, TermEnd::Finished);
    }
    let took = within(20.0, || store.holder(OLD).is_empty()).await;
    assert!((13.0..20.0).contains(&took), "{took}");
    for (controller, _) in TWO {
        a.candidacies[*controller].contend();
    }
    within(3.0, || a.led() == 2 && store.holder(OLD) == GROUP).await;
}

#[tokio::test(start_paused = true)]
async fn signature_that_somebody_strikes_off_is_not_fought_about() {
    let store = LeaseStore::new();
    let a = settled(&store).await;
    let key = store.get(OLD).unwrap()["metadata"]["annotations"].as_object().unwrap().keys().next().cloned();
    let key = key.expect("its signature");
    let before = store.served().len();
    for _ in 0..200 {
        store.edit(OLD, &json!({ "metadata": { "annotations": { &key: null } } }));
        pass(0.1).await;
    }
    let writes = store.served()[before..].iter().filter(|it| it.lease == OLD && it.verb == "PATCH").count();
    assert!(writes <= 11, "{writes} writes in 20 s: more than one for each retry period");
    assert_eq!(a.led(), 2);
}

// scenario: hardening 60
#[tokio::test(start_paused = true)]
async fn one_of_ours_on_the_guards_lease_holds_up_its_own_controller_alone_and_both_say_so() {
    for ours_first in [true, false] {
        let store = LeaseStore::new();
        let sits = || Replica::start(&store, settings("sitter"), &[("model-claim-controller", OLD)]);
        let pairs = [
            ("kv-cache-controller", "kv"),
            ("stormservice-controller", "storm"),
            ("model-claim-controller", "claim"),
        ];
        let full = || Replica::start(&store, guarded("full"), &pairs);
        let (sitter, full) = if ours_first {
            let sitter = sits();
            pass(3.0).await;
            (sitter, full())
        } else {
            let full = full();
            pass(3.0).await;
            let sitter = sits();
            // It waits for the group as for any holder, and both say so. Once the group is gone, it is first.
            pass(15.0).await;
            assert_eq!((sitter.led(), full.led()), (0, 3));
            for one in [&sitter, &full] {
                assert!((one.figure("guard conflict", OLD) - 1.0).abs() < 0.1);
            }
            full.kill();
            pass(60.0).await;
            (sitter, Replica::start(&store, guarded("full"), &pairs))
        };
        within(5.0, || full.led() == 2).await;
        pass(60.0).await;
        assert_eq!((sitter.led(), full.led()), (1, 2));
        assert!(!full.leads("model-claim-controller"), "two would work for one controller");
        for one in [&sitter, &full] {
            assert!((one.figure("guard conflict", OLD) - 1.0).abs() < 0.1);
            let handle_events: Vec<_> =
                one.events().into_iter().filter(|it| it.contains("guard conflict")).collect();
            // One for each process that it has to do with.
            assert!(!handle_events.is_empty() && handle_events.len() <= 2, "{handle_events:?}");
            assert!(
                handle_events[0]
                    .contains("--leader-election-id=model-claim-controller=example-model-claim-controller")
            );
        }
        sitter.stop().await;
        within(5.0, || full.led() == 3 && store.holder(OLD) == GROUP).await;
        assert_eq!(full.times(&HandleEvent::Lost), 0, "the others never stopped");
        assert!(full.figure("guard conflict", OLD).abs() < 0.1);
    }
}

// scenario: hardening 60
#[tokio::test(start_paused = true)]
async fn what_one_of_ours_left_on_the_lease_makes_no_go_manager_one_of_ours() {
    let store = LeaseStore::new();
    store.edit(
        OLD,
        &json!({ "metadata": {
            "annotations": { "leaders.example.com/holder": "sitter" },
            "labels": { "app.kubernetes.io/managed-by": "example-controller-manager" },
        } }),
    );
    renew(&store, 0);
    let a = Replica::start(&store, guarded("a"), TWO);
    for round in 1..30 {
        pass(2.0).await;
        renew(&store, round);
        assert_eq!(a.led(), 0);
    }
    // A holder that says that it is ours, and that no member confirms.
    store.edit(OLD, &json!({ "metadata": { "annotations": { "leaders.example.com/holder": "old-pod_x" } } }));
    for round in 30..60 {
        pass(2.0).await;
        renew(&store, round);
        assert_eq!(a.led(), 0);
    }
}

// scenario: hardening 49
#[tokio::test(start_paused = true)]
async fn claim_of_decades_is_told_with_its_end_by_electors_and_by_the_guard() {
    let lease = |holder: &str| {
        json!({ "spec": {
            "holderIdentity": holder, "leaseDurationSeconds": 2_147_483_647,
            "renewTime": "2020-01-01T00:00:00.000000Z",
        } })
    };
    let store = LeaseStore::new();
    store.edit("kv", &lease("pod_y"));
    let a = Replica::start(&store, settings("a"), TWO);
    store.edit(OLD, &lease("old-pod_x"));
    let b = Replica::start(&store, guarded("b"), &[("model-claim-controller", "claim")]);
    pass(60.0).await;
    let told = |one: &Replica, lease: &str, holder: &str| {
        let events: Vec<_> = one.events().into_iter().filter(|it| it.contains("long claim")).collect();
        assert_eq!(events.len(), 1, "{events:?}");
        assert!(events[0].starts_with(&format!("example-system/{lease} long claim: {holder}")), "{events:?}");
        let until = events[0].split(" wait until ").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
        until.parse::<jiff::Timestamp>().unwrap()
    };
    // As long as a claim is respected at most.
    let hour = |until: jiff::Timestamp| until.duration_since(SystemClock.now()).as_secs();
    assert!((3540..=3600).contains(&hour(told(&a, "kv", "pod_y"))));
    assert_eq!(a.status().claimed_until, Some(told(&a, "kv", "pod_y")));
    let shown = told(&b, OLD, "old-pod_x");
    let problem = b.status().guard_error.unwrap();
    assert!(problem.contains(OLD) && problem.contains("old-pod_x"), "{problem}");
    assert!(problem.ends_with(&shown.to_string()), "{problem} and {shown}");
    // Its holder comes back with a duration that is usual.
    store.edit(
        "kv",
        &json!({ "spec": { "leaseDurationSeconds": 15, "renewTime": "2030-01-01T00:00:00.000000Z" } }),
    );
    store.edit(
        OLD,
        &json!({ "spec": { "leaseDurationSeconds": 15, "renewTime": "2030-01-01T00:00:00.000000Z" } }),
    );
    pass(1.0).await;
    assert_eq!((a.status().claimed_until, b.status().guard_error), (None, None));
}

// scenario: hardening 59
#[tokio::test(start_paused = true)]
async fn unusable_guard_is_shown_by_every_election_and_counted_until_it_works() {
    for code in [403, 404] {
        let store = LeaseStore::new();
        let a = Replica::start(&store, guarded("a"), TWO);
        a.link.patches(OLD, usize::MAX, Fault::Refused(code));
        a.link.requests(Fault::Refused(code));
        pass(5.0).await;
        let errors = a.figure("guard errors", OLD);
        assert!(errors >= 1.0, "{errors} with {code}");
        let problem = a.status().guard_error.unwrap();
        assert!(problem.contains(&format!("example-system/{OLD}: ")), "{problem}");
        assert!(problem.ends_with("refused by the test"), "{problem}");
        pass(60.0).await;
        assert_eq!((a.led(), a.status().guard_error.as_ref()), (0, Some(&problem)));
        assert!(a.figure("guard errors", OLD) > errors);
        a.link.patches(OLD, 0, Fault::None);
        a.link.requests(Fault::None);
        within(10.0, || a.led() == 2).await;
        assert_eq!(a.status().guard_error, None);
    }
}

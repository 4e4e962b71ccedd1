// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::{Clock, Instant, SystemClock};

use super::observation::*;

fn start() -> Instant {
    SystemClock.instant()
}

fn after(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn snapshot(version: &str, spec: &Value) -> LeaseSnapshot {
    let lease = json!({ "metadata": { "name": "x", "uid": "u", "resourceVersion": version }, "spec": *spec });
    LeaseSnapshot::Present(Box::new(serde_json::from_value(lease).unwrap()))
}

fn held(version: &str, holder: &str, renewed: u32) -> LeaseSnapshot {
    snapshot(
        version,
        &json!({
            "holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 3,
            "renewTime": format!("2026-11-24T00:00:00.{renewed:06}Z"),
        }),
    )
}

fn seen(sights: &[(u64, LeaseSnapshot)], at: Instant) -> Observation {
    let mut seen = Observation::new(at);
    for (seconds, snapshot) in sights {
        seen.observe(snapshot.clone(), Source::Watch, at + after(*seconds));
    }
    seen
}

#[test]
fn nothing_is_open_before_anything_was_seen() {
    assert!(!Observation::new(start()).is_acquirable_by("me", start() + after(1000)));
}

#[test]
fn claim_lasts_from_its_first_observation() {
    let at = start();
    let seen = seen(&[(0, held("1", "other", 1)), (7, held("1", "other", 1))], at);
    assert!(!seen.is_acquirable_by("me", at + Duration::from_millis(14_999)));
    assert!(seen.is_acquirable_by("me", at + after(15)), "the same version again renews nothing");
}

#[test]
fn every_new_version_starts_the_claim_anew() {
    let at = start();
    let seen = seen(&[(0, held("1", "other", 1)), (7, held("2", "other", 2))], at);
    assert!(!seen.is_acquirable_by("me", at + after(21)));
    assert!(seen.is_acquirable_by("me", at + after(22)));
}

#[test]
fn remote_timestamps_mean_nothing() {
    for renew_time in ["1999-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z"] {
        let at = start();
        let spec = json!({ "holderIdentity": "other", "leaseDurationSeconds": 15, "renewTime": renew_time });
        let seen = seen(&[(0, snapshot("1", &spec))], at);
        assert!(!seen.is_acquirable_by("me", at + after(14)), "{renew_time}");
        assert!(seen.is_acquirable_by("me", at + after(15)), "{renew_time}");
    }
}

#[test]
fn absent_empty_and_own_leases_are_open_at_once() {
    let at = start();
    let released = json!({ "holderIdentity": "", "leaseDurationSeconds": 1 });
    for (why, snapshot) in [
        ("absent", LeaseSnapshot::Absent(None)),
        ("made by hand without a spec", snapshot("1", &Value::Null)),
        ("made by hand with an empty spec", snapshot("1", &json!({}))),
        ("released", snapshot("1", &released)),
        ("own", held("1", "me", 1)),
    ] {
        assert!(seen(&[(0, snapshot)], at).is_acquirable_by("me", at), "{why}");
    }
}

#[test]
fn release_by_the_rules_ends_a_claim_at_once() {
    let at = start();
    for holder in [json!(""), Value::Null] {
        let released = snapshot("2", &json!({ "holderIdentity": holder, "leaseDurationSeconds": 1 }));
        assert!(seen(&[(0, held("1", "other", 1)), (1, released)], at).is_acquirable_by("me", at + after(1)));
    }
}

#[test]
fn claim_outlives_what_its_holder_did_not_do() {
    let at = start();
    let renewed = "2026-11-24T00:00:00.000001Z";
    let huge = json!({ "holderIdentity": "other", "leaseDurationSeconds": i32::MAX, "renewTime": renewed });
    for (why, change) in [
        ("deleted", LeaseSnapshot::Absent(Some("2".into()))),
        ("spec cut off", snapshot("2", &Value::Null)),
        ("holder cut off", snapshot("2", &json!({ "leaseDurationSeconds": 15 }))),
        ("duration cut off", snapshot("2", &json!({ "holderIdentity": "other", "renewTime": renewed }))),
        (
            "renew time cut off",
            snapshot("2", &json!({ "holderIdentity": "other", "leaseDurationSeconds": 1 })),
        ),
        ("absurd duration", snapshot("2", &huge)),
    ] {
        let seen = seen(&[(0, held("1", "other", 1)), (5, change)], at);
        assert!(!seen.is_acquirable_by("me", at + after(19)), "{why}: the holder may be working");
        assert!(seen.is_acquirable_by("me", at + after(20)), "{why}: but not for ever");
        assert!(seen.is_acquirable_by("other", at + after(5)), "{why}: it may repair it");
    }
}

#[test]
fn absurd_duration_is_not_believed_because_of_an_earlier_renew_time() {
    let at = start();
    let forged = json!({
        "holderIdentity": "other", "leaseDurationSeconds": i32::MAX, "renewTime": "1999-01-01T00:00:00.000000Z",
    });
    let cut = json!({ "holderIdentity": "other", "leaseDurationSeconds": i32::MAX });
    let edits = [(0, held("1", "other", 1)), (1, snapshot("2", &cut)), (5, snapshot("3", &forged))];
    assert!(seen(&edits, at).is_acquirable_by("me", at + after(20)));
}

#[test]
fn a_second_cut_does_not_lengthen_the_claim() {
    let at = start();
    let cut = |version| snapshot(version, &json!({}));
    let seen = seen(&[(0, held("1", "other", 1)), (5, cut("2")), (15, cut("3"))], at);
    assert!(seen.is_acquirable_by("me", at + after(20)));
}

#[test]
fn absurd_durations_seen_first_are_waited_for_an_hour_at_most() {
    let at = start();
    let spec = |seconds: i32| json!({ "holderIdentity": "other", "leaseDurationSeconds": seconds });
    let huge = seen(&[(0, snapshot("1", &spec(i32::MAX)))], at);
    assert!(!huge.is_acquirable_by("me", at + after(3599)));
    assert!(huge.is_acquirable_by("me", at + after(3600)));
    for seconds in [0, -1, i32::MIN] {
        assert!(seen(&[(0, snapshot("1", &spec(seconds)))], at).is_acquirable_by("me", at + after(1)));
    }
}

#[test]
fn older_versions_from_a_watch_are_not_believed() {
    let at = start();
    let mut seen = seen(&[(0, held("10", "me", 1))], at);
    assert_eq!(seen.observe(held("9", "other", 1), Source::Watch, at), Changed::Stale);
    assert_eq!(seen.holder(), Some("me"));
    assert_eq!(seen.observe(held("9", "other", 1), Source::Answer, at), Changed::Yes, "a restored etcd");
    assert_eq!(seen.observe(held("100", "me", 1), Source::Watch, at), Changed::Yes, "not compared as text");
    assert_eq!(seen.observe(held("opaque", "other", 1), Source::Watch, at), Changed::Yes);
}

#[test]
fn negative_transitions_count_as_none() {
    let spec = json!({ "holderIdentity": "a", "leaseTransitions": -7 });
    assert_eq!(seen(&[(0, snapshot("1", &spec))], start()).transitions(), 0);
}

#[test]
fn validity_ends_before_anybody_may_take_over() {
    let at = start();
    for (stored, valid_ms) in [(15, 14_000), (5, 4_500), (1, 900), (i32::MAX, 3_599_000)] {
        let spec = json!({ "holderIdentity": "me", "leaseDurationSeconds": stored });
        let LeaseSnapshot::Present(lease) = snapshot("1", &spec) else { unreachable!() };
        assert_eq!(valid_until(at, &lease), at + Duration::from_millis(valid_ms), "{stored}");
    }
}

#[test]
fn holder_that_was_robbed_is_respected_by_its_robber_too() {
    let at = start();
    // Made by "other", deleted by hand, and then made by "me", whose request had been on its way.
    let gone = LeaseSnapshot::Absent(Some("2".into()));
    let meddled = seen(&[(0, held("1", "other", 1)), (1, gone), (2, held("3", "me", 1))], at);
    assert_eq!(meddled.holder(), Some("me"));
    assert!(!meddled.is_acquirable_by("me", at + after(15)), "counted from the deletion");
    assert!(meddled.is_acquirable_by("me", at + after(16)));
    assert!(!meddled.is_acquirable_by("third", at + after(16)), "for others the later claim counts");
    // What ran out or was given back was not robbed.
    let expired = seen(&[(0, held("1", "other", 1)), (15, held("2", "me", 1))], at);
    assert!(expired.is_acquirable_by("me", at + after(15)));
    let free = snapshot("2", &json!({ "holderIdentity": "", "leaseDurationSeconds": 1 }));
    let released = seen(&[(0, held("1", "other", 1)), (1, free), (2, held("3", "me", 1))], at);
    assert!(released.is_acquirable_by("me", at + after(2)));
}

fn labelled(version: &str) -> LeaseSnapshot {
    let LeaseSnapshot::Present(mut lease) = held(version, "other", 1) else { unreachable!("it is present") };
    lease.metadata.labels = Some([("seen-by".to_owned(), version.to_owned())].into());
    LeaseSnapshot::Present(lease)
}

#[test]
fn change_of_metadata_alone_renews_nothing_and_moves_the_version() {
    let at = start();
    let mut seen = Observation::new(at);
    seen.observe(held("1", "other", 1), Source::List, at);
    for (seconds, version, source) in
        [(5, "2", Source::Watch), (10, "3", Source::Answer), (14, "4", Source::Overtaken)]
    {
        assert_eq!(seen.observe(labelled(version), source, at + after(seconds)), Changed::Yes);
        assert_eq!(seen.resource_version(), Some(version), "the next write has to name it");
    }
    assert!(!seen.is_acquirable_by("me", at + Duration::from_millis(14_999)));
    assert!(seen.is_acquirable_by("me", at + after(15)));
    seen.observe(held("5", "other", 2), Source::Watch, at + after(15));
    assert!(!seen.is_acquirable_by("me", at + after(29)), "a real renewal extends");
}

#[test]
fn after_a_gap_the_time_restarts_and_then_changes_of_metadata_count_for_nothing_again() {
    let at = start();
    for first in [Source::List, Source::Watch] {
        let mut seen = Observation::new(at);
        seen.observe(held("1", "other", 1), Source::List, at);
        seen.watch_broken();
        seen.observe(labelled("2"), first, at + after(6));
        assert!(!seen.is_acquirable_by("me", at + after(20)), "a renewal may have gone unseen");
        seen.observe(labelled("3"), Source::Watch, at + after(12));
        assert!(seen.is_acquirable_by("me", at + after(21)));
    }
    let mut seen = Observation::new(at);
    seen.observe(held("1", "other", 1), Source::List, at);
    seen.watch_broken();
    seen.observe(labelled("2"), Source::Answer, at + after(6));
    assert!(!seen.is_acquirable_by("me", at + after(20)), "a read tells nothing of what came before it");
}

#[test]
fn version_that_is_used_again_with_another_spec_is_another_state() {
    let at = start();
    let mut seen = Observation::new(at);
    seen.observe(held("7", "other", 1), Source::List, at);
    assert_eq!(seen.observe(held("7", "other", 2), Source::Watch, at + after(9)), Changed::Yes);
    assert!(!seen.is_acquirable_by("me", at + after(23)));
}

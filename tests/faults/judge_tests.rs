// SPDX-License-Identifier: Apache-2.0
//! The judge on doctored logs: what it excuses, and that it excuses nothing else. `make test` runs these.
//!
//! Leases last 15 s here, so the notice is 6 s and a Lease may be silent for 17 s.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    adapters::Engines,
    campaign::{Done, Story as Campaign},
    judge::{Judgement, judge},
    plan::{Fault, Kind},
    support::doctored::{A, B, LEASE, Story as Log, time},
};

/// `kind` from one moment to another, while `holder` held the Lease.
fn fault(kind: Kind, (from, until): (f64, f64), holder: &str) -> Done {
    let fault = Fault { kind, lasts: Duration::ZERO, lease: 0 };
    let leases = BTreeMap::from([(LEASE.to_owned(), holder.to_owned())]);
    Done { fault, from: time(from), until: time(until), settled: time(until + 60.0), leases }
}

/// What is said about the log of a campaign in which `done` was done. Everything worked at the log's end.
fn judged(log: &Log, done: &[Done]) -> Judgement {
    let converged = log.entries().last().map(|it| it.received);
    judged_as(log, &Campaign { done: done.to_vec(), converged, ..Campaign::default() })
}

fn judged_as(log: &Log, campaign: &Campaign) -> Judgement {
    let mut judgement = judge(&log.entries(), &Engines::default(), campaign, Duration::from_secs(15));
    // The logs are about one Lease of seven.
    judgement.violations.retain(|it| !it.ends_with("was never written"));
    judgement
}

#[track_caller]
fn found(judgement: &Judgement, words: &str) {
    assert_eq!(judgement.violations.len(), 1, "{:?}", judgement.violations);
    assert!(judgement.violations[0].contains(words), "{:?}", judgement.violations);
}

#[track_caller]
fn clean(judgement: &Judgement) {
    assert_eq!(judgement.violations, Vec::<String>::new());
}

#[test]
fn campaign_without_a_write_proves_nothing() {
    found(&judged(&Log::default().lease(0.0, A), &[]), "would prove nothing");
}

#[test]
fn write_without_the_lease_is_found_whatever_was_done() {
    let log = Log::default().lease(0.0, A).write(0.5, A).lease(16.0, B).write(17.0, A).lease(18.0, B);
    for kind in [Kind::Frozen, Kind::HalfOpen, Kind::Deleted, Kind::EtcdPaused] {
        found(&judged(&log, &[fault(kind, (0.0, 60.0), A)]), "write without a Lease");
    }
}

#[test]
fn writes_within_the_notice_need_somebody_who_edited_the_lease() {
    let log = Log::default().lease(0.0, A).rob(2.0, "kubectl-edit").write(3.0, A).lease(18.0, B);
    let edited = judged(&log, &[fault(Kind::Emptied, (2.0, 2.1), A)]);
    clean(&edited);
    assert_eq!(edited.in_notice, 1);
    found(&judged(&log, &[]), "robbed by nobody");
    found(&judged(&log, &[fault(Kind::Emptied, (30.0, 30.1), A)]), "robbed by nobody");
    found(&judged(&log, &[fault(Kind::Killed, (2.0, 2.1), A)]), "robbed by nobody");
}

#[test]
fn only_a_robbed_holder_that_was_cut_off_may_go_on_to_the_end_of_its_term() {
    let log = Log::default().lease(0.0, A).rob(2.0, "kubectl-edit").write(10.0, A).lease(18.0, B);
    let edited = fault(Kind::Deleted, (2.0, 2.1), A);
    let cut_off = |kind, span, who| judged(&log, &[edited.clone(), fault(kind, span, who)]);
    let right = cut_off(Kind::HalfOpen, (1.0, 9.0), A);
    clean(&right);
    assert_eq!(right.unheard, 1);
    found(&judged(&log, std::slice::from_ref(&edited)), "could have heard of it");
    found(&cut_off(Kind::HalfOpen, (1.0, 9.0), B), "could have heard of it");
    found(&cut_off(Kind::HalfOpen, (1.0, 2.5), A), "could have heard of it");
    found(&cut_off(Kind::ClockAhead, (1.0, 9.0), A), "could have heard of it");
}

#[test]
fn lease_may_be_without_a_leader_for_its_duration_and_two_seconds() {
    let log = |next| Log::default().lease(0.0, A).write(1.0, A).lease(next, B);
    clean(&judged(&log(16.9), &[]));
    let late = judged(&log(17.1), &[fault(Kind::Killed, (0.5, 0.5), A)]);
    found(&late, "had no leader for 17.1 s");
    assert_eq!(late.longest_silence.0.as_millis(), 17_100);
}

#[test]
fn times_in_which_nobody_could_lead_do_not_count() {
    let log = Log::default().lease(0.0, A).write(1.0, A).lease(40.0, B);
    clean(&judged(&log, &[fault(Kind::ApiDown, (2.0, 26.0), A)]));
    clean(&judged(&log, &[fault(Kind::EtcdPaused, (2.0, 26.0), A)]));
    found(&judged(&log, &[fault(Kind::EtcdPaused, (2.0, 20.0), A)]), "had no leader for 22.0 s");
    found(&judged(&log, &[fault(Kind::Cut, (2.0, 26.0), A)]), "had no leader for 40.0 s");
    let stalls = |until| Campaign {
        stalls: vec![(time(2.0), time(until))],
        converged: Some(time(40.0)),
        ..Campaign::default()
    };
    clean(&judged_as(&log, &stalls(26.0)));
    found(&judged_as(&log, &stalls(20.0)), "had no leader for 22.0 s");
}

#[test]
fn replica_whose_answers_come_late_may_be_as_much_later() {
    let log = |next| Log::default().lease(0.0, A).write(1.0, A).lease(next, B);
    let slow = [fault(Kind::Slow, (3.0, 20.0), B)];
    clean(&judged(&log(18.9), &slow));
    found(&judged(&log(19.1), &slow), "had no leader for 19.1 s");
    found(&judged(&log(18.9), &[fault(Kind::Slow, (50.0, 60.0), B)]), "had no leader");
    found(&judged(&log(18.9), &[fault(Kind::Throttled, (3.0, 20.0), B)]), "had no leader");
}

#[test]
fn only_who_came_too_late_to_see_the_holder_may_take_its_edited_lease() {
    let log = Log::default().lease(0.0, A).write(0.5, A).delete_lease(1.0).lease(1.2, B);
    let deleted = [fault(Kind::Deleted, (1.0, 1.0), A)];
    let newcomer = judged(&log, &deleted);
    clean(&newcomer);
    assert_eq!(newcomer.takes_by_newcomers, 1);
    let knew = Log::default().lease(0.0, B).release(1.0, B).lease(9.0, A).write(9.5, A);
    let knew = knew.delete_lease(10.0).lease(10.2, B);
    found(&judged(&knew, &[fault(Kind::Deleted, (10.0, 10.0), A)]), "two holders in one term");
}

#[test]
fn every_lease_is_held_when_everything_is_said_to_work() {
    let log = Log::default().lease(0.0, A).write(1.0, A);
    let at = |converged: Option<f64>| {
        judged_as(&log, &Campaign { converged: converged.map(time), ..Campaign::default() })
    };
    clean(&at(Some(14.0)));
    clean(&at(Some(16.5))); // It had a holder just before.
    found(&at(Some(18.0)), "has no holder");
    assert!(at(None).violations.iter().any(|it| it.contains(LEASE) && it.contains("not within")));
}

#[test]
fn what_the_campaign_itself_found_wrong_is_a_violation() {
    let log = Log::default().lease(0.0, A).write(1.0, A);
    let wrong = vec!["replica-1 did not end".to_owned()];
    let campaign = Campaign { wrong, converged: Some(time(1.0)), ..Campaign::default() };
    found(&judged_as(&log, &campaign), "did not end");
}

#[test]
fn hand_over_counts_from_the_fault_or_from_the_release() {
    let killed = Log::default().lease(0.0, A).write(1.0, A).lease(16.0, B);
    let judgement = judged(&killed, &[fault(Kind::Killed, (2.0, 2.0), A)]);
    assert_eq!(judgement.hand_overs[&Kind::Killed], [Duration::from_millis(14_010)]);
    let left = Log::default().lease(0.0, A).write(1.0, A).release(4.0, A).lease(4.1, B);
    let judgement = judged(&left, &[fault(Kind::Terminated, (2.0, 2.0), A)]);
    assert_eq!(judgement.hand_overs[&Kind::Terminated], [Duration::from_millis(110)]);
    let kept = Log::default().lease(0.0, A).write(1.0, A).lease(5.0, A);
    let judgement = judged(&kept, &[fault(Kind::ClockBehind, (2.0, 4.0), A)]);
    assert_eq!((judgement.hand_overs.len(), judgement.kept[&Kind::ClockBehind]), (0, 1));
}

// SPDX-License-Identifier: Apache-2.0
//! The judge on doctored logs: what it excuses, and that it excuses nothing else. `make test` runs these.
//!
//! Leases last 15 s here, so the notice is 6 s and a Lease may be silent for 17 s.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    adapters::Engines,
    campaign::{Done, Story as Campaign},
    judge::judge,
    judgement::Judgement,
    plan::{Fault, Kind},
    support::{
        doctored::{A, B, LEASE, Story as Log, time},
        older::GROUP,
    },
};

/// `kind` from one moment to another, while `holder` held the Lease.
fn fault(kind: Kind, (from, until): (f64, f64), holder: &str) -> Done {
    let fault = Fault { kind, lasts: Duration::ZERO, lease: 0, pause: Duration::ZERO, releases: false };
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
    judgement.wrong.retain(|it| !it.ends_with("was never written"));
    judgement
}

/// That alone is wrong.
#[track_caller]
fn found(judgement: &Judgement, words: &str) {
    assert_eq!((judgement.wrong.len(), judgement.late.len()), (1, 0), "{judgement:?}");
    assert!(judgement.wrong[0].contains(words), "{:?}", judgement.wrong);
}

/// That alone is late.
#[track_caller]
fn late(judgement: &Judgement, words: &str) {
    assert_eq!((judgement.wrong.len(), judgement.late.len()), (0, 1), "{judgement:?}");
    assert!(judgement.late[0].contains(words), "{:?}", judgement.late);
}

#[track_caller]
fn clean(judgement: &Judgement) {
    assert_eq!((&judgement.wrong, &judgement.late), (&Vec::new(), &Vec::new()));
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
    let longer = judged(&log(17.1), &[fault(Kind::Killed, (0.5, 0.5), A)]);
    late(&longer, "had no leader for 17.1 s");
    assert_eq!(longer.longest_write_gap.0.as_millis(), 17_100);
}

#[test]
fn times_in_which_nobody_could_lead_do_not_count() {
    let log = Log::default().lease(0.0, A).write(1.0, A).lease(40.0, B);
    clean(&judged(&log, &[fault(Kind::ApiDown, (2.0, 26.0), A)]));
    clean(&judged(&log, &[fault(Kind::EtcdPaused, (2.0, 26.0), A)]));
    late(&judged(&log, &[fault(Kind::EtcdPaused, (2.0, 20.0), A)]), "had no leader for 22.0 s");
    late(&judged(&log, &[fault(Kind::Cut, (2.0, 26.0), A)]), "had no leader for 40.0 s");
}

#[test]
fn gap_in_which_the_canary_was_starved_is_said_and_does_not_count() {
    let log = Log::default().lease(3.0, A).write(4.0, A).lease(20.1, B);
    let starved = |from, until| {
        let stalls = vec![(time(from), time(until))];
        judged_as(&log, &Campaign { stalls, converged: Some(time(20.1)), ..Campaign::default() })
    };
    for span in [(1.0, 3.1), (8.0, 8.3), (20.0, 22.0)] {
        let judgement = starved(span.0, span.1);
        clean(&judgement);
        assert!(judgement.excused[0].contains("had no leader for 17.1 s"), "{:?}", judgement.excused);
        assert_eq!(judgement.excused.len(), 1);
    }
    for span in [(1.0, 2.0), (20.2, 21.0)] {
        late(&starved(span.0, span.1), "had no leader for 17.1 s");
    }
    let within = Log::default().lease(3.0, A).write(4.0, A).lease(19.9, B);
    let judgement =
        judged_as(&within, &Campaign { stalls: vec![(time(4.0), time(5.0))], ..Campaign::default() });
    assert_eq!(judgement.excused, Vec::<String>::new(), "nothing to excuse");
}

#[test]
fn replica_whose_answers_come_late_may_be_as_much_later() {
    let log = |next| Log::default().lease(0.0, A).write(1.0, A).lease(next, B);
    let slow = [fault(Kind::Slow, (3.0, 20.0), B)];
    clean(&judged(&log(18.9), &slow));
    late(&judged(&log(19.1), &slow), "had no leader for 19.1 s");
    late(&judged(&log(18.9), &[fault(Kind::Slow, (50.0, 60.0), B)]), "had no leader");
    late(&judged(&log(18.9), &[fault(Kind::Throttled, (3.0, 20.0), B)]), "had no leader");
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
    late(&at(Some(18.0)), "has no holder");
    assert!(at(None).late.iter().any(|it| it.contains(LEASE) && it.contains("not within")));
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

/// The group has the older managers' Lease and `A` a controller's; one is written in after 4 s, and stops.
fn older(releases: bool) -> Log {
    let log = Log::default().legacy(0.0, GROUP, 15).lease(0.5, A).write(1.0, A).legacy(4.0, "go-1", 15);
    let log = log.release(4.2, A).legacy(6.0, "go-1", 15);
    if releases { log.legacy(8.0, "", 1) } else { log }
}

#[test]
fn controllers_are_away_while_an_older_manager_is_there_and_two_seconds_longer() {
    clean(&judged(&older(false).legacy(21.1, GROUP, 15).lease(22.9, B), &[]));
    late(
        &judged(&older(false).legacy(21.1, GROUP, 15).lease(23.1, B), &[]),
        "had no leader for 2.1 s after go-1",
    );
    clean(&judged(&older(true).legacy(8.1, GROUP, 15).lease(9.9, B), &[]));
    let judgement = judged(&older(true).legacy(8.1, GROUP, 15).lease(10.1, B), &[]);
    late(&judgement, "had no leader for 2.1 s after go-1");
    assert_eq!(judgement.reigns, 1);
    let slow = [fault(Kind::Slow, (3.0, 20.0), B)];
    clean(&judged(&older(true).legacy(8.1, GROUP, 15).lease(11.9, B), &slow));
    let outage = [fault(Kind::EtcdPaused, (7.0, 20.0), B)];
    clean(&judged(&older(true).lease(21.9, B), &outage));
}

#[test]
fn gap_is_excused_by_an_older_manager_only_while_its_claim_runs() {
    // Most of the time without a leader lies before the older manager.
    let log = |from: f64| Log::default().legacy(0.0, GROUP, 60).lease(0.5, A).legacy(from, "go-1", 15);
    clean(&judged(&log(17.0).write(1.0, A).legacy(18.0, "", 1).lease(19.5, B), &[]));
    let judgement = judged(&log(19.0).write(1.0, A).legacy(19.5, "", 1).lease(21.0, B), &[]);
    late(&judgement, "had no leader for 18.5 s");
}

#[test]
fn older_manager_that_wins_because_the_group_was_refused_is_no_gap() {
    let log = Log::default().legacy(0.0, GROUP, 15).lease(0.5, A).write(1.0, A).legacy(20.0, "go-1", 15);
    let log = log.legacy(21.0, "", 1).lease(22.0, B);
    clean(&judged(&log, &[fault(Kind::OlderWins, (1.0, 21.0), A)]));
    late(&judged(&log, &[]), "had no leader for 19.5 s");
}

#[test]
fn both_at_work_is_found_whatever_the_clocks_say() {
    let ahead = [fault(Kind::ClockAhead, (0.0, 60.0), A)];
    let lapsed = Log::default().legacy(0.0, GROUP, 15).lease(12.0, A).legacy(16.0, "go-1", 15);
    let judgement = judged(&lapsed.write(16.1, A).write(16.2, A).release(16.3, A), &ahead);
    found(&judgement, "both at work: 2 writes");
    let stolen = older(true).legacy(8.1, GROUP, 15);
    clean(&judged(&stolen.lease(9.0, A), &ahead));
    let stolen = older(false).legacy(6.5, GROUP, 15).lease(22.0, A);
    found(&judged(&stolen, &ahead), "the group took the older managers' Lease");
}

#[test]
fn only_who_was_cut_off_from_the_news_of_an_older_manager_may_go_on_to_the_end_of_the_groups_claim() {
    let log = || Log::default().legacy(0.0, GROUP, 30).lease(0.5, A).legacy(4.0, "go-1", 15).lease(12.0, A);
    let log = |at| log().legacy(14.0, "go-1", 15).write(at, A).release(at + 0.1, A).lease(30.0, B);
    let cut_off = |at, kind, until, who| judged(&log(at), &[fault(kind, (3.0, until), who)]);
    let right = cut_off(24.0, Kind::HalfOpen, 15.0, A);
    clean(&right);
    assert_eq!(right.beside_unheard, 1);
    found(&judged(&log(24.0), &[]), "could have heard of it");
    found(&cut_off(24.0, Kind::HalfOpen, 12.0, A), "could have heard of it");
    found(&cut_off(24.0, Kind::HalfOpen, 15.0, B), "could have heard of it");
    found(&cut_off(24.0, Kind::ClockBehind, 15.0, A), "could have heard of it");
    let heard = judged(&log(19.0), &[]);
    clean(&heard);
    assert_eq!(heard.beside_in_notice, 1);
}

#[test]
fn write_without_the_groups_claim_is_wrong_also_when_no_older_manager_has_won_yet() {
    let log =
        Log::default().legacy(0.0, GROUP, 15).lease(12.0, A).write(14.9, A).write(15.1, A).write(15.2, A);
    let judgement = judged(&log, &[fault(Kind::EtcdPaused, (1.0, 15.0), A)]);
    found(&judgement, "2 writes");
    assert!(judgement.wrong[0].contains("without the claim of the group"), "{:?}", judgement.wrong);
}

#[test]
fn controllers_lease_that_is_taken_beside_an_older_manager_is_wrong() {
    let log = older(false).lease(11.0, B).release(11.5, B).lease(22.0, A);
    found(&judged(&log, &[]), "both at work: manager-1_bbbb took");
    clean(&judged(&log, &[fault(Kind::Cut, (3.0, 10.0), B)]));
    let kept = older(false).lease(4.3, A).lease(15.5, A).release(16.5, A).lease(22.0, B);
    found(&judged(&kept, &[]), "both at work: manager-0_aaaa kept");
    clean(&judged(&kept, &[fault(Kind::Cut, (3.0, 10.0), A)]));
    found(&judged(&kept, &[fault(Kind::Cut, (3.0, 9.0), A)]), "both at work: manager-0_aaaa kept");
}

#[test]
fn campaign_whose_older_managers_never_got_their_lease_proves_nothing() {
    let log = Log::default().legacy(0.0, GROUP, 15).lease(0.0, A).write(1.0, A);
    found(&judged(&log, &[fault(Kind::OlderWrittenIn, (0.5, 3.0), A)]), "0 times, not 1");
}

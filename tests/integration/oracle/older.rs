// SPDX-License-Identifier: Apache-2.0
//! The rules about older managers on doctored audit logs. Leases last 15 s: the notice of an older manager is
//! 6 s, and 5 s later the last fence is closed.

use std::time::Duration;

use kube_fenced_election::clock::Timestamp;
use serde_json::Value;

use crate::support::{
    audit::Caller,
    doctored::{A, B, LEASE, Story, time, user_agent},
    leases::{self, Change},
    older::{GROUP, LEGACY, absences, led_on, returns, taken_from_older, without_claim, worked_beside},
};

const GO: &str = "go-1";

/// Writes beside older managers: wrong, unheard, and within the notice.
fn beside(story: &Story) -> (usize, usize, usize) {
    let found = worked_beside(&story.entries(), &story.reigns());
    (found.wrong.len(), found.unheard.len(), found.in_notice)
}

/// The claims of older managers, in seconds.
fn spans(story: &Story) -> Vec<(u64, u64)> {
    let since =
        |moment: Timestamp| Duration::try_from(moment.duration_since(time(0.0))).expect("later").as_secs();
    story.reigns().iter().map(|it| (since(it.from), since(it.until))).collect()
}

fn history(story: &Story) -> Vec<Change> {
    leases::history_of(&story.entries(), "aibrix-system", LEGACY)
}

/// The group has its Lease and `A` a controller's, until an older manager is written in after 4 s.
fn edited() -> Story {
    Story::default().legacy(0.0, GROUP, 15).lease(0.5, A).write(1.0, A).legacy(4.0, GO, 15)
}

/// The same when the group could not renew any more: the older manager wins after 16 s.
fn lapsed() -> Story {
    Story::default().legacy(0.0, GROUP, 15).lease(12.0, A).legacy(16.0, GO, 15)
}

#[test]
fn reign_lasts_from_the_first_write_to_the_end_of_the_last_ones_claim_or_to_the_release() {
    assert_eq!(spans(&Story::default().legacy(0.0, GROUP, 15).lease(1.0, A)), []);
    assert_eq!(spans(&edited().legacy(6.0, GO, 15).legacy(14.0, GO, 20)), [(4, 34)]);
    let released = edited().legacy(6.0, GO, 15).legacy(8.0, "", 1);
    assert_eq!(spans(&released), [(4, 8)]);
    let another = released.legacy(8.1, GROUP, 15).legacy(30.0, "go-2", 15);
    assert_eq!(spans(&another), [(4, 8), (30, 45)]);
    assert_eq!(spans(&edited().legacy(20.0, GO, 15)), [(4, 19), (20, 35)], "it renewed too late");
}

#[test]
fn reign_does_not_end_earlier_because_somebody_else_writes_the_lease() {
    assert_eq!(spans(&edited().legacy(5.0, GROUP, 15)), [(4, 19)]);
    let by_ours = edited().legacy_by(5.0, "", 1, &user_agent(A));
    assert_eq!(spans(&by_ours), [(4, 19)], "a release that is not its own");
}

#[test]
fn claim_of_the_group_is_that_of_its_last_write_or_ends_with_its_release() {
    let group = |story: &Story| story.reigns()[0].group;
    assert_eq!(group(&edited()), Some(time(15.0)));
    let renewed = Story::default().legacy(0.0, GROUP, 15).legacy(5.0, GROUP, 30).legacy(6.0, GO, 15);
    assert_eq!(group(&renewed), Some(time(35.0)), "the stored duration counts");
    let released = Story::default().legacy(0.0, GROUP, 15).legacy_by(3.0, "", 1, &user_agent(A));
    assert_eq!(group(&released.legacy(6.0, GO, 15)), Some(time(3.0)));
    assert_eq!(group(&Story::default().legacy(6.0, GO, 15)), None);
}

#[test]
fn controllers_have_a_notice_of_an_older_manager_and_not_longer() {
    assert_eq!(beside(&edited()), (0, 0, 0), "before it");
    assert_eq!(beside(&edited().write(4.1, A).write(15.0, A)), (0, 0, 2));
    let renewed = || Story::default().legacy(0.0, GROUP, 30).lease(0.5, A).legacy(4.0, GO, 15);
    assert_eq!(beside(&renewed().legacy(14.0, GO, 15).write(19.9, A)), (0, 0, 1), "10 + 1 + 5 s");
    assert_eq!(beside(&renewed().legacy(14.0, GO, 15).write(20.2, A)), (0, 1, 0));
    assert_eq!(beside(&renewed().legacy(14.0, GO, 15).write(29.1, A)), (0, 0, 0), "it has gone");
}

#[test]
fn nobody_writes_beside_an_older_manager_when_the_groups_claim_has_ended() {
    assert_eq!(beside(&edited().write(15.1, A)), (1, 0, 0));
    assert_eq!(beside(&lapsed().write(16.1, A)), (1, 0, 0), "at once");
    assert_eq!(beside(&lapsed().write(16.1, A).write(16.2, B)), (2, 0, 0));
    assert_eq!(beside(&Story::default().legacy(0.0, GO, 15).write(1.0, A)), (1, 0, 0), "it never had one");
    let released = edited().legacy(8.0, "", 1).write(15.1, A);
    assert_eq!(beside(&released), (0, 0, 0), "the older manager has gone");
    let robbed = edited().legacy(5.0, GROUP, 15).write(16.0, A);
    assert_eq!(
        beside(&robbed),
        (1, 0, 0),
        "the group took it back, and the older manager's claim still runs"
    );
}

#[test]
fn write_is_found_when_no_claim_of_the_group_runs() {
    let found = |story: &Story| {
        let all = without_claim(&story.entries(), &history(story));
        all.into_iter().map(|it| it.0).collect::<Vec<_>>()
    };
    let group = || Story::default().legacy(1.0, GROUP, 15);
    assert_eq!(found(&group().write(1.0, A).write(16.0, A)), []);
    assert_eq!(found(&group().write(0.5, A)), [None], "it came later");
    assert_eq!(found(&group().write(16.1, A)), [Some(time(16.0))]);
    let renewed = group().legacy_by(10.0, GROUP, 15, &user_agent(B));
    assert_eq!(found(&renewed.write(24.9, A)), [], "any of ours renews it");
    let released = group().legacy_by(3.0, "", 1, &user_agent(A));
    assert_eq!(found(&released.write(3.1, A)), [Some(time(3.0))]);
    assert_eq!(found(&edited().write(14.9, A)), [], "an edit by somebody else does not end it");
    assert_eq!(found(&lapsed().write(15.5, A).write(16.5, A)), [Some(time(15.0))], "the other is beside one");
    assert_eq!(found(&Story::default().write(1.0, A)), [], "there is no such Lease");
}

#[test]
fn write_of_a_lease_or_of_an_event_about_one_is_no_work() {
    let event = format!("{LEASE}.17a1b2c3");
    let about = ("", "events", event.as_str());
    let story = lapsed().lease(17.0, A).line(17.1, "create", &user_agent(A), about, (201, &Value::Null));
    assert_eq!(beside(&story), (0, 0, 0));
    let agent = user_agent(A).replace("kv-cache-controller", "certificates");
    assert!(Caller::parse(&agent).is_some());
    let own = ("", "secrets", "certificate");
    let story = lapsed().line(17.0, "update", &agent, own, (200, &Value::Null));
    assert_eq!(beside(&story), (0, 0, 0), "a process needs no Lease for its certificates");
}

#[test]
fn group_that_takes_the_lease_of_an_older_manager_whose_claim_runs_is_found() {
    let takes = |story: Story| taken_from_older(&history(&story));
    let early = takes(edited().legacy(5.0, GO, 15).legacy(19.9, GROUP, 15));
    assert_eq!((early.len(), early[0].from.as_str(), early[0].until), (1, GO, time(20.0)));
    assert_eq!(takes(edited().legacy(5.0, GO, 15).legacy(20.1, GROUP, 15)), [], "it has expired");
    assert_eq!(takes(edited().legacy(5.0, "", 1).legacy(5.1, GROUP, 15)), [], "it was released");
    assert_eq!(takes(edited()), [], "what others take early is not ours");
    let two = Story::default().legacy(0.0, GROUP, 15).legacy_by(2.0, GROUP, 15, &user_agent(B));
    assert_eq!(takes(two), [], "the group has many writers");
    let released = Story::default().legacy(0.0, GROUP, 15).legacy_by(2.0, "", 1, &user_agent(B));
    assert_eq!(takes(released.legacy(2.5, GROUP, 15)), [], "any of them may release it");
}

#[test]
fn controllers_lease_that_is_taken_or_kept_beside_an_older_manager_is_found() {
    let found = |story: Story| {
        let all = led_on(&story.changes(), &story.reigns());
        all.into_iter().map(|it| (it.by, it.took)).collect::<Vec<_>>()
    };
    let none: [(String, bool); 0] = [];
    let to_the_end = || edited().legacy(14.0, GO, 15).legacy(24.0, GO, 15);
    assert_eq!(found(to_the_end().release(5.0, A)), none);
    assert_eq!(found(to_the_end().release(5.0, A).lease(9.9, B)), none, "B need not have heard of it");
    assert_eq!(found(to_the_end().release(5.0, A).lease(10.2, B)), [(B.to_owned(), true)]);
    assert_eq!(found(to_the_end().release(5.0, A).lease(38.8, B)), [(B.to_owned(), true)]);
    assert_eq!(found(to_the_end().release(5.0, A).lease(38.95, B)), none, "a tenth of a second");
    assert_eq!(found(to_the_end().lease(14.9, A)), none, "its fence may still be open");
    assert_eq!(found(to_the_end().lease(15.2, A)), [(A.to_owned(), false)]);
    assert_eq!(found(to_the_end().release(30.0, A)), none, "a release is right whenever it comes");
    assert_eq!(found(to_the_end().rob(30.0, A)), none, "nobody of ours");
}

#[test]
fn return_counts_from_the_end_of_both_claims() {
    let back = |story: Story| {
        let all = returns(&story.changes(), &story.reigns());
        all.into_iter().map(|it| (it.due, it.at)).collect::<Vec<_>>()
    };
    let left = || edited().legacy(6.0, GO, 15).release(5.0, A);
    assert_eq!(back(left().lease(22.5, B)), [(time(21.0), time(22.5))], "it expired");
    assert_eq!(back(left().legacy(9.0, "", 1).lease(9.3, B)), [(time(9.0), time(9.3))], "it was released");
    let held = edited().lease(5.0, A).legacy(6.0, "", 1).lease(20.5, B);
    assert_eq!(back(held), [(time(20.0), time(20.5))], "the Lease's own holder was killed");
    assert_eq!(back(left()), [], "not yet");
    let again = left().legacy(9.0, "", 1).legacy(9.1, "go-2", 15).legacy(9.5, "", 1).lease(10.0, B);
    assert_eq!(back(again), [(time(9.5), time(10.0))], "another one came before that");
}

#[test]
fn absence_is_excused_to_two_seconds_after_the_claim() {
    let story = edited().legacy(6.0, GO, 15);
    assert_eq!(absences(&story.reigns()), [(time(4.0), time(23.0))]);
    assert_eq!(absences(&story.legacy(7.0, "", 1).reigns()), [(time(4.0), time(9.0))]);
}

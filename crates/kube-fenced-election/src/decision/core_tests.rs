// SPDX-License-Identifier: Apache-2.0
//! The core in situations that are hard to bring about from outside.

use std::time::Duration;

use serde_json::json;

use crate::clock::{Clock, Instant, SystemClock};

use super::{
    super::{
        Leaving,
        lock::{Attempt, AttemptEnd, Exchanged, LockError, ReleaseEnd},
        observation::Sight,
    },
    *,
};

const CALM: Surroundings = Surroundings { jitter: 0.5, load: 0, spread: true, alone: false, fit: true };

fn timing() -> Timing {
    Timing::default()
}

fn lease(version: u32, holder: &str) -> Sight {
    let duration = if holder.is_empty() { 1 } else { 15 };
    Sight::Present(Box::new(
        serde_json::from_value(json!({
            "metadata": { "name": "x", "uid": "u", "resourceVersion": version.to_string() },
            "spec": {
                "holderIdentity": holder, "leaseDurationSeconds": duration, "leaseTransitions": 2,
                "renewTime": format!("2026-11-24T00:00:00.{version:06}Z"),
            },
        }))
        .unwrap(),
    ))
}

/// A core with its clock.
struct Play {
    core: Core,
    start: Instant,
    now: Instant,
    around: Surroundings,
}

impl Play {
    fn standing() -> Self {
        let start = SystemClock.instant();
        let core = Core::new("me".into(), timing(), true, Permit::Unbounded, start);
        let mut stage = Self { core, start, now: start, around: CALM };
        assert_eq!(stage.step(Event::Stand), []);
        stage
    }

    fn leading() -> Self {
        let mut stage = Self::standing();
        stage.step(Event::Watched(Sight::Absent(None)));
        stage.won(10);
        assert_eq!(stage.core.stage(), Stage::Leading);
        stage
    }

    fn at(&mut self, seconds: f64) -> &mut Self {
        self.now = self.start + Duration::from_secs_f64(seconds);
        self
    }

    fn step(&mut self, event: Event) -> Vec<Action> {
        self.core.step(event, self.now, self.around)
    }

    /// The attempt under way ends well, its request sent now.
    fn won(&mut self, version: u32) -> Vec<Action> {
        self.won_sent_at(version, self.now)
    }

    fn won_sent_at(&mut self, version: u32, sent: Instant) -> Vec<Action> {
        let seen = vec![(lease(version, "me"), self.now)];
        self.step(Event::Attempted(Exchanged { seen, end: AttemptEnd::Holding { sent } }))
    }

    fn failed(&mut self) -> Vec<Action> {
        let error = LockError { attempt: Attempt::Patch, code: Some(503), cause: "away".into() };
        self.step(Event::Attempted(Exchanged { seen: Vec::new(), end: AttemptEnd::Failed(error) }))
    }

    fn wakes_after(&self) -> Option<f64> {
        self.core.wake().map(|wake| (wake - self.start).as_secs_f64())
    }
}

fn attempts(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::Attempt { .. }))
}

#[test]
fn standby_sleeps_until_the_claim_of_another_ends() {
    let mut stage = Play::standing();
    assert_eq!(stage.step(Event::Watched(lease(1, "other"))), []);
    assert_eq!(stage.wakes_after(), Some(15.0));
    assert_eq!(stage.at(5.0).step(Event::Watched(lease(2, "other"))), []);
    assert_eq!(stage.wakes_after(), Some(20.0));
    assert!(attempts(&stage.at(20.0).step(Event::Tick)));
}

#[test]
fn free_lease_is_left_to_others_for_as_long_as_the_load_says() {
    for (load, alone, wait) in [(0, false, 0.0), (3, false, 0.6), (9, false, 1.4), (9, true, 0.0)] {
        let mut stage = Play::standing();
        stage.around = Surroundings { load, alone, ..CALM };
        stage.step(Event::Watched(lease(1, "other")));
        let now = stage.at(1.0).step(Event::Watched(lease(2, "")));
        assert_eq!(attempts(&now), wait == 0.0);
        if wait > 0.0 {
            assert_eq!(stage.wakes_after(), Some(1.0 + wait));
            assert!(attempts(&stage.at(1.0 + wait).step(Event::Tick)));
        }
    }
}

#[test]
fn standby_that_fails_waits_for_a_jittered_retry_period() {
    let mut stage = Play::standing();
    assert!(attempts(&stage.step(Event::Watched(Sight::Absent(None)))));
    assert_eq!(stage.failed(), []);
    assert!((stage.wakes_after().unwrap() - 2.2).abs() < 1e-6, "2 s and half of a fifth");
    let until = stage.start + Duration::from_secs_f64(2.2) + timing().request_timeout() * 2;
    assert_eq!(stage.at(2.2).step(Event::Tick), [Action::Attempt { read: true, until }], "it looks first");
}

#[test]
fn leader_renews_after_a_third_and_stops_at_the_renew_deadline() {
    let mut stage = Play::leading();
    assert_eq!(stage.wakes_after(), Some(5.0));
    let until = stage.start + Duration::from_secs(10);
    assert_eq!(stage.at(5.0).step(Event::Tick), [Action::Attempt { read: false, until }]);
    assert_eq!(stage.at(6.0).failed(), []);
    assert!((stage.wakes_after().unwrap() - 7.2).abs() < 1e-6, "a retry period after the start");
    assert!(attempts(&stage.at(7.2).step(Event::Tick)));
    assert_eq!(stage.at(10.0).step(Event::Tick), [Action::End(Why::RenewDeadline)]);
    assert_eq!(stage.core.stage(), Stage::Stopping);
}

#[test]
fn answer_that_waited_in_a_frozen_process_does_not_revive_the_term() {
    let mut stage = Play::leading();
    stage.at(5.0).step(Event::Tick);
    let sent = stage.now;
    let actions = stage.at(40.0).won_sent_at(11, sent);
    assert_eq!(actions, [Action::End(Why::RenewDeadline)]);
    assert_eq!(stage.core.stage(), Stage::Stopping);
}

#[test]
fn answer_that_comes_too_late_does_not_begin_a_term() {
    let mut stage = Play::standing();
    stage.step(Event::Watched(Sight::Absent(None)));
    let sent = stage.now;
    let actions = stage.at(12.0).won_sent_at(10, sent);
    assert!(!actions.iter().any(|action| matches!(action, Action::Begin { .. })), "{actions:?}");
    assert!(attempts(&actions), "it holds the Lease by name, so it tries again");
}

#[test]
fn lease_won_over_a_claim_that_appeared_meanwhile_is_not_led_before_that_claim_ends() {
    let mut stage = Play::standing();
    assert!(attempts(&stage.step(Event::Watched(Sight::Absent(None)))), "its create is on the way");
    stage.at(0.1).step(Event::Watched(lease(1, "other")));
    stage.step(Event::Watched(Sight::Absent(Some("2".into()))));
    let actions = stage.at(0.2).won(3);
    assert!(
        !actions.iter().any(|it| matches!(it, Action::Begin { .. })),
        "the other may be working: {actions:?}"
    );
    assert!(attempts(&stage.at(15.1).step(Event::Tick)), "its claim has ended");
    let begins = stage.won(4);
    assert!(begins.iter().any(|it| matches!(it, Action::Begin { .. })), "{begins:?}");
}

#[test]
fn answer_that_the_watch_has_overtaken_does_not_hide_a_release() {
    let mut stage = Play::standing();
    stage.step(Event::Watched(lease(1, "other")));
    stage.at(15.0).step(Event::Tick);
    assert_eq!(stage.failed(), []);
    let look = stage.at(17.2).step(Event::Tick);
    assert!(matches!(look.as_slice(), [Action::Attempt { read: true, .. }]), "{look:?}");
    // Its read shows the Lease held, and comes back after the watch has shown the release.
    stage.step(Event::Watched(lease(3, "")));
    let seen = vec![(lease(2, "other"), stage.now)];
    stage.step(Event::Attempted(Exchanged { seen, end: AttemptEnd::HeldByOther }));
    assert!(stage.core.seen().is_released(), "{:?}", stage.core.seen());
    assert!(attempts(&stage.at(19.4).step(Event::Tick)), "no whole lease duration later");
}

#[test]
fn validity_counts_from_before_the_request_was_sent() {
    let mut stage = Play::leading();
    stage.at(5.0).step(Event::Tick);
    let sent = stage.now;
    let valid_until = sent + Duration::from_secs(14);
    assert_eq!(stage.at(8.0).won_sent_at(11, sent), [Action::Extend { valid_until }]);
    assert_eq!(stage.wakes_after(), Some(10.0), "a slow answer leaves as much time for the next one");
}

#[test]
fn standing_again_waits_for_the_controller_to_leave() {
    let mut stage = Play::leading();
    assert_eq!(
        stage.at(1.0).step(Event::Watched(lease(11, "other"))),
        [Action::End(Why::Rival("other".into()))]
    );
    for second in 2..60 {
        assert_eq!(stage.at(f64::from(second)).step(Event::Tick), [], "tasks may still run");
    }
    let actions = stage.step(Event::Left(Leaving::Finished));
    assert_eq!(actions[0], Action::Settled { released: false }, "not ours to release");
    assert!(attempts(&actions), "expired meanwhile");
}

#[test]
fn late_watch_events_from_before_the_victory_change_nothing() {
    let mut stage = Play::leading();
    assert_eq!(stage.at(1.0).step(Event::Watched(lease(9, "other"))), []);
    assert_eq!(stage.core.stage(), Stage::Leading);
    let until = stage.start + Duration::from_secs(10);
    let renewal = stage.at(5.0).step(Event::Tick);
    assert_eq!(renewal, [Action::Attempt { read: true, until }], "but they are a reason to look");
}

#[test]
fn lost_race_is_looked_into_at_once_and_only_once() {
    let mut stage = Play::leading();
    stage.at(5.0).step(Event::Tick);
    let raced = || Event::Attempted(Exchanged { seen: Vec::new(), end: AttemptEnd::LostRace });
    assert!(attempts(&stage.step(raced())));
    assert_eq!(stage.step(raced()), []);
    assert_eq!(stage.wakes_after(), Some(7.2));
}

#[test]
fn race_lost_to_another_holder_ends_the_term() {
    let mut stage = Play::leading();
    stage.at(5.0).step(Event::Tick);
    let seen = vec![(lease(12, "other"), stage.now)];
    let actions = stage.step(Event::Attempted(Exchanged { seen, end: AttemptEnd::HeldByOther }));
    assert_eq!(actions, [Action::End(Why::Rival("other".into()))]);
}

#[test]
fn lease_won_after_standing_down_or_shutting_down_is_given_back() {
    for event in [Event::StandDown, Event::Shutdown, Event::Guard(Permit::Closed)] {
        let mut stage = Play::standing();
        stage.step(Event::Watched(Sight::Absent(None)));
        assert_eq!(stage.step(event.clone()), []);
        let actions = stage.won(10);
        assert!(matches!(actions.as_slice(), [Action::Release { .. }]), "{event:?}: {actions:?}");
    }
}

#[test]
fn shutdown_ends_a_standby_at_once_and_a_leader_after_it_has_left() {
    assert_eq!(Play::standing().step(Event::Shutdown), [Action::Finish]);
    let mut stage = Play::leading();
    assert_eq!(stage.step(Event::Shutdown), []);
    assert!(attempts(&stage.at(5.0).step(Event::Tick)), "it renews while its controller finishes");
    stage.won(11);
    let actions = stage.step(Event::Left(Leaving::Finished));
    assert_eq!(actions[0], Action::End(Why::ControllerLeft));
    assert!(matches!(actions[1], Action::Release { .. }));
    let released = Exchanged { seen: vec![(lease(12, ""), stage.now)], end: ReleaseEnd::Released };
    assert_eq!(stage.step(Event::Released(released)), [Action::Settled { released: true }, Action::Finish]);
}

#[test]
fn release_is_tried_until_it_works_or_the_lease_has_expired() {
    let mut stage = Play::leading();
    stage.step(Event::Left(Leaving::Finished));
    let error = LockError::timed_out(Attempt::Release);
    let failed = || Event::Released(Exchanged { seen: Vec::new(), end: ReleaseEnd::Failed(error.clone()) });
    let mut tries = 1;
    let mut busy = true;
    for tick in 0..300 {
        let event = if busy { failed() } else { Event::Tick };
        let actions = stage.at(f64::from(tick) / 10.0).step(event);
        busy = actions.iter().any(|action| matches!(action, Action::Release { read: true, .. }));
        tries += usize::from(busy);
        if stage.core.stage() == Stage::Standby {
            break;
        }
    }
    assert!((20..40).contains(&tries), "{tries}");
    assert_eq!(stage.core.stage(), Stage::Standby);
}

/// A process that wakes from a freeze after its renew deadline drops requests whose bytes may be on their way, and
/// a release on another connection would overtake them.
#[test]
fn lease_of_a_term_that_was_cut_off_is_released_a_moment_later() {
    let released_at = |stage: &mut Play, leaving: Leaving| {
        let from = stage.now;
        let mut actions = stage.step(Event::Left(leaving));
        while !actions.iter().any(|it| matches!(it, Action::Release { .. })) {
            stage.now += Duration::from_millis(100);
            actions = stage.step(Event::Tick);
        }
        stage.now - from
    };
    let back_off = Duration::from_secs(1);
    assert_eq!(released_at(&mut Play::leading(), Leaving::Finished), Duration::ZERO, "its work was done");
    assert_eq!(released_at(&mut Play::leading(), Leaving::Failed { back_off }), Duration::from_secs(1));
    let mut late = Play::leading();
    assert_eq!(late.at(10.0).step(Event::Tick)[0], Action::End(Why::RenewDeadline));
    late.failed();
    assert_eq!(released_at(&mut late, Leaving::Finished), Duration::from_secs(1));
}

#[test]
fn work_that_may_go_on_ends_the_elector_without_a_release() {
    let mut stage = Play::leading();
    let actions = stage.step(Event::Left(Leaving::Unfinished));
    let end = Action::End(Why::ControllerLeft);
    assert_eq!(actions, [end, Action::Settled { released: false }, Action::Finish]);
}

#[test]
fn whoever_does_not_follow_the_request_to_leave_loses_the_fence() {
    for (event, why) in [(Event::Surplus, Why::Surplus), (Event::Guard(Permit::Closed), Why::Legacy)] {
        let mut stage = Play::leading();
        assert_eq!(stage.at(1.0).step(event.clone()), [Action::AskToLeave(why.clone())]);
        assert_eq!(stage.step(event), [], "asked once");
        stage.at(5.0).step(Event::Tick);
        stage.won(11);
        assert_eq!(stage.at(6.0).step(Event::Tick), [Action::End(why)]);
    }
}

#[test]
fn without_a_watch_the_lease_is_read_once_per_retry_period() {
    let mut stage = Play::standing();
    stage.step(Event::Watched(lease(1, "other")));
    let mut event = Event::WatchBroken;
    let mut reads = 0;
    for tick in 100..400 {
        let actions = stage.at(f64::from(tick) / 10.0).step(event);
        event = Event::Tick;
        if actions.contains(&Action::Read) {
            reads += 1;
            event = Event::Read(Ok((lease(tick, "other"), stage.now)));
        }
    }
    assert!((12..=15).contains(&reads), "{reads}");
}

#[test]
fn giving_way_needs_no_pause_when_nobody_else_could_take_over() {
    for (alone, at_once) in [(false, false), (true, true)] {
        let mut stage = Play::leading();
        stage.around.alone = alone;
        let pause = Duration::from_mins(1);
        stage.step(Event::Left(Leaving::GaveWay { reason: "WatchFailing", pause }));
        let released = Exchanged { seen: vec![(lease(12, ""), stage.now)], end: ReleaseEnd::Released };
        assert_eq!(attempts(&stage.step(Event::Released(released))), at_once);
        assert!(at_once || stage.wakes_after() == Some(15.0));
    }
}

/// After an outage that was too long for all of them, every replica may give way at the same moment.
#[test]
fn lease_that_nobody_takes_after_giving_way_is_taken_back_after_a_lease_duration() {
    let pause = Duration::from_mins(1);
    let gave_way = || {
        let mut stage = Play::leading();
        stage.step(Event::Left(Leaving::GaveWay { reason: "WatchFailing", pause }));
        let released = Exchanged { seen: vec![(lease(12, ""), stage.now)], end: ReleaseEnd::Released };
        stage.step(Event::Released(released));
        stage
    };
    let mut unwanted = gave_way();
    assert_eq!(unwanted.at(14.9).step(Event::Tick), []);
    assert!(attempts(&unwanted.at(15.0).step(Event::Tick)));
    let mut taken = gave_way();
    taken.at(1.0).step(Event::Watched(lease(13, "other")));
    taken.at(10.0).step(Event::Watched(lease(14, "")));
    assert_eq!(taken.at(24.9).step(Event::Tick), [], "somebody could work until now");
    assert!(attempts(&taken.at(25.0).step(Event::Tick)));
    let mut held = gave_way();
    held.at(1.0).step(Event::Watched(lease(13, "other")));
    assert_eq!(held.at(20.0).step(Event::Tick), [], "expired, but the pause goes on");
    assert!(attempts(&held.at(60.0).step(Event::Tick)));
}

/// It would hold the Lease without working, and somebody else may be able to.
#[test]
fn whoever_could_not_work_leaves_a_lease_to_others_for_a_lease_duration() {
    let unfit = Surroundings { fit: false, ..CALM };
    let free_from = |around: Surroundings| {
        let mut stage = Play::standing();
        stage.around = around;
        stage.step(Event::Watched(lease(1, "other")));
        let actions = stage.at(4.0).step(Event::Watched(lease(2, "")));
        (attempts(&actions), stage)
    };
    assert!(free_from(CALM).0);
    assert!(free_from(Surroundings { alone: true, ..unfit }).0, "nobody else is there");
    let (at_once, mut stage) = free_from(unfit);
    assert!(!at_once);
    assert_eq!(stage.wakes_after(), Some(19.0));
    assert_eq!(stage.at(18.9).step(Event::Tick), []);
    assert!(attempts(&stage.at(19.0).step(Event::Tick)), "nobody wanted it");
    let (_, mut stage) = free_from(unfit);
    stage.around = CALM;
    assert!(attempts(&stage.at(6.0).step(Event::Tick)), "it can work again");
    let mut expired = Play::standing();
    expired.around = unfit;
    expired.step(Event::Watched(lease(1, "other")));
    assert_eq!(expired.at(29.9).step(Event::Tick), []);
    assert!(attempts(&expired.at(30.0).step(Event::Tick)));
}

fn until(stage: &Play, seconds: f64) -> Event {
    Event::Guard(Permit::Until(stage.start + Duration::from_secs_f64(seconds)))
}

#[test]
fn right_to_write_is_the_earlier_of_own_validity_and_the_claim_of_the_guard() {
    let mut stage = Play::standing();
    stage.step(until(&stage, 9.0));
    stage.step(Event::Watched(Sight::Absent(None)));
    let begun = stage.won(10);
    let start = stage.start;
    let end = |seconds: u64| start + Duration::from_secs(seconds);
    assert_eq!(begun, [Action::Begin { valid_until: end(9), transitions: 2 }]);
    assert_eq!(stage.wakes_after(), Some(5.0));
    let later = until(&stage, 12.0);
    assert_eq!(stage.step(later), [Action::Extend { valid_until: end(12) }]);
    let much_later = until(&stage, 30.0);
    assert_eq!(stage.step(much_later), [Action::Extend { valid_until: end(14) }], "its own validity");
}

#[test]
fn claim_of_the_guard_that_is_not_renewed_ends_the_term_for_good() {
    let mut stage = Play::standing();
    stage.step(until(&stage, 7.0));
    stage.step(Event::Watched(Sight::Absent(None)));
    stage.won(10);
    stage.at(5.0).step(Event::Tick);
    stage.won(11);
    let late = until(&stage, 30.0);
    assert_eq!(
        stage.at(7.0).step(late),
        [Action::End(Why::GuardNotRenewed)],
        "a renewal after the end gives nothing back"
    );
}

#[test]
fn nothing_is_acquired_before_the_claim_of_the_guard_lasts() {
    let mut stage = Play::standing();
    stage.step(until(&stage, 0.5));
    assert_eq!(stage.step(Event::Watched(Sight::Absent(None))), []);
    assert!(stage.core.wants_guard());
    let lasting = until(&stage, 14.0);
    assert!(attempts(&stage.step(lasting)));
    assert!(!stage.core.wants_guard());
}

#[test]
fn guard_that_closes_gives_five_seconds_and_no_more_than_its_claim() {
    let mut stage = Play::standing();
    stage.step(until(&stage, 6.0));
    stage.step(Event::Watched(Sight::Absent(None)));
    stage.won(10);
    assert_eq!(stage.at(3.0).step(Event::Guard(Permit::Closed)), [Action::AskToLeave(Why::Legacy)]);
    assert_eq!(stage.at(6.0).step(Event::Tick), [Action::End(Why::GuardNotRenewed)]);
}

// SPDX-License-Identifier: Apache-2.0
//! The state machine in situations that are hard to bring about from outside.

use std::time::Duration;

use serde_json::json;

use crate::{
    clock::{Clock, Instant, SystemClock},
    fence::Validity,
};

use super::{
    super::{
        TermEnd,
        lock::{AttemptEnd, Exchanged, ReleaseEnd},
        lock_error::{Attempt, LockError},
        observation::LeaseSnapshot,
    },
    *,
};

const CALM: StepInputs = StepInputs { jitter: 0.5, load: 0, spread: true, alone: false, eligible: true };

fn timing() -> Timing {
    Timing::default()
}

fn lease(version: u32, holder: &str) -> LeaseSnapshot {
    let duration = if holder.is_empty() { 1 } else { 15 };
    LeaseSnapshot::Present(Box::new(
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

/// A state machine with its clock.
struct Scene {
    state: ElectorState,
    start: Instant,
    now: Instant,
    inputs: StepInputs,
}

impl Scene {
    fn standing() -> Self {
        let start = SystemClock.instant();
        let state = ElectorState::new("me".into(), timing(), true, Permit::Unbounded, start);
        let mut scene = Self { state, start, now: start, inputs: CALM };
        assert_eq!(scene.step(Event::Contend), []);
        scene
    }

    fn leading() -> Self {
        let mut scene = Self::standing();
        scene.step(Event::Watched(LeaseSnapshot::Absent(None)));
        scene.won(10);
        assert_eq!(scene.state.stage(), Stage::Leading);
        scene
    }

    fn at(&mut self, seconds: f64) -> &mut Self {
        self.now = self.start + Duration::from_secs_f64(seconds);
        self
    }

    fn step(&mut self, event: Event) -> Vec<Action> {
        self.state.step(event, self.now, self.inputs)
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
        self.state.wake().map(|wake| (wake - self.start).as_secs_f64())
    }
}

fn attempts(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::TryAcquire { .. } | Action::Renew { .. }))
}

#[test]
fn standby_sleeps_until_the_claim_of_another_ends() {
    let mut scene = Scene::standing();
    assert_eq!(scene.step(Event::Watched(lease(1, "other"))), []);
    assert_eq!(scene.wakes_after(), Some(15.0));
    assert_eq!(scene.at(5.0).step(Event::Watched(lease(2, "other"))), []);
    assert_eq!(scene.wakes_after(), Some(20.0));
    assert!(attempts(&scene.at(20.0).step(Event::Tick)));
}

#[test]
fn free_lease_is_left_to_others_for_as_long_as_the_load_says() {
    for (load, alone, wait) in [(0, false, 0.0), (3, false, 0.6), (9, false, 1.4), (9, true, 0.0)] {
        let mut scene = Scene::standing();
        scene.inputs = StepInputs { load, alone, ..CALM };
        scene.step(Event::Watched(lease(1, "other")));
        let now = scene.at(1.0).step(Event::Watched(lease(2, "")));
        assert_eq!(attempts(&now), wait == 0.0);
        if wait > 0.0 {
            assert_eq!(scene.wakes_after(), Some(1.0 + wait));
            assert!(attempts(&scene.at(1.0 + wait).step(Event::Tick)));
        }
    }
}

#[test]
fn standby_that_fails_waits_for_a_jittered_retry_period() {
    let mut scene = Scene::standing();
    assert!(attempts(&scene.step(Event::Watched(LeaseSnapshot::Absent(None)))));
    assert_eq!(scene.failed(), []);
    assert!((scene.wakes_after().unwrap() - 2.2).abs() < 1e-6, "2 s and half of a fifth");
    let until = scene.start + Duration::from_secs_f64(2.2) + timing().request_timeout() * 2;
    assert_eq!(scene.at(2.2).step(Event::Tick), [Action::TryAcquire { read: true, until }], "it looks first");
}

#[test]
fn leader_renews_after_a_third_and_stops_at_the_renew_deadline() {
    let mut scene = Scene::leading();
    assert_eq!(scene.wakes_after(), Some(5.0));
    let until = scene.start + Duration::from_secs(10);
    assert_eq!(scene.at(5.0).step(Event::Tick), [Action::Renew { read: false, until }]);
    assert_eq!(scene.at(6.0).failed(), []);
    assert!((scene.wakes_after().unwrap() - 7.2).abs() < 1e-6, "a retry period after the start");
    assert!(attempts(&scene.at(7.2).step(Event::Tick)));
    assert_eq!(scene.at(10.0).step(Event::Tick), [Action::StopLeading(StepDownReason::RenewDeadline)]);
    assert_eq!(scene.state.stage(), Stage::Stopping);
}

#[test]
fn answer_that_waited_in_a_frozen_process_does_not_revive_the_term() {
    let mut scene = Scene::leading();
    scene.at(5.0).step(Event::Tick);
    let sent = scene.now;
    let actions = scene.at(40.0).won_sent_at(11, sent);
    assert_eq!(actions, [Action::StopLeading(StepDownReason::RenewDeadline)]);
    assert_eq!(scene.state.stage(), Stage::Stopping);
}

#[test]
fn answer_that_comes_too_late_does_not_begin_a_term() {
    let mut scene = Scene::standing();
    scene.step(Event::Watched(LeaseSnapshot::Absent(None)));
    let sent = scene.now;
    let actions = scene.at(12.0).won_sent_at(10, sent);
    assert!(!actions.iter().any(|action| matches!(action, Action::StartLeading { .. })), "{actions:?}");
    assert!(attempts(&actions), "it holds the Lease by name, so it tries again");
}

#[test]
fn lease_won_over_a_claim_that_appeared_meanwhile_is_not_led_before_that_claim_ends() {
    let mut scene = Scene::standing();
    assert!(attempts(&scene.step(Event::Watched(LeaseSnapshot::Absent(None)))), "its create is on the way");
    scene.at(0.1).step(Event::Watched(lease(1, "other")));
    scene.step(Event::Watched(LeaseSnapshot::Absent(Some("2".into()))));
    let actions = scene.at(0.2).won(3);
    assert!(
        !actions.iter().any(|it| matches!(it, Action::StartLeading { .. })),
        "the other may be working: {actions:?}"
    );
    assert!(attempts(&scene.at(15.1).step(Event::Tick)), "its claim has ended");
    let begins = scene.won(4);
    assert!(begins.iter().any(|it| matches!(it, Action::StartLeading { .. })), "{begins:?}");
}

#[test]
fn answer_that_the_watch_has_overtaken_does_not_hide_a_release() {
    let mut scene = Scene::standing();
    scene.step(Event::Watched(lease(1, "other")));
    scene.at(15.0).step(Event::Tick);
    assert_eq!(scene.failed(), []);
    let look = scene.at(17.2).step(Event::Tick);
    assert!(matches!(look.as_slice(), [Action::TryAcquire { read: true, .. }]), "{look:?}");
    // Its read shows the Lease held, and comes back after the watch has shown the release.
    scene.step(Event::Watched(lease(3, "")));
    let seen = vec![(lease(2, "other"), scene.now)];
    scene.step(Event::Attempted(Exchanged { seen, end: AttemptEnd::HeldByOther }));
    assert!(scene.state.seen().is_released(), "{:?}", scene.state.seen());
    assert!(attempts(&scene.at(19.4).step(Event::Tick)), "no whole lease duration later");
}

#[test]
fn validity_counts_from_before_the_request_was_sent() {
    let mut scene = Scene::leading();
    scene.at(5.0).step(Event::Tick);
    let sent = scene.now;
    let valid_until = sent + Duration::from_secs(14);
    assert_eq!(scene.at(8.0).won_sent_at(11, sent), [Action::Extend(Validity { until: valid_until, sent })]);
    assert_eq!(scene.wakes_after(), Some(10.0), "a slow answer leaves as much time for the next one");
}

#[test]
fn standing_again_waits_for_the_controller_to_leave() {
    let mut scene = Scene::leading();
    assert_eq!(
        scene.at(1.0).step(Event::Watched(lease(11, "other"))),
        [Action::StopLeading(StepDownReason::Rival("other".into()))]
    );
    for second in 2..60 {
        assert_eq!(scene.at(f64::from(second)).step(Event::Tick), [], "tasks may still run");
    }
    let actions = scene.step(Event::SteppedDown(TermEnd::Finished));
    assert_eq!(actions[0], Action::Concluded { released: false }, "not ours to release");
    assert!(attempts(&actions), "expired meanwhile");
}

#[test]
fn late_watch_events_from_before_the_victory_change_nothing() {
    let mut scene = Scene::leading();
    assert_eq!(scene.at(1.0).step(Event::Watched(lease(9, "other"))), []);
    assert_eq!(scene.state.stage(), Stage::Leading);
    let until = scene.start + Duration::from_secs(10);
    let renewal = scene.at(5.0).step(Event::Tick);
    assert_eq!(renewal, [Action::Renew { read: true, until }], "but they are a reason to look");
}

#[test]
fn lost_race_is_looked_into_at_once_and_only_once() {
    let mut scene = Scene::leading();
    scene.at(5.0).step(Event::Tick);
    let raced = || Event::Attempted(Exchanged { seen: Vec::new(), end: AttemptEnd::LostRace });
    assert!(attempts(&scene.step(raced())));
    assert_eq!(scene.step(raced()), []);
    assert_eq!(scene.wakes_after(), Some(7.2));
}

#[test]
fn race_lost_to_another_holder_ends_the_term() {
    let mut scene = Scene::leading();
    scene.at(5.0).step(Event::Tick);
    let seen = vec![(lease(12, "other"), scene.now)];
    let actions = scene.step(Event::Attempted(Exchanged { seen, end: AttemptEnd::HeldByOther }));
    assert_eq!(actions, [Action::StopLeading(StepDownReason::Rival("other".into()))]);
}

#[test]
fn lease_won_after_standing_down_or_shutting_down_is_given_back() {
    for event in [Event::Withdraw, Event::Shutdown, Event::Guard(Permit::Closed)] {
        let mut scene = Scene::standing();
        scene.step(Event::Watched(LeaseSnapshot::Absent(None)));
        assert_eq!(scene.step(event.clone()), []);
        let actions = scene.won(10);
        assert!(matches!(actions.as_slice(), [Action::Release { .. }]), "{event:?}: {actions:?}");
    }
}

#[test]
fn shutdown_ends_a_standby_at_once_and_a_leader_after_it_has_left() {
    assert_eq!(Scene::standing().step(Event::Shutdown), [Action::Finish]);
    let mut scene = Scene::leading();
    assert_eq!(scene.step(Event::Shutdown), []);
    assert!(attempts(&scene.at(5.0).step(Event::Tick)), "it renews while its controller finishes");
    scene.won(11);
    let actions = scene.step(Event::SteppedDown(TermEnd::Finished));
    assert_eq!(actions[0], Action::StopLeading(StepDownReason::ControllerLeft));
    assert!(matches!(actions[1], Action::Release { .. }));
    let released = Exchanged { seen: vec![(lease(12, ""), scene.now)], end: ReleaseEnd::Released };
    assert_eq!(scene.step(Event::Released(released)), [Action::Concluded { released: true }, Action::Finish]);
}

#[test]
fn release_is_tried_until_it_works_or_the_lease_has_expired() {
    let mut scene = Scene::leading();
    scene.step(Event::SteppedDown(TermEnd::Finished));
    let error = LockError::timed_out(Attempt::Release);
    let failed = || Event::Released(Exchanged { seen: Vec::new(), end: ReleaseEnd::Failed(error.clone()) });
    let mut tries = 1;
    let mut kind = true;
    for tick in 0..300 {
        let event = if kind { failed() } else { Event::Tick };
        let actions = scene.at(f64::from(tick) / 10.0).step(event);
        kind = actions.iter().any(|action| matches!(action, Action::Release { read: true, .. }));
        tries += usize::from(kind);
        if scene.state.stage() == Stage::Standby {
            break;
        }
    }
    assert!((20..40).contains(&tries), "{tries}");
    assert_eq!(scene.state.stage(), Stage::Standby);
}

/// A process that wakes from a freeze after its renew deadline drops requests whose bytes may be on their way, and
/// a release on another connection would overtake them.
#[test]
fn lease_of_a_term_that_was_cut_off_is_released_a_moment_later() {
    let released_at = |scene: &mut Scene, leaving: TermEnd| {
        let from = scene.now;
        let mut actions = scene.step(Event::SteppedDown(leaving));
        while !actions.iter().any(|it| matches!(it, Action::Release { .. })) {
            scene.now += Duration::from_millis(100);
            actions = scene.step(Event::Tick);
        }
        scene.now - from
    };
    let back_off = Duration::from_secs(1);
    assert_eq!(released_at(&mut Scene::leading(), TermEnd::Finished), Duration::ZERO, "its work was done");
    assert_eq!(released_at(&mut Scene::leading(), TermEnd::Failed { back_off }), Duration::from_secs(1));
    let mut late = Scene::leading();
    assert_eq!(late.at(10.0).step(Event::Tick)[0], Action::StopLeading(StepDownReason::RenewDeadline));
    late.failed();
    assert_eq!(released_at(&mut late, TermEnd::Finished), Duration::from_secs(1));
}

#[test]
fn work_that_may_go_on_ends_the_elector_without_a_release() {
    let mut scene = Scene::leading();
    let actions = scene.step(Event::SteppedDown(TermEnd::Unfinished));
    let end = Action::StopLeading(StepDownReason::ControllerLeft);
    assert_eq!(actions, [end, Action::Concluded { released: false }, Action::Finish]);
}

#[test]
fn whoever_does_not_follow_the_request_to_leave_loses_the_fence() {
    for (event, why) in
        [(Event::Surplus, StepDownReason::Surplus), (Event::Guard(Permit::Closed), StepDownReason::Legacy)]
    {
        let mut scene = Scene::leading();
        assert_eq!(scene.at(1.0).step(event.clone()), [Action::RequestStepDown(why.clone())]);
        assert_eq!(scene.step(event), [], "asked once");
        scene.at(5.0).step(Event::Tick);
        scene.won(11);
        assert_eq!(scene.at(6.0).step(Event::Tick), [Action::StopLeading(why)]);
    }
}

#[test]
fn without_a_watch_the_lease_is_read_once_per_retry_period() {
    let mut scene = Scene::standing();
    scene.step(Event::Watched(lease(1, "other")));
    let mut event = Event::WatchBroken;
    let mut reads = 0;
    for tick in 100..400 {
        let actions = scene.at(f64::from(tick) / 10.0).step(event);
        event = Event::Tick;
        if actions.contains(&Action::Read) {
            reads += 1;
            event = Event::Read(Ok((lease(tick, "other"), scene.now)));
        }
    }
    assert!((12..=15).contains(&reads), "{reads}");
}

#[test]
fn giving_way_needs_no_pause_when_nobody_else_could_take_over() {
    for (alone, at_once) in [(false, false), (true, true)] {
        let mut scene = Scene::leading();
        scene.inputs.alone = alone;
        let pause = Duration::from_mins(1);
        scene.step(Event::SteppedDown(TermEnd::GaveWay { reason: "WatchFailing", pause }));
        let released = Exchanged { seen: vec![(lease(12, ""), scene.now)], end: ReleaseEnd::Released };
        assert_eq!(attempts(&scene.step(Event::Released(released))), at_once);
        assert!(at_once || scene.wakes_after() == Some(15.0));
    }
}

/// After an outage that was too long for all of them, every replica may give way at the same moment.
#[test]
fn lease_that_nobody_takes_after_giving_way_is_taken_back_after_a_lease_duration() {
    let pause = Duration::from_mins(1);
    let gave_way = || {
        let mut scene = Scene::leading();
        scene.step(Event::SteppedDown(TermEnd::GaveWay { reason: "WatchFailing", pause }));
        let released = Exchanged { seen: vec![(lease(12, ""), scene.now)], end: ReleaseEnd::Released };
        scene.step(Event::Released(released));
        scene
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
    let ineligible = StepInputs { eligible: false, ..CALM };
    let free_from = |inputs: StepInputs| {
        let mut scene = Scene::standing();
        scene.inputs = inputs;
        scene.step(Event::Watched(lease(1, "other")));
        let actions = scene.at(4.0).step(Event::Watched(lease(2, "")));
        (attempts(&actions), scene)
    };
    assert!(free_from(CALM).0);
    assert!(free_from(StepInputs { alone: true, ..ineligible }).0, "nobody else is there");
    let (at_once, mut scene) = free_from(ineligible);
    assert!(!at_once);
    assert_eq!(scene.wakes_after(), Some(19.0));
    assert_eq!(scene.at(18.9).step(Event::Tick), []);
    assert!(attempts(&scene.at(19.0).step(Event::Tick)), "nobody wanted it");
    let (_, mut scene) = free_from(ineligible);
    scene.inputs = CALM;
    assert!(attempts(&scene.at(6.0).step(Event::Tick)), "it can work again");
    let mut expired = Scene::standing();
    expired.inputs = ineligible;
    expired.step(Event::Watched(lease(1, "other")));
    assert_eq!(expired.at(29.9).step(Event::Tick), []);
    assert!(attempts(&expired.at(30.0).step(Event::Tick)));
}

fn until(scene: &Scene, seconds: f64) -> Event {
    let until = scene.start + Duration::from_secs_f64(seconds);
    Event::Guard(Permit::Until(Validity { until, sent: scene.now }))
}

#[test]
fn right_to_write_is_the_earlier_of_own_validity_and_the_claim_of_the_guard() {
    let mut scene = Scene::standing();
    scene.step(until(&scene, 9.0));
    scene.step(Event::Watched(LeaseSnapshot::Absent(None)));
    let begun = scene.won(10);
    let start = scene.start;
    let end = |seconds: u64| Validity { until: start + Duration::from_secs(seconds), sent: start };
    assert_eq!(begun, [Action::StartLeading { validity: end(9), transitions: 2 }]);
    assert_eq!(scene.wakes_after(), Some(5.0));
    let later = until(&scene, 12.0);
    assert_eq!(scene.step(later), [Action::Extend(end(12))]);
    let much_later = until(&scene, 30.0);
    assert_eq!(scene.step(much_later), [Action::Extend(end(14))], "its own validity");
}

#[test]
fn claim_of_the_guard_that_is_not_renewed_ends_the_term_for_good() {
    let mut scene = Scene::standing();
    scene.step(until(&scene, 7.0));
    scene.step(Event::Watched(LeaseSnapshot::Absent(None)));
    scene.won(10);
    scene.at(5.0).step(Event::Tick);
    scene.won(11);
    let late = until(&scene, 30.0);
    assert_eq!(
        scene.at(7.0).step(late),
        [Action::StopLeading(StepDownReason::GuardNotRenewed)],
        "a renewal after the end gives nothing back"
    );
}

#[test]
fn nothing_is_acquired_before_the_claim_of_the_guard_lasts() {
    let mut scene = Scene::standing();
    scene.step(until(&scene, 0.5));
    assert_eq!(scene.step(Event::Watched(LeaseSnapshot::Absent(None))), []);
    assert!(scene.state.wants_guard());
    let lasting = until(&scene, 14.0);
    assert!(attempts(&scene.step(lasting)));
    assert!(!scene.state.wants_guard());
}

#[test]
fn guard_that_closes_gives_five_seconds_and_no_more_than_its_claim() {
    let mut scene = Scene::standing();
    scene.step(until(&scene, 6.0));
    scene.step(Event::Watched(LeaseSnapshot::Absent(None)));
    scene.won(10);
    assert_eq!(
        scene.at(3.0).step(Event::Guard(Permit::Closed)),
        [Action::RequestStepDown(StepDownReason::Legacy)]
    );
    assert_eq!(scene.at(6.0).step(Event::Tick), [Action::StopLeading(StepDownReason::GuardNotRenewed)]);
}

#[test]
fn doubts_about_the_clock_end_no_term_and_are_answered_by_a_renewal_that_is_sent_afterwards() {
    let mut scene = Scene::leading();
    scene.at(5.0).step(Event::Tick);
    let before = scene.now;
    let doubted = scene.at(5.5).now;
    assert_eq!(scene.step(Event::ClockDoubted(doubted)), [], "a renewal is under way already");
    // That one proves nothing: the next follows at once.
    let actions = scene.at(6.0).won_sent_at(11, before);
    assert!(attempts(&actions), "{actions:?}");
    assert_eq!(scene.at(6.1).won_sent_at(12, doubted).len(), 1);
    assert_eq!(scene.wakes_after(), Some(10.5), "from then on as usual");
    let later = scene.at(7.0).now;
    assert!(attempts(&scene.step(Event::ClockDoubted(later))), "at once");
    assert_eq!(scene.state.stage(), Stage::Leading);
}

#[test]
fn a_term_that_rests_on_the_guards_claim_rests_on_the_older_renewal() {
    let mut scene = Scene::standing();
    scene.step(until(&scene, 14.0));
    scene.at(3.0).step(Event::Watched(LeaseSnapshot::Absent(None)));
    let begun = scene.won(10);
    let validity = Validity { until: scene.start + Duration::from_secs(14), sent: scene.start };
    assert_eq!(begun, [Action::StartLeading { validity, transitions: 2 }]);
}

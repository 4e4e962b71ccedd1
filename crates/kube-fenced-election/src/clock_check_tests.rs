// SPDX-License-Identifier: Apache-2.0

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

use crate::clock::{Clock, ClockCheck, Instant, SystemClock, Timestamp};

/// A clock that is set.
#[derive(Debug)]
struct Set(Mutex<Instant>);

impl Clock for Set {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn instant(&self) -> Instant {
        *self.0.lock()
    }
}

/// A check for Leases of 15 s (a margin of 1 s), and answers in seconds since it began.
struct Scene {
    check: ClockCheck,
    clock: Arc<Set>,
    start: Instant,
}

impl Scene {
    fn new() -> Self {
        let start = SystemClock.instant();
        let clock = Arc::new(Set(Mutex::new(start)));
        let check = ClockCheck::new(Arc::clone(&clock) as _, Duration::from_secs(15));
        Self { check, clock, start }
    }

    fn at(&self, seconds: f64) -> Instant {
        self.start + Duration::from_secs_f64(seconds)
    }

    /// An answer of a server whose clock shows `date`. Whether it raised a doubt.
    fn answer(&self, date: i64, sent: f64, received: f64) -> bool {
        let before = *self.check.doubted().borrow();
        let date = Timestamp::from_second(1_800_000_000 + date).unwrap();
        *self.clock.0.lock() = self.at(received);
        self.check.answered(self.at(sent), date);
        let after = *self.check.doubted().borrow();
        assert!(after == before || after == Some(self.at(received)));
        after != before
    }
}

#[test]
fn clocks_that_go_on_together_raise_no_doubt() {
    let scene = Scene::new();
    for second in 0..300 {
        let local = f64::from(second);
        assert!(!scene.answer(i64::from(second), local + 0.0, local + 0.9));
    }
}

#[test]
fn a_jump_counts_when_neither_steps_nor_round_trips_nor_the_margin_explain_it() {
    // Seen first at 0.0 to 0.1: the server's clock is ahead by at most 1 s.
    for (date, sent, received, doubted) in [
        (5, 3.0, 3.1, false),
        (5, 2.9, 2.95, true),
        // Slow answers prove less.
        (30, 3.0, 28.5, false),
        (30, 3.0, 27.5, true),
        // A clock that falls behind is no pause of ours.
        (-1000, 3.0, 3.1, false),
    ] {
        let scene = Scene::new();
        assert!(!scene.answer(0, 0.0, 0.1));
        assert_eq!(scene.answer(date, sent, received), doubted, "{date} at {sent} to {received}");
        // Said once: it is compared with the new offset from then on.
        assert!(!scene.answer(date + 1, received + 1.0, received + 1.1));
    }
}

#[test]
fn servers_that_disagree_raise_one_doubt_as_long_as_both_are_asked() {
    let scene = Scene::new();
    assert!(!scene.answer(0, 0.0, 0.1));
    assert!(scene.answer(61, 1.0, 1.1), "a minute ahead");
    for second in 2..200 {
        let local = f64::from(second);
        let ahead = if second % 20 == 0 { 60 } else { 0 };
        assert!(!scene.answer(i64::from(second) + ahead, local, local + 0.1), "{second}");
    }
}

#[test]
fn a_server_that_was_ahead_and_was_set_right_hides_a_pause_for_two_minutes_at_most() {
    let scene = Scene::new();
    assert!(!scene.answer(3600, 0.0, 0.1));
    for second in 1..130 {
        let local = f64::from(second);
        assert!(!scene.answer(i64::from(second), local, local + 0.1));
    }
    assert!(scene.answer(160, 130.0, 130.1), "a pause of 30 s");
}

#[test]
fn an_answer_that_took_long_is_compared_and_not_compared_with() {
    let scene = Scene::new();
    assert!(!scene.answer(0, 0.0, 0.1));
    assert!(!scene.answer(20, 0.2, 20.2), "sent long before it was answered");
    assert!(scene.answer(35, 21.0, 21.1), "a pause of 14 s");
}

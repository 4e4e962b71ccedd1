// SPDX-License-Identifier: Apache-2.0

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

use crate::{
    clock::{Clock, ClockCheck, Instant, SystemClock, Timestamp},
    fence::{Fence, FenceKeeper, NotLeading, Validity},
};

const TERM: Duration = Duration::from_secs(14);

fn term() -> (FenceKeeper, Fence, Instant) {
    let until = SystemClock.instant() + TERM;
    let (keeper, fence) = Fence::new(Arc::new(SystemClock), until);
    (keeper, fence, until)
}

/// A clock that runs ahead of the timers, as after a freeze.
#[derive(Debug)]
struct Ahead(Mutex<Duration>);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn instant(&self) -> Instant {
        SystemClock.instant() + *self.0.lock()
    }
}

#[tokio::test(start_paused = true)]
async fn is_open_until_its_moment_and_closed_from_then_on() {
    let (_keeper, fence, until) = term();
    assert_eq!(fence.check(), Ok(Some(until)));
    tokio::time::advance(TERM.saturating_sub(Duration::from_millis(1))).await;
    assert_eq!(fence.check(), Ok(Some(until)));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(fence.check(), Err(NotLeading));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_moves_its_end() {
    let (keeper, fence, until) = term();
    keeper.extend(until + TERM);
    tokio::time::advance(TERM).await;
    assert_eq!(fence.check(), Ok(Some(until + TERM)));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_never_shortens_the_right() {
    let (keeper, fence, until) = term();
    keeper.extend(until - Duration::from_secs(5));
    assert_eq!(fence.check(), Ok(Some(until)));
}

#[tokio::test(start_paused = true)]
async fn is_closed_for_good_once_revoked() {
    let (keeper, fence, until) = term();
    keeper.revoke();
    keeper.extend(until + TERM);
    assert_eq!(fence.check(), Err(NotLeading));
}

#[tokio::test(start_paused = true)]
async fn is_closed_when_its_keeper_is_gone() {
    let (keeper, fence, _) = term();
    let clone = fence.clone();
    drop(keeper);
    assert_eq!((fence.check(), clone.check()), (Err(NotLeading), Err(NotLeading)));
    fence.expired().await;
}

#[tokio::test(start_paused = true)]
async fn without_election_it_has_no_bound_but_can_be_revoked() {
    let (keeper, fence) = Fence::without_election(Arc::new(SystemClock));
    tokio::time::advance(Duration::from_secs(1_000_000)).await;
    assert_eq!(fence.check(), Ok(None));
    keeper.extend(SystemClock.instant());
    assert_eq!(fence.check(), Ok(None));
    keeper.revoke();
    assert_eq!(fence.check(), Err(NotLeading));
}

#[tokio::test(start_paused = true)]
async fn expires_at_its_moment_when_nobody_renews() {
    let (_keeper, fence, until) = term();
    fence.expired().await;
    let late = SystemClock.instant() - until;
    assert!(late < Duration::from_millis(5), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn does_not_expire_while_renewals_come() {
    let (keeper, fence, _) = term();
    let renew = async {
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_secs(5)).await;
            keeper.extend(SystemClock.instant() + TERM);
        }
    };
    tokio::select! {
        () = fence.expired() => panic!("expired in spite of renewals"),
        () = renew => {}
    }
    assert!(fence.check().is_ok());
}

#[tokio::test(start_paused = true)]
async fn expires_at_once_when_revoked() {
    let (keeper, fence, _) = term();
    let start = SystemClock.instant();
    let revoke = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        keeper.revoke();
    };
    tokio::join!(fence.expired(), revoke);
    assert_eq!(SystemClock.instant() - start, Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_revocation_of_which_nobody_was_told_yet_is_seen() {
    let (keeper, fence, _) = term();
    let start = SystemClock.instant();
    let mut expired = Box::pin(fence.expired());
    assert!(futures::poll!(&mut expired).is_pending());
    keeper.extend(start + 2 * TERM);
    keeper.revoke();
    expired.await;
    assert_eq!(SystemClock.instant(), start);
}

#[tokio::test(start_paused = true)]
async fn is_judged_by_the_clock_and_not_by_timers() {
    let clock = Arc::new(Ahead(Mutex::default()));
    let (_keeper, fence) = Fence::new(Arc::clone(&clock) as _, clock.instant() + TERM);
    *clock.0.lock() = TERM;
    assert_eq!(fence.check(), Err(NotLeading));
}

/// A clock that stands still.
#[derive(Debug)]
struct Still(Instant);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn instant(&self) -> Instant {
        self.0
    }
}

#[tokio::test(start_paused = true)]
async fn a_timer_that_runs_ahead_of_the_clock_does_not_spin() {
    let now = SystemClock.instant();
    let (_keeper, fence) = Fence::new(Arc::new(Still(now)), now + TERM);
    let waited = tokio::time::timeout(10 * TERM, fence.expired()).await;
    assert!(waited.is_err(), "by its own clock it is still open");
}

#[tokio::test(start_paused = true)]
async fn while_the_clock_is_doubted_nothing_may_be_changed_and_the_term_lasts() {
    let start = SystemClock.instant();
    let check = ClockCheck::new(Arc::new(SystemClock), Duration::from_secs(15));
    let at = |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).unwrap();
    check.answered(start, at(0));
    let granted = Validity { until: start + TERM, sent: start };
    let (keeper, fence) = Fence::checked(Arc::new(SystemClock), granted, &check);
    let mut closed = Box::pin(fence.closed());
    assert!(futures::poll!(&mut closed).is_pending());
    tokio::time::advance(Duration::from_secs(1)).await;
    check.answered(SystemClock.instant(), at(31));
    assert_eq!((fence.check(), fence.has_ended()), (Err(NotLeading), false));
    closed.await;
    let mut expired = Box::pin(fence.expired());
    assert!(futures::poll!(&mut expired).is_pending(), "the term goes on");
    // The answer of a renewal that was sent before proves nothing.
    keeper.renew(Validity { until: start + TERM, sent: start + Duration::from_millis(999) });
    assert!(fence.check().is_err());
    let renewed = Validity { until: start + 2 * TERM, sent: SystemClock.instant() };
    keeper.renew(renewed);
    assert_eq!((fence.check(), fence.has_ended()), (Ok(Some(renewed.until)), false));
    let mut closed = Box::pin(fence.closed());
    assert!(futures::poll!(&mut closed).is_pending(), "open again");
    tokio::time::advance(2 * TERM).await;
    expired.await;
    assert_eq!((fence.check(), fence.has_ended()), (Err(NotLeading), true));
}

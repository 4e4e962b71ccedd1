// SPDX-License-Identifier: Apache-2.0
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::time::sleep;

use super::fan_out::{TimedOut, fan_out};
use kube_fenced_election::clock::{Clock, SystemClock};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn results_come_in_the_order_of_the_items_whatever_the_order_of_the_answers() {
    let answers = fan_out([30, 10, 20], 3, SECOND, |ms| async move {
        sleep(Duration::from_millis(ms)).await;
        ms
    })
    .await;
    assert_eq!(answers, [Ok(30), Ok(10), Ok(20)]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_is_cut_and_the_others_are_not() {
    let answers = fan_out([1, 5000, 2], 1, SECOND, |ms| async move {
        sleep(Duration::from_millis(ms)).await;
        ms
    })
    .await;
    assert_eq!(answers, [Ok(1), Err(TimedOut { after: SECOND }), Ok(2)]);
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_than_allowed_run_at_a_time() {
    let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    fan_out(0..20, 4, SECOND, |_| async {
        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        sleep(Duration::from_millis(10)).await;
        running.fetch_sub(1, Ordering::SeqCst);
    })
    .await;
    assert_eq!(most.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn a_slow_first_call_does_not_hold_up_the_rest() {
    let start = SystemClock.instant();
    fan_out([900, 100, 100, 100, 100, 100, 100, 100], 2, SECOND, |ms| sleep(Duration::from_millis(ms))).await;
    assert_eq!(SystemClock.instant() - start, Duration::from_millis(900));
}

#[tokio::test(start_paused = true)]
async fn a_bound_of_zero_still_makes_progress() {
    assert_eq!(fan_out([1, 2], 0, SECOND, |n| async move { n }).await, [Ok(1), Ok(2)]);
}

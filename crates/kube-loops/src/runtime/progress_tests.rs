// SPDX-License-Identifier: Apache-2.0
use std::{sync::Arc, time::Duration};

use tokio::time::advance;

use super::progress::Progress;
use kube_fenced_election::clock::{SharedClock, SystemClock};

const MINUTE: Duration = Duration::from_mins(1);

fn progress() -> (Progress, SharedClock) {
    let clock: SharedClock = Arc::new(SystemClock);
    (Progress::new(Arc::clone(&clock), Duration::from_mins(2)), clock)
}

#[tokio::test(start_paused = true)]
async fn idle_controller_is_never_stuck() {
    let (progress, _) = progress();
    advance(Duration::from_secs(100_000)).await;
    assert_eq!(progress.stuck(MINUTE), None);
}

#[tokio::test(start_paused = true)]
async fn waiting_keys_without_a_finished_pass_are_stuck_after_the_deadline_and_the_patience() {
    let (progress, _) = progress();
    progress.keys_held(0, 3);
    advance(Duration::from_secs(179)).await;
    progress.keys_held(3, 4);
    assert_eq!(progress.stuck(MINUTE), None);
    advance(Duration::from_secs(1)).await;
    assert_eq!(progress.stuck(MINUTE), Some("NoPassFinished"));
}

#[tokio::test(start_paused = true)]
async fn a_finished_pass_starts_the_count_anew_while_keys_wait_in_any_queue() {
    let (progress, _) = progress();
    progress.keys_held(0, 1);
    progress.keys_held(0, 1); // another loop's queue
    advance(Duration::from_secs(170)).await;
    progress.keys_held(1, 0);
    progress.pass_finished(false);
    advance(Duration::from_secs(179)).await;
    assert_eq!(progress.stuck(MINUTE), None);
    advance(Duration::from_secs(1)).await;
    assert_eq!(progress.stuck(MINUTE), Some("NoPassFinished"), "the other queue still holds its key");
}

#[tokio::test(start_paused = true)]
async fn last_finished_pass_ends_the_count() {
    let (progress, _) = progress();
    progress.work_waits();
    progress.pass_finished(false);
    advance(Duration::from_secs(1000)).await;
    assert_eq!(progress.stuck(MINUTE), None);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_fails_without_a_break_is_stuck_after_the_patience() {
    let (progress, clock) = progress();
    progress.watch_health(Some((clock.instant(), "pods: forbidden".to_owned())));
    advance(Duration::from_secs(59)).await;
    assert_eq!(progress.stuck(MINUTE), None);
    advance(Duration::from_secs(1)).await;
    assert_eq!(progress.stuck(MINUTE), Some("WatchFailing"));
    assert_eq!(progress.failing_watch().as_deref(), Some("pods: forbidden"));
    progress.watch_health(None);
    assert_eq!(progress.stuck(MINUTE), None);
}

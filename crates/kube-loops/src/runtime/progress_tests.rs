// SPDX-License-Identifier: Apache-2.0
use std::{sync::Arc, time::Duration};

use tokio::time::advance;

use super::progress::{LoopProgress, Progress};
use kube_fenced_election::clock::{SharedClock, SystemClock};

const MINUTE: Duration = Duration::from_mins(1);
const LONGEST_PASS: Duration = Duration::from_mins(2);

fn progress() -> (Arc<Progress>, LoopProgress, SharedClock) {
    let clock: SharedClock = Arc::new(SystemClock);
    let progress = Arc::new(Progress::new(Arc::clone(&clock)));
    let of_loop = progress.of_loop("sets", LONGEST_PASS);
    (progress, of_loop, clock)
}

fn reason(progress: &Progress) -> Option<&'static str> {
    progress.stuck(MINUTE).map(|stuck| stuck.reason)
}

#[tokio::test(start_paused = true)]
async fn idle_controller_is_never_stuck() {
    let (progress, ..) = progress();
    advance(Duration::from_secs(100_000)).await;
    assert_eq!(progress.stuck(MINUTE), None);
}

#[tokio::test(start_paused = true)]
async fn waiting_keys_without_a_finished_pass_are_stuck_after_the_deadline_and_the_patience() {
    let (progress, sets, _) = progress();
    sets.holds(3);
    advance(Duration::from_secs(179)).await;
    sets.holds(4);
    assert_eq!(reason(&progress), None);
    advance(Duration::from_secs(1)).await;
    assert_eq!(reason(&progress), Some("NoPassFinished"));
}

#[tokio::test(start_paused = true)]
async fn finished_passes_are_proof_for_as_long_as_they_come() {
    let (progress, sets, _) = progress();
    sets.holds(2);
    for _ in 0..100 {
        advance(Duration::from_secs(170)).await;
        sets.pass_finished();
        assert_eq!(reason(&progress), None);
    }
    sets.holds(0);
    sets.pass_finished();
    advance(Duration::from_secs(100_000)).await;
    assert_eq!(reason(&progress), None, "nothing waits");
}

#[tokio::test(start_paused = true)]
async fn loop_that_works_hides_none_that_hangs() {
    let (progress, sets, _) = progress();
    let pods = progress.of_loop("pods", Duration::from_secs(10));
    sets.holds(1);
    pods.holds(1);
    for _ in 0..14 {
        advance(Duration::from_secs(5)).await;
        sets.pass_finished();
    }
    let stuck = progress.stuck(MINUTE).unwrap();
    assert_eq!((stuck.reason, stuck.what.as_str()), ("NoPassFinished", "pods"));
    pods.pass_finished();
    assert_eq!(progress.stuck(MINUTE), None);
}

#[tokio::test(start_paused = true)]
async fn watch_that_fails_without_a_break_is_stuck_after_the_patience_and_named() {
    let (progress, _, clock) = progress();
    progress.watch_health(Some((clock.instant(), "pods: forbidden".to_owned())));
    advance(Duration::from_secs(59)).await;
    assert_eq!(progress.stuck(MINUTE), None);
    advance(Duration::from_secs(1)).await;
    let stuck = progress.stuck(MINUTE).unwrap();
    assert_eq!((stuck.reason, stuck.what.as_str()), ("WatchFailing", "pods: forbidden"));
    progress.watch_health(None);
    assert_eq!(progress.stuck(MINUTE), None);
}

#[tokio::test(start_paused = true)]
async fn watch_that_failed_before_the_term_gets_its_patience_from_the_start_of_the_term() {
    let (_, _, clock) = progress();
    let outage = clock.instant();
    advance(Duration::from_mins(10)).await;
    let progress = Progress::new(clock);
    progress.watch_health(Some((outage, "pods: connection refused".to_owned())));
    assert_eq!(progress.stuck(MINUTE), None);
    advance(Duration::from_secs(59)).await;
    assert_eq!(progress.stuck(MINUTE), None);
    advance(Duration::from_secs(1)).await;
    assert_eq!(reason(&progress), Some("WatchFailing"));
}

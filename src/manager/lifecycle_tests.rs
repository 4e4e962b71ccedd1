// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use kube_fenced_election::{
    TermEnd,
    clock::{Clock, Instant, SystemClock},
};
use kube_loops::runtime::controller::RunError;

use kube_loops::runtime::progress::Stuck;

use super::lifecycle::{ControllerState, Failures, TermOutcome};

fn crashed() -> TermOutcome {
    TermOutcome::Failed(RunError::Panicked { part: "loop", message: "boom".into() })
}

fn back_off(failures: &mut Failures, ended: &TermOutcome, lived: Duration) -> Duration {
    let now = start() + lived;
    match failures.term_end(ended, start(), now, 0.0) {
        TermEnd::Failed { back_off } => back_off,
        other => panic!("not a failure: {other:?}"),
    }
}

fn start() -> Instant {
    SystemClock.instant()
}

#[test]
fn a_crashing_controller_stays_out_for_one_second_doubling_to_thirty() {
    let mut failures = Failures::default();
    let pauses: Vec<u64> =
        (0..7).map(|_| back_off(&mut failures, &crashed(), Duration::ZERO).as_secs()).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
}

#[test]
fn five_minutes_of_health_forgive_earlier_crashes() {
    let mut failures = Failures::default();
    for _ in 0..5 {
        back_off(&mut failures, &crashed(), Duration::ZERO);
    }
    assert_eq!(back_off(&mut failures, &crashed(), Duration::from_secs(301)), Duration::from_secs(1));
}

#[test]
fn caches_that_do_not_fill_are_tried_again_after_ten_seconds_doubling_to_five_minutes() {
    let mut failures = Failures::default();
    let ended =
        TermOutcome::Failed(RunError::CacheSync { kind: "kvcaches".into(), cause: "forbidden".into() });
    let pauses: Vec<u64> =
        (0..7).map(|_| back_off(&mut failures, &ended, Duration::ZERO).as_secs()).collect();
    assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300]);
}

#[test]
fn jitter_stretches_a_pause_by_a_fifth_at_most() {
    let mut failures = Failures::default();
    let term_end = failures.term_end(&crashed(), start(), start(), 1.0);
    assert_eq!(term_end, TermEnd::Failed { back_off: Duration::from_millis(1200) });
}

#[test]
fn unfinished_work_never_releases_and_lost_work_is_simply_over() {
    let mut failures = Failures::default();
    assert_eq!(failures.term_end(&TermOutcome::Unfinished, start(), start(), 0.0), TermEnd::Unfinished);
    assert_eq!(failures.term_end(&TermOutcome::Lost, start(), start(), 0.0), TermEnd::Finished);
}

#[test]
fn a_stuck_controller_stays_away_for_a_minute() {
    let mut failures = Failures::default();
    let term_end = failures.term_end(
        &TermOutcome::Stuck(Stuck { reason: "NoPassFinished", what: "a loop".into() }),
        start(),
        start(),
        0.0,
    );
    assert_eq!(term_end, TermEnd::GaveWay { reason: "NoPassFinished", pause: Duration::from_secs(60) });
}

#[test]
fn every_state_has_a_name_of_its_own() {
    let mut names: Vec<_> = ControllerState::ALL.iter().map(|state| state.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ControllerState::ALL.len());
}

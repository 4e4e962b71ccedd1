// SPDX-License-Identifier: Apache-2.0
use jiff::{SignedDuration, Timestamp};

use super::cooldown::{CooldownWindows, Recommendations};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

fn windows(up: i64, down: i64) -> CooldownWindows {
    CooldownWindows { up: SignedDuration::from_secs(up), down: SignedDuration::from_secs(down) }
}

/// Stabilised counts for (second, R, recommendation).
fn run(windows: CooldownWindows, rounds: &[(i64, i32, i32)]) -> Vec<i32> {
    let mut history = Recommendations::default();
    let stabilised = |(second, current, recommended): &(i64, i32, i32)| {
        history.stabilise(at(*second), *current, *recommended, windows)
    };
    rounds.iter().map(stabilised).collect()
}

// scenario: pod-autoscaler 36
#[test]
fn scaling_down_waits_until_no_higher_recommendation_is_young() {
    let rounds: Vec<_> = (0..=30).map(|round| (round * 10, 8, if round == 0 { 8 } else { 2 })).collect();
    let got = run(windows(0, 300), &rounds);
    assert!(got[..30].iter().all(|count| *count == 8), "{got:?}");
    assert_eq!(got[30], 2, "after 300 seconds");
}

// scenario: pod-autoscaler 36
#[test]
fn without_a_window_scaling_down_is_immediate() {
    assert_eq!(run(windows(0, 0), &[(0, 8, 4), (10, 4, 2)]), [4, 2]);
}

#[test]
fn a_low_first_recommendation_does_not_scale_down_a_target_just_met() {
    assert_eq!(run(windows(0, 300), &[(0, 8, 1), (150, 8, 1), (299, 8, 1), (300, 8, 1)]), [8, 8, 8, 1]);
}

#[test]
fn scaling_down_goes_to_the_greatest_young_recommendation() {
    assert_eq!(run(windows(0, 60), &[(0, 8, 5), (30, 8, 3), (60, 8, 2), (90, 5, 2)]), [8, 8, 3, 2]);
}

#[test]
fn scaling_up_waits_for_the_up_window() {
    assert_eq!(run(windows(30, 300), &[(0, 2, 6), (10, 2, 8), (29, 2, 4), (30, 2, 7)]), [2, 2, 2, 4]);
    assert_eq!(run(windows(0, 300), &[(0, 2, 6)]), [6], "at once by default");
}

#[test]
fn an_interruption_starts_the_history_again_with_the_current_count() {
    assert_eq!(run(windows(0, 60), &[(0, 8, 8), (60, 8, 2), (500, 8, 1), (560, 8, 1)]), [8, 2, 8, 1]);
}

#[test]
fn the_down_window_is_full_one_length_after_first_sight() {
    let mut history = Recommendations::default();
    assert_eq!(history.full_at(SignedDuration::from_secs(60)), None);
    history.stabilise(at(0), 2, 2, windows(0, 60));
    history.stabilise(at(10), 2, 2, windows(0, 60));
    assert_eq!(history.full_at(SignedDuration::from_secs(60)), Some(at(60)));
    assert_eq!(history.full_at(SignedDuration::MAX), None, "beyond the end of time");
}

proptest::proptest! {
    /// Against the definition, with the whole history kept.
    #[test]
    fn the_short_history_answers_like_the_whole_one(
        counts in proptest::collection::vec(0..6_i32, 1..40), up in 0..60_i64, down in 0..60_i64, current in 0..6_i32,
    ) {
        let mut history = Recommendations::default();
        let mut whole = vec![(0, current)];
        for (second, count) in (0..).step_by(7).zip(counts) {
            whole.push((second, count));
            let young = |window: i64| whole.iter().filter(move |(at, _)| second - at < window).map(|(_, count)| *count);
            let least = young(up).min().unwrap_or(count).min(count);
            let greatest = young(down).max().unwrap_or(count).max(count);
            let want = current.max(least).min(greatest);
            proptest::prop_assert_eq!(history.stabilise(at(second), current, count, windows(up, down)), want);
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
use jiff::{SignedDuration, Timestamp};

use super::{Totals, window::Windows};

fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(1_000_000_000 + milliseconds).unwrap()
}

// scenario: pod-autoscaler 34
#[test]
fn stable_and_panic_means_are_taken_over_their_own_lengths() {
    for (stable, panic) in [(120, 30), (90, 30)] {
        let mut windows = Windows::default();
        windows.record(at(0), Totals::of(10.0), stable, panic);
        windows.record(at(60_000), Totals::of(70.0), stable, panic);
        assert_eq!(windows.means(), (Totals::of(40.0), Totals::of(70.0)));
    }
}

#[test]
fn the_mean_of_huge_samples_is_a_number() {
    let mut windows = Windows::default();
    for second in 0..3 {
        windows.record(at(second * 1000), Totals::of(1e308), 60, 1);
    }
    let (stable, panic) = windows.means();
    assert!((0.99e308..=1.01e308).contains(&stable.sum) && panic.sum.is_finite(), "{stable:?} {panic:?}");
}

// scenario: pod-autoscaler 34
#[test]
fn a_later_sample_of_the_same_second_replaces_the_earlier_one() {
    let mut windows = Windows::default();
    windows.record(at(100), Totals::of(10.0), 60, 30);
    windows.record(at(900), Totals::of(20.0), 60, 30);
    assert_eq!(windows.means(), (Totals::of(20.0), Totals::of(20.0)));
    windows.record(at(1000), Totals::of(40.0), 60, 30);
    assert_eq!(windows.means(), (Totals::of(30.0), Totals::of(30.0)));
}

// scenario: pod-autoscaler 34
#[test]
fn a_sample_exactly_as_old_as_the_window_stays() {
    let mut windows = Windows::default();
    windows.record(at(0), Totals::of(10.0), 60, 30);
    windows.record(at(30_000), Totals::of(20.0), 60, 30);
    assert_eq!(windows.means(), (Totals::of(15.0), Totals::of(15.0)));
    windows.record(at(60_000), Totals::of(30.0), 60, 30);
    assert_eq!(windows.means(), (Totals::of(20.0), Totals::of(25.0)));
    windows.record(at(61_000), Totals::of(30.0), 60, 30);
    assert_eq!(windows.means(), (Totals::of(80.0 / 3.0), Totals::of(30.0)));
}

#[test]
fn other_lengths_discard_both_windows() {
    let mut windows = Windows::default();
    windows.record(at(0), Totals::of(10.0), 60, 30);
    windows.record(at(1000), Totals::of(30.0), 60, 20);
    assert_eq!(windows.means(), (Totals::of(30.0), Totals::of(30.0)));
    assert_eq!(windows.full_at(), Some(at(61_000)));
    assert_eq!(Windows::default().means(), (Totals::of(0.0), Totals::of(0.0)));
}

#[test]
fn a_window_is_full_one_length_after_its_first_sample_unless_it_was_interrupted() {
    let mut windows = Windows::default();
    assert_eq!(windows.full_at(), None);
    windows.record(at(0), Totals::of(1.0), 60, 30);
    windows.record(at(60_000), Totals::of(1.0), 60, 30);
    assert_eq!(windows.full_at(), Some(at(60_000)));
    windows.record(at(121_000), Totals::of(1.0), 60, 30);
    assert_eq!(windows.full_at(), Some(at(181_000)), "after an interruption");
}

#[test]
fn a_window_shorter_than_the_period_is_full_at_the_next_sample() {
    let mut windows = Windows::default();
    windows.record(at(0), Totals::of(1.0), 5, 5);
    windows.record(at(10_000), Totals::of(2.0), 5, 5);
    assert_eq!(windows.means(), (Totals::of(2.0), Totals::of(2.0)));
    assert_eq!(windows.full_at().map(|full| full.duration_since(at(0))), Some(SignedDuration::from_secs(5)));
}

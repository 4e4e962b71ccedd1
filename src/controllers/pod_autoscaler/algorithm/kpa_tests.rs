// SPDX-License-Identifier: Apache-2.0
use super::{
    Limits, Totals,
    kpa::{Input, Output, decide, recommend},
};

fn limits(up_rate: f64, tolerance: f64) -> Limits {
    Limits { up_rate, down_rate: 2.0, up_tolerance: tolerance, down_tolerance: tolerance }
}

fn input(current: i32, target: f64, stable: f64, panic: f64) -> Input {
    let (stable, panic) = (Totals::of(stable), Totals::of(panic));
    Input { current, target, stable, panic, summed: false, activation: 1, peak: None }
}

#[test]
fn kpa_follows_the_total_of_its_windows() {
    for (summed, given, in_panic, up, want) in [
        (false, input(2, 10.0, 20.0, 20.0), false, 2.0, 2),
        (false, Input { peak: Some(2), ..input(2, 10.0, 30.0, 40.0) }, true, 2.0, 4),
        (false, Input { peak: Some(5), ..input(5, 10.0, 20.0, 20.0) }, true, 2.0, 5),
        (false, input(1, 10.0, 0.0, 0.0), false, 2.0, 0),
        (false, Input { activation: 3, ..input(0, 10.0, 15.0, 15.0) }, false, 2.0, 3),
        (false, input(2, 10.0, 100.0, 100.0), false, 1.5, 3),
        (false, input(4, 10.0, 5.0, 5.0), false, 2.0, 2),
    ] {
        for summed in [summed, true] {
            let given = Input { summed, ..given };
            assert_eq!(decide(given, in_panic, limits(up, 0.0)).desired, want, "{given:?}");
        }
    }
}

// scenario: pod-autoscaler 33
#[test]
fn a_total_over_pods_is_not_mistaken_for_a_mean() {
    let summed = Input { summed: true, ..input(8, 0.5, 0.9 * 8.0, 0.9 * 8.0) };
    assert_eq!(recommend(summed, 2.0, limits(2.0, 0.1)).desired, 15);
    assert_eq!(recommend(input(0, 10.0, 15.0, 15.0), 2.0, limits(2.0, 0.1)).desired, 1, "capped from zero");
}

#[test]
fn the_tolerance_lies_around_what_the_value_stands_for() {
    let total = Input { summed: true, ..input(20, 1.0, 21.0, 21.0) };
    assert_eq!(recommend(total, 2.0, limits(2.0, 0.1)).desired, 20, "5 % more than 20 pods at the target");
    assert_eq!(recommend(input(20, 1.0, 21.0, 21.0), 2.0, limits(2.0, 0.1)).desired, 21, "asked for 21");
}

// scenario: pod-autoscaler 35
#[test]
fn a_burst_panics_only_above_the_threshold() {
    let burst = |panic: f64| recommend(input(2, 10.0, 15.0, panic), 2.0, limits(4.0, 0.0));
    assert_eq!(burst(45.0), Output { desired: 5, peak: Some(5) });
    assert_eq!(burst(30.0), Output { desired: 2, peak: None }, "30/15 is not above 2");
}

#[test]
fn panic_keeps_its_peak_and_forgets_it_when_it_ends() {
    let still = Input { peak: Some(6), ..input(6, 10.0, 10.0, 25.0) };
    assert_eq!(recommend(still, 2.0, limits(2.0, 0.0)), Output { desired: 6, peak: Some(6) });
    let over = Input { peak: Some(6), ..input(6, 10.0, 12.0, 12.0) };
    assert_eq!(recommend(over, 2.0, limits(2.0, 0.0)), Output { desired: 3, peak: None });
    let idle = Input { peak: Some(6), ..input(6, 10.0, 0.0, 0.0) };
    assert_eq!(recommend(idle, 2.0, limits(2.0, 0.0)), Output { desired: 3, peak: None });
}

#[test]
fn kpa_holds_without_usable_numbers() {
    for (target, stable, panic) in
        [(0.0, 1.0, 1.0), (f64::NAN, 1.0, 1.0), (1.0, f64::NAN, 1.0), (1.0, 1.0, f64::INFINITY)]
    {
        assert_eq!(recommend(input(7, target, stable, panic), 2.0, limits(2.0, 0.1)).desired, 7);
    }
}

// scenario: hardening 32
#[test]
fn surge_pods_change_nothing_by_being_there() {
    for (sum, spread, want, why) in [
        (40.0, 20.0, 4, "load that is spread over surge pods"),
        (80.0, 40.0, 4, "what each pod has for itself, such as memory"),
        (60.0, 50.0, 6, "above even so"),
        (30.0, 15.0, 3, "below even so"),
    ] {
        let totals = Totals { sum, spread };
        let given = Input { summed: true, stable: totals, panic: totals, ..input(4, 10.0, 0.0, 0.0) };
        assert_eq!(recommend(given, 2.0, limits(2.0, 0.1)).desired, want, "{why}");
    }
}

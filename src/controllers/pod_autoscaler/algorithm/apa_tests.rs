// SPDX-License-Identifier: Apache-2.0
use super::{Limits, Totals, apa};

fn limits(up_rate: f64, down_rate: f64) -> Limits {
    Limits { up_rate, down_rate, up_tolerance: 0.1, down_tolerance: 0.1 }
}

/// With `stable` as the mean over R pods.
fn recommend(current: i32, target: f64, stable: f64, limits: Limits) -> i32 {
    apa::recommend(current, target, Totals::of(stable * f64::from(current)), limits)
}

#[test]
fn apa_follows_the_mean_within_rates_and_tolerances() {
    for (current, target, stable, up, down, want) in [
        (2, 30.0, 45.0, 2.0, 2.0, 3),
        (2, 30.0, 35.0, 2.0, 2.0, 3),
        (2, 30.0, 90.0, 2.0, 2.0, 4),
        (2, 30.0, 90.0, 2.5, 2.0, 5),
        (6, 30.0, 20.0, 2.0, 2.0, 4),
        (6, 30.0, 18.0, 2.0, 2.0, 4),
        (6, 30.0, 10.0, 2.0, 2.0, 3),
        (6, 30.0, 5.0, 2.0, 2.5, 2),
        (2, 30.0, 33.0, 2.0, 2.0, 2), // 33/30 is not above 1 + 0.1
        (2, 30.0, 27.0, 2.0, 2.0, 2), // 27/30 is not below 1 − 0.1
        (1, 50.0, 70.0, 4.0, 2.0, 2),
        (1, 30.0, 70.0, 4.0, 2.0, 3),
        (0, 30.0, 1000.0, 2.0, 2.0, 0), // cannot wake a target
    ] {
        let got = recommend(current, target, stable, limits(up, down));
        assert_eq!(got, want, "R{current} S{stable} T{target} up{up} down{down}");
    }
}

#[test]
fn apa_holds_without_a_usable_target_or_mean() {
    for (target, stable) in [(0.0, 5.0), (-1.0, 5.0), (f64::NAN, 5.0), (1.0, f64::NAN), (1.0, f64::INFINITY)]
    {
        assert_eq!(recommend(7, target, stable, limits(2.0, 2.0)), 7);
    }
    assert_eq!(recommend(1, 1e-300, 1e300, limits(f64::MAX, 2.0)), i32::MAX, "huge values saturate");
}

// scenario: hardening 32
#[test]
fn pods_beyond_the_replicas_lead_neither_up_nor_down() {
    for (current, sum, spread, want, why) in [
        (4, 40.0, 20.0, 4, "load that is spread over surge pods"),
        (4, 80.0, 40.0, 4, "what each pod has for itself, such as memory"),
        (4, 120.0, 60.0, 8, "above even so: the size follows the sum, within the rate"),
        (4, 16.0, 8.0, 2, "below even so"),
    ] {
        let got = apa::recommend(current, 10.0, Totals { sum, spread }, limits(2.0, 2.0));
        assert_eq!(got, want, "{why}");
    }
}

// SPDX-License-Identifier: Apache-2.0
use super::{Totals, aggregate::totals_of_pods};

// scenario: pod-autoscaler 32
#[test]
fn missing_values_lead_neither_up_nor_down() {
    for (values, current, want, why) in [
        (&[10.0][..], 2, Some(20.0), "the other is at the target"),
        (&[12.0], 2, Some(20.0), "above, but not with a missing one at zero"),
        (&[30.0], 2, Some(30.0), "above even with a missing one at zero"),
        (&[4.0], 2, Some(14.0), "below, a missing one at the target"),
        (&[4.0, 6.0], 2, Some(10.0), "nothing missing"),
        (&[], 2, None, "nothing known"),
        (&[f64::NAN, f64::INFINITY], 2, None, "nothing finite"),
        (&[f64::NAN, 10.0], 2, Some(20.0), "one finite"),
        (&[f64::MAX, f64::MAX], 2, Some(f64::MAX), "beyond the largest number"),
    ] {
        assert_eq!(totals_of_pods(values, current, 10.0), want.map(Totals::of), "{why}");
    }
}

// scenario: hardening 32
#[test]
fn pods_beyond_the_replicas_add_to_the_sum_only() {
    for (values, current, sum, spread) in [
        (&[4.0, 6.0, 8.0][..], 2, 18.0, 12.0),
        (&[5.0; 8], 4, 40.0, 20.0),
        (&[8.0], 0, 8.0, 0.0),
        (&[f64::MAX, f64::MAX], 1, f64::MAX, f64::MAX / 2.0),
    ] {
        assert_eq!(
            totals_of_pods(values, current, 10.0),
            Some(Totals { sum, spread }),
            "{values:?} of {current}"
        );
    }
}

proptest::proptest! {
    #[test]
    fn missing_values_never_move_the_mean_across_the_target(
        values in proptest::collection::vec(0.0..100.0_f64, 1..8), more in 0..8_i32, target in 0.1..50.0_f64,
    ) {
        let known = i32::try_from(values.len()).unwrap();
        let mean = |current: i32| totals_of_pods(&values, current, target).unwrap().sum / f64::from(current);
        let (full, with_missing) = (mean(known), mean(known + more));
        let slack = target * 1e-12;
        if full >= target {
            proptest::prop_assert!(with_missing >= target - slack && with_missing <= full + slack);
        } else {
            proptest::prop_assert!(with_missing <= target + slack && with_missing >= full - slack);
        }
    }
}

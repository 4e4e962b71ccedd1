// SPDX-License-Identifier: Apache-2.0
use super::aggregate::mean_of_pods;

// scenario: pod-autoscaler 32
#[test]
fn missing_values_lead_neither_up_nor_down() {
    for (values, current, want, why) in [
        (&[10.0][..], 2, Some(10.0), "the other is at the target"),
        (&[12.0], 2, Some(10.0), "above, but not with a missing one at zero"),
        (&[30.0], 2, Some(15.0), "above even with a missing one at zero"),
        (&[4.0], 2, Some(7.0), "below, a missing one at the target"),
        (&[4.0, 6.0], 2, Some(5.0), "nothing missing"),
        (&[4.0, 6.0, 8.0], 2, Some(6.0), "more pods than replicas"),
        (&[8.0], 0, Some(8.0), "no replicas wanted"),
        (&[], 2, None, "nothing known"),
        (&[f64::NAN, f64::INFINITY], 2, None, "nothing finite"),
        (&[f64::NAN, 10.0], 2, Some(10.0), "one finite"),
        (&[f64::MAX, f64::MAX], 2, Some(f64::MAX / 2.0), "beyond the largest number"),
    ] {
        assert_eq!(mean_of_pods(values, current, 10.0), want, "{why}");
    }
}

proptest::proptest! {
    #[test]
    fn missing_values_never_move_the_mean_across_the_target(
        values in proptest::collection::vec(0.0..100.0_f64, 1..8), more in 0..8_i32, target in 0.1..50.0_f64,
    ) {
        let current = i32::try_from(values.len()).unwrap() + more;
        let full = mean_of_pods(&values, 0, target).unwrap();
        let with_missing = mean_of_pods(&values, current, target).unwrap();
        let slack = target * 1e-12;
        if full >= target {
            proptest::prop_assert!(with_missing >= target - slack && with_missing <= full + slack);
        } else {
            proptest::prop_assert!(with_missing <= target + slack && with_missing >= full - slack);
        }
    }
}

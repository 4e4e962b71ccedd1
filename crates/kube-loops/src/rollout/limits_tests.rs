// SPDX-License-Identifier: Apache-2.0

use proptest::prelude::*;

use super::replica_cases::cases;
use super::{
    int_or_percent::Amount::{Count, Percent},
    limits::Limits,
};

#[test]
fn surge_and_unavailability_are_resolved_as_in_the_tables_of_the_kinds() {
    let table = [
        (None, None, 10, 0, 1),
        (Some(Count(3)), Some(Count(2)), 10, 3, 2),
        (Some(Percent(50)), Some(Percent(30)), 10, 5, 3),
        (Some(Count(2)), Some(Percent(25)), 8, 2, 2),
        (Some(Count(0)), Some(Count(0)), 5, 0, 1),
        (Some(Percent(33)), Some(Count(1)), 10, 4, 1),
        (Some(Count(1)), Some(Percent(33)), 10, 1, 3),
        (Some(Percent(25)), Some(Percent(20)), 10, 3, 2),
        (Some(Percent(20)), Some(Count(3)), 10, 2, 3),
        (Some(Percent(25)), Some(Percent(25)), 2, 1, 0),
        (Some(Percent(25)), Some(Percent(25)), 1, 1, 0),
        (Some(Percent(25)), Some(Percent(25)), 4, 1, 1),
        (Some(Count(0)), Some(Percent(10)), 5, 0, 1),
        (Some(Count(0)), Some(Count(9)), 5, 0, 5),
        (Some(Count(9)), Some(Percent(300)), 5, 9, 5),
        (Some(Count(3)), Some(Count(1)), 0, 3, 0),
        (None, None, 0, 0, 0),
    ];
    for (surge, unavailable, desired, s, u) in table {
        let limits = Limits::resolve(desired, surge, unavailable);
        assert_eq!((limits.surge, limits.unavailable), (s, u), "{surge:?} {unavailable:?} of {desired}");
    }
}

#[test]
fn rollouts_in_place_promise_no_readiness_and_recreation_allows_none_to_be_missing() {
    assert_eq!(Limits::unguarded(4).min_available(), 0);
    assert_eq!(Limits::none(4).min_available(), 4);
    assert_eq!(Limits::none(4).max_total(), 4);
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn some_step_is_always_possible(
        desired in 1_usize..200,
        surge in prop_oneof![(0_u32..250).prop_map(Count), (0_u32..250).prop_map(Percent)],
        unavailable in prop_oneof![(0_u32..250).prop_map(Count), (0_u32..250).prop_map(Percent)],
    ) {
        let limits = Limits::resolve(desired, Some(surge), Some(unavailable));
        prop_assert!(limits.surge + limits.unavailable >= 1);
        prop_assert!(limits.unavailable <= desired);
        prop_assert!(limits.room(desired) + limits.expendable(desired) >= 1);
    }
}

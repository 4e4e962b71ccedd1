// SPDX-License-Identifier: Apache-2.0

use proptest::prelude::*;

use super::{
    limits::Limits,
    proportional::*,
    replica::{Life, Replica, Revision},
    replica_cases::{any_replicas, cases, replica},
};

/// Size and former total of each set, R, S, replicas in the status, new sizes.
type Row<'a> = (&'a [(usize, Option<i64>)], usize, usize, i64, &'a [usize]);

fn sets(sizes: &[(usize, Option<i64>)]) -> Vec<ActiveSet> {
    sizes
        .iter()
        .map(|(replicas, max_total)| ActiveSet { replicas: *replicas, max_total: *max_total })
        .collect()
}

/// The table of the reference.
#[test]
fn two_revisions_share_by_their_present_sizes() {
    let table = [
        (4, 1, 1, 2, 2),
        (9, 2, 1, 6, 3),
        (3, 6, 3, 2, 1),
        (10, 1, 10, 1, 9),
        (25, 1, 20, 1, 24),
        (100, 1, 20, 5, 95),
        (10, 10, 1, 9, 1),
        (5, 2, 2, 3, 2),
        (3, 5, 5, 2, 1),
        (5, 0, 0, 0, 5),
        (0, 2, 3, 0, 0),
        (7, 3, 4, 3, 4),
    ];
    for (desired, current, update, to_current, to_update) in table {
        assert_eq!(
            split(desired, current, update),
            (to_current, to_update),
            "{desired} of {current} and {update}"
        );
    }
}

fn set(name: &str, revision: Revision, ready: bool) -> Replica {
    Replica { ready, revision, ..replica(name, 1) }
}

#[test]
fn paused_set_grows_and_shrinks_by_shares() {
    let (old, new) = (Revision::Current, Revision::Update);
    let four = [set("a", old, true), set("b", old, true), set("c", new, true), set("d", new, true)];
    let out = scale_paused(&four, 8);
    assert_eq!((out.create_current, out.create_update), (2, 2));
    let within = scale_paused(&four, 2);
    assert_eq!(within.delete.iter().map(|replica| replica.name.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    let three = [set("a", old, true), set("b", old, true), set("c", old, true)];
    assert_eq!((scale_paused(&three, 6).create_current, scale_paused(&three, 6).create_update), (3, 0));
}

#[test]
fn paused_set_gives_up_what_is_not_ready_first() {
    let (old, new) = (Revision::Current, Revision::Update);
    let replicas = [set("a", old, true), set("b", new, false), set("c", old, false), set("d", new, true)];
    let names = |desired| {
        scale_paused(&replicas, desired).delete.iter().map(|replica| replica.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(3), ["b"]);
    assert_eq!(names(2), ["b", "c"]);
    assert_eq!(names(1), ["b", "c", "d"], "half up: the old one keeps the only place");
}

/// The examples of the reference.
#[test]
fn sets_are_scaled_as_a_deployment_scales_them() {
    let table: [Row<'_>; 8] = [
        (&[(8, Some(13)), (5, Some(13))], 20, 3, 13, &[14, 9]),
        (&[(8, Some(13)), (5, Some(13))], 5, 3, 13, &[5, 3]),
        (&[(8, Some(13)), (5, Some(13))], 0, 3, 13, &[0, 0]),
        (&[(8, Some(13)), (5, Some(13))], 10, 3, 13, &[8, 5]),
        (&[(8, None), (5, None)], 20, 3, 13, &[14, 9]),
        (&[(8, Some(0)), (5, None)], 20, 3, 0, &[14, 9]),
        (&[(2, Some(3)), (1, Some(3))], 3, 1, 3, &[3, 1]),
        (&[(3, Some(6)), (3, Some(6))], 9, 0, 6, &[5, 4]),
    ];
    for (sizes, desired, surge, status, expected) in table {
        let limits = Limits { desired, surge, unavailable: 0 };
        assert_eq!(distribute(&sets(sizes), limits, status), expected, "{sizes:?} to {desired}");
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn shares_of_two_revisions_add_up(desired in 0_usize..60, current in 0_usize..60, update in 0_usize..60) {
        let (to_current, to_update) = split(desired, current, update);
        prop_assert_eq!(to_current + to_update, desired);
        prop_assert!(desired < current + update || to_current >= current && to_update >= update);
        prop_assert!(desired > current + update || to_current <= current && to_update <= update);
    }

    #[test]
    fn paused_set_reaches_the_desired_number(replicas in any_replicas(8, Life::Active),
        desired in 0_usize..12) {
        let step = scale_paused(&replicas, desired);
        let left = replicas.len() - step.delete.len() + step.create_current + step.create_update;
        prop_assert!(left == desired || replicas.len() < desired && left >= desired, "{} of {}", left,
            desired);
    }

    #[test]
    fn sets_are_scaled_to_what_is_allowed(
        sizes in prop::collection::vec((1_usize..20, prop::option::of(-1_i64..60)), 2..5),
        desired in 0_usize..40, surge in 0_usize..8, status in 0_i64..60,
    ) {
        let limits = Limits { desired, surge, unavailable: 0 };
        let mut sets = sets(&sizes);
        sets.sort_by_key(|set| std::cmp::Reverse(set.replicas));
        let sizes = distribute(&sets, limits, status);
        let after: usize = sizes.iter().sum();
        let allowed = if desired == 0 { 0 } else { desired + surge };
        prop_assert!(after == allowed || after > allowed && sizes[0] == 0, "{} of {}", after, allowed);
    }
}

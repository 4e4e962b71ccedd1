// SPDX-License-Identifier: Apache-2.0

use proptest::prelude::*;

use super::{
    limits::Limits,
    replica_cases::{cases, replica},
    replica_sets::*,
};

fn limits(desired: usize, surge: usize, unavailable: usize) -> Limits {
    Limits { desired, surge, unavailable }
}

fn set(age: i64, replicas: usize, available: usize) -> SetSize {
    SetSize { object: replica(&format!("set-{age}"), age), replicas, available }
}

fn sizes(new: &SetSize, old: &[SetSize], limits: Limits) -> Vec<(String, usize)> {
    scale_down_old(new, old, limits)
        .into_iter()
        .map(|resize| (resize.set.object.name.clone(), resize.replicas))
        .collect()
}

#[test]
fn new_set_grows_into_the_surge_and_never_above_the_desired_number() {
    let table = [
        (0, 4, limits(4, 1, 0), 1),
        (1, 5, limits(4, 1, 0), 1),
        (3, 3, limits(4, 1, 0), 4),
        (0, 0, limits(4, 3, 0), 4),
        (5, 5, limits(4, 3, 0), 4),
        (4, 9, limits(4, 0, 1), 4),
        (2, 9, limits(4, 0, 1), 2),
    ];
    for (replicas, total, limits, size) in table {
        assert_eq!(
            new_set_size(replicas, total, limits, limits.max_total()),
            size,
            "{replicas} of {total}, {limits:?}"
        );
    }
    assert_eq!(new_set_size(1, 4, limits(4, 2, 0), 4), 1, "the surge is held back");
}

#[test]
fn old_set_is_scaled_down_by_what_is_available() {
    let old = [set(1, 4, 4)];
    assert!(sizes(&set(9, 1, 0), &old, limits(4, 1, 0)).is_empty(), "the new one is not available");
    assert_eq!(sizes(&set(9, 1, 1), &old, limits(4, 1, 0)), [("set-1".to_owned(), 3)]);
    assert_eq!(sizes(&set(9, 1, 0), &old, limits(4, 1, 1)), [("set-1".to_owned(), 3)]);
}

#[test]
fn unavailable_replicas_go_first_and_oldest_sets_first() {
    let old = [set(2, 2, 1), set(1, 2, 1), set(0, 0, 0)];
    assert_eq!(sizes(&set(9, 0, 0), &old, limits(4, 0, 1)), [("set-1".to_owned(), 1)]);
    assert_eq!(
        sizes(&set(9, 0, 0), &old, limits(4, 0, 2)),
        [("set-1".to_owned(), 1), ("set-2".to_owned(), 1)],
        "then nothing is left to give",
    );
    assert_eq!(
        sizes(&set(9, 4, 4), &old, limits(4, 0, 0)),
        [("set-1".to_owned(), 0), ("set-2".to_owned(), 0)]
    );
}

#[test]
fn status_that_lags_behind_stops_the_pass() {
    let old = [set(1, 3, 2), set(2, 1, 2), set(3, 2, 2)];
    assert_eq!(
        sizes(&set(9, 4, 4), &old, limits(4, 0, 0)),
        [("set-1".to_owned(), 2)],
        "what came before stands"
    );
    let lagging_first = [set(1, 1, 2), set(3, 2, 2)];
    assert!(sizes(&set(9, 4, 4), &lagging_first, limits(4, 0, 0)).is_empty());
}

#[test]
fn set_is_saturated_when_it_was_scaled_for_this_number_and_all_are_available() {
    assert!(is_saturated(&set(1, 3, 3), Some(3), 3));
    assert!(!is_saturated(&set(1, 3, 2), Some(3), 3));
    assert!(!is_saturated(&set(1, 3, 3), Some(2), 3));
    assert!(!is_saturated(&set(1, 3, 3), None, 3));
    assert!(!is_saturated(&set(1, 2, 3), Some(3), 3));
}

proptest! {
    #![proptest_config(cases(400))]

    /// Sets follow their sizes at once: replicas that are not available go first.
    #[test]
    fn sizes_stay_within_the_limits_and_the_new_set_takes_over(
        old in prop::collection::vec((0_usize..5, 0_usize..5), 1..4),
        new in (0_usize..7, 0_usize..7),
        desired in 0_usize..7, surge in 0_usize..4, unavailable in 0_usize..4,
        chance in prop::collection::vec((any::<usize>(), any::<bool>()), 30),
    ) {
        let unavailable = if surge == 0 { unavailable.max(1) } else { unavailable };
        let limits = limits(desired, surge, unavailable.min(desired));
        let mut sets: Vec<_> = [new].iter().chain(&old).zip(0..)
            .map(|((replicas, available), age)| set(age, *replicas, *available.min(replicas)))
            .collect();
        let mut end = 0;
        for round in 0.. {
            match chance.get(round) {
                Some((at, ready)) => {
                    let at = at % sets.len();
                    let count = sets[at].available;
                    sets[at].available = if *ready { (count + 1).min(sets[at].replicas) } else { count };
                }
                None => {
                    for set in &mut sets {
                        set.available = set.replicas;
                    }
                }
            }
            let total: usize = sets.iter().map(|set| set.replicas).sum();
            let available: usize = sets.iter().map(|set| set.available).sum();
            let size = new_set_size(sets[0].replicas, total, limits, limits.max_total());
            let before = sets.clone();
            if size == sets[0].replicas {
                for resize in scale_down_old(&before[0], &before[1..], limits) {
                    let at = before.iter().position(|set| set.object.name == resize.set.object.name).unwrap();
                    prop_assert!(resize.replicas < sets[at].replicas);
                    sets[at].replicas = resize.replicas;
                }
            }
            sets[0].replicas = size;
            for set in &mut sets {
                set.available = set.available.min(set.replicas);
            }
            let (total_now, left): (usize, usize) =
                (sets.iter().map(|set| set.replicas).sum(), sets.iter().map(|set| set.available).sum());
            prop_assert!(total_now <= total.max(limits.max_total()), "{:?} to {:?}", before, sets);
            let shrunk = before[0].replicas > desired;
            prop_assert!(shrunk || left >= available.min(limits.min_available()), "{:?} to {:?}", before,
                sets);
            end = if chance.get(round).is_none() && before == sets { end + 1 } else { 0 };
            if end == 2 {
                break;
            }
            prop_assert!(round < 120, "no end: {:?}", sets);
        }
        let done: Vec<_> = sets.iter().map(|set| set.replicas).collect();
        prop_assert_eq!(done[0], desired);
        prop_assert!(done[1..].iter().all(|replicas| *replicas == 0), "{:?}", done);
    }
}

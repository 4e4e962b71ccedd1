// SPDX-License-Identifier: Apache-2.0

use proptest::prelude::*;

use super::{
    limits::Limits,
    pool::Pace,
    replica::{Counts, Life, Replica, Revision},
    replica_cases::{World, any_replicas, cases, replica},
    slots::*,
};

fn limits(desired: usize, surge: usize, unavailable: usize) -> Limits {
    Limits { desired, surge, unavailable }
}

fn at(index: usize, name: &str) -> Replica {
    Replica { index: Some(index), ..replica(name, 1) }
}

fn old(replica: Replica) -> Replica {
    Replica { revision: Revision::Current, ..replica }
}

fn unready(replica: Replica) -> Replica {
    Replica { ready: false, ..replica }
}

fn names<'a>(step: &SlotStep<'a>) -> Vec<&'a str> {
    step.delete.iter().map(|replica| replica.name.as_str()).collect()
}

fn rolled(replicas: &[Replica], limits: Limits, pace: Pace) -> (Vec<&str>, Vec<usize>) {
    let step = roll(replicas, limits, pace, |_| false);
    (names(&step), step.create)
}

#[test]
fn an_index_that_cannot_be_made_takes_no_room() {
    let leaving = Replica { life: Life::Terminating, ready: false, ..at(0, "leaving") };
    let replicas = [leaving, at(1, "one")];
    assert_eq!(scale(&replicas, limits(3, 0, 1), |index| index != 0).create, [2]);
    assert_eq!(scale(&replicas, limits(3, 0, 1), |_| true).create, [0]);
}

#[test]
fn scaling_in_removes_the_highest_indexes_at_once_and_what_has_no_index() {
    let replicas =
        [at(0, "zero"), at(2, "two"), at(3, "three"), Replica { index: None, ..replica("none", 1) }];
    let step = scale(&replicas, limits(2, 0, 1), |_| true);
    assert_eq!((names(&step), step.create), (vec!["none", "three", "two"], vec![]));
    let step = scale(&replicas, limits(2, 3, 1), |_| true);
    assert_eq!(step.create, [1], "those without a slot take room until they are gone");
}

#[test]
fn empty_slots_are_filled_lowest_first_within_the_room() {
    let ended = Replica { life: Life::Ended, ..at(1, "ended") };
    let leaving = Replica { life: Life::Terminating, ready: false, ..at(0, "leaving") };
    let replicas = [ended, leaving];
    let step = scale(&replicas, limits(3, 0, 1), |_| true);
    assert_eq!((names(&step), step.create), (vec!["ended"], vec![0, 1]));
}

#[test]
fn one_of_several_in_a_slot_is_kept() {
    let or = || old(at(0, "old-ready"));
    let on = || old(unready(at(0, "old-unready")));
    let ur = || at(0, "new-ready");
    let un = || unready(at(0, "new-unready"));
    let second = |replica: Replica| Replica { name: format!("{}-2", replica.name), ..replica };
    let table = [
        (vec![or(), un()], vec![]),
        (vec![or(), ur()], vec!["old-ready"]),
        (vec![or(), on()], vec!["old-unready"]),
        (vec![on(), un()], vec!["old-unready"]),
        (vec![on(), second(on())], vec!["old-unready", "old-unready-2"]),
        (vec![ur(), second(ur())], vec!["new-ready-2"]),
        (vec![ur(), un(), on(), or()], vec!["old-ready", "new-unready", "old-unready"]),
        (vec![or(), second(or()), un(), second(un())], vec!["old-ready-2", "new-unready-2"]),
    ];
    for (slot, gone) in table {
        assert_eq!(names(&scale(&slot, limits(1, 1, 0), |_| true)), gone, "{slot:?}");
    }
}

#[test]
fn rollout_surges_beside_the_lowest_index_and_then_gives_the_old_one_up() {
    let replicas = [old(at(0, "a")), old(at(1, "b"))];
    assert_eq!(rolled(&replicas, limits(2, 1, 0), Pace::Free), (vec![], vec![0]));
    let both = [old(at(0, "a")), unready(at(0, "a-new")), old(at(1, "b"))];
    assert!(scale(&both, limits(2, 1, 0), |_| true).is_empty(), "the new one is not ready yet");
    assert_eq!(rolled(&both, limits(2, 1, 0), Pace::Free), (vec![], vec![]), "no room for a second one");
    let ready = [old(at(0, "a")), at(0, "a-new"), old(at(1, "b"))];
    assert_eq!(names(&scale(&ready, limits(2, 1, 0), |_| true)), ["a"]);
}

#[test]
fn unready_outdated_replica_goes_without_budget() {
    let replicas = [old(at(0, "a")), old(unready(at(1, "b"))), at(2, "c")];
    assert_eq!(rolled(&replicas, limits(3, 0, 1), Pace::Free), (vec!["b"], vec![]));
    assert_eq!(rolled(&replicas, limits(3, 0, 2), Pace::Free), (vec!["a", "b"], vec![]));
}

#[test]
fn step_and_share_bound_what_is_begun() {
    let replicas = [old(at(0, "a")), old(at(1, "b")), old(unready(at(2, "c")))];
    let limits = limits(3, 0, 3);
    assert_eq!(rolled(&replicas, limits, Pace::Step(1)), (vec!["a", "c"], vec![]));
    assert_eq!(rolled(&replicas, limits, Pace::Share(1)), (vec!["a"], vec![]));
    assert_eq!(rolled(&replicas, limits, Pace::Share(0)), (vec![], vec![]));
    let draining = [old(Replica { draining: true, ..unready(at(0, "a")) }), old(at(1, "b")), old(at(2, "c"))];
    assert_eq!(rolled(&draining, limits, Pace::Share(1)), (vec!["a"], vec![]), "a has begun before");
    assert_eq!(rolled(&draining, limits, Pace::Share(2)), (vec!["a", "b"], vec![]));
}

#[test]
fn replica_that_holds_the_name_of_its_successor_is_deleted_one_at_a_time() {
    let replicas = [old(at(0, "a")), old(at(1, "b"))];
    let step = roll(&replicas, limits(2, 2, 0), Pace::Free, |_| true);
    assert_eq!((names(&step), step.create), (vec!["a"], vec![]));
    let missing = [old(at(0, "a")), unready(at(1, "b"))];
    assert!(
        roll(&missing, limits(2, 2, 0), Pace::Free, |_| true).is_empty(),
        "another slot has nothing ready"
    );
    let step = roll(&replicas, limits(2, 2, 0), Pace::Free, |replica| replica.name == "a");
    assert_eq!((names(&step), step.create), (vec!["a"], vec![1]), "names that are free are made beside");
}

fn pass(world: &mut World, limits: Limits) -> bool {
    let before = world.replicas.clone();
    let scaling = scale(&before, limits, |_| true);
    let rolling = scaling.is_empty();
    let step = if rolling { roll(&before, limits, Pace::Free, |_| false) } else { scaling };
    let (counts, slots) = (Counts::of(&before), Slots::of(&before, limits.desired));
    assert!(step.create.is_empty() || counts.live() + step.create.len() <= limits.max_total(), "{before:?}");
    world.delete(&step.delete);
    for index in &step.create {
        world.create_at(Revision::Update, Some(*index));
    }
    let serving = |slots: &Slots<'_>| slots.count(|replica| replica.ready);
    let (had, has) = (serving(&slots), serving(&Slots::of(&world.replicas, limits.desired)));
    assert!(has == had || rolling && has >= limits.min_available(), "{before:?}");
    !step.is_empty()
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn order_of_the_list_does_not_matter(
        active in any_replicas(6, Life::Active),
        desired in 0_usize..6, surge in 0_usize..3, unavailable in 0_usize..3, turn in 0_usize..6, target in 0_usize..6,
    ) {
        let limits = limits(desired, surge, unavailable.min(desired));
        let mut turned = active.clone();
        turned.rotate_left(turn.min(active.len()));
        prop_assert_eq!(scale(&active, limits, |_| true), scale(&turned, limits, |_| true));
        for pace in [Pace::Free, Pace::Step(target), Pace::Share(target)] {
            prop_assert_eq!(rolled(&active, limits, pace), rolled(&turned, limits, pace));
        }
    }

    #[test]
    fn limits_hold_from_any_state_and_every_rollout_ends(
        active in any_replicas(7, Life::Active),
        terminating in any_replicas(3, Life::Terminating),
        ended in any_replicas(2, Life::Ended),
        desired in 0_usize..6, surge in 0_usize..4, unavailable in 0_usize..4,
        chance in prop::collection::vec(any::<u8>(), 40),
    ) {
        let unavailable = if surge == 0 { unavailable.max(1) } else { unavailable };
        let limits = limits(desired, surge, unavailable.min(desired));
        let mut world = World::new([active, terminating, ended].concat());
        for event in chance {
            pass(&mut world, limits);
            world.happen(event);
        }
        let mut passes = 0;
        while { world.settle(); pass(&mut world, limits) } {
            passes += 1;
            prop_assert!(passes < 60, "no end: {:?}", world.replicas);
        }
        let mut indexes: Vec<_> = world.replicas.iter().map(|replica| replica.index.unwrap()).collect();
        indexes.sort_unstable();
        prop_assert_eq!(indexes, (0..desired).collect::<Vec<_>>());
        prop_assert_eq!(Counts::of(&world.replicas).updated_ready, desired);
    }
}

#[test]
fn ordinal_is_the_number_behind_the_last_dash() {
    let table = [
        ("web-0", Some(0)),
        ("web-a-12", Some(12)),
        ("web-2147483647", Some(2_147_483_647)),
        ("web-2147483648", None),
        ("web-", None),
        ("web--1", Some(1)),
        ("web-+1", None),
        ("web-1a", None),
        ("web", None),
        ("7", None),
    ];
    for (name, ordinal) in table {
        assert_eq!(ordinal_of(name), ordinal, "{name}");
    }
}

#[test]
fn index_is_an_integer_that_is_not_negative() {
    let table = [
        (Some("3"), Some(3)),
        (Some("01"), Some(1)),
        (Some("+1"), Some(1)),
        (Some("-1"), None),
        (Some(""), None),
        (Some("1.0"), None),
        (Some(" 1"), None),
        (None, None),
    ];
    for (text, index) in table {
        assert_eq!(index_of(text), index, "{text:?}");
    }
}

#[test]
fn free_indexes_fill_the_gaps_first() {
    assert_eq!(lowest_free([0, 2, 5, 2], 3), [1, 3, 4]);
    assert_eq!(lowest_free([], 2), [0, 1]);
    assert_eq!(missing([0, 2, 9], 4), [1, 3]);
    assert!(missing([0], 1).is_empty());
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn free_and_used_indexes_do_not_meet(used in prop::collection::vec(0_usize..12, 0..8),
        count in 0_usize..8) {
        let free = lowest_free(used.clone(), count);
        prop_assert_eq!(free.len(), count);
        prop_assert!(free.iter().all(|index| !used.contains(index)));
        let skipped = (0..free.last().copied().unwrap_or(0)).filter(|index| !free.contains(index));
        prop_assert!(skipped.into_iter().all(|index| used.contains(&index)), "the lowest ones");
        let size = count;
        prop_assert!(missing(used.clone(), size).iter().all(|index| *index < size && !used.contains(index)));
    }
}

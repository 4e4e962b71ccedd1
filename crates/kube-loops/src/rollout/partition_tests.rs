// SPDX-License-Identifier: Apache-2.0

use proptest::prelude::*;

use super::{
    limits::Limits,
    partition::*,
    pool::RevisionStep,
    replica::{Counts, Life, Replica, Revision},
    replica_cases::{World, any_replicas, cases, replica},
    slots::lowest_free,
};

fn limits(desired: usize, surge: usize, unavailable: usize) -> Limits {
    Limits { desired, surge, unavailable }
}

fn set(index: usize, revision: Revision) -> Replica {
    Replica { index: Some(index), revision, ..replica(&format!("s{index}"), 1) }
}

fn five() -> Vec<Replica> {
    (0..5).map(|index| set(index, Revision::Current)).collect()
}

fn names(replicas: &[&Replica]) -> Vec<String> {
    replicas.iter().map(|replica| replica.name.clone()).collect()
}

#[test]
fn partition_is_digits_and_nothing_else() {
    assert_eq!(parse_partition(None), Ok(0));
    assert_eq!(parse_partition(Some("4")), Ok(4));
    assert_eq!(parse_partition(Some("99999999999999999999999")), Ok(usize::MAX));
    for bad in ["", "abc", "-1", "+1", "50%", " 4", "4.0"] {
        assert_eq!(parse_partition(Some(bad)), Err(InvalidPartition(bad.to_owned())), "{bad:?}");
    }
}

#[test]
fn only_the_highest_index_moves_past_a_partition_of_four() {
    let replicas = five();
    let partition = Partition::of(&replicas, limits(5, 0, 1), 4);
    assert_eq!((partition.count, partition.target), (4, 1));
    assert_eq!(names(&partition.held), ["s0", "s1", "s2", "s3"]);
    assert_eq!(names(&partition.roll().delete), ["s4"]);
    assert!(!partition.is_reached());
    let mut moved = five();
    moved[4].revision = Revision::Update;
    let partition = Partition::of(&moved, limits(5, 0, 1), 4);
    assert!(partition.is_reached() && partition.scale().is_empty() && partition.roll().is_empty());
    let surge = Partition::of(&replicas, limits(5, 1, 0), 4);
    assert_eq!((surge.roll().delete.len(), surge.roll().create), (0, 1));
}

#[test]
fn held_replica_is_not_replaced_though_it_is_not_ready() {
    let mut replicas = five();
    replicas[1].ready = false;
    let partition = Partition::of(&replicas, limits(5, 0, 2), 4);
    assert_eq!(names(&partition.roll().delete), ["s4"]);
}

#[test]
fn lost_replica_comes_back_at_its_own_revision_and_index() {
    let mut replicas = five();
    replicas[4].revision = Revision::Update;
    let without_one: Vec<_> = replicas.iter().filter(|replica| replica.name != "s1").cloned().collect();
    let partition = Partition::of(&without_one, limits(5, 0, 1), 4);
    let step = partition.scale();
    assert_eq!((step.create_current, step.create_update), (1, 0));
    assert_eq!(lowest_free(partition.used_indexes(Revision::Current), 1), [1]);
    let without_four = &replicas[..4];
    let partition = Partition::of(without_four, limits(5, 0, 1), 4);
    let step = partition.scale();
    assert_eq!((step.create_current, step.create_update), (0, 1));
    assert_eq!(lowest_free(partition.used_indexes(Revision::Update), 1), [4]);
}

#[test]
fn scaling_out_adds_updated_replicas_and_scaling_in_keeps_the_held_ones() {
    let mut replicas = five();
    replicas[4].revision = Revision::Update;
    let out = Partition::of(&replicas, limits(7, 0, 1), 4).scale();
    assert_eq!((out.create_current, out.create_update), (0, 2));
    let within = Partition::of(&replicas, limits(3, 0, 2), 4).scale();
    assert_eq!(
        names(&within.delete),
        ["s3", "s4"],
        "two ready ones may go: the one not held, then the updated one"
    );
}

#[test]
fn partition_as_large_as_the_set_moves_nothing_and_replaces_at_the_current_revision() {
    let replicas = five();
    let partition = Partition::of(&replicas[..4], limits(5, 1, 1), usize::MAX);
    assert_eq!((partition.scale().create_current, partition.scale().create_update), (1, 0));
    assert!(Partition::of(&replicas, limits(5, 1, 1), 9).is_reached());
}

#[test]
fn third_revision_is_never_held() {
    let mut replicas = five();
    replicas[0].revision = Revision::Other;
    let partition = Partition::of(&replicas, limits(5, 0, 5), 4);
    assert_eq!(names(&partition.held), ["s1", "s2", "s3", "s4"]);
    assert_eq!(names(&partition.to_move()), ["s0"]);
}

#[test]
fn what_has_moved_is_not_moved_back_by_a_larger_partition() {
    let replicas: Vec<_> = (0..5)
        .map(|index| set(index, if index < 2 { Revision::Current } else { Revision::Update }))
        .collect();
    let partition = Partition::of(&replicas, limits(5, 1, 1), 4);
    assert_eq!(partition.target, 3);
    assert!(partition.scale().is_empty() && partition.roll().is_empty());
}

#[test]
fn third_revision_moves_on_by_surge_although_everything_is_to_stay() {
    let mut replicas = five();
    replicas[0].revision = Revision::Other;
    let partition = Partition::of(&replicas, limits(5, 1, 0), 5);
    assert_eq!(partition.target, 1);
    assert_eq!((partition.roll().delete.len(), partition.roll().create), (0, 1));
}

fn pass(world: &mut World, limits: Limits, wanted: usize) -> bool {
    let before = world.replicas.clone();
    let partition = Partition::of(&before, limits, wanted);
    let mut step = partition.scale();
    if step.is_empty() {
        let roll = partition.roll();
        let held = |replica: &&&Replica| partition.held.contains(*replica);
        assert_eq!(roll.delete.iter().filter(held).count(), 0, "a rollout touches no held one: {before:?}");
        step = RevisionStep { delete: roll.delete, create_current: 0, create_update: roll.create };
    }
    let counts = Counts::of(&before);
    let created = step.create_current + step.create_update;
    assert!(created == 0 || counts.live() + created <= limits.max_total(), "{before:?}");
    let lost = step.delete.iter().filter(|replica| replica.ready).count();
    assert!(lost == 0 || counts.ready - lost >= limits.min_available(), "{before:?}");
    world.delete(&step.delete);
    for (revision, count) in
        [(Revision::Current, step.create_current), (Revision::Update, step.create_update)]
    {
        for index in lowest_free(partition.used_indexes(revision), count) {
            world.create_at(revision, Some(index));
        }
    }
    !step.delete.is_empty() || created > 0
}

fn settled(mut world: World, limits: Limits, wanted: usize) -> World {
    let mut passes = 0;
    while {
        world.settle();
        pass(&mut world, limits, wanted)
    } {
        passes += 1;
        assert!(passes < 60, "no end: {:?}", world.replicas);
    }
    world
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn partition_is_respected_from_any_state(
        active in any_replicas(7, Life::Active),
        terminating in any_replicas(3, Life::Terminating),
        desired in 0_usize..6, surge in 0_usize..3, unavailable in 0_usize..3, wanted in 0_usize..8,
        chance in prop::collection::vec(any::<u8>(), 30),
    ) {
        let unavailable = if surge == 0 { unavailable.max(1) } else { unavailable };
        let limits = limits(desired, surge, unavailable.min(desired));
        let mut world = World::new([active, terminating].concat());
        for event in chance {
            pass(&mut world, limits, wanted);
            // Sets of roles do not end by themselves.
            world.happen(if event % 8 == 5 { event - 1 } else { event });
        }
        let moved = Counts::of(&world.replicas).updated;
        let third = world.replicas.iter().any(|replica| replica.revision == Revision::Other);
        let world = settled(world, limits, wanted);
        let counts = Counts::of(&world.replicas);
        let is_current = |replica: &&Replica| replica.revision == Revision::Current;
        let at_current = world.replicas.iter().filter(is_current).count();
        prop_assert_eq!(counts.ready, desired);
        prop_assert_eq!(counts.updated + at_current, desired, "no third revision is left");
        prop_assert!(counts.updated >= desired - wanted.min(desired));
        prop_assert!(at_current <= wanted.min(desired));
        prop_assert!(third || moved > desired - wanted.min(desired) || at_current == wanted.min(desired));
    }

    #[test]
    fn quiet_rollout_ends_with_every_index_once_whatever_the_limits(
        desired in 1_usize..7, surge in 0_usize..3, unavailable in 0_usize..3, wanted in 0_usize..8,
    ) {
        let unavailable = if surge == 0 { unavailable.max(1) } else { unavailable };
        let limits = limits(desired, surge, unavailable.min(desired));
        let mut world = World::new((0..desired).map(|index| set(index, Revision::Current)).collect());
        world = settled(world, limits, wanted);
        for (then, held) in [(wanted, wanted.min(desired)), (0, 0)] {
            world = settled(world, limits, then);
            let mut indexes: Vec<_> = world.replicas.iter().map(|replica| replica.index.unwrap()).collect();
            indexes.sort_unstable();
            prop_assert_eq!(indexes, (0..desired).collect::<Vec<_>>());
            let low = |replica: &&Replica| replica.revision == Revision::Current;
            prop_assert!(world.replicas.iter().filter(low).all(|replica| replica.index.unwrap() < held));
            prop_assert_eq!(world.replicas.iter().filter(low).count(), held);
        }
    }
}

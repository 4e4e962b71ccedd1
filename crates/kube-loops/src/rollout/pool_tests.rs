// SPDX-License-Identifier: Apache-2.0

use proptest::prelude::*;

use super::{
    limits::Limits,
    order::{pool_rollout, pool_scale_in, set_rollout, set_scale_in},
    pool::*,
    replica::{Counts, Life, Replica, Revision},
    replica_cases::{World, any_replicas, cases, replica},
};

fn limits(desired: usize, surge: usize, unavailable: usize) -> Limits {
    Limits { desired, surge, unavailable }
}

fn old(name: &str) -> Replica {
    Replica { revision: Revision::Current, ..replica(name, 1) }
}

fn unready(replica: Replica) -> Replica {
    Replica { ready: false, ..replica }
}

fn terminating(replica: Replica) -> Replica {
    Replica { life: Life::Terminating, ..replica }
}

fn names<'a>(step: &PoolStep<'a>) -> Vec<&'a str> {
    step.delete.iter().map(|replica| replica.name.as_str()).collect()
}

fn scale_role(replicas: &[Replica], limits: Limits) -> PoolStep<'_> {
    scale(replicas, limits, pool_scale_in, Surplus::Waits)
}

fn scale_service(replicas: &[Replica], limits: Limits) -> PoolStep<'_> {
    scale(replicas, limits, set_scale_in, Surplus::SparesReady)
}

#[test]
fn missing_replicas_are_created_while_terminating_ones_leave_room() {
    let leaving = [terminating(old("a"))];
    assert_eq!(scale_role(&leaving, limits(1, 0, 1)).create, 0, "it holds its place until it is gone");
    assert_eq!(scale_role(&leaving, limits(1, 1, 0)).create, 1, "unless a surge is allowed");
    assert_eq!(scale_role(&[], limits(5, 0, 1)).create, 5);
}

#[test]
fn ended_pods_are_deleted_and_hold_no_place() {
    let ended = [Replica { life: Life::Ended, ..replica("a", 1) }];
    let step = scale_role(&ended, limits(1, 0, 1));
    assert_eq!((names(&step), step.create), (vec!["a"], 1));
}

#[test]
fn unready_surplus_goes_while_ready_replicas_sit_at_the_floor() {
    let replicas = [replica("a", 1), replica("b", 1), unready(replica("c", 1)), unready(replica("d", 1))];
    assert_eq!(names(&scale_role(&replicas, limits(3, 0, 1))), ["c"]);
    assert_eq!(names(&scale_role(&replicas[..3], limits(2, 1, 0))), ["c"]);
    let unready = replicas.map(unready);
    assert_eq!(scale_role(&unready, limits(2, 0, 1)).delete.len(), 2);
}

#[test]
fn scaling_keeps_a_surge_replica_that_is_not_ready_yet() {
    let replicas = [old("a"), old("b"), unready(replica("new", 2))];
    assert!(scale_role(&replicas, limits(2, 1, 0)).is_empty(), "the walk ends at the first old ready one");
    assert!(roll(&replicas, limits(2, 1, 0), pool_rollout, Pace::Free).is_empty());
}

#[test]
fn scaling_in_during_a_rollout_waits_for_the_surge_replica() {
    let replicas = [old("a"), old("b"), old("c"), unready(replica("new", 2))];
    assert_eq!(names(&scale_role(&replicas, limits(2, 1, 0))), ["a"]);
    assert!(scale_role(&replicas[1..], limits(2, 1, 0)).is_empty());
}

#[test]
fn stuck_service_can_be_scaled_in_by_what_is_not_ready() {
    let replicas = [old("a"), old("b"), old("c"), unready(replica("d", 2)), unready(replica("e", 2))];
    let step = scale_service(&replicas, limits(3, 0, 2));
    assert_eq!(names(&step), ["a", "b"], "two ready ones may go");
    let step = scale_service(&replicas, limits(3, 0, 0));
    assert_eq!(names(&step), ["d", "e"], "no ready one may go, but four and five are too many");
    let step = scale_service(&replicas, limits(3, 1, 0));
    assert_eq!(names(&step), ["d"], "the surge stays");
    assert!(scale_role(&replicas, limits(3, 0, 0)).is_empty());
}

#[test]
fn rollout_gives_up_all_unready_outdated_replicas_and_ready_ones_down_to_the_floor() {
    let replicas = [old("a"), old("b"), old("c"), unready(old("d")), unready(old("e"))];
    let step = roll(&replicas, limits(5, 0, 2), pool_rollout, Pace::Free);
    assert_eq!((names(&step), step.create), (vec!["d", "e"], 0));
    let step = roll(&replicas, limits(5, 1, 3), pool_rollout, Pace::Free);
    assert_eq!((names(&step), step.create), (vec!["d", "e", "a"], 1), "deletions of this pass leave no room");
}

#[test]
fn rollout_of_three_goes_by_surge_and_unavailability() {
    let three = [old("a"), old("b"), old("c")];
    let step = roll(&three, limits(3, 0, 1), set_rollout, Pace::Free);
    assert_eq!((step.delete.len(), step.create), (1, 0));
    let step = roll(&three, limits(3, 1, 0), set_rollout, Pace::Free);
    assert_eq!((step.delete.len(), step.create), (0, 1));
    let step = roll(&three, limits(3, 1, 1), set_rollout, Pace::Free);
    assert_eq!((step.delete.len(), step.create), (1, 1));
}

#[test]
fn step_bounds_ready_replicas_and_a_share_bounds_all() {
    let replicas = [old("a"), old("b"), old("c"), unready(old("d")), unready(old("e"))];
    let limits = limits(5, 0, 5);
    assert_eq!(names(&roll(&replicas, limits, pool_rollout, Pace::Step(1))), ["d", "e", "a"]);
    assert_eq!(names(&roll(&replicas, limits, pool_rollout, Pace::Share(1))), ["d"]);
    assert!(roll(&replicas, limits, pool_rollout, Pace::Share(0)).is_empty());
    let updated = [replica("new", 2), old("a"), old("b"), unready(old("c")), old("d")];
    assert!(roll(&updated, limits, pool_rollout, Pace::Step(1)).is_empty(), "the step is reached");
}

#[test]
fn draining_replica_stays_chosen_and_costs_no_budget() {
    let mut replicas = vec![old("a"), old("b"), Replica { draining: true, ready: false, ..old("z") }];
    assert_eq!(names(&roll(&replicas, limits(3, 0, 1), pool_rollout, Pace::Free)), ["z"]);
    assert_eq!(
        names(&roll(&replicas, limits(3, 0, 1), pool_rollout, Pace::Share(0))),
        ["z"],
        "it has started"
    );
    for replica in &mut replicas {
        replica.revision = Revision::Update;
    }
    assert_eq!(names(&scale_role(&replicas, limits(2, 0, 1))), ["z"]);
}

#[test]
fn update_in_place_begins_with_unready_replicas_and_skips_ready_ones_without_budget() {
    let replicas = [old("a"), old("b"), unready(old("c")), Replica { created: None, ..old("newest") }];
    let starts = |expendable, pending| -> Vec<String> {
        let candidates = replicas.iter().collect();
        in_place_starts(candidates, expendable, pending).into_iter().map(|one| one.name.clone()).collect()
    };
    assert_eq!(starts(0, 0), ["c"]);
    assert_eq!(starts(2, 0), ["c", "newest", "a"]);
    assert_eq!(starts(2, 1), ["c", "newest"], "one that is under way is about to be missing");
    assert_eq!(starts(1, 3), ["c"]);
}

/// What one pass of a role or of a service does.
fn pass(world: &mut World, limits: Limits, service: bool) -> bool {
    let (scale_order, roll_order, surplus): (Order, Order, _) = if service {
        (set_scale_in, set_rollout, Surplus::SparesReady)
    } else {
        (pool_scale_in, pool_rollout, Surplus::Waits)
    };
    let before = world.replicas.clone();
    let mut step = scale(&before, limits, scale_order, surplus);
    if step.is_empty() {
        step = roll(&before, limits, roll_order, Pace::Free);
    }
    let counts = Counts::of(&before);
    assert!(step.create == 0 || counts.live() + step.create <= limits.max_total(), "{before:?}");
    let lost = step.delete.iter().filter(|replica| replica.is_active() && replica.ready).count();
    assert!(lost == 0 || counts.ready - lost >= limits.min_available(), "{before:?}");
    world.delete(&step.delete);
    world.create(step.create, Revision::Update);
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
        prop_assert_eq!(scale_role(&active, limits), scale_role(&turned, limits));
        prop_assert_eq!(scale_service(&active, limits), scale_service(&turned, limits));
        for pace in [Pace::Free, Pace::Step(target), Pace::Share(target)] {
            let step = roll(&active, limits, pool_rollout, pace);
            prop_assert_eq!(&step, &roll(&turned, limits, pool_rollout, pace));
            let counts = Counts::of(&active);
            prop_assert!(pace == Pace::Free || step.create <= target.saturating_sub(counts.updated));
        }
    }

    /// Between two passes any of the things that a cluster does may happen, or none: a pass that is
    /// repeated, or run by another process, is one of them.
    #[test]
    fn limits_hold_from_any_state_and_every_rollout_ends(
        active in any_replicas(7, Life::Active),
        terminating in any_replicas(3, Life::Terminating),
        ended in any_replicas(2, Life::Ended),
        desired in 0_usize..7, surge in 0_usize..4, unavailable in 0_usize..4,
        service in any::<bool>(),
        chance in prop::collection::vec(any::<u8>(), 40),
    ) {
        let unavailable = if surge == 0 { unavailable.max(1) } else { unavailable };
        let limits = limits(desired, surge, unavailable.min(desired));
        let mut world = World::new([active, terminating, ended].concat());
        for event in chance {
            pass(&mut world, limits, service);
            world.happen(event);
        }
        let mut passes = 0;
        while { world.settle(); pass(&mut world, limits, service) } {
            passes += 1;
            prop_assert!(passes < 60, "no end: {:?}", world.replicas);
        }
        let counts = Counts::of(&world.replicas);
        prop_assert_eq!((counts.active, counts.updated_ready, world.replicas.len()), (desired, desired,
            desired));
    }
}

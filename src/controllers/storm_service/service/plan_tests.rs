// SPDX-License-Identifier: Apache-2.0
//! Many passes of a StormService: rollouts and their budgets.

use serde_json::json;

use super::world::{Cluster, World, image, is_live, is_ready, strategy};

fn rolling(surge: usize, unavailable: usize) -> serde_json::Value {
    strategy("RollingUpdate", &json!(surge), &json!(unavailable))
}

fn counts(cluster: &Cluster) -> (usize, usize, usize) {
    (cluster.sets.len(), cluster.count(is_live), cluster.count(is_ready))
}

// scenario: storm-service 8
#[test]
fn a_role_set_that_terminates_holds_its_place_unless_a_surge_allows_another() {
    let mut world = World::ready(1, &json!({}));
    world.lingers = true;
    let first = world.names(is_live).remove(0);
    let set = world.sets.get_mut(&first).unwrap();
    set["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    for _ in 0..3 {
        world.pass();
        assert_eq!(world.sets.len(), 1);
    }
    world.reap();
    world.pass();
    assert_eq!(counts(&world), (1, 1, 0));

    let mut world = World::ready(1, &rolling(1, 0));
    let first = world.names(is_live).remove(0);
    let set = world.sets.get_mut(&first).unwrap();
    set["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    world.pass();
    assert_eq!(counts(&world), (2, 1, 0));
}

// scenario: storm-service 14
#[test]
fn by_default_one_is_removed_and_gone_before_the_next_is_made() {
    let mut world = World::ready(3, &json!({}));
    world.lingers = true;
    world.edit_image("e:2");
    world.pass();
    assert_eq!(counts(&world), (3, 2, 2));
    world.pass();
    assert_eq!(counts(&world), (3, 2, 2), "the one that terminates holds its place");
    world.settle(|cluster| assert!(cluster.sets.len() <= 3 && cluster.count(is_ready) >= 2));
    assert_eq!(world.live(), ["e:2 0", "e:2 1", "e:2 2"]);
    assert_eq!(world.status().current_revision, world.status().update_revision);
}

// scenario: storm-service 15
#[test]
fn with_a_surge_alone_an_old_one_goes_only_after_a_new_one_is_ready() {
    let mut world = World::ready(3, &rolling(1, 0));
    world.lingers = true;
    world.edit_image("e:2");
    world.pass();
    assert_eq!(counts(&world), (4, 4, 3));
    for _ in 0..3 {
        world.pass();
        assert_eq!(counts(&world), (4, 4, 3), "the new one is not ready");
    }
    world.settle(|cluster| assert!(cluster.sets.len() <= 4 && cluster.count(is_ready) >= 3));
    assert_eq!(world.live(), ["e:2 0", "e:2 1", "e:2 2"]);
}

// scenario: storm-service 16
#[test]
fn with_both_budgets_the_first_pass_deletes_and_creates() {
    let mut world = World::ready(3, &rolling(1, 1));
    world.lingers = true;
    world.edit_image("e:2");
    let (made, deleted) = (world.made.len(), world.deleted.len());
    world.pass();
    assert_eq!((world.made.len() - made, world.deleted.len() - deleted), (1, 1));
    world.settle(|cluster| assert!(cluster.sets.len() <= 4 && cluster.count(is_ready) >= 2));
}

// scenario: storm-service 17
#[test]
fn percentages_of_a_surge_round_up_and_of_unavailability_down() {
    let mut world = World::ready(10, &strategy("RollingUpdate", &json!("25%"), &json!("20%")));
    world.lingers = true;
    world.edit_image("e:2");
    world.pass();
    assert_eq!(counts(&world), (13, 11, 8));
    world.settle(|cluster| assert!(cluster.sets.len() <= 13 && cluster.count(is_ready) >= 8));
    assert!(world.live().iter().all(|it| it.starts_with("e:2")) && world.sets.len() == 10);
}

// scenario: storm-service 18
#[test]
fn old_ones_that_are_not_ready_all_go_in_the_first_pass() {
    let mut world = World::ready(5, &rolling(0, 2));
    let names = world.names(is_live);
    names[..3].iter().for_each(|name| world.say_ready(name, false));
    world.edit_image("e:2");
    world.pass();
    assert_eq!(world.deleted.iter().collect::<Vec<_>>(), [&names[2], &names[1], &names[0]]);
    assert_eq!(world.count(is_ready), 2, "fewer than three are ready: none of these may go");
}

// scenario: storm-service 19
#[test]
fn a_new_revision_that_never_becomes_ready_stops_at_the_budget_and_a_third_goes_on() {
    let mut world = World::ready(3, &json!({}));
    world.edit_image("e:2");
    for _ in 0..6 {
        world.pass();
        world.look_after_sets();
    }
    assert_eq!(world.live(), ["e:1 0", "e:1 1", "e:2 0"]);
    world.edit_image("e:3");
    world.pass();
    assert_eq!(world.live(), ["e:1 0", "e:1 1"], "the one in between goes at once");
    world.settle(|cluster| assert!(cluster.count(is_ready) >= 2));
    assert_eq!(world.live(), ["e:3 0", "e:3 1", "e:3 2"]);
}

// scenario: storm-service 20
#[test]
fn a_rollout_that_is_stuck_can_be_scaled_in() {
    let mut world = World::ready(5, &strategy("RollingUpdate", &json!(0), &json!("40%")));
    world.edit_image("e:2");
    for _ in 0..6 {
        world.pass();
        world.look_after_sets();
    }
    assert_eq!(world.live(), ["e:1 0", "e:1 1", "e:1 2", "e:2 0", "e:2 1"]);
    world.scale(3);
    for _ in 0..6 {
        world.pass();
        world.look_after_sets();
    }
    assert_eq!(world.live(), ["e:1 0", "e:1 1", "e:2 0"]);
    assert_eq!(world.count(is_ready), 2);
}

/// A leader that has not seen the RoleSet loop pass over anything takes statuses as they are.
#[test]
fn a_new_leader_in_the_middle_of_a_rollout_gives_up_no_more_than_the_budget() {
    let mut world = World::ready(4, &json!({}));
    world.edit_image("e:2");
    world.pass();
    world.take_over();
    let statuses = world.statuses.len();
    for _ in 0..3 {
        world.pass();
        assert_eq!(world.count(is_ready), 3);
    }
    assert_eq!(world.statuses.len(), statuses, "nothing is told of what nobody has looked at yet");
    world.settle(|cluster| assert!(cluster.count(is_ready) >= 3));
    assert_eq!(world.live().len(), 4);
}

#[test]
fn amounts_that_cannot_be_used_count_as_unset_and_are_told_once() {
    for amount in [json!("abc"), json!("50"), json!(-1), json!("-5%")] {
        let mut world = World::ready(3, &strategy("RollingUpdate", &amount, &json!(0)));
        world.edit_image("e:2");
        world.settle(|cluster| assert!(cluster.sets.len() <= 3 && cluster.count(is_ready) >= 2));
        assert_eq!(world.live(), ["e:2 0", "e:2 1", "e:2 2"]);
        let told = world.told.iter().filter(|it| it.starts_with("InvalidUpdateStrategy")).count();
        assert_eq!(told, 1, "{:?}", world.told);
    }
}

#[test]
fn a_change_of_strategy_in_the_middle_takes_effect_and_moved_ones_stay() {
    let mut world = World::ready(3, &json!({}));
    world.edit_image("e:2");
    world.pass();
    world.pass();
    world.look_after_sets();
    let moved = world.names(|set| image(set) == "e:2");
    let old = world.names(|set| image(set) == "e:1");
    world.edit(&json!({"spec": {"updateStrategy": {"type": "InPlaceUpdate"}}}));
    world.settle(|_| {});
    let mut all: Vec<String> = moved.into_iter().chain(old).collect();
    all.sort();
    assert_eq!(world.sets.keys().cloned().collect::<Vec<_>>(), all);
    assert!(world.sets.values().all(|set| image(set) == "e:2"));
}

// SPDX-License-Identifier: Apache-2.0
//! Many passes of a StormService: scaling, pauses, status, and deletion.

use kube_loops::runtime::reconciler::Outcome;
use serde_json::{Value, json};

use super::world::{World, image, is_live, is_ready, role, strategy};

fn at(world: &World, wanted: &str) -> usize {
    world.count(|set| is_live(set) && image(set) == wanted)
}

// scenario: storm-service 13
#[test]
fn a_watch_that_lags_makes_no_more_than_are_wanted() {
    let mut world = World::new(30, &json!({}));
    world.freeze(true);
    for _ in 0..5 {
        world.pass();
        assert_eq!(world.sets.len(), 30);
    }
    world.freeze(false);
    world.settle(|cluster| assert_eq!(cluster.sets.len(), 30));

    // Nor does it give up another one in place of the one that it has given up.
    world.freeze(true);
    world.scale(29);
    for _ in 0..5 {
        world.pass();
        assert_eq!(world.sets.len(), 29);
    }
    // Another leader knows what is so.
    world.take_over();
    world.pass();
    assert_eq!(world.sets.len(), 29);
}

#[test]
fn those_go_first_that_are_old_or_not_ready_and_then_the_highest_indexes() {
    let mut world = World::ready(5, &json!({}));
    let names = world.names(is_live);
    world.say_ready(&names[1], false);
    world.scale(3);
    world.pass();
    assert_eq!(world.deleted, [names[1].clone(), names[4].clone()]);
    // The freed index is used again.
    world.scale(4);
    world.settle(|_| {});
    assert_eq!(world.live(), ["e:1 0", "e:1 1", "e:1 2", "e:1 3"]);
}

// scenario: storm-service 3
#[test]
fn one_that_is_not_ready_goes_before_a_ready_one_with_a_higher_index() {
    let mut world = World::new(2, &json!({}));
    world.pass();
    world.look_after_sets();
    let names = world.names(is_live);
    world.say_ready(&names[1], true);
    world.pass();
    let status = world.status();
    assert_eq!((status.replicas, status.ready_replicas, status.not_ready_replicas), (2, 1, 1));
    assert_eq!((status.current_replicas, status.updated_replicas, status.updated_ready_replicas), (2, 2, 1));
    world.scale(1);
    world.pass();
    assert_eq!(world.names(is_live), [names[1].clone()]);
}

// scenario: storm-service 12
#[test]
fn none_at_all_is_ready_and_waits_for_triggers() {
    let mut world = World::ready(3, &json!({}));
    world.edit_image("e:2");
    world.scale(0);
    world.settle(|_| {});
    assert!(world.sets.is_empty());
    let status = world.status();
    assert_eq!(status.current_revision, status.update_revision);
    assert!(matches!(world.pass(), Some(Ok(Outcome::Done))));
}

#[test]
fn a_template_without_a_spec_makes_nothing_and_is_reported() {
    let mut world = World::new(1, &json!({"template": {"spec": null}}));
    assert!(matches!(world.pass(), Some(Err(_))));
    assert_eq!((world.condition("ReplicaFailure").as_str(), world.sets.len()), ("True/Failure", 0));
    let told = "Scaling: scaling error bad stormService template: nil";
    assert_eq!(world.told.iter().filter(|it| *it == told).count(), 1, "{:?}", world.told);
}

#[test]
fn one_that_terminates_is_not_edited_in_place() {
    let mut world = World::ready(2, &strategy("InPlaceUpdate", &Value::Null, &Value::Null));
    world.lingers = true;
    let names = world.names(is_live);
    world.sets.get_mut(&names[1]).unwrap()["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    world.edit_image("e:2");
    for _ in 0..3 {
        world.pass();
    }
    assert_eq!((image(&world.sets[&names[0]]), image(&world.sets[&names[1]])), ("e:2", "e:1"));
    world.reap();
    world.settle(|_| {});
    assert_eq!(world.live(), ["e:2 0", "e:2 1"]);
}

#[test]
fn no_number_is_one_and_a_negative_one_is_none() {
    let mut world = World::ready(1, &json!({"replicas": null}));
    assert_eq!(world.live().len(), 1);
    world.edit(&json!({"spec": {"replicas": -3}}));
    world.settle(|_| {});
    assert!(world.sets.is_empty());
    assert_eq!(world.condition("Ready"), "True/Ready");
}

// scenario: storm-service 51
#[test]
fn a_pooled_one_that_asks_for_copies_gets_them_and_is_told_of_once() {
    let mut world = World::ready(1, &json!({"mode": "Pooled"}));
    let told = |world: &World| world.told.iter().filter(|it| it.starts_with("PooledModeReplicas")).count();
    assert_eq!(told(&world), 0);
    world.scale(2);
    world.settle(|_| {});
    for _ in 0..3 {
        world.pass();
    }
    assert_eq!((world.live().len(), told(&world)), (2, 1));
    world.scale(1);
    world.settle(|_| {});
    assert_eq!((world.live().len(), told(&world)), (1, 1));
}

// scenario: storm-service 34
#[test]
fn a_paused_rollout_is_scaled_by_shares() {
    let mut world = World::ready(4, &json!({}));
    world.edit_image("e:2");
    while at(&world, "e:2") < 2 {
        world.pass();
        world.all_ready();
    }
    assert_eq!(world.live(), ["e:1 0", "e:1 1", "e:2 0", "e:2 1"]);
    world.edit(&json!({"spec": {"paused": true, "replicas": 8}}));
    world.pass();
    world.all_ready();
    assert_eq!((at(&world, "e:1"), at(&world, "e:2")), (4, 4));
    for _ in 0..3 {
        world.pass();
        assert!(world.steps.is_empty(), "{:?}", world.steps);
    }
    world.scale(4);
    world.pass();
    assert_eq!(world.live(), ["e:1 0", "e:1 1", "e:2 0", "e:2 1"]);
    world.edit(&json!({"spec": {"paused": false}}));
    world.settle(|cluster| assert!(cluster.count(is_ready) >= 3));
    assert_eq!(at(&world, "e:2"), 4);

    // All in one edit: what there is says how it is split, not a status about the template before.
    let mut world = World::ready(3, &json!({}));
    world.edit(&json!({"spec": {"paused": true, "replicas": 6, "template": {"spec": {"roles": [role("only", 1, "e:2")]}}}}));
    for _ in 0..4 {
        world.pass();
        world.all_ready();
    }
    assert_eq!(world.live(), ["e:1 0", "e:1 1", "e:1 2", "e:1 3", "e:1 4", "e:1 5"]);
}

#[test]
fn those_of_the_old_revision_have_the_role_revisions_of_the_old_one() {
    let mut world = World::ready(1, &json!({}));
    world.edit(&json!({"spec": {"paused": true}}));
    world.edit_image("e:2");
    world.scale(2);
    world.pass();
    for set in world.sets.values() {
        let annotations = &set["metadata"]["annotations"];
        assert_eq!(annotations["stormservice.orchestration.aibrix.ai/role-revision.only"], "1");
    }
    assert_eq!(world.sets.len(), 2);
}

// scenario: storm-service 36
#[test]
fn a_role_sums_what_role_sets_say_and_old_ones_count_in_totals_only() {
    let mut world =
        World::new(3, &json!({"template": {"spec": {"roles": [role("z", 10, "e:1"), role("a", 1, "e:1")]}}}));
    world.pass();
    let say = |world: &mut World, name: &str, updated: i64| {
        world.say_ready(name, true);
        let set = world.sets.get_mut(name).unwrap();
        set["status"]["roles"][0] = json!({
            "name": "z", "replicas": 10, "readyReplicas": 9, "notReadyReplicas": 1,
            "updatedReplicas": updated, "updatedReadyReplicas": updated - 1,
        });
    };
    let names = world.names(is_live);
    names.iter().for_each(|name| say(&mut world, name, 7));
    world.sets.get_mut(&names[2]).unwrap()["metadata"]["labels"]["storm-service-revision"] =
        json!("llm-other");
    world.edit(&json!({"spec": {"paused": true}}));
    world.pass();
    let status = json!(world.status().role_statuses);
    let names: Vec<&Value> = status.as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["a", "z"]);
    let counts = ["replicas", "readyReplicas", "notReadyReplicas", "updatedReplicas", "updatedReadyReplicas"];
    assert_eq!(counts.map(|field| status[1][field].as_i64().unwrap_or(0)), [30, 27, 3, 14, 12]);
    let status = world.status();
    assert_eq!((status.replicas, status.ready_replicas, status.updated_replicas), (3, 3, 0));
}

// scenario: storm-service 37
#[test]
fn a_creation_that_is_refused_is_reported_beside_current_counts_and_forgotten_when_it_works() {
    let mut world = World::ready(2, &json!({}));
    world.refuses = Some("exceeded quota: sets".to_owned());
    world.scale(3);
    let ended = world.pass();
    assert!(matches!(ended, Some(Err(_))), "it is tried again with back-off");
    let names = world.names(is_live);
    world.say_ready(&names[0], false);
    world.pass();
    assert_eq!(world.condition("ReplicaFailure"), "True/Failure");
    assert_eq!(world.condition("Ready"), "False/NotReady");
    assert_eq!(world.condition("Progressing"), "True/Processing");
    let status = world.status();
    assert_eq!((status.replicas, status.ready_replicas, status.not_ready_replicas), (2, 1, 1));
    assert!(status.conditions.iter().any(|it| it.message.contains("exceeded quota: sets")));
    assert!(world.told.iter().any(|it| it.starts_with("Scaling: scaling error ")), "{:?}", world.told);
    let statuses = world.statuses.len();
    world.pass();
    assert_eq!(world.statuses.len(), statuses, "the same failure under another name is no news");
    world.refuses = None;
    world.settle(|_| {});
    assert_eq!((world.condition("ReplicaFailure").as_str(), world.live().len()), ("", 3));
}

#[test]
fn after_an_edit_in_place_nothing_counts_before_the_role_set_loop_has_looked() {
    let mut world = World::ready(2, &strategy("InPlaceUpdate", &Value::Null, &Value::Null));
    let before = world.statuses.len();
    world.edit_image("e:2");
    for _ in 0..10 {
        world.pass();
    }
    let told = &world.statuses[before..];
    assert!(!told.is_empty() && told.iter().all(|it| it.updated_replicas == 0 && it.ready_replicas <= 2));
    assert!(told.iter().all(|it| it.current_revision != it.update_revision));
    assert_eq!(world.condition("Ready"), "False/NotReady");
    world.settle(|_| {});
    assert_eq!(world.status().updated_replicas, 2);
}

#[test]
fn those_that_terminate_count_but_are_not_ready() {
    let mut world = World::ready(2, &json!({}));
    world.lingers = true;
    world.scale(1);
    world.pass();
    world.pass();
    let status = world.status();
    assert_eq!((status.replicas, status.ready_replicas, status.not_ready_replicas), (2, 1, 1));
    assert_eq!(world.condition("Ready"), "False/NotReady");
    world.reap();
    world.pass();
    assert_eq!(world.condition("Ready"), "True/Ready");
}

#[test]
fn deletion_asks_once_for_each_and_waits_for_the_last() {
    let mut world = World::ready(3, &json!({"paused": true}));
    world.lingers = true;
    world.edit(&json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    for _ in 0..4 {
        world.pass();
        assert!(!world.service.is_null());
    }
    assert_eq!(world.deleted.len(), 3);
    world.reap();
    world.pass();
    assert!(world.service.is_null());
}

/// Times move with what they are about; what is as it was is not written.
#[test]
fn passes_over_what_is_as_wanted_write_nothing() {
    let mut world = World::ready(2, &json!({}));
    let (statuses, since) = (world.statuses.len(), world.status().conditions);
    for _ in 0..20 {
        world.pass();
        assert!(world.steps.is_empty());
    }
    assert_eq!((world.statuses.len(), world.status().conditions), (statuses, since));
}

// SPDX-License-Identifier: Apache-2.0
//! Roles whose replicas are groups of pods.

use serde_json::{Value, json};

use crate::api::keys::storm_service::POD_SET_NAME;

use super::super::world::{World, role};

fn group(size: usize, image: &str) -> [Value; 1] {
    let strategy = json!({"type": "InPlaceIfPossible", "maxSurge": 1, "maxUnavailable": 1});
    [role("w", 2, image, &json!({"podGroupSize": size, "updateStrategy": strategy}))]
}

fn ready_world(roles: &[Value]) -> World {
    let mut world = World::new("Parallel", roles);
    world.settle(|_| {});
    world
}

// scenario: role-set-and-pod-set 39
#[test]
fn groups_are_replaced_and_that_is_told_only_when_there_is_something_to_replace() {
    let mut world = World::new("Parallel", &group(2, "e:1"));
    let told = world.settle(|_| {});
    assert!(told.iter().all(|it| !it.contains("InPlaceFallback")), "{told:?}");
    let before: Vec<String> = world.sets.keys().cloned().collect();
    world.edit(&group(2, "e:2"));
    let told = world.settle(|_| {});
    assert!(world.sets.keys().all(|name| !before.contains(name)), "{:?}", world.sets.keys());
    assert_eq!(world.images(), ["e:2"; 4]);
    let fallback =
        "InPlaceFallback: role w uses PodSet and cannot be updated in place; falling back to recreate";
    assert!(told.iter().any(|it| it == fallback), "{told:?}");
}

// scenario: role-set-and-pod-set 40
#[test]
fn one_kind_of_replica_is_gone_before_the_first_of_the_other_is_made() {
    let mut world = ready_world(&group(1, "e:1"));
    world.lingers = true;
    let mut foreign = world.pods.values().next().expect("a pod").clone();
    foreign["metadata"]["name"] = json!("foreign");
    foreign["metadata"]["uid"] = json!("foreign");
    foreign["metadata"]["ownerReferences"][0]["uid"] = json!("another");
    world.pods.insert("foreign".to_owned(), foreign);
    for size in [3, 1] {
        world.edit(&group(size, "e:1"));
        world.settle(|world| {
            let direct = world.pods.values().filter(|pod| pod["metadata"]["labels"][POD_SET_NAME].is_null());
            let direct = direct.filter(|pod| pod["metadata"]["name"] != "foreign").count();
            assert!(
                direct == 0 || world.sets.is_empty() && direct == world.pods.len() - 1,
                "{:?}",
                world.pods.keys()
            );
        });
        assert_eq!(world.live_pods().count(), 2 * size + 1);
    }
    assert_eq!(world.pods["foreign"]["metadata"]["uid"], "foreign");
}

#[test]
fn what_a_role_says_of_scheduling_reaches_groups_that_are_there() {
    let of = |strategy: Value| {
        let mut roles = group(2, "e:1");
        roles[0]["schedulingStrategy"] = strategy;
        roles
    };
    let mut world = ready_world(&of(json!({"volcanoSchedulingStrategy": {"minMember": 2, "queue": "a"}})));
    let before = world.uids();
    let steps = [
        (json!({"volcanoSchedulingStrategy": {"minMember": 3}}), true),
        // What is not written to a PodGroup is no difference.
        (json!({"volcanoSchedulingStrategy": {"minMember": 3, "queue": "", "minTaskMember": {}}}), false),
        (json!({"coschedulingSchedulingStrategy": {"minMember": 1, "minResources": {"cpu": "1"}}}), true),
        (
            json!({"coschedulingSchedulingStrategy": {"minMember": 1, "minResources": {"cpu": "1000m"}}}),
            false,
        ),
        (Value::Null, true),
    ];
    for (strategy, changes) in steps {
        let stored =
            |world: &World| world.sets.values().next().expect("a set")["spec"]["schedulingStrategy"].clone();
        let was = stored(&world);
        world.edit(&of(strategy.clone()));
        world.settle(|_| {});
        assert_eq!(stored(&world), if changes { strategy } else { was });
    }
    assert_eq!(world.uids(), before);
}

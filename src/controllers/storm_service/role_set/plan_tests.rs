// SPDX-License-Identifier: Apache-2.0
//! Many passes of a RoleSet: scaling, rollouts, and their budgets.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::world::{World, role};

fn strategy(surge: usize, unavailable: usize) -> Value {
    json!({"updateStrategy": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

fn ready_world(strategy: &str, roles: &[Value]) -> World {
    let mut world = World::new(strategy, roles);
    world.settle(|_| {});
    world
}

// scenario: role-set-and-pod-set 10-12
#[test]
fn surplus_that_is_not_ready_goes_first_and_ready_ones_stay_at_the_floor() {
    let mut world = ready_world("Parallel", &[role("w", 4, "e:1", &strategy(0, 1))]);
    let names: Vec<String> = world.pods.keys().cloned().collect();
    world.say_ready(&names[2], false);
    world.say_ready(&names[3], false);
    world.edit(&[role("w", 3, "e:1", &strategy(0, 1))]);
    world.pass();
    let left: Vec<&String> = world.pods.keys().collect();
    assert!(left.contains(&&names[0]) && left.contains(&&names[1]) && left.len() == 3, "{left:?}");

    let mut world = ready_world("Parallel", &[role("w", 4, "e:1", &json!({}))]);
    let names: Vec<String> = world.pods.keys().cloned().collect();
    names.iter().for_each(|name| world.say_ready(name, false));
    world.edit(&[role("w", 2, "e:1", &json!({}))]);
    world.pass();
    assert_eq!(world.pods.len(), 2);
}

// scenario: role-set-and-pod-set 13-14
#[test]
fn a_surge_pod_that_is_not_ready_is_neither_taken_away_nor_made_again() {
    let mut world = ready_world("Parallel", &[role("w", 3, "e:1", &strategy(1, 0))]);
    world.edit(&[role("w", 3, "e:2", &strategy(1, 0))]);
    for _ in 0..5 {
        world.pass();
        assert_eq!((world.pods.len(), world.ready()), (4, 3));
    }
    world.edit(&[role("w", 2, "e:2", &strategy(1, 0))]);
    for _ in 0..5 {
        world.pass();
        assert_eq!((world.pods.len(), world.ready()), (3, 2));
    }
    world.settle(|world| assert!(world.ready() >= 2, "{}", world.ready()));
    assert_eq!(world.images(), ["e:2", "e:2"]);
}

// scenario: role-set-and-pod-set 20
#[test]
fn without_a_surge_no_more_pods_exist_and_without_unavailability_no_fewer_are_ready() {
    for kind in [json!({}), json!({"stateful": true})] {
        for (surge, unavailable, most, least) in [(0, 1, 3, 2), (1, 0, 4, 3)] {
            let mut more = strategy(surge, unavailable);
            json_patch::merge(&mut more, &kind);
            let mut world = ready_world("Parallel", &[role("w", 3, "e:1", &more)]);
            world.lingers = true;
            world.edit(&[role("w", 3, "e:2", &more)]);
            let (mut peak, mut low) = (0, usize::MAX);
            world.settle(|world| {
                peak = peak.max(world.pods.len());
                low = low.min(world.ready());
            });
            assert_eq!((peak, low), (most, least), "{more}");
            assert_eq!(world.images(), ["e:2"; 3]);
        }
    }
}

// scenario: role-set-and-pod-set 22
#[test]
fn roles_of_one_order_go_as_the_spec_has_them() {
    let roles = |image: &str| {
        [
            role("last", 1, image, &json!({})),
            role("first", 1, image, &json!({"upgradeOrder": 1})),
            role("second", 1, image, &json!({"upgradeOrder": 1})),
        ]
    };
    let mut world = ready_world("Sequential", &roles("e:1"));
    world.edit(&roles("e:2"));
    let mut order = Vec::new();
    world.settle(|world| {
        for (name, pod) in world.live_pods() {
            let role = name.trim_start_matches("set-").split('-').next().unwrap_or("").to_owned();
            if pod["spec"]["containers"][0]["image"] == "e:2" && !order.contains(&role) {
                order.push(role);
            }
        }
    });
    assert_eq!(order, ["first", "second", "last"]);
}

// scenario: role-set-and-pod-set 23-24
#[test]
fn interleaved_roles_advance_together_also_past_a_pod_that_is_not_ready() {
    let roles = |image: &str| [role("a", 2, image, &json!({})), role("b", 2, image, &json!({}))];
    let mut world = ready_world("Interleave", &roles("e:1"));
    let name = world.pods.keys().next().cloned().expect("a pod");
    world.say_ready(&name, false);
    world.edit(&roles("e:2"));
    world.settle(|world| {
        let of = |role: &str, ready: bool| {
            let new = world.live_pods().filter(|(name, pod)| {
                name.starts_with(&format!("set-{role}-"))
                    && pod["spec"]["containers"][0]["image"] == "e:2"
                    && (!ready || pod["status"]["conditions"][0]["status"] == "True")
            });
            new.count()
        };
        for (one, other) in [("a", "b"), ("b", "a")] {
            assert!(of(one, false) < 2 || of(other, true) >= 1, "{one} is ahead of {other}");
        }
    });
    assert_eq!(world.images(), ["e:2"; 4]);
}

// scenario: role-set-and-pod-set 25
#[test]
fn an_index_is_replaced_beside_the_old_one_where_a_surge_allows() {
    let of = |image: &str| {
        let mut more = strategy(1, 0);
        more["stateful"] = json!(true);
        [role("d", 2, image, &more)]
    };
    let mut world = ready_world("Parallel", &of("e:1"));
    let before: Vec<String> = world.pods.keys().cloned().collect();
    world.edit(&of("e:2"));
    world.pass();
    let beside: Vec<&String> = world.pods.keys().filter(|name| !before.contains(name)).collect();
    assert!(beside.len() == 1 && beside[0].ends_with("-0") && world.pods.len() == 3, "{beside:?}");
    world.settle(|world| assert!(world.ready() >= 2 && world.pods.len() <= 3));
    assert_eq!(world.images(), ["e:2", "e:2"]);
}

// scenario: role-set-and-pod-set 27
#[test]
fn labels_and_topology_roll_nothing() {
    let mut world = ready_world("Parallel", &[role("w", 2, "e:1", &json!({}))]);
    let before = world.uids();
    world.role_set["metadata"]["labels"] = json!({"team": "a", "storm-service-name": "svc"});
    world.role_set["spec"]["topologyPolicy"] = json!({"scope": "RoleSet", "key": "kubernetes.io/hostname"});
    let told = world.settle(|_| {});
    assert_eq!(world.uids(), before);
    assert!(told.iter().any(|it| it.contains("do not update 2 active Pods")), "{told:?}");
}

// scenario: role-set-and-pod-set 30-32, 35-36
#[test]
fn updates_in_place_keep_their_budget_and_are_taken_back_by_replacement() {
    let of = |image: &str, surge: usize, unavailable: usize| {
        let mut more = strategy(surge, unavailable);
        more["updateStrategy"]["type"] = json!("InPlaceIfPossible");
        [role("w", 2, image, &more)]
    };
    let mut world = ready_world("Interleave", &of("e:1", 0, 1));
    let before = world.uids();
    world.edit(&of("e:2", 0, 1));
    let told = world.settle(|world| assert!(world.ready() >= 1));
    assert_eq!((world.uids(), world.images()), (before, vec!["e:2".to_owned(); 2]));
    assert_eq!(told.iter().filter(|it| it.starts_with("InPlaceUpdateCompleted")).count(), 2);

    // Half-way, the template goes back.
    world.edit(&of("e:3", 0, 1));
    world.pass();
    world.edit(&of("e:2", 0, 1));
    world.settle(|world| assert!(world.ready() >= 1));
    assert_eq!(world.images(), ["e:2", "e:2"]);
    let annotated =
        world.pods.values().any(|pod| pod["metadata"]["annotations"].to_string().contains("target-hash"));
    assert!(!annotated);

    // Without unavailability nothing could ever begin.
    let mut world = ready_world("Parallel", &of("e:1", 1, 0));
    world.edit(&of("e:2", 1, 0));
    let told = world.settle(|world| assert!(world.ready() >= 2));
    assert_eq!(world.images(), ["e:2", "e:2"]);
    assert!(
        told.iter().any(|it| it.starts_with("InPlaceFallback: role w cannot be updated in place")),
        "{told:?}"
    );
}

#[test]
fn a_plan_on_its_own_result_is_empty() {
    for strategy in ["Parallel", "Sequential", "Interleave"] {
        let roles = [
            role("pool", 2, "e:1", &json!({})),
            role("slots", 2, "e:1", &json!({"stateful": true})),
            role("groups", 2, "e:1", &json!({"podGroupSize": 2})),
        ];
        let mut world = ready_world(strategy, &roles);
        assert_eq!(world.pods.len(), 8);
        assert_eq!(world.pass(), (Vec::new(), false));
    }
}

proptest! {
    /// Whatever the roles are and whenever pods become ready: never more than R + S exist, never fewer than R − U are
    /// ready once all were, nothing is made twice, and it ends with the new template everywhere.
    #[test]
    fn budgets_hold_and_rollouts_end(
        how in prop::sample::select(vec!["Parallel", "Sequential", "Interleave"]),
        shapes in prop::collection::vec((0..6_usize, 0..3_usize, 0..3_usize, 0..3_u8, any::<bool>()), 1..4),
        lingers in any::<bool>(),
    ) {
        let roles = |image: &str| -> Vec<Value> {
            let one = |(n, (count, surge, unavailable, kind, in_place)): (usize, &(usize, usize, usize, u8, bool))| {
                let mut more = strategy(*surge, *unavailable);
                if *in_place {
                    more["updateStrategy"]["type"] = json!("InPlaceIfPossible");
                }
                match kind {
                    1 => more["stateful"] = json!(true),
                    2 => more["podGroupSize"] = json!(2),
                    _ => {}
                }
                role(&format!("r{n}"), *count, image, &more)
            };
            shapes.iter().enumerate().map(one).collect()
        };
        let mut world = ready_world(how, &roles("e:1"));
        world.lingers = lingers;
        world.edit(&roles("e:2"));
        world.settle(|world| {
            for (n, (count, surge, unavailable, kind, _)) in shapes.iter().enumerate() {
                let unavailable = if *surge == 0 && *unavailable == 0 { 1 } else { *unavailable };
                let prefix = format!("set-r{n}-");
                let of_role = |it: &&String| it.starts_with(&prefix);
                if *kind == 2 {
                    let sets = world.sets.keys().filter(of_role).count();
                    assert!(sets <= count + surge, "{sets} groups of {count} + {surge}");
                    continue;
                }
                let pods: Vec<&Value> = world.pods.iter().filter(|(name, _)| of_role(name)).map(|(_, pod)| pod).collect();
                assert!(pods.len() <= count + surge, "{} pods of {count} + {surge}", pods.len());
                let ready = pods.iter().filter(|pod| {
                    pod["metadata"]["deletionTimestamp"].is_null() && pod["status"]["conditions"][0]["status"] == "True"
                });
                let ready = ready.count();
                assert!(ready + unavailable >= *count, "{ready} ready of {count} − {unavailable}");
            }
        });
        prop_assert!(world.images().iter().all(|image| image == "e:2"), "{:?}", world.images());
        let wanted: usize = shapes.iter().map(|(count, _, _, kind, _)| if *kind == 2 { 2 * count } else { *count }).sum();
        prop_assert_eq!(world.live_pods().count(), wanted);
        prop_assert_eq!(world.pass(), (Vec::new(), false));
    }
}

// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::world::{Change, World};

/// A PodSet of this size and policy, made by a user.
fn group(size: usize, policy: &str) -> World {
    let mut world = World::new("Parallel", &[]);
    world.sets.insert(
        "group".to_owned(),
        json!({
            "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "PodSet",
            "metadata": {"name": "group", "namespace": "ns", "uid": "group", "resourceVersion": "1"},
            "spec": {
                "podGroupSize": size, "recoveryPolicy": policy,
                "template": {"spec": {"containers": [{"name": "main", "image": "e:1"}]}},
            },
        }),
    );
    world
}

fn totals(world: &World) -> Value {
    world.sets["group"]["status"].clone()
}

// scenario: role-set-and-pod-set 44
#[test]
fn a_group_that_is_being_made_is_never_torn_down() {
    for policy in ["Recreate", "ReplaceUnhealthy"] {
        let mut world = group(8, policy);
        let mut seen = std::collections::BTreeSet::new();
        world.settle(|world| {
            let uids = world.uids();
            assert!(seen.is_subset(&uids), "{seen:?} of {uids:?}");
            seen = uids;
        });
        assert_eq!(totals(&world), json!({"readyPods": 8, "totalPods": 8, "phase": "Ready"}));
        assert_eq!(world.made.len(), 8);
        assert!(!world.pass().1);
    }
}

#[test]
fn a_loss_makes_all_anew_once_and_the_status_says_none_in_between() {
    let mut world = group(3, "Recreate");
    world.lingers = true;
    world.settle(|_| {});
    let before = world.uids();
    world.pods.remove("group-1");
    let mut none = false;
    world.settle(|world| none |= totals(world)["totalPods"] == 0);
    assert!(none);
    assert!(world.uids().is_disjoint(&before));
    assert_eq!(world.made.len(), 6);
}

#[test]
fn restarted_pods_go_with_a_lost_one_and_not_by_themselves() {
    let mut world = group(3, "ReplaceUnhealthy");
    world.settle(|_| {});
    let before = world.uids();
    let restarts = |world: &mut World, name: &str| {
        world.pods.get_mut(name).unwrap()["status"]["containerStatuses"][0]["restartCount"] = json!(1);
    };
    restarts(&mut world, "group-0");
    assert!(!world.pass().1, "a complete group is left alone");
    world.pods.remove("group-2");
    world.pass();
    world.pass();
    assert_eq!(world.pods.len(), 3);
    assert_eq!(world.uids().intersection(&before).count(), 1, "only the one that was never restarted stays");
}

// scenario: role-set-and-pod-set 43
#[test]
fn a_pod_that_ended_is_made_again_once_alone_or_with_all_others() {
    for (policy, anew) in [("ReplaceUnhealthy", 1), ("Recreate", 3)] {
        for phase in ["Failed", "Succeeded"] {
            let mut world = group(3, policy);
            world.lingers = true;
            world.settle(|_| {});
            world.say("group-1", "Ready", false);
            world.pods.get_mut("group-1").unwrap()["status"]["phase"] = json!(phase);
            world.settle(|_| {});
            assert_eq!(totals(&world), json!({"readyPods": 3, "totalPods": 3, "phase": "Ready"}));
            assert_eq!(world.made.len(), 3 + anew, "{policy}");
            assert!(!world.pass().1);
        }
    }
}

// scenario: role-set-and-pod-set 45
#[test]
fn variables_of_the_group_are_not_the_users() {
    let mut world = group(2, "ReplaceUnhealthy");
    let containers = &mut world.sets.get_mut("group").unwrap()["spec"]["template"]["spec"]["containers"];
    containers[0]["env"] = json!([{"name": "POD_GROUP_SIZE", "value": "9"}, {"name": "A", "value": "1"}]);
    world.settle(|_| {});
    let wanted = [("PODSET_NAME", "group"), ("POD_GROUP_INDEX", "1"), ("POD_GROUP_SIZE", "2"), ("A", "1")];
    let wanted: Vec<Value> = wanted.map(|(name, value)| json!({"name": name, "value": value})).into();
    assert_eq!(world.pods["group-1"]["spec"]["containers"][0]["env"], json!(wanted));
}

#[test]
fn a_pod_that_waits_for_our_readiness_gate_gets_ready() {
    let mut world = group(2, "ReplaceUnhealthy");
    let gate = json!([{"conditionType": "stormservice.orchestration.aibrix.ai/in-place-update-ready"}]);
    world.sets.get_mut("group").unwrap()["spec"]["template"]["spec"]["readinessGates"] = gate;
    world.settle(|_| {});
    assert_eq!(totals(&world)["phase"], "Ready");
}

#[test]
fn pods_of_a_group_that_was_adopted_are_noted_to_be_of_its_template() {
    let mut world = group(2, "ReplaceUnhealthy");
    world.settle(|_| {});
    let digest = "stormservice.orchestration.aibrix.ai/role-template-digest";
    world.pods.get_mut("group-0").unwrap()["metadata"]["annotations"].as_object_mut().unwrap().remove(digest);
    world.sets.get_mut("group").unwrap()["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RoleSet", "name": "set", "uid": "1", "controller": true,
    }]);
    let steps = |set: &Value| {
        let set = Arc::new(serde_json::from_value(set.clone()).unwrap());
        super::testing::pass(&set, world.pods_of("group")).steps
    };
    let mut set = world.sets["group"].clone();
    assert!(steps(&set).is_empty(), "the RoleSet has not judged the group");
    set["metadata"]["annotations"] = json!({digest: "1"});
    match &steps(&set)[..] {
        [Change::PatchPod(pod, patch)] => {
            assert_eq!((&*pod.name, &patch["metadata"]["annotations"][digest]), ("group-0", &json!("1")));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_larger_group_is_completed_or_made_anew() {
    for (policy, anew) in [("ReplaceUnhealthy", 2), ("Recreate", 4)] {
        let mut world = group(2, policy);
        world.settle(|_| {});
        world.sets.get_mut("group").unwrap()["spec"]["podGroupSize"] = json!(4);
        world.settle(|_| {});
        assert_eq!((world.pods.len(), world.made.len()), (4, 2 + anew), "{policy}");
        assert!(!world.pass().1);
    }
}

// scenario: role-set-and-pod-set 45
#[test]
fn a_smaller_group_loses_its_highest_indexes() {
    for policy in ["Recreate", "ReplaceUnhealthy"] {
        let mut world = group(4, policy);
        world.settle(|_| {});
        let before = world.uids();
        world.sets.get_mut("group").unwrap()["spec"]["podGroupSize"] = json!(2);
        world.settle(|_| {});
        assert_eq!(world.pods.keys().collect::<Vec<_>>(), ["group-0", "group-1"]);
        assert!(world.uids().is_subset(&before), "shrinking only trims");
    }
}

#[test]
fn pods_of_aibrix_without_a_usable_index_stay_and_are_told() {
    let mut world = group(2, "ReplaceUnhealthy");
    world.settle(|_| {});
    let mut stray = world.pods["group-0"].clone();
    stray["metadata"]["name"] = json!("stray");
    stray["metadata"]["uid"] = json!("stray");
    stray["metadata"]["labels"]["stormservice.orchestration.aibrix.ai/pod-group-index"] = json!("x");
    let annotations = stray["metadata"]["annotations"].as_object_mut().unwrap();
    annotations.remove("stormservice.orchestration.aibrix.ai/role-template-digest");
    world.pods.insert("stray".to_owned(), stray);
    let set = Arc::new(serde_json::from_value(world.sets["group"].clone()).unwrap());
    let done = super::testing::pass(&set, world.pods_of("group"));
    assert!(done.steps.is_empty(), "{:?}", done.steps);
    assert!(
        done.told.iter().any(|it| it.starts_with("StrayGroupMembers: ") && it.ends_with(": stray")),
        "{:?}",
        done.told
    );
}

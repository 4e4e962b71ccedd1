// SPDX-License-Identifier: Apache-2.0
//! Members as AIBrix left them: without digest and fingerprint.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::keys::{
    POD_GROUP_INDEX_LABEL,
    storm_service::{
        ACCEPTED_GROUP_SIZE, IN_PLACE_STATE, PENDING_REASON, POD_FINGERPRINT, POD_SET_NAME, ROLE_HASH_OF,
        ROLE_TEMPLATE_HASH, TARGET_HASH, TEMPLATE_DIGEST,
    },
};

use super::super::{
    templates::aibrix_hash_of,
    world::{World, role},
};

/// A ready RoleSet, as AIBrix left it; `change`: what else is so of its pods and `PodSets`.
fn left(roles: &[Value], change: impl Fn(&mut Value)) -> World {
    let mut world = World::new("Parallel", roles);
    world.settle(|_| {});
    for objects in [&mut world.pods, &mut world.sets] {
        let changed = std::mem::take(objects).into_values().map(|mut object| {
            let annotations = object["metadata"]["annotations"].as_object_mut().expect("annotations");
            annotations.retain(|key, _| ![TEMPLATE_DIGEST, POD_FINGERPRINT].contains(&key.as_str()));
            change(&mut object);
            (object["metadata"]["name"].as_str().expect("a name").to_owned(), object)
        });
        *objects = changed.collect();
    }
    world.made.clear();
    world
}

/// The spec was written at this time, by the second, and not only once.
fn spec_written(world: &mut World, seconds: i64) {
    let time = jiff::Timestamp::from_second(seconds).expect("a time").to_string();
    world.role_set["metadata"]["generation"] = json!(2);
    world.role_set["metadata"]["managedFields"] = json!([
        {"manager": "kubectl", "operation": "Update", "time": time, "fieldsV1": {"f:spec": {}}},
        {"manager": "manager", "operation": "Update", "time": "2100-01-01T00:00:00Z", "fieldsV1": {"f:metadata": {}}},
        {"manager": "manager", "operation": "Update", "time": "2100-01-01T00:00:00Z", "subresource": "status",
         "fieldsV1": {"f:spec": {}}},
    ]);
}

/// What of objects nothing may change: uid, labels and spec, by name.
fn kept(objects: &BTreeMap<String, Value>) -> Vec<(String, Value)> {
    let kept = |it: &Value| json!([it["metadata"]["uid"], it["metadata"]["labels"], it["spec"]]);
    objects.iter().map(|(name, it)| (name.clone(), kept(it))).collect()
}

/// Takes over: nothing is made, deleted or changed but annotations, all members are told to be updated from the first
/// status on, and have the digest at the end.
fn take_over(world: &mut World) -> Vec<String> {
    let (pods, sets) = (kept(&world.pods), kept(&world.sets));
    let told = world.settle(|world| {
        assert_eq!((kept(&world.pods), kept(&world.sets)), (pods.clone(), sets.clone()));
        for role in world.role_set["status"]["roles"].as_array().expect("a status") {
            assert_eq!(role["updatedReplicas"], role["replicas"], "{role}");
        }
    });
    for object in world.pods.values().chain(world.sets.values()) {
        assert!(!object["metadata"]["annotations"][TEMPLATE_DIGEST].is_null(), "{}", object["metadata"]);
    }
    assert!(world.made.is_empty());
    told
}

fn relabelled(hash: &'static str) -> impl Fn(&mut Value) {
    move |object| {
        let old = object["metadata"]["labels"][ROLE_TEMPLATE_HASH].as_str().expect("a hash").to_owned();
        *object = serde_json::from_str(&object.to_string().replace(&old, hash)).expect("an object");
    }
}

fn rewritten(pod: &mut Value) {
    if pod["kind"] == "Pod" {
        pod["spec"]["containers"][0]["image"] = json!("mirror/e@sha256:1");
        pod["spec"]["containers"][0]["readinessProbe"] = json!({"httpGet": {"port": 15020}});
        let sidecar = json!({"name": "istio-proxy", "image": "proxy"});
        pod["spec"]["containers"].as_array_mut().expect("containers").push(sidecar);
    }
}

fn all_kinds() -> [Value; 3] {
    [
        role("pool", 2, "e:1", &json!({})),
        role("slots", 2, "e:1", &json!({"stateful": true})),
        role("groups", 2, "e:1", &json!({"podGroupSize": 2})),
    ]
}

// scenario: role-set-and-pod-set 52
#[test]
fn members_of_a_role_set_whose_spec_never_changed_are_current_whatever_webhooks_did() {
    let mut world = left(&all_kinds(), |object| {
        rewritten(object);
        relabelled("abcdef")(object);
    });
    assert_eq!(take_over(&mut world), Vec::<String>::new());
    let remembered = &world.role_set["metadata"]["annotations"];
    for name in ["pool", "slots", "groups"] {
        let pair = remembered[format!("{ROLE_HASH_OF}{name}")].as_str().expect("a pair");
        assert!(pair.ends_with(":abcdef"), "{pair}");
    }
}

// scenario: role-set-and-pod-set 52
#[test]
fn what_says_all_that_the_template_says_is_current() {
    let more = json!({"template": {
        "spec": {
            "hostNetwork": false,
            "containers": [{"name": "main", "image": "e:1", "env": [{"name": "EMPTY", "value": ""}]}],
            "volumes": [
                {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "a"}}]}},
                {"name": "info", "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            ],
        },
    }});
    let defaulted = |pod: &mut Value| {
        relabelled("abcdef")(pod);
        let spec = pod["spec"].as_object_mut().expect("a spec");
        spec.remove("hostNetwork");
        spec.insert("dnsPolicy".to_owned(), json!("ClusterFirst"));
        for variable in spec["containers"][0]["env"].as_array_mut().into_iter().flatten() {
            if variable["name"] == "EMPTY" {
                *variable = json!({"name": "EMPTY"});
            }
        }
        spec["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"] =
            json!(3600);
        spec["volumes"][0]["projected"]["defaultMode"] = json!(420);
        spec["volumes"][1]["downwardAPI"]["items"][0]["fieldRef"]["apiVersion"] = json!("v1");
    };
    let mut world = left(&[role("w", 2, "e:1", &more)], defaulted);
    let now = world.now().as_second();
    spec_written(&mut world, now);
    assert_eq!(take_over(&mut world), Vec::<String>::new());
}

// scenario: role-set-and-pod-set 52
#[test]
fn the_hash_of_aibrix_in_either_length_makes_a_member_current() {
    let roles = all_kinds();
    let hash = aibrix_hash_of(&roles[0]["template"]).expect("a hash");
    assert!(hash.full.len() > hash.short.len(), "{hash:?}");
    for label in [hash.short.clone(), hash.full.clone()] {
        let mut world = left(&roles, |object| {
            rewritten(object);
            object["metadata"]["labels"][ROLE_TEMPLATE_HASH] = json!(label);
            if object["kind"] == "PodSet" {
                object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("mirror/e@sha256:1");
            }
        });
        let now = world.now().as_second();
        spec_written(&mut world, now);
        assert_eq!(take_over(&mut world), Vec::<String>::new());
        let remembered = world.role_set["metadata"]["annotations"][format!("{ROLE_HASH_OF}pool")].as_str();
        assert_eq!(remembered.is_some(), label == hash.full, "{remembered:?}");
    }
}

#[test]
fn a_member_that_is_well_younger_than_the_spec_is_current_and_no_other() {
    for (age, current) in [(11, true), (10, false)] {
        let mut world = left(&[role("w", 1, "e:1", &json!({}))], |pod| {
            rewritten(pod);
            relabelled("abcdef")(pod);
        });
        let created = world.pods.values().next().expect("a pod")["metadata"]["creationTimestamp"].clone();
        let created: jiff::Timestamp = created.as_str().expect("a time").parse().expect("a time");
        spec_written(&mut world, created.as_second() - age);
        let before = world.uids();
        world.settle(|_| {});
        assert_eq!(world.uids() == before, current, "{age}");
    }
}

// scenario: role-set-and-pod-set 52
#[test]
fn the_one_pod_of_another_template_is_replaced_and_told_once() {
    let mut world = left(&[role("w", 3, "e:2", &json!({}))], |_| {});
    let old = world.pods.keys().nth(1).cloned().expect("a pod");
    let pod = world.pods.get_mut(&old).expect("a pod");
    pod["spec"]["containers"][0]["image"] = json!("e:1");
    pod["metadata"]["labels"][ROLE_TEMPLATE_HASH] = json!("abcdef");
    let now = world.now().as_second();
    spec_written(&mut world, now);
    let before = world.uids();
    let told = world.settle(|world| assert!(world.ready() >= 2));
    assert_eq!(world.uids().intersection(&before).count(), 2);
    assert!(!world.pods.contains_key(&old));
    assert_eq!(world.images(), ["e:2"; 3]);
    let differs = format!("the first difference of {old} is spec.containers[main].image");
    assert!(
        told.iter().any(|it| it.starts_with("TemplateDiffers: role w: 1 ") && it.ends_with(&differs)),
        "{told:?}"
    );
}

// scenario: role-set-and-pod-set 52
#[test]
fn a_stateful_pod_that_is_lost_later_returns_under_its_old_name() {
    let mut world = left(&[role("d", 1, "e:1", &json!({"stateful": true}))], relabelled("abcdef"));
    take_over(&mut world);
    world.pods.clear();
    world.settle(|_| {});
    assert_eq!(world.pods.keys().collect::<Vec<_>>(), ["set-d-abcdef-0"]);
}

#[test]
fn an_update_in_place_that_aibrix_began_is_completed() {
    let of = |image: &str| {
        [role("w", 1, image, &json!({"updateStrategy": {"type": "InPlaceIfPossible", "maxUnavailable": 1}}))]
    };
    let mut world = left(&of("e:2"), |pod| {
        pod["metadata"]["labels"][ROLE_TEMPLATE_HASH] = json!("old123");
        pod["metadata"]["annotations"][TARGET_HASH] = json!("new123");
        pod["metadata"]["annotations"][PENDING_REASON] = json!("PodNotReady");
        pod["metadata"]["annotations"][IN_PLACE_STATE] =
            json!(json!({"lastContainerStatuses": {"main": {"imageID": "id of \"e:1\""}}}).to_string());
    });
    let now = world.now().as_second();
    spec_written(&mut world, now);
    let before = world.uids();
    world.settle(|_| {});
    assert_eq!(world.uids(), before);
    let pod = world.pods.values().next().expect("a pod");
    assert_eq!(pod["metadata"]["labels"][ROLE_TEMPLATE_HASH], "new123");
    let annotations = &pod["metadata"]["annotations"];
    assert!(
        [TARGET_HASH, PENDING_REASON, IN_PLACE_STATE].iter().all(|it| annotations[it].is_null()),
        "{annotations}"
    );
    assert!(!annotations[POD_FINGERPRINT].is_null());
}

#[test]
fn nothing_is_decided_about_members_that_could_not_be_read() {
    let mut world = left(&all_kinds(), relabelled("abcdef"));
    spec_written(&mut world, 0);
    let mut seen = super::testing::seen(&world, 1);
    seen.live = None;
    let plan = super::plan::plan(&seen);
    assert!(plan.steps.is_empty(), "{:?}", plan.steps);
    assert!(plan.roles.is_none(), "a status without them would say that there is something to roll");
}

// scenario: role-set-and-pod-set 56
#[test]
fn groups_of_another_size_and_pods_of_removed_roles_stay_as_aibrix_left_them() {
    let group = |size: usize| role("group", 2, "e:1", &json!({"podGroupSize": size}));
    let mut world = left(&[group(2), role("gone", 1, "e:1", &json!({}))], |_| {});
    world.edit(&[group(3)]);
    let (pods, sets) = (kept(&world.pods), kept(&world.sets));
    let told = world.settle(|world| {
        assert_eq!((kept(&world.pods), kept(&world.sets)), (pods.clone(), sets.clone()));
        let role = &world.role_set["status"]["roles"][0];
        assert_eq!(role["updatedReplicas"], role["replicas"], "{role}");
    });
    for set in world.sets.values() {
        assert_eq!(set["metadata"]["annotations"][ACCEPTED_GROUP_SIZE], "3");
        assert!(
            told.iter()
                .filter(|it| it.starts_with("PodGroupSizeDiffers: "))
                .all(|it| { it.contains(set["metadata"]["name"].as_str().expect("a name")) })
        );
    }
    assert_eq!(told.iter().filter(|it| it.starts_with("PodGroupSizeDiffers: ")).count(), 1, "{told:?}");
    let orphan = world.pods.keys().find(|name| name.starts_with("set-gone-")).cloned().expect("the orphan");
    assert!(
        told.iter().any(|it| it.starts_with("OrphanedRoleMembers: ") && it.contains(&orphan)),
        "{told:?}"
    );
    for pod in world.pods.values().filter(|pod| !pod["metadata"]["labels"][POD_SET_NAME].is_null()) {
        assert!(pod["metadata"]["annotations"][ACCEPTED_GROUP_SIZE].is_null());
    }

    world.edit(&[group(4)]);
    world.settle(|world| assert!(world.sets.len() <= 2));
    assert!(world.sets.values().all(|set| set["spec"]["podGroupSize"] == 4));
    assert_eq!(world.live_pods().count(), 2 * 4 + 1);
    assert!(world.pods.contains_key(&orphan));

    // What this program made goes with its role.
    let pool = role("pool", 2, "e:1", &json!({}));
    world.edit(&[group(4), pool]);
    world.settle(|_| {});
    world.edit(&[group(4)]);
    world.settle(|_| {});
    assert_eq!(world.live_pods().count(), 2 * 4 + 1);

    world.role_set["metadata"]["deletionTimestamp"] = json!("2027-01-01T00:00:00Z");
    while world.pass().1 {
        world.reap();
    }
    assert!(world.pods.is_empty() && world.sets.is_empty(), "{:?}", world.pods.keys());
}

#[test]
fn pods_of_groups_without_an_index_of_their_own_stay_as_aibrix_left_them() {
    let mut world = left(&[role("group", 1, "e:1", &json!({"podGroupSize": 2}))], |_| {});
    let first = world.pods.values().next().expect("a pod").clone();
    for (name, index) in [("twice", "0"), ("beyond", "2"), ("none", "x")] {
        let mut pod = first.clone();
        pod["metadata"]["name"] = json!(name);
        pod["metadata"]["uid"] = json!(name);
        pod["metadata"]["creationTimestamp"] = json!("2027-01-16T00:00:00Z");
        pod["metadata"]["labels"][POD_GROUP_INDEX_LABEL] = json!(index);
        world.pods.insert(name.to_owned(), pod);
    }
    world.settle(|world| assert_eq!(world.pods.len(), 5));
    let digest = |name: &str| &world.pods[name]["metadata"]["annotations"][TEMPLATE_DIGEST];
    assert!(["twice", "beyond", "none"].iter().all(|name| digest(name).is_null()));
    assert!(!digest(first["metadata"]["name"].as_str().expect("a name")).is_null());
}

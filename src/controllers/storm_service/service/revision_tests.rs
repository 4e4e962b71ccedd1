// SPDX-License-Identifier: Apache-2.0
//! The history of a StormService's templates, also one that AIBrix wrote, and what is edited in place.

use serde_json::{Value, json};

use super::world::{World, index, is_live, role, strategy};

const PREFIX: &str = "stormservice.orchestration.aibrix.ai";

fn numbers(world: &World) -> Vec<(String, i64)> {
    let mut all: Vec<(String, i64)> =
        world.revisions.iter().map(|(name, it)| (name.clone(), it["revision"].as_i64().unwrap())).collect();
    all.sort_by_key(|(_, number)| *number);
    all
}

fn roles(world: &mut World, roles: &[Value]) {
    world.edit(&json!({"spec": {"template": {"spec": {"roles": roles}}}}));
}

fn role_revision(world: &World, role: &str) -> Vec<String> {
    let key = format!("{PREFIX}/role-revision.{role}");
    let of = |set: &Value| set["metadata"]["annotations"][&key].as_str().unwrap_or("none").to_owned();
    world.sets.values().map(of).collect()
}

fn in_place() -> Value {
    strategy("InPlaceUpdate", &Value::Null, &Value::Null)
}

// scenario: storm-service 25
#[test]
fn a_role_keeps_the_revision_at_which_its_template_changed_last() {
    let mut world = World::ready(2, &in_place());
    let set = |world: &mut World, prefill: &str| {
        roles(world, &[role("prefill", 1, prefill), role("decode", 1, "d:1")]);
        world.settle(|_| {});
    };
    let mut world_of_two = World::new(2, &in_place());
    roles(&mut world_of_two, &[role("prefill", 1, "p:1"), role("decode", 1, "d:1")]);
    world_of_two.settle(|_| {});
    for (image, number) in [("p:2", "2"), ("p:3", "3")] {
        set(&mut world_of_two, image);
        assert_eq!(role_revision(&world_of_two, "prefill"), [number; 2]);
        assert_eq!(role_revision(&world_of_two, "decode"), ["1"; 2]);
    }
    // A role that is new, and one that goes.
    set(&mut world, "p:1");
    assert_eq!(role_revision(&world, "decode"), ["2"; 2]);
    assert_eq!(role_revision(&world, "only"), ["none"; 2]);
}

// scenario: storm-service 26
#[test]
fn other_numbers_of_replicas_are_no_new_revision_of_the_role() {
    let mut world = World::ready(2, &in_place());
    let before: Vec<String> = world.sets.keys().cloned().collect();
    roles(&mut world, &[role("only", 4, "e:1")]);
    world.settle(|_| {});
    assert_eq!(numbers(&world).len(), 2);
    assert_eq!(world.sets.keys().cloned().collect::<Vec<_>>(), before);
    assert!(world.sets.values().all(|set| set["spec"]["roles"][0]["replicas"] == 4));
    assert_eq!(role_revision(&world, "only"), ["1"; 2]);
}

// scenario: storm-service 24
#[test]
fn an_edit_in_place_keeps_what_is_others_and_takes_back_what_was_the_template_s() {
    let mut world = World::new(5, &in_place());
    let metadata = json!({"labels": {"app": "llm", "old": "1"}, "annotations": {"mine": "1"}});
    world.edit(&json!({"spec": {"template": {"metadata": metadata}}}));
    world.settle(|_| {});
    let before: Vec<(String, String)> =
        world.sets.iter().map(|(name, set)| (name.clone(), index(set).to_owned())).collect();
    let first = world.status().current_revision;
    for set in world.sets.values_mut() {
        set["metadata"]["annotations"]["foreign"] = json!("kept");
        set["metadata"]["labels"]["foreign"] = json!("kept");
    }
    let metadata = json!({"labels": {"old": null, "new": "1"}, "annotations": null});
    world.edit(&json!({"spec": {"template": {"metadata": metadata}}}));
    world.edit_image("e:2");
    world.settle(|_| {});
    let after: Vec<(String, String)> =
        world.sets.iter().map(|(name, set)| (name.clone(), index(set).to_owned())).collect();
    assert_eq!(after, before);
    let second = world.status().current_revision;
    assert_ne!(first, second);
    for set in world.sets.values() {
        let (labels, annotations) = (&set["metadata"]["labels"], &set["metadata"]["annotations"]);
        assert_eq!((&labels["foreign"], &annotations["foreign"]), (&json!("kept"), &json!("kept")));
        assert_eq!((&labels["old"], &annotations["mine"]), (&Value::Null, &Value::Null));
        assert_eq!(labels["new"], "1");
        assert_eq!(labels["storm-service-revision"], json!(second));
        assert_eq!(annotations[format!("{PREFIX}/revision")], json!(second));
    }
}

/// One of another revision is about to be one of this revision.
#[test]
fn those_that_are_moved_in_place_share_no_index_with_a_new_one() {
    let mut world = World::ready(1, &in_place());
    world.edit_image("e:2");
    world.scale(2);
    world.settle(|_| {});
    assert_eq!(world.live(), ["e:2 0", "e:2 1"]);
}

#[test]
fn only_the_template_makes_revisions_and_an_old_one_comes_back_under_its_name() {
    let mut world = World::ready(1, &json!({}));
    let first = world.status().current_revision;
    for patch in [
        json!({"spec": {"replicas": 2}}),
        json!({"spec": {"paused": true}}),
        json!({"spec": {"paused": false, "updateStrategy": {"maxSurge": 1}}}),
        json!({"spec": {"mode": "Replica", "progressDeadlineSeconds": 9, "stateful": true}}),
        json!({"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}}),
    ] {
        world.edit(&patch);
        world.settle(|_| {});
    }
    assert_eq!(numbers(&world), [(first.clone(), 1)]);
    world.edit_image("e:2");
    world.settle(|_| {});
    let second = world.status().current_revision;
    assert_eq!(numbers(&world), [(first.clone(), 1), (second.clone(), 2)]);
    let data = world.revisions[&first]["data"].clone();
    world.edit_image("e:1");
    world.settle(|_| {});
    assert_eq!(numbers(&world), [(second, 2), (first.clone(), 3)]);
    assert_eq!((&world.revisions[&first]["data"], world.status().current_revision), (&data, first));
}

/// A StormService as a user writes it, the revision that AIBrix wrote of it, and RoleSets of that.
fn left_by_aibrix(role_strategy: &Value) -> World {
    let mut world = World::new(2, &json!({}));
    world.edit(&json!({"spec": {"template": {"spec": {"updateStrategy": "Sequential", "roles": [{
        "name": "worker", "replicas": 1, "stateful": false,
        "template": {"spec": {"containers": [
            {"name": "main", "image": "nginx:1", "args": ["a && b >/dev/null"], "resources": {"limits": {"cpu": "1000m"}}},
            {"name": "side", "image": "s:1", "env": [{"name": "E", "value": ""}]},
        ]}},
    }]}}}}));
    let data = json!({"spec": {"template": {
        "$patch": "replace", "metadata": {"creationTimestamp": null, "labels": {"app": "llm"}},
        "spec": {"updateStrategy": "Sequential", "roles": [{
            "disruptionTolerance": {}, "name": "worker", "replicas": 1, "updateStrategy": role_strategy,
            "template": {"metadata": {"creationTimestamp": null}, "spec": {"containers": [
                {"args": ["a && b >/dev/null"], "image": "nginx:1", "name": "main", "resources": {"limits": {"cpu": "1"}}},
                {"env": [{"name": "E"}], "image": "s:1", "name": "side", "resources": {}},
            ]}},
        }]},
    }}});
    let owner = json!([{"apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "StormService", "name": "llm",
        "uid": "service", "controller": true, "blockOwnerDeletion": true}]);
    let revision = json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 1, "data": data,
        "metadata": {"name": "llm-000004", "namespace": "ns", "uid": "r", "resourceVersion": "1",
            "ownerReferences": owner, "labels": {"name": "llm", "controller.kubernetes.io/hash": "000004"}},
    });
    world.revisions.insert("llm-000004".to_owned(), revision);
    for name in ["llm-roleset-a", "llm-roleset-b"] {
        let set = json!({
            "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RoleSet",
            "metadata": {"name": name, "namespace": "ns", "uid": name, "resourceVersion": "1", "generation": 1,
                "ownerReferences": owner, "annotations": {format!("{PREFIX}/revision"): "llm-000004"},
                "labels": {"app": "llm", "storm-service-name": "llm", "storm-service-revision": "llm-000004"}},
            "spec": world.service["spec"]["template"]["spec"],
        });
        world.sets.insert(name.to_owned(), set);
    }
    world.all_ready();
    world
}

// scenario: storm-service 28
#[test]
fn what_aibrix_recorded_and_made_of_the_same_template_is_left_as_it_is() {
    for role_strategy in [json!({}), json!({"type": "Recreate"})] {
        let mut world = left_by_aibrix(&role_strategy);
        world.edit(&json!({"status": {"currentRevision": "llm-000004", "updateRevision": "llm-000004"}}));
        let (sets, revisions) = (world.sets.clone(), world.revisions.clone());
        for _ in 0..5 {
            world.pass();
        }
        assert_eq!((&world.sets, &world.revisions), (&sets, &revisions));
        assert_eq!(world.condition("Ready"), "True/Ready");
    }
}

// scenario: storm-service 29
#[test]
fn any_other_template_than_the_one_that_aibrix_recorded_is_a_new_one() {
    let changes: [fn(&mut Value); 12] = [
        |role| role["template"]["spec"]["containers"][0]["image"] = json!("nginx:2"),
        |role| role["template"]["spec"]["containers"][0]["args"][0] = json!("a && b"),
        |role| role["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] = json!("1001m"),
        |role| role["template"]["spec"]["containers"][1]["env"][0]["value"] = json!("x"),
        |role| role["template"]["spec"]["automountServiceAccountToken"] = json!(false),
        |role| role["template"]["spec"]["enableServiceLinks"] = json!(false),
        |role| role["template"]["spec"]["securityContext"] = json!({}),
        |role| role["template"]["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}]),
        |role| role["template"]["metadata"] = json!({"labels": {"a": ""}}),
        |role| role["replicas"] = json!(0),
        |role| role["stateful"] = json!(true),
        |role| role["updateStrategy"] = json!({"type": "InPlaceIfPossible"}),
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut world = left_by_aibrix(&json!({}));
        let mut role = world.service["spec"]["template"]["spec"]["roles"][0].clone();
        change(&mut role);
        roles(&mut world, &[role]);
        world.pass();
        assert_eq!(numbers(&world).len(), 2, "change {n}");
    }
}

// scenario: storm-service 30
#[test]
fn of_revisions_that_nobody_uses_the_newest_are_kept() {
    for (limit, kept) in [(2, vec![5, 6, 7]), (0, vec![7]), (-1, vec![7])] {
        let mut world = World::ready(2, &json!({"revisionHistoryLimit": limit}));
        for n in 2..=7 {
            world.edit_image(&format!("e:{n}"));
            world.settle(|cluster| {
                for set in cluster.sets.values() {
                    let used = set["metadata"]["labels"]["storm-service-revision"].as_str().unwrap();
                    assert!(cluster.revisions.contains_key(used), "{used} is in use");
                }
            });
        }
        let left: Vec<i64> = numbers(&world).into_iter().map(|(_, number)| number).collect();
        assert_eq!(left, kept, "limit {limit}");
    }
    // Those that RoleSets of a paused rollout bear are no surplus.
    let mut world = World::ready(2, &json!({"revisionHistoryLimit": 0}));
    world.edit(&json!({"spec": {"paused": true}}));
    for n in 2..=4 {
        world.edit_image(&format!("e:{n}"));
        world.pass();
        world.pass();
    }
    let left: Vec<i64> = numbers(&world).into_iter().map(|(_, number)| number).collect();
    assert_eq!(left, [1, 4]);
}

// scenario: storm-service 31
#[test]
fn a_name_that_is_taken_is_replaced_by_another_and_the_count_is_told_when_it_worked() {
    let name = World::ready(1, &json!({})).status().current_revision;
    let mut world = World::new(1, &json!({}));
    let taken = json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 1, "data": {"other": true},
        "metadata": {"name": name, "namespace": "ns", "uid": "x", "ownerReferences": [{"apiVersion": "v1",
            "kind": "ConfigMap", "name": "o", "uid": "other", "controller": true}]},
    });
    world.revisions.insert(name.clone(), taken.clone());
    world.settle(|_| {});
    let status = world.status();
    assert_ne!(status.current_revision, name);
    assert!(status.collision_count.unwrap() > 0);
    let hash =
        world.revisions[&status.current_revision]["metadata"]["labels"]["controller.kubernetes.io/hash"]
            .clone();
    assert_eq!(format!("llm-{}", hash.as_str().unwrap()), status.current_revision);
    assert_eq!(world.revisions[&name], taken);
    let statuses = world.statuses.len();
    world.pass();
    assert_eq!(world.statuses.len(), statuses);

    // One of our own with the same name that records something else.
    let mut world = World::new(1, &json!({}));
    let mut other = taken;
    other["metadata"]["ownerReferences"][0]["uid"] = json!("service");
    other["data"] = json!({"spec": {"template": {"$patch": "replace", "spec": {"roles": []}}}});
    world.revisions.insert(name.clone(), other);
    world.settle(|_| {});
    assert_ne!(world.status().current_revision, name);
    assert_eq!(world.revisions.len(), 2);
}

// scenario: storm-service 33
#[test]
fn a_pause_records_the_template_and_rolls_nothing() {
    let mut world = World::ready(2, &json!({}));
    let before = world.sets.clone();
    let first = world.status().current_revision;
    world.edit(&json!({"spec": {"paused": true}}));
    world.edit_image("e:2");
    for _ in 0..3 {
        world.pass();
    }
    assert_eq!(world.sets, before);
    let status = world.status();
    assert_eq!((&status.current_revision, numbers(&world).len()), (&first, 2));
    assert_ne!(status.update_revision, first);
    assert!(
        world.condition("Progressing").starts_with("True")
            || world.condition("Progressing").starts_with("Unknown")
    );
    assert_eq!(world.condition("Ready"), "False/NotReady");
    world.edit(&json!({"spec": {"paused": false}}));
    world.settle(|_| {});
    assert_eq!(world.live(), ["e:2 0", "e:2 1"]);
}

fn headless(spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "spec": spec,
        "metadata": {"name": "llm", "namespace": "ns", "uid": "s", "resourceVersion": "1", "ownerReferences": []}})
}

// scenario: storm-service 48
#[test]
fn a_headless_service_and_role_sets_of_old_versions_are_taken_over() {
    let mut world = left_by_aibrix(&json!({}));
    world.edit(&json!({"spec": in_place()}));
    let selector = json!({"storm-service-name": "llm"});
    let spec = json!({"type": "ClusterIP", "clusterIP": "None", "selector": selector, "publishNotReadyAddresses": true});
    let mut old = headless(&spec);
    old["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x"}]);
    world.headless = Some(old);
    let sets = world.sets.clone();
    world.pass();
    let found = world.headless.clone().unwrap();
    assert_eq!(found["spec"], spec);
    let owners: Vec<&Value> =
        found["metadata"]["ownerReferences"].as_array().unwrap().iter().map(|it| &it["uid"]).collect();
    assert_eq!(owners, ["x", "service"]);
    assert_eq!(world.sets, sets);
    assert!(!world.told.iter().any(|it| it.contains("HeadlessServiceConflict")), "{:?}", world.told);

    for set in world.sets.values_mut() {
        set["metadata"]["annotations"][format!("{PREFIX}/role-revision.gone")] = json!("1");
        set["metadata"]["annotations"][format!("{PREFIX}/role-revision-name.gone")] = json!("llm-000004");
    }
    world.edit_image("e:2");
    world.settle(|_| {});
    for set in world.sets.values() {
        assert_eq!(index(set), "-");
        assert!(!set["metadata"]["annotations"].to_string().contains("gone"));
        assert!(!set["metadata"]["annotations"].to_string().contains("worker"));
    }
    world.scale(3);
    world.settle(|_| {});
    assert_eq!(world.live(), ["e:2 -", "e:2 -", "e:2 0"]);

    // With an address of its own it is somebody's.
    let mut world = World::new(1, &json!({}));
    let foreign = headless(&json!({"type": "ClusterIP", "clusterIP": "10.0.0.7", "selector": selector}));
    world.headless = Some(foreign.clone());
    for _ in 0..3 {
        world.pass();
    }
    assert_eq!((world.headless.clone(), world.sets.len()), (Some(foreign), 1));
    let told = world.told.iter().filter(|it| it.starts_with("HeadlessServiceConflict")).count();
    assert_eq!(told, 1);
    // And it is looked at again, for its end is nobody's event.
    let names = world.names(is_live);
    world.say_ready(&names[0], true);
    let ended = world.pass().unwrap().unwrap();
    assert_eq!(world.condition("Ready"), "True/Ready");
    assert!(format!("{ended:?}").contains("15s"), "{ended:?}");
}

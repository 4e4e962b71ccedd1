// SPDX-License-Identifier: Apache-2.0
//! Updates in place: kubelet's part step by step.

use serde_json::{Value, json};

use crate::api::keys::storm_service::{
    IN_PLACE_READY, IN_PLACE_STATE, PENDING_REASON, POD_FINGERPRINT, ROLE_TEMPLATE_HASH, TARGET_HASH,
};

use super::{
    super::world::{Change, World, role},
    testing::pass,
};

fn in_place(count: usize, image: &str, more: &Value) -> Vec<Value> {
    let mut all =
        json!({"updateStrategy": {"type": "InPlaceIfPossible", "maxSurge": 0, "maxUnavailable": 1}});
    json_patch::merge(&mut all, more);
    vec![role("w", count, image, &all)]
}

fn ready_world(roles: &[Value]) -> World {
    let mut world = World::new("Parallel", roles);
    world.settle(|_| {});
    world
}

fn only(world: &World) -> (String, Value) {
    let (name, pod) = world.pods.iter().next().expect("a pod");
    (name.clone(), pod.clone())
}

fn annotation(world: &World, key: &str) -> Option<String> {
    only(world).1["metadata"]["annotations"][key].as_str().map(str::to_owned)
}

/// What kubelet says of the container: ready or not, image and container.
fn runs(world: &mut World, ready: bool, image: &str, container: &str) {
    let name = only(world).0;
    world.say_ready(&name, ready);
    let status = &mut world.pods.get_mut(&name).expect("the pod")["status"];
    status["containerStatuses"][0]["imageID"] = json!(image);
    status["containerStatuses"][0]["containerID"] = json!(container);
}

/// With our readiness gate, and others.
fn gated(others: &[&str]) -> Value {
    let gates = [IN_PLACE_READY].iter().chain(others).map(|gate| json!({"conditionType": gate}));
    json!({"template": {"spec": {"readinessGates": gates.collect::<Vec<_>>()}}})
}

// scenario: role-set-and-pod-set 28-29
#[test]
fn the_gate_is_open_before_an_update_closed_during_it_and_open_after_it() {
    let gate = |world: &World| {
        let conditions = only(world).1["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().find(|it| it["type"] == IN_PLACE_READY).map(|it| it["status"] == "True")
    };
    let mut world = World::new("Parallel", &in_place(1, "e:1", &gated(&[])));
    world.pass();
    assert_eq!(gate(&world), None);
    world.pass();
    assert_eq!(gate(&world), Some(true), "before the pod is ready, which waits for it");
    world.settle(|_| {});
    runs(&mut world, true, "sha:1", "c:1");
    let hash = only(&world).1["metadata"]["labels"][ROLE_TEMPLATE_HASH].clone();
    world.edit(&in_place(1, "e:2", &gated(&[])));
    let steps = pass(&world, 1).steps;
    assert!(matches!(&steps[..], [Change::SetGate(_, false), Change::SetImages(..)]), "{steps:?}");
    let (told, _) = world.pass();
    assert!(told.iter().any(|it| it.starts_with("InPlaceUpdateStarted: role w pod set-w-")), "{told:?}");
    assert_eq!(gate(&world), Some(false));
    assert_eq!(only(&world).1["metadata"]["labels"][ROLE_TEMPLATE_HASH], hash);
    assert_eq!(
        annotation(&world, IN_PLACE_STATE).as_deref(),
        Some(r#"{"lastContainerStatuses":{"main":{"imageID":"sha:1","containerID":"c:1"}}}"#)
    );
    runs(&mut world, true, "sha:1", "c:1");
    for _ in 0..3 {
        world.pass();
        assert_eq!(annotation(&world, PENDING_REASON).as_deref(), Some("ImageIDUnchanged"));
        assert_eq!(gate(&world), Some(false), "an open gate would send requests to the old image");
    }
    runs(&mut world, true, "sha:2", "c:2");
    let (told, _) = world.pass();
    assert!(told.iter().any(|it| it.starts_with("InPlaceUpdateCompleted: role w pod set-w-")), "{told:?}");
    assert_eq!(gate(&world), Some(true));
    assert_ne!(only(&world).1["metadata"]["labels"][ROLE_TEMPLATE_HASH], hash);
    assert!(
        [TARGET_HASH, IN_PLACE_STATE, PENDING_REASON].iter().all(|key| annotation(&world, key).is_none())
    );
}

// scenario: role-set-and-pod-set 55
#[test]
fn the_gate_opens_and_then_the_label_changes_while_the_pod_waits_for_the_gate() {
    let mut world = ready_world(&in_place(1, "e:1", &gated(&[])));
    runs(&mut world, true, "sha:1", "c:1");
    world.edit(&in_place(1, "e:2", &gated(&[])));
    world.pass();
    // Kubelet keeps the pod from being ready while the gate is closed.
    runs(&mut world, true, "sha:2", "c:2");
    assert_eq!(world.ready(), 0);
    let steps = pass(&world, 1).steps;
    assert!(matches!(&steps[..], [Change::SetGate(_, true), Change::PatchPod(..)]), "{steps:?}");

    // Another gate that is closed keeps it pending.
    let mut world = World::new("Parallel", &in_place(1, "e:1", &gated(&["example.com/lb"])));
    world.pass();
    let name = only(&world).0;
    world.say(&name, "example.com/lb", true);
    world.settle(|_| {});
    runs(&mut world, true, "sha:1", "c:1");
    world.edit(&in_place(1, "e:2", &gated(&["example.com/lb"])));
    world.pass();
    world.say(&name, "example.com/lb", false);
    runs(&mut world, true, "sha:2", "c:2");
    world.pass();
    assert_eq!(annotation(&world, PENDING_REASON).as_deref(), Some("PodNotReady"));
    world.say(&name, "example.com/lb", true);
    world.pass();
    assert_eq!(annotation(&world, TARGET_HASH), None);

    // Nobody says whether the containers are ready.
    for more in [json!({}), gated(&[])] {
        let mut world = ready_world(&in_place(1, "e:1", &more));
        runs(&mut world, true, "sha:1", "c:1");
        world.edit(&in_place(1, "e:2", &more));
        world.pass();
        runs(&mut world, true, "sha:2", "c:2");
        let name = only(&world).0;
        let conditions = &mut world.pods.get_mut(&name).expect("the pod")["status"]["conditions"];
        conditions.as_array_mut().expect("conditions").retain(|it| it["type"] != "ContainersReady");
        world.say(&name, "Ready", true);
        world.pass();
        assert_eq!(annotation(&world, TARGET_HASH), None, "{more}");
    }
}

#[test]
fn the_same_image_under_another_tag_is_complete_when_another_container_runs() {
    let mut world = ready_world(&in_place(1, "e:1", &json!({})));
    runs(&mut world, true, "sha:1", "c:1");
    world.edit(&in_place(1, "e:1.0", &json!({})));
    world.pass();
    runs(&mut world, true, "sha:1", "");
    world.pass();
    assert_eq!(annotation(&world, PENDING_REASON).as_deref(), Some("ImageIDUnchanged"));
    runs(&mut world, true, "sha:1", "c:2");
    world.pass();
    assert_eq!(annotation(&world, TARGET_HASH), None);
}

// scenario: role-set-and-pod-set 31-32
#[test]
fn what_is_not_ready_needs_no_budget_and_what_is_under_way_uses_it() {
    let mut world = ready_world(&in_place(2, "e:1", &json!({})));
    let names: Vec<String> = world.pods.keys().cloned().collect();
    world.say_ready(&names[1], false);
    world.edit(&in_place(2, "e:2", &json!({})));
    world.pass();
    let image = |world: &World, name: &str| world.pods[name]["spec"]["containers"][0]["image"].clone();
    assert_eq!([&names[0], &names[1]].map(|name| image(&world, name)), ["e:1", "e:2"]);

    let mut world = ready_world(&in_place(2, "e:1", &json!({})));
    let names: Vec<String> = world.pods.keys().cloned().collect();
    world.edit(&in_place(2, "e:2", &json!({})));
    world.pass();
    assert_eq!(world.images(), ["e:1", "e:2"]);
    let first = names.iter().find(|name| image(&world, name) == "e:2").expect("one");
    world.say(first, "Ready", true); // kubelet has not noticed yet
    for _ in 0..3 {
        world.pass();
        assert_eq!(world.images(), ["e:1", "e:2"]);
    }
}

// scenario: role-set-and-pod-set 33
#[test]
fn whatever_else_changes_the_pod_is_replaced_and_told_once() {
    let init =
        |image: &str| json!({"template": {"spec": {"initContainers": [{"name": "i", "image": image}]}}});
    let changes = [
        (
            json!({}),
            json!({"template": {"metadata": {"annotations": {"a": "1"}}}}),
            "non-image pod fields changed",
        ),
        (
            json!({}),
            json!({"template": {"metadata": {"labels": {"a": "1"}}}}),
            "non-image pod fields changed",
        ),
        (
            json!({}),
            json!({"template": {"metadata": {"finalizers": ["a.io/b"]}}}),
            "non-image pod fields changed",
        ),
        (init("i:1"), init("i:2"), "init container image changes require pod recreation"),
    ];
    for (before, after, reason) in changes {
        let mut world = ready_world(&in_place(2, "e:1", &before));
        let uids = world.uids();
        world.edit(&in_place(2, "e:2", &after));
        let mut told = Vec::new();
        let mut once = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let seen = super::testing::seen(&world, 1);
            let notices = super::plan::plan(&seen).notices;
            once.extend(notices.iter().filter(|notice| notice.once).map(|notice| notice.key.clone()));
            told.extend(world.pass().0);
            assert!(annotated(&world).is_empty(), "{:?}", annotated(&world));
            world.all_ready();
        }
        assert!(world.uids().is_disjoint(&uids), "{after}");
        let end = format!(" cannot be updated in place: {reason}; falling back to recreate");
        assert!(
            told.iter().any(|it| it.starts_with("InPlaceFallback: role w pod set-w-") && it.ends_with(&end)),
            "{told:?}"
        );
        assert_eq!(once.len(), 1, "one event for all pods: {once:?}");
    }
}

fn annotated(world: &World) -> Vec<&String> {
    let target = |(_, pod): &(&String, &Value)| !pod["metadata"]["annotations"][TARGET_HASH].is_null();
    world.pods.iter().filter(target).map(|(name, _)| name).collect()
}

// scenario: role-set-and-pod-set 34
#[test]
fn what_others_did_to_a_pod_does_not_keep_it_from_being_updated_in_place() {
    let of = |image: &str| {
        let more = json!({"template": {"spec": {
            "containers": [{"name": "main", "image": image, "readinessProbe": {"httpGet": {"port": 8000}}}],
            "volumes": [{"name": "config", "configMap": {"name": "config"}}],
        }}});
        in_place(1, image, &more)
    };
    for fingerprint in [true, false] {
        let mut world = ready_world(&of("e:1"));
        let before = world.uids();
        let name = only(&world).0;
        let pod = world.pods.get_mut(&name).expect("the pod");
        pod["metadata"]["annotations"]["cni.example.com/ip"] = json!("1");
        pod["metadata"]["labels"]["injected"] = json!("true");
        pod["spec"]["volumes"][0]["configMap"]["defaultMode"] = json!(420);
        pod["spec"]["containers"][0]["readinessProbe"]["periodSeconds"] = json!(10);
        let sidecar = json!({"name": "sidecar", "image": "proxy"});
        pod["spec"]["containers"].as_array_mut().expect("containers").push(sidecar);
        if !fingerprint {
            pod["metadata"]["annotations"].as_object_mut().expect("annotations").remove(POD_FINGERPRINT);
        }
        world.edit(&of("e:2"));
        world.settle(|_| {});
        assert_eq!((world.uids(), world.images()), (before, vec!["e:2".to_owned()]), "{fingerprint}");
    }
}

// scenario: role-set-and-pod-set 35
#[test]
fn an_update_that_is_taken_back_half_way_leaves_no_pod_of_the_other_image() {
    let mut world = ready_world(&in_place(2, "e:1", &json!({})));
    world.edit(&in_place(2, "e:2", &json!({})));
    world.pass();
    assert_eq!(annotated(&world).len(), 1);
    world.edit(&in_place(2, "e:1", &json!({})));
    world.pass();
    assert_eq!(world.role_set["status"]["roles"][0]["updatedReplicas"], 1, "the label alone does not count");
    world.settle(|world| assert!(world.ready() >= 1));
    assert_eq!(world.images(), ["e:1", "e:1"]);
    assert!(annotated(&world).is_empty());
}

// scenario: role-set-and-pod-set 37
#[test]
fn a_pod_that_does_not_get_ready_stays_pending() {
    let mut world = ready_world(&in_place(1, "e:1", &json!({})));
    runs(&mut world, true, "sha:1", "c:1");
    let hash = only(&world).1["metadata"]["labels"][ROLE_TEMPLATE_HASH].clone();
    world.edit(&in_place(1, "e:2", &json!({})));
    world.pass();
    runs(&mut world, false, "sha:2", "c:2");
    world.pass();
    assert_eq!(annotation(&world, PENDING_REASON).as_deref(), Some("PodNotReady"));
    assert_eq!(only(&world).1["metadata"]["labels"][ROLE_TEMPLATE_HASH], hash);
    assert!(!world.pass().1);
}

// SPDX-License-Identifier: Apache-2.0
//! What happens when the API server refuses replicas, names are taken, or a role cannot be used.

use serde_json::{Value, json};

use super::{
    super::world::{Change, World, role},
    testing::{pass_of, seen},
};

fn budget(surge: usize, unavailable: usize) -> Value {
    json!({"updateStrategy": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

/// A pass in which some pods are refused. Answers with their roles.
fn pass_with(
    world: &mut World,
    says_no: impl Fn(&World, &Value) -> bool,
    refused: &[String],
    draw: u64,
) -> Vec<String> {
    let mut seen = seen(world, draw);
    seen.refused = refused.iter().cloned().collect();
    let mut failed = Vec::new();
    for step in pass_of(&seen, world).steps {
        match &step {
            Change::CreatePod(pod) if says_no(world, pod) => {
                failed.push(pod["metadata"]["labels"]["role-name"].as_str().expect("a role").to_owned());
            }
            _ => world.carry_out(step),
        }
    }
    failed
}

// scenario: role-set-and-pod-set 26
#[test]
fn a_rollout_without_room_for_a_surge_gives_up_old_pods_and_ends() {
    let of = |image: &str| [role("w", 3, image, &budget(1, 1))];
    let mut world = World::new("Parallel", &of("e:1"));
    world.settle(|_| {});
    world.edit(&of("e:2"));
    let (mut refused, mut was_refused) = (Vec::new(), false);
    for draw in 0..40 {
        refused = pass_with(&mut world, |world, _| world.pods.len() >= 3, &refused, 1000 + draw);
        was_refused |= !refused.is_empty();
        assert!(world.ready() >= 2, "{} ready", world.ready());
        world.all_ready();
    }
    assert!(was_refused && refused.is_empty());
    assert_eq!(world.images(), ["e:2"; 3]);
}

#[test]
fn a_role_whose_pods_are_refused_keeps_no_other_role_from_rolling() {
    let of = |image: &str, refused: usize| {
        [role("refused", refused, "e:1", &budget(0, 1)), role("other", 2, image, &budget(0, 1))]
    };
    let mut world = World::new("Parallel", &of("e:1", 1));
    world.settle(|_| {});
    world.edit(&of("e:2", 2));
    let mut refused = Vec::new();
    for draw in 0..20 {
        let says_no = |_: &World, pod: &Value| pod["metadata"]["labels"]["role-name"] == "refused";
        refused = pass_with(&mut world, says_no, &refused, 1000 + draw);
        world.all_ready();
    }
    assert_eq!(refused, ["refused"]);
    assert_eq!(world.images(), ["e:1", "e:2", "e:2"]);
}

#[test]
fn broken_pods_are_replaced_although_the_rest_of_the_role_is_refused() {
    let of = |image: &str, count: usize| [role("w", count, image, &budget(1, 1))];
    let mut world = World::new("Parallel", &of("e:1", 2));
    world.settle(|_| {});
    let names: Vec<String> = world.pods.keys().cloned().collect();
    names.iter().for_each(|name| world.say_ready(name, false));
    world.edit(&of("e:2", 4));
    let mut refused = Vec::new();
    for draw in 0..10 {
        refused = pass_with(&mut world, |world, _| world.pods.len() >= 2, &refused, 1000 + draw);
    }
    assert_eq!(world.images(), ["e:2", "e:2"]);
}

#[test]
fn a_name_that_somebody_else_has_is_told_and_holds_up_nothing_else() {
    for more in [json!({"stateful": true}), json!({"podGroupSize": 2})] {
        let mut world =
            World::new("Parallel", &[role("d", 3, "e:1", &more), role("w", 1, "e:1", &json!({}))]);
        world.settle(|_| {});
        let names = if more["stateful"] == true { &mut world.pods } else { &mut world.sets };
        let name = names.keys().find(|name| name.ends_with("-0")).cloned().expect("the first");
        names.remove(&name);
        world.reap();
        world.edit(&[role("d", 4, "e:1", &more), role("w", 2, "e:1", &json!({}))]);
        let mut seen = seen(&world, 1000);
        seen.taken.insert(name.clone());
        let outcome = pass_of(&seen, &world);
        let made = outcome.steps.iter().filter(|step| {
            matches!(step, Change::CreatePod(it) | Change::CreateSet(it) if it["metadata"]["name"] != name.as_str())
        });
        assert_eq!((made.count(), outcome.steps.len()), (2, 2), "{more}");
        let conditions = outcome.status.expect("a status")["conditions"].clone();
        assert!(conditions.to_string().contains(&format!("{name} cannot be made")), "{conditions}");
        assert!(outcome.told.iter().any(|it| it.starts_with("NameConflict")), "{:?}", outcome.told);
    }
}

#[test]
fn a_name_is_free_when_the_old_pod_is_gone_and_other_indexes_do_not_wait_for_it() {
    let of = |count: usize| [role("d", count, "e:1", &json!({"stateful": true}))];
    let mut world = World::new("Parallel", &of(2));
    world.settle(|_| {});
    world.lingers = true;
    let name = world.pods.keys().next().cloned().expect("the first");
    world.pods.get_mut(&name).expect("it")["metadata"]["deletionTimestamp"] = json!(world.now().to_string());
    world.edit(&of(3));
    world.pass();
    world.pass();
    let names: Vec<&String> = world.pods.keys().collect();
    assert!(names.len() == 3 && names[2].ends_with("-2"), "{names:?}");
    assert_eq!(world.pass(), (Vec::new(), false), "nothing is tried while the name is held");
    world.reap();
    world.settle(|_| {});
    assert_eq!(world.pods.len(), 3);
}

// scenario: role-set-and-pod-set 7-8
#[test]
fn no_replicas_and_no_roles_are_ready() {
    let mut none = role("none", 0, "e:1", &json!({}));
    none.as_object_mut().expect("an object").remove("replicas");
    let mut world = World::new("Sequential", &[none, role("w", 1, "e:1", &json!({}))]);
    world.pass();
    world.pass();
    assert_eq!(world.role_set["status"]["roles"][0], json!({"name": "none", "replicas": 0}));
    let ready = |world: &World| {
        let condition = &world.role_set["status"]["conditions"][0];
        let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
        format!("{} {}", text("status"), text("message"))
    };
    assert_eq!(ready(&world), "False role w is not ready");
    world.settle(|_| {});
    assert_eq!((ready(&world), world.pods.len()), ("True ".to_owned(), 1));
    let mut world = World::new("Sequential", &[]);
    world.pass();
    assert_eq!(ready(&world), "True ");
}

#[test]
fn roles_with_unusable_names_keep_their_pods_and_the_others_go_on() {
    let one = |name: &str| role(name, 1, "e:1", &json!({}));
    let mut world = World::new("Parallel", &[one("a"), one("b")]);
    world.settle(|_| {});
    let long = "x".repeat(64);
    let before = world.uids();
    for bad in ["", "A", "a.b", "-a", &long, "a"] {
        world.edit(&[role("a", 2, "e:1", &json!({})), role(bad, 3, "e:2", &json!({})), one("b")]);
        let told = world.settle(|_| {});
        assert!(told.iter().any(|it| it.starts_with("InvalidRole")), "{bad:?}: {told:?}");
        assert_eq!(world.pods.len(), 3, "{bad:?}");
        assert!(world.uids().is_superset(&before), "{bad:?}");
        let status = &world.role_set["status"];
        assert_eq!(status["roles"].as_array().map(Vec::len), Some(3), "{bad:?}");
        assert!(status["conditions"].to_string().contains("is left alone"), "{bad:?}: {status}");
    }
    world.edit(&[one("a"), one("b")]);
    world.settle(|_| {});
    assert!(!world.role_set["status"]["conditions"].to_string().contains("ReplicaFailure"));
}

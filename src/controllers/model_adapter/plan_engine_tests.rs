// SPDX-License-Identifier: Apache-2.0
//! Engines that say less than they should, or something else.

use serde_json::json;

use super::{simulated::World, snapshot::ChildSeen};

/// What was done to engines: which pod, load or unload.
fn calls(world: &World) -> Vec<(&str, &str)> {
    world.calls.iter().map(|(pod, what, _)| (pod.as_str(), *what)).collect()
}

/// `Ready` of the adapter: status, reason, message.
fn ready(world: &World, name: &str) -> (String, String, String) {
    world.condition(name, "Ready").unwrap()
}

fn restart(world: &mut World, pod: &str) {
    world.engine(pod).models.clear();
    let since = world.now();
    world.change_pod(pod, |pod| pod.ready_since = Some(since));
}

/// A pod whose engine is an SGLang that lists no adapters.
fn unlisted(world: &mut World, pod: &str) {
    world.pod(pod, 3600, &json!({"app": "base", "model.aibrix.ai/engine": "sglang"}));
    world.engine(pod).unlisted = true;
}

// scenario: hardening 53
#[test]
fn an_engine_that_lies_is_never_an_endpoint() {
    for spec in [json!({}), json!({"replicas": 1})] {
        let mut world = World::new();
        world.pods(&["a"]);
        world.adapter("sql", &spec);
        world.engine("a").lies = true;
        world.run(600);
        let stored = &world.adapters["sql"];
        assert!(stored.history.iter().all(|status| status.instances.is_empty()), "{:?}", stored.history);
        assert_eq!(stored.slice, ChildSeen::Absent);
        let said = "the engine said that it has loaded the adapter, and does not list it";
        assert_eq!(ready(&world, "sql").2, format!("Loading failed on all pods: pod a: {said}"));
        // With the distance of failures.
        assert!((5..=8).contains(&world.calls.len()), "{}", world.calls.len());
        world.engine("a").lies = false;
        world.run(320);
        assert_eq!(world.status("sql").instances, ["a"]);
    }
}

// scenario: hardening 36
#[test]
fn an_engine_that_lists_no_adapters_is_believed_until_it_restarts() {
    for spec in [json!({}), json!({"replicas": 1})] {
        let mut world = World::new();
        unlisted(&mut world, "a");
        world.adapter("sql", &spec);
        world.run(900);
        assert_eq!(calls(&world), [("a", "load")]);
        assert_eq!(world.status("sql").instances, ["a"]);
        let (holds, reason, message) = ready(&world, "sql");
        assert_eq!((holds.as_str(), reason.as_str()), ("True", "ModelAdapterAvailable"));
        assert!(message.starts_with("ModelAdapter ns/sql is ready; pod a: Listed=Unknown"), "{message}");
        let before = world.writes;
        world.take_over();
        world.run(60);
        assert_eq!(
            (calls(&world), world.writes),
            (vec![("a", "load")], before),
            "a take-over changes nothing"
        );
        restart(&mut world, "a");
        world.run(900);
        assert_eq!(calls(&world), [("a", "load"); 2]);
        assert_eq!(world.status("sql").instances, ["a"]);
    }
}

#[test]
fn an_engine_that_lists_other_adapters_is_not_believed() {
    let mut world = World::new();
    world.pod("a", 3600, &json!({"app": "base", "model.aibrix.ai/engine": "sglang"}));
    world.engine("a").models.insert("other".into(), "/models/other".into());
    world.engine("a").lies = true;
    world.adapter("sql", &json!({}));
    world.run(30);
    assert_eq!(world.status("sql").phase, "Failed");
}

#[test]
fn an_engine_that_says_twice_that_it_has_it_is_believed() {
    let mut world = World::new();
    world.pods(&["a"]);
    world.engine("a").unlisted = true;
    world.adapter("sql", &json!({}));
    world.settle();
    assert_eq!(world.status("sql").phase, "Failed");
    world.run(900);
    assert_eq!((calls(&world), world.status("sql").phase.as_str()), (vec![("a", "load"); 2], "Running"));
}

#[test]
fn another_artifact_is_loaded_where_nothing_is_listed() {
    let mut world = World::new();
    unlisted(&mut world, "a");
    world.adapter("sql", &json!({}));
    world.run(30);
    world.edit("sql", |adapter| adapter.spec.artifact_url = "s3://loras/new".into());
    world.take_over();
    world.run(60);
    assert_eq!(calls(&world), [("a", "load"), ("a", "unload"), ("a", "load")]);
    assert_eq!(world.engines["a"].models["sql"], "s3://loras/new");
}

// scenario: hardening 38
#[test]
fn an_adapter_of_that_name_from_elsewhere_is_replaced_once() {
    for (spec, root, want) in [
        (json!({}), "/old/sql", vec![("a", "unload"), ("a", "load")]),
        (json!({"replicas": 1}), "/old/sql", vec![("a", "unload"), ("a", "load")]),
        (json!({}), "s3://loras/sql", vec![]),
        (json!({"replicas": 1}), "s3://loras/sql", vec![]),
    ] {
        let mut world = World::new();
        world.pods(&["a"]);
        world.engine("a").models.insert("sql".into(), root.into());
        world.adapter("sql", &spec);
        world.run(60);
        assert_eq!(calls(&world), want, "{root} {spec}");
        assert_eq!(world.engines["a"].models["sql"], "s3://loras/sql");
        assert_eq!(world.status("sql").instances, ["a"]);
        let history = &world.adapters["sql"].history;
        let first = history.iter().find(|status| !status.instances.is_empty()).unwrap();
        assert_eq!(first.phase, "Running");
        let before = (world.calls.len(), world.writes);
        world.take_over();
        world.run(60);
        assert_eq!((world.calls.len(), world.writes), before, "a take-over changes nothing");
    }
}

#[test]
fn an_adapter_from_elsewhere_that_cannot_be_replaced_is_no_instance() {
    let mut world = World::new();
    world.pods(&["a"]);
    world.engine("a").models.insert("sql".into(), "/old/sql".into());
    world.engine("a").refuses = Some((super::load_retry::LoadFailure::Lasting, "no".into()));
    world.adapter("sql", &json!({}));
    world.run(60);
    assert_eq!((world.status("sql").phase.as_str(), world.status("sql").instances.len()), ("Failed", 0));
}

#[test]
fn what_an_older_manager_loaded_from_elsewhere_stays_until_its_url_changes() {
    let mut world = World::new();
    world.pods(&["a", "b"]);
    world.adapter("sql", &json!({}));
    world.settle();
    // As the Go manager leaves it: no hash, an instance in the status.
    world.edit("sql", |adapter| {
        adapter.metadata.annotations = None;
        adapter.status.as_mut().unwrap().instances = vec!["a".into()];
    });
    for pod in ["a", "b"] {
        world.engine(pod).models.insert("sql".into(), "/old/sql".into());
    }
    world.take_over();
    world.calls.clear();
    world.run(30);
    // The other one was loaded by nobody whom the status knows.
    assert_eq!(calls(&world), [("b", "unload"), ("b", "load")]);
    world.edit("sql", |adapter| adapter.spec.artifact_url = "s3://loras/new".into());
    world.run(30);
    assert!(calls(&world).ends_with(&[("a", "unload"), ("a", "load"), ("b", "unload"), ("b", "load")]));
}

// scenario: hardening 54
#[test]
fn no_condition_of_a_running_adapter_is_unknown() {
    for spec in [json!({}), json!({"replicas": 1})] {
        let mut world = World::new();
        world.adapter("sql", &spec);
        world.settle();
        let first = &world.adapters["sql"].history[0];
        assert_eq!((first.phase.as_str(), first.conditions[0].status.as_str()), ("Pending", "Unknown"));
        world.pods(&["a"]);
        world.settle();
        assert_eq!(world.status("sql").phase, "Running");
        let stands = |kind| world.condition("sql", kind).map(|(status, reason, _)| status + "/" + &reason);
        assert_eq!(stands("Initialized").as_deref(), Some("True/Initialized"));
        assert!(world.status("sql").conditions.iter().all(|condition| condition.status == "True"));
    }
}

// scenario: hardening 37
#[test]
fn adapters_that_push_each_other_out_are_loaded_twenty_times_an_hour_at_most() {
    let mut world = World::new();
    world.pods(&["pod"]);
    world.engine("pod").keeps = Some(2);
    for name in ["a", "b", "c"] {
        world.adapter(name, &json!({}));
    }
    for _ in 0..3 {
        world.calls.clear();
        world.run(3600);
        assert!((3..=20).contains(&world.calls.len()), "{}", world.calls.len());
        let waits: Vec<&str> =
            ["a", "b", "c"].into_iter().filter(|name| world.status(name).instances.is_empty()).collect();
        let [one] = waits.as_slice() else { panic!("{waits:?}") };
        let (holds, reason, message) = ready(&world, one);
        assert_eq!((holds.as_str(), reason.as_str()), ("False", "Evicted"));
        assert_eq!(
            message,
            "No pod keeps the adapter: pod pod: the engine keeps 2 adapters: a, b and c take turns"
        );
    }
    assert!(world.reasons().contains(&"Evicted"));
    // Room for it is taken at once.
    world.engine("pod").keeps = Some(3);
    world.run(301);
    for name in ["a", "b", "c"] {
        assert_eq!(world.status(name).instances, ["pod"]);
    }
}

#[test]
fn an_adapter_that_was_pushed_out_takes_the_room_of_one_that_goes() {
    let mut world = World::new();
    world.pods(&["pod"]);
    world.engine("pod").keeps = Some(2);
    for name in ["a", "b", "c"] {
        world.adapter(name, &json!({}));
    }
    world.run(1000);
    let names = ["a", "b", "c"].into_iter();
    let (waits, loaded): (Vec<&str>, Vec<&str>) =
        names.partition(|name| world.status(name).instances.is_empty());
    let now = world.now();
    world.edit(loaded[0], |adapter| {
        let time = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now);
        adapter.metadata.deletion_timestamp = Some(time);
    });
    world.run(12);
    assert_eq!(world.status(waits[0]).instances, ["pod"]);
    assert_eq!(world.status(loaded[1]).instances, ["pod"]);
}

#[test]
fn a_single_replica_is_not_placed_where_it_would_push_another_one_out() {
    let mut world = World::new();
    world.pods(&["a", "b"]);
    world.engine("a").keeps = Some(1);
    world.adapter("one", &json!({}));
    world.adapter("two", &json!({}));
    world.run(30);
    world.adapter("three", &json!({"replicas": 1}));
    world.run(30);
    assert_eq!(world.status("three").instances, ["b"]);
    world.change_pod("b", |pod| pod.leaving = true);
    world.run(30);
    assert_eq!(world.condition("three", "Scheduled").unwrap().1, "Unschedulable");
}

// scenario: hardening 47
#[test]
fn an_adapter_that_comes_and_goes_in_lists_leaves_the_endpoints_until_it_stays() {
    for others in [false, true] {
        let mut world = World::new();
        world.pods(&["a"]);
        world.adapter("sql", &json!({}));
        world.settle();
        if others {
            world.adapter("other", &json!({}));
            world.settle();
        }
        world.engine("a").flickers = true;
        world.run(600);
        assert_eq!(ready(&world, "sql").1, "Unstable", "{:?}", ready(&world, "sql"));
        let history = world.adapters["sql"].history.iter().map(|status| status.instances.len());
        let mut changes: Vec<usize> = history.collect();
        changes.dedup();
        // In at first, then at most three changes.
        assert!(changes.len() <= 5 && changes.last() == Some(&0), "{changes:?}");
        let before = changes.len();
        world.run(600);
        assert_eq!(world.status("sql").instances.len(), 0);
        world.engine("a").flickers = false;
        world.run(49);
        assert_eq!(world.status("sql").instances.len(), 0);
        world.run(32);
        assert_eq!(world.status("sql").instances, ["a"], "{before}");
        assert!(world.calls.len() < 25, "{}", world.calls.len());
    }
}

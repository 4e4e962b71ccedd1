// SPDX-License-Identifier: Apache-2.0
use serde_json::json;

use super::{load_retry::LoadFailure, simulated::World, snapshot::ChildSeen};

const FAILED: LoadFailure = LoadFailure::Transient;

#[test]
fn all_pods_get_the_adapter_and_the_status_counts_them() {
    let mut world = World::new();
    world.pods(&["a", "b", "c"]);
    world.adapter("sql", &json!({}));
    world.settle();
    let status = world.status("sql");
    assert_eq!(status.instances, ["a", "b", "c"]);
    assert_eq!((status.candidates, status.desired_replicas, status.ready_replicas), (3, 3, 3));
    assert_eq!(world.phases("sql"), ["Pending", "Running"]);
    assert_eq!(world.condition("sql", "Scheduled"), None);
    assert!(status.conditions.iter().all(|condition| condition.observed_generation == Some(1)));
}

#[test]
fn a_steady_world_is_left_alone() {
    let mut world = World::new();
    world.pods(&["a", "b"]);
    world.adapter("all", &json!({}));
    world.adapter("one", &json!({"replicas": 1}));
    world.settle();
    let before = (world.writes, world.calls.len(), world.events.len());
    world.run(120);
    assert_eq!((world.writes, world.calls.len(), world.events.len()), before);
    assert_eq!(world.pass("one").steps, []);
}

// scenario: model-adapter-and-router 22
#[test]
fn failures_of_forty_pods_fit_into_a_message() {
    let mut world = World::new();
    let names: Vec<String> = (0..40).map(|number| format!("pod-{number:02}")).collect();
    world.pods(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for name in &names {
        world.engine(name).refuses = Some((FAILED, "é".repeat(2048)));
    }
    world.adapter("sql", &json!({}));
    world.settle();
    assert_eq!(world.status("sql").phase, "Failed");
    let (status, reason, message) = world.condition("sql", "Ready").unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("False", "ModelAdapterLoadingError"));
    assert!(message.starts_with("Loading failed on all pods: pod pod-00: é"), "{message}");
    assert!(message.len() <= 4096, "{}", message.len());
    // The second pod is told of, too: the first does not fill the message.
    assert!(message.contains("; pod pod-01: "), "{message}");
}

// scenario: model-adapter-and-router 23
#[test]
fn expressions_of_the_selector_select() {
    for (expression, want) in [
        (json!({"key": "tier", "operator": "In", "values": ["gold", "iron"]}), ["gold"].as_slice()),
        (json!({"key": "tier", "operator": "NotIn", "values": ["gold"]}), &["none", "silver"]),
        (json!({"key": "tier", "operator": "Exists"}), &["gold", "silver"]),
        (json!({"key": "tier", "operator": "DoesNotExist"}), &["none"]),
    ] {
        let mut world = World::new();
        world.pod("gold", 60, &json!({"tier": "gold"}));
        world.pod("silver", 60, &json!({"tier": "silver"}));
        world.pod("none", 60, &json!({}));
        world
            .adapter("sql", &json!({"podSelector": {"matchLabels": null, "matchExpressions": [expression]}}));
        world.settle();
        let called: Vec<&str> = world.calls.iter().map(|(pod, ..)| pod.as_str()).collect();
        assert_eq!(world.status("sql").instances, want, "{expression}");
        assert_eq!(called, want, "{expression}");
    }
}

#[test]
fn a_selector_that_cannot_be_read_is_told_and_touches_no_pod() {
    for (selector, want) in [
        (json!(null), "spec.podSelector is required"),
        (json!({"matchExpressions": [{"key": "a", "operator": "Near"}]}), "spec.podSelector is invalid: "),
    ] {
        let mut world = World::new();
        world.pods(&["a"]);
        world.adapter("sql", &json!({}));
        world.edit("sql", |adapter| adapter.spec.pod_selector = serde_json::from_value(selector).unwrap());
        world.settle();
        let (status, reason, message) = world.condition("sql", "Ready").unwrap();
        assert_eq!((status.as_str(), reason.as_str()), ("False", "ValidationFailed"));
        assert!(message.starts_with(want), "{message}");
        assert_eq!((world.status("sql").phase.as_str(), world.calls.len()), ("Failed", 0));
        assert_eq!(world.pass("sql").requeue, None);
        leaves(&mut world, "sql");
    }
}

#[test]
fn without_pods_nothing_is_ready_and_endpoints_go() {
    let mut world = World::new();
    world.pods(&["a", "b"]);
    world.adapter("sql", &json!({}));
    world.settle();
    world.pods.clear();
    world.settle();
    let status = world.status("sql");
    assert_eq!((status.candidates, status.desired_replicas, status.ready_replicas), (0, 0, 0));
    assert_eq!((status.instances.len(), status.phase.as_str()), (0, "Pending"));
    let (holds, reason, _) = world.condition("sql", "Ready").unwrap();
    assert_eq!((holds.as_str(), reason.as_str()), ("False", "ModelAdapterUnavailable"));
    assert_eq!(endpoints(&world, "sql"), 0);
    world.pods(&["c"]);
    world.settle();
    assert_eq!((world.status("sql").phase.as_str(), endpoints(&world, "sql")), ("Running", 1));
}

#[test]
fn an_engine_that_forgets_is_loaded_again_within_a_period() {
    for spec in [json!({}), json!({"replicas": 1})] {
        let mut world = World::new();
        world.pods(&["a", "b"]);
        world.adapter("sql", &spec);
        world.settle();
        let before = (world.status("sql"), world.calls.len());
        world.engine("a").models.clear();
        world.run(10);
        assert!(world.engine("a").models.contains_key("sql"), "{spec}");
        assert_eq!((world.status("sql"), world.calls.len()), (before.0, before.1 + 1), "not moved: {spec}");
    }
}

#[test]
fn an_instance_that_cannot_be_loaded_again_leaves_and_comes_back() {
    let mut world = World::new();
    world.pods(&["a", "b"]);
    world.adapter("sql", &json!({}));
    world.settle();
    world.engine("a").models.clear();
    world.engine("a").refuses = Some((FAILED, "boom".into()));
    world.run(11);
    let status = world.status("sql");
    assert_eq!(
        (status.instances.as_slice(), status.phase.as_str()),
        (["b".to_owned()].as_slice(), "Running")
    );
    assert_eq!((status.ready_replicas, status.desired_replicas, endpoints(&world, "sql")), (1, 2, 1));
    world.engine("a").refuses = None;
    world.run(20);
    assert_eq!(world.status("sql").instances, ["b", "a"]);
}

#[test]
fn a_silent_engine_of_a_ready_pod_keeps_its_adapter() {
    let mut world = World::new();
    world.pods(&["a", "b"]);
    world.adapter("sql", &json!({}));
    world.settle();
    let before = (world.writes, world.calls.len());
    world.engine("a").unreachable = true;
    world.run(60);
    assert_eq!((world.writes, world.calls.len()), before);
}

#[test]
fn attempts_keep_their_distance_and_never_end() {
    let mut world = World::new();
    world.pods(&["a"]);
    world.adapter("sql", &json!({}));
    for (kind, want) in
        [(LoadFailure::Lasting, [10, 20, 40, 80, 160, 300]), (FAILED, [10, 10, 10, 10, 10, 300])]
    {
        world.edit("sql", |adapter| adapter.spec.artifact_url.push('x'));
        world.engine("a").refuses = Some((kind, "boom".into()));
        world.settle();
        let mut seconds = Vec::new();
        for wait in want {
            let before = world.calls.len();
            world.run(wait - 1);
            assert_eq!(world.calls.len(), before, "{kind:?} {wait}");
            world.run(1);
            seconds.push(world.calls.len() - before);
        }
        assert_eq!(seconds, [1; 6], "{kind:?}");
    }
    let told = |reason: &str| world.events.iter().filter(|event| event.reason == reason).count();
    assert_eq!((told("LoadFailed"), told("MaxRetriesExceeded")), (14, 2));
    let (_, _, message) = world.condition("sql", "Ready").unwrap();
    assert_eq!(message, "Loading failed on all pods: pod a: boom");
    world.engine("a").refuses = None;
    world.run(301);
    assert_eq!(world.status("sql").phase, "Running");
}

#[test]
fn another_spec_and_another_readiness_are_another_chance() {
    let mut world = World::new();
    world.pods(&["a"]);
    world.adapter("sql", &json!({}));
    world.engine("a").refuses = Some((LoadFailure::Lasting, "boom".into()));
    world.run(100);
    let before = world.calls.len();
    let since = world.now();
    world.change_pod("a", |pod| pod.ready_since = Some(since));
    world.settle();
    assert_eq!(world.calls.len(), before + 1);
    world.edit("sql", |adapter| adapter.spec.artifact_url = "s3://loras/other".into());
    world.settle();
    assert_eq!(world.calls.len(), before + 2);
}

#[test]
fn another_artifact_is_unloaded_and_loaded_once_on_each_instance() {
    for spec in [json!({}), json!({"replicas": 1})] {
        let mut world = World::new();
        world.pods(&["a", "b"]);
        world.adapter("sql", &spec);
        world.settle();
        let instances = world.status("sql").instances;
        world.calls.clear();
        world.edit("sql", |adapter| adapter.spec.artifact_url = "s3://loras/new".into());
        world.run(30);
        let load = |pod: &str| (pod.to_owned(), "load", "s3://loras/new".to_owned());
        let unload = |pod: &str| (pod.to_owned(), "unload", String::new());
        let want: Vec<_> = instances.iter().flat_map(|pod| [unload(pod), load(pod)]).collect();
        assert_eq!(world.calls, want);
        assert_eq!(world.status("sql").instances, instances);
        // It is recorded: whoever takes over does not load it again.
        world.take_over();
        world.run(30);
        assert_eq!(world.calls, want);
    }
}

#[test]
fn what_an_older_manager_loaded_is_adopted_and_recorded() {
    let mut world = World::new();
    world.pods(&["a"]);
    world.adapter("sql", &json!({}));
    world.settle();
    world.edit("sql", |adapter| {
        adapter.metadata.annotations = None;
        adapter.spec.artifact_url = "s3://loras/new".into();
    });
    world.take_over();
    let before = world.calls.len();
    world.run(30);
    assert_eq!(world.calls.len(), before);
    world.edit("sql", |adapter| adapter.spec.artifact_url = "s3://loras/newer".into());
    world.run(2);
    assert_eq!(world.calls.len(), before + 2);
}

#[test]
fn a_pod_that_is_not_selected_any_more_is_unloaded() {
    let mut world = World::new();
    world.pods(&["a", "b"]);
    world.adapter("sql", &json!({}));
    world.settle();
    world.calls.clear();
    world.change_pod("a", |pod| pod.labels.clear());
    world.settle();
    assert_eq!(world.calls, [("a".to_owned(), "unload", String::new())]);
    assert_eq!((world.status("sql").instances, endpoints(&world, "sql")), (vec!["b".to_owned()], 1));
    assert!(world.reasons().contains(&"Unloaded"));
    world.run(30);
    assert_eq!(world.calls.len(), 1);
}

#[test]
fn an_unreachable_pod_is_unloaded_when_it_is_ready_again() {
    let mut world = World::new();
    world.pods(&["a", "b"]);
    world.adapter("sql", &json!({"replicas": 1}));
    world.settle();
    world.engine("a").unreachable = true;
    world.change_pod("a", |pod| pod.ready_since = None);
    world.run(3);
    assert_eq!(world.status("sql").instances, ["b"]);
    world.engine("a").unreachable = false;
    let since = world.now();
    world.change_pod("a", |pod| pod.ready_since = Some(since));
    world.run(3);
    assert_eq!(world.engine("a").models.len(), 0);
    assert_eq!(world.status("sql").instances, ["b"]);
}

#[test]
fn a_conflict_of_names_is_told_once_and_nothing_of_others_is_touched() {
    let mut world = World::new();
    world.pods(&["a"]);
    world.adapter("sql", &json!({}));
    let stored = world.adapters.get_mut("sql").unwrap();
    (stored.service, stored.slice) = (ChildSeen::Foreign, ChildSeen::Foreign);
    world.run(30);
    assert_eq!(world.status("sql").phase, "Running");
    let (holds, reason, message) = world.condition("sql", "Ready").unwrap();
    assert_eq!((holds.as_str(), reason.as_str()), ("False", "ResourceConflict"));
    assert!(
        message.starts_with("Service ns/sql exists") && message.contains("; EndpointSlice ns/sql"),
        "{message}"
    );
    assert_eq!(world.condition("sql", "ResourceCreated").unwrap().0, "False");
    assert_eq!(world.reasons(), ["Loaded", "ResourceConflict", "ResourceConflict"]);
    let stored = &world.adapters["sql"];
    assert!(stored.service == ChildSeen::Foreign && stored.slice == ChildSeen::Foreign);
}

#[test]
fn an_adapter_named_like_the_base_model_is_warned_of() {
    let mut world = World::new();
    world.pod("a", 60, &json!({"app": "base", "model.aibrix.ai/name": "base"}));
    world.adapter("base", &json!({}));
    world.run(30);
    assert_eq!(world.calls, []);
    assert_eq!(world.reasons(), ["NameConflict", "Loaded"]);
}

#[test]
fn deletion_waits_for_a_load_and_unloads_wherever_the_adapter_may_be() {
    let mut world = World::new();
    world.pods(&["a", "b"]);
    world.adapter("sql", &json!({}));
    world.engine("b").slow = true;
    world.settle();
    assert_eq!(world.status("sql").instances, ["a"]);
    delete(&mut world, "sql");
    world.settle();
    assert!(world.adapters.contains_key("sql"), "a load is under way");
    world.engine("b").slow = false;
    world.release_held();
    world.settle();
    assert!(world.engines.values().all(|engine| engine.models.is_empty()));
    assert!(!world.adapters.contains_key("sql"));
}

#[test]
fn deletion_unloads_what_an_earlier_term_loaded_and_could_not_say() {
    let mut world = World::new();
    world.pods(&["a", "b"]);
    world.adapter("sql", &json!({}));
    world.settle();
    world.edit("sql", |adapter| adapter.status.as_mut().unwrap().instances.clear());
    delete(&mut world, "sql");
    world.take_over();
    world.settle();
    assert!(world.engines.values().all(|engine| engine.models.is_empty()));
    assert!(!world.adapters.contains_key("sql"));
}

#[test]
fn deletion_ends_within_its_bound() {
    let mut world = World::new();
    world.pods(&["a"]);
    world.adapter("sql", &json!({}));
    world.engine("a").slow = true;
    world.settle();
    delete(&mut world, "sql");
    world.run(19);
    assert!(world.adapters.contains_key("sql"));
    world.run(11);
    assert!(!world.adapters.contains_key("sql"));
}

#[test]
fn deletion_of_what_was_never_loaded_calls_nobody() {
    let mut world = World::new();
    world.adapter("sql", &json!({}));
    world.settle();
    leaves(&mut world, "sql");
    assert_eq!(world.calls, []);
}

fn delete(world: &mut World, name: &str) {
    let now = world.now();
    world.edit(name, |adapter| {
        let time = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now);
        adapter.metadata.deletion_timestamp = Some(time);
    });
}

fn leaves(world: &mut World, name: &str) {
    delete(world, name);
    world.settle();
    assert!(!world.adapters.contains_key(name));
}

fn endpoints(world: &World, name: &str) -> usize {
    let ChildSeen::Ours { content, .. } = &world.adapters[name].slice else { panic!("no slice of ours") };
    content.endpoints.len()
}

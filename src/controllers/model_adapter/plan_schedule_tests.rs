// SPDX-License-Identifier: Apache-2.0
//! One replica: where it goes, and how it moves.

use std::{collections::BTreeSet, ffi::OsString};

use serde_json::json;

use crate::cli::{interpret, settings::Env};

use super::{load_retry::LoadFailure, policies::Measured, settings::SchedulerPolicy, simulated::World};

fn instances(world: &World, name: &str) -> Vec<String> {
    world.status(name).instances
}

/// Pods with so many adapters already.
fn filled(policy: SchedulerPolicy, fill: &[(&str, usize)]) -> World {
    let mut world = World::with_policy(policy);
    for (pod, count) in fill {
        world.pods(&[pod]);
        for number in 0..*count {
            let name = format!("{pod}-{number}");
            world.adapter(&name, &json!({"podSelector": {"matchLabels": {"app": "nobody"}}}));
            let stored = world.adapters.get_mut(&name).unwrap();
            let status = json!({"phase": "Running", "instances": [pod]});
            stored.adapter.status = Some(serde_json::from_value(status).unwrap());
        }
    }
    world
}

fn placed(mut world: World) -> Vec<String> {
    world.adapter("new", &json!({"replicas": 1}));
    for _ in 0..3 {
        world.pass("new");
        world.call_engines();
    }
    instances(&world, "new")
}

// scenario: model-adapter-and-router 27
#[test]
fn a_pod_is_chosen_when_it_has_been_ready_for_five_seconds() {
    let mut world = World::new();
    world.pod("young", 2, &json!({"app": "base"}));
    world.adapter("sql", &json!({"replicas": 1}));
    world.settle();
    assert_eq!(world.calls, []);
    assert_eq!((world.status("sql").phase.as_str(), world.status("sql").candidates), ("Pending", 1));
    let (holds, reason, _) = world.condition("sql", "Ready").unwrap();
    assert_eq!((holds.as_str(), reason.as_str()), ("False", "PodNotReady"));
    assert_eq!(world.pass("sql").requeue, Some(std::time::Duration::from_secs(3)));
    world.run(2);
    assert_eq!(world.calls, []);
    world.run(1);
    assert_eq!(instances(&world, "sql"), ["young"]);
}

// scenario: model-adapter-and-router 28
#[test]
fn least_adapters_counts_what_the_statuses_say() {
    let policy = SchedulerPolicy::LeastAdapters;
    assert_eq!(placed(filled(policy, &[("a", 2), ("b", 0), ("c", 1)])), ["b"]);
    assert_eq!(placed(filled(policy, &[("b", 1), ("a", 1), ("c", 1)])), ["a"]);
}

// scenario: model-adapter-and-router 29
#[test]
fn adapters_that_are_placed_together_see_each_other() {
    let mut world = World::new();
    world.pods(&["a", "b"]);
    world.adapter("one", &json!({"replicas": 1}));
    world.adapter("two", &json!({"replicas": 1}));
    // Both are placed before either is loaded.
    world.pass("one");
    world.pass("two");
    assert_eq!((world.calls.len(), instances(&world, "one").len()), (0, 0));
    world.settle();
    let used: BTreeSet<String> =
        ["one", "two"].into_iter().flat_map(|name| instances(&world, name)).collect();
    assert_eq!(used.len(), 2);
}

#[test]
fn five_hundred_adapters_spread_evenly() {
    let mut world = World::new();
    let names: Vec<String> = (0..50).map(|number| format!("pod-{number:02}")).collect();
    world.pods(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for number in 0..500 {
        world.adapter(&format!("lora-{number}"), &json!({"replicas": 1}));
    }
    world.settle();
    assert!(world.engines.values().all(|engine| engine.models.len() == 10));
    assert_eq!(world.calls.len(), 500);
    // Finalizer, Pending, Scheduled, Service, EndpointSlice, Running.
    assert_eq!(world.writes, 3000);
}

// scenario: model-adapter-and-router 30
#[test]
fn bin_pack_fills_and_never_overfills() {
    let policy = SchedulerPolicy::BinPack;
    assert_eq!(placed(filled(policy, &[("a", 9), ("b", 5), ("c", 10)])), ["a"]);
    let mut world = filled(policy, &[("a", 10), ("b", 10)]);
    world.adapter("new", &json!({"replicas": 1}));
    world.pass("new");
    world.call_engines();
    assert_eq!(world.pass("new").requeue, Some(std::time::Duration::from_secs(10)));
    assert_eq!(world.calls, []);
    assert_eq!(world.status("new").phase, "Pending");
    let (holds, reason, _) = world.condition("new", "Scheduled").unwrap();
    assert_eq!((holds.as_str(), reason.as_str()), ("False", "Unschedulable"));
    world.adapters.remove("a-0");
    world.pass("new");
    world.call_engines();
    world.pass("new");
    world.call_engines();
    world.pass("new");
    assert_eq!(instances(&world, "new"), ["a"]);
}

#[test]
fn a_choice_counts_no_more_once_a_status_has_shown_it() {
    let mut world = filled(SchedulerPolicy::BinPack, &[("a", 9), ("b", 5)]);
    world.adapter("first", &json!({"replicas": 1}));
    let passes = |world: &mut World| {
        for _ in 0..3 {
            world.pass("first");
            world.call_engines();
        }
    };
    passes(&mut world);
    assert_eq!(instances(&world, "first"), ["a"]);
    // It leaves the pod within the same second, which has room again.
    world.edit("first", |adapter| {
        let nobody = serde_json::from_value(json!({"matchLabels": {"app": "nobody"}}));
        adapter.spec.pod_selector = Some(nobody.unwrap());
    });
    passes(&mut world);
    assert_eq!(instances(&world, "first"), [""; 0]);
    assert_eq!(placed(world), ["a"]);
}

#[test]
fn bin_pack_does_not_fall_back_to_a_full_pod() {
    let mut world = filled(SchedulerPolicy::BinPack, &[("a", 9), ("b", 10)]);
    world.engine("a").refuses = Some((LoadFailure::Transient, "boom".into()));
    world.adapter("new", &json!({"replicas": 1}));
    for _ in 0..4 {
        world.pass("new");
        world.call_engines();
    }
    assert!(world.calls.iter().all(|(pod, ..)| pod == "a"), "{:?}", world.calls);
    assert_eq!(world.status("new").phase, "Failed");
}

// scenario: model-adapter-and-router 31
#[test]
fn random_uses_every_pod_and_an_unknown_policy_is_refused() {
    let mut world = World::with_policy(SchedulerPolicy::Random);
    world.pods(&["a", "b", "c"]);
    let mut used = BTreeSet::new();
    for number in 0..60 {
        world.draw = number;
        let name = format!("lora-{number}");
        world.adapter(&name, &json!({"replicas": 1}));
        for _ in 0..3 {
            world.pass(&name);
            world.call_engines();
        }
        used.extend(instances(&world, &name));
    }
    assert_eq!(used.len(), 3);
    let arguments = ["--model-adapter-scheduler-policy=best"].map(OsString::from);
    let refused = interpret(arguments, &Env::new(|_| None)).unwrap_err();
    assert!(refused.text.contains("unknown scheduler policy"), "{}", refused.text);
    assert_eq!(refused.code, 1);
}

// scenario: model-adapter-and-router 32
#[test]
fn measurements_choose_and_their_absence_does_not_prevent() {
    for policy in [SchedulerPolicy::LeastLatency, SchedulerPolicy::LeastThroughput] {
        for silent in [Measured::Missing, Measured::Unreachable] {
            let mut world = filled(policy, &[("a", 0), ("b", 0)]);
            world.measured = [("a".into(), silent), ("b".into(), silent)].into();
            assert_eq!(placed(world), ["a"], "{policy:?} {silent:?}");
        }
        let mut world = filled(policy, &[("a", 0), ("b", 0), ("c", 0)]);
        let score = |pod: &str, score: f64| (pod.to_owned(), Measured::Score(score));
        world.measured = [score("a", 3.0), score("b", 1.0), score("c", 2.0)].into();
        assert_eq!(placed(world), ["b"], "{policy:?}");
    }
}

#[test]
fn a_choice_waits_for_its_measurements() {
    let mut world = filled(SchedulerPolicy::LeastLatency, &[("a", 0), ("b", 0)]);
    world.measured = [("a".into(), Measured::Score(2.0))].into();
    world.adapter("new", &json!({"replicas": 1}));
    world.settle();
    assert_eq!((world.calls.len(), world.status("new").phase.as_str()), (0, "Pending"));
    world.measured.insert("b".into(), Measured::Score(1.0));
    world.settle();
    assert_eq!(instances(&world, "new"), ["b"]);
}

// scenario: model-adapter-and-router 33
#[test]
fn a_pod_without_a_model_name_hosts_like_any_other() {
    let mut world = World::new();
    world.pod("named", 60, &json!({"app": "base", "model.aibrix.ai/name": "llama"}));
    world.pod("nameless", 60, &json!({"app": "base"}));
    assert_eq!(placed(world), ["nameless"]);
}

// scenario: model-adapter-and-router 34
#[test]
fn a_pod_that_refuses_makes_room_for_the_next() {
    let mut world = World::new();
    world.pods(&["a", "b", "c"]);
    world.engine("a").refuses = Some((LoadFailure::Lasting, "no room".into()));
    world.adapter("sql", &json!({"replicas": 1}));
    world.settle();
    assert_eq!(instances(&world, "sql"), ["b"]);
    assert_eq!(world.status("sql").phase, "Running");
    assert!(!world.phases("sql").contains(&"Failed"));
    assert!(world.engine("c").models.is_empty());
}

#[test]
fn phases_of_one_replica_come_in_their_order() {
    let mut world = World::new();
    world.pods(&["a", "b", "c"]);
    world.adapter("sql", &json!({"replicas": 1}));
    world.settle();
    assert_eq!(world.phases("sql"), ["Pending", "Scheduled", "Running"]);
    let message = "ModelAdapter ns/sql has selected 1 pods for scheduling: [a]".to_owned();
    assert_eq!(world.condition("sql", "Scheduled"), Some(("True".into(), "Scheduled".into(), message)));
    let status = world.status("sql");
    assert_eq!((status.candidates, status.desired_replicas, status.instances.len()), (3, 1, 1));
    let event = &world.events[0];
    assert_eq!(event.message, "ModelAdapter has selected 1 pods for scheduling: [a]");
}

#[test]
fn while_all_pods_refuse_the_phase_stays_failed() {
    let mut world = World::new();
    world.pods(&["a", "b"]);
    world.engine("a").refuses = Some((LoadFailure::Transient, "boom".into()));
    world.engine("b").refuses = Some((LoadFailure::Transient, "bang".into()));
    world.adapter("sql", &json!({"replicas": 1}));
    world.settle();
    let (_, _, message) = world.condition("sql", "Ready").unwrap();
    assert_eq!(message, "Loading failed on all pods: pod a: boom; pod b: bang");
    let before = world.adapters["sql"].history.len();
    world.run(200);
    assert_eq!(world.phases("sql"), ["Pending", "Scheduled", "Failed"]);
    assert_eq!(world.adapters["sql"].history.len(), before);
}

#[test]
fn a_lost_instance_is_told_and_replaced() {
    let mut world = World::new();
    world.pods(&["a", "b"]);
    world.adapter("sql", &json!({"replicas": 1}));
    world.settle();
    world.adapters.get_mut("sql").unwrap().history.clear();
    world.change_pod("a", |pod| pod.leaving = true);
    world.settle();
    let history = world.adapters["sql"].history.clone();
    let said = |kind: &str| -> Vec<String> {
        let found = history.iter().filter_map(|status| status.conditions.iter().find(|it| it.type_ == kind));
        let mut reasons: Vec<String> = found.map(|it| format!("{}/{}", it.status, it.reason)).collect();
        reasons.dedup();
        reasons
    };
    assert_eq!(said("Ready"), ["False/AdapterMigrating", "True/ModelAdapterAvailable"]);
    assert_eq!(said("Scheduled"), ["False/Rescheduling", "True/Scheduled", "True/Rescheduled"]);
    assert!(history[0].instances.is_empty());
    let message = "Adapter successfully loaded on new pod b".to_owned();
    assert_eq!(world.condition("sql", "Scheduled"), Some(("True".into(), "Rescheduled".into(), message)));
    assert_eq!(instances(&world, "sql"), ["b"]);
}

#[test]
fn from_all_to_one_and_back() {
    let mut world = World::new();
    world.pods(&["a", "b", "c"]);
    world.adapter("sql", &json!({}));
    world.settle();
    world.calls.clear();
    world.edit("sql", |adapter| adapter.spec.replicas = Some(1));
    world.settle();
    let unload = |pod: &str| (pod.to_owned(), "unload", String::new());
    assert_eq!(world.calls, [unload("b"), unload("c")]);
    assert_eq!((instances(&world, "sql"), world.status("sql").desired_replicas), (vec!["a".to_owned()], 1));
    assert_eq!(world.phases("sql"), ["Pending", "Running", "Scaled", "Running"]);
    world.edit("sql", |adapter| adapter.spec.replicas = None);
    world.settle();
    assert_eq!(instances(&world, "sql"), ["a", "b", "c"]);
}

// scenario: model-adapter-and-router 38
#[test]
fn the_name_of_a_scheduler_changes_nothing() {
    let end = |scheduler: serde_json::Value| {
        let mut world = World::new();
        world.pods(&["a", "b"]);
        world.adapter("sql", &json!({"replicas": 1, "schedulerName": scheduler}));
        world.settle();
        // Given to a running adapter, it changes nothing either.
        let before = (world.calls.clone(), world.status("sql").instances);
        world.edit("sql", |adapter| adapter.spec.scheduler_name = Some("least-adapters".into()));
        world.run(20);
        assert_eq!((world.calls.clone(), world.status("sql").instances), before);
        before
    };
    let plain = end(json!(null));
    for scheduler in ["default", "least-adapters", "binPack", "nonsense"] {
        assert_eq!(end(json!(scheduler)), plain, "{scheduler}");
    }
}

#[test]
fn a_takeover_goes_on_where_its_predecessor_was() {
    let mut world = World::new();
    world.pods(&["a", "b"]);
    world.adapter("sql", &json!({"replicas": 1}));
    // Chosen, and loaded by the predecessor, who did not live to say so.
    world.pass("sql");
    world.engine("a").models.insert("sql".into(), "s3://loras/sql".into());
    world.take_over();
    // Meanwhile the policy would choose the other one.
    world.adapter("other", &json!({"podSelector": {"matchLabels": {"app": "nobody"}}}));
    let status = json!({"phase": "Running", "instances": ["a"]});
    world.adapters.get_mut("other").unwrap().adapter.status = Some(serde_json::from_value(status).unwrap());
    world.pass("sql");
    world.call_engines();
    world.pass("sql");
    assert_eq!((instances(&world, "sql"), world.calls.len()), (vec!["a".to_owned()], 0));
}

// SPDX-License-Identifier: Apache-2.0
//! What is decided and said where something cannot be measured, or does not react.

use serde_json::json;

use super::{
    cases::{annotated, at, failed, pa, pods, ready_pods, seen, source, total, unread},
    snapshot::Snapshot,
    state::State,
    world::{World, pass},
};

// scenario: hardening 46
#[test]
fn a_ready_pod_that_does_not_answer_may_be_overloaded() {
    let quick = || {
        let spec = json!({"minReplicas": 1, "maxReplicas": 8, "scalingStrategy": "APA",
            "observeWindowSeconds": 10, "panicWindowSeconds": 10, "metricsSources": [source("pod", "m", "10")]});
        annotated(pa(spec), &[("scale-down-cooldown-window", "0s")])
    };
    // Never measured: nothing happens for three rounds, then it counts as being at the target.
    let mut world = World::new(quick(), 2);
    let silent = || vec![ready_pods(vec![Ok(0.0), failed("no answer in time")])];
    for round in 0..3 {
        world.round(silent());
        assert_eq!(world.replicas, 2, "round {round}");
    }
    assert_eq!(
        world.condition("ScalingActive").2,
        "desired=2, actual=2; scale-down withheld: 1 pods are ready and have not answered yet"
    );
    world.round(silent());
    assert_eq!(world.replicas, 1);
    // After it has answered, its last value stands for it.
    let mut world = World::new(quick(), 2);
    world.round(vec![ready_pods(vec![Ok(0.0), Ok(20.0)])]);
    for round in 0..6 {
        world.round(silent());
        assert_eq!(world.replicas, 2, "round {round}");
    }
    // A pod that is not ready has no share of the load.
    let mut world = World::new(quick(), 2);
    let starting = || vec![pods(vec![(true, Ok(0.0)), (false, failed("refused"))])];
    world.round(starting());
    assert_eq!(world.replicas, 1);
}

// scenario: hardening 52
#[test]
fn ready_says_what_could_not_be_measured() {
    let spec =
        json!({"maxReplicas": 8, "metricsSources": [source("pod", "a", "10"), source("pod", "b", "10")]});
    let mut world = World::new(pa(spec), 2);
    let ready = |world: &World| world.condition("Ready");
    let full = || ready_pods(vec![Ok(10.0), Ok(10.0)]);
    let down = || ready_pods(vec![failed("refused"), failed("refused")]);
    world.round(vec![full(), full()]);
    assert_eq!(ready(&world), ("True".into(), "AsExpected".into(), String::new()));
    world.round(vec![full(), ready_pods(vec![Ok(10.0), failed("refused")])]);
    let partial = |message: &str| ("True".to_owned(), "PartialMetrics".to_owned(), message.to_owned());
    assert_eq!(ready(&world), partial("0 of 2 metric sources and 1 of 2 pods have no value\nrefused"));
    let why = "failed to collect metrics from all 2 pods: refused";
    world.round(vec![full(), down()]);
    assert_eq!(
        ready(&world),
        partial(&format!("1 of 2 metric sources and 2 of 2 pods have no value\nb: {why}"))
    );
    world.round(vec![down(), down()]);
    assert_eq!(ready(&world).1, "PartialMetrics", "one round without any value may be an accident");
    world.round(vec![down(), down()]);
    let lines = format!("a: {why}\nb: {why}");
    assert_eq!(ready(&world), ("False".into(), "MetricsUnavailable".into(), lines));
    world.round(vec![full(), full()]);
    assert_eq!(ready(&world).1, "AsExpected");
    for _ in 0..3 {
        world.round(vec![ready_pods(vec![]), ready_pods(vec![])]);
    }
    assert_eq!(ready(&world), ("True".into(), "AsExpected".into(), "no pods".into()));
}

// scenario: hardening 52
#[test]
fn an_invalid_spec_counts_what_there_is_and_nothing_else() {
    let invalid = || pa(json!({"maxReplicas": 0, "metricsSources": [source("pod", "a", "10")]}));
    let message = |seen: &Snapshot| {
        let status = pass(seen, &State::default(), 0).1.status.unwrap();
        let found = status.conditions.iter().find(|condition| condition.type_ == "ScalingActive").unwrap();
        (status.desired_scale, status.actual_scale, found.message.clone())
    };
    let problem = "maxReplicas must be positive.";
    let counted = seen(invalid(), 3, at(0), vec![]);
    assert_eq!(message(&counted), (3, 3, format!("desired=3, actual=3; {problem}")));
    assert_eq!(message(&unread(invalid())).2, problem, "an unknown count is not 0");
}

// scenario: hardening 45
#[test]
fn apa_stops_at_an_external_value_that_does_not_react() {
    let object = |annotations: &[(&str, &str)]| {
        let external = json!({"metricSourceType": "external", "targetMetric": "queue", "targetValue": "40"});
        let spec = json!({"maxReplicas": 100, "scalingStrategy": "APA", "observeWindowSeconds": 10,
            "panicWindowSeconds": 10, "metricsSources": [external]});
        annotated(pa(spec), annotations)
    };
    let mut world = World::new(object(&[]), 3);
    let mut events = Vec::new();
    for _ in 0..6 {
        events.extend(world.round(vec![total(100.0)]).1.events.into_iter().map(|event| event.reason));
    }
    assert_eq!(world.replicas, 12, "two steps, 3 to 6 to 12");
    let (status, reason, message) = world.condition("ScalingLimited");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "MetricDoesNotReact"));
    assert!(
        message.starts_with("external metric queue stays at about 100 while more than 3 replicas came"),
        "{message}"
    );
    assert_eq!(events.iter().filter(|reason| **reason == "MetricDoesNotReact").count(), 1);
    // It moves: it goes on, and the condition goes.
    world.round(vec![total(200.0)]);
    assert_eq!(world.replicas, 24);
    let conditions = &world.pa.status.as_ref().unwrap().conditions;
    assert!(conditions.iter().all(|condition| condition.type_ != "ScalingLimited"));
    let mut world = World::new(object(&[("allow-unresponsive-metric", "true")]), 3);
    for _ in 0..6 {
        world.round(vec![total(100.0)]);
    }
    assert_eq!(world.replicas, 100, "as it is told");
}

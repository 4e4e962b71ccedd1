// SPDX-License-Identifier: Apache-2.0
//! Plans of autoscalers that generate a HorizontalPodAutoscaler.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    cases::{at, pa, unread},
    plan::plan,
    plan_tests::{events_of, kinds},
    snapshot::{Claim, HpaSeen, Snapshot},
    state::State,
    status::conclude,
    steps::{Gauge, Step},
    world::pass,
};
use kube_loops::runtime::{children::ChildRef, reconciler::Key, steps::StepOutcome};

fn hpa_seen(changes: Value, hpa: Value) -> Snapshot {
    let mut seen = unread(pa(changes));
    seen.hpa = HpaSeen::Ours(Box::new(serde_json::from_value(hpa).unwrap()));
    seen
}

fn stored_hpa() -> Value {
    json!({"metadata": {"name": "pa-hpa", "namespace": "ns", "uid": "h1", "resourceVersion": "5"}})
}

#[test]
fn a_missing_hpa_is_created_and_one_that_is_not_ours_left_alone() {
    let mut seen = unread(pa(json!({"scalingStrategy": "HPA"})));
    assert!(matches!(pass(&seen, &State::default(), 0).0.steps[..], [Step::CreateHpa(_)]));
    seen.caught_up = false;
    assert_eq!(pass(&seen, &State::default(), 0).0.steps, [], "our own create may be on its way");
    seen.hpa = HpaSeen::Foreign;
    let (plan, conclusion) = pass(&seen, &State::default(), 0);
    assert_eq!(plan.steps, []);
    assert_eq!(events_of(&conclusion)[0].0, "HPANameConflict");
    let status = conclusion.status.unwrap();
    assert!(kinds(&status).contains(&("AbleToScale", "False", "HPANameConflict")));
    Arc::make_mut(&mut seen.pa).status = Some(status);
    assert_eq!(pass(&seen, &State::default(), 0).1.events, []);
}

// scenario: hardening 39
#[test]
fn an_hpa_that_nobody_controls_is_adopted_where_it_scales_our_target() {
    let mut seen = unread(pa(json!({"scalingStrategy": "HPA"})));
    let made = pass(&seen, &State::default(), 0).0.steps;
    let [Step::CreateHpa(want)] = made.as_slice() else { panic!("{made:?}") };
    let mut have = (**want).clone();
    have.metadata.owner_references = None;
    have.spec.as_mut().unwrap().max_replicas += 1;
    seen.hpa = HpaSeen::Orphan(Box::new(have.clone()));
    let steps = pass(&seen, &State::default(), 0).0.steps;
    let [Step::PatchHpa { patch, .. }] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!(patch["metadata"]["ownerReferences"], json!(want.metadata.owner_references));
    assert_eq!(patch["spec"]["maxReplicas"], want.spec.as_ref().unwrap().max_replicas);
    have.spec.as_mut().unwrap().scale_target_ref.name = "other".to_owned();
    seen.hpa = HpaSeen::Orphan(Box::new(have));
    let (plan, conclusion) = pass(&seen, &State::default(), 0);
    assert_eq!(plan.steps, []);
    assert!(kinds(&conclusion.status.unwrap()).contains(&("AbleToScale", "False", "HPANameConflict")));
}

#[test]
fn a_hpa_that_the_api_server_refuses_is_reported() {
    let seen = unread(pa(json!({"scalingStrategy": "HPA"})));
    let plan = plan(&seen, &State::default(), at(0));
    let conclusion = conclude(&plan, &[StepOutcome::Failed("spec.maxReplicas: Invalid".into())], at(0));
    assert_eq!(events_of(&conclusion), [("FailedUpdateHPA", "spec.maxReplicas: Invalid".to_owned())]);
    let status = conclusion.status.unwrap();
    assert!(kinds(&status).contains(&("AbleToScale", "False", "FailedUpdateHPA")));
    assert!(kinds(&status).contains(&("Ready", "False", "ReconcilingScaleDiff")));
}

#[test]
fn the_status_of_the_hpa_is_copied_verbatim() {
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "ByHpa", "message": "100%d", "lastTransitionTime": "2026-11-24T08:00:00Z"});
    let mut hpa = stored_hpa();
    hpa["status"] = json!({
        "currentReplicas": 2, "desiredReplicas": 3, "lastScaleTime": "2026-11-24T09:00:00Z",
        "conditions": [condition("AbleToScale", "True"), condition("ScalingActive", "False"), condition("ScalingLimited", "True")],
    });
    let seen = hpa_seen(json!({"scalingStrategy": "HPA"}), hpa.clone());
    let (_, conclusion) = pass(&seen, &State::default(), 0);
    let status = conclusion.status.unwrap();
    assert_eq!((status.actual_scale, status.desired_scale), (2, 3));
    assert_eq!(status.last_scale_time.as_ref().unwrap().0, "2026-11-24T09:00:00Z".parse().unwrap());
    assert_eq!(
        kinds(&status),
        [
            ("ValidSpec", "True", "AsExpected"),
            ("ScalingActive", "False", "ByHpa"),
            ("AbleToScale", "True", "ByHpa"),
            ("Ready", "False", "ReconcilingScaleDiff"),
            ("ScalingLimited", "True", "ByHpa"),
        ]
    );
    assert_eq!(status.conditions[1].message, "100%d");
    let mut again = seen.clone();
    Arc::make_mut(&mut again.pa).status = Some(status.clone());
    assert_eq!(pass(&again, &State::default(), 60).1.status, Some(status));
}

#[test]
fn a_hpa_of_ours_goes_with_the_strategy_or_the_claim_and_stays_with_an_invalid_spec() {
    let child =
        ChildRef { namespace: "ns".into(), name: "pa-hpa".into(), uid: "h1".into(), version: "5".into() };
    let delete = [Step::DeleteHpa { child }];
    let switched = hpa_seen(json!({}), stored_hpa());
    assert_eq!(pass(&switched, &State::default(), 0).0.steps, delete);
    let mut lost = hpa_seen(json!({"scalingStrategy": "HPA"}), stored_hpa());
    lost.claim = Claim::Taken { target: "t".into(), by: Key::new("ns", "a") };
    assert_eq!(pass(&lost, &State::default(), 0).0.steps, delete);
    let mut invalid = hpa_seen(json!({"scalingStrategy": "HPA", "maxReplicas": 0}), stored_hpa());
    invalid.claim = Claim::Unwanted;
    assert_eq!(pass(&invalid, &State::default(), 0).0.steps, []);
    let mut leaving = hpa_seen(json!({"scalingStrategy": "HPA"}), stored_hpa());
    Arc::make_mut(&mut leaving.pa).metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0)));
    leaving.claim = Claim::Unwanted;
    let (plan, conclusion) = pass(&leaving, &State::default(), 0);
    assert_eq!((plan.steps, plan.gauge, conclusion.status), (vec![], Gauge::Remove, None));
}

// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use serde_json::json;

use super::{
    cases::{annotated, at, deployment, failed, pa, ready_pods, seen, source, total, unread},
    plan::{plan, plan_base},
    snapshot::{Claim, Reading, Samples, Snapshot, TargetSeen},
    state::State,
    status::conclude,
    steps::{Conclusion, DegradedReason, Gauge},
    world::{Told, World, pass, scale_of},
};
use crate::api::autoscaling::{PodAutoscaler, PodAutoscalerStatus};
use kube_loops::runtime::{reconciler::Key, steps::StepOutcome};

pub(super) fn events_of(conclusion: &Conclusion) -> Vec<(&'static str, String)> {
    conclusion.events.iter().map(|event| (event.reason, event.message.clone())).collect()
}

fn told_by(pass: &Told) -> Vec<(&str, String)> {
    pass.events.iter().map(|event| (event.reason.as_str(), event.message.clone())).collect()
}

pub(super) fn kinds(status: &PodAutoscalerStatus) -> Vec<(&str, &str, &str)> {
    status.conditions.iter().map(|c| (c.type_.as_str(), c.status.as_str(), c.reason.as_str())).collect()
}

// scenario: pod-autoscaler 28
#[test]
fn bounds_decide_before_measurements() {
    let always = json!([{"name": "all", "startTime": "00:00", "endTime": "23:59", "minReplicas": 4}]);
    let only_max = json!([{"name": "all", "startTime": "00:00", "endTime": "23:59", "maxReplicas": 9}]);
    for (changes, replicas, want, reason) in [
        (json!({"maxReplicas": 5}), 8, 5, "current replicas exceed maximum"),
        (json!({"minReplicas": 3}), 1, 3, "current replicas below minimum"),
        (json!({}), 0, 0, "scaling disabled: current replicas is 0"),
        (json!({"schedules": always}), 0, 4, "current replicas below minimum"),
        (json!({"schedules": only_max}), 0, 0, "scaling disabled: current replicas is 0"),
    ] {
        let (plan, _) = pass(&seen(pa(changes), replicas, at(0), vec![total(30.0)]), &State::default(), 0);
        let want_step = (want != replicas).then_some((replicas, want, reason));
        assert_eq!(scale_of(&plan), want_step, "{reason}");
        assert_eq!(plan.gauge, Gauge::Set { algorithm: "boundary-check", reason, value: want });
    }
}

#[test]
fn a_rescale_whose_status_could_not_be_written_is_told_by_the_next_one() {
    let mut world = World::new(pa(json!({"maxReplicas": 100})), 2);
    world.mute = true;
    let (plan, _) = world.round(vec![total(1000.0)]);
    assert!(scale_of(&plan).is_some());
    world.mute = false;
    let (_, told) = world.round(vec![total(1000.0)]);
    let status = told.status.unwrap();
    let steps: Vec<_> = status.scaling_history.iter().map(|it| (it.previous_scale, it.new_scale)).collect();
    assert_eq!(steps, [(2, 4), (4, 8)]);
    assert!(world.state().untold.is_empty());
}

#[test]
fn a_rescale_is_told_by_events_history_and_conditions() {
    let per_pod = vec![ready_pods(vec![Ok(45.0), Ok(45.0)])];
    let mut world =
        World::new(pa(json!({"maxReplicas": 3, "metricsSources": [source("pod", "running", "30")]})), 2);
    let (plan, told) = world.round(per_pod);
    assert_eq!(scale_of(&plan), Some((2, 3, "apa above target")));
    assert_eq!(plan.gauge, Gauge::Set { algorithm: "apa", reason: "apa above target", value: 3 });
    assert_eq!(
        told_by(&told),
        [
            (
                "AlgorithmRun",
                "APA algorithm completed. currentReplicas: 2, desiredReplicas: 3, shouldScale: true"
                    .to_owned(),
            ),
            ("SuccessfulRescale", "New size: 3; reason: apa above target".to_owned()),
        ]
    );
    let status = told.status.unwrap();
    assert_eq!((status.actual_scale, status.desired_scale), (2, 3));
    assert_eq!(status.last_scale_time.as_ref().map(|time| time.0), Some(at(0)));
    let entry = &status.scaling_history[0];
    assert_eq!((entry.previous_scale, entry.new_scale, entry.success), (2, 3, true));
    assert_eq!(
        kinds(&status),
        [
            ("ValidSpec", "True", "AsExpected"),
            ("ScalingActive", "True", "ReconcilingScaleDiff"),
            ("AbleToScale", "True", "SucceededGetScale"),
            ("Ready", "False", "ReconcilingScaleDiff"),
        ]
    );

    let (plan, told) = world.round(vec![ready_pods(vec![Ok(30.0); 3])]);
    assert_eq!((scale_of(&plan), told.events), (None, vec![]));
    assert_eq!(
        world.condition("ScalingActive"),
        ("False".into(), "Stable".into(), "desired=3, actual=3".into())
    );
    assert_eq!(world.condition("Ready").0, "True");
    assert_eq!(world.pa.status.as_ref().unwrap().scaling_history.len(), 1);
}

// scenario: pod-autoscaler 31
#[test]
fn a_step_of_ten_seconds_grows_by_the_rate_at_most() {
    let pa =
        annotated(pa(json!({"maxReplicas": 16, "metricsSources": [source("pod", "running", "30")]})), &[]);
    let mut world = World::new(pa, 1);
    for step in 1..=5 {
        let pods = usize::try_from(world.replicas).unwrap();
        world.round(vec![ready_pods(vec![Ok(90.0); pods])]);
        assert!(world.replicas <= 1 << step, "{} after {step}", world.replicas);
    }
    // The window still holds what fewer pods had to do.
    assert!((9..=16).contains(&world.replicas), "{}", world.replicas);
}

#[test]
fn a_step_to_a_bound_waits_for_measurements_of_the_new_size() {
    let one = seen(pa(json!({"minReplicas": 2})), 1, at(0), vec![total(90.0)]);
    let (first, conclusion) = pass(&one, &State::default(), 0);
    assert_eq!(scale_of(&first), Some((1, 2, "current replicas below minimum")));
    let two = seen(pa(json!({"minReplicas": 2})), 2, at(0), vec![total(90.0)]);
    assert_eq!(scale_of(&pass(&two, &conclusion.remember, 1).0), None);
}

#[test]
fn a_round_is_decided_once() {
    let round =
        |state: &State, replicas| pass(&seen(pa(json!({})), replicas, at(0), vec![total(90.0)]), state, 3);
    let (first, conclusion) = round(&State::default(), 2);
    assert_eq!(scale_of(&first), Some((2, 4, "apa above target")));
    let (second, _) = round(&conclusion.remember, 4);
    assert_eq!((scale_of(&second), second.gauge), (None, Gauge::Keep));
}

#[test]
fn a_failed_write_is_decided_again() {
    let mut seen = seen(pa(json!({})), 2, at(0), vec![total(90.0)]);
    let plan_of = |seen: &Snapshot, state: &State| plan(seen, state, at(0));
    let first = plan_of(&seen, &State::default());
    let failure = vec![StepOutcome::Failed("no permission".to_owned())];
    let conclusion = conclude(&first, &failure, at(0));
    let status = conclusion.status.clone().unwrap();
    assert!(kinds(&status).contains(&("AbleToScale", "False", "FailedUpdateScale")));
    assert_eq!(status.conditions[2].message, "unable to apply desired replicas: no permission");
    assert_eq!((status.last_scale_time.clone(), status.scaling_history[0].success), (None, false));
    assert_eq!(events_of(&conclusion)[1], ("FailedRescale", "no permission".to_owned()));

    Arc::make_mut(&mut seen.pa).status = Some(status.clone());
    let second = plan_of(&seen, &conclusion.remember);
    assert_eq!(scale_of(&second), Some((2, 4, "apa above target")));
    let again = conclude(&second, &failure, at(0));
    assert_eq!(again.status, Some(status.clone()), "nothing new to say");
    assert_eq!(events_of(&again).len(), 1, "the failure is told once");

    seen.samples.pending = true;
    let waiting = plan_of(&seen, &conclusion.remember);
    assert_eq!(conclude(&waiting, &[], at(0)).status.unwrap().conditions, status.conditions);
}

#[test]
fn a_pass_waits_for_measurements_and_holds() {
    let mut waiting = seen(pa(json!({})), 3, at(0), vec![total(90.0)]);
    waiting.samples.pending = true;
    let mut fresh = waiting.clone();
    fresh.samples = Samples::default();
    let mut stale = waiting.clone();
    stale.samples = Samples { taken: Some(at(0)), pending: false, sources: vec![] };
    for seen in [waiting, fresh, stale] {
        let (plan, conclusion) = pass(&seen, &State::default(), 0);
        let status = conclusion.status.unwrap();
        assert_eq!((scale_of(&plan), plan.gauge, plan.degraded), (None, Gauge::Keep, None));
        assert_eq!((status.actual_scale, status.desired_scale), (3, 3));
    }
    let mut over = seen(pa(json!({"maxReplicas": 2})), 3, at(0), vec![total(90.0)]);
    over.samples.pending = true;
    assert_eq!(scale_of(&pass(&over, &State::default(), 0).0).map(|step| step.1), Some(2), "bounds hold");
}

// scenario: pod-autoscaler 32
#[test]
fn no_value_at_all_holds_and_is_told_once() {
    let readings = [
        ready_pods(vec![]),
        ready_pods(vec![failed("refused"), failed("broken")]),
        ready_pods(vec![Ok(f64::NAN)]),
        Reading::Total(failed("no external metric values returned")),
        Reading::Total(Ok(f64::INFINITY)),
        Reading::Failed(super::snapshot::SampleError("histogram".into())),
    ];
    for reading in readings {
        let mut world = World::new(pa(json!({})), 4);
        let (plan, told) = world.round(vec![reading.clone()]);
        assert_eq!(scale_of(&plan), None);
        assert!(matches!(plan.degraded, Some(DegradedReason::Compute(_))));
        let text = &told_by(&told)[0].1;
        assert_eq!(told_by(&told)[0].0, "FailedComputeScale");
        assert!(text.starts_with("failed to compute metric-based replicas: all 1 metric sources failed for PodAutoscaler ns/pa: queue: "), "{text}");
        // The second in a row is no accident any more: the status says so, and no event.
        let (_, second) = world.round(vec![reading.clone()]);
        assert_eq!(second.events, []);
        let (_, again) = world.round(vec![reading]);
        assert_eq!((again.status.as_ref(), again.events), (world.pa.status.as_ref(), vec![]));
        assert_eq!(second.status, again.status, "no churn");
        assert_eq!(world.replicas, 4);
    }
}

#[test]
fn a_selector_that_cannot_be_read_fails_external_metrics_too() {
    let mut world = seen(pa(json!({})), 4, at(0), vec![total(90.0)]);
    let Some(TargetSeen::Found(target)) = &mut world.target else { panic!("found") };
    target.pods = Err(super::targets::TargetError::NoSelector("web".into()));
    let (plan, _) = pass(&world, &State::default(), 0);
    let text = "failed to compute metric-based replicas: failed to get pod selector: \
                scale object \"web\" is missing spec.selector";
    assert_eq!(plan.degraded, Some(DegradedReason::Compute(text.into())));
}

// scenario: pod-autoscaler 37
#[test]
fn the_largest_recommendation_wins_and_a_failing_source_blocks_only_scaling_down() {
    let two = json!({"metricsSources": [source("external", "a", "50"), source("external", "b", "30")]});
    let fast =
        |changes| annotated(pa(changes), &[("max-scale-up-rate", "4"), ("scale-down-cooldown-window", "0s")]);
    let decide = |a: Reading, b: Reading, replicas| {
        let mut world = World::new(fast(two.clone()), replicas);
        let (plan, _) = world.round(vec![a, b]);
        (scale_of(&plan).map(|step| step.1), world.condition("ScalingActive").2)
    };
    assert_eq!(decide(total(70.0), total(70.0), 1).0, Some(3));
    assert_eq!(decide(Reading::Total(failed("x")), total(70.0), 1).0, Some(3));
    assert_eq!(decide(total(5.0), total(5.0), 4).0, Some(2));
    let (held, message) = decide(Reading::Total(failed("x")), total(5.0), 4);
    assert_eq!(held, None);
    let note = "desired=4, actual=4; scale-down withheld: not all metric sources have values: a: x";
    assert_eq!(message, note);
}

// scenario: pod-autoscaler 51
#[test]
fn nothing_is_scaled_down_before_a_whole_window_was_observed_in_this_term() {
    for (strategy, window, seconds) in [("KPA", "0s", 180), ("APA", "300s", 300)] {
        let pa =
            annotated(pa(json!({"scalingStrategy": strategy})), &[("scale-down-cooldown-window", window)]);
        let mut world = World::new(pa, 8);
        while world.second < seconds {
            world.round(vec![total(0.5)]);
            assert_eq!(world.replicas, 8, "{strategy} at {}", world.second);
            let until = at(seconds).to_string();
            let message = world.condition("ScalingActive").2;
            assert!(message.contains(&format!("scale-down withheld until {until}: ")), "{message}");
        }
        world.round(vec![total(0.5)]);
        assert_eq!(world.replicas, 4, "{strategy}");
        assert!(!world.condition("ScalingActive").2.contains("withheld"));

        world.take_over(); // another leader
        let at_start = world.replicas;
        world.round(vec![total(0.5)]);
        assert_eq!(world.replicas, at_start, "{strategy}");
        world.round(vec![total(4000.0)]);
        assert_eq!(world.replicas, at_start * 2, "{strategy} scales up at once");
    }
}

// scenario: pod-autoscaler 36
#[test]
fn replicas_fall_a_cooldown_after_the_last_higher_recommendation() {
    let mut world = World::new(pa(json!({})), 4);
    while world.second < 400 {
        world.round(vec![total(30.0)]);
    }
    let dropped = world.second;
    while world.second < dropped + 290 {
        world.round(vec![total(1.0)]);
        assert_eq!(world.replicas, 4);
    }
    // The mean over the window takes a few rounds until it asks for fewer replicas.
    while world.replicas == 4 && world.second < dropped + 360 {
        world.round(vec![total(1.0)]);
    }
    assert!(world.second > dropped + 300);
    assert_eq!(world.replicas, 3, "the greatest young recommendation");

    let mut world = World::new(annotated(pa(json!({})), &[("scale-down-cooldown-window", "0s")]), 4);
    world.round(vec![total(1.0)]);
    assert_eq!(world.replicas, 2, "at once");
}

// scenario: pod-autoscaler 39
#[test]
fn the_history_keeps_the_last_five_in_order() {
    let mut world = World::new(pa(json!({"maxReplicas": 500, "scalingStrategy": "KPA"})), 2);
    for _ in 0..6 {
        world.round(vec![total(9000.0)]);
    }
    let sizes = |world: &World| -> Vec<i32> {
        world.pa.status.as_ref().unwrap().scaling_history.iter().map(|entry| entry.new_scale).collect()
    };
    assert_eq!(sizes(&world), [8, 16, 32, 64, 128]);
    let before = world.pa.status.clone();
    world.take_over();
    for _ in 0..3 {
        world.round(vec![total(30.0)]);
    }
    assert_eq!(sizes(&world), [8, 16, 32, 64, 128]);
    assert_eq!(world.pa.status.unwrap().last_scale_time, before.unwrap().last_scale_time);
}

#[test]
fn an_unreadable_target_keeps_one_condition_and_one_event() {
    let mut seen = unread(pa(json!({})));
    seen.target = Some(TargetSeen::Unreadable("failed to query scale subresource: not found".into()));
    let (plan, conclusion) = pass(&seen, &State::default(), 0);
    let text = "failed to query scale subresource: not found";
    assert_eq!(plan.degraded, Some(DegradedReason::Target(text.into())));
    assert_eq!(events_of(&conclusion), [("FailedGetScale", text.to_owned())]);
    let status = conclusion.status.unwrap();
    assert_eq!(kinds(&status)[2], ("AbleToScale", "False", "FailedGetScale"));
    assert_eq!(status.conditions[2].message, format!("unable to get target scaleObj: {text}"));
    Arc::make_mut(&mut seen.pa).status = Some(status.clone());
    let (_, again) = pass(&seen, &conclusion.remember, 60);
    assert_eq!((again.status, again.events), (Some(status), vec![]), "times stay over retries");
}

#[test]
fn replicas_that_cannot_be_told_are_reported_once() {
    let pa = pa(json!({}));
    let mut seen = unread(pa.clone());
    let mut target = deployment(&pa, 1);
    target.replicas = Err(super::targets::TargetError::NoReplicas);
    seen.target = Some(TargetSeen::Found(Box::new(target)));
    let (_, conclusion) = pass(&seen, &State::default(), 0);
    let text = "Error extracting replicas: the 'replicas' field was not found in the scale object";
    assert_eq!(events_of(&conclusion), [("FailedGetReplicas", text.to_owned())]);
    let (_, again) = pass(&seen, &conclusion.remember, 10);
    assert_eq!(again.events, []);
}

#[test]
fn a_bad_annotation_is_reported_once() {
    let mut world = World::new(annotated(pa(json!({})), &[("panic-threshold", "x")]), 3);
    let (_, first) = world.round(vec![total(30.0)]);
    assert_eq!(told_by(&first).iter().map(|event| event.0).collect::<Vec<_>>(), ["InvalidAnnotation"]);
    let (_, second) = world.round(vec![total(30.0)]);
    assert_eq!(second.events, []);
}

#[test]
fn a_new_object_says_at_once_what_is_known() {
    let of = |pa: &PodAutoscaler, claim: &Claim| plan_base(pa, claim, at(0));
    let status = of(&pa(json!({})), &Claim::Held).unwrap();
    assert_eq!(
        kinds(&status),
        [
            ("ValidSpec", "True", "AsExpected"),
            ("ScalingActive", "False", "Stable"),
            ("AbleToScale", "True", "Configured"),
            ("Ready", "True", "AsExpected"),
        ]
    );
    let bounds = json!({"effectiveMinReplicas": 1, "effectiveMaxReplicas": 10});
    assert_eq!(serde_json::to_value(&status.scheduled_bounds).unwrap(), bounds);

    let taken = Claim::Taken { target: "apps/v1.Deployment/ns/web".into(), by: Key::new("ns", "first") };
    let status = of(&pa(json!({})), &taken).unwrap();
    assert_eq!(
        kinds(&status),
        [
            ("ValidSpec", "True", "AsExpected"),
            ("MultiPodAutoscalerConflict", "False", "MultiPodAutoscalerConflict"),
            ("ScalingActive", "False", "Stable"),
            ("AbleToScale", "False", "InvalidSpec"),
            ("Ready", "False", "ReconcilingScaleDiff"),
        ]
    );
    let message = "Scaling target apps/v1.Deployment/ns/web is already controlled by \
                   PodAutoscaler ns/first, it will not take effect";
    assert_eq!(status.conditions[1].message, message);

    let mut known = pa(json!({}));
    known.status = Some(status);
    assert_eq!(of(&known, &taken), None, "it has conditions");
}

#[test]
fn an_edit_to_an_invalid_spec_is_reported_and_back() {
    let mut world = World::new(pa(json!({})), 3);
    world.round(vec![total(30.0)]);
    let mut broken = unread(pa(json!({"scaleTargetRef": {"kind": "Deployment"}})));
    Arc::make_mut(&mut broken.pa).status = world.pa.status.clone();
    broken.claim = Claim::Unwanted;
    let (plan, conclusion) = pass(&broken, &world.state(), 20);
    let status = conclusion.status.unwrap();
    assert_eq!(plan.steps, []);
    assert_eq!(kinds(&status)[0], ("ValidSpec", "False", "MissingScaleTargetRef"));
    assert_eq!((status.actual_scale, status.desired_scale), (3, 3));
    world.pa.status = Some(status);
    world.round(vec![total(30.0)]);
    assert_eq!(world.condition("ValidSpec").0, "True");
}

#[test]
fn a_conflict_ends_with_its_condition() {
    let mut losing = unread(pa(json!({})));
    losing.claim = Claim::Taken { target: "t".into(), by: Key::new("ns", "a") };
    let (_, conclusion) = pass(&losing, &State::default(), 0);
    let mut world = World::new(pa(json!({})), 3);
    world.pa.status = conclusion.status;
    world.round(vec![total(30.0)]);
    assert!(
        kinds(world.pa.status.as_ref().unwrap()).iter().all(|kind| kind.0 != "MultiPodAutoscalerConflict")
    );
}

#[test]
fn a_scaling_that_somebody_else_overtook_is_not_told_as_done_and_is_decided_again() {
    let seen = seen(pa(json!({})), 2, at(0), vec![total(90.0)]);
    let first = plan(&seen, &State::default(), at(0));
    assert_eq!(scale_of(&first), Some((2, 4, "apa above target")));
    let conclusion = conclude(&first, &[StepOutcome::Overtaken], at(0));
    let status = conclusion.status.clone().unwrap();
    assert_eq!((status.last_scale_time, status.scaling_history), (None, Vec::new()));
    assert!(!events_of(&conclusion).iter().any(|(reason, _)| *reason == "SuccessfulRescale"));
    let second = plan(&seen, &conclusion.remember, at(0));
    assert_eq!(scale_of(&second), Some((2, 4, "apa above target")));
}

#[test]
fn a_role_that_copies_share_is_scaled_to_what_can_be_reached() {
    let reference =
        json!({"apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "StormService", "name": "s"});
    let pa =
        pa(json!({"scaleTargetRef": reference, "subTargetSelector": {"roleName": "x"}, "maxReplicas": 3}));
    let object = |replicas: i32| json!({"spec": {"replicas": 2, "template": {"spec": {"roles": [{"name": "x", "replicas": replicas}]}}}});
    let decide = |replicas: i32, value: f64| {
        let target = super::targets::read_target(
            &pa,
            super::cases::resource("g", "StormService"),
            super::targets::Form::Object,
            &object(replicas),
        );
        let mut seen = seen(pa.clone(), 1, at(0), vec![total(value)]);
        seen.target = Some(TargetSeen::Found(Box::new(target)));
        let (plan, conclusion) = pass(&seen, &State::default(), 0);
        let status = conclusion.status.unwrap();
        (scale_of(&plan).map(|step| (step.0, step.1)), status.actual_scale, status.desired_scale)
    };
    assert_eq!(decide(3, 30.0), (Some((6, 4)), 6, 4), "3 is not a multiple of 2");
    assert_eq!(decide(2, 30.0), (None, 4, 4), "3 would be 4 again: no step");
}

#[test]
fn observations_end_with_target_strategy_and_object() {
    let mut world = World::new(pa(json!({})), 4);
    world.round(vec![total(30.0)]);
    let fresh = |changed: PodAutoscaler| {
        let plan = plan(&unread(changed), &world.state(), at(10));
        plan.remember.sources.is_empty() && plan.remember.decided.is_none()
    };
    assert!(!fresh(pa(json!({"maxReplicas": 11}))));
    assert!(fresh(pa(json!({"scalingStrategy": "KPA"}))));
    assert!(fresh(pa(
        json!({"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "b"}})
    )));
    let mut recreated = pa(json!({}));
    recreated.metadata.uid = Some("u2".into());
    assert!(fresh(recreated));
}

#[test]
fn two_sources_of_one_metric_have_windows_and_targets_of_their_own() {
    let twice = json!({"metricsSources": [source("external", "q", "10"), source("external", "q", "1000")]});
    let mut world = World::new(annotated(pa(twice), &[("max-scale-up-rate", "9")]), 1);
    let (plan, _) = world.round(vec![total(40.0), total(1000.0)]);
    assert_eq!(scale_of(&plan).map(|step| step.1), Some(4));
}

// scenario: pod-autoscaler 48
#[test]
fn a_schedule_moves_the_bounds_at_its_start_and_its_end() {
    let window = json!([{"name": "day", "startTime": "09:00", "endTime": "10:00", "minReplicas": 6}]);
    let pa = pa(json!({"schedules": window, "minReplicas": 2}));
    let run = |time: &str, replicas| {
        let now = format!("2026-11-24T{time}Z").parse().unwrap();
        let plan = plan(&seen(pa.clone(), replicas, now, vec![total(30.0)]), &State::default(), now);
        let bounds = plan.draft.as_ref().unwrap().bounds.clone();
        (
            scale_of(&plan).map(|step| step.1),
            bounds.active_schedule,
            bounds.effective_min_replicas,
            plan.requeue,
        )
    };
    let minutes = |minutes: u64| Some(std::time::Duration::from_secs(minutes * 60));
    assert_eq!(run("08:59:00", 3), (None, None, 2, minutes(1)));
    assert_eq!(run("09:00:00", 3), (Some(6), Some("day".into()), 6, minutes(60)));
    assert_eq!(run("10:00:00", 6), (None, None, 2, minutes(23 * 60)));
}

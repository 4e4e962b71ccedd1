// SPDX-License-Identifier: Apache-2.0
//! What a pass does, from what it saw and remembers. Pure: same inputs, same plan; on a world that
//! already matches, no steps.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;

use crate::{
    api::autoscaling::{PodAutoscaler, PodAutoscalerStatus, ScalingEvent},
    validation::pod_autoscaler::first_problem,
};
use kube_fenced_election::clock::Timestamp;
use kube_loops::{
    cluster::events::EventText,
    k8s::{
        conditions,
        text::{EVENT_MESSAGE_BYTES, cut},
    },
    runtime::children::ChildRef,
};

use super::{
    annotations::{Parameters, parse_parameters},
    bounds::{self, Bounds},
    contest::{self, Attempt},
    decide::{self, ComputeError, DecisionInputs, ScaleDecision},
    hpa,
    snapshot::{Claim, HpaSeen, Scope, Snapshot, TargetSeen, scope},
    state::{State, Subject, Unknown},
    status::{
        self, Able, ERROR_BYTES, FAILED_UPDATE_HPA, FAILED_UPDATE_SCALE, METRIC_DOES_NOT_REACT,
        SCALING_LIMITED, StatusDraft, WRITES_UNDONE,
    },
    steps::{DegradedReason, Gauge, Plan, Step},
    targets::{ScaleWrite, Target},
};

/// Reason of event and history entry when no count could be computed.
const FAILED_COMPUTE_SCALE: &str = "FailedComputeScale";

/// The status that a new object gets before anything slow; `None` when it has conditions already or is
/// being deleted. `claim`: whether it may act.
pub(super) fn plan_base(pa: &PodAutoscaler, claim: &Claim, now: Timestamp) -> Option<PodAutoscalerStatus> {
    let has_conditions = pa.status.as_ref().is_some_and(|status| !status.conditions.is_empty());
    if has_conditions || scope(pa) == Scope::Leaving {
        return None;
    }
    let (bounds, _) = bounds::resolve(pa, now);
    Some(status::compose(&base_status(pa, claim, &bounds), now))
}

/// Decides on a snapshot.
pub(super) fn plan(seen: &Snapshot, state: &State, now: Timestamp) -> Plan {
    let pa = &*seen.pa;
    let scope = scope(pa);
    let (bounds, requeue) = bounds::resolve(pa, now);
    let mut plan = Plan {
        steps: Vec::new(),
        draft: Some(base_status(pa, &seen.claim, &bounds)),
        events: Vec::new(),
        gauge: Gauge::Keep,
        remember: state.about(subject_of(pa)),
        requeue,
        degraded: None,
        withheld_until: None,
    };
    if let Some(draft) = &mut plan.draft {
        draft.untold.clone_from(&plan.remember.untold);
    }
    match (scope, &seen.claim) {
        (Scope::Leaving, _) => {
            plan.draft = None;
            plan.requeue = None;
            plan.gauge = Gauge::Remove;
            plan.remember = State::default();
        }
        (Scope::Invalid, _) => count_target(&mut plan, seen),
        (_, Claim::Unwanted) => {}
        (Scope::Hpa | Scope::Metrics, Claim::Taken { .. }) => {
            plan.gauge = Gauge::Remove;
            plan.steps.extend(drop_hpa(seen));
        }
        (Scope::Hpa, Claim::Held) => {
            let parameters = parse_parameters(pa);
            warn_once(&mut plan, state, &parameters.warnings);
            plan.gauge = Gauge::Remove;
            plan_hpa(&mut plan, View { seen, bounds: &bounds, parameters: &parameters, now });
        }
        (Scope::Metrics, Claim::Held) => {
            plan.steps.extend(drop_hpa(seen));
            let parameters = parse_parameters(pa);
            plan_metrics(&mut plan, View { seen, bounds: &bounds, parameters: &parameters, now });
        }
    }
    plan
}

/// What the decisions of one pass look at.
#[derive(Clone, Copy)]
struct View<'a> {
    seen: &'a Snapshot,
    bounds: &'a Bounds,
    parameters: &'a Parameters,
    now: Timestamp,
}

fn base_status(pa: &PodAutoscaler, claim: &Claim, bounds: &Bounds) -> StatusDraft {
    let previous = pa.status.clone().unwrap_or_default();
    let conflict = match claim {
        Claim::Taken { target, by } => Some(format!(
            "Scaling target {target} is already controlled by PodAutoscaler {by}, it will not take effect"
        )),
        Claim::Held | Claim::Unwanted => None,
    };
    StatusDraft {
        generation: pa.metadata.generation,
        problem: first_problem(pa),
        conflict,
        able: Able { holds: true, reason: "Configured", message: String::new() },
        counted: false,
        desired: previous.desired_scale,
        actual: previous.actual_scale,
        note: None,
        measured: None,
        limited: None,
        bounds: bounds.as_status(),
        untold: Vec::new(),
        entry: None,
        last_scale_time: None,
        hpa_conditions: None,
        previous,
    }
}

/// The replicas of a target that is left alone.
fn count_target(plan: &mut Plan, seen: &Snapshot) {
    let Some(TargetSeen::Found(target)) = &seen.target else { return };
    if let (Some(draft), Ok(current)) = (&mut plan.draft, &target.replicas) {
        (draft.counted, draft.actual, draft.desired) = (true, *current, *current);
    }
}

/// Observations belong to an object, a target and a strategy.
fn subject_of(pa: &PodAutoscaler) -> Subject {
    let target = &pa.spec.scale_target_ref;
    let role = super::targets::role_of(pa).unwrap_or("");
    let pooled = super::targets::pooled_role(pa).is_some();
    Subject {
        uid: pa.metadata.uid.clone().unwrap_or_default(),
        target: format!("{}/{}/{}/{role}/{pooled}", target.api_version, target.kind, target.name),
        strategy: pa.spec.scaling_strategy.clone(),
    }
}

/// Warns about annotations, about each value once.
fn warn_once(plan: &mut Plan, state: &State, warnings: &[String]) {
    for message in warnings {
        if !state.warned.contains(message) {
            plan.events.push(warning("InvalidAnnotation", message));
        }
    }
    plan.remember.warned = warnings.iter().cloned().collect();
}

fn warning(reason: &'static str, message: &str) -> EventText {
    EventText { warning: true, reason, message: cut(message, EVENT_MESSAGE_BYTES) }
}

/// Deletes the HorizontalPodAutoscaler that is ours and must not act any more.
fn drop_hpa(seen: &Snapshot) -> Option<Step> {
    let HpaSeen::Ours(hpa) = &seen.hpa else { return None };
    if !seen.caught_up || hpa.metadata.deletion_timestamp.is_some() {
        return None;
    }
    Some(Step::DeleteHpa { child: ChildRef::to(&**hpa) })
}

fn plan_hpa(plan: &mut Plan, view: View<'_>) {
    let View { seen, bounds, parameters, now } = view;
    let Some(draft) = &mut plan.draft else { return };
    let contest = &mut plan.remember.contest;
    let want = hpa::build_hpa(&seen.pa, bounds, parameters);
    let asked = hpa::digest(&want);
    match &seen.hpa {
        HpaSeen::Orphan(have) if hpa::scales_the_same(have, &want) => {
            copy_hpa_status(draft, have);
            if let Some((patch, fields)) = hpa::adopting(have, &want).filter(|_| seen.caught_up) {
                let (child, have, fields) = (ChildRef::to(&**have), hpa::digest(have), fields.join(", "));
                plan.steps.push(Step::PatchHpa { child, patch, want: asked, have, fields });
            }
        }
        HpaSeen::Orphan(_) | HpaSeen::Foreign => {
            let name = hpa::name_for(&seen.pa);
            let message =
                format!("HorizontalPodAutoscaler {name} exists and is not controlled by this PodAutoscaler");
            let able = Able { holds: false, reason: "HPANameConflict", message };
            if status::is_news(&draft.previous, &able) {
                plan.events.push(warning("HPANameConflict", &able.message));
            }
            draft.able = able;
        }
        HpaSeen::Absent => {
            (draft.desired, draft.actual) = (0, 0);
            draft.hpa_conditions = Some(Vec::new());
            if seen.caught_up {
                contest.look(now, "somebody who deletes it", |_| false);
                if contest.attempt(now, &asked, "") == Attempt::Now {
                    plan.steps.push(Step::CreateHpa(Box::new(want)));
                }
            }
        }
        HpaSeen::Ours(have) => {
            copy_hpa_status(draft, have);
            let leaving = have.metadata.deletion_timestamp.is_some();
            if seen.caught_up && !leaving {
                let patch = hpa::patch_for(have, &want);
                let fields = have.metadata.managed_fields.as_deref().unwrap_or_default();
                let by = contest::in_words(contest::other_writer(fields, |_| true));
                contest.look(now, &by, |written| written != asked || patch.is_none());
                let (child, stored) = (ChildRef::to(&**have), hpa::digest(have));
                match patch {
                    None => contest.rest(now),
                    Some((patch, fields)) if contest.attempt(now, &asked, &stored) == Attempt::Now => {
                        let fields = fields.join(", ");
                        plan.steps.push(Step::PatchHpa { child, patch, want: asked, have: stored, fields });
                    }
                    Some(_) => {}
                }
            }
        }
    }
    tell_contest(plan, "the HorizontalPodAutoscaler was", FAILED_UPDATE_HPA);
}

/// Says that writes of ours do not last, or change nothing: once by an event, and by the condition as long as it is so.
fn tell_contest(plan: &mut Plan, what: &str, in_vain: &'static str) {
    let Some(draft) = &mut plan.draft else { return };
    let contest = &plan.remember.contest;
    if let Some(message) = contest.in_vain() {
        draft.able = Able { holds: false, reason: in_vain, message: message.to_owned() };
    } else if let Some(by) = contest.undone_by() {
        let message = format!(
            "{what} changed by {by} within a minute after each of several writes: the next ones are ever further \
             apart, up to 5 minutes, until one stays"
        );
        let able = Able { holds: false, reason: WRITES_UNDONE, message };
        if status::is_news(&draft.previous, &able) {
            plan.events.push(warning(WRITES_UNDONE, &able.message));
        }
        draft.able = able;
    }
}

fn copy_hpa_status(draft: &mut StatusDraft, hpa: &HorizontalPodAutoscaler) {
    let status = hpa.status.clone().unwrap_or_default();
    draft.desired = status.desired_replicas;
    draft.actual = status.current_replicas.unwrap_or(0);
    draft.last_scale_time = status.last_scale_time;
    draft.hpa_conditions = Some(status.conditions.unwrap_or_default());
}

fn plan_metrics(plan: &mut Plan, view: View<'_>) {
    let mut unreadable_replicas = None;
    let Some(draft) = &mut plan.draft else { return };
    draft.able = Able {
        holds: true,
        reason: "SucceededGetScale",
        message: "successfully retrieved target scale".to_owned(),
    };
    match &view.seen.target {
        // Nothing was read: say nothing new.
        None => draft.able = stored_able(&draft.previous).unwrap_or_else(|| draft.able.clone()),
        Some(TargetSeen::Unreadable(error)) => {
            let error = cut(error, ERROR_BYTES);
            let message = format!("unable to get target scaleObj: {error}");
            let able = Able { holds: false, reason: "FailedGetScale", message };
            if status::is_news(&draft.previous, &able) {
                plan.events.push(warning("FailedGetScale", &error));
            }
            draft.able = able;
            plan.degraded = Some(DegradedReason::Target(error));
        }
        Some(TargetSeen::Found(target)) => match &target.replicas {
            Err(error) => {
                let message = format!("Error extracting replicas: {error}");
                if !plan.remember.warned.contains(&message) {
                    plan.events.push(warning("FailedGetReplicas", &message));
                }
                unreadable_replicas = Some(message);
                plan.degraded = Some(DegradedReason::Replicas(error.to_string()));
            }
            Ok(replicas) => plan_target(plan, view, target, (*replicas).max(0)),
        },
    }
    let before = State { warned: std::mem::take(&mut plan.remember.warned), ..State::default() };
    warn_once(plan, &before, &view.parameters.warnings);
    plan.remember.warned.extend(unreadable_replicas);
}

/// The stored condition `AbleToScale` in a pass that has nothing to say about it.
fn stored_able(previous: &PodAutoscalerStatus) -> Option<Able> {
    const REASONS: [&str; 3] = [FAILED_UPDATE_SCALE, "FailedGetScale", "SucceededGetScale"];
    let stored = conditions::find(&previous.conditions, "AbleToScale")?;
    let reason = REASONS.into_iter().find(|reason| *reason == stored.reason)?;
    Some(Able { holds: stored.status == "True", reason, message: stored.message.clone() })
}

/// What a pass decided about a target that was read.
enum Decision {
    /// A count, perhaps the current one.
    Made(ScaleDecision),
    /// This round was decided before, or measurements are under way: R stays.
    Waiting,
    /// No count could be computed: R stays.
    Failed(ComputeError),
}

fn decide(plan: &mut Plan, view: View<'_>, target: &Target, current: i32) -> Decision {
    let View { seen, bounds, parameters, now } = view;
    if let Some(decision) = decide::at_bounds(current, bounds) {
        (plan.remember.note, plan.remember.unknown, plan.remember.limited) = (None, Unknown::default(), None);
        if decision.desired != current {
            // What was measured before this step says nothing about the new size.
            plan.remember.decided = seen.samples.taken;
        }
        return Decision::Made(decision);
    }
    if let Err(error) = &target.pods {
        return Decision::Failed(ComputeError(format!("failed to get pod selector: {error}")));
    }
    let samples = &seen.samples;
    let is_decided = samples.taken.is_none() || samples.taken == plan.remember.decided;
    if samples.pending || is_decided || samples.sources.len() != seen.pa.spec.metrics_sources.len() {
        return Decision::Waiting;
    }
    plan.remember.decided = samples.taken;
    let inputs = DecisionInputs { pa: &seen.pa, current, bounds, parameters, samples, now };
    match decide::by_metrics(inputs, &mut plan.remember) {
        Ok(decision) => Decision::Made(decision),
        Err(error) => Decision::Failed(error),
    }
}

fn plan_target(plan: &mut Plan, view: View<'_>, target: &Target, current: i32) {
    let View { seen, now, .. } = view;
    let count = target.found.count.unwrap_or(0).to_string();
    let by = contest::in_words(target.other_writer.as_deref());
    plan.remember.contest.look(now, &by, |written| written == count);
    let decision = decide(plan, view, target, current);
    let Some(draft) = &mut plan.draft else { return };
    (draft.actual, draft.desired) = (current, current);
    match decision {
        Decision::Made(decision) => {
            let mut desired = reachable(&target.write, current, decision.desired);
            let contest = &mut plan.remember.contest;
            if desired == current {
                contest.rest(now);
            } else {
                let count = target.write.share_of(desired).to_string();
                if contest.attempt(now, &count, &target.found.version) != Attempt::Now {
                    desired = current;
                }
            }
            draft.desired = desired;
            let ScaleDecision { algorithm, reason, .. } = decision;
            plan.gauge = Gauge::Set { algorithm, reason, value: desired };
            if desired != current {
                let strategy = &seen.pa.spec.scaling_strategy;
                let message = format!(
                    "{strategy} algorithm completed. currentReplicas: {current}, \
                     desiredReplicas: {desired}, shouldScale: true"
                );
                if contest.undone_by().is_none() {
                    plan.events.push(EventText { warning: false, reason: "AlgorithmRun", message });
                }
                plan.steps.push(Step::Scale {
                    target: target.object.clone(),
                    write: target.write.clone(),
                    found: target.found.clone(),
                    from: current,
                    to: desired,
                    reason,
                });
            }
        }
        Decision::Waiting => {
            if let Some(able) = stored_able(&draft.previous).filter(|able| able.reason == FAILED_UPDATE_SCALE)
            {
                // The last attempt is still what there is to say.
                draft.able = able;
                if draft.previous.actual_scale == current {
                    draft.desired = draft.previous.desired_scale;
                }
            }
        }
        Decision::Failed(error) => {
            let error = cut(&error.to_string(), ERROR_BYTES);
            let last = draft.previous.scaling_history.last();
            if last.is_none_or(|last| last.success || last.error.as_deref() != Some(error.as_str())) {
                plan.events.push(warning(FAILED_COMPUTE_SCALE, &error));
            }
            draft.entry = Some(failed_entry(current, &error, now));
            plan.remember.note = None;
            plan.degraded = Some(DegradedReason::Compute(error));
        }
    }
    let note = plan.remember.note.as_ref().filter(|note| note.until.is_none_or(|until| now < until));
    draft.note = note.map(|note| note.text.clone());
    draft.measured = plan.remember.unknown.condition();
    draft.limited.clone_from(&plan.remember.limited);
    if let Some(message) = &draft.limited {
        let stored = conditions::find(&draft.previous.conditions, SCALING_LIMITED);
        if stored.is_none_or(|stored| stored.reason != METRIC_DOES_NOT_REACT) {
            plan.events.push(warning(METRIC_DOES_NOT_REACT, message));
        }
    }
    plan.withheld_until = note.and_then(|note| note.until);
    tell_contest(plan, "the replicas were", FAILED_UPDATE_SCALE);
}

/// Copies of a service share a role's count, so only multiples of the copies can be reached. A step that
/// would miss its direction is none.
fn reachable(write: &ScaleWrite, current: i32, desired: i32) -> i32 {
    let reached = write.share_of(desired).saturating_mul(write.copies());
    let is_step = (desired > current && reached > current) || (desired < current && reached < current);
    if is_step { reached } else { current }
}

fn failed_entry(current: i32, error: &str, now: Timestamp) -> ScalingEvent {
    ScalingEvent {
        timestamp: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now),
        previous_scale: current,
        new_scale: current,
        reason: FAILED_COMPUTE_SCALE.to_owned(),
        success: false,
        error: Some(error.to_owned()),
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The status: conditions, history, and what the steps changed about them.

use jiff::SignedDuration;
use k8s_openapi::{
    api::autoscaling::v2::HorizontalPodAutoscalerCondition,
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};

use crate::{
    api::autoscaling::{PodAutoscalerStatus, ScalingEvent, ScheduledBounds},
    validation::pod_autoscaler::Problem,
};
use kube_fenced_election::clock::Timestamp;
use kube_loops::{
    cluster::events::EventText,
    k8s::{
        conditions::{self, Stated},
        text::cut,
    },
    runtime::steps::StepOutcome,
};

use super::{
    contest::Contest,
    hpa,
    steps::{Conclusion, Plan, Step},
};

/// Reason of condition and event when the API server refuses the HorizontalPodAutoscaler.
pub(super) const FAILED_UPDATE_HPA: &str = "FailedUpdateHPA";
/// Reason of the condition when the target refuses its new size.
pub(super) const FAILED_UPDATE_SCALE: &str = "FailedUpdateScale";
/// Reason of event and condition when somebody else undoes what we write.
pub(super) const WRITES_UNDONE: &str = "WritesUndone";
/// Condition of a HorizontalPodAutoscaler, and of APA on a metric that does not react.
pub(super) const SCALING_LIMITED: &str = "ScalingLimited";
/// Reason of that condition, and event, where APA would scale up for ever.
pub(super) const METRIC_DOES_NOT_REACT: &str = "MetricDoesNotReact";

/// Condition of an object that may not act because another one holds its target; absent otherwise.
pub(super) const CONFLICT: &str = "MultiPodAutoscalerConflict";

/// What the status will say, before its conditions are worked out.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StatusDraft {
    /// The stored status.
    pub(super) previous: PodAutoscalerStatus,
    /// Generation of the spec that was looked at.
    pub(super) generation: Option<i64>,
    /// What is wrong with the spec.
    pub(super) problem: Option<Problem>,
    /// Message of the conflict.
    pub(super) conflict: Option<String>,
    /// Condition `AbleToScale`, where spec and claim allow scaling.
    pub(super) able: Able,
    /// Whether the replicas are those of the target; otherwise they are what was stored, or unknown.
    pub(super) counted: bool,
    /// Replicas asked for.
    pub(super) desired: i32,
    /// Replicas found.
    pub(super) actual: i32,
    /// What the message of `ScalingActive` adds: why scaling down is withheld.
    pub(super) note: Option<String>,
    /// What the condition `Ready` says of measurements: whether it holds, reason and message.
    pub(super) measured: Option<(bool, &'static str, String)>,
    /// Why nothing is scaled up although a metric asks for it.
    pub(super) limited: Option<String>,
    /// Bounds in force.
    pub(super) bounds: ScheduledBounds,
    /// Entries of former passes whose status could not be written.
    pub(super) untold: Vec<ScalingEvent>,
    /// An entry for the history, if it is new.
    pub(super) entry: Option<ScalingEvent>,
    /// Last scaling as the HorizontalPodAutoscaler tells it.
    pub(super) last_scale_time: Option<Time>,
    /// Conditions of the generated HorizontalPodAutoscaler; `None`: another strategy.
    pub(super) hpa_conditions: Option<Vec<HorizontalPodAutoscalerCondition>>,
}

/// Whether the target can be scaled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Able {
    /// Status of the condition.
    pub(super) holds: bool,
    /// Reason.
    pub(super) reason: &'static str,
    /// Message.
    pub(super) message: String,
}

/// Most entries that the history keeps.
const HISTORY_ENTRIES: usize = 5;
/// Entries that say the same are recorded again after this long.
const HISTORY_QUIET_SECONDS: i64 = 5;
/// Longest error text in history and conditions, in bytes.
pub(super) const ERROR_BYTES: usize = 512;

/// The status of a draft. All conditions are worked out here, once for each pass.
pub(super) fn compose(draft: &StatusDraft, now: Timestamp) -> PodAutoscalerStatus {
    let mut status = PodAutoscalerStatus {
        desired_scale: draft.desired,
        actual_scale: draft.actual,
        scheduled_bounds: Some(draft.bounds.clone()),
        ..draft.previous.clone()
    };
    if let Some(time) = &draft.last_scale_time {
        status.last_scale_time = Some(time.clone());
    }
    for entry in draft.untold.iter().chain(&draft.entry) {
        record(&mut status, entry);
    }
    write_conditions(&mut status.conditions, draft, now);
    status
}

fn write_conditions(conditions: &mut Vec<Condition>, draft: &StatusDraft, now: Timestamp) {
    let mut say = |kind, holds, reason, message: &str| {
        let stated = Stated { kind, holds, reason, message: message.to_owned() };
        conditions::upsert(conditions, stated, draft.generation, now);
    };
    match &draft.problem {
        None => say("ValidSpec", true, "AsExpected", ""),
        Some(problem) => say("ValidSpec", false, problem.reason, &problem.message),
    }
    if let Some(message) = &draft.conflict {
        // COMPAT: the condition exists with status False while there is a conflict.
        say(CONFLICT, false, CONFLICT, message);
    }
    let differs = draft.desired != draft.actual;
    let counts = format!("desired={}, actual={}", draft.desired, draft.actual);
    let problem = draft.problem.as_ref().map(|problem| problem.message.as_str());
    let message = match (problem, &draft.note) {
        // What is not known is not 0.
        (Some(problem), _) if !draft.counted => problem.to_owned(),
        (Some(more), _) => format!("{counts}; {more}"),
        (None, Some(note)) => format!("{counts}; {note}"),
        (None, None) => counts,
    };
    say("ScalingActive", differs, if differs { "ReconcilingScaleDiff" } else { "Stable" }, &message);

    let refused = draft.problem.is_some() || draft.conflict.is_some();
    let able = &draft.able;
    if refused {
        say("AbleToScale", false, "InvalidSpec", "");
    } else {
        say("AbleToScale", able.holds, able.reason, &able.message);
    }
    match &draft.measured {
        Some((false, reason, message)) if !refused && able.holds => say("Ready", false, reason, message),
        _ if refused || !able.holds || differs => say("Ready", false, "ReconcilingScaleDiff", ""),
        Some((_, reason, message)) => say("Ready", true, reason, message),
        None => say("Ready", true, "AsExpected", ""),
    }

    if draft.conflict.is_none() {
        conditions::remove(conditions, CONFLICT);
    }
    if !refused {
        copy_hpa_conditions(conditions, draft, now);
        if let Some(message) = &draft.limited {
            let (kind, reason, message) = (SCALING_LIMITED, METRIC_DOES_NOT_REACT, message.clone());
            let stated = Stated { kind, holds: true, reason, message };
            conditions::upsert(conditions, stated, draft.generation, now);
        }
    }
}

/// The conditions of the HorizontalPodAutoscaler win over ours, unless we could not even write it.
fn copy_hpa_conditions(conditions: &mut Vec<Condition>, draft: &StatusDraft, now: Timestamp) {
    let theirs = draft.hpa_conditions.as_deref().unwrap_or_default();
    if draft.limited.is_none() && theirs.iter().all(|condition| condition.type_ != SCALING_LIMITED) {
        conditions::remove(conditions, SCALING_LIMITED);
    }
    for theirs in theirs.iter().filter(|theirs| draft.able.holds || theirs.type_ != "AbleToScale") {
        let reason = theirs.reason.clone().filter(|reason| !reason.is_empty());
        let condition = Condition {
            type_: theirs.type_.clone(),
            status: theirs.status.clone(),
            reason: reason.unwrap_or_else(|| "Unspecified".to_owned()),
            message: theirs.message.clone().unwrap_or_default(),
            observed_generation: draft.generation,
            last_transition_time: theirs.last_transition_time.clone().unwrap_or(Time(now)),
        };
        conditions::upsert_condition(conditions, condition);
    }
}

/// Appends to the history what is new in it. Failures are new only when they say something new.
fn record(status: &mut PodAutoscalerStatus, entry: &ScalingEvent) {
    let history = &mut status.scaling_history;
    let is_new = history.last().is_none_or(|last| {
        let says_more = last.success != entry.success || last.error != entry.error;
        let quiet = SignedDuration::from_secs(HISTORY_QUIET_SECONDS);
        let is_later = entry.timestamp.0.duration_since(last.timestamp.0) > quiet;
        says_more || (entry.success && (is_later || last.new_scale != entry.new_scale))
    });
    if !is_new {
        return;
    }
    let surplus = (history.len() + 1).saturating_sub(HISTORY_ENTRIES);
    history.drain(..surplus);
    history.push(entry.clone());
    if entry.success {
        status.last_scale_time = Some(entry.timestamp.clone());
    }
}

/// Folds in how the steps went, in the order of the plan. Steps that were not tried count as failed.
pub(super) fn conclude(plan: &Plan, outcomes: &[StepOutcome], now: Timestamp) -> Conclusion {
    let mut events = plan.events.clone();
    let mut remember = plan.remember.clone();
    let Some(mut draft) = plan.draft.clone() else {
        return Conclusion { status: None, events, remember, untold: Vec::new() };
    };
    for (i, step) in plan.steps.iter().enumerate() {
        let failure = match outcomes.get(i) {
            Some(StepOutcome::Failed(failure)) => Some(cut(failure, ERROR_BYTES)),
            Some(StepOutcome::Done) => {
                note_write(&mut remember.contest, step, now);
                None
            }
            Some(StepOutcome::InVain) => note_in_vain(&mut remember.contest, step, now),
            Some(StepOutcome::Overtaken) => {
                if matches!(step, Step::Scale { .. }) {
                    // What was decided on has changed: the retry decides on this round again.
                    remember.decided = None;
                }
                continue;
            }
            None => Some("the pass ended before it was answered".to_owned()),
        };
        match (step, failure) {
            (Step::CreateHpa(_) | Step::PatchHpa { .. }, Some(failure)) => {
                let able = Able { holds: false, reason: FAILED_UPDATE_HPA, message: failure.clone() };
                if is_news(&draft.previous, &able) {
                    events.push(EventText { warning: true, reason: FAILED_UPDATE_HPA, message: failure });
                }
                draft.able = able;
            }
            (Step::Scale { from, to, reason, .. }, failure) => {
                draft.entry = Some(ScalingEvent {
                    timestamp: Time(now),
                    previous_scale: *from,
                    new_scale: *to,
                    reason: (*reason).to_owned(),
                    success: failure.is_none(),
                    error: failure.clone(),
                });
                let Some(failure) = failure else {
                    if draft.able.reason == WRITES_UNDONE {
                        continue;
                    }
                    let message = format!("New size: {to}; reason: {reason}");
                    events.push(EventText { warning: false, reason: "SuccessfulRescale", message });
                    continue;
                };
                let able = Able { holds: false, reason: FAILED_UPDATE_SCALE, message: unable(&failure) };
                if is_news(&draft.previous, &able) {
                    events.push(EventText { warning: true, reason: "FailedRescale", message: failure });
                }
                draft.able = able;
                // The retry has to decide on this round again.
                if outcomes.get(i) != Some(&StepOutcome::InVain) {
                    remember.decided = None;
                }
            }
            (Step::CreateHpa(_) | Step::PatchHpa { .. } | Step::DeleteHpa { .. }, _) => {}
        }
    }
    remember.untold.clear();
    let untold = draft.untold.iter().chain(&draft.entry).cloned().collect();
    Conclusion { status: Some(compose(&draft, now)), events, remember, untold }
}

fn note_write(contest: &mut Contest, step: &Step, now: Timestamp) {
    match step {
        Step::CreateHpa(hpa) => contest.wrote(now, hpa::digest(hpa)),
        Step::PatchHpa { want, .. } => contest.wrote(now, want.clone()),
        Step::Scale { write, to, .. } => contest.wrote(now, write.share_of(*to).to_string()),
        Step::DeleteHpa { .. } => {}
    }
}

/// What is said of a write that changed nothing.
fn note_in_vain(contest: &mut Contest, step: &Step, now: Timestamp) -> Option<String> {
    match step {
        Step::PatchHpa { want, have, fields, .. } => {
            let message =
                format!("a webhook or policy of the API server changes what is written to {fields}");
            let message = cut(&message, ERROR_BYTES);
            contest.wrote_in_vain(now, want.clone(), have.clone(), message.clone());
            Some(message)
        }
        Step::Scale { write, found, to, .. } => {
            let message =
                format!("a webhook or policy of the API server does not let {to} replicas be stored");
            let count = write.share_of(*to).to_string();
            contest.wrote_in_vain(now, count, found.version.clone(), unable(&message));
            Some(message)
        }
        Step::CreateHpa(_) | Step::DeleteHpa { .. } => None,
    }
}

fn unable(failure: &str) -> String {
    format!("unable to apply desired replicas: {failure}")
}

/// Whether the stored status does not say this yet.
pub(super) fn is_news(previous: &PodAutoscalerStatus, able: &Able) -> bool {
    conditions::find(&previous.conditions, "AbleToScale")
        .is_none_or(|stored| stored.reason != able.reason || stored.message != able.message)
}

// SPDX-License-Identifier: Apache-2.0
//! The status: phases, conditions with their reasons and messages, and what publishing makes of it.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::model::{ModelAdapter, ModelAdapterStatus};
use kube_fenced_election::clock::Timestamp;
use kube_loops::k8s::{
    conditions::{self, Stated},
    text::cut,
};

use super::{
    snapshot::{Listed, PodSeen, Snapshot},
    state::Refused,
    steps::{Plan, Step},
};

pub(super) const PENDING: &str = "Pending";
pub(super) const SCHEDULED: &str = "Scheduled";
pub(super) const SCALED: &str = "Scaled";
pub(super) const FAILED: &str = "Failed";
pub(super) const RUNNING: &str = "Running";
pub(super) const RESOURCE_CREATED: &str = "ResourceCreated";

/// Condition types.
const INITIALIZED: &str = "Initialized";
const READY: &str = "Ready";
const BOUND: &str = "Bound";

/// Reasons of conditions and events.
const AVAILABLE: &str = "ModelAdapterAvailable";
pub(super) const UNAVAILABLE: &str = "ModelAdapterUnavailable";
pub(super) const MIGRATING: &str = "AdapterMigrating";
pub(super) const POD_NOT_READY: &str = "PodNotReady";
pub(super) const LOADING_ERROR: &str = "ModelAdapterLoadingError";
pub(super) const VALIDATION_FAILED: &str = "ValidationFailed";
const RESCHEDULING: &str = "Rescheduling";
const RESCHEDULED: &str = "Rescheduled";
pub(super) const UNSCHEDULABLE: &str = "Unschedulable";
const SERVICE_ERROR: &str = "ServiceCreateError";
const SLICE_ERROR: &str = "EndpointSliceCreateError";

/// Reasons of events only.
pub(super) const LOADED: &str = "Loaded";
pub(super) const UNLOADED: &str = "Unloaded";
pub(super) const LOAD_FAILED: &str = "LoadFailed";
pub(super) const MAX_RETRIES: &str = "MaxRetriesExceeded";
pub(super) const RESOURCE_CONFLICT: &str = "ResourceConflict";
pub(super) const FAILED_GET_METRICS: &str = "FailedGetMetrics";
pub(super) const EVICTED: &str = "Evicted";
pub(super) const UNSTABLE: &str = "Unstable";
pub(super) const NAME_CONFLICT: &str = "NameConflict";

/// Longest part of a message that one pod gets, in bytes.
pub(super) const POD_ERROR_BYTES: usize = 512;
/// Longest message, in bytes.
const MESSAGE_BYTES: usize = 4096;

/// How long a Service that was refused for what it is waits for the next attempt.
const REFUSED_SECONDS: i64 = 300;

/// A status that is being written, on top of the stored one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Draft {
    pub(super) status: ModelAdapterStatus,
    generation: Option<i64>,
    now: Timestamp,
}

impl Draft {
    /// Begins with what is stored.
    pub(super) fn of(adapter: &ModelAdapter, now: Timestamp) -> Self {
        let status = adapter.status.clone().unwrap_or_default();
        Self { status, generation: adapter.metadata.generation, now }
    }

    pub(super) fn phase(&mut self, phase: &str) {
        phase.clone_into(&mut self.status.phase);
    }

    /// Instances in their order, and their number.
    pub(super) fn instances(&mut self, names: Vec<String>) {
        self.status.ready_replicas = count(names.len());
        self.status.instances = names;
    }

    /// Numbers of pods that may and should host the adapter.
    pub(super) fn wanted(&mut self, candidates: usize, desired: usize) {
        self.status.candidates = count(candidates);
        self.status.desired_replicas = count(desired);
    }

    pub(super) fn say(&mut self, stated: Stated) {
        conditions::upsert(&mut self.status.conditions, stated, self.generation, self.now);
    }

    pub(super) fn ready(&mut self, holds: bool, reason: &'static str, message: &str) {
        self.say(Stated { kind: READY, holds, reason, message: cut(message, MESSAGE_BYTES) });
    }

    pub(super) fn scheduled(&mut self, holds: bool, reason: &'static str, message: String) {
        self.say(Stated { kind: SCHEDULED, holds, reason, message });
    }

    /// What is not bound stays so until it is; what was never said stays unsaid.
    pub(super) fn bound(&mut self) {
        self.heal(BOUND, BOUND, "ModelAdapter is loaded");
    }

    /// The first step is over: that it has been taken stays said.
    pub(super) fn begun(&mut self) {
        if conditions::find(&self.status.conditions, INITIALIZED).is_some_and(|it| it.status == "Unknown") {
            let message = "Reconciliation has started".to_owned();
            self.say(Stated { kind: INITIALIZED, holds: true, reason: INITIALIZED, message });
        }
    }

    /// There are instances: whatever was said against a placement does not hold any more.
    pub(super) fn placed(&mut self) {
        self.heal(SCHEDULED, SCHEDULED, "ModelAdapter is placed");
    }

    fn heal(&mut self, kind: &'static str, reason: &'static str, message: &str) {
        if conditions::find(&self.status.conditions, kind).is_some_and(|it| it.status == "False") {
            self.say(Stated { kind, holds: true, reason, message: message.to_owned() });
        }
    }

    /// Whether `Ready` is stored as true.
    pub(super) fn is_ready(&self) -> bool {
        conditions::find(&self.status.conditions, READY).is_some_and(|it| it.status == "True")
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// `namespace/name`, as messages have it.
pub(super) fn full_name(adapter: &ModelAdapter) -> String {
    let of = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{}/{}", of(&adapter.metadata.namespace), of(&adapter.metadata.name))
}

/// The first status of an object.
pub(super) fn initial(adapter: &ModelAdapter, now: Timestamp) -> ModelAdapterStatus {
    let mut status = adapter.status.clone().unwrap_or_default();
    PENDING.clone_into(&mut status.phase);
    let condition = Condition {
        type_: INITIALIZED.to_owned(),
        status: "Unknown".to_owned(),
        reason: "ModelAdapterPending".to_owned(),
        message: "Starting reconciliation".to_owned(),
        observed_generation: adapter.metadata.generation,
        last_transition_time: Time(now),
    };
    conditions::upsert_condition(&mut status.conditions, condition);
    status
}

/// All instances are lost; other pods may take their place.
pub(super) fn say_rescheduling(draft: &mut Draft) {
    let message = "Need to reschedule adapter on available pods".to_owned();
    draft.scheduled(false, RESCHEDULING, message);
}

/// A new pod has taken the place of those that were lost.
pub(super) fn say_rescheduled(draft: &mut Draft, pod: &str) {
    draft.scheduled(true, RESCHEDULED, format!("Adapter successfully loaded on new pod {pod}"));
}

/// Whether all instances were lost and none has taken their place yet.
pub(super) fn is_rescheduling(status: &ModelAdapterStatus) -> bool {
    let scheduled = conditions::find(&status.conditions, SCHEDULED);
    scheduled.is_some_and(|it| it.status == "False" && it.reason == RESCHEDULING)
}

/// A pod was chosen.
pub(super) fn say_scheduled(draft: &mut Draft, name: &str, pod: &str) {
    let message = format!("ModelAdapter {name} has selected 1 pods for scheduling: [{pod}]");
    draft.scheduled(true, SCHEDULED, message);
}

/// The pod that a stored status says was chosen and that has not become an instance; `None`: none.
pub(super) fn stored_choice(status: &ModelAdapterStatus) -> Option<&str> {
    if !matches!(status.phase.as_str(), SCHEDULED | FAILED) {
        return None;
    }
    let scheduled = conditions::find(&status.conditions, SCHEDULED)?;
    let chosen = scheduled.status == "True" && scheduled.reason == SCHEDULED;
    scheduled.message.strip_suffix(']').filter(|_| chosen)?.rsplit_once('[').map(|(_, pod)| pod)
}

/// The Service could not be made or corrected.
pub(super) fn service_failed(name: &str, error: &str) -> Stated {
    let error = cut(error, POD_ERROR_BYTES);
    let message = format!("Failed to create Service for the modeladapter ({name}): ({error})");
    Stated { kind: RESOURCE_CREATED, holds: false, reason: SERVICE_ERROR, message }
}

/// The EndpointSlice could not be made or corrected.
pub(super) fn slice_failed() -> Stated {
    let message = "endpointslice creation failure".to_owned();
    Stated { kind: RESOURCE_CREATED, holds: false, reason: SLICE_ERROR, message }
}

/// The status once the adapter is published, or could not be: `failed`.
pub(super) fn conclude(
    seen: &Snapshot,
    adapter: &ModelAdapter,
    status: ModelAdapterStatus,
    serves: bool,
    failed: Option<Stated>,
    now: Timestamp,
) -> ModelAdapterStatus {
    let mut draft = Draft { status, generation: adapter.metadata.generation, now };
    match failed {
        Some(stated) => {
            draft.say(stated);
            draft.phase(RESOURCE_CREATED);
        }
        None if serves => {
            draft.phase(RUNNING);
            let conflicts = seen.conflicts(&full_name(adapter));
            if !conflicts.is_empty() {
                let message = conflicts.join("; ");
                draft.ready(false, RESOURCE_CONFLICT, &message);
                let reason = RESOURCE_CONFLICT;
                draft.say(Stated { kind: RESOURCE_CREATED, holds: false, reason, message });
                return draft.status;
            }
            draft.heal(RESOURCE_CREATED, RESOURCE_CREATED, "Service and EndpointSlice exist");
            let message = ready_message(&full_name(adapter), &unlisted(seen, &draft.status));
            draft.ready(true, AVAILABLE, &message);
        }
        None => {}
    }
    draft.status
}

/// The instances of which nothing but the word of their engines is known.
fn unlisted<'a>(seen: &'a Snapshot, status: &ModelAdapterStatus) -> Vec<&'a str> {
    let is_instance = |pod: &&PodSeen| status.instances.iter().any(|name| name == pod.name());
    let unlisted = seen.pods.iter().filter(|pod| match pod.engine.listed {
        Listed::Vouched => true,
        // A new term has not asked yet.
        Listed::Unknown | Listed::Failed(_) => {
            pod.facts.ready_since.is_some_and(|since| was_unlisted(status, pod.name(), since))
        }
        Listed::Known(_) | Listed::Foreign | Listed::Unstable(_) => false,
    });
    unlisted.filter(is_instance).map(PodSeen::name).collect()
}

fn ready_message(name: &str, unlisted: &[&str]) -> String {
    let mut message = format!("ModelAdapter {name} is ready");
    for pod in unlisted {
        message.push_str("; ");
        message.push_str(&unlisted_message(pod));
    }
    message
}

fn unlisted_message(pod: &str) -> String {
    format!("pod {pod}: Listed=Unknown, its engine lists no adapters and said that it has loaded this one")
}

/// Whether a stored status says that the word of a pod's engine is taken, given while the pod was ready as it is
/// `since` then.
pub(super) fn was_unlisted(status: &ModelAdapterStatus, pod: &str, since: Timestamp) -> bool {
    let ready = conditions::find(&status.conditions, READY).filter(|ready| ready.status == "True");
    ready.is_some_and(|ready| {
        since <= ready.last_transition_time.0 && ready.message.contains(&unlisted_message(pod))
    })
}

/// Notes whether the API server refused the Service as it is: then it is not tried again for a while.
pub(super) fn refuse(plan: &mut Plan, seen: &Snapshot, refused: bool, now: Timestamp) {
    if refused {
        let until = now.saturating_add(SignedDuration::from_secs(REFUSED_SECONDS)).unwrap_or(now);
        plan.remember.refused = Some(Refused { generation: seen.adapter.metadata.generation, until });
    } else if plan.steps.iter().any(|step| matches!(step, Step::CreateService(_))) {
        plan.remember.refused = None;
    }
    let left = plan.remember.refused.as_ref().map(|refused| refused.until.duration_since(now));
    if let Some(left) = left.and_then(|left| Duration::try_from(left).ok()).filter(|left| !left.is_zero()) {
        plan.within(left);
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What a plan consists of.

use std::time::Duration;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde_json::Value;

use crate::api::autoscaling::{PodAutoscalerStatus, ScalingEvent};
use kube_fenced_election::clock::Timestamp;
use kube_loops::{
    cluster::events::EventText,
    runtime::{
        children::ChildRef,
        reconciler::{Failure, Retry},
        steps::StepError,
    },
};

use super::{
    state::State,
    status::StatusDraft,
    targets::{Found, ScaleTarget, ScaleWrite},
};

/// One change, complete: whoever carries it out needs neither spec nor snapshot.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Creates this HorizontalPodAutoscaler.
    CreateHpa(Box<HorizontalPodAutoscaler>),
    /// Merge-patches our fields of the HorizontalPodAutoscaler.
    PatchHpa {
        /// Which one, as it was seen.
        child: ChildRef,
        /// Merge patch.
        patch: Value,
        /// What all of it is to be, and what it is: tells one from another.
        want: String,
        /// See above.
        have: String,
        /// What differs, for people.
        fields: String,
    },
    /// Deletes our HorizontalPodAutoscaler.
    DeleteHpa {
        /// Which one.
        child: ChildRef,
    },
    /// Writes the replicas of the target.
    Scale {
        /// The object.
        target: ScaleTarget,
        /// Where in the object, see [`ScaleWrite::patch`].
        write: ScaleWrite,
        /// What has to be there still.
        found: Found,
        /// Replicas before.
        from: i32,
        /// Replicas wanted: of the target as a whole; a role of several copies gets its share.
        to: i32,
        /// Why, for event and history.
        reason: &'static str,
    },
}

/// What the gauge `aibrix_autoscaler_scale_action` of this object shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Gauge {
    /// As before: nothing was decided.
    Keep,
    /// Exactly this series.
    Set {
        /// `boundary-check`, `kpa` or `apa`.
        algorithm: &'static str,
        /// Reason of the decision.
        reason: &'static str,
        /// Replicas wanted.
        value: i32,
    },
    /// No series: the object does not decide by itself.
    Remove,
}

/// Why a pass could not do what the spec asks for. The status says so already; the next period retries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DegradedReason {
    /// The target could not be read.
    #[error("unable to get target scaleObj: {0}")]
    Target(String),
    /// The replicas of the target could not be told.
    #[error("Error extracting replicas: {0}")]
    Replicas(String),
    /// No recommendation could be computed.
    #[error("{0}")]
    Compute(String),
}

/// A pass that did not get what the spec asks for. The status says so.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A change, or the status itself, could not be written.
    #[error(transparent)]
    Write(#[from] StepError),
    /// No decision was possible.
    #[error("{reason}")]
    Degraded {
        /// Why not.
        reason: DegradedReason,
        /// When the next measurements come, which is when it may be over.
        cure: Duration,
    },
}

impl Failure for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Write(error) => error.retry(),
            Self::Degraded { cure, .. } => Retry::After(*cure),
        }
    }
}

/// What a pass does.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Changes, in order.
    pub(super) steps: Vec<Step>,
    /// What the status will say; [`super::status::conclude`] folds in how the steps went. `None`: the
    /// status stays as it is.
    pub(super) draft: Option<StatusDraft>,
    /// Events that do not depend on the steps.
    pub(super) events: Vec<EventText>,
    /// The gauge, set before the steps.
    pub(super) gauge: Gauge,
    /// What the next pass has to know.
    pub(super) remember: State,
    /// When to come back at the latest: the next schedule transition. `None`: the period will do.
    pub(super) requeue: Option<Duration>,
    /// What went wrong while planning, for the log.
    pub(super) degraded: Option<DegradedReason>,
    /// Scaling down is withheld until then because not a whole window was observed yet, for the log.
    pub(super) withheld_until: Option<Timestamp>,
}

/// A plan after its steps were tried.
#[derive(Debug, Clone)]
pub(super) struct Conclusion {
    /// Status to write if it differs from the stored one; `None`: it stays as it is.
    pub(super) status: Option<PodAutoscalerStatus>,
    /// Events to record, in order.
    pub(super) events: Vec<EventText>,
    /// State to commit.
    pub(super) remember: State,
    /// What the state has to keep for the next status if this one cannot be written.
    pub(super) untold: Vec<ScalingEvent>,
}

// SPDX-License-Identifier: Apache-2.0
//! The facts of a pass as plain data.

use std::sync::Arc;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;

use crate::{api::autoscaling::PodAutoscaler, validation::pod_autoscaler};
use kube_fenced_election::clock::Timestamp;
use kube_loops::runtime::reconciler::Key;

use super::targets::Target;

/// Built once per pass, never refreshed half-way.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    /// The object.
    pub(super) pa: Arc<PodAutoscaler>,
    /// What [`super::claims::Claims::settle`] answered for it in this pass.
    pub(super) claim: Claim,
    /// The HorizontalPodAutoscaler with the name that a generated one has ([`super::hpa::name_for`]).
    pub(super) hpa: HpaSeen,
    /// The target; `None` unless [`scope`] is [`Scope::Metrics`] and the claim is held.
    pub(super) target: Option<TargetSeen>,
    /// Measurements; empty where `target` is `None` or unreadable.
    pub(super) samples: Samples,
    /// False while an earlier create or delete of ours is not visible in the cache yet: no steps on
    /// the HorizontalPodAutoscaler then.
    pub(super) caught_up: bool,
}

/// Whether the object may act on its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Claim {
    /// It holds the target.
    Held,
    /// Another one holds the target, or a target that overlaps it.
    Taken {
        /// The wanted target as text.
        target: String,
        /// The holder.
        by: Key,
    },
    /// It does not ask for a target: its spec is invalid or it is being deleted.
    Unwanted,
}

/// The HorizontalPodAutoscaler as stored.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum HpaSeen {
    /// There is none.
    Absent,
    /// Its controller is this PodAutoscaler, by uid.
    Ours(Box<HorizontalPodAutoscaler>),
    /// It belongs to nobody: it is adopted if it scales our target.
    Orphan(Box<HorizontalPodAutoscaler>),
    /// It belongs to somebody else.
    Foreign,
}

/// The target as read in this pass.
#[derive(Debug, Clone)]
pub(super) enum TargetSeen {
    /// It could not be read; the text follows `unable to get target scaleObj: ` in the condition.
    Unreadable(String),
    /// It was read ([`super::targets::read_target`]).
    Found(Box<Target>),
}

/// One round of measurements. Rounds are taken outside the pass, one per period: no pass waits for them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Samples {
    /// When the last complete round ended; `None`: none did in this term. Two passes that see the same
    /// moment see the same round: only the first one decides on it.
    pub(super) taken: Option<Timestamp>,
    /// True while a round of this period is under way: the pass then enforces bounds and holds.
    pub(super) pending: bool,
    /// One reading for each metric source, in order.
    pub(super) sources: Vec<Reading>,
}

/// What one source said in a round.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reading {
    /// One value for each usable pod; no pods, no values.
    PerPod(Vec<PodReading>),
    /// One value for the whole target.
    Total(Result<f64, SampleError>),
    /// The source could not be asked at all (a missing selector, a metric of an unusable kind).
    Failed(SampleError),
}

/// What one pod said in a round.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PodReading {
    /// Its uid.
    pub(super) uid: Box<str>,
    /// It is ready, so that it has a share of the load, whatever is known of it.
    pub(super) ready: bool,
    /// Its value.
    pub(super) value: Result<f64, SampleError>,
}

/// Why a value is missing. The text must be stable: no times, no counters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct SampleError(pub(super) String);

/// What a pass has to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// It is being deleted: nothing.
    Leaving,
    /// Its spec is invalid: nothing but its status.
    Invalid,
    /// The generated HorizontalPodAutoscaler.
    Hpa,
    /// Target, pods and measurements, and the HorizontalPodAutoscaler that an earlier strategy left.
    Metrics,
}

/// What a pass for `pa` has to look at.
pub(super) fn scope(pa: &PodAutoscaler) -> Scope {
    if pa.metadata.deletion_timestamp.is_some() {
        return Scope::Leaving;
    }
    if pod_autoscaler::first_problem(pa).is_some() {
        return Scope::Invalid;
    }
    if pa.spec.scaling_strategy == "HPA" { Scope::Hpa } else { Scope::Metrics }
}

// SPDX-License-Identifier: Apache-2.0
//! What passes of one object remember within a term. Losing it is harmless: a fresh state never scales
//! down before it has observed a whole window.

use std::collections::BTreeSet;

use crate::api::autoscaling::ScalingEvent;
use kube_fenced_election::clock::Timestamp;

use super::algorithm::{cooldown::Recommendations, window::Windows};

/// State of one PodAutoscaler; a fresh one knows nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct State {
    /// Whose state this is: another uid, target or strategy starts afresh.
    pub(super) subject: Option<Subject>,
    /// Observations, one entry for each metric source in order.
    pub(super) sources: Vec<SourceMemory>,
    /// Recommendations of the cooldown windows.
    pub(super) recommendations: Recommendations,
    /// The round of measurements that was decided last: each round is decided once.
    pub(super) decided: Option<Timestamp>,
    /// Why that round withheld scaling down.
    pub(super) note: Option<Note>,
    /// Warnings that were sent: each is sent once.
    pub(super) warned: BTreeSet<String>,
    /// Entries of the history that no stored status has yet, because it could not be written.
    pub(super) untold: Vec<ScalingEvent>,
}

/// What makes observations comparable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    /// Uid of the PodAutoscaler.
    pub(super) uid: String,
    /// Target with role and mode, as text.
    pub(super) target: String,
    /// Strategy.
    pub(super) strategy: String,
}

/// Why scaling down is withheld, as the status says it until the next round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    /// In words for users.
    pub(super) text: String,
    /// Until when, where that is known.
    pub(super) until: Option<Timestamp>,
}

impl State {
    /// This state if it is about `subject`, else a fresh one.
    pub(super) fn about(&self, subject: Subject) -> Self {
        if self.subject.as_ref() == Some(&subject) {
            return self.clone();
        }
        Self { subject: Some(subject), ..Self::default() }
    }
}

/// Observations of one metric source.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct SourceMemory {
    /// The source: another one in its place starts afresh.
    pub(super) identity: String,
    /// Stable and panic window.
    pub(super) windows: Windows,
    /// M: the most replicas recommended in this panic; `None`: no panic.
    pub(super) panic_peak: Option<i32>,
}

// SPDX-License-Identifier: Apache-2.0
//! What passes of one object remember within a term. Losing it is harmless: a fresh state never scales
//! down before it has observed a whole window.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::autoscaling::ScalingEvent;
use kube_fenced_election::clock::Timestamp;

use super::{
    algorithm::{cooldown::Recommendations, window::Windows},
    contest::Contest,
};

/// Rounds without any value after which an autoscaler is not ready: one may be an accident.
const BLIND_ROUNDS: u32 = 2;

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
    /// What could not be measured in that round.
    pub(super) unknown: Unknown,
    /// Sources whose value does not react to more replicas: why nothing is scaled up.
    pub(super) limited: Option<String>,
    /// Whether our writes last: to the replicas of the target, or to the HorizontalPodAutoscaler.
    pub(super) contest: Contest,
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

/// What could not be measured in a round.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Unknown {
    /// Pods without a value, of the source that has most of them.
    pub(super) pods: usize,
    /// All pods that were asked.
    pub(super) of_pods: usize,
    /// Why the first of those without a value has none.
    pub(super) first_pod: String,
    /// Each source without any value, and why.
    pub(super) sources: Vec<String>,
    /// All sources.
    pub(super) of_sources: usize,
    /// Rounds in a row in which no source had any value.
    pub(super) blind_rounds: u32,
    /// There is no pod that could be measured.
    pub(super) no_pods: bool,
}

impl Unknown {
    /// What the condition `Ready` says of it: whether it holds, reason and message; `None`: nothing.
    pub(super) fn condition(&self) -> Option<(bool, &'static str, String)> {
        let Self { pods, of_pods, first_pod, sources, of_sources, blind_rounds, no_pods } = self;
        if *no_pods {
            return Some((true, "AsExpected", "no pods".to_owned()));
        }
        if *blind_rounds >= BLIND_ROUNDS {
            return Some((false, "MetricsUnavailable", sources.join("\n")));
        }
        if sources.is_empty() && *pods == 0 {
            return None;
        }
        let mut message = format!(
            "{} of {of_sources} metric sources and {pods} of {of_pods} pods have no value",
            sources.len()
        );
        // A source without any value says so itself.
        let why = sources.iter().chain((sources.is_empty()).then_some(first_pod));
        for why in why {
            message.push('\n');
            message.push_str(why);
        }
        Some((true, "PartialMetrics", message))
    }
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
    /// Scale-ups in a row, of APA on a value that no pod reports.
    pub(super) climb: Option<Climb>,
    /// Pods of the last round, by uid.
    pub(super) pods: BTreeMap<Box<str>, PodMemory>,
}

/// Scale-ups in a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Climb {
    /// Replicas before the first.
    pub(super) from: i32,
    /// The value then.
    pub(super) value: f64,
    /// How many there were.
    pub(super) steps: u32,
    /// No more, as long as the value does not move.
    pub(super) held: bool,
}

/// What this term knows of one pod.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct PodMemory {
    /// Its last value, and when; `None`: it has had none.
    pub(super) last: Option<(Timestamp, f64)>,
    /// Rounds in a row in which it was ready and had no value.
    pub(super) silent_rounds: u32,
}

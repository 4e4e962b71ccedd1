// SPDX-License-Identifier: Apache-2.0
//! Is this Lease meant for another controller?
//!
//! Pure. Two managers whose *different* controllers were given the same election id fight for one
//! lock, and one controller never runs. The label that every manager writes into its Leases tells.

use std::time::Duration;

use crate::clock::Instant;

use super::observation::Observation;

/// Label that names the controller for which a Lease is held.
pub(crate) const COMPONENT_LABEL: &str = "app.kubernetes.io/component";

/// Time between two reports of a lasting conflict.
const REPORT_PERIOD: Duration = Duration::from_secs(30);

/// Whether a Lease is held for the candidate's own controller, by its component label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ComponentMatch {
    /// Free, held by this candidate, or held for the same controller by another replica.
    Same,
    /// Held by somebody who sets no label: a Go manager or a foreign tool.
    Unlabelled {
        /// Identity of the holder.
        holder: String,
    },
    /// Held for another controller: a conflict.
    Other {
        /// The other controller.
        controller: String,
        /// Identity of the holder.
        holder: String,
    },
}

/// Compares the component label of `seen` with `controller`, for the candidate `me`.
pub(crate) fn component_match(
    seen: &Observation,
    controller: &str,
    me: &str,
    now: Instant,
) -> ComponentMatch {
    let Some(holder) = seen.live_rival(me, now).map(str::to_owned) else { return ComponentMatch::Same };
    let label = seen.lease().and_then(|lease| lease.metadata.labels.as_ref()?.get(COMPONENT_LABEL));
    match label {
        // Gone or emptied: there is no label to go by.
        None if seen.holder().is_none() => ComponentMatch::Same,
        None => ComponentMatch::Unlabelled { holder },
        Some(label) if label == controller => ComponentMatch::Same,
        Some(label) => ComponentMatch::Other { controller: label.clone(), holder },
    }
}

impl ComponentMatch {
    /// The other controller of a conflict.
    pub(crate) fn other(&self) -> Option<&str> {
        match self {
            Self::Other { controller, .. } => Some(controller),
            Self::Same | Self::Unlabelled { .. } => None,
        }
    }
}

/// What to report about a conflict now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Log it.
    pub log: bool,
    /// Emit the event.
    pub event: bool,
}

/// Decides how often a conflict is reported: the log once per 30 s, the event once per conflict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ReportLimiter {
    logged: Option<Instant>,
    /// The other party of the conflict for which an event was sent.
    event_for: Option<String>,
}

impl ReportLimiter {
    /// What to report now. `other`: with whom there is a conflict; `None`: there is none.
    pub(crate) fn report(&mut self, other: Option<&str>, now: Instant) -> Report {
        let Some(other) = other else {
            *self = Self::default();
            return Report::default();
        };
        let log = self.logged.is_none_or(|last| now.saturating_duration_since(last) >= REPORT_PERIOD);
        let event = self.event_for.as_deref() != Some(other);
        if log {
            self.logged = Some(now);
        }
        if event {
            self.event_for = Some(other.to_owned());
        }
        Report { log, event }
    }
}

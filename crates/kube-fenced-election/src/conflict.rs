// SPDX-License-Identifier: Apache-2.0
//! Is this Lease meant for another controller?
//!
//! Pure. Two managers whose *different* controllers were given the same election id fight for one
//! lock, and one controller never runs. The label that every manager writes into its Leases tells.

use std::time::Duration;

use crate::clock::Instant;

use super::observation::Observation;

/// Label that names the controller for which a Lease is held.
pub const COMPONENT_LABEL: &str = "app.kubernetes.io/component";

/// Time between two reports of a lasting conflict.
const REPORT_PERIOD: Duration = Duration::from_secs(30);

/// Whose Lease is it, as seen by a candidate?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenant {
    /// Nobody's, our own, or that of the same controller in another replica.
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

/// Whose Lease `seen` is for a candidate `me` of `controller`.
pub fn tenant_of(seen: &Observation, controller: &str, me: &str, now: Instant) -> Tenant {
    let Some(holder) = seen.live_rival(me, now).map(str::to_owned) else { return Tenant::Same };
    let label = seen.lease().and_then(|lease| lease.metadata.labels.as_ref()?.get(COMPONENT_LABEL));
    match label {
        // Gone or emptied: there is no label to go by.
        None if seen.holder().is_none() => Tenant::Same,
        None => Tenant::Unlabelled { holder },
        Some(label) if label == controller => Tenant::Same,
        Some(label) => Tenant::Other { controller: label.clone(), holder },
    }
}

impl Tenant {
    /// The other controller of a conflict.
    pub fn other(&self) -> Option<&str> {
        match self {
            Self::Other { controller, .. } => Some(controller),
            Self::Same | Self::Unlabelled { .. } => None,
        }
    }
}

/// What to say about a conflict now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Log it.
    pub log: bool,
    /// Emit the event.
    pub event: bool,
}

/// Decides how often a conflict is reported: the log once per 30 s, the event once per conflict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reports {
    logged: Option<Instant>,
    /// The other party of the conflict for which an event was sent.
    event_for: Option<String>,
}

impl Reports {
    /// Takes in with whom there is a conflict, if there is one, and says what to report.
    pub fn report(&mut self, other: Option<&str>, now: Instant) -> Report {
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

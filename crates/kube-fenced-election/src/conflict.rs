// SPDX-License-Identifier: Apache-2.0
//! Is this Lease meant for another controller?
//!
//! Pure. Two managers whose *different* controllers were given the same election id fight for one
//! lock, and one controller never runs. What the holder says tells: its own key on the Lease, or its presence. Labels
//! `app.kubernetes.io/…` prove nothing, because tools stamp their own values onto every object.

use std::time::Duration;

use crate::clock::Instant;

use super::{names::Names, observation::Observation, registry::Members};

/// Time between two reports of a lasting conflict.
const REPORT_PERIOD: Duration = Duration::from_secs(30);

/// Whether a Lease is held for the candidate's own controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ComponentMatch {
    /// Free, held by this candidate, or held for the same controller by another replica.
    Same,
    /// Held by somebody who does not say: a Go manager or a foreign tool.
    Unknown {
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

/// The controller for which `lease` is held, as its holder says; `None`: it does not say.
pub(crate) fn stated_controller<'a>(
    names: &Names,
    seen: &'a Observation,
    lease: &str,
    members: &'a Members,
) -> Option<&'a str> {
    labelled(names, seen).or_else(|| members.controller_of(seen.claimant()?, lease))
}

/// Compares the controller that the holder has stated with `controller`, for the candidate `me`.
pub(crate) fn component_match(
    seen: &Observation,
    stated: Option<&str>,
    controller: &str,
    me: &str,
    now: Instant,
) -> ComponentMatch {
    let Some(holder) = seen.live_rival(me, now).map(str::to_owned) else { return ComponentMatch::Same };
    match stated {
        // Gone or emptied: there is nothing to go by.
        None if seen.holder().is_none() => ComponentMatch::Same,
        None => ComponentMatch::Unknown { holder },
        Some(other) if other == controller => ComponentMatch::Same,
        Some(other) => ComponentMatch::Other { controller: other.to_owned(), holder },
    }
}

/// The controller in our own label, unless the Lease says that its holder did not write it: a Go manager keeps what
/// one of ours has left behind.
fn labelled<'a>(names: &Names, seen: &'a Observation) -> Option<&'a str> {
    let metadata = &seen.lease()?.metadata;
    let annotations = metadata.annotations.as_ref();
    let written_by = annotations.and_then(|annotations| annotations.get(&names.holder_annotation()));
    if written_by.is_some_and(|writer| seen.holder().is_some_and(|holder| holder != writer)) {
        return None;
    }
    metadata.labels.as_ref()?.get(&names.controller_label()).map(String::as_str)
}

impl ComponentMatch {
    /// The other controller of a conflict.
    pub(crate) fn other(&self) -> Option<&str> {
        match self {
            Self::Other { controller, .. } => Some(controller),
            Self::Same | Self::Unknown { .. } => None,
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

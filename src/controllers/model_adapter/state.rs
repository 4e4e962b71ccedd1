// SPDX-License-Identifier: Apache-2.0
//! What passes of one adapter remember within a term. Losing it is harmless: what is loaded where, the engines
//! say again.

use std::collections::{BTreeMap, BTreeSet};

use kube_fenced_election::clock::Timestamp;
use kube_loops::cluster::events::EventText;

/// Events that are kept for a status that can be written; beyond, the oldest are lost.
const UNTOLD: usize = 32;

/// State of one ModelAdapter; a fresh one knows nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct State {
    /// Failures in a row of a pod (by uid) that events have told of.
    pub(super) told: BTreeMap<Box<str>, u32>,
    /// Events of former passes whose status could not be written, oldest first.
    pub(super) untold: Vec<EventText>,
    /// Warnings that were sent: each is sent once.
    pub(super) warned: BTreeSet<String>,
    /// Pods (by uid) on which the adapter is not wanted any more.
    pub(super) unwanted: BTreeMap<Box<str>, UnloadAttempt>,
    /// A Service that the API server will not take as it is.
    pub(super) refused: Option<Refused>,
    /// All instances were lost, and none has taken their place yet.
    pub(super) recovering: bool,
    /// Since when a choice waits for measurements; `None`: none does.
    pub(super) measuring_since: Option<Timestamp>,
    /// When the deletion of the adapter was first seen.
    pub(super) deletion_seen_at: Option<Timestamp>,
    /// Pods (by uid) that were asked to unload because of the deletion.
    pub(super) unload_requested: BTreeSet<Box<str>>,
}

impl State {
    /// The events that a pass has to send, with those that former passes could not: each once.
    pub(super) fn with_untold(&self, events: Vec<EventText>) -> Vec<EventText> {
        let mut all = self.untold.clone();
        for event in events {
            if !all.contains(&event) {
                all.push(event);
            }
        }
        let surplus = all.len().saturating_sub(UNTOLD);
        all.drain(..surplus);
        all
    }
}

/// A pod on which the adapter is not wanted any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct UnloadAttempt {
    /// It was asked to unload.
    pub(super) asked: bool,
    /// Since when it was ready then; `None`: it was not.
    pub(super) ready_since: Option<Timestamp>,
}

/// A Service that was refused for what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// Generation of the ModelAdapter.
    pub(super) generation: Option<i64>,
    /// When it may be tried again.
    pub(super) until: Timestamp,
}

// SPDX-License-Identifier: Apache-2.0
//! What engines were asked, by whom and when: an oracle of tests reads it beside the audit log.

use std::{collections::BTreeMap, net::IpAddr};

use parking_lot::Mutex;
use serde::Serialize;

use kube_fenced_election::clock::Timestamp;

/// One request to a pod that has an engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When its head had arrived.
    pub at: Timestamp,
    /// The pod.
    pub pod: IpAddr,
    /// The port at which it was asked.
    pub port: u16,
    /// `GET`, `POST`, …
    pub method: String,
    /// Path without query.
    pub path: String,
    /// Headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Body; `None`: it has not come whole (yet).
    pub body: Option<String>,
    /// What the engine did; `None`: nothing that lasts.
    pub effect: Option<Effect>,
    /// Status of the answer; `None`: there is none (yet).
    pub status: Option<u16>,
}

/// What a request did to an engine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// It loads this adapter, at once or after its load time.
    Loaded(String),
    /// It has unloaded this adapter.
    Unloaded(String),
}

impl Entry {
    /// A header; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> serde_json::Value {
        self.body.as_deref().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default()
    }
}

/// The requests so far.
#[derive(Debug, Default)]
pub struct Journal {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<Entry>,
    /// Entries that were forgotten: numbers go on.
    forgotten: usize,
}

impl Journal {
    /// All of them, in the order of their arrival.
    pub fn entries(&self) -> Vec<Entry> {
        self.state.lock().entries.clone()
    }

    /// Those of one pod.
    pub fn of(&self, pod: IpAddr) -> Vec<Entry> {
        self.state.lock().entries.iter().filter(|entry| entry.pod == pod).cloned().collect()
    }

    /// Forgets them.
    pub fn clear(&self) {
        let mut state = self.state.lock();
        state.forgotten += state.entries.len();
        state.entries.clear();
    }

    /// Writes a request down and returns its number.
    pub(super) fn begin(&self, entry: Entry) -> usize {
        let mut state = self.state.lock();
        state.entries.push(entry);
        state.forgotten + state.entries.len() - 1
    }

    /// Adds to a request what is known by now.
    pub(super) fn amend(&self, number: usize, change: impl FnOnce(&mut Entry)) {
        let mut state = self.state.lock();
        let place = number.checked_sub(state.forgotten);
        if let Some(entry) = place.and_then(|place| state.entries.get_mut(place)) {
            change(entry);
        }
    }
}

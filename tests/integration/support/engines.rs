// SPDX-License-Identifier: Apache-2.0
//! The oracle's fifth question: did a deposed leader change anything in an engine?
//!
//! Engines are no part of the API server, so no audit log knows of it: this reads what the engines of the
//! test were asked, and the history of the Lease.

use aibrix_controller_manager::clock::Timestamp;

use super::{
    audit::Caller,
    leases::{Change, holdings},
};

/// A request that changes an engine: an adapter loaded or unloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// When it arrived.
    pub(crate) at: Timestamp,
    /// The process that asked.
    pub(crate) identity: String,
    /// What was asked of whom.
    pub(crate) what: String,
}

impl Asked {
    /// A request as an engine saw it; `None` when it changes nothing, or nobody of ours asked.
    pub(crate) fn of(at: Timestamp, user_agent: &str, method: &str, path: &str) -> Option<Self> {
        let changes = method != "GET" && (path.contains("lora_adapter") || path.contains("/models"));
        let caller = Caller::parse(user_agent).filter(|_| changes)?;
        Some(Self { at, identity: caller.identity, what: format!("{method} {path}") })
    }
}

/// The requests by processes that did not hold the controller's Lease, whose history `changes` is, when they
/// arrived. A holder that was robbed has the same notice as for writes.
pub(crate) fn asked_without_lease<'a>(asked: &'a [Asked], changes: &[Change]) -> Vec<&'a Asked> {
    let held = holdings(changes);
    let may = |it: &&Asked| {
        held.iter().any(|term| term.identity == it.identity && term.from <= it.at && it.at <= term.notice)
    };
    asked.iter().filter(|it| !may(it)).collect()
}

// SPDX-License-Identifier: Apache-2.0
//! The oracle's fifth question: did a deposed leader change anything in an engine?
//!
//! Engines are no part of the API server, so no audit log knows of it: this reads what the engines of the
//! test were asked, and the history of the Lease. A second reading of the same journal: was an adapter that is
//! wanted on one pod ever on two?

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use aibrix_controller_manager::testkit::fake_engine::{Effect, Entry};
use kube_fenced_election::clock::Timestamp;

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

    /// The changes that engines were asked for: they act on whole requests only.
    pub(crate) fn all(journal: &[Entry]) -> Vec<Self> {
        let whole = journal.iter().filter(|entry| entry.body.is_some());
        whole.filter_map(|it| Self::of(it.at, it.header("user-agent"), &it.method, &it.path)).collect()
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

/// Loads of adapters on a second pod while they were on a living first, in words: for those that `single` names,
/// which are wanted on one pod. A pod lives until `deaths` says when it began to die.
pub(crate) fn placed_twice(
    journal: &[Entry],
    single: impl Fn(&str) -> bool,
    deaths: &BTreeMap<IpAddr, Timestamp>,
) -> Vec<String> {
    let mut on: BTreeMap<&str, BTreeSet<IpAddr>> = BTreeMap::new();
    let mut found = Vec::new();
    for entry in journal {
        match &entry.effect {
            Some(Effect::Loaded(name)) if single(name) => {
                let pods = on.entry(name).or_default();
                pods.retain(|pod| deaths.get(pod).is_none_or(|death| entry.at < *death));
                pods.insert(entry.pod);
                if pods.len() > 1 {
                    let who = entry.header("user-agent");
                    found.push(format!(
                        "{name} was loaded on {} of {pods:?} at {}, by {who}",
                        entry.pod, entry.at
                    ));
                }
            }
            Some(Effect::Unloaded(name)) => {
                on.entry(name).or_default().remove(&entry.pod);
            }
            Some(Effect::Loaded(_)) | None => {}
        }
    }
    found
}

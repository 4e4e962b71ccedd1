// SPDX-License-Identifier: Apache-2.0
//! The oracle: who held which Lease when, and who wrote without holding it.
//!
//! Reads only the audit log, so it shares no code and no belief with the elections that it judges. All times
//! are the API server's, so skewed clocks of the processes do not matter.

use std::{collections::BTreeMap, time::Duration};

use kube_fenced_election::clock::Timestamp;
use serde_json::Value;

use super::audit::Entry;

/// Namespace and name of a Lease.
pub(crate) type LeaseKey = (String, String);

/// One successful change of a Lease: what it left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// When the request arrived.
    pub(crate) received: Timestamp,
    /// When it was answered.
    pub(crate) finished: Timestamp,
    /// The holder; empty when released or deleted.
    pub(crate) holder: String,
    /// Lease duration; zero when the Lease names none.
    pub(crate) duration: Duration,
    /// The controller in the label `leaders.aibrix.ai/controller`; empty without it.
    pub(crate) component: String,
    /// `leaseTransitions`.
    pub(crate) transitions: i64,
    /// `resourceVersion`; `None` for a deletion.
    pub(crate) version: Option<u64>,
    /// Identity of the process of ours that wrote; `None` for anybody else.
    pub(crate) writer: Option<String>,
}

/// A time in which one identity held one Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holding {
    /// The controller that the Lease is for.
    pub(crate) component: String,
    /// Who held it.
    pub(crate) identity: String,
    /// Arrival of the request that won it.
    pub(crate) from: Timestamp,
    /// The end: release or expiry, whichever came first.
    pub(crate) until: Timestamp,
    /// The end of the time in which the holder cannot know yet that it was robbed; equal to `until`
    /// otherwise.
    pub(crate) notice: Timestamp,
    /// The end of the term by the holder's own last write, whatever others have done to the Lease since; equal to
    /// `until` when the holder gave it away.
    pub(crate) claim: Timestamp,
    /// Whether a process of ours wrote the holder.
    pub(crate) ours: bool,
}

/// A change by a controller that did not hold its Lease.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    /// The request.
    pub(crate) entry: Entry,
    /// What the controller's Lease looked like to its process.
    pub(crate) reason: String,
}

/// What [`who_wrote_without_lease`] found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict {
    /// Changes without a Lease. Must be empty.
    pub(crate) violations: Vec<Violation>,
    /// Changes by a holder that had been robbed of its Lease (overwritten or deleted by somebody who ignores
    /// the protocol) less than the notice ago. Only tests that rob may have any.
    pub(crate) in_notice: Vec<Entry>,
    /// Changes later than that, by a robbed holder whose own term would still run: right only when it could not hear,
    /// because somebody had cut it off. Nobody else leads then either: candidates respect a claim to its end.
    pub(crate) unheard: Vec<Entry>,
    /// Changes that a process of ours asked for in its own name, not in that of a controller: its certificates
    /// for instance. Such need no Lease.
    pub(crate) by_processes: Vec<Entry>,
    /// Changes that were judged; a verdict about none proves nothing.
    pub(crate) judged: usize,
}

/// The controllers: whatever else a process names in its `User-Agent` needs no Lease.
const CONTROLLERS: [&str; 7] = aibrix_controller_manager::internals::NAMES;

/// How long the holder of a Lease that lasts `duration` may go on when a stranger has robbed it: its watch has to
/// bring the news, or, where that is broken, its next renewal, a third of the duration later; and requests under
/// way have to end. Nobody of ours leads meanwhile: candidates respect its claim for a whole duration.
pub(crate) fn notice(duration: Duration) -> Duration {
    duration / 3 + Duration::from_secs(1)
}

/// The successful changes of each Lease, in the order in which they were stored.
pub(crate) fn history(entries: &[Entry]) -> BTreeMap<LeaseKey, Vec<Change>> {
    let mut all: BTreeMap<LeaseKey, Vec<Change>> = BTreeMap::new();
    for entry in entries.iter().filter(|it| it.is_lease() && it.is_write() && it.is_ok()) {
        let Some(object) = &entry.object else { continue };
        all.entry((object.namespace.clone(), object.name.clone())).or_default().push(Change::of(entry));
    }
    for changes in all.values_mut() {
        changes.sort_by_key(|it| it.finished);
        // Two answers may overtake each other; versions tell the true order, between deletions.
        for life in changes.chunk_by_mut(|a, b| a.version.is_some() && b.version.is_some()) {
            life.sort_by_key(|it| it.version);
        }
    }
    all
}

/// The successful changes of one Lease, in the same order; none when nobody wrote it.
pub(crate) fn history_of(entries: &[Entry], namespace: &str, name: &str) -> Vec<Change> {
    history(entries).remove(&(namespace.to_owned(), name.to_owned())).unwrap_or_default()
}

/// The times in which somebody held the Lease whose `changes` these are.
pub(crate) fn holdings(changes: &[Change]) -> Vec<Holding> {
    let mut holdings: Vec<Holding> = Vec::new();
    for (n, change) in changes.iter().enumerate().filter(|(_, it)| !it.holder.is_empty()) {
        let expiry = change.received + change.duration;
        let next = changes.get(n + 1).filter(|next| next.holder != change.holder);
        // An end before the expiry that the holder did not write itself.
        let robbed = next
            .filter(|next| next.received < expiry && next.writer.as_deref() != Some(change.holder.as_str()));
        let until = next.map_or(expiry, |next| expiry.min(next.received));
        let notice = robbed.map_or(until, |next| expiry.min(next.finished + notice(change.duration)));
        let claim = if robbed.is_some() { expiry } else { until };
        match holdings.last_mut() {
            Some(last)
                if last.identity == change.holder
                    && last.component == change.component
                    && change.received <= last.until =>
            {
                last.until = until;
                last.notice = notice;
                last.claim = claim;
            }
            _ => holdings.push(Holding {
                component: change.component.clone(),
                identity: change.holder.clone(),
                from: change.received,
                until,
                notice,
                claim,
                ours: change.writer.is_some(),
            }),
        }
    }
    holdings
}

/// Judges every change that a controller asked for, by the `User-Agent` of the request.
///
/// A change is right when the process held, on arrival of the request, a Lease with the controller's name in
/// its label `leaders.aibrix.ai/controller`. The bound is the Lease's own: from the arrival of the request
/// that won it until (arrival of the last renewal + lease duration), or until the arrival of the request
/// that released it. This is the widest bound that is still safe: no candidate that follows the protocol can
/// win earlier than that, because it waits a whole lease duration after it *saw* the renewal, which is
/// later; and the holder itself stops earlier by a margin, because it counts from *before* it sent the
/// renewal. Refused changes count as well: the attempt is the fault.
///
/// Left out are the Leases themselves and the Events about them, which electors write at the end of a term.
pub(crate) fn who_wrote_without_lease(entries: &[Entry]) -> Verdict {
    let changes = history(entries);
    let mut held: BTreeMap<&str, Vec<Holding>> = BTreeMap::new();
    let all: Vec<Holding> = changes.values().flat_map(|changes| holdings(changes)).collect();
    for holding in &all {
        held.entry(holding.component.as_str()).or_default().push(holding.clone());
    }
    let mut verdict = Verdict::default();
    let by_process = |it: &&Entry| it.caller.as_ref().is_some_and(|it| !is_controller(&it.controller));
    let writes = entries.iter().filter(|it| it.is_write() && !it.is_lease());
    verdict.by_processes = writes.filter(by_process).cloned().collect();
    for entry in judged(entries) {
        let Some(caller) = &entry.caller else { continue };
        verdict.judged += 1;
        let own = held.get(caller.controller.as_str()).map(Vec::as_slice).unwrap_or_default();
        let at = entry.received;
        let mine = || own.iter().filter(|it| it.identity == caller.identity);
        if mine().any(|it| it.from <= at && at <= it.until) {
            continue;
        }
        if mine().any(|it| it.from <= at && at <= it.notice) {
            verdict.in_notice.push(entry.clone());
            continue;
        }
        let alone = |term: &Holding| !own.iter().any(|it| it.ours && term.from < it.from && it.from <= at);
        if mine().any(|it| it.from <= at && at <= it.claim && alone(it)) {
            verdict.unheard.push(entry.clone());
            continue;
        }
        let reason = match mine().rfind(|it| it.from <= at) {
            Some(last) => {
                format!("its last term ended {:#} earlier", last.until.until(at).unwrap_or_default())
            }
            None => "it had never held the Lease".to_owned(),
        };
        verdict.violations.push(Violation { entry: entry.clone(), reason });
    }
    verdict
}

/// The changes that controllers of ours asked for and that a Lease must cover: all but those of Leases and of Events
/// about them.
pub(crate) fn judged(entries: &[Entry]) -> Vec<&Entry> {
    let leases = history(entries);
    let writes = entries.iter().filter(|it| it.is_write() && !it.is_lease());
    let by_controller = |it: &&Entry| it.caller.as_ref().is_some_and(|it| is_controller(&it.controller));
    writes.filter(by_controller).filter(|it| !is_about_a_lease(it, &leases)).collect()
}

fn is_controller(name: &str) -> bool {
    CONTROLLERS.contains(&name)
}

/// The times between `from` and `to` in which nobody held the Lease, longest first.
pub(crate) fn gaps(changes: &[Change], from: Timestamp, to: Timestamp) -> Vec<Duration> {
    let mut covered = from;
    let mut gaps = Vec::new();
    for holding in holdings(changes) {
        let start = holding.from.clamp(from, to);
        if start > covered {
            gaps.push(between(covered, start));
        }
        covered = covered.max(holding.until.clamp(from, to));
    }
    if to > covered {
        gaps.push(between(covered, to));
    }
    gaps.sort_unstable_by(|a, b| b.cmp(a));
    gaps
}

impl Verdict {
    /// Fails the test when anything was written without a Lease, or nothing was judged.
    ///
    /// # Panics
    /// With the violations.
    pub(crate) fn assert_clean(&self) {
        assert!(self.judged > 0, "no controller changed anything: the verdict would prove nothing");
        let lines: String = self.violations.iter().take(20).map(Violation::line).collect();
        assert!(self.violations.is_empty(), "{} changes without a Lease:\n{lines}", self.violations.len());
        assert!(self.unheard.is_empty(), "changes long after a robbery: {:?}", self.unheard);
    }
}

impl Violation {
    fn line(&self) -> String {
        let Entry { verb, received, caller, uri, .. } = &self.entry;
        let (who, process) =
            caller.as_ref().map(|it| (it.controller.as_str(), it.identity.as_str())).unwrap_or_default();
        format!("  {received} {who} in {process}: {verb} {uri}: {}\n", self.reason)
    }
}

impl Change {
    fn of(entry: &Entry) -> Self {
        let deleted = entry.verb.starts_with("delete");
        let lease = entry.response.as_ref().filter(|_| !deleted).cloned().unwrap_or_default();
        let text =
            |pointer: &str| lease.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |pointer: &str| lease.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
        Self {
            received: entry.received,
            finished: entry.finished,
            holder: text("/spec/holderIdentity"),
            duration: Duration::from_secs(
                u64::try_from(number("/spec/leaseDurationSeconds")).unwrap_or_default(),
            ),
            component: text("/metadata/labels/leaders.aibrix.ai~1controller"),
            transitions: number("/spec/leaseTransitions"),
            version: text("/metadata/resourceVersion").parse().ok(),
            writer: entry.caller.as_ref().map(|caller| caller.identity.clone()),
        }
    }
}

/// Whether it is an Event about a Lease: such are named after it.
fn is_about_a_lease(entry: &Entry, leases: &BTreeMap<LeaseKey, Vec<Change>>) -> bool {
    let Some(object) = entry.object.as_ref().filter(|object| object.resource == "events") else {
        return false;
    };
    let about = object.name.rsplit_once('.').map(|(name, _hash)| name.to_owned()).unwrap_or_default();
    leases.contains_key(&(object.namespace.clone(), about))
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    to.duration_since(from).try_into().unwrap_or_default()
}

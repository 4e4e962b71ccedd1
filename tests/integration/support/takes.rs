// SPDX-License-Identifier: Apache-2.0
//! The oracle's second question: did anybody take a Lease while another's term still ran?
//!
//! Reads the audit log and the history that [`super::leases::history`] made of it.

use std::time::Duration;

use kube_fenced_election::clock::Timestamp;

use super::{audit::Entry, leases::Change, write_gaps::Span};

/// A Lease taken from a holder whose term had not ended: two holders in one term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EarlyTake {
    /// When the request that took it arrived.
    pub(crate) at: Timestamp,
    /// When the term would have ended.
    pub(crate) until: Timestamp,
    /// Whose term it was.
    pub(crate) from: String,
    /// Who took it.
    pub(crate) by: String,
    /// Whether a process of ours asked; `false` for anybody else.
    pub(crate) by_ours: bool,
    /// When somebody else first deleted or edited the Lease after the holder's last own write; `None` when
    /// nobody did. Who came later than that could not know of the term.
    pub(crate) edited: Option<Timestamp>,
}

/// A term that runs.
struct Claim {
    holder: String,
    until: Timestamp,
    /// The holder is no process of ours: everything that keeps its name counts as its own writing.
    foreign: bool,
    edited: Option<Timestamp>,
}

/// The takes in the history of one Lease that came too early.
///
/// A term lasts from the holder's own last write for the duration that this write names, counted from the
/// arrival of the request; only the holder's own release ends it earlier. Deletions, and edits by others
/// that leave the holder's name, neither shorten nor lengthen it: the holder may not have seen them. A
/// candidate that waits for a whole duration *after it saw* the last write can never take early by this
/// measure.
pub(crate) fn taken_early(changes: &[Change]) -> Vec<EarlyTake> {
    let mut early = Vec::new();
    let mut claim: Option<Claim> = None;
    for change in changes {
        let until = change.received + change.duration;
        let foreign = change.writer.is_none();
        let by_holder = change.writer.as_deref() == Some(change.holder.as_str());
        claim = match claim {
            Some(claim) if change.holder.is_empty() => {
                let released = change.version.is_some()
                    && if claim.foreign {
                        foreign
                    } else {
                        change.writer.as_deref() == Some(claim.holder.as_str())
                    };
                (!released).then(|| claim.edited_at(change.received))
            }
            None if change.holder.is_empty() => None,
            Some(claim) if claim.holder == change.holder => {
                let renewed = by_holder || claim.foreign;
                Some(if renewed {
                    Claim { until, edited: None, ..claim }
                } else {
                    claim.edited_at(change.received)
                })
            }
            before => {
                if let Some(robbed) = before.filter(|it| change.received < it.until) {
                    early.push(EarlyTake {
                        at: change.received,
                        until: robbed.until,
                        from: robbed.holder,
                        by: change.holder.clone(),
                        by_ours: !foreign,
                        edited: robbed.edited,
                    });
                }
                Some(Claim { holder: change.holder.clone(), until, foreign, edited: None })
            }
        };
    }
    early
}

impl Claim {
    fn edited_at(self, at: Timestamp) -> Self {
        Self { edited: self.edited.or(Some(at)), ..self }
    }
}

/// Whether that process could have seen what the Leases looked like before `edited`: a process reads them
/// all within a moment of its first request.
pub(crate) fn was_there(identity: &str, edited: Timestamp, entries: &[Entry]) -> bool {
    const START: Duration = Duration::from_secs(1);
    let own = entries.iter().filter(|it| it.caller.as_ref().is_some_and(|by| by.identity == identity));
    own.map(|it| it.received).min().is_some_and(|first| first + START < edited)
}

/// Whether the holder asked for its release and got an error of the server's: 5xx does not say that nothing was
/// stored, and that somebody could take the Lease shows that it was.
pub(crate) fn gave_it_away(holder: &str, lease: &str, entries: &[Entry], (from, until): Span) -> bool {
    entries.iter().any(|it| {
        let by_holder = it.caller.as_ref().is_some_and(|by| by.identity == holder);
        let about = it.is_lease() && it.object.as_ref().is_some_and(|object| object.name == lease);
        let spec = it.request.as_ref().and_then(|it| it.pointer("/spec/holderIdentity"));
        let releases = spec.is_some_and(|it| it.as_str().is_none_or(str::is_empty));
        by_holder && about && releases && it.code >= 500 && from <= it.received && it.received <= until
    })
}

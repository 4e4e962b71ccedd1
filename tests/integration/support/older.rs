// SPDX-License-Identifier: Apache-2.0
//! The oracle's question about the Lease of older managers: did one of them work beside our controllers?
//!
//! A Go manager runs all controllers under one Lease; ours hold it as a group while any of them leads. Reads
//! the audit log and the histories that [`super::leases::history`] made of it. No time in a Lease is looked
//! at, only when its writes arrived: wall clocks of managers do not matter.

use std::time::Duration;

use kube_fenced_election::clock::Timestamp;

use super::{
    audit::Entry,
    leases::{self, Change, notice},
    takes::{EarlyTake, taken_early},
    write_gaps::Span,
};

/// The default Lease of older managers.
pub(crate) const LEGACY: &str = "aibrix-controller-manager";
/// The name under which ours hold it.
pub(crate) const GROUP: &str = "aibrix-controller-manager-group";

/// How long a controller that is asked to leave may go on before its fence is closed.
const LEAVE: Duration = Duration::from_secs(5);
/// All controllers of ours have started this long after an older manager's claim has ended.
pub(crate) const START: Duration = Duration::from_secs(2);
/// What two clocks that count a claim may differ by.
const ACCURACY: Duration = Duration::from_millis(100);

/// A time in which the claim of one older manager ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reign {
    /// Who held the Lease.
    pub(crate) holder: String,
    /// Arrival of the write that put it there.
    pub(crate) from: Timestamp,
    /// When that write was answered: it can be seen from then on.
    pub(crate) seen: Timestamp,
    /// The end of the claim: its release, or arrival of its last write + the duration that this stored. A
    /// take by somebody else does not end it earlier: the holder need not know of that.
    pub(crate) until: Timestamp,
    /// The end of our group's claim: arrival of its last successful write before that + the duration that
    /// this stored, or its release. `None`: it never had one.
    pub(crate) group: Option<Timestamp>,
    /// The lease duration of the group; the holder's own when there was no group.
    pub(crate) duration: Duration,
}

/// Writes of our controllers during a [`Reign`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Beside {
    /// Nothing excuses these: our right had ended.
    pub(crate) wrong: Vec<(Reign, Entry)>,
    /// Later than the notice and within our group's claim: right only for a process that could not hear of
    /// the older manager, because somebody had cut it off.
    pub(crate) unheard: Vec<(Reign, Entry)>,
    /// Within the notice.
    pub(crate) in_notice: usize,
}

/// A controller's Lease that one of ours wrote during a [`Reign`] when it should have left it alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LedOn {
    /// When the request arrived.
    pub(crate) at: Timestamp,
    /// Who asked.
    pub(crate) by: String,
    /// Whether it took the Lease; `false`: it renewed it.
    pub(crate) took: bool,
    /// The older manager beside which it did.
    pub(crate) beside: Reign,
}

/// The first write of a controller's Lease by one of ours after a [`Reign`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Return {
    /// When nobody's claim stood in its way any more: neither the older manager's nor that of the Lease's
    /// last holder.
    pub(crate) due: Timestamp,
    /// When the request arrived.
    pub(crate) at: Timestamp,
    /// The older manager.
    pub(crate) after: String,
}

/// The reigns in the history of the older managers' Lease. A renewal that arrives when the claim has ended
/// begins another one.
pub(crate) fn reigns(changes: &[Change]) -> Vec<Reign> {
    let mut all: Vec<Reign> = Vec::new();
    let mut goes_on = false;
    let mut group: Option<(Timestamp, Duration)> = None;
    for change in changes {
        let until = change.received + change.duration;
        if change.holder == GROUP {
            group = Some((until, change.duration));
            goes_on = false;
        } else if !change.holder.is_empty() {
            match all
                .last_mut()
                .filter(|it| goes_on && it.holder == change.holder && change.received <= it.until)
            {
                Some(last) => last.until = until,
                None => all.push(Reign {
                    holder: change.holder.clone(),
                    from: change.received,
                    seen: change.finished,
                    until,
                    group: group.map(|it| it.0),
                    duration: group.map_or(change.duration, |it| it.1),
                }),
            }
            goes_on = true;
        } else if change.version.is_some() && change.writer.is_some() {
            group = group.map(|(until, duration)| (until.min(change.received), duration));
        } else if change.version.is_some()
            && let Some(last) = all.last_mut().filter(|_| goes_on)
        {
            last.until = last.until.min(change.received);
            goes_on = false;
        }
    }
    all
}

impl Reign {
    fn has(&self, at: Timestamp) -> bool {
        self.from < at && at < self.until
    }

    /// Until when our controllers may write at most: our group's claim, and the reign's beginning when that
    /// had ended before.
    fn claim(&self) -> Timestamp {
        self.group.map_or(self.from, |it| it.max(self.from))
    }

    /// Until when a process of ours need not have heard of it.
    fn heard(&self) -> Timestamp {
        self.seen + notice(self.duration)
    }
}

/// Judges every change that a controller of ours asked for while an older manager's claim ran.
///
/// Two rules bound them. Whoever sees another holder in the Lease asks its controllers to leave, and 5 s
/// later at the latest their fences are closed; it sees it in its watch, or, where that is broken, when it
/// next renews the group's claim, a third of the stored duration after the last time ([`notice`], in which a
/// second for requests that are on their way is included). So the notice ends `duration / 3 + 1 s + 5 s`
/// after the write of the older manager was answered. And whatever a process has heard, its right to write
/// ends with the group's claim, which only its own successful write of the Lease extends: nothing is right
/// later than (arrival of the group's last write + stored duration), and nothing at all beside somebody who
/// took the Lease after that. The right counts from before the request was sent, less a margin for requests
/// on their way: no tolerance.
pub(crate) fn worked_beside(entries: &[Entry], reigns: &[Reign]) -> Beside {
    let mut beside = Beside::default();
    if reigns.is_empty() {
        return beside;
    }
    for entry in leases::judged(entries) {
        let at = entry.received;
        let Some(reign) = reigns.iter().rfind(|it| it.has(at)) else { continue };
        if at > reign.claim() {
            beside.wrong.push((reign.clone(), entry.clone()));
        } else if at > reign.heard() + LEAVE {
            beside.unheard.push((reign.clone(), entry.clone()));
        } else {
            beside.in_notice += 1;
        }
    }
    beside
}

/// The changes that our controllers asked for while no claim of our group ran, whoever of ours wrote it, each
/// with the end of the last one; those beside older managers are left to [`worked_beside`]. `changes` is the
/// history of the older managers' Lease; without any, elections do not regard one.
///
/// The right to write ends with the group's claim also when nobody has taken the Lease yet: an older manager
/// could win it and begin to work at any moment.
pub(crate) fn without_claim(entries: &[Entry], changes: &[Change]) -> Vec<(Option<Timestamp>, Entry)> {
    if changes.is_empty() {
        return Vec::new();
    }
    let mut claims: Vec<Span> = Vec::new();
    for change in changes.iter().filter(|it| it.writer.is_some()) {
        if change.holder == GROUP {
            claims.push((change.received, change.received + change.duration));
        } else if change.version.is_some() {
            for claim in &mut claims {
                claim.1 = claim.1.min(change.received);
            }
        }
    }
    let reigns = reigns(changes);
    let missing = |entry: &Entry| {
        let at = entry.received;
        let claimed = claims.iter().any(|it| it.0 <= at && at <= it.1);
        if claimed || reigns.iter().any(|it| it.has(at)) {
            return None;
        }
        let last = claims.iter().filter(|it| it.0 <= at).map(|it| it.1).max();
        Some((last, entry.clone()))
    };
    leases::judged(entries).into_iter().filter_map(missing).collect()
}

/// The takes of the older managers' Lease by our group before the claim of its holder had ended.
pub(crate) fn taken_from_older(changes: &[Change]) -> Vec<EarlyTake> {
    let ours = |change: &Change| {
        let group = change.holder == GROUP || change.holder.is_empty();
        change.writer.clone().map(|writer| if group { GROUP.to_owned() } else { writer })
    };
    let as_group: Vec<Change> = changes.iter().map(|it| Change { writer: ours(it), ..it.clone() }).collect();
    taken_early(&as_group).into_iter().filter(|it| it.by_ours).collect()
}

/// Where a controller's Lease, whose `changes` these are, was taken or kept by ours beside an older manager.
///
/// Nobody may take it when the notice of the older manager is over ([`notice`]); whoever holds it may renew
/// it until its fence is closed, 5 s later. A claim counts as ended a tenth of a second early.
pub(crate) fn led_on(changes: &[Change], reigns: &[Reign]) -> Vec<LedOn> {
    let mut all = Vec::new();
    for (n, change) in changes.iter().enumerate().filter(|(_, it)| is_own(it)) {
        let took = n.checked_sub(1).is_none_or(|before| changes[before].holder != change.holder);
        let right = if took { Duration::ZERO } else { LEAVE };
        let at = change.received;
        let during = |it: &&Reign| it.has(at + ACCURACY) && it.from < at && at > it.heard() + right;
        if let Some(reign) = reigns.iter().rfind(during) {
            let by = change.holder.clone();
            all.push(LedOn { at, by, took, beside: reign.clone() });
        }
    }
    all
}

/// When a controller's Lease, whose `changes` these are, was written by ours again after each reign. Reigns
/// that were followed by another before that are left out.
pub(crate) fn returns(changes: &[Change], reigns: &[Reign]) -> Vec<Return> {
    let holdings = leases::holdings(changes);
    let after = |(n, reign): (usize, &Reign)| {
        let ours = holdings.iter().filter(|it| it.ours && it.from <= reign.until);
        let due = ours.map(|it| it.claim).fold(reign.until, Timestamp::max);
        let at = changes.iter().filter(|it| is_own(it)).map(|it| it.received);
        let at = at.filter(|it| *it + ACCURACY >= reign.until).min()?;
        let next = reigns.get(n + 1).is_some_and(|next| next.from <= at);
        (!next).then(|| Return { due, at, after: reign.holder.clone() })
    };
    reigns.iter().enumerate().filter_map(after).collect()
}

/// Times in which no controller of ours need lead: while an older manager's claim runs, and [`START`] after
/// it.
pub(crate) fn absences(reigns: &[Reign]) -> Vec<Span> {
    reigns.iter().map(|it| (it.from, it.until + START)).collect()
}

/// Whether it is a holder's own write.
fn is_own(change: &Change) -> bool {
    !change.holder.is_empty() && change.writer.as_ref() == Some(&change.holder)
}

// SPDX-License-Identifier: Apache-2.0
//! The oracle's third question: for how long did a Lease go without a leader, and who held it at a moment?
//!
//! Reads the history that [`super::leases::history`] made of the audit log.

use std::time::Duration;

use kube_fenced_election::clock::Timestamp;

use super::leases::{Change, holdings};

/// A stretch of time.
pub(crate) type Span = (Timestamp, Timestamp);

/// A time between two writes of a Lease by its holders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WriteGap {
    /// The write before it.
    pub(crate) after: Timestamp,
    /// The write after it.
    pub(crate) until: Timestamp,
    /// How long it was, with what is excused left out.
    pub(crate) lasted: Duration,
}

/// The times between writes of a Lease by those of ours that hold it, in order.
///
/// `excused` are times in which nobody of ours could lead: no API server, no permission, a stranger who holds
/// the Lease. They may overlap. A leader renews three times per lease duration, so a Lease that nobody of
/// ours wrote for longer than the lease duration and a moment had no leader who could know that it leads.
/// Changes by anybody else count as its beginning, too: nobody who watches can tell whether the holder knows
/// of them, so everybody waits for a whole lease duration from there (section 4 of the specification).
pub(crate) fn write_gaps(changes: &[Change], excused: &[Span]) -> Vec<WriteGap> {
    let by_holder = |it: &&Change| !it.holder.is_empty() && it.writer.as_ref() == Some(&it.holder);
    let held: Vec<&Change> = changes.iter().filter(by_holder).collect();
    let write_gap = |pair: &[&Change]| {
        let (from, until) = (pair[0].received, pair[1].received);
        let edits = changes.iter().filter(|it| it.writer.is_none()).map(|it| it.received);
        let last = edits.filter(|it| from < *it && *it < until).max();
        let span = (last.unwrap_or(from), until);
        let lasted = without(span, excused);
        WriteGap { after: span.0, until, lasted }
    };
    held.windows(2).map(write_gap).collect()
}

/// Who held the Lease at that moment; `None`: nobody.
pub(crate) fn holder_at(changes: &[Change], moment: Timestamp) -> Option<String> {
    let all = holdings(changes);
    all.into_iter().find(|it| it.from <= moment && moment <= it.until).map(|it| it.identity)
}

/// How long a stretch of time is; zero when it is the wrong way round.
pub(crate) fn length((from, until): Span) -> Duration {
    until.duration_since(from).try_into().unwrap_or_default()
}

/// How long it is with `excused` left out, which may overlap.
pub(crate) fn without(span: Span, excused: &[Span]) -> Duration {
    length(span).saturating_sub(merged(excused).iter().map(|it| overlap(span, *it)).sum())
}

fn overlap(a: Span, b: Span) -> Duration {
    length((a.0.max(b.0), a.1.min(b.1)))
}

fn merged(spans: &[Span]) -> Vec<Span> {
    let mut spans = spans.to_vec();
    spans.sort_unstable();
    let mut all: Vec<Span> = Vec::new();
    for span in spans {
        match all.last_mut() {
            Some(last) if span.0 <= last.1 => last.1 = last.1.max(span.1),
            Some(_) | None => all.push(span),
        }
    }
    all
}

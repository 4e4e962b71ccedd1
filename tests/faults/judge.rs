// SPDX-License-Identifier: Apache-2.0
//! The judgement: what the audit log says about a campaign.
//!
//! The rules are those of the oracle ([`leases`], [`takes`](crate::support::takes), [`write_gaps`], [`doubles`],
//! [`older`](crate::support::older), [`engines`](crate::support::engines)), which is tried on doctored logs in `tests/integration/oracle.rs`. In here
//! they meet the story of what was done, for three reasons: only a controller whose Lease was edited may be a
//! moment late to notice, only times with a healthy replica, an API server and a machine that runs count as
//! leaderless, and hand-over times belong to the fault that caused them. That is tried on doctored logs in
//! `judge_tests.rs`.
//!
//! Known limit: an API server that is killed between storing a Lease and writing its line into the log leaves
//! a term without a beginning. It would show as a violation right after that restart; none has been seen.

use std::time::Duration;

use crate::{
    adapters::{self, Engines},
    campaign::{CONVERGENCE, Done, Story},
    inject, judge_older,
    judgement::Judgement,
    load::CHILDREN,
    plan::{Hits, Kind},
    support::{
        audit::Entry,
        doubles::{self, Doubled},
        engines::{Asked, asked_without_lease, placed_twice},
        install::NAMESPACE,
        leases::{self, Change, notice},
        older::{LEGACY, Reign, absences, reigns},
        probes::{CONTROLLERS, default_lease},
        takes::{gave_it_away, taken_early, was_there},
        write_gaps::{Span, holder_at, length, write_gaps},
    },
};

/// Nobody may lead for no longer than the lease duration and this.
const PATIENCE: Duration = Duration::from_secs(2);
/// The controller that loads adapters.
const ADAPTERS: &str = "model-adapter-controller";
/// A new binding of a role counts when the API server's own watch has seen it.
const GRANT: Duration = Duration::from_secs(1);

/// Judges the whole log of a campaign whose Leases last `lease`.
pub(crate) fn judge(entries: &[Entry], engines: &Engines, story: &Story, lease: Duration) -> Judgement {
    let mut judgement =
        Judgement { wrong: story.wrong.clone(), late: story.late.clone(), ..Judgement::default() };
    for done in &story.done {
        *judgement.faults.entry(done.fault.kind).or_default() += 1;
    }
    judge_writes(entries, story, notice(lease), &mut judgement);
    judge_children(entries, &mut judgement);
    let history = leases::history(entries);
    let legacy = history.get(&(NAMESPACE.to_owned(), LEGACY.to_owned())).map_or(&[][..], Vec::as_slice);
    let reigns = reigns(legacy);
    judge_older::together(entries, legacy, &reigns, story, &mut judgement);
    for controller in CONTROLLERS {
        let name = default_lease(controller);
        let Some(changes) = history.get(&(NAMESPACE.to_owned(), name.clone())) else {
            judgement.wrong.push(format!("{name} was never written"));
            continue;
        };
        for take in taken_early(changes).into_iter().filter(|it| it.by_ours) {
            if take.edited.is_some_and(|edited| !was_there(&take.by, edited, entries)) {
                judgement.takes_by_newcomers += 1;
                continue;
            }
            if gave_it_away(&take.from, &name, entries, (take.until - lease, take.at)) {
                continue;
            }
            judgement.wrong.push(format!(
                "two holders in one term: {} took {name} at {} from {}, whose term ran until {}",
                take.by, take.at, take.from, take.until
            ));
        }
        if controller == ADAPTERS {
            judge_engines(engines, changes, &mut judgement);
        }
        judge_gaps(&name, (changes, &reigns), story, lease, &mut judgement);
        judge_older::one(&name, changes, &reigns, story, &mut judgement);
        judge_end(&name, changes, story, &mut judgement);
        for done in &story.done {
            measure(&name, changes, done, &mut judgement);
        }
    }
    judgement
}

fn judge_writes(entries: &[Entry], story: &Story, notice: Duration, judgement: &mut Judgement) {
    let verdict = leases::who_wrote_without_lease(entries);
    judgement.judged = verdict.judged;
    judgement.in_notice = verdict.in_notice.len();
    if verdict.judged == 0 {
        judgement.wrong.push("no controller changed anything: the verdict would prove nothing".to_owned());
    }
    judgement.wrong.extend(verdict.violations.iter().map(|it| said(&it.entry, &it.reason)));
    judge_unheard(&verdict.unheard, story, notice, judgement);
    for entry in &verdict.in_notice {
        let lease = entry.caller.as_ref().map(|it| default_lease(&it.controller)).unwrap_or_default();
        let edited = story.done.iter().any(|done| {
            done.fault.kind.hits() == Hits::Lease
                && done.leases.contains_key(&lease)
                && done.from <= entry.received
                && entry.received <= done.until + notice
        });
        if !edited {
            judgement.wrong.push(said(entry, "robbed by nobody"));
        }
    }
}

/// A holder whose Lease somebody edits or deletes while it is cut off cannot hear of it, and may go on to the end of
/// its own term; nobody else leads then. `unheard` are the writes of such.
fn judge_unheard(unheard: &[Entry], story: &Story, notice: Duration, judgement: &mut Judgement) {
    judgement.unheard = unheard.len();
    for entry in unheard {
        let who = entry.caller.as_ref().map(|it| it.identity.clone()).unwrap_or_default();
        let cut_off = story.done.iter().any(|done| {
            done.fault.kind.breaks_watches()
                && done.leases.values().any(|holder| *holder == who)
                && done.from <= entry.received
                && entry.received <= done.until + notice
        });
        if !cut_off {
            judgement.wrong.push(said(entry, "robbed, and could have heard of it"));
        }
    }
}

fn said(entry: &Entry, why: &str) -> String {
    let who = entry.caller.as_ref().map(|it| format!("{} in {}", it.controller, it.identity));
    let who = who.unwrap_or_default();
    format!("write without a Lease: {} {who}: {} {}: {why}", entry.received, entry.verb, entry.uri)
}

fn judge_children(entries: &[Entry], judgement: &mut Judgement) {
    judgement.children = doubles::children_made(entries);
    for Doubled { parent, made, by } in doubles::made_twice(entries, CHILDREN) {
        judgement.wrong.push(format!("made twice: {parent} has {made} children of {CHILDREN}, by {by:?}"));
    }
}

/// No engine was changed by somebody who did not hold the adapters' Lease, and no adapter that is wanted on one
/// pod was on two.
fn judge_engines(engines: &Engines, changes: &[Change], judgement: &mut Judgement) {
    let asked = Asked::all(&engines.journal);
    judgement.engines_asked = asked.len();
    if asked.is_empty() {
        judgement.wrong.push("no engine was changed: the verdict would prove nothing".to_owned());
    }
    let bad = asked_without_lease(&asked, changes);
    judgement.wrong.extend(bad.iter().map(|it| format!("engine changed without a Lease: {it:?}")));
    let twice = placed_twice(&engines.journal, adapters::is_single, &engines.deaths);
    judgement.wrong.extend(twice.into_iter().map(|it| format!("placed twice: {it}")));
}

/// Times in which nobody of ours could lead: no API server, no permission, no claim of the group.
pub(crate) fn outages(story: &Story) -> Vec<Span> {
    let outages = story.done.iter().filter_map(|it| match it.fault.kind {
        Kind::Forbidden => Some((it.from, it.until + GRANT)),
        Kind::OlderWins => Some((it.from, it.until)),
        kind => (kind.hits() == Hits::All).then_some((it.from, it.until)),
    });
    outages.collect()
}

/// A replica whose every answer comes late learns of what happened within `span` as much later.
pub(crate) fn lateness(story: &Story, (from, to): Span) -> Duration {
    let slow = |it: &&Done| it.fault.kind == Kind::Slow && it.from <= to && from <= it.until;
    story.done.iter().find(slow).map_or(Duration::ZERO, |_| inject::LATENCY)
}

/// What took longer than it may counts only when the canary was never starved meanwhile.
pub(crate) fn note_late(text: String, span: Span, story: &Story, judgement: &mut Judgement) {
    if story.stalls.iter().any(|it| it.0 < span.1 && span.0 < it.1) {
        judgement.excused.push(text);
    } else {
        judgement.late.push(text);
    }
}

/// Between two writes of a Lease by those of ours that hold it must not lie more than the lease duration and
/// [`PATIENCE`]: two replicas at most are hit at a time, so one is always healthy.
fn judge_gaps(
    name: &str,
    (changes, reigns): (&[Change], &[Reign]),
    story: &Story,
    lease: Duration,
    judgement: &mut Judgement,
) {
    let strangers = changes.iter().filter(|it| it.writer.is_none() && it.holder.starts_with("thief"));
    let strangers = strangers.map(|it| (it.received, it.received + it.duration));
    let excused: Vec<Span> = outages(story).into_iter().chain(strangers).chain(absences(reigns)).collect();
    for write_gap in write_gaps(changes, &excused) {
        if write_gap.lasted > judgement.longest_write_gap.0 {
            judgement.longest_write_gap = (write_gap.lasted, format!("{name}, after {}", write_gap.after));
        }
        let span = (write_gap.after, write_gap.until);
        if write_gap.lasted > lease + PATIENCE + lateness(story, span) {
            let seconds = write_gap.lasted.as_secs_f64();
            let text = format!("{name} had no leader for {seconds:.1} s after {}", write_gap.after);
            note_late(text, span, story, judgement);
        }
    }
    let held = || changes.iter().filter(|it| !it.holder.is_empty() && it.writer.as_ref() == Some(&it.holder));
    if let (Some(first), Some(last)) = (held().next(), held().next_back()) {
        let longest = leases::gaps(changes, first.received, last.received).first().copied();
        judgement.longest_gap = judgement.longest_gap.max(longest.unwrap_or_default());
    }
}

/// Whoever leads in the end was seen to lead by the campaign, which looks at Leases; the log has to say so too. A
/// Lease that goes to a less loaded replica at that moment had a holder just before.
fn judge_end(name: &str, changes: &[Change], story: &Story, judgement: &mut Judgement) {
    match story.converged {
        Some(moment)
            if [0, 1, 2].iter().all(|it| holder_at(changes, moment - Duration::from_secs(*it)).is_none()) =>
        {
            judgement.late.push(format!("{name} has no holder when everything is said to work"));
        }
        Some(_) => {}
        None => judgement.late.push(format!("{name}: not within {CONVERGENCE:?} of the last fault")),
    }
}

/// What became of one Lease under one fault.
fn measure(name: &str, changes: &[Change], done: &Done, judgement: &mut Judgement) {
    let Some(before) = done.leases.get(name) else { return };
    let kind = done.fault.kind;
    let hits_replica = matches!(kind.hits(), Hits::Replica | Hits::Proxied);
    let from = if matches!(kind.hits(), Hits::All | Hits::Older) { done.until } else { done.from };
    let held_again = changes.iter().position(|it| {
        it.received >= from
            && it.received <= done.settled
            && !it.holder.is_empty()
            && it.writer.as_ref() == Some(&it.holder)
            && (!hits_replica || it.holder != *before)
    });
    let Some(at) = held_again else {
        *judgement.kept.entry(kind).or_default() += 1;
        return;
    };
    // After a release, the hand-over is the successor's part of the time.
    let released = changes[..at]
        .last()
        .filter(|it| it.received >= from && it.holder.is_empty() && it.writer.as_ref() == Some(before));
    let from = released.map_or(from, |it| it.received);
    judgement.hand_overs.entry(kind).or_default().push(length((from, changes[at].finished)));
}

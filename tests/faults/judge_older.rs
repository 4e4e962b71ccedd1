// SPDX-License-Identifier: Apache-2.0
//! The part of the judgement that is about older managers, by the rules of [`older`](crate::support::older).

use kube_fenced_election::clock::Timestamp;

use crate::{
    campaign::Story,
    judge::{lateness, note_late, outages},
    judgement::Judgement,
    plan::Hits,
    support::{
        audit::Entry,
        leases::{Change, notice},
        older::{
            Beside, LedOn, Reign, Return, START, led_on, returns, taken_from_older, without_claim,
            worked_beside,
        },
        write_gaps::without,
    },
};

/// Whether an older manager and ours were both at work, and whether our group took its Lease too early.
/// `legacy` is the history of that Lease.
pub(crate) fn together(
    entries: &[Entry],
    legacy: &[Change],
    reigns: &[Reign],
    story: &Story,
    judgement: &mut Judgement,
) {
    judgement.reigns = reigns.len();
    let meant = story.done.iter().filter(|it| it.fault.kind.hits() == Hits::Older).count();
    if meant > reigns.len() {
        judgement.wrong.push(format!("an older manager had its Lease {} times, not {meant}", reigns.len()));
    }
    for take in taken_from_older(legacy) {
        judgement.wrong.push(format!(
            "the group took the older managers' Lease at {} from {}, whose claim ran until {}",
            take.at, take.from, take.until
        ));
    }
    let Beside { wrong, unheard, in_notice } = worked_beside(entries, reigns);
    judgement.beside_in_notice = in_notice;
    judgement.beside_unheard = unheard.len();
    let heard = unheard.into_iter().filter(|(reign, entry)| {
        let who = entry.caller.as_ref().map(|it| it.identity.as_str()).unwrap_or_default();
        !could_not_hear(who, entry.received, reign, story)
    });
    say_by_reign(&heard.collect::<Vec<_>>(), "could have heard of it", judgement);
    say_by_reign(&wrong, "the group's claim had ended", judgement);
    let claimless = without_claim(entries, legacy);
    for all in claimless.chunk_by(|a, b| a.0 == b.0) {
        let (Some((ended, first)), Some((_, last))) = (all.first(), all.last()) else { continue };
        let ended = ended.map_or_else(|| "it had never had one".to_owned(), |it| format!("it ended at {it}"));
        let (count, from, until) = (all.len(), first.received, last.received);
        judgement
            .wrong
            .push(format!("{count} writes from {from} to {until} without the claim of the group: {ended}"));
    }
}

/// A process that works beside an older manager writes as fast as it may: one line for all that it wrote.
fn say_by_reign(beside: &[(Reign, Entry)], why: &str, judgement: &mut Judgement) {
    for all in beside.chunk_by(|a, b| a.0 == b.0) {
        let [(reign, first), ..] = all else { continue };
        let last = all.last().map_or(first.received, |it| it.1.received);
        let who = first.caller.as_ref().map(|it| format!("{} in {}", it.controller, it.identity));
        let Reign { holder, from, until, .. } = reign;
        let (count, when, what) = (all.len(), first.received, format!("{} {}", first.verb, first.uri));
        judgement.wrong.push(format!(
            "both at work: {count} writes from {when} to {last} beside {holder} ({from} to {until}): {why}; the \
             first by {}: {what}",
            who.unwrap_or_default()
        ));
    }
}

/// Whether somebody had cut that process off when `reign` began, so that it need not have heard of it at
/// `at`.
fn could_not_hear(identity: &str, at: Timestamp, reign: &Reign, story: &Story) -> bool {
    story.done.iter().any(|done| {
        done.fault.kind.breaks_watches()
            && done.leases.values().any(|holder| holder == identity)
            && done.from <= at
            && at <= done.until + notice(reign.duration)
    })
}

/// Whether ours left one controller's Lease alone beside older managers, and had it again in time.
pub(crate) fn one(
    name: &str,
    changes: &[Change],
    reigns: &[Reign],
    story: &Story,
    judgement: &mut Judgement,
) {
    for LedOn { at, by, took, beside } in led_on(changes, reigns) {
        if could_not_hear(&by, at, &beside, story) {
            continue;
        }
        let did = if took { "took" } else { "kept" };
        judgement.wrong.push(format!("both at work: {by} {did} {name} at {at} beside {}", beside.holder));
    }
    for Return { due, at, after } in returns(changes, reigns) {
        let took = without((due, at), &outages(story));
        if took > START + lateness(story, (due, at)) {
            let seconds = took.as_secs_f64();
            let text =
                format!("{name} had no leader for {seconds:.1} s after {after}, whose claim ended, at {due}");
            note_late(text, (due, at), story, judgement);
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The table that a campaign prints.

use std::{fmt::Write as _, time::Duration};

use crate::judgement::Judgement;

/// How many lines of each kind are printed in full.
const SHOWN: usize = 40;

/// Faults by kind, hand-over times, and what was violated.
pub(crate) fn table(judgement: &Judgement) -> String {
    let mut text = "| Fault | Times | Leases handed over | kept | p50 | p95 | max |\n".to_owned();
    text.push_str("|---|---:|---:|---:|---:|---:|---:|\n");
    for (kind, count) in &judgement.faults {
        let mut times = judgement.hand_overs.get(kind).cloned().unwrap_or_default();
        times.sort_unstable();
        let kept = judgement.kept.get(kind).copied().unwrap_or_default();
        let (moved, p50, p95, max) =
            (times.len(), percentile(&times, 50), percentile(&times, 95), percentile(&times, 100));
        _ = writeln!(text, "| {kind} | {count} | {moved} | {kept} | {p50} | {p95} | {max} |");
    }
    text.push_str(
        "\nAfter a release the time counts from there; the spread over replicas moves Leases as well. After what \
         hits\nall replicas it counts from its end, after an older manager from the end of its claim.\n",
    );
    let Judgement { judged, in_notice, children, engines_asked, takes_by_newcomers, .. } = judgement;
    _ = writeln!(text);
    _ = writeln!(text, "Faults: {}", judgement.faults.values().sum::<usize>());
    _ = writeln!(text, "Writes judged: {judged}, of them within the notice of an edited Lease: {in_notice}");
    let unheard = judgement.unheard;
    _ = writeln!(text, "Writes by holders that were cut off when somebody edited their Lease: {unheard}");
    _ = writeln!(text, "Children made: {children}");
    _ = writeln!(text, "Engines asked to load or unload: {engines_asked}");
    _ = writeln!(text, "Edited Leases taken by processes that had not seen the holder: {takes_by_newcomers}");
    let ((write_gap, which), gap) = (&judgement.longest_write_gap, show(judgement.longest_gap));
    let write_gap = show(*write_gap);
    _ = writeln!(text, "Longest time between two writes of a Lease by its holders: {write_gap} ({which})");
    _ = writeln!(text, "Longest time in which no term of ours ran, those of older managers included: {gap}");
    let Judgement { reigns, beside_in_notice, beside_unheard, .. } = judgement;
    _ = writeln!(text, "Times that an older manager had its Lease: {reigns}");
    _ = writeln!(
        text,
        "Writes beside it within its notice: {beside_in_notice}, later by processes that were cut off: \
         {beside_unheard}"
    );
    let stalls = &judgement.stalls;
    let longest = show(stalls.iter().max().copied().unwrap_or_default());
    _ = writeln!(text, "The canary was starved: {} times, for {longest} at most", stalls.len());
    list(&mut text, "Late, with the canary starved meanwhile: not counted", &judgement.excused);
    list(&mut text, "WRONG", &judgement.wrong);
    list(&mut text, "LATE", &judgement.late);
    text.trim_end().to_owned()
}

fn list(text: &mut String, title: &str, lines: &[String]) {
    _ = writeln!(text, "{title}: {}", lines.len());
    for line in lines.iter().take(SHOWN) {
        _ = writeln!(text, "  {line}");
    }
}

/// The time that `percent` of the sorted `times` do not exceed; empty when there are none.
fn percentile(times: &[Duration], percent: usize) -> String {
    let at = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(at).copied().map(show).unwrap_or_default()
}

fn show(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

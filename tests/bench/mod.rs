// SPDX-License-Identifier: Apache-2.0
//! What the bench measures with, and the table that it prints.
//!
//! `make bench` runs `examples/bench.rs`: figures on memory, requests, hand-over and work, on a real control
//! plane. It never passes or fails on a time: a slow machine is no defect. Counts of requests come from the
//! audit log and are the same on every machine.
#![allow(dead_code, reason = "each bench uses a part")]

use std::{fmt, time::Duration};

/// One line of the table.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// What was done.
    pub(crate) work: String,
    /// What was measured, with its unit.
    pub(crate) measured: String,
    /// What it should be; empty when there is no mark.
    pub(crate) wanted: String,
}

impl Figure {
    /// A line of the table.
    pub(crate) fn new(work: &str, measured: impl fmt::Display, wanted: &str) -> Self {
        Self { work: work.to_owned(), measured: measured.to_string(), wanted: wanted.to_owned() }
    }
}

/// All figures as a Markdown table.
pub(crate) fn table(figures: &[Figure]) -> String {
    let mut lines = vec!["| Work | Measured | Wanted |".to_owned(), "|---|---|---|".to_owned()];
    lines.extend(figures.iter().map(|it| format!("| {} | {} | {} |", it.work, it.measured, it.wanted)));
    lines.join("\n")
}

/// Bytes as whole and tenth megabytes (10⁶).
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

/// The middle, the 95th of a hundred, and the largest; nothing when there are no samples.
pub(crate) fn spread(samples: &[Duration]) -> String {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let at = |percent: usize| {
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or_default().as_secs_f64()
    };
    format!("p50 {:.2} s, p95 {:.2} s, max {:.2} s of {}", at(50), at(95), at(100), sorted.len())
}

// SPDX-License-Identifier: Apache-2.0
//! What the bench measures, and the table that it prints.
//!
//! `make bench` runs `examples/bench.rs`: figures on memory, requests, hand-over and work, on a real control
//! plane. It never passes or fails on a time: a slow machine is no defect. Counts of requests come from the
//! audit log and are the same on every machine.
//!
//! Nothing here knows the manager's inside: each figure can be taken of any manager that has the flags in
//! [`subject::ARGS`], to compare.

pub(crate) mod adapters;
pub(crate) mod admission;
pub(crate) mod autoscalers;
pub(crate) mod decisions;
pub(crate) mod elections;
pub(crate) mod hand_over;
pub(crate) mod lease_traffic;
pub(crate) mod memory;
pub(crate) mod start;
pub(crate) mod storm_services;
pub(crate) mod subject;

use std::{fmt, time::Duration};

use anyhow::{Context, Result};
use futures::future::{FutureExt, LocalBoxFuture};

use self::subject::Subject;

/// A measurement that can be asked for by its name.
pub(crate) struct Measurement {
    /// How it is asked for.
    pub(crate) name: &'static str,
    /// What it does, for the list of names.
    pub(crate) about: &'static str,
    /// Longer than it takes on a slow machine; it is given up after that.
    pub(crate) limit: Duration,
    run: fn(&Subject) -> LocalBoxFuture<'_, Result<Vec<Figure>>>,
}

/// All measurements, in the order of the table.
pub(crate) const ALL: [Measurement; 13] = [
    Measurement {
        name: "binary",
        about: "size of the manager's binary",
        limit: Duration::from_secs(5),
        run: |subject| std::future::ready(binary(subject)).boxed_local(),
    },
    Measurement {
        name: "start",
        about: "from the start of the process until it leads",
        limit: Duration::from_mins(4),
        run: |subject| start::measure(subject).boxed_local(),
    },
    Measurement {
        name: "memory",
        about: "resident memory in an empty cluster and with 10,000 pods",
        limit: Duration::from_mins(15),
        run: |subject| memory::measure(subject).boxed_local(),
    },
    Measurement {
        name: "hand-over",
        about: "from the end of a leader until another replica has done its first pass",
        limit: Duration::from_mins(15),
        run: |subject| hand_over::measure(subject).boxed_local(),
    },
    Measurement {
        name: "lease-traffic",
        about: "requests that elections make at rest",
        limit: Duration::from_mins(5),
        run: |subject| lease_traffic::measure(subject).boxed_local(),
    },
    Measurement {
        name: "elections",
        about: "seven controllers on three replicas: spread, requests, hand-over, also with 10,000 pods",
        limit: Duration::from_mins(30),
        run: |_| elections::measure().boxed_local(),
    },
    Measurement {
        name: "autoscalers",
        about: "200 autoscalers at rest, and when the load doubles",
        limit: Duration::from_mins(20),
        run: |subject| autoscalers::measure(subject).boxed_local(),
    },
    Measurement {
        name: "overshoot",
        about: "a constant load under APA, with pods that are ready at once and after a minute",
        limit: Duration::from_mins(20),
        run: |subject| decisions::measure(subject).boxed_local(),
    },
    Measurement {
        name: "sources",
        about: "peak memory with one autoscaler of 13,000 sources on 100 pods",
        limit: Duration::from_mins(10),
        run: |subject| decisions::measure_sources(subject).boxed_local(),
    },
    Measurement {
        name: "adapters",
        about: "one adapter, 500 at once, at rest, and after the death of the leader",
        limit: Duration::from_mins(20),
        run: |subject| adapters::measure(subject).boxed_local(),
    },
    Measurement {
        name: "adapter-memory",
        about: "resident memory with 10,000 pods and 500 adapters",
        limit: Duration::from_mins(15),
        run: |subject| adapters::measure_memory(subject).boxed_local(),
    },
    Measurement {
        name: "storm-services",
        about: "600 pods of 25 StormServices: made, at rest, replaced, also while the leader dies, left alone",
        limit: Duration::from_mins(30),
        run: |subject| storm_services::measure(subject).boxed_local(),
    },
    Measurement {
        name: "admission",
        about: "answers of one replica to 200 admission reviews a second",
        limit: Duration::from_mins(5),
        run: |subject| admission::measure(subject).boxed_local(),
    },
];

impl Measurement {
    /// Takes the figures.
    ///
    /// # Errors
    /// Something could not be measured, or it took longer than the limit.
    pub(crate) async fn run(&self, subject: &Subject) -> Result<Vec<Figure>> {
        let figures = tokio::time::timeout(self.limit, (self.run)(subject)).await;
        figures.with_context(|| format!("{} took longer than {:?}", self.name, self.limit))?
    }
}

fn binary(subject: &Subject) -> Result<Vec<Figure>> {
    let path = &subject.binary;
    let size = std::fs::metadata(path).with_context(|| format!("look at {}", path.display()))?.len();
    Ok(vec![Figure::new("binary", megabytes(size), "≤ 20 MB")])
}

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

/// How many of something there are for each of some number, to one decimal.
pub(crate) fn ratio(count: usize, of: f64) -> String {
    let count = u32::try_from(count).map_or(f64::INFINITY, f64::from);
    format!("{:.1}", count / of)
}

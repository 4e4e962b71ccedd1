// SPDX-License-Identifier: Apache-2.0
//! `make faults FAULTS=200 SEED=n`: three managers with seven controllers under load, each behind a proxy of
//! its own, and faults drawn at random; the audit log judges at the end.
//!
//! Prints a table of the faults by kind and of what was violated, and fails when anything was. The seed names
//! the plan: kinds, lengths and Leases. Who holds those Leases at that moment is up to the elections, so a
//! repetition is like the first run and not the same. `PLANES=n` runs as many campaigns side by side, each
//! with its part of the faults and the next seed; `LEASE=5` shortens the Leases, and with them the faults.
//! `ONLY="a + b"` names, as the table does, what happens together in each round: `wall clock +1 h + older
//! manager written into its Lease`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    reason = "a test that is a program for people"
)]

mod adapters;
mod campaign;
mod canary;
mod inject;
mod judge;
mod judge_older;
mod judge_tests;
mod judgement;
mod load;
mod older;
mod plan;
mod replica;
mod report;
#[path = "../integration/support/mod.rs"]
mod support;

use std::{path::PathBuf, time::Duration};

use campaign::Campaign;
use canary::Canary;
use futures::future::join_all;
use judgement::Judgement;
use plan::{Kind, Scope};
use support::{
    probes::{PLAYED, default_leases},
    write_gaps::length,
};

/// How a campaign is run.
#[derive(Debug, Clone)]
struct Settings {
    /// How long a Lease lasts.
    lease: Duration,
    /// The library that moves wall clocks; `None`: not installed.
    faketime: Option<PathBuf>,
    /// What happens together in each round; empty: what is drawn.
    only: Vec<Kind>,
}

impl Settings {
    fn from_environment() -> Self {
        let lease = Duration::from_secs(number("LEASE").unwrap_or(15));
        let only = text("ONLY").map_or(Ok(Vec::new()), |only| plan::kinds(&only));
        let only = only.unwrap_or_else(|error| panic!("ONLY: {error}"));
        Self { lease, faketime: support::wall_clock::faketime(), only }
    }

    /// The manager's arguments: the usual proportions of the durations.
    fn args(&self) -> Vec<String> {
        let millis = self.lease.as_millis();
        let mut args = ["--probe-loops", "--disable-webhook", "--sync-period=2s"].map(str::to_owned).to_vec();
        args.push(format!("--leader-election-lease-duration={}s", self.lease.as_secs()));
        args.push(format!("--leader-election-renew-deadline={}ms", millis * 2 / 3));
        args.push(format!("--leader-election-retry-period={}ms", millis * 2 / 15));
        args
    }

    /// Seconds for which a stranger takes a Lease.
    fn theft(&self) -> u64 {
        (self.lease.as_secs() * 2 / 5).max(1)
    }
}

/// One campaign from its start to its judgement.
async fn judged(settings: &Settings, canary: &Canary, seed: u64, faults: usize) -> Judgement {
    let leases = default_leases().len();
    let built = leases - PLAYED.len();
    let (faketime, only) = (settings.faketime.is_some(), settings.only.clone());
    let scope = Scope { leases, built, lease: settings.lease, faketime, only };
    let rounds = plan::draw(seed, faults, &scope);
    let campaign = Campaign::start(settings, format!("faults, seed {seed}")).await;
    let mut story = campaign.run(&rounds).await;
    story.stalls = canary.starved();
    let mut log = campaign.log();
    if let Some(folder) = std::env::var_os("KEEP").filter(|it| !it.is_empty()) {
        campaign.keep(&PathBuf::from(folder), seed);
    }
    judge::judge(log.entries(), &campaign.engines(), &story, settings.lease)
}

// scenario: leader-election 7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes to hours: make faults"]
async fn no_controller_writes_without_its_lease_whatever_fails() {
    let faults = number("FAULTS").unwrap_or(200);
    let seed = number("SEED").unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let planes = number("PLANES").unwrap_or(1).clamp(1, faults.max(1));
    let settings = Settings::from_environment();
    println!("faults: {faults} faults, SEED={seed}, {planes} side by side, Leases of {:?}", settings.lease);
    if settings.faketime.is_none() {
        println!("faults: SKIPPED wall clock +1 h and -1 h: libfaketime is not installed");
    }
    let share = |n: u64| usize::try_from(faults * (n + 1) / planes - faults * n / planes).expect("a count");
    let canary = Canary::start();
    let all = join_all((0..planes).map(|n| Box::pin(judged(&settings, &canary, seed + n, share(n))))).await;
    let mut judgement = all.into_iter().fold(Judgement::default(), Judgement::and);
    judgement.stalls = canary.starved().into_iter().map(length).collect();
    println!("{}", report::table(&judgement));
    let lease = settings.lease.as_secs();
    println!("\nRepeat with: make faults FAULTS={faults} SEED={seed} PLANES={planes} LEASE={lease}");
    let (wrong, late) = (judgement.wrong.len(), judgement.late.len());
    assert!(wrong + late == 0, "{wrong} things are wrong and {late} late: see above");
}

/// An environment variable; `None` when it is missing or empty.
///
/// # Panics
/// When it is no text.
fn text(name: &str) -> Option<String> {
    Some(std::env::var_os(name).filter(|it| !it.is_empty())?.into_string().expect("text"))
}

/// An environment variable that is a number; `None` when it is missing or empty.
///
/// # Panics
/// When it is something else.
fn number(name: &str) -> Option<u64> {
    let text = text(name)?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

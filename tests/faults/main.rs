// SPDX-License-Identifier: Apache-2.0
//! `make faults FAULTS=200 SEED=n`: three managers with seven controllers under load, each behind a proxy of
//! its own, and faults drawn at random; the audit log judges at the end.
//!
//! Prints a table of the faults by kind and of what was violated, and ends with code 1 when anything was. The
//! seed names the plan: kinds, lengths and Leases. Who holds those Leases at that moment is up to the
//! elections, so a repetition is like the first run and not the same.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people that may end with a panic, in the manner of a test"
)]

mod campaign;
mod judge;
mod plan;
mod replica;
mod report;
#[path = "../integration/support/mod.rs"]
mod support;

use std::process::ExitCode;

use campaign::Campaign;
use support::probes::default_leases;

#[tokio::main]
async fn main() -> ExitCode {
    let faults = number("FAULTS").unwrap_or(200);
    let seed = number("SEED").unwrap_or_else(|| u64::from(rand::random::<u32>()));
    println!("faults: {faults} faults, SEED={seed}");
    let rounds = plan::draw(seed, usize::try_from(faults).expect("a count"), default_leases().len());
    let campaign = Campaign::start().await;
    let story = campaign.run(&rounds).await;
    let judgement = judge::judge(campaign.log().entries(), &story);
    println!("{}", report::table(&story, &judgement));
    println!("\nRepeat with: make faults FAULTS={faults} SEED={seed}");
    if judgement.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// An environment variable that is a number; `None` when it is missing or empty.
///
/// # Panics
/// When it is something else.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var_os(name).filter(|it| !it.is_empty())?.into_string().expect("text");
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

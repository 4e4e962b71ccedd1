// SPDX-License-Identifier: Apache-2.0
//! The AIBrix controller manager: one process, seven controllers, one Lease for each.
//!
//! # Code map
//!
//! Two libraries hold what any operator could use; the compiler keeps them from naming this package.
//!
//! | Library | Holds | Knows nothing of |
//! |---|---|---|
//! | `crates/kube-fenced-election` | an election for each controller, the fence, the clock | our names and Leases: they are settings |
//! | `crates/kube-loops` | `runtime` (queues, workers, stores, conductor), `cluster` (clients, writes, events), `k8s` and `rollout` (pure), `metrics` | our kinds and controllers; of the election it uses fence and clock |
//!
//! The modules of this package stand in layer order; an arrow may only point down this list. `tests/architecture.rs`
//! reads the `use` lines and fails when one points up or sideways.
//!
//! | Layer | Modules | Never contains |
//! |---|---|---|
//! | 0 ground | `api` `gocompat` `telemetry` | clients, HTTP |
//! | 1 pure | `k8s` `validation` | async, clients, clocks, logging, randomness, locks |
//! | 2 I/O | `engine` | decisions about our kinds |
//! | 3 features | `controllers` `webhook` `certs` `server` | each other |
//! | 4 host | `manager` | concrete controllers: it sees `dyn Controller` and `ControllerSpec` |
//! | 5 wiring | `app` `cli` | logic |
//!
//! Everything is private to the package but [`run`]; with the feature `testkit` also what tests of the
//! built binary compare it with.
//!
//! # Words
//!
//! A **controller** is one of the seven names of `--controllers` and owns one Lease; a **loop** is one
//! reconciler; a **pass** is one run of a loop for one key; a **term** is the time between winning and
//! losing a Lease. `want`, `have`, `live` and `ready` mean the same everywhere: what the spec asks for,
//! what exists, what exists and is not leaving, what serves.

#![cfg_attr(
    test,
    allow(
        clippy::duration_suboptimal_units,
        clippy::float_cmp,
        clippy::let_underscore_must_use,
        clippy::needless_for_each,
        clippy::needless_pass_by_value,
        clippy::too_many_lines,
        clippy::type_complexity,
        clippy::unnecessary_wraps,
        clippy::unwrap_in_result,
        clippy::wildcard_enum_match_arm,
        reason = "tables and builders of tests: what is exact, long or nested there is meant so"
    )
)]
#![cfg_attr(
    not(feature = "testkit"),
    allow(unreachable_pub, reason = "what `testkit` shows to tests can be reached with that feature only")
)]

mod api;
mod gocompat;
mod telemetry;

mod k8s;
mod validation;

mod engine;

mod certs;
mod controllers;
mod server;
mod webhook;

mod manager;

mod app;
mod cli;

#[cfg(feature = "testkit")]
pub mod internals;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;

use std::{ffi::OsString, process::ExitCode};

/// Runs the program: `arguments` without its own name, the exit code as the page of `cli` says.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    cli::start(arguments, cli::Wiring { run: app::run, crds: api::crds })
}

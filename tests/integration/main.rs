// SPDX-License-Identifier: Apache-2.0
//! Tests against a real API server, one module per subject.
//!
//! They run in the sandbox's network (`make test`; for one test `dev/sandbox.sh cargo test --offline --test
//! integration NAME`) and fail outside of it. What they share is in [`support`].
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::duration_suboptimal_units,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "test code, which clippy recognises only inside of test functions"
)]

mod certificates;
mod election;
mod harness;
mod model_adapter;
mod model_route;
mod oracle;
mod pod_autoscaler;
mod process;
mod storm_service;
mod support;
mod webhook;
mod writer;

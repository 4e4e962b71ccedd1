// SPDX-License-Identifier: Apache-2.0
//! What tests, examples and benchmarks share: things that play the outside world.
//!
//! Release builds lack it. It may use layers 0 to 3 and is used by nothing but tests, examples and the
//! composition root's `--probe-loops`.

pub mod fake_engine;
pub mod metrics_api;
pub mod probe;

#[cfg(test)]
mod metrics_api_tests;

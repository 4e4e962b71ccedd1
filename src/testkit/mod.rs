// SPDX-License-Identifier: Apache-2.0
//! testkit

pub mod fake_engine;
pub mod lease_store;
pub mod metrics_api;

#[cfg(test)]
mod metrics_api_tests;
pub mod probe;

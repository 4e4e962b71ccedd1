// SPDX-License-Identifier: Apache-2.0
//! Everything generic that talks to the API server.

pub mod discovery;
pub mod events;

#[cfg(test)]
mod discovery_tests;

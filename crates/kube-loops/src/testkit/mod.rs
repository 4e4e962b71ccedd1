// SPDX-License-Identifier: Apache-2.0
//! API servers in memory, and passes without any, for tests.

pub mod scripted;
pub mod scripted_api;
pub mod simulation;
pub mod stored_api;

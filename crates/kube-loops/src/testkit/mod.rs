// SPDX-License-Identifier: Apache-2.0
//! API servers in memory, for tests.

pub mod scripted;
pub mod scripted_api;
pub mod stored_api;

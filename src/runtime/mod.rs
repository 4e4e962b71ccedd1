// SPDX-License-Identifier: Apache-2.0
//! Runs loops and knows none of them by name.

pub mod controller;
pub mod progress;
pub mod reconciler;

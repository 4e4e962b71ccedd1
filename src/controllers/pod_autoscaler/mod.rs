// SPDX-License-Identifier: Apache-2.0
//! The PodAutoscaler controller.

mod algorithm;
mod claims;
mod memory;
mod snapshot;
mod status;
mod steps;
mod steps;
mod targets;

// SPDX-License-Identifier: Apache-2.0
//! The PodAutoscaler controller.

mod algorithm;
mod annotations;
mod bounds;
mod claims;
mod decide;
mod fetch;
mod hpa;
mod memory;
mod plan;
mod snapshot;
mod status;
mod steps;
mod targets;

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

#[cfg(test)]
mod annotations_tests;
#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod claims_tests;
#[cfg(test)]
mod hpa_tests;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod targets_tests;

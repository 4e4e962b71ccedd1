// SPDX-License-Identifier: Apache-2.0
//! `model-route-controller`: leads requests for a model to the Service of the workload that serves it.
//!
//! Here is its first pure part: the paths of a route.

pub mod paths;

#[cfg(test)]
mod paths_tests;

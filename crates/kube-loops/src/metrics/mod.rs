// SPDX-License-Identifier: Apache-2.0
//! Metrics in Prometheus' text format. Nothing is global: a [`Metrics`] is a value that the program hands out.

mod exposition;
pub mod families;
mod registry;
mod series;

#[cfg(test)]
mod exposition_tests;
#[cfg(test)]
mod registry_tests;
#[cfg(test)]
mod series_tests;

pub use registry::{Metrics, MetricsError};
pub use series::{Series, SeriesFamily};

// SPDX-License-Identifier: Apache-2.0
//! `model-adapter-controller`: keeps LoRAs loaded on inference engines and publishes where.
//!
//! Here are its pure parts: the objects that publish an adapter, where one adapter goes, and how long a load
//! that failed waits.

pub mod load_retry;
pub mod objects;
pub mod placement;

#[cfg(test)]
mod load_retry_tests;
#[cfg(test)]
mod objects_tests;
#[cfg(test)]
mod placement_tests;

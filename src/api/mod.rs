// SPDX-License-Identifier: Apache-2.0
//! Wire types: what is stored in the API server, and the names that others can see.
//!
//! No behaviour beyond accessors and defaults. Fields that carry a closed set of words on the wire are
//! plain text here: an object that slipped past validation must still parse, so that its status can say
//! what is wrong with it. The published schemas still list the words.

pub(crate) mod autoscaling;
mod crd;
pub(crate) mod keys;
pub(crate) mod model;
pub(crate) mod orchestration;
mod wire;

pub use crd::crds;

#[cfg(test)]
mod autoscaling_tests;
#[cfg(test)]
mod crd_tests;

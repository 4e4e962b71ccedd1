// SPDX-License-Identifier: Apache-2.0
//! What admission webhooks answer: reviews in, reviews out.
//!
//! Handlers are pure functions of one review. They keep nothing, ask nobody and depend on no controller, so
//! every replica answers every path, leader or not. All shipped webhooks have the failure policy `Ignore`:
//! no controller may rely on a handler having run.
//!
//! An answer never changes what a handler did not mean to change: objects stay the raw JSON that the API
//! server sent, and a patch holds only the paths that differ.

pub mod json_patch;
pub mod model_adapter;
pub mod pod_autoscaler;
pub mod review;

#[cfg(test)]
mod json_patch_tests;
#[cfg(test)]
mod model_adapter_tests;
#[cfg(test)]
mod pod_autoscaler_tests;
#[cfg(test)]
mod review_tests;

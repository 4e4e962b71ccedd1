// SPDX-License-Identifier: Apache-2.0
//! Runs loops and knows none of them by name.
//!
//! | Module | Promise |
//! |---|---|
//! | [`controller`] [`reconciler`] [`progress`] | the contracts: what the manager sees, what a worker sees, proof of work |
//! | [`watches`] `catch_up` | one watch per kind and process; a new leader sees all that was written before its term |
//! | [`queue`] [`backoff`] `worker` [`loops`] | keys, one at a time each, with back-off; passes; one term of one controller |
//! | [`requests`] | keyed requests beside the passes: bounds, fairness, deadlines, abort |
//! | [`steps`] [`batches`] | how the steps of a plan went, and when what failed is tried again; many writes of one kind |
//! | [`children`] [`own_objects`] | what a loop makes and what it is about, never older than its own last write |
//! | [`health`] `term_cache` [`tasks`] | building blocks for loops |
//! | [`metrics`] | `controller_runtime_*` and `workqueue_*` |
//!
//! Deliberately absent: names of kinds, controllers or Leases, and every decision to write.

pub mod backoff;
#[cfg(test)]
mod backoff_tests;
pub mod batches;
#[cfg(test)]
mod batches_tests;
mod catch_up;
pub mod children;
#[cfg(test)]
mod children_tests;
pub mod conductor;
#[cfg(test)]
mod conductor_tests;
pub mod controller;
mod expectations;
#[cfg(test)]
mod expectations_tests;
pub mod health;
pub mod loops;
pub mod metrics;
#[cfg(test)]
mod metrics_tests;
pub mod own_objects;
#[cfg(test)]
mod own_objects_tests;
pub mod progress;
#[cfg(test)]
mod progress_tests;
pub mod queue;
pub mod reconciler;
pub mod requests;
pub mod steps;
#[cfg(test)]
mod steps_tests;
pub mod tasks;
#[cfg(test)]
mod tasks_tests;
mod term_cache;
#[cfg(test)]
mod term_cache_tests;
pub mod watches;
mod worker;
#[cfg(test)]
mod worker_tests;

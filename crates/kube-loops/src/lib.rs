// SPDX-License-Identifier: Apache-2.0
//! Runs reconcilers on shared watches, with every write under a fence.
//!
//! | Module | Yields |
//! |---|---|
//! | [`runtime`] | queues, workers, shared watches, catching up at take-over; one term of one controller |
//! | [`cluster`] | clients, writes with preconditions, events, discovery, errors |
//! | [`fenced_tcp`] | TCP connections that are reset when a term ends |
//! | [`k8s`] | pure helpers over Kubernetes types |
//! | [`rollout`] | pure helpers for loops that roll out templates: budgets, orders, hashes |
//! | [`metrics`] | the registry of a process and its text format |
//!
//! Of `kube-fenced-election` it uses the fence, the clock and what belongs to any watch; how the right to write is
//! won is unknown here, and so are the kinds and controllers of its users.

#![cfg_attr(
    test,
    allow(
        clippy::duration_suboptimal_units,
        clippy::float_cmp,
        clippy::let_underscore_must_use,
        clippy::needless_for_each,
        clippy::needless_pass_by_value,
        clippy::too_many_lines,
        clippy::type_complexity,
        clippy::unnecessary_wraps,
        clippy::unwrap_in_result,
        clippy::wildcard_enum_match_arm,
        reason = "tables and builders of tests: what is exact, long or nested there is meant so"
    )
)]

pub mod chain;
pub mod cluster;
pub mod fenced_tcp;
pub mod k8s;
pub mod metrics;
pub mod rollout;
pub mod runtime;

#[cfg(test)]
mod fenced_tcp_tests;

#[cfg(any(test, feature = "testkit"))]
pub mod testkit;

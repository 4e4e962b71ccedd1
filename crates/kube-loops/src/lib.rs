// SPDX-License-Identifier: Apache-2.0
//! Runs reconcilers on shared watches, with every write under a fence.
//!
//! | Module | Yields |
//! |---|---|
//! | [`runtime`] | queues, workers, shared watches, catching up at take-over; one term of one controller |
//! | [`cluster`] | clients, writes with preconditions, events, discovery, errors |
//! | [`k8s`] | pure helpers over Kubernetes types |
//! | [`metrics`] | the registry of a process and its text format |
//!
//! Of `kube-fenced-election` it uses the fence, the clock and what belongs to any watch; how the right to write is
//! won is unknown here, and so are the kinds and controllers of its users.

pub mod chain;
pub mod cluster;
pub mod k8s;
pub mod metrics;
pub mod runtime;

#[cfg(any(test, feature = "testkit"))]
pub mod testkit;

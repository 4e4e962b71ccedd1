// SPDX-License-Identifier: Apache-2.0
//! Events of the core group, as controllers of the Kubernetes project record them.
//!
//! `events.k8s.io` is not granted by the roles that users have installed, so kube's own recorder cannot be
//! used. [`Recorder::publish`] never waits and never fails: what does not fit the queue is dropped, and what
//! cannot be sent is tried a few times and then dropped with a log line.
//!
//! The decisions — is this the same event again, one of many alike, one too many? — are the pure
//! `correlator`; `sink` sends what it decides.

mod correlator;
mod draft;
mod sink;

#[cfg(test)]
mod correlator_tests;
#[cfg(test)]
mod sink_tests;

pub use draft::{EventDraft, EventText, Severity};
pub use sink::{Recorder, RecorderTask};

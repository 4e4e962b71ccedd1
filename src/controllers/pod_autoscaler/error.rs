// SPDX-License-Identifier: Apache-2.0
//! What can go wrong in a pass, and when to come back.

use std::time::Duration;

use kube_loops::{
    cluster::error::WriteError,
    runtime::reconciler::{Failure, Retry},
};

use super::steps::DegradedReason;

/// Wait after a write that the API server refused for its content.
const REFUSED: Duration = Duration::from_secs(10);

/// A pass that did not get what the spec asks for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The status could not be written; it is computed anew.
    #[error("failed to write the status")]
    Status(#[source] WriteError),
    /// A change could not be made. The status says so.
    #[error("failed to {attempt}")]
    Step {
        /// What was tried.
        attempt: &'static str,
        /// Why not.
        #[source]
        source: WriteError,
    },
    /// No decision was possible. The status says so.
    #[error("{reason}")]
    Degraded {
        /// Why not.
        reason: DegradedReason,
        /// When the next measurements come, which is when it may be over.
        cure: Duration,
    },
}

impl Error {
    /// Whether it is retried before `other` is: what is refused for good must not delay what may work soon.
    pub(super) fn comes_back_before(&self, other: &Self) -> bool {
        let rank = |error: &Self| match error.retry() {
            Retry::TermOver => 0,
            Retry::Soon => 1,
            Retry::Backoff => 2,
            Retry::After(_) => 3,
        };
        rank(self) < rank(other)
    }
}

impl Failure for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Status(error) | Self::Step { source: error, .. } => Retry::of_write(error, REFUSED),
            Self::Degraded { cure, .. } => Retry::After(*cure),
        }
    }
}

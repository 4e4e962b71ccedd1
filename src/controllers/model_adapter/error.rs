// SPDX-License-Identifier: Apache-2.0
//! What can go wrong in a pass, and when to come back. What engines refuse is no error of a pass: the status
//! tells it, and its next attempt is known.

use std::time::Duration;

use kube_loops::{
    cluster::error::WriteError,
    runtime::reconciler::{Failure, Retry},
};

/// Wait after a write that the API server refused for its content.
const REFUSED: Duration = Duration::from_secs(10);

/// A pass that did not get what the spec asks for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The status could not be written; it is computed anew.
    #[error("failed to write the status")]
    Status(#[source] WriteError),
    /// A change could not be made. Where it concerns the user, the status says so.
    #[error("failed to {attempt}")]
    Step {
        /// What was tried.
        attempt: &'static str,
        /// Why not.
        #[source]
        source: WriteError,
    },
}

impl Failure for Error {
    fn retry(&self) -> Retry {
        let (Self::Status(error) | Self::Step { source: error, .. }) = self;
        Retry::of_write(error, REFUSED)
    }
}

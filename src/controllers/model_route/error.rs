// SPDX-License-Identifier: Apache-2.0
//! What can go wrong in a pass, and when to come back.

use std::time::Duration;

use kube_loops::{
    cluster::error::WriteError,
    runtime::{
        backoff::exponential,
        reconciler::{Failure, Retry},
    },
};

/// Wait after the first failure; doubles up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);

/// A change could not be made.
#[derive(Debug, thiserror::Error)]
#[error("failed to {attempt}")]
pub(super) struct Error {
    /// What was tried.
    pub(super) attempt: &'static str,
    /// Why not.
    #[source]
    pub(super) source: WriteError,
    /// How often the key failed in a row before.
    pub(super) before: u32,
}

impl Error {
    /// What the API server says is wrong with the object itself; `None`: it failed for another reason.
    pub(super) fn refusal(&self) -> Option<&str> {
        if let WriteError::Invalid { message, .. } = &self.source { Some(message) } else { None }
    }
}

impl Failure for Error {
    fn retry(&self) -> Retry {
        let wait = exponential(FIRST, self.before, LONGEST);
        match Retry::of_write(&self.source, wait) {
            Retry::Backoff => Retry::After(wait),
            other @ (Retry::Soon | Retry::After(_) | Retry::TermOver) => other,
        }
    }
}

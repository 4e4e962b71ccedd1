// SPDX-License-Identifier: Apache-2.0
//! Requests about a Lease that failed, in the words of client-go.

use std::fmt;

use kube_leader_election::Error as LibraryError;

/// What a failed request was meant to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// Read the Lease.
    Get,
    /// Create the Lease.
    Create,
    /// Acquire or renew the Lease.
    Patch,
    /// Release the Lease.
    Release,
}

impl Attempt {
    /// The API verb.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Create => "create",
            Self::Patch | Self::Release => "patch",
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The wording of client-go, which people search for.
        f.write_str(match self {
            Self::Get => "error retrieving resource lock",
            Self::Create => "error initially creating leader election record",
            Self::Patch => "Failed to update lock",
            Self::Release => "Failed to release lock",
        })
    }
}

/// A request that failed for another reason than a lost race.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{attempt}: {cause}")]
pub struct LockError {
    /// What was attempted.
    pub attempt: Attempt,
    /// HTTP status, when there was an answer.
    pub code: Option<u16>,
    /// What went wrong, in words.
    pub cause: String,
}

impl LockError {
    /// An attempt that took longer than it may.
    pub(super) fn timed_out(attempt: Attempt) -> Self {
        Self { attempt, code: None, cause: "timed out waiting for the API server".to_owned() }
    }

    /// Whether the API server has not answered.
    pub(super) fn is_unanswered(&self) -> bool {
        self.code.is_none()
    }

    pub(super) fn from_kube(attempt: Attempt, error: &kube::Error) -> Self {
        if let kube::Error::Api(status) = error {
            return Self { attempt, code: Some(status.code), cause: status.message.clone() };
        }
        // The text of a transport error ends with what went wrong at its lowest layer.
        let mut cause = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(error) = source {
            let text = error.to_string();
            if !cause.ends_with(&text) {
                cause = format!("{cause}: {text}");
            }
            source = error.source();
        }
        Self { attempt, code: None, cause }
    }
}

/// What the library says, by what it had tried.
pub(super) fn lock_error(error: LibraryError) -> LockError {
    let (attempt, error) = match error {
        LibraryError::ApiError { response } => (Attempt::Get, kube::Error::Api(response)),
        LibraryError::GetLease(error) | LibraryError::Kube(error) => (Attempt::Get, error),
        LibraryError::CreateLease(error) => (Attempt::Create, error),
        LibraryError::AcquireLease(error) | LibraryError::RenewLease(error) => (Attempt::Patch, error),
        LibraryError::ReleaseLease(error) => (Attempt::Release, error),
        // The guard answers with complete Leases, so these do not occur.
        other @ (LibraryError::TraverseLease { .. }
        | LibraryError::ReleaseLockWhenNotLeading { .. }
        | LibraryError::SerdeError(_)
        | LibraryError::JiffError(_)) => {
            return LockError { attempt: Attempt::Patch, code: None, cause: other.to_string() };
        }
    };
    LockError::from_kube(attempt, &error)
}

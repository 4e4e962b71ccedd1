// SPDX-License-Identifier: Apache-2.0
//! `LeaseLock` of the library with the guard underneath, and its results sorted by what they mean.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube_leader_election::{Error as LibraryError, LeaseLock, LeaseLockParams, LeaseLockResult};
use parking_lot::Mutex;

use crate::clock::{Instant, SharedClock};

use super::{
    guard::{Exchange, Guard, Guarded},
    observation::{Observation, Sight},
};

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
    pub fn verb(self) -> &'static str {
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

/// How an attempt to acquire or renew ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptEnd {
    /// The answer shows this identity as holder; the request was sent right after `sent`.
    Holding {
        /// Instant right before the request was sent.
        sent: Instant,
    },
    /// Somebody else holds the Lease; nothing was written.
    HeldByOther,
    /// Somebody else wrote first (409), or the Lease was not free by observation after all.
    LostRace,
    /// Anything else.
    Failed(LockError),
}

/// How an attempt to release ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleaseEnd {
    /// The Lease shows no holder.
    Released,
    /// The Lease is not ours: nothing to release.
    NotOurs,
    /// Somebody else wrote first (409).
    LostRace,
    /// Anything else.
    Failed(LockError),
}

/// An ended exchange with the API server.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchanged<End> {
    /// What requests have shown, in order.
    pub seen: Vec<(Sight, Instant)>,
    /// How it ended.
    pub end: End,
}

/// The lock on one Lease. One exchange at a time.
pub struct Lock {
    library: LeaseLock,
    api: Api<Lease>,
    guarded: Arc<Guarded>,
    exchange: Arc<Mutex<Exchange>>,
    clock: SharedClock,
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lock").field(&self.guarded).finish()
    }
}

impl Lock {
    /// A lock that talks through `client`, which must neither retry nor be fenced. Has to be called
    /// within a tokio runtime.
    pub fn new(
        client: &kube::Client,
        guarded: Guarded,
        lease_duration: Duration,
        clock: SharedClock,
    ) -> Self {
        let now = clock.instant();
        let exchange = Arc::new(Mutex::new(Exchange::new(Observation::new(now), true)));
        let guarded = Arc::new(guarded);
        let guard =
            Guard::new(client.clone(), Arc::clone(&guarded), Arc::clone(&exchange), Arc::clone(&clock));
        let params = LeaseLockParams {
            lease_name: guarded.name.clone(),
            holder_id: guarded.identity.clone(),
            lease_ttl: lease_duration,
        };
        let behind_guard = kube::Client::new(guard, guarded.namespace.clone());
        Self {
            library: LeaseLock::new(behind_guard, &guarded.namespace, params),
            api: Api::namespaced(client.clone(), &guarded.namespace),
            guarded,
            exchange,
            clock,
        }
    }

    /// Reads the Lease from the API server.
    ///
    /// # Errors
    /// [`LockError`] when there is no usable answer. A missing Lease is not an error.
    pub async fn read(&self) -> Result<(Sight, Instant), LockError> {
        let limit = self.guarded.request_timeout;
        let got = tokio::time::timeout(limit, self.api.get_opt(&self.guarded.name))
            .await
            .map_err(|_| LockError::timed_out(Attempt::Get))?
            .map_err(|error| LockError::from_kube(Attempt::Get, &error))?;
        let sight = got.map_or(Sight::Absent(None), |lease| Sight::Present(Box::new(lease)));
        Ok((sight, self.clock.instant()))
    }

    /// Tries once to acquire or renew, deciding on `view` or, with `read`, on a fresh read.
    pub async fn attempt(&self, view: Observation, read: bool) -> Exchanged<AttemptEnd> {
        self.attempt_with(view, read, BTreeMap::new()).await
    }

    /// Like [`Lock::attempt`], writing `annotations` as well (`None` removes one).
    pub async fn attempt_with(
        &self,
        view: Observation,
        read: bool,
        annotations: BTreeMap<String, Option<String>>,
    ) -> Exchanged<AttemptEnd> {
        *self.exchange.lock() = Exchange { annotations, ..Exchange::new(view, read) };
        let result = self.library.try_acquire_or_renew().await;
        let exchange = self.exchange.lock();
        let end = match result {
            // The library believes every answer. It counts only if it names us.
            Ok(LeaseLockResult::Acquired(_)) => match exchange.sent {
                Some(sent) if exchange.view.holder() == Some(self.guarded.identity.as_str()) => {
                    AttemptEnd::Holding { sent }
                }
                Some(_) | None => AttemptEnd::HeldByOther,
            },
            Ok(LeaseLockResult::NotAcquired(_)) => AttemptEnd::HeldByOther,
            Err(error) => match lock_error(error) {
                LockError { code: Some(409), .. } => AttemptEnd::LostRace,
                error => AttemptEnd::Failed(error),
            },
        };
        Exchanged { seen: exchange.seen.clone(), end }
    }

    /// Tries once to release, deciding on `view` or, with `read`, on a fresh read.
    pub async fn release(&self, view: Observation, read: bool) -> Exchanged<ReleaseEnd> {
        self.release_with(view, read, BTreeMap::new()).await
    }

    /// Like [`Lock::release`], writing `annotations` as well (`None` removes one).
    pub async fn release_with(
        &self,
        view: Observation,
        read: bool,
        annotations: BTreeMap<String, Option<String>>,
    ) -> Exchanged<ReleaseEnd> {
        *self.exchange.lock() = Exchange { annotations, ..Exchange::new(view, read) };
        let result = self.library.step_down().await;
        let exchange = self.exchange.lock();
        let end = match result {
            Ok(()) => ReleaseEnd::Released,
            Err(LibraryError::ReleaseLockWhenNotLeading { .. }) => ReleaseEnd::NotOurs,
            Err(error) => match lock_error(error) {
                LockError { attempt: Attempt::Get, code: Some(404), .. } => ReleaseEnd::NotOurs,
                LockError { code: Some(409), .. } => ReleaseEnd::LostRace,
                error => ReleaseEnd::Failed(LockError { attempt: Attempt::Release, ..error }),
            },
        };
        Exchanged { seen: exchange.seen.clone(), end }
    }
}

fn lock_error(error: LibraryError) -> LockError {
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

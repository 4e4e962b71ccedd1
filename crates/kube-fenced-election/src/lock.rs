// SPDX-License-Identifier: Apache-2.0
//! `LeaseLock` of the library with the guard underneath, and its results sorted by what they mean.
//!
//! # One attempt
//! [`Lock::renew`] and [`Lock::try_acquire`] have the library write through its guard on the first connection. When
//! the answer is not there after `hedge_after`, the same is tried once more on another connection, while the first
//! request is still awaited. Both write under compare-and-swap, so at most one of them takes effect, and the first success
//! counts. A 409 of one may mean that the other took effect and its answer is missing: the Lease is read, and if it
//! shows the `renewTime` of one of the two, it counts from the moment at which *that* one was sent.

use std::{
    collections::BTreeMap,
    fmt,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::{Either, select};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube_leader_election::{Error as LibraryError, LeaseLock, LeaseLockParams, LeaseLockResult};
use parking_lot::Mutex;

use crate::clock::{Instant, SharedClock};

use super::{
    guard::{Exchange, Guard, GuardedLease, Sent},
    lock_error::{Attempt, LockError, lock_error},
    observation::{LeaseSnapshot, Observation},
};

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
    pub seen: Vec<(LeaseSnapshot, Instant)>,
    /// How it ended.
    pub end: End,
}

/// Clients for the traffic of one Lease: neither fenced nor rate-limited nor retrying.
#[derive(Clone)]
pub struct LeaseClients {
    /// For the watch, and for the first try of a request.
    pub first: kube::Client,
    /// For the second try of a request that is not answered: with connections of its own, so that one that hangs
    /// cannot hold up both.
    pub second: kube::Client,
}

/// The lock on one Lease. One attempt or release at a time.
pub struct Lock {
    connections: [Connection; 2],
    /// The connection to begin with: the one that answered last.
    preferred: AtomicUsize,
    guarded: Arc<GuardedLease>,
    clock: SharedClock,
}

/// The library behind its guard, on one pool of connections.
struct Connection {
    library: LeaseLock,
    api: Api<Lease>,
    exchange: Arc<Mutex<Exchange>>,
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lock").field(&self.guarded).finish()
    }
}

impl Lock {
    /// A lock that talks through these clients. Has to be called within a tokio runtime.
    pub fn new(
        clients: &LeaseClients,
        guarded: GuardedLease,
        lease_duration: Duration,
        clock: SharedClock,
    ) -> Self {
        let guarded = Arc::new(guarded);
        let connection = |client| Connection::new(client, &guarded, lease_duration, &clock);
        Self {
            connections: [connection(&clients.first), connection(&clients.second)],
            preferred: AtomicUsize::new(0),
            guarded,
            clock,
        }
    }

    /// The connection that answered last, and the other.
    fn connections(&self) -> [(usize, &Connection); 2] {
        let [first, second] = &self.connections;
        match self.preferred.load(Ordering::Relaxed) {
            0 => [(0, first), (1, second)],
            _ => [(1, second), (0, first)],
        }
    }

    fn prefer(&self, connection: usize) {
        self.preferred.store(connection, Ordering::Relaxed);
    }

    /// Reads the Lease from the API server.
    ///
    /// # Errors
    /// [`LockError`] when there is no usable answer. A missing Lease is not an error.
    pub async fn read(&self) -> Result<(LeaseSnapshot, Instant), LockError> {
        let [(_, connection), (other, _)] = self.connections();
        let read = self.read_on(connection).await;
        if read.as_ref().is_err_and(LockError::is_unanswered) {
            self.prefer(other);
        }
        read
    }

    async fn read_on(&self, connection: &Connection) -> Result<(LeaseSnapshot, Instant), LockError> {
        let limit = self.guarded.request_timeout;
        let got = tokio::time::timeout(limit, connection.api.get_opt(&self.guarded.name))
            .await
            .map_err(|_| LockError::timed_out(Attempt::Get))?
            .map_err(|error| LockError::from_kube(Attempt::Get, &error))?;
        let snapshot =
            got.map_or(LeaseSnapshot::Absent(None), |lease| LeaseSnapshot::Present(Box::new(lease)));
        Ok((snapshot, self.clock.instant()))
    }

    /// Tries to acquire the Lease, deciding on `view` or, with `read`, on a fresh read.
    pub async fn try_acquire(&self, view: Observation, read: bool) -> Exchanged<AttemptEnd> {
        self.try_acquire_or_renew(view, read, BTreeMap::new()).await
    }

    /// Renews the Lease, deciding on `view` or, with `read`, on a fresh read.
    pub(crate) async fn renew(&self, view: Observation, read: bool) -> Exchanged<AttemptEnd> {
        self.try_acquire_or_renew(view, read, BTreeMap::new()).await
    }

    /// Tries to acquire or renew, writing `annotations` as well (`None` removes one). Which of the two it is, the
    /// library decides by the holder that it sees.
    pub(crate) async fn try_acquire_or_renew(
        &self,
        view: Observation,
        read: bool,
        annotations: BTreeMap<String, Option<String>>,
    ) -> Exchanged<AttemptEnd> {
        let [(first_name, first), (second_name, second)] = self.connections();
        let identity = self.guarded.identity.as_str();
        first.prepare(Exchange { annotations: annotations.clone(), ..Exchange::new(view.clone(), read) });
        let mut first_try = pin!(first.try_acquire_or_renew(identity));
        if let Ok(ended) = tokio::time::timeout(self.guarded.hedge_after, &mut first_try).await {
            if matches!(&ended.end, AttemptEnd::Failed(error) if error.is_unanswered()) {
                self.prefer(second_name);
            }
            return ended;
        }
        let lease = &self.guarded.name;
        tracing::debug!(lease, "lease request is not answered, trying once more on another connection");
        second.prepare(Exchange { annotations, ..Exchange::new(view, read) });
        let second_try = pin!(second.try_acquire_or_renew(identity));
        let (name, answered, ended, other_try) = match select(first_try, second_try).await {
            Either::Left((ended, rest)) => (first_name, first, ended, rest),
            Either::Right((ended, rest)) => (second_name, second, ended, rest),
        };
        match ended.end {
            AttemptEnd::Holding { .. } | AttemptEnd::HeldByOther => {
                self.prefer(name);
                ended
            }
            AttemptEnd::LostRace => {
                self.prefer(name);
                self.resolve_conflict(answered, [first, second], ended).await
            }
            AttemptEnd::Failed(_) => {
                let last = other_try.await;
                Exchanged { seen: in_order(ended.seen, last.seen), end: last.end }
            }
        }
    }

    /// One of two tries was answered with 409, perhaps because the other one took effect: reads whose write it was.
    async fn resolve_conflict(
        &self,
        answered: &Connection,
        tries: [&Connection; 2],
        lost: Exchanged<AttemptEnd>,
    ) -> Exchanged<AttemptEnd> {
        let Ok((snapshot, at)) = self.read_on(answered).await else { return lost };
        let sent = self.sent_by_us(&snapshot, tries);
        let seen = in_order(lost.seen, vec![(snapshot, at)]);
        let end = sent.map_or(AttemptEnd::LostRace, |sent| AttemptEnd::Holding { sent });
        Exchanged { seen, end }
    }

    /// When the write that left this state was sent, if it was one of the tries. The earlier one where both wrote
    /// the same time.
    fn sent_by_us(&self, snapshot: &LeaseSnapshot, tries: [&Connection; 2]) -> Option<Instant> {
        let LeaseSnapshot::Present(lease) = snapshot else { return None };
        let spec = lease.spec.as_ref()?;
        let renew_time = spec.renew_time.as_ref()?.0;
        if spec.holder_identity.as_deref() != Some(self.guarded.identity.as_str()) {
            return None;
        }
        let sent = tries.into_iter().filter_map(|it| it.exchange.lock().sent);
        sent.filter(|it| it.renew_time == Some(renew_time)).map(|it| it.at).min()
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
        let [(_, connection), (other, _)] = self.connections();
        connection.prepare(Exchange { annotations, ..Exchange::new(view, read) });
        let result = connection.library.step_down().await;
        let end = match result {
            Ok(()) => ReleaseEnd::Released,
            Err(LibraryError::ReleaseLockWhenNotLeading { .. }) => ReleaseEnd::NotOurs,
            Err(error) => match lock_error(error) {
                LockError { attempt: Attempt::Get, code: Some(404), .. } => ReleaseEnd::NotOurs,
                LockError { code: Some(409), .. } => ReleaseEnd::LostRace,
                error => {
                    if error.is_unanswered() {
                        self.prefer(other);
                    }
                    ReleaseEnd::Failed(LockError { attempt: Attempt::Release, ..error })
                }
            },
        };
        Exchanged { seen: connection.exchange.lock().seen.clone(), end }
    }
}

impl Connection {
    fn new(
        client: &kube::Client,
        guarded: &Arc<GuardedLease>,
        lease_duration: Duration,
        clock: &SharedClock,
    ) -> Self {
        let nothing = Exchange::new(Observation::new(clock.instant()), true);
        let exchange = Arc::new(Mutex::new(nothing));
        let guard = Guard::new(client.clone(), Arc::clone(guarded), Arc::clone(&exchange), Arc::clone(clock));
        let params = LeaseLockParams {
            lease_name: guarded.name.clone(),
            holder_id: guarded.identity.clone(),
            lease_ttl: lease_duration,
        };
        let behind_guard = kube::Client::new(guard, guarded.namespace.clone());
        Self {
            library: LeaseLock::new(behind_guard, &guarded.namespace, params),
            api: Api::namespaced(client.clone(), &guarded.namespace),
            exchange,
        }
    }

    fn prepare(&self, exchange: Exchange) {
        *self.exchange.lock() = exchange;
    }

    /// The library acquires or renews, once.
    async fn try_acquire_or_renew(&self, identity: &str) -> Exchanged<AttemptEnd> {
        let result = self.library.try_acquire_or_renew().await;
        let exchange = self.exchange.lock();
        let end = match result {
            // The library believes every answer. It counts only if it names us.
            Ok(LeaseLockResult::Acquired(_)) => match exchange.sent {
                Some(Sent { at, .. }) if exchange.view.holder() == Some(identity) => {
                    AttemptEnd::Holding { sent: at }
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
}

/// What two tries have shown, in the order in which it came.
fn in_order(
    mut seen: Vec<(LeaseSnapshot, Instant)>,
    more: Vec<(LeaseSnapshot, Instant)>,
) -> Vec<(LeaseSnapshot, Instant)> {
    seen.extend(more);
    seen.sort_by_key(|(_, at)| *at);
    seen
}

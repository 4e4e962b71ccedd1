// SPDX-License-Identifier: Apache-2.0
//! The Lease of an older, Go-made manager: wait for it, then hold it as a group.
//!
//! A Go manager runs all controllers under one Lease, for which our electors do not contend. As long
//! as it renews that Lease, no controller of ours starts. Afterwards our managers hold the Lease
//! together, so that a Go manager that is started later (a rollback) waits until all of them are gone.
//!
//! Every manager that leads signs the Lease with an annotation of its own and renews it when nobody
//! else has done so for a while. Whoever stops leading removes its signature; the one whose signature
//! was the last releases the Lease in the same write. All writes are compare-and-swap, so two that
//! leave at once cannot both believe that the other one is still there. Signatures of members that are
//! not present any more do not count.

mod keeper;

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::BoxStream};

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::clock::{Instant, SharedClock};
use crate::telemetry::families::IntGauge;

use super::{
    decision::Timing,
    lock::{AttemptEnd, Lock, LockError, ReleaseEnd},
    observation::{Novelty, Observation, Sight, Source},
    presence::fingerprint,
    shared::{Members, Shared},
    watch::Glimpse,
};

pub use keeper::GROUP;
use keeper::{Keeper, is_abandoned, keeper_of, sign, signatures};

/// Pause after the API server has forbidden something.
const FORBIDDEN_PAUSE: Duration = Duration::from_secs(30);
/// Time between two log lines while waiting.
const REMINDER: Duration = Duration::from_mins(1);

/// What the task is made of.
pub(super) struct Parts {
    pub(super) lock: Lock,
    pub(super) glimpses: BoxStream<'static, Glimpse>,
    pub(super) lease: String,
    pub(super) identity: String,
    pub(super) timing: Timing,
    pub(super) release_on_cancel: bool,
    pub(super) shared: Arc<Shared>,
    /// Whether controllers may start.
    pub(super) open: watch::Sender<bool>,
    /// Cancelled when this task has done with the Lease.
    pub(super) left: CancellationToken,
    pub(super) shutdown: CancellationToken,
    pub(super) waiting: IntGauge,
    pub(super) clock: SharedClock,
    /// Source of numbers in `0.0..1.0`.
    pub(super) jitter: Box<dyn FnMut() -> f64 + Send>,
}

/// The task of the older manager's Lease.
pub(super) struct LegacyGuard {
    parts: Parts,
    _left: DropGuard,
    me: String,
    seen: Observation,
    watching: bool,
    reread: bool,
    read_at: Instant,
    not_before: Instant,
    /// Random share of a second: not all managers renew at the same moment.
    stagger: Duration,
    leading: watch::Receiver<usize>,
    /// When the last controller stopped leading.
    idle_since: Option<Instant>,
    members: watch::Receiver<Members>,
    reminded: Option<Instant>,
    warned: bool,
}

/// What comes next.
enum Next {
    Wait(Option<Instant>),
    Read,
    Take,
    Leave,
}

impl LegacyGuard {
    pub(super) fn new(mut parts: Parts) -> Self {
        let now = parts.clock.instant();
        Self {
            _left: parts.left.clone().drop_guard(),
            me: fingerprint(&parts.identity),
            seen: Observation::new(now),
            watching: false,
            reread: false,
            read_at: now + parts.timing.retry_period,
            not_before: now,
            stagger: Duration::from_secs(1).mul_f64((parts.jitter)()),
            leading: parts.shared.leading(),
            idle_since: Some(now),
            members: parts.shared.members(),
            reminded: None,
            warned: false,
            parts,
        }
    }

    pub(super) async fn run(mut self) {
        let mut electors = self.parts.shared.electors();
        loop {
            let now = self.parts.clock.instant();
            self.judge(now);
            let last = *electors.borrow_and_update() == 0;
            let next = if last { Next::Leave } else { self.next(now) };
            let wait = match next {
                Next::Read => {
                    self.read().await;
                    continue;
                }
                Next::Take => {
                    self.take().await;
                    continue;
                }
                Next::Leave => {
                    self.leave(last).await;
                    if last {
                        return;
                    }
                    continue;
                }
                Next::Wait(until) => until,
            };
            let until = wait.unwrap_or(now + REMINDER).min(now + REMINDER);
            tokio::select! {
                biased;
                Ok(()) = electors.changed() => {}
                Ok(()) = self.leading.changed() => {
                    let leads = *self.leading.borrow_and_update() > 0;
                    self.idle_since = (!leads).then(|| self.parts.clock.instant());
                }
                Some(glimpse) = self.parts.glimpses.next() => match glimpse {
                    Glimpse::Lease(sight) => {
                        self.watching = true;
                        self.see(sight, Source::Watch, self.parts.clock.instant());
                    }
                    Glimpse::Broken(cause) => {
                        self.watching = false;
                        tracing::debug!(lease = self.parts.lease, error = cause, "watch on lease is broken");
                    }
                },
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    fn see(&mut self, sight: Sight, source: Source, at: Instant) {
        match self.seen.saw(sight, source, at) {
            Novelty::Changed => {
                self.reread = false;
                if self.seen.holder() != Some(GROUP) && is_abandoned(&self.seen, self.parts.clock.now()) {
                    self.seen.disregard_claim();
                }
            }
            Novelty::Same => {}
            Novelty::Stale => self.reread = true,
        }
    }

    fn leads(&self) -> bool {
        self.idle_since.is_none()
    }

    /// Closes when a foreign manager is seen, and says so.
    fn judge(&mut self, now: Instant) {
        let Keeper::Foreign(holder, _) = keeper_of(&self.seen, now) else {
            self.reminded = None;
            return;
        };
        self.set_open(false);
        if self.reminded.is_none_or(|last| now.saturating_duration_since(last) >= REMINDER) {
            self.reminded = Some(now);
            tracing::info!(
                lease = self.parts.lease,
                identity = self.parts.identity,
                holder,
                "waiting for an older manager to stop, no controller starts"
            );
        }
    }

    fn set_open(&self, open: bool) {
        self.parts.waiting.set((!open).into());
        self.parts.open.send_if_modified(|known| {
            let new = *known != open;
            *known = open;
            new
        });
    }

    fn is_open(&self) -> bool {
        *self.parts.open.borrow()
    }

    fn next(&self, now: Instant) -> Next {
        let signed = signatures(&self.seen).any(|signature| signature == self.me);
        // A controller that only starts anew is no reason to let an older manager in.
        let leave_at =
            self.idle_since.filter(|_| signed).map(|since| since + self.parts.timing.lease_duration);
        let look = if self.watching { None } else { Some(self.read_at) };
        if look.is_some_and(|moment| moment <= now) {
            return Next::Read;
        }
        let take_at = match keeper_of(&self.seen, now) {
            Keeper::Unknown => None,
            Keeper::Foreign(_, until) => Some(until),
            Keeper::Nobody | Keeper::Group if !self.is_open() => Some(now),
            Keeper::Nobody | Keeper::Group if !self.leads() => None,
            Keeper::Nobody => Some(now),
            Keeper::Group if !signed => Some(now),
            Keeper::Group => Some(self.seen.first_observed() + self.renew_every() + self.stagger),
        };
        let take_at = take_at.map(|moment| moment.max(self.not_before));
        if take_at.is_some_and(|moment| moment <= now) {
            return Next::Take;
        }
        if leave_at.is_some_and(|moment| moment.max(self.not_before) <= now)
            && keeper_of(&self.seen, now) == Keeper::Group
        {
            return Next::Leave;
        }
        Next::Wait([look, take_at, leave_at].into_iter().flatten().filter(|moment| *moment > now).min())
    }

    /// Two thirds of the duration: this Lease is refreshed by several and wanted by none of them for
    /// itself, so it is not worth more requests.
    fn renew_every(&self) -> Duration {
        self.parts.timing.lease_duration * 2 / 3
    }

    async fn read(&mut self) {
        let read = self.parts.lock.read().await;
        let now = self.parts.clock.instant();
        self.read_at = now + self.parts.timing.retry((self.parts.jitter)());
        match read {
            Ok((sight, at)) => self.see(sight, Source::Answer, at),
            Err(error) => self.failed(&error, now),
        }
    }

    async fn take(&mut self) {
        let (mut changes, _) = sign(&self.seen, &self.me, self.leads(), &self.members.borrow());
        if !self.leads() {
            // Nothing to sign, and nothing to remove from a Lease that does not have it.
            changes.retain(|_, value| value.is_none());
        }
        let read = self.reread || !self.watching;
        let ended = self.parts.lock.attempt_with(self.seen.clone(), read, changes).await;
        for (sight, at) in ended.seen {
            self.see(sight, Source::Answer, at);
        }
        let now = self.parts.clock.instant();
        match ended.end {
            AttemptEnd::Holding { .. } => {
                self.reread = false;
                self.not_before = now;
                self.set_open(true);
            }
            AttemptEnd::HeldByOther | AttemptEnd::LostRace => {
                self.reread = true;
                self.not_before = now + self.stagger / 4;
            }
            AttemptEnd::Failed(error) => {
                self.reread = true;
                self.not_before = now + self.parts.timing.retry((self.parts.jitter)());
                self.failed(&error, now);
            }
        }
    }

    fn failed(&mut self, error: &LockError, now: Instant) {
        if error.code == Some(403) {
            if !self.warned {
                self.warned = true;
                tracing::warn!(
                    lease = self.parts.lease,
                    verb = error.attempt.verb(),
                    error = %error,
                    "not allowed to use the lease of an older manager, starting without regard to it"
                );
            }
            self.read_at = now + FORBIDDEN_PAUSE;
            self.not_before = now + FORBIDDEN_PAUSE;
            self.set_open(true);
        } else {
            tracing::debug!(lease = self.parts.lease, error = %error, "could not use the lease of an older manager");
        }
    }

    /// Removes the own signature, and releases the Lease if it was the last.
    async fn leave(&mut self, for_good: bool) {
        // Without a word when tasks may still run: the Lease then expires after them.
        let silent = for_good
            && (self.parts.shared.is_unfinished()
                || (self.parts.shutdown.is_cancelled() && !self.parts.release_on_cancel));
        let give_up = self.parts.clock.instant() + self.parts.timing.lease_duration;
        while !silent && self.seen.holder() == Some(GROUP) && self.parts.clock.instant() < give_up {
            if !self.leave_once().await {
                tokio::time::sleep(self.parts.timing.release_retry()).await;
                // Look before the next try: what is known may be why this one failed.
                if let Ok((sight, at)) = self.parts.lock.read().await {
                    self.see(sight, Source::Answer, at);
                }
                continue;
            }
            break;
        }
        self.not_before = self.parts.clock.instant() + self.parts.timing.retry_period;
    }

    async fn leave_once(&mut self) -> bool {
        let (changes, others_remain) = sign(&self.seen, &self.me, false, &self.members.borrow());
        let (view, read) = (self.seen.clone(), self.reread || !self.watching);
        let (seen, done) = if others_remain {
            let ended = self.parts.lock.attempt_with(view, read, changes).await;
            (ended.seen, matches!(ended.end, AttemptEnd::Holding { .. }))
        } else {
            let ended = self.parts.lock.release_with(view, read, changes).await;
            (ended.seen, matches!(ended.end, ReleaseEnd::Released | ReleaseEnd::NotOurs))
        };
        for (sight, at) in seen {
            self.see(sight, Source::Answer, at);
        }
        if done && !others_remain {
            tracing::info!(lease = self.parts.lease, identity = GROUP, "released lease {}", self.parts.lease);
        }
        done
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The requests of the upgrade guard: read, renew the group's claim, remove the own signature or release.

use std::time::Duration;

use crate::clock::Instant;

use super::{
    super::{
        decision::Permit,
        lock::{AttemptEnd, ReleaseEnd},
        lock_error::LockError,
        observation::{Source, valid_until},
    },
    Failure, LegacyGuard, OwnClaim, REPEAT_PERIOD,
    holder::{GuardHolder, sign, signatures},
};

/// The request that comes next.
pub(super) enum Next {
    Wait(Option<Instant>),
    Read,
    Renew,
    Release,
}

impl LegacyGuard {
    pub(super) fn next(&self, now: Instant) -> Next {
        let read_at = if self.watching { None } else { Some(self.read_at) };
        if read_at.is_some_and(|moment| moment <= now) {
            return Next::Read;
        }
        let guard_holder = self.guard_holder(now);
        let signed = signatures(&self.parts.names, &self.seen).any(|signature| signature == self.me);
        let needed = self.leads() || *self.wanted.borrow();
        let renew_at = match &guard_holder {
            GuardHolder::Unknown | GuardHolder::Ours { .. } | GuardHolder::Foreign(..) => None,
            GuardHolder::Nobody | GuardHolder::Group if !needed => None,
            GuardHolder::Nobody => Some(now),
            // Somebody who does not see this one has removed its signature: wait, or both would write in turn.
            GuardHolder::Group if !signed => {
                Some(self.claim.map_or(now, |claim| claim.sent + self.parts.timing.retry_period))
            }
            GuardHolder::Group => Some(self.claim.map_or(now, |claim| claim.renew_at)),
        };
        let renew_at = renew_at.map(|moment| moment.max(self.not_before));
        if renew_at.is_some_and(|moment| moment <= now) {
            return Next::Renew;
        }
        // A controller that restarts is no reason to let an older manager in, and no right may rest on a claim whose
        // signature has been removed.
        let release_at = self
            .idle_since
            .filter(|_| signed && !needed && guard_holder == GuardHolder::Group)
            .map(|since| {
                let idle = since + self.parts.timing.lease_duration;
                self.claim.map_or(idle, |claim| claim.until.max(idle)).max(self.not_before)
            });
        if release_at.is_some_and(|moment| moment <= now) {
            return Next::Release;
        }
        let ends = match guard_holder {
            GuardHolder::Ours { until, .. } | GuardHolder::Foreign(_, until) => Some(until),
            GuardHolder::Unknown | GuardHolder::Nobody | GuardHolder::Group => None,
        };
        Next::Wait([read_at, renew_at, release_at, ends].into_iter().flatten().min())
    }

    pub(super) async fn read(&mut self) {
        let read = self.parts.lock.read().await;
        let now = self.parts.clock.instant();
        self.read_at = now + self.parts.timing.retry((self.parts.jitter)());
        match read {
            Ok((snapshot, at)) => self.observe(snapshot, Source::Answer, at),
            Err(error) => self.failed(&error, now),
        }
    }

    pub(super) async fn renew(&mut self) {
        let started = self.parts.clock.instant();
        let (changes, _) = sign(&self.parts.names, &self.seen, &self.me, true, &self.members.borrow());
        let read = self.reread || !self.watching;
        let ended = self.parts.lock.try_acquire_or_renew(self.seen.clone(), read, changes).await;
        for (snapshot, at) in ended.seen {
            self.observe(snapshot, Source::Answer, at);
        }
        let now = self.parts.clock.instant();
        match ended.end {
            AttemptEnd::Holding { sent } => {
                self.reread = false;
                self.not_before = now;
                self.failure = None;
                self.extend(sent);
            }
            AttemptEnd::HeldByOther | AttemptEnd::LostRace => {
                self.reread = true;
                self.not_before = now + self.stagger / 4;
            }
            AttemptEnd::Failed(error) => {
                self.reread = true;
                // Counted from the start: after a request that took long the next one follows at once.
                self.not_before = now.max(started + self.parts.timing.release_retry());
                self.failed(&error, now);
            }
        }
    }

    /// The group's claim was renewed by this process, with a request sent right after `sent`.
    fn extend(&mut self, sent: Instant) {
        let Some(lease) = self.seen.lease() else { return };
        let stored = Duration::from_secs(self.seen.stored_seconds().unwrap_or(1));
        let until = valid_until(sent, lease);
        let claim = OwnClaim { sent, renew_at: sent + stored / 3, until };
        self.claim = Some(claim);
        self.set_state(Permit::Until(claim.validity()), None);
    }

    /// Each cause once, and again every half minute while it lasts.
    fn failed(&mut self, error: &LockError, now: Instant) {
        self.parts.metrics.failed();
        let (attempt, text) = (error.attempt, error.to_string());
        let recent = |known: &Failure| now.saturating_duration_since(known.logged) < REPEAT_PERIOD;
        if self.failure.as_ref().is_some_and(|known| known.text == text && recent(known)) {
            return;
        }
        let effect =
            if self.leads() { "controllers stop when its claim ends" } else { "no controller starts" };
        tracing::error!(
            lease = self.path,
            verb = error.attempt.verb(),
            resource = "leases.coordination.k8s.io",
            namespace = self.parts.lease.namespace,
            error = text,
            cure = format!("allow it, or switch the guard off with {}", self.parts.names.guard_off_advice),
            "cannot use the lease of older managers, {effect}"
        );
        self.failure = Some(Failure { attempt, text, logged: now });
    }

    /// Removes the own signature, and releases the Lease if that was the last one.
    pub(super) async fn release(&mut self, for_good: bool) {
        // No release when tasks may still run: the Lease then expires after them.
        let silent = for_good
            && (self.parts.registry.is_unfinished()
                || (self.parts.shutdown.is_cancelled() && !self.parts.release_on_cancel));
        let give_up = self.parts.clock.instant() + self.parts.timing.lease_duration;
        while !silent
            && self.seen.holder() == Some(self.group.as_str())
            && self.parts.clock.instant() < give_up
        {
            if !self.try_release().await {
                tokio::time::sleep(self.parts.timing.release_retry()).await;
                // Read before the next try: this one may have failed on an outdated version.
                if let Ok((snapshot, at)) = self.parts.lock.read().await {
                    self.observe(snapshot, Source::Answer, at);
                }
                continue;
            }
            break;
        }
        self.not_before = self.parts.clock.instant() + self.parts.timing.retry_period;
    }

    async fn try_release(&mut self) -> bool {
        let (changes, others_remain) = {
            let members = self.members.borrow();
            let (changes, others_signed) = sign(&self.parts.names, &self.seen, &self.me, false, &members);
            (changes, others_signed || members.would_guard(&self.parts.lease.name))
        };
        let (view, read) = (self.seen.clone(), self.reread || !self.watching);
        let (seen, done) = if others_remain {
            let ended = self.parts.lock.try_acquire_or_renew(view, read, changes).await;
            (ended.seen, matches!(ended.end, AttemptEnd::Holding { .. }))
        } else {
            let ended = self.parts.lock.release_with(view, read, changes).await;
            (ended.seen, matches!(ended.end, ReleaseEnd::Released | ReleaseEnd::NotOurs))
        };
        for (snapshot, at) in seen {
            self.observe(snapshot, Source::Answer, at);
        }
        if done && !others_remain {
            tracing::info!(lease = self.path, identity = self.group, "released lease {}", self.path);
        }
        done
    }
}

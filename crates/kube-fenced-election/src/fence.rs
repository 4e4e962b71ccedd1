// SPDX-License-Identifier: Apache-2.0
//! The right to write of one term: valid until a monotonic moment, shared by everything that acts
//! for a controller.
//!
//! Leading is not a boolean. Whoever is about to change something outside this process asks
//! [`Fence::check`] right before and bounds the request by the moment that it answers. Only
//! `election` holds a [`FenceKeeper`]; a fence never comes back to life after its keeper revoked it:
//! a new term has a new fence. While the clock is in doubt ([`ClockCheck`]) it is closed, and opens again with the next
//! renewal of the same term.

use std::fmt;

use tokio::sync::watch;

use crate::clock::{ClockCheck, Instant, SharedClock, sleep_until};

/// The right to write has ended or never was: nothing may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not leading: the right to write of this term has ended")]
pub struct NotLeading;

/// A change was given up, and the term goes on: the renewal that it rested on does not count any more. Try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("given up: the renewal of the lease that it rested on does not count any more")]
pub struct Interrupted;

/// What a renewal grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Validity {
    /// Valid while the monotonic clock is before this moment.
    pub until: Instant,
    /// Right before the renewal was sent.
    pub sent: Instant,
}

impl Validity {
    /// What both grant together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { until: self.until.min(other.until), sent: self.sent.min(other.sent) }
    }
}

/// The right itself, without clock and locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// Valid by the last renewal.
    Until(Validity),
    /// Election is off (`--leader-elect=false`): always valid.
    Always,
    /// Over for good.
    Ended,
}

impl Right {
    /// Whether a change may be sent at `now`, and until when it must have been answered (`None`: no bound).
    ///
    /// # Errors
    /// [`NotLeading`] when the right has ended.
    pub fn check(self, now: Instant) -> Result<Option<Instant>, NotLeading> {
        match self {
            Self::Until(Validity { until, .. }) if now < until => Ok(Some(until)),
            Self::Always => Ok(None),
            Self::Until(_) | Self::Ended => Err(NotLeading),
        }
    }

    /// Moves the end to a later moment; false when nothing changed. One that has ended stays ended.
    pub fn extend(&mut self, renewed: Validity) -> bool {
        match self {
            Self::Until(validity) if validity.until < renewed.until || validity.sent < renewed.sent => {
                *validity = Validity {
                    until: validity.until.max(renewed.until),
                    sent: validity.sent.max(renewed.sent),
                };
                true
            }
            Self::Until(_) | Self::Always | Self::Ended => false,
        }
    }

    /// Whether it rests on a renewal that was sent before this moment.
    pub fn is_older_than(self, doubted: Option<Instant>) -> bool {
        matches!((self, doubted), (Self::Until(validity), Some(since)) if validity.sent < since)
    }
}

/// Read side: may a change be sent now? Cheap to clone.
#[derive(Clone)]
pub struct Fence {
    right: watch::Receiver<Right>,
    clock: SharedClock,
    /// Since when renewals prove something again; see [`ClockCheck`].
    doubted: watch::Receiver<Option<Instant>>,
}

/// Write side, held by the elector of the Lease. Dropping it ends the right.
pub struct FenceKeeper {
    right: watch::Sender<Right>,
}

impl Fence {
    /// A new term's fence, closed until its keeper extends it.
    pub fn new(clock: SharedClock, valid_until: Instant) -> (FenceKeeper, Self) {
        let validity = Validity { until: valid_until, sent: clock.instant() };
        Self::of(Right::Until(validity), clock, watch::channel(None).1)
    }

    /// The fence of a term that a renewal has granted. `check` may raise doubts about the clock.
    pub fn checked(clock: SharedClock, granted: Validity, check: &ClockCheck) -> (FenceKeeper, Self) {
        Self::of(Right::Until(granted), clock, check.doubted())
    }

    fn of(
        right: Right,
        clock: SharedClock,
        doubted: watch::Receiver<Option<Instant>>,
    ) -> (FenceKeeper, Self) {
        let (sender, right) = watch::channel(right);
        (FenceKeeper { right: sender }, Self { right, clock, doubted })
    }

    /// A fence that is always open, for a process that was told not to elect.
    pub fn without_election(clock: SharedClock) -> (FenceKeeper, Self) {
        Self::of(Right::Always, clock, watch::channel(None).1)
    }

    /// Whether a change may be sent now, and until when it must have been answered
    /// (`None`: no bound, election is off).
    ///
    /// # Errors
    /// [`NotLeading`] when the term is over: drop the work, do not retry it; and, unless [`Self::has_ended`], until the
    /// Lease has been renewed.
    pub fn check(&self) -> Result<Option<Instant>, NotLeading> {
        let bound = self.lasts()?;
        if self.right.borrow().is_older_than(*self.doubted.borrow()) { Err(NotLeading) } else { Ok(bound) }
    }

    /// Whether the term is over.
    pub fn has_ended(&self) -> bool {
        self.lasts().is_err()
    }

    /// Whether the term lasts.
    fn lasts(&self) -> Result<Option<Instant>, NotLeading> {
        // A keeper that is gone (its elector ended or panicked) can no longer renew: closed.
        if self.right.has_changed().is_err() {
            return Err(NotLeading);
        }
        let right = *self.right.borrow();
        right.check(self.clock.instant())
    }

    /// Waits until this moment of the fence's own clock, which may differ from the timer's.
    pub async fn reaches(&self, moment: Instant) {
        sleep_until(&*self.clock, moment).await;
    }

    /// Resolves when the right has ended: revoked, keeper gone, or its moment passed unrenewed.
    pub async fn expired(&self) {
        let mut right = self.right.clone();
        loop {
            // Before the look at it, or a revocation in between would go unnoticed until the moment passes.
            right.mark_unchanged();
            let Ok(bound) = self.lasts() else { return };
            let over = async {
                match bound {
                    Some(moment) => self.reaches(moment).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = over => {}
                changed = right.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Resolves when nothing may be changed any more, if only until the next renewal.
    pub async fn closed(&self) {
        let mut doubted = self.doubted.clone();
        let in_doubt = async {
            loop {
                doubted.mark_unchanged();
                // Without anybody who might raise a doubt there will be none.
                if self.check().is_err() || doubted.changed().await.is_err() {
                    break;
                }
            }
            if self.check().is_ok() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.expired() => {}
            () = in_doubt => {}
        }
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fence").field(&*self.right.borrow()).finish()
    }
}

impl FenceKeeper {
    /// Moves the end of a right whose clock nobody doubts. Without effect once revoked.
    pub fn extend(&self, valid_until: Instant) {
        self.renew(Validity { until: valid_until, sent: valid_until });
    }

    /// Moves the end of the right after a successful renewal. Without effect once revoked.
    pub fn renew(&self, renewed: Validity) {
        self.right.send_if_modified(|right| right.extend(renewed));
    }

    /// Ends the right for good.
    pub fn revoke(&self) {
        self.right.send_replace(Right::Ended);
    }
}

impl fmt::Debug for FenceKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FenceKeeper").field(&*self.right.borrow()).finish()
    }
}

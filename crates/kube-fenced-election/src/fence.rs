// SPDX-License-Identifier: Apache-2.0
//! The right to write of one term: valid until a monotonic moment, shared by everything that acts
//! for a controller.
//!
//! Leading is not a boolean. Whoever is about to change something outside this process asks
//! [`Fence::check`] right before and bounds the request by the moment that it answers. Only
//! `election` holds a [`FenceKeeper`]; a fence never comes back to life after its keeper revoked it:
//! a new term has a new fence.

use std::fmt;

use tokio::sync::watch;

use crate::clock::{Instant, SharedClock};

/// The right to write has ended or never was: nothing may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not leading: the right to write of this term has ended")]
pub struct NotLeading;

/// The right itself, without clock and locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// Valid while the monotonic clock is before this moment.
    Until(Instant),
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
            Self::Until(moment) if now < moment => Ok(Some(moment)),
            Self::Always => Ok(None),
            Self::Until(_) | Self::Ended => Err(NotLeading),
        }
    }

    /// Moves the end to a later moment; false when nothing changed. One that has ended stays ended.
    pub fn extend(&mut self, valid_until: Instant) -> bool {
        match self {
            Self::Until(moment) if *moment < valid_until => {
                *moment = valid_until;
                true
            }
            Self::Until(_) | Self::Always | Self::Ended => false,
        }
    }
}

/// Read side: may a change be sent now? Cheap to clone.
#[derive(Clone)]
pub struct Fence {
    right: watch::Receiver<Right>,
    clock: SharedClock,
}

/// Write side, held by the elector of the Lease. Dropping it ends the right.
pub struct FenceKeeper {
    right: watch::Sender<Right>,
}

impl Fence {
    /// A new term's fence, closed until its keeper extends it.
    pub fn new(clock: SharedClock, valid_until: Instant) -> (FenceKeeper, Self) {
        let (sender, right) = watch::channel(Right::Until(valid_until));
        (FenceKeeper { right: sender }, Self { right, clock })
    }

    /// A fence that is always open, for a process that was told not to elect.
    pub fn without_election(clock: SharedClock) -> (FenceKeeper, Self) {
        let (sender, right) = watch::channel(Right::Always);
        (FenceKeeper { right: sender }, Self { right, clock })
    }

    /// Whether a change may be sent now, and until when it must have been answered
    /// (`None`: no bound, election is off).
    ///
    /// # Errors
    /// [`NotLeading`] when the term is over: drop the work, do not retry it.
    pub fn check(&self) -> Result<Option<Instant>, NotLeading> {
        // A keeper that is gone (its elector ended or panicked) can no longer renew: closed.
        if self.right.has_changed().is_err() {
            return Err(NotLeading);
        }
        let right = *self.right.borrow();
        right.check(self.clock.instant())
    }

    /// Resolves when the right has ended: revoked, keeper gone, or its moment passed unrenewed.
    pub async fn expired(&self) {
        let mut right = self.right.clone();
        loop {
            // Before the look at it, or a revocation in between would go unnoticed until the moment passes.
            right.mark_unchanged();
            let Ok(bound) = self.check() else { return };
            let over = async {
                match bound {
                    // By the fence's own clock, which may differ from the timer's.
                    Some(moment) => {
                        tokio::time::sleep(moment.saturating_duration_since(self.clock.instant())).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = over => {}
                changed = right.changed() => if changed.is_err() { return },
            }
        }
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fence").field(&*self.right.borrow()).finish()
    }
}

impl FenceKeeper {
    /// Moves the end of the right after a successful renewal. Without effect once revoked.
    pub fn extend(&self, valid_until: Instant) {
        self.right.send_if_modified(|right| right.extend(valid_until));
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

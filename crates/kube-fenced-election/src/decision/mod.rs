// SPDX-License-Identifier: Apache-2.0
//! The decisions of one elector: pure, driven by events, clocked by its caller.
//!
//! ```text
//!            attempt won                 deadline, rival, asked to leave in vain
//!  Standby ───────────────▶ Leading ─────────────────────────▶ Stopping
//!     ▲                        │ controller left                   │ controller left
//!     │                        ▼                                   │
//!     └──────────────────── Releasing ◀────────────────────────────┘
//!                              │ shutting down, or tasks may still run
//!                              ▼
//!                            Ended
//! ```
//!
//! What holds in every state, and is checked against whole replicas in `race_tests` and for all orders of
//! events in `tests/election_model`:
//! - The right to write is extended only while it lasts; once it has ended it is never given again in
//!   the same term. It is the earlier of the controller's own validity and the group's claim of the upgrade guard.
//! - `Standby` is entered only after the controller has reported that its tasks have ended.
//! - A standby that sees somebody renew sends nothing.
//!
//! Every [`Core::step`] looks at the clock before it looks at its event: a process that was frozen
//! loses its term before it believes an answer that had been waiting in a socket.

mod core;
#[cfg(test)]
mod core_tests;
mod permit;
mod timing;

use crate::clock::Instant;

use super::{
    Leaving,
    lock::{AttemptEnd, Exchanged, LockError, ReleaseEnd},
    observation::Sight,
};

pub use core::Core;
pub use permit::Permit;
pub use timing::Timing;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// The watch begins, for the first time or after a gap, with this state. The watch is healthy.
    Listed(Sight),
    /// The watch shows a change of the Lease. The watch is healthy.
    Watched(Sight),
    /// The watch does not deliver any more.
    WatchBroken,
    /// [`Action::Read`] has ended.
    Read(Result<(Sight, Instant), LockError>),
    /// [`Action::Attempt`] has ended.
    Attempted(Exchanged<AttemptEnd>),
    /// [`Action::Release`] has ended.
    Released(Exchanged<ReleaseEnd>),
    /// The controller may run (its kinds are served): contend.
    Stand,
    /// The controller may not run: do not contend.
    StandDown,
    /// What the upgrade guard allows now.
    Guard(Permit),
    /// The process shuts down: never acquire again.
    Shutdown,
    /// Another replica should lead this one.
    Surplus,
    /// The controller has left: its tasks have ended, or never will.
    Left(Leaving),
}

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Read the Lease from the API server.
    Read,
    /// Try to acquire or renew, on a fresh read if `read`. Ends at `until` at the latest.
    Attempt {
        /// Ask the API server first.
        read: bool,
        /// When the attempt is given up.
        until: Instant,
    },
    /// Try to release, on a fresh read if `read`. Ends at `until` at the latest.
    Release {
        /// Ask the API server first.
        read: bool,
        /// When the attempt is given up.
        until: Instant,
    },
    /// A term begins: open a fence, start the controller.
    Begin {
        /// First end of the right to write.
        valid_until: Instant,
        /// `leaseTransitions` of the term.
        transitions: i32,
    },
    /// The right to write lasts longer now.
    Extend {
        /// Its new end.
        valid_until: Instant,
    },
    /// Ask the controller to finish.
    AskToLeave(Why),
    /// The term is over: close the fence, drop the controller.
    End(Why),
    /// Everything about the last term is done; `released`: the Lease was given away.
    Settled {
        /// The Lease shows no holder.
        released: bool,
    },
    /// This elector is done for good.
    Finish,
}

/// Why a term ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Why {
    /// No renewal has succeeded for the renew deadline.
    RenewDeadline,
    /// Somebody else holds the Lease.
    Rival(String),
    /// Somebody else has released it in our name.
    ReleasedByOther,
    /// An older manager has come back.
    Legacy,
    /// This process has not renewed the group's claim on the older manager's Lease in time.
    GuardNotRenewed,
    /// Another replica has less to do.
    Surplus,
    /// The controller has ended.
    ControllerLeft,
}

impl Why {
    /// A word for logs and metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::RenewDeadline => "RenewDeadline",
            Self::Rival(_) => "OtherHolder",
            Self::ReleasedByOther => "ReleasedByOther",
            Self::Legacy => "LegacyLease",
            Self::GuardNotRenewed => "GuardNotRenewed",
            Self::Surplus => "Surplus",
            Self::ControllerLeft => "ControllerLeft",
        }
    }
}

/// What the core needs to know about the world around, at every step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Surroundings {
    /// Random, in `0.0..1.0`.
    pub jitter: f64,
    /// Leases that this process leads or is about to acquire.
    pub load: usize,
    /// Whether controllers are spread over replicas.
    pub spread: bool,
    /// No other member is known to be present.
    pub alone: bool,
    /// The controller could work, as far as is known: see [`super::Stance::fit`].
    pub fit: bool,
}

/// Where an elector stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Not leading; may be contending.
    Standby,
    /// Leading.
    Leading,
    /// Lost; the controller's tasks may still run.
    Stopping,
    /// The controller has left; the Lease is being released.
    Releasing,
    /// Done.
    Ended,
}

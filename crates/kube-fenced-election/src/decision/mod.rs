// SPDX-License-Identifier: Apache-2.0
//! The decisions of one elector: pure, driven by events, clocked by its caller.
//!
//! ```text
//!            acquired                    deadline, rival, step-down timed out  
//!  Standby ───────────────▶ Leading ─────────────────────────▶ Stopping
//!     ▲                        │ stepped down                      │ stepped down   
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
//! Every [`ElectorState::step`] looks at the clock before it looks at its event: a process that was frozen
//! loses its term before it believes an answer that had been waiting in a socket.

mod elector_state;
#[cfg(test)]
mod elector_state_tests;
mod permit;
mod timing;

use crate::{clock::Instant, fence::Validity};

use super::{
    TermEnd,
    lock::{AttemptEnd, Exchanged, ReleaseEnd},
    lock_error::LockError,
    observation::LeaseSnapshot,
};

pub use elector_state::ElectorState;
pub use permit::Permit;
pub use timing::Timing;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// The watch begins, for the first time or after a gap, with this state. The watch is healthy.
    Listed(LeaseSnapshot),
    /// The watch shows a change of the Lease. The watch is healthy.
    Watched(LeaseSnapshot),
    /// The watch does not deliver any more.
    WatchBroken,
    /// [`Action::Read`] has ended.
    Read(Result<(LeaseSnapshot, Instant), LockError>),
    /// [`Action::TryAcquire`] or [`Action::Renew`] has ended.
    Attempted(Exchanged<AttemptEnd>),
    /// [`Action::Release`] has ended.
    Released(Exchanged<ReleaseEnd>),
    /// The controller may run, for instance because its kinds are served: contend.
    Contend,
    /// The controller may not run: do not contend.
    Withdraw,
    /// What the upgrade guard allows now.
    Guard(Permit),
    /// The process shuts down: never acquire again.
    Shutdown,
    /// The clock may have stood still before this moment: renew at once.
    ClockDoubted(Instant),
    /// Another replica leads fewer controllers and should lead this one.
    Surplus,
    /// The controller has stepped down.
    SteppedDown(TermEnd),
}

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Read the Lease from the API server.
    Read,
    /// Try to acquire the Lease, on a fresh read if `read`. Ends at `until` at the latest.
    TryAcquire {
        /// Ask the API server first.
        read: bool,
        /// When the attempt is given up.
        until: Instant,
    },
    /// Renew the Lease, on a fresh read if `read`. Ends at `until` at the latest.
    Renew {
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
    StartLeading {
        /// The first right to write.
        validity: Validity,
        /// `leaseTransitions` of the term.
        transitions: i32,
    },
    /// The right to write lasts longer now.
    Extend(Validity),
    /// Ask the controller to step down.
    RequestStepDown(StepDownReason),
    /// The term is over: close the fence, drop the controller.
    StopLeading(StepDownReason),
    /// Everything about the last term is done; `released`: the Lease was given away.
    Concluded {
        /// The Lease shows no holder.
        released: bool,
    },
    /// The election is over for this process.
    Finish,
}

/// Why a term ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StepDownReason {
    /// No renewal has succeeded for the renew deadline.
    RenewDeadline,
    /// Somebody else holds the Lease.
    Rival(String),
    /// Somebody else has released it under this holder's name.
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

impl StepDownReason {
    /// A word for logs and metrics.
    pub(crate) fn word(&self) -> &'static str {
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

/// What [`ElectorState::step`] needs besides the event and the time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepInputs {
    /// Random, in `0.0..1.0`.
    pub jitter: f64,
    /// Leases that this process leads or is about to acquire.
    pub load: usize,
    /// Whether controllers are spread over replicas.
    pub spread: bool,
    /// No other member is known to be present.
    pub alone: bool,
    /// The controller could work, as far as is known: see [`super::Candidacy::set_eligible`].
    pub eligible: bool,
}

/// Stage of an election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Not leading; may be contending.
    Standby,
    /// Leading.
    Leading,
    /// Lost; the controller's tasks may still run.
    Stopping,
    /// The controller has stepped down; the Lease is being released.
    Releasing,
    /// Done.
    Ended,
}

// SPDX-License-Identifier: Apache-2.0
//! Whether the clock of this machine stood still while that of the API server went on.
//!
//! A hypervisor that pauses a virtual machine stops all of its clocks; no clock in it shows afterwards that time is
//! missing. The `Date` of the API server's answers does: when it has moved on by more than the local clock can explain,
//! nothing may be changed under a renewal that was sent before. Terms go on: the next renewal decides.
//!
//! `Date` has steps of a second, answers take their time, and API servers disagree. So a jump counts when it is larger
//! than the margin of a Lease, a second and the round trip together, compared with the most advanced API server of the
//! last one to two minutes.

use std::{fmt, sync::Arc, time::Duration};

use jiff::SignedDuration;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    clock::{Instant, SharedClock, Timestamp},
    observation::margin,
};

/// `Date` is cut to whole seconds.
const STEP: SignedDuration = SignedDuration::from_secs(1);
/// An answer that took longer says too little to compare others with it.
const PROMPT: Duration = Duration::from_secs(3);
/// What was seen counts for this time, and until as much has passed again.
const PERIOD: Duration = Duration::from_mins(1);

/// Compares the API server's clock with ours, for all terms of a process. Cheap to clone.
#[derive(Clone)]
pub struct ClockCheck(Arc<Shared>);

struct Shared {
    clock: SharedClock,
    margin: SignedDuration,
    offsets: Mutex<Option<Offsets>>,
    doubted: watch::Sender<Option<Instant>>,
}

/// The largest offsets of the API server's clock against ours that answers allow.
#[derive(Debug, Clone, Copy)]
struct Offsets {
    /// When the local clock was compared first, and what it is compared with.
    origin: (Instant, Timestamp),
    period: Instant,
    highest: SignedDuration,
    /// In the period before.
    before: SignedDuration,
}

impl ClockCheck {
    /// For Leases of this duration. `clock`: that of the elections.
    pub fn new(clock: SharedClock, lease_duration: Duration) -> Self {
        let margin = SignedDuration::try_from(margin(lease_duration)).unwrap_or(SignedDuration::MAX);
        Self(Arc::new(Shared { clock, margin, offsets: Mutex::new(None), doubted: watch::channel(None).0 }))
    }

    /// The moment at which a request is sent.
    pub fn sent(&self) -> Instant {
        self.0.clock.instant()
    }

    /// An answer with this `Date` has just been received, whose request had been sent at `sent`.
    pub fn answered(&self, sent: Instant, date: Timestamp) {
        let received = self.0.clock.instant();
        let jumped = {
            let mut offsets = self.0.offsets.lock();
            let known = offsets.get_or_insert_with(|| Offsets {
                origin: (sent, date),
                period: received,
                highest: SignedDuration::MIN,
                before: SignedDuration::MIN,
            });
            known.add(date, sent, received)
        };
        if let Some(jumped) = jumped.filter(|it| *it > self.0.margin) {
            tracing::warn!(
                seconds = jumped.as_secs(),
                "the clock of the API server has moved on further than ours: this machine may have been paused; \
                 nothing is changed until leases have been renewed"
            );
            self.0.doubted.send_replace(Some(received));
        }
    }

    /// Renewals that were sent before this moment prove nothing.
    pub(crate) fn doubted(&self) -> watch::Receiver<Option<Instant>> {
        self.0.doubted.subscribe()
    }
}

impl fmt::Debug for ClockCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClockCheck").field("doubted", &*self.0.doubted.borrow()).finish_non_exhaustive()
    }
}

impl Offsets {
    /// By how much the API server's clock has certainly moved on further than ours; `None`: not at all.
    fn add(&mut self, date: Timestamp, sent: Instant, received: Instant) -> Option<SignedDuration> {
        let (origin, first) = self.origin;
        let server = date.duration_since(first);
        let local = |at: Instant| SignedDuration::try_from(at.saturating_duration_since(origin));
        let least = server.saturating_sub(local(received).ok()?);
        let most = server.saturating_add(STEP).saturating_sub(local(sent).ok()?);
        if received.saturating_duration_since(self.period) >= PERIOD {
            (self.before, self.highest, self.period) = (self.highest, SignedDuration::MIN, received);
        }
        let known = self.highest.max(self.before);
        if received.saturating_duration_since(sent) <= PROMPT {
            self.highest = self.highest.max(most);
        } else if least > known {
            self.highest = least.saturating_add(STEP);
        }
        (known > SignedDuration::MIN && least > known).then(|| least.saturating_sub(known))
    }
}

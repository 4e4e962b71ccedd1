// SPDX-License-Identifier: Apache-2.0
//! Wall time and monotonic time behind a trait: the only reader of time.
//!
//! Wall time ([`Timestamp`]) is for what is stored or compared with stored values; monotonic time
//! ([`Instant`]) for Leases, back-off and time-outs. A remote timestamp never decides leadership
//! against the local clock.

use std::{fmt, sync::Arc};

pub use jiff::Timestamp;
/// Monotonic time: stops for no wall-clock change, goes on while the process is frozen by SIGSTOP.
pub use tokio::time::Instant;

/// Both clocks of a process.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Wall time now.
    fn now(&self) -> Timestamp;
    /// Monotonic time now.
    fn instant(&self) -> Instant;
}

/// A clock that everything of a process shares.
pub type SharedClock = Arc<dyn Clock>;

/// The clocks of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "the one home of reading time")]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }
}

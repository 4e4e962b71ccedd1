// SPDX-License-Identifier: Apache-2.0
//! Wall time and monotonic time behind a trait: the only reader of time.
//!
//! Wall time ([`Timestamp`]) is for what is stored or compared with stored values; monotonic time
//! ([`Instant`]) for Leases, back-off and time-outs. A remote timestamp never decides leadership
//! against the local clock.
//!
//! The clock of timers stands still while the machine is suspended. [`BootClock`], by which rights are judged, goes on;
//! timers know nothing of it, so whoever waits for a moment of it waits by [`sleep_until`]. A hypervisor that pauses a
//! virtual machine stops both, which [`ClockCheck`] notices by the API server's clock.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc, LazyLock, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub use jiff::Timestamp;
/// Monotonic time: stops for no wall-clock change, goes on while the process is frozen by SIGSTOP.
pub use tokio::time::Instant;

pub use crate::clock_check::ClockCheck;

/// Both clocks of a process.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Wall time now.
    fn now(&self) -> Timestamp;
    /// Monotonic time now.
    fn instant(&self) -> Instant;
}

/// A clock that everything of a process shares.
pub type SharedClock = Arc<dyn Clock>;

/// The clocks of the operating system; the monotonic one is that of timers.
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

/// [`SystemClock`] for elections and fences: the monotonic clock goes on while the machine is suspended.
#[derive(Debug, Clone, Copy, Default)]
pub struct BootClock;

impl Clock for BootClock {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn instant(&self) -> Instant {
        SystemClock.instant() + SUSPENDED.total()
    }
}

/// Waits until this moment of the clock, by a timer: after a suspension the timer is late by at most the time that was
/// left when it began, and by nothing when it began afterwards.
pub fn sleep_until(clock: &dyn Clock, moment: Instant) -> impl Future<Output = ()> + Send + use<> {
    tokio::time::sleep(moment.saturating_duration_since(clock.instant()))
}

/// How long this machine was suspended since the process asked first.
static SUSPENDED: LazyLock<Suspension> = LazyLock::new(Suspension::default);

/// The two monotonic clocks of the system at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// The clock of timers, which stands still while the machine is suspended.
    pub(crate) running: Duration,
    /// Time since the machine was started.
    pub(crate) booted: Duration,
}

impl Reading {
    /// `None`: the process was interrupted between the two. The next reading shows what this one might have.
    #[expect(clippy::disallowed_methods, reason = "the one home of reading time")]
    fn of_system() -> Option<Self> {
        static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
        let running = START.elapsed();
        let booted = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let uninterrupted = START.elapsed().saturating_sub(running) < Suspension::NOISE / 2;
        let (seconds, nanos) = (u64::try_from(booted.tv_sec).ok()?, u32::try_from(booted.tv_nsec).ok()?);
        uninterrupted.then(|| Self { running, booted: Duration::new(seconds, nanos) })
    }
}

/// The time for which the clock of timers stood still.
#[derive(Debug, Default)]
pub(crate) struct Suspension {
    start: OnceLock<Reading>,
    /// In milliseconds. Only ever rises.
    total: AtomicU64,
}

impl Suspension {
    /// What lies between the two clocks because one is read after the other.
    const NOISE: Duration = Duration::from_millis(100);

    fn total(&self) -> Duration {
        // A second reading: whoever was interrupted may have been suspended.
        let reading = Reading::of_system().or_else(Reading::of_system);
        reading.map_or_else(|| self.known(), |now| self.add(now))
    }

    fn known(&self) -> Duration {
        Duration::from_millis(self.total.load(Ordering::Relaxed))
    }

    /// How long it is by this reading and those before. The first one begins.
    pub(crate) fn add(&self, now: Reading) -> Duration {
        let start = self.start.get_or_init(|| now);
        let booted = now.booted.saturating_sub(start.booted);
        let stood_still = booted.saturating_sub(now.running.saturating_sub(start.running));
        let known = self.known();
        if stood_still <= known + Self::NOISE {
            return known;
        }
        let total = u64::try_from(stood_still.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.total.fetch_max(total, Ordering::Relaxed).max(total))
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The canary: tells when this machine did not let a process run that wanted to.
//!
//! A thread of its own, which the campaign's own work does not delay. It sleeps and computes by turns, as a
//! manager does that renews a Lease: a thread that only sleeps is let in before those that have work, and is
//! on time long after managers are starved. (On two processors with 48 processes that compute all the time,
//! something that needs 7 ms of computing came 160 ms late, and a mere sleeper 22 ms.)

use std::{
    hint::black_box,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    time::Duration,
};

use parking_lot::Mutex;

use crate::support::{
    wait::{instant, now},
    write_gaps::{Span, length},
};

/// Sleep between two turns.
const SLEEP: Duration = Duration::from_millis(100);
/// Time that the work of one turn takes a thread that is not disturbed: a twentieth of a processor in all.
const WORK: Duration = Duration::from_millis(5);
/// A turn that takes longer was starved.
const LATE: Duration = Duration::from_millis(200);
/// It gives up after so many turns: ten days.
const TURNS: usize = 8_000_000;

/// The running canary of all campaigns; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Canary {
    starved: Arc<Mutex<Vec<Span>>>,
    _stop: Sender<()>,
}

impl Canary {
    /// Sets it free.
    ///
    /// # Panics
    /// The thread cannot be started.
    pub(crate) fn start() -> Self {
        let (stop, stopped) = mpsc::channel::<()>();
        let starved: Arc<Mutex<Vec<Span>>> = Arc::default();
        let noted = Arc::clone(&starved);
        let live = move || {
            let rounds = rounds_of_work();
            let mut before = now();
            for _ in 0..TURNS {
                if stopped.recv_timeout(SLEEP) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
                compute(rounds);
                let turn = (before, now());
                if length(turn) > LATE {
                    noted.lock().push(turn);
                }
                before = turn.1;
            }
        };
        std::thread::Builder::new().name("canary".to_owned()).spawn(live).expect("start a thread");
        Self { starved, _stop: stop }
    }

    /// The times in which it was starved so far.
    pub(crate) fn starved(&self) -> Vec<Span> {
        self.starved.lock().clone()
    }
}

fn compute(rounds: u32) {
    black_box((0..rounds).fold(0_u32, |sum, it| black_box(sum.rotate_left(5) ^ it)));
}

/// How much this machine computes in [`WORK`], by the least disturbed of some tries.
fn rounds_of_work() -> u32 {
    const TRY: u32 = 20_000;
    let tries = (0..20).map(|_| {
        let from = instant();
        compute(TRY);
        from.elapsed().max(Duration::from_micros(1))
    });
    let fastest = tries.min().unwrap_or(WORK);
    let times = WORK.as_micros() / fastest.as_micros();
    u32::try_from(times).unwrap_or(u32::MAX).saturating_mul(TRY)
}

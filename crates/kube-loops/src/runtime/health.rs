// SPDX-License-Identifier: Apache-2.0
//! Whether a controller can work, judged by its watches and by reads that are answered.
//!
//! A watch reports its own errors, but a connection that hangs says nothing: only a read that is answered
//! shows that the kind can be read, and only a comparison with a list that a silent watch has missed nothing.
//! Each kind is asked for by itself: one that hangs is not excused by another.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use tokio::time::{sleep, sleep_until};

use kube_fenced_election::clock::Instant;

use super::{controller::Term, watches::Read};

/// How often the health of the watches is reported to the term's progress.
const PERIOD: Duration = Duration::from_secs(5);
/// How often the API server is asked whether it answers reads.
const PROBE_PERIOD: Duration = Duration::from_secs(15);
/// Each store is asked once in this many rounds; the first one, and one that did not answer, in each.
const ROUNDS: usize = 4;

/// The watch that has failed for the longest time without a break: since when, its kind and why. `None`: none
/// fails.
pub fn failing(reads: &[Read]) -> Option<(Instant, String)> {
    let failing = reads.iter().filter_map(|read| {
        let (since, cause) = read.store.failing_since()?;
        Some((since, format!("{}: {cause}", read.store.kind())))
    });
    failing.min_by_key(|(since, _)| *since)
}

/// Whether a controller with these reads may acquire its Lease: each kind answers a read, and no watch fails.
///
/// # Errors
/// It may not: which kind does not answer, and why.
pub async fn eligible(reads: &[Read]) -> Result<(), String> {
    futures::future::try_join_all(reads.iter().map(answered)).await?;
    failing(reads).map_or(Ok(()), |(_, cause)| Err(cause))
}

/// Asks for something small of the kind, and waits for the answer for ten seconds at most.
async fn answered(read: &Read) -> Result<(), String> {
    read.store.probe().await.map_err(|cause| format!("{}: {cause}", read.store.kind()))
}

/// Reports to the progress of a term whether its watches work.
pub(super) struct Health<'a> {
    reads: &'a [Read],
    term: &'a Term,
    /// Stores that do not answer reads, by their place: since when, and why.
    unanswered: Mutex<HashMap<usize, (Instant, String)>>,
}

impl<'a> Health<'a> {
    pub(super) fn new(reads: &'a [Read], term: &'a Term) -> Self {
        Self { reads, term, unanswered: Mutex::default() }
    }

    /// Probes and reports for ever.
    pub(super) async fn watch(&self) {
        tokio::join!(self.probe(), self.report());
    }

    async fn probe(&self) {
        let mut round = 0_usize;
        loop {
            let asked = self.term.clock.instant();
            let due = self.reads.iter().enumerate().filter(|(place, _)| {
                *place == 0 || place % ROUNDS == round % ROUNDS || self.unanswered.lock().contains_key(place)
            });
            let silent = self.reads.iter().map(|read| read.store.check_silence());
            futures::future::join(
                futures::future::join_all(due.map(|(place, read)| self.ask(place, read, asked))),
                futures::future::join_all(silent),
            )
            .await;
            round = round.wrapping_add(1);
            sleep_until(asked + PROBE_PERIOD).await;
        }
    }

    async fn ask(&self, place: usize, read: &Read, asked: Instant) {
        let answer = answered(read).await;
        let mut unanswered = self.unanswered.lock();
        match answer {
            Ok(()) => drop(unanswered.remove(&place)),
            Err(cause) => {
                let since = unanswered.get(&place).map_or(asked, |(since, _)| *since);
                unanswered.insert(place, (since, cause));
            }
        }
    }

    async fn report(&self) {
        loop {
            let unanswered: Vec<(Instant, String)> = self.unanswered.lock().values().cloned().collect();
            let failing = failing(self.reads).into_iter().chain(unanswered).min_by_key(|(since, _)| *since);
            self.term.progress.watch_health(failing);
            sleep(PERIOD).await;
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Waiting for a condition, with a deadline and a word on what was seen last.

use std::time::Duration;

pub(crate) use kube_fenced_election::clock::Instant;
use kube_fenced_election::clock::{Clock, SystemClock, Timestamp};

/// How long the last look may take beyond the deadline.
const LOOK: Duration = Duration::from_secs(2);

/// Wall time, for comparison with times that the API server wrote: it runs on the same machine.
pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

/// Monotonic time, for measuring how long something took.
pub(crate) fn instant() -> Instant {
    SystemClock.instant()
}

/// Asks `probe` until it answers `Ok`, and returns what it answered.
///
/// `probe` says in its `Err` what it saw instead; the last such text is part of the panic when `within`
/// passes first. Asks at once, then each 20 ms at first, each 200 ms in the long run, and once more when the
/// deadline has come: a machine that stood still meanwhile is no reason to fail.
///
/// # Panics
/// When the deadline passes.
pub(crate) async fn eventually<T, F>(within: Duration, what: &str, probe: F) -> T
where
    F: AsyncFnMut() -> Result<T, String>,
{
    match within_deadline(within, probe).await {
        Ok(answer) => answer,
        Err(seen) => panic!("not within {within:?}: {what}; seen last: {seen}"),
    }
}

/// Like [`eventually`], but returns what was seen last instead of a panic.
pub(crate) async fn within_deadline<T, F>(within: Duration, mut probe: F) -> Result<T, String>
where
    F: AsyncFnMut() -> Result<T, String>,
{
    let deadline = instant() + within;
    let mut seen = "nothing: the first look did not come back".to_owned();
    let mut pause = Duration::from_millis(20);
    loop {
        let last = instant() >= deadline;
        match tokio::time::timeout_at(deadline.max(instant() + LOOK), probe()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(other)) => seen = other,
            Err(_) => return Err(format!("{seen} (and the last look did not come back)")),
        }
        if last {
            return Err(seen);
        }
        tokio::time::sleep_until(deadline.min(instant() + pause)).await;
        pause = (pause * 5 / 4).min(Duration::from_millis(200));
    }
}

/// Asserts that `probe` answers `Ok` at every look for the whole of `time`, a look each 50 ms: for what must
/// *not* happen while time itself is what is tried, such as a lease that runs out. Otherwise, wait until what
/// could have done it has had its turn ([`super::passes`]).
///
/// # Panics
/// At the first `Err`.
pub(crate) async fn throughout<F>(time: Duration, what: &str, mut probe: F)
where
    F: AsyncFnMut() -> Result<(), String>,
{
    let from = instant();
    while from.elapsed() < time {
        if let Err(seen) = probe().await {
            panic!("did not hold for {time:?}: {what}; after {:?}: {seen}", from.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Whether a controller could work, as far as what it reads tells.
//!
//! A watch reports its own errors, but a connection that hangs says nothing: only a read that is answered
//! shows that the API server can be reached.

use kube_fenced_election::clock::Instant;

use super::watches::Read;

/// The watch that has failed for the longest time without a break: since when, its kind and why. `None`: none
/// fails.
pub fn failing(reads: &[Read]) -> Option<(Instant, String)> {
    let failing = reads.iter().filter_map(|read| {
        let (since, cause) = read.store.failing_since()?;
        Some((since, format!("{}: {cause}", read.store.kind())))
    });
    failing.min_by_key(|(since, _)| *since)
}

/// Asks the API server for something small, and waits for its answer for ten seconds at most. One store stands
/// for all: what is asked is whether reads are answered, not what they say.
///
/// # Errors
/// There was no answer: the kind that was asked for, and why.
pub async fn answered(reads: &[Read]) -> Result<(), String> {
    match reads.first() {
        Some(read) => read.store.probe().await.map_err(|cause| format!("{}: {cause}", read.store.kind())),
        None => Ok(()),
    }
}

/// Whether a controller that reads these could work now: a read is answered, and no watch fails.
///
/// # Errors
/// It could not: which kind, and why.
pub async fn could_work(reads: &[Read]) -> Result<(), String> {
    answered(reads).await?;
    failing(reads).map_or(Ok(()), |(_, cause)| Err(cause))
}

// SPDX-License-Identifier: Apache-2.0
//! One term of one controller, from the first lists to the last pass.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    panic::AssertUnwindSafe,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use kube_fenced_election::clock::Instant;

use super::{
    super::{
        catch_up::catch_up,
        controller::{RunError, Term},
        health::Health,
        queue::Queue,
        tasks::{Ended, TaskSet, panic_message},
        watches::{Read, Subscription, sync_in_time},
    },
    Background, BuiltLoop,
    sources::AllKeys,
};

/// How long the first lists may take, and how long catching up may take.
const SYNC_TIMEOUT: Duration = Duration::from_mins(2);
/// Shortest time after which all keys are queued though nothing has happened; at most
/// [`RESYNC_SPREAD`] longer.
const RESYNC: Duration = Duration::from_hours(9);
const RESYNC_SPREAD: Duration = Duration::from_hours(2);
/// How long a required kind may be unknown to the API server before the run ends. Longer than a watch waits
/// before it asks again: an API server that has just come up may not know a kind for a moment.
const GIVE_UP: Duration = Duration::from_secs(40);
/// How often it is looked whether a required kind has vanished.
const LOOK: Duration = Duration::from_secs(5);
/// How long the last events of a term may take to be sent.
const FLUSH_BUDGET: Duration = Duration::from_secs(1);

/// Runs the loops of one controller for one term: see the page of this module.
///
/// Ends with `Ok` after `term.drain` is cancelled and the passes under way have ended. When it ends, no task of it runs
/// any more. May be dropped at any time: its tasks are aborted, and `term.tasks` tells when they have ended.
///
/// # Errors
/// [`RunError::CacheSync`] when a store is not filled or does not catch up within two minutes, or when a
/// required kind is served no longer: there is nothing to do then but to hold the Lease;
/// [`RunError::Ended`] and [`RunError::Panicked`] when a part ends though nothing told it to. Give the
/// Lease back, and try again later.
pub(super) async fn run_loops(term: &Term, loops: Vec<BuiltLoop>) -> Result<(), RunError> {
    let reads = all_reads(&loops);
    let filled = AtomicBool::new(false);
    let health = Health::new(&reads, term);
    let tasks = TaskSet::new();
    let ended = tokio::select! {
        biased;
        ended = run_together(term, loops, &reads, &filled, &tasks) => ended,
        gone = vanished(&reads, &filled, term) => Err(gone),
        () = health.watch() => Err(RunError::Ended { part: "health" }),
    };
    tasks.shutdown().await;
    ended
}

async fn run_together(
    term: &Term,
    loops: Vec<BuiltLoop>,
    reads: &[Read],
    filled: &AtomicBool,
    tasks: &TaskSet<Result<(), RunError>>,
) -> Result<(), RunError> {
    let controller = loops.first().map_or("", |each| each.controller);
    for each in &loops {
        for read in &each.reads {
            let source = read.store.kind();
            info!(controller, r#loop = each.spec.label, source, "Starting EventSource");
        }
        info!(controller, r#loop = each.spec.label, "Starting Controller");
    }
    tokio::select! {
        biased;
        () = term.drain.cancelled() => return Ok(()),
        synced = get_ready(reads) => {
            if let Err(error) = &synced {
                error!(controller, error = %error, "Could not wait for Cache to sync");
                for read in reads.iter().filter(|read| !read.optional && read.store.is_absent()) {
                    let kind = read.store.kind();
                    error!(controller, kind, "if kind is a CRD, it should be installed before calling Start");
                }
            }
            synced?;
        }
    }
    filled.store(true, Ordering::Release);
    let mut subscriptions: Vec<Subscription> = Vec::new();
    for mut each in loops {
        // Subscribed before listing, so that no object falls between the two.
        let enqueue = each.queue.enqueue();
        subscriptions.extend(each.triggers.drain(..).map(|subscribe| subscribe(&enqueue, &each.recorder)));
        add_all(&each.keys, &each.queue);
        tasks.spawn(each.spec.label, term.tasks.track_future(run_loop(each, term.drain.clone())));
    }
    while let Some((_, ended)) = tasks.join_next().await {
        match ended {
            Ended::Finished(ended) => ended?,
            Ended::Panicked(message) => return Err(RunError::Panicked { part: "loop", message }),
            Ended::Aborted => return Err(RunError::Ended { part: "loop" }),
        }
    }
    drop(subscriptions);
    Ok(())
}

/// Every store once; required if any loop requires it.
pub(super) fn all_reads(loops: &[BuiltLoop]) -> Vec<Read> {
    let mut reads: Vec<Read> = Vec::new();
    let mut places: HashMap<usize, usize> = HashMap::new();
    for read in loops.iter().flat_map(|each| &each.reads) {
        let known = places.get(&read.store.id()).and_then(|place| reads.get_mut(*place));
        if let Some(known) = known {
            known.optional &= read.optional;
        } else {
            places.insert(read.store.id(), reads.len());
            reads.push(read.clone());
        }
    }
    reads
}

pub(super) async fn get_ready(reads: &[Read]) -> Result<(), RunError> {
    let syncs = reads.iter().map(|read| sync_in_time(read, SYNC_TIMEOUT));
    futures::future::try_join_all(syncs).await?;
    timeout(SYNC_TIMEOUT, catch_up(reads)).await.map_err(|_elapsed| {
        let failing = reads.iter().find_map(|read| Some((read, read.store.failing_since()?.1)));
        let (kind, cause) = failing.map_or_else(
            || (reads.iter().map(|read| read.store.kind()).collect::<Vec<_>>().join(", "), String::new()),
            |(read, cause)| (read.store.kind().to_owned(), cause),
        );
        let cause = if cause.is_empty() { "could not catch up in time".to_owned() } else { cause };
        RunError::CacheSync { kind, cause }
    })
}

/// One loop: its workers, its clockwork, what runs beside them, and the sending of its events, of which the last are
/// sent before it ends. Ends with `Ok` after a drain only.
async fn run_loop(each: BuiltLoop, drain: CancellationToken) -> Result<(), RunError> {
    let BuiltLoop { spec, period, queue, keys, worker, background, at_once, recorder, sending, .. } = each;
    let workers = async {
        worker.run(at_once, &drain).await;
        if drain.is_cancelled() { Ok(()) } else { Err(RunError::Ended { part: spec.label }) }
    };
    let clockwork = async {
        tick(period, spec.label, &keys, &queue).await;
        Err(RunError::Ended { part: spec.label })
    };
    let mut sending = pin!(sending.run());
    let ended = tokio::select! {
        biased;
        ended = caught(spec.label, workers.boxed()) => ended,
        ended = caught(spec.label, clockwork.boxed()) => ended,
        ended = first_to_end(background) => ended,
        () = &mut sending => return Err(RunError::Ended { part: "events" }),
    };
    tokio::select! {
        () = recorder.flush(FLUSH_BUDGET) => {}
        () = sending => {}
    }
    ended
}

/// Waits for what runs beside the workers; for ever if nothing does.
pub(super) async fn first_to_end(background: Vec<Background>) -> Result<(), RunError> {
    let parts = background.into_iter().map(|Background { part, work }| {
        let work = work.map(move |()| Err(RunError::Ended { part }));
        caught(part, work.boxed())
    });
    let mut parts: FuturesUnordered<_> = parts.collect();
    match parts.next().await {
        Some(ended) => ended,
        None => std::future::pending().await,
    }
}

async fn caught(part: &'static str, work: BoxFuture<'_, Result<(), RunError>>) -> Result<(), RunError> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(ended) => ended,
        Err(panic) => Err(RunError::Panicked { part, message: panic_message(panic.as_ref()) }),
    }
}

/// Queues all keys each period, and about every ten hours.
async fn tick(period: Option<Duration>, label: &str, keys: &AllKeys, queue: &Queue) {
    let resync = resync_period(label);
    let every = period.map_or(resync, |period| period.min(resync)).max(Duration::from_millis(1));
    // Not an interval that catches up: keys that were queued twice at once would be one anyway.
    loop {
        sleep(every).await;
        add_all(keys, queue);
    }
}

fn add_all(keys: &AllKeys, queue: &Queue) {
    for key in keys() {
        queue.add(key);
    }
}

/// Ten hours, give or take a tenth: spread by name, so that no two loops come at once.
fn resync_period(label: &str) -> Duration {
    let mut hasher = DefaultHasher::new();
    label.hash(&mut hasher);
    let share = u32::try_from(hasher.finish() % 1000).unwrap_or(0);
    RESYNC + RESYNC_SPREAD / 1000 * share
}

/// Ends when a required kind has not been served for longer than [`GIVE_UP`].
async fn vanished(reads: &[Read], filled: &AtomicBool, term: &Term) -> RunError {
    let mut vanished: Vec<(&str, Instant)> = Vec::new();
    loop {
        // Before all stores are filled, a kind is waited for.
        let required = reads.iter().filter(|read| !read.optional && filled.load(Ordering::Acquire));
        let now = term.clock.instant();
        let absent = required.filter(|read| read.store.is_absent()).map(|read| read.store.kind());
        vanished = absent.map(|kind| (kind, since(&vanished, kind).unwrap_or(now))).collect();
        let longest = vanished.iter().find(|(_, since)| now.saturating_duration_since(*since) >= GIVE_UP);
        if let Some((kind, _)) = longest {
            let (kind, cause) = ((*kind).to_owned(), "the kind is not served any more".to_owned());
            return RunError::CacheSync { kind, cause };
        }
        sleep(LOOK).await;
    }
}

/// Since when a kind is among those that have vanished.
fn since(vanished: &[(&str, Instant)], kind: &str) -> Option<Instant> {
    vanished.iter().find(|(it, _)| *it == kind).map(|(_, since)| *since)
}

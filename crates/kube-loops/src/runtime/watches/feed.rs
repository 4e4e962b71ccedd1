// SPDX-License-Identifier: Apache-2.0
//! The task of one watch: kube's watcher drives it, this decides what an error means.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, StreamExt};
use kube::{
    Client,
    runtime::{
        utils::Backoff,
        watcher::{self, Event},
    },
};
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use crate::chain::Chain;
use kube_fenced_election::watch_backoff::WatchBackoff;

use super::{
    super::tasks::panic_message,
    contents::{AfterInit, Contents, Item, Stored},
    sight::{self, Sight},
    spec::Source,
    state::Inner,
};

/// How often a kind that is not served is asked for again.
const NOT_SERVED_RETRY: Duration = Duration::from_secs(30);
/// How long a streaming list may say nothing before pages are tried instead.
const STREAMING_PATIENCE: Duration = Duration::from_secs(30);
/// Wait before a watch that panicked starts again.
const AFTER_PANIC: Duration = Duration::from_secs(10);
/// Wait before a list is repeated because a full list crossed it.
const CROSSED_RETRY: Duration = Duration::from_secs(1);

/// Whether the API server has streaming lists, shared by all watches of a process.
#[derive(Debug, Clone)]
pub(super) struct Streaming(Arc<AtomicBool>);

impl Streaming {
    pub(super) fn assumed() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    fn available(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn refused(&self) {
        if self.0.swap(false, Ordering::AcqRel) {
            info!("streaming lists are not available, listing in pages");
        }
    }
}

/// What to do after an error of the watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// The kind is not served: ask again later, quietly.
    NotServed,
    /// No streaming lists here: begin anew in pages, at once.
    Pages,
    /// Wait, then list anew.
    Relist,
    /// Wait, then go on from the last version.
    Resume,
}

/// Reads an error by the status of the last answer (0: none) and by how far the watch had come.
pub(super) fn after(error: &watcher::Error, status: u16, streaming: bool, listed: bool) -> After {
    // 403, 404, 408, 410 and 429 say something about the kind or the moment, not about the way to list.
    let refuses_streaming = matches!(status, 400 | 405 | 406 | 415 | 422 | 501);
    let desynced = matches!(error, watcher::Error::WatchError(status) if status.code == 410);
    match status {
        404 => After::NotServed,
        _ if streaming && !listed && refuses_streaming => After::Pages,
        410 => After::Relist,
        _ if desynced || !listed => After::Relist,
        _ => After::Resume,
    }
}

/// Keeps a store filled, for ever. A panic (a defect: in what keeps less of an object, say) is a failure
/// of the watch like any other, not its silent end.
pub(super) async fn supervised<S: Stored>(
    inner: Arc<Inner<S>>,
    source: Arc<dyn Source<S>>,
    client: Client,
    streaming: Streaming,
) {
    loop {
        let feeding = feed(Arc::clone(&inner), Arc::clone(&source), client.clone(), streaming.clone());
        if let Err(panic) = AssertUnwindSafe(feeding).catch_unwind().await {
            inner.failed(format!("panic: {} [recovered]", panic_message(panic.as_ref())));
        }
        sleep(AFTER_PANIC).await;
    }
}

/// Keeps a store filled, for ever.
async fn feed<S: Stored>(
    inner: Arc<Inner<S>>,
    source: Arc<dyn Source<S>>,
    client: Client,
    streaming: Streaming,
) {
    let sight = Arc::new(Sight::default());
    let (listing, answered) = (Arc::clone(&inner), Arc::clone(&inner));
    let (listing, answered) = (move || listing.begin(), move || answered.healthy());
    let client = sight::watching(client, Arc::clone(&sight), listing, answered);
    let mut backoff = WatchBackoff::default();
    let mut pages_only = false;
    loop {
        let stream = streaming.available() && !pages_only;
        let ended = watch_once(&inner, &*source, &client, &sight, stream, &mut backoff).await;
        debug!(kind = inner.kind(), reason = ?ended, "watch starts again");
        match ended {
            WatchEnded::NotServed => sleep(NOT_SERVED_RETRY).await,
            WatchEnded::StreamingRefused => streaming.refused(),
            WatchEnded::StreamingSilent => pages_only = true,
            WatchEnded::Crossed => sleep(CROSSED_RETRY).await,
            WatchEnded::Failed => {}
        }
    }
}

#[derive(Debug)]
enum WatchEnded {
    NotServed,
    StreamingRefused,
    StreamingSilent,
    Crossed,
    Failed,
}

/// One watcher, from its first list until it has to list anew.
async fn watch_once<S: Stored>(
    inner: &Inner<S>,
    source: &dyn Source<S>,
    client: &Client,
    sight: &Sight,
    streaming: bool,
    backoff: &mut WatchBackoff,
) -> WatchEnded {
    let mut events = source.watch(client.clone(), streaming);
    let mut lists = sight.lists();
    let mut listed = false;
    loop {
        let next = if streaming && !listed {
            let Ok(next) = timeout(STREAMING_PATIENCE, events.next()).await else {
                return WatchEnded::StreamingSilent;
            };
            next
        } else {
            events.next().await
        };
        let error = match next {
            Some(Ok(event)) => {
                backoff.reset();
                if sight.lists() != lists {
                    // The watcher has begun its streaming list again, and says so nowhere else.
                    (lists, listed) = (sight.lists(), false);
                }
                match take_in(inner, event) {
                    Took::List => listed = true,
                    Took::CrossedList => return WatchEnded::Crossed,
                    Took::Begin => listed = false,
                    Took::Object => {}
                }
                continue;
            }
            Some(Err(error)) => error,
            None => return WatchEnded::Failed,
        };
        let then = after(&error, sight.status(), streaming, listed);
        match then {
            After::NotServed => {
                inner.not_served();
                return WatchEnded::NotServed;
            }
            After::Pages => return WatchEnded::StreamingRefused,
            After::Relist | After::Resume => {
                inner.failed(Chain(&error).to_string());
                sleep(backoff.next().unwrap_or(NOT_SERVED_RETRY)).await;
                if then == After::Relist {
                    return WatchEnded::Failed;
                }
            }
        }
    }
}

enum Took {
    Begin,
    Object,
    List,
    CrossedList,
}

fn take_in<S: Stored>(inner: &Inner<S>, event: Event<Item<S>>) -> Took {
    match event {
        Event::Init => {
            inner.begin();
            return Took::Begin;
        }
        Event::InitApply(item) => inner.take_in(item, Contents::init_apply),
        Event::Apply(item) => inner.take_in(item, Contents::apply),
        Event::Delete(item) => inner.change_all(|contents| contents.delete(&item).into_iter().collect()),
        Event::InitDone => {
            return match inner.init_done() {
                AfterInit::Watch => Took::List,
                AfterInit::Restart => Took::CrossedList,
            };
        }
    }
    Took::Object
}

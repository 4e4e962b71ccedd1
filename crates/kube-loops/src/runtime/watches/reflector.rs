// SPDX-License-Identifier: Apache-2.0
//! Keeps a store filled, as client-go's reflector does: kube's watcher drives it, this applies its events and decides what an error means.

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
    cache::{AfterInit, Cache, Item, Stored},
    connection_monitor::{ConnectionMonitor, monitored},
    spec::Source,
    state::Inner,
    version,
};

/// How often a kind that is not served is asked for again.
const NOT_SERVED_RETRY: Duration = Duration::from_secs(30);
/// How long a streaming list may deliver nothing before pages are tried instead.
const STREAMING_PATIENCE: Duration = Duration::from_secs(30);
/// Wait before a watch that panicked starts again.
const AFTER_PANIC: Duration = Duration::from_secs(10);
/// Wait before a list is repeated because a full list ran beside it.
const LIST_RACED_RETRY: Duration = Duration::from_secs(1);

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
pub(super) enum Recovery {
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
pub(super) fn recovery(error: &watcher::Error, status: u16, streaming: bool, listed: bool) -> Recovery {
    // 403, 404, 408, 410 and 429 are not refusals of streaming lists.
    let refuses_streaming = matches!(status, 400 | 405 | 406 | 415 | 422 | 501);
    let desynced = matches!(error, watcher::Error::WatchError(status) if status.code == 410);
    match status {
        404 => Recovery::NotServed,
        _ if streaming && !listed && refuses_streaming => Recovery::Pages,
        410 => Recovery::Relist,
        _ if desynced || !listed => Recovery::Relist,
        _ => Recovery::Resume,
    }
}

/// Keeps a store filled, for ever. A panic (a defect, for instance in a `keeping` function) is a failure of the watch
/// like any other: it starts again.
pub(super) async fn run<S: Stored>(
    inner: Arc<Inner<S>>,
    source: Arc<dyn Source<S>>,
    client: Client,
    streaming: Streaming,
) {
    loop {
        let reflecting =
            list_and_watch(Arc::clone(&inner), Arc::clone(&source), client.clone(), streaming.clone());
        if let Err(panic) = AssertUnwindSafe(reflecting).catch_unwind().await {
            inner.failed(format!("panic: {} [recovered]", panic_message(panic.as_ref())));
        }
        sleep(AFTER_PANIC).await;
    }
}

/// Keeps a store filled, for ever.
async fn list_and_watch<S: Stored>(
    inner: Arc<Inner<S>>,
    source: Arc<dyn Source<S>>,
    client: Client,
    streaming: Streaming,
) {
    let connection = Arc::new(ConnectionMonitor::default());
    let (listing, heard) = (Arc::clone(&inner), Arc::clone(&inner));
    let (listing, heard) = (move || listing.begin(), move || heard.healthy());
    let (older, asked, reader) = (Arc::clone(&inner), Arc::clone(&source), client.clone());
    let is_older = move |shown: String| {
        let (inner, listed) = (Arc::clone(&older), asked.probe(&reader, true));
        async move {
            let older = match listed.await {
                Ok(listed) => version::before(&listed, &shown),
                // It may not be found out: whoever may not list has seen the last of this watch anyway.
                Err(kube::Error::Api(status)) if status.code < 500 && status.code != 429 => false,
                Err(error) => return Err(error),
            };
            if older {
                inner.history_rewritten();
            }
            inner.doubt(older);
            Ok(older)
        }
        .boxed()
    };
    let client = monitored(client, Arc::clone(&connection), listing, heard, is_older);
    let mut backoff = WatchBackoff::default();
    let mut pages_only = false;
    loop {
        let stream = streaming.available() && !pages_only;
        let ended = watch_once(&inner, &*source, &client, &connection, stream, &mut backoff).await;
        debug!(kind = inner.kind(), reason = ?ended, "watch starts again");
        match ended {
            WatchEnded::NotServed => sleep(NOT_SERVED_RETRY).await,
            WatchEnded::StreamingRefused => streaming.refused(),
            WatchEnded::StreamingTimedOut => pages_only = true,
            WatchEnded::ListRaced => sleep(LIST_RACED_RETRY).await,
            WatchEnded::Failed => {}
        }
    }
}

#[derive(Debug)]
enum WatchEnded {
    NotServed,
    StreamingRefused,
    StreamingTimedOut,
    ListRaced,
    Failed,
}

/// One watcher, from its first list until it has to list anew.
async fn watch_once<S: Stored>(
    inner: &Inner<S>,
    source: &dyn Source<S>,
    client: &Client,
    connection: &ConnectionMonitor,
    streaming: bool,
    backoff: &mut WatchBackoff,
) -> WatchEnded {
    let mut events = source.watch(client.clone(), streaming);
    let mut lists = connection.streaming_lists();
    let mut listed = false;
    loop {
        let next = if streaming && !listed {
            let Ok(next) = timeout(STREAMING_PATIENCE, events.next()).await else {
                return WatchEnded::StreamingTimedOut;
            };
            next
        } else {
            events.next().await
        };
        let error = match next {
            Some(Ok(event)) => {
                backoff.reset();
                if connection.streaming_lists() != lists {
                    // The watcher has begun its streaming list again, without an event for it.
                    (lists, listed) = (connection.streaming_lists(), false);
                }
                match apply_event(inner, event) {
                    Applied::List => listed = true,
                    Applied::ListRaced => return WatchEnded::ListRaced,
                    Applied::Begin => listed = false,
                    Applied::Object => {}
                }
                continue;
            }
            Some(Err(error)) => error,
            None => return WatchEnded::Failed,
        };
        let then = recovery(&error, connection.last_status(), streaming, listed);
        match then {
            Recovery::NotServed => {
                inner.not_served();
                return WatchEnded::NotServed;
            }
            Recovery::Pages => return WatchEnded::StreamingRefused,
            Recovery::Relist | Recovery::Resume => {
                inner.failed(Chain(&error).to_string());
                connection.broke(then == Recovery::Resume);
                // A server that refuses is the same as before.
                inner.doubt(matches!(connection.last_status(), 0 | 200 | 410));
                sleep(backoff.next().unwrap_or(NOT_SERVED_RETRY)).await;
                if then == Recovery::Relist {
                    return WatchEnded::Failed;
                }
            }
        }
    }
}

enum Applied {
    Begin,
    Object,
    List,
    ListRaced,
}

fn apply_event<S: Stored>(inner: &Inner<S>, event: Event<Item<S>>) -> Applied {
    match event {
        Event::Init => {
            inner.begin();
            return Applied::Begin;
        }
        Event::InitApply(item) => inner.apply(item, Cache::init_apply),
        Event::Apply(item) => inner.apply(item, Cache::apply),
        Event::Delete(item) => inner.change_all(|cache| cache.delete(&item).into_iter().collect()),
        Event::InitDone => {
            return match inner.init_done() {
                AfterInit::Watch => Applied::List,
                AfterInit::Restart => Applied::ListRaced,
            };
        }
    }
    Applied::Object
}

// SPDX-License-Identifier: Apache-2.0
//! A new leader never works on data older than its term.
//!
//! After the acquisition one consistent, metadata-only list of each store says what the predecessor may
//! have written. The store has caught up when its watch shows all of it. If it does not within half a
//! second (a slow or broken watch), the objects are listed in full and put into the store.
//!
//! One list serves all controllers of the process that wait for the same store, provided that it starts
//! after each of them has won its Lease.

#[cfg(test)]
mod catch_up_tests;
mod coalesce;
#[cfg(test)]
mod coalesce_tests;
mod plan;
#[cfg(test)]
mod plan_tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use kube::Client;
use parking_lot::Mutex;
use tokio::time::{sleep, sleep_until, timeout};
use tracing::{debug, info};

use crate::chain::Chain;
use kube_fenced_election::clock::{Instant, SharedClock};

use self::{
    coalesce::{Coalesced, Joined},
    plan::{CatchUp, Listed, View},
};
use super::{
    reconciler::Key,
    watches::{Cache, Inner, Page, Read, Source, Stored, version},
};

/// How long the watch may take to show what the list shows.
const PATIENCE: Duration = Duration::from_millis(500);
/// Wait before a failed list is repeated.
const RETRY: Duration = Duration::from_secs(1);
/// Longest wait for the answer to a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// Without a sign of it for so long, it is found out whether a watch hangs: the API server sends a bookmark about once
/// a minute where nothing happens.
const SILENCE: Duration = Duration::from_secs(90);
/// For how long the result of a probe is good.
const PROBE_VALID: Duration = Duration::from_secs(10);

/// Resolves when every store shows everything that was written before the call. The stores must have
/// had their first list. It goes on trying when the API server fails; bound it.
pub(crate) async fn catch_up(reads: &[Read]) {
    futures::future::join_all(reads.iter().map(|read| read.store.catch_up(read.optional))).await;
}

#[derive(Debug, Clone)]
enum ListError {
    NotServed,
    Failed(String),
}

/// A probe and when it was asked.
type Probe = (Instant, Joined<Result<(), String>>);

/// Lists of one store apart from its watch.
pub(super) struct Lists<S> {
    source: Arc<dyn Source<S>>,
    client: Client,
    clock: SharedClock,
    versions: Coalesced<Result<Arc<Listed>, ListError>>,
    objects: Coalesced<Result<(), ListError>>,
    probe: Mutex<Option<Probe>>,
}

impl<S: Stored> Lists<S> {
    pub(super) fn new(source: Arc<dyn Source<S>>, client: Client, clock: SharedClock) -> Self {
        let (versions, objects) = (Coalesced::new(), Coalesced::new());
        Self { source, client, clock, versions, objects, probe: Mutex::new(None) }
    }

    /// See [`super::watches::AnyStore::catch_up`].
    pub(super) async fn catch_up(&self, inner: &Arc<Inner<S>>, optional: bool) {
        let before = inner.read(|cache| cache.newest().map(str::to_owned));
        let listed = loop {
            match self.versions.join(|| self.list_versions()).await {
                Ok(listed) => break listed,
                Err(ListError::NotServed) if optional => return,
                Err(error) => failed(inner, error).await,
            }
        };
        // A list that began later is older only where history was rewritten.
        if before.is_some_and(|before| version::before(&listed.version, &before)) {
            inner.history_rewritten();
        } else {
            let behind = self.behind(inner, &listed).await;
            if behind == 0 {
                return;
            }
            info!(kind = inner.kind(), behind, "watch lags behind, listing anew");
        }
        while let Err(error) = self.objects.join(|| self.list_objects(inner)).await {
            if optional && matches!(error, ListError::NotServed) {
                return;
            }
            failed(inner, error).await;
        }
    }

    /// How many objects the watch does not show as they are listed, after a moment to do so.
    async fn behind(&self, inner: &Inner<S>, listed: &Listed) -> usize {
        let mut behind = inner.read(|cache| CatchUp::of(listed, cache));
        let deadline = self.clock.instant() + PATIENCE;
        loop {
            let changed = inner.changed().notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            inner.read(|cache| behind.recheck(cache));
            if behind.is_done() {
                return 0;
            }
            tokio::select! {
                () = changed => {}
                () = sleep_until(deadline) => return behind.behind(),
            }
        }
    }

    /// See [`super::watches::AnyStore::probe`].
    pub(super) async fn probe(&self) -> Result<(), String> {
        let joined = {
            let mut last = self.probe.lock();
            let now = self.clock.instant();
            let recent =
                last.as_ref().filter(|(asked, _)| now.saturating_duration_since(*asked) < PROBE_VALID);
            if let Some((_, joined)) = recent {
                joined.clone()
            } else {
                let probe = self.source.probe(&self.client, false);
                let joined = async move {
                    match timeout(PROBE_TIMEOUT, probe).await {
                        // A refusal is an answer, too: what it means is up to the watch.
                        Ok(Ok(_) | Err(kube::Error::Api(_))) => Ok(()),
                        Ok(Err(error)) => Err(Chain(&error).to_string()),
                        Err(_elapsed) => Err("the API server does not answer reads".to_owned()),
                    }
                }
                .boxed()
                .shared();
                *last = Some((now, joined.clone()));
                joined
            }
        };
        joined.await
    }

    /// See [`super::watches::AnyStore::check_silence`].
    pub(super) async fn check_silence(&self, inner: &Inner<S>) {
        if !inner.is_silent(SILENCE) {
            return;
        }
        // That lists fail or hang is found by probes.
        let listed = timeout(PROBE_TIMEOUT, self.versions.join(|| self.list_versions())).await;
        let Ok(Ok(listed)) = listed else { return };
        if self.behind(inner, &listed).await == 0 {
            inner.healthy();
        } else if inner.is_silent(SILENCE) {
            inner.failed("the API server sends nothing of what has changed".to_owned());
        }
    }

    fn list_versions(&self) -> BoxFuture<'static, Result<Arc<Listed>, ListError>> {
        let (source, client) = (Arc::clone(&self.source), self.client.clone());
        async move {
            let mut listed = Listed { version: String::new(), objects: BTreeMap::new() };
            let mut page = None;
            loop {
                let Page { items, version, next } =
                    source.versions(&client, page).await.map_err(|error| list_error(&error))?;
                listed.version = version;
                let objects =
                    items.into_iter().map(|item| (Key::new(item.namespace, item.name), item.version));
                listed.objects.extend(objects);
                page = next;
                if page.is_none() {
                    return Ok(Arc::new(listed));
                }
            }
        }
        .boxed()
    }

    fn list_objects(&self, inner: &Arc<Inner<S>>) -> BoxFuture<'static, Result<(), ListError>> {
        let (source, client, inner) = (Arc::clone(&self.source), self.client.clone(), Arc::clone(inner));
        async move {
            let relist = Relist::begin(&inner);
            let mut page = None;
            loop {
                let Page { items, version, next } =
                    source.objects(&client, page).await.map_err(|error| list_error(&error))?;
                for item in items {
                    inner.apply(item, Cache::relist_apply);
                }
                page = next;
                if page.is_none() {
                    relist.done(&version);
                    debug!(kind = inner.kind(), version, "listed anew");
                    return Ok(());
                }
            }
        }
        .boxed()
    }
}

/// A full list under way; ends as failed when it is dropped before it is done.
struct Relist<'a, S: Stored> {
    inner: &'a Inner<S>,
    done: bool,
}

impl<'a, S: Stored> Relist<'a, S> {
    fn begin(inner: &'a Inner<S>) -> Self {
        inner.change_all(|cache| {
            cache.relist_begin();
            Vec::new()
        });
        Self { inner, done: false }
    }

    fn done(mut self, version: &str) {
        self.done = true;
        self.inner.change_all(|cache| cache.relist_done(version));
    }
}

impl<S: Stored> Drop for Relist<'_, S> {
    fn drop(&mut self) {
        if !self.done {
            self.inner.change_all(|cache| {
                cache.relist_failed();
                Vec::new()
            });
        }
    }
}

async fn failed<S: Stored>(inner: &Inner<S>, error: ListError) {
    let cause = match error {
        ListError::NotServed => "the kind is not served".to_owned(),
        ListError::Failed(cause) => cause,
    };
    debug!(kind = inner.kind(), error = cause, "list failed");
    sleep(RETRY).await;
}

fn list_error(error: &kube::Error) -> ListError {
    if matches!(error, kube::Error::Api(status) if status.code == 404) {
        return ListError::NotServed;
    }
    ListError::Failed(Chain(error).to_string())
}

impl<S: Stored> View for Cache<S> {
    fn version_of(&self, key: &Key) -> Option<&str> {
        Cache::version_of(self, &key.namespace, &key.name)
    }

    fn versions(&self) -> Box<dyn Iterator<Item = (&str, &str, &str)> + '_> {
        Box::new(Cache::versions(self))
    }

    fn observed(&self) -> Option<&str> {
        Cache::observed(self)
    }
}

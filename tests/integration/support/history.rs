// SPDX-License-Identifier: Apache-2.0
//! Every version of an object that was stored, from a watch: some states last for milliseconds.
//!
//! A watch delivers later than a read answers. So whoever reads a recording asks the API server first what is
//! stored, and waits until the watch has delivered that: what was seen by other means is in the recording.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams, WatchEvent, WatchParams},
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::task::JoinSet;

use super::wait::{Instant, eventually, instant};

/// How long the watch may lag behind.
const DELIVERED: Duration = Duration::from_secs(30);

/// A recording that goes on until it is dropped.
pub(crate) struct History {
    api: Api<DynamicObject>,
    only: String,
    tape: Arc<Mutex<Tape>>,
    _task: JoinSet<()>,
}

#[derive(Default)]
struct Tape {
    /// When each version arrived, and what it was.
    versions: Vec<(Instant, Value)>,
    /// The last version of the object that was delivered; its deletion counts as one.
    delivered: u64,
    gone: bool,
    /// Why nothing more will come.
    broken: Option<String>,
}

impl Tape {
    fn take(&mut self, object: &DynamicObject, gone: bool) {
        self.delivered = number(object);
        self.gone = gone;
        if !gone {
            self.versions.push((instant(), serde_json::to_value(object).expect("JSON")));
        }
    }
}

/// Versions of etcd's grow with each write of the cluster.
fn number(object: &DynamicObject) -> u64 {
    object.resource_version().and_then(|it| it.parse().ok()).expect("a version")
}

impl History {
    /// Records the object `name`, which need not exist yet.
    pub(crate) async fn of(api: Api<DynamicObject>, name: &str) -> Self {
        let only = format!("metadata.name={name}");
        // Nothing that is stored from here on is missed, however late the watch is.
        let list = api.list(&ListParams::default().fields(&only)).await.expect("list");
        let mut from = list.metadata.resource_version.unwrap_or_default();
        let mut tape = Tape { gone: true, ..Tape::default() };
        for object in &list.items {
            tape.take(object, false);
        }
        let tape = Arc::new(Mutex::new(tape));
        let (log, watched, fields) = (Arc::clone(&tape), api.clone(), only.clone());
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                if let Err(error) = record(&watched, &fields, &mut from, &log).await {
                    log.lock().broken = Some(error);
                    return;
                }
            }
        });
        Self { api, only, tape, _task: task }
    }

    /// Waits until everything is delivered that is stored now.
    async fn catch_up(&self) {
        let list = self.api.list(&ListParams::default().fields(&self.only)).await.expect("list");
        let stored = list.items.first().map(number);
        eventually(DELIVERED, "the watch delivers what is stored", async || {
            let tape = self.tape.lock();
            if let Some(broken) = &tape.broken {
                panic!("the recording broke off: {broken}");
            }
            let there = stored.map_or(tape.gone, |stored| tape.delivered >= stored);
            if there { Ok(()) } else { Err(format!("{} instead of {stored:?}", tape.delivered)) }
        })
        .await;
    }

    /// All versions so far.
    pub(crate) async fn all(&self) -> Vec<Value> {
        self.since(0).await
    }

    /// How many versions there are so far: [`History::since`] leaves them out.
    pub(crate) async fn mark(&self) -> usize {
        self.catch_up().await;
        self.tape.lock().versions.len()
    }

    /// The versions after a [`History::mark`].
    pub(crate) async fn since(&self, mark: usize) -> Vec<Value> {
        self.timed(mark).await.into_iter().map(|(_, version)| version).collect()
    }

    /// The same with the times at which they arrived here.
    pub(crate) async fn timed(&self, mark: usize) -> Vec<(Instant, Value)> {
        self.catch_up().await;
        self.tape.lock().versions[mark..].to_vec()
    }

    /// What `of` says of the versions so far, each once per change; empty texts are left out.
    pub(crate) async fn texts(&self, mark: usize, of: impl Fn(&Value) -> String) -> Vec<String> {
        let mut all: Vec<String> = self.since(mark).await.iter().map(of).collect();
        all.retain(|text| !text.is_empty());
        all.dedup();
        all
    }

    /// Waits for a version after `mark` that `holds` takes, and returns it.
    pub(crate) async fn until(
        &self,
        mark: usize,
        within: Duration,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        eventually(within, what, async || {
            let seen = self.since(mark).await;
            let found = seen.iter().find(|it| holds(it)).cloned();
            found.ok_or_else(|| seen.iter().map(|it| it["status"].to_string()).collect::<Vec<_>>().join("\n"))
        })
        .await
    }
}

/// Watches from a version on until the stream ends in order, as API servers let them now and then.
async fn record(
    api: &Api<DynamicObject>,
    only: &str,
    from: &mut String,
    tape: &Mutex<Tape>,
) -> Result<(), String> {
    let params = WatchParams::default().fields(only);
    let stream = api.watch(&params, from).await.map_err(|error| error.to_string())?;
    let mut events = stream.boxed();
    while let Some(event) = events.next().await {
        match event.map_err(|error| error.to_string())? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                *from = object.resource_version().unwrap_or_default();
                tape.lock().take(&object, false);
            }
            WatchEvent::Deleted(object) => {
                *from = object.resource_version().unwrap_or_default();
                tape.lock().take(&object, true);
            }
            WatchEvent::Bookmark(mark) => *from = mark.metadata.resource_version,
            WatchEvent::Error(status) => return Err(format!("{status:?}")),
        }
    }
    Ok(())
}

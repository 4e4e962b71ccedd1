// SPDX-License-Identifier: Apache-2.0
//! Every version of an object that was stored, from a watch: some states last for milliseconds.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use kube::{
    Api,
    api::{DynamicObject, ListParams, WatchEvent, WatchParams},
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::eventually;

use super::scene::{condition, phase, said};

/// A recording that goes on until it is dropped.
pub(super) struct History {
    seen: Arc<Mutex<Vec<Value>>>,
    _task: JoinSet<()>,
}

impl History {
    /// Records the object `name`, which need not exist yet.
    pub(super) async fn of(api: Api<DynamicObject>, name: &str) -> Self {
        let fields = format!("metadata.name={name}");
        // Nothing that is stored from here on is missed, however late the watch is.
        let list = api.list(&ListParams::default().fields(&fields)).await.expect("list");
        let version = list.metadata.resource_version.unwrap_or_default();
        let there = list.items.into_iter().map(|object| serde_json::to_value(object).expect("JSON"));
        let seen = Arc::new(Mutex::new(there.collect::<Vec<_>>()));
        let log = Arc::clone(&seen);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let params = WatchParams::default().fields(&fields);
            let mut events = api.watch(&params, &version).await.expect("watch").boxed();
            while let Some(event) = events.next().await {
                if let Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) = event {
                    log.lock().push(serde_json::to_value(object).expect("JSON"));
                }
            }
        });
        Self { seen, _task: task }
    }

    /// All versions so far.
    pub(super) fn all(&self) -> Vec<Value> {
        self.seen.lock().clone()
    }

    /// How many versions there are so far: [`History::since`] leaves them out.
    pub(super) fn mark(&self) -> usize {
        self.seen.lock().len()
    }

    /// The versions after a [`History::mark`].
    pub(super) fn since(&self, mark: usize) -> Vec<Value> {
        self.seen.lock()[mark..].to_vec()
    }

    /// The phases so far, each once per change.
    pub(super) fn phases(&self) -> Vec<String> {
        runs(self.all().iter().map(phase))
    }

    /// What was said about a condition after a mark, `True/Reason: message`, each once per change.
    pub(super) fn said_since(&self, mark: usize, kind: &str) -> Vec<String> {
        runs(self.since(mark).iter().map(|seen| {
            let message =
                condition(seen, kind).map(|it| it["message"].as_str().unwrap_or_default().to_owned());
            message.map(|message| format!("{}: {message}", said(seen, kind))).unwrap_or_default()
        }))
    }

    /// Waits for a version after `mark` that `holds` takes, and returns it.
    pub(super) async fn until(
        &self,
        mark: usize,
        within: Duration,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        eventually(within, what, async || {
            let seen = self.since(mark);
            let found = seen.iter().find(|it| holds(it)).cloned();
            found.ok_or_else(|| format!("{:?}", runs(seen.iter().map(|it| it["status"].to_string()))))
        })
        .await
    }
}

fn runs(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut all: Vec<String> = texts.filter(|text| !text.is_empty()).collect();
    all.dedup();
    all
}

// SPDX-License-Identifier: Apache-2.0
//! The two loops of a probe: counting, and making children.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{
    api::core::v1::ConfigMap,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::core::ApiResource;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;
use uuid::Uuid;

use kube_loops::{
    cluster::{
        error::WriteError,
        writer::{Target, Writer},
    },
    runtime::{
        children::{Children, Parent},
        reconciler::{Failure, Key, Outcome, Pass, Reconciler, Retry},
        watches::Store,
    },
};

use super::{CHILD_OF, MADE_BY};

const PAUSE: Duration = Duration::from_millis(200);

/// A write of a probe failed.
#[derive(Debug, thiserror::Error)]
#[error("the probe failed to write")]
pub(super) struct Error(#[from] WriteError);

impl Failure for Error {
    fn retry(&self) -> Retry {
        if matches!(self.0, WriteError::NotLeading(_)) { Retry::TermOver } else { Retry::Backoff }
    }
}

/// Counts up, pass after pass.
pub(super) struct Count {
    identity: String,
    crash: Arc<Notify>,
    last: Mutex<Option<u64>>,
}

impl Count {
    pub(super) fn new(identity: String, crash: Arc<Notify>) -> Self {
        Self { identity, crash, last: Mutex::new(None) }
    }

    /// Writes the next count; starts from what is stored.
    async fn write(&self, writer: &Writer, key: &Key) -> Result<Value, WriteError> {
        let next = self.last.lock().map(|count| count + 1);
        let target = Target {
            resource: ApiResource::erase::<ConfigMap>(&()),
            namespace: Some(key.namespace.clone()),
            name: key.name.clone(),
        };
        let data = match next {
            Some(next) => json!({"count": next.to_string(), "by": self.identity}),
            None => json!({"by": self.identity}),
        };
        match writer.merge_patch(&target, &json!({"data": data}), None).await {
            Ok(map) => Ok(map.data.get("data").cloned().unwrap_or_default()),
            Err(WriteError::NotFound { .. }) => {
                let metadata = ObjectMeta {
                    name: Some(key.name.clone()),
                    namespace: Some(key.namespace.clone()),
                    ..ObjectMeta::default()
                };
                let data = BTreeMap::from([("count".to_owned(), "0".to_owned())]);
                let map = ConfigMap { metadata, data: Some(data), ..ConfigMap::default() };
                writer.create(&map).await?;
                Ok(json!({"count": "0"}))
            }
            Err(error) => Err(error),
        }
    }
}

impl Reconciler for Count {
    type Error = Error;

    async fn reconcile(&self, key: &Key, pass: &Pass) -> Result<Outcome, Error> {
        let data = self.write(&pass.writer, key).await?;
        let text = |field: &str| data.get(field).and_then(Value::as_str).unwrap_or_default();
        *self.last.lock() = Some(text("count").parse().unwrap_or(0));
        let told = text("panic-on");
        if !told.is_empty() && self.identity.starts_with(&format!("{told}_")) {
            self.crash.notify_one();
        }
        Ok(Outcome::RequeueAfter(PAUSE))
    }
}

/// Makes as many children as a parent asks for, by what its store shows.
pub(super) struct MakeChildren {
    pub(super) controller: &'static str,
    pub(super) parents: Store<ConfigMap>,
    pub(super) children: Children<ConfigMap>,
}

impl MakeChildren {
    fn child(&self, parent: &ConfigMap, key: &Key) -> ConfigMap {
        let owner = OwnerReference {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            name: key.name.clone(),
            uid: parent.metadata.uid.clone().unwrap_or_default(),
            controller: Some(true),
            ..OwnerReference::default()
        };
        let labels = [(MADE_BY, self.controller), (CHILD_OF, key.name.as_str())];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let metadata = ObjectMeta {
            name: Some(format!("{}-{}", key.name, Uuid::new_v4().simple())),
            namespace: Some(key.namespace.clone()),
            labels: Some(labels.into()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        };
        ConfigMap { metadata, ..ConfigMap::default() }
    }
}

impl Reconciler for MakeChildren {
    type Error = Error;

    async fn reconcile(&self, key: &Key, pass: &Pass) -> Result<Outcome, Error> {
        let Some(parent) = self.parents.get_key(key) else { return Ok(Outcome::Done) };
        let field = |name: &str| parent.data.as_ref().and_then(|data| data.get(name)).map(String::as_str);
        if field("block") == Some("true") {
            tracing::info!("probe pass blocks");
            std::future::pending::<()>().await;
        }
        let want: usize = field("children").and_then(|text| text.parse().ok()).unwrap_or(0);
        let owner = Parent::of(&*parent);
        if !self.children.caught_up(owner) {
            return Ok(Outcome::RequeueAfter(PAUSE));
        }
        for _ in self.children.of(owner).len()..want {
            self.children.create(&pass.writer, owner, &self.child(&parent, key)).await?;
        }
        Ok(Outcome::Done)
    }
}

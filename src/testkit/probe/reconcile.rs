// SPDX-License-Identifier: Apache-2.0
//! The two loops of a probe: counting, and making children.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{
    api::core::v1::ConfigMap,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{Api, Client, core::ApiResource};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::Notify;
use uuid::Uuid;

use kube_loops::{
    cluster::{
        error::{ObjectRef, ReadError, WriteError},
        writer::{Change, Guard, Target, Writer},
    },
    runtime::{
        children::{Children, Parent},
        reconciler::{Failure, Key, Outcome, Pass, Reconciler, Retry},
        watches::Store,
    },
};

use super::{CHILD_OF, MADE_BY};

const PAUSE: Duration = Duration::from_millis(200);

/// A request of a probe failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the probe failed to write")]
    Write(#[from] WriteError),
    #[error("the probe failed to read")]
    Read(#[from] ReadError),
}

impl Failure for Error {
    fn retry(&self) -> Retry {
        if matches!(self, Self::Write(WriteError::NotLeading(_))) { Retry::TermOver } else { Retry::Backoff }
    }
}

/// Counts up, pass after pass.
pub(super) struct Count {
    identity: String,
    crash: Arc<Notify>,
    client: Client,
    /// What it wrote last; taken while a write is under way, so that after one that failed it is read anew.
    last: Mutex<Option<ConfigMap>>,
}

impl Count {
    pub(super) fn new(identity: String, crash: Arc<Notify>, client: Client) -> Self {
        Self { identity, crash, client, last: Mutex::new(None) }
    }

    /// Writes the next count; starts from what is stored.
    async fn write(&self, writer: &Writer, key: &Key) -> Result<ConfigMap, Error> {
        let target = Target {
            resource: ApiResource::erase::<ConfigMap>(&()),
            namespace: Some(key.namespace.clone()),
            name: key.name.clone(),
        };
        let last = self.last.lock().take();
        let last = if last.is_some() { last } else { self.read(&target).await? };
        let Some(last) = last else {
            let metadata = ObjectMeta {
                name: Some(key.name.clone()),
                namespace: Some(key.namespace.clone()),
                ..ObjectMeta::default()
            };
            let data = BTreeMap::from([("count".to_owned(), "0".to_owned())]);
            let map = ConfigMap { metadata, data: Some(data), ..ConfigMap::default() };
            return Ok(writer.create(&map).await?);
        };
        let next = text(&last, "count").parse().unwrap_or(0_u64).saturating_add(1);
        let patch = Change::Merge(json!({"data": {"count": next.to_string(), "by": self.identity}}));
        let version = last.metadata.resource_version.as_deref().unwrap_or_default();
        Ok(writer.patch_as(&target, "", patch, Guard { uid: None, version }).await?)
    }

    async fn read(&self, target: &Target) -> Result<Option<ConfigMap>, ReadError> {
        let maps: Api<ConfigMap> =
            Api::namespaced(self.client.clone(), target.namespace.as_deref().unwrap_or_default());
        let object = ObjectRef {
            kind: "ConfigMap".to_owned(),
            namespace: target.namespace.clone().unwrap_or_default(),
            name: target.name.clone(),
        };
        maps.get_opt(&target.name).await.map_err(|error| ReadError::new(object, &error))
    }
}

fn text<'a>(map: &'a ConfigMap, field: &str) -> &'a str {
    map.data.as_ref().and_then(|data| data.get(field)).map(String::as_str).unwrap_or_default()
}

impl Reconciler for Count {
    type Error = Error;

    async fn reconcile(&self, key: &Key, pass: &Pass) -> Result<Outcome, Error> {
        let map = self.write(&pass.writer, key).await?;
        let told = text(&map, "panic-on");
        if !told.is_empty() && self.identity.starts_with(&format!("{told}_")) {
            self.crash.notify_one();
        }
        *self.last.lock() = Some(map);
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
        if text(&parent, "block") == "true" {
            tracing::info!("probe pass blocks");
            std::future::pending::<()>().await;
        }
        let want: usize = text(&parent, "children").parse().unwrap_or(0);
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

// SPDX-License-Identifier: Apache-2.0
//! Events of the three objects. They only start a pass: every pass reads the objects anew.

use std::{fmt, sync::Arc};

use k8s_openapi::api::{
    admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
    core::v1::Secret,
};
use kube::{Resource, core::PartialObjectMeta};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use kube_loops::runtime::watches::{Read, Subscription, WatchSpec, Watches};

use super::Settings;

/// Watches that wake the task.
pub(super) struct EventWatches {
    events: Arc<Notify>,
    reads: Vec<Read>,
    /// Held: dropping one ends it.
    subscriptions: Vec<Subscription>,
}

impl EventWatches {
    /// Watches each object by its name, so that a role for that name suffices. Of the Secret nothing but its
    /// metadata is kept.
    pub(super) fn new(watches: &Watches, settings: &Settings) -> Self {
        let mut watching =
            Self { events: Arc::new(Notify::new()), reads: Vec::new(), subscriptions: Vec::new() };
        let namespace = settings.names.namespace.as_str();
        watching.add(watches, WatchSpec::<Secret>::in_namespace(namespace), &settings.secret_name);
        let name = &settings.mutating_configuration;
        watching.add(watches, WatchSpec::<MutatingWebhookConfiguration>::all(), name);
        let name = &settings.validating_configuration;
        watching.add(watches, WatchSpec::<ValidatingWebhookConfiguration>::all(), name);
        watching
    }

    fn add<K>(&mut self, watches: &Watches, spec: WatchSpec<K>, name: &str)
    where
        K: Resource + Clone + DeserializeOwned + Send + Sync + 'static,
        PartialObjectMeta<K>: Resource,
    {
        let spec = spec.fields(format!("metadata.name={name}")).keeping(|object, _| PartialObjectMeta::<K> {
            types: None,
            metadata: object.meta().clone(),
            _phantom: std::marker::PhantomData,
        });
        let store = watches.store(spec);
        let events = Arc::clone(&self.events);
        self.subscriptions.push(store.subscribe(move |_| events.notify_one()));
        self.reads.extend(Read::required(&store));
    }

    /// Notified at every change.
    pub(super) fn events(&self) -> Arc<Notify> {
        Arc::clone(&self.events)
    }

    /// Whether a change might go unnoticed.
    pub(super) fn may_miss_events(&self) -> bool {
        self.reads.iter().any(|read| !read.store.has_synced() || read.store.failing_since().is_some())
    }
}

impl fmt::Debug for EventWatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventWatches")
            .field("may_miss_events", &self.may_miss_events())
            .finish_non_exhaustive()
    }
}

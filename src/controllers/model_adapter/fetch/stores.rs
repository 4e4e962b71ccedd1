// SPDX-License-Identifier: Apache-2.0
//! The stores that passes read, and what they keep of each object.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::{
        core::v1::Service,
        discovery::v1::{EndpointConditions, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use parking_lot::Mutex;

use crate::{
    api::{
        keys::{MODEL_NAME, SERVICE_NAME_LABEL, model_adapter::NAME_LABEL},
        model::{GROUP, MODEL_ADAPTER, ModelAdapter},
    },
    controllers::model_adapter::{
        snapshot::{ChildSeen, ServiceContent, SliceContent},
        triggers,
    },
    k8s::pod_facts::{self, PodFacts},
};
use kube_fenced_election::clock::SharedClock;
use kube_loops::{
    k8s::owner::{controller_of, group_of},
    runtime::{
        expectations::{self, Expectations},
        loops::Sources,
        reconciler::Key,
        watches::{Change, Store, Stored, WatchSpec, interner::Interner},
    },
};

/// Everything that passes read from memory.
#[derive(Debug, Clone)]
pub(in crate::controllers::model_adapter) struct Stores {
    /// All ModelAdapters.
    pub(in crate::controllers::model_adapter) adapters: Store<ModelAdapter>,
    /// All pods.
    pub(in crate::controllers::model_adapter) pods: Store<PodFacts>,
    /// All Services; those that no ModelAdapter controls without their content.
    pub(in crate::controllers::model_adapter) services: Store<Child<ServiceContent>>,
    /// Own writes to both that the stores do not show yet.
    pub(in crate::controllers::model_adapter) expected: Arc<Mutex<Expectations>>,
    /// All EndpointSlices, likewise.
    pub(in crate::controllers::model_adapter) slices: Store<Child<SliceContent>>,
}

impl Stores {
    /// Opens the stores, and says which keys their changes queue.
    pub(in crate::controllers::model_adapter) fn open(
        sources: &mut Sources<'_>,
        clock: &SharedClock,
    ) -> Self {
        let adapters = sources.primary_when(WatchSpec::<ModelAdapter>::all(), triggers::worth_a_pass);
        let services = WatchSpec::<Service>::all().keeping(keep_service);
        let slices = WatchSpec::<EndpointSlice>::all().keeping(keep_slice);
        let affected = adapters.clone();
        let expected = Arc::new(Mutex::new(Expectations::new(LAG)));
        Self {
            services: sources.trigger(services, child_trigger(SERVICE, &expected, clock)),
            slices: sources.trigger(slices, child_trigger(SLICE, &expected, clock)),
            expected,
            pods: sources.trigger(pod_facts::watch(), move |change| {
                triggers::of_pod(change, |namespace| affected.list_in(namespace))
            }),
            adapters,
        }
    }
}

/// How long a store may lag behind our own writes before it is believed.
const LAG: Duration = Duration::from_secs(30);
/// Names of the children in [`Expectations`].
pub(in crate::controllers::model_adapter) const SERVICE: &str = "Service";
pub(in crate::controllers::model_adapter) const SLICE: &str = "EndpointSlice";

/// Queues the adapters that a change of a child concerns, and settles what was expected of it.
fn child_trigger<C: Send + Sync + 'static>(
    name: &'static str,
    expected: &Arc<Mutex<Expectations>>,
    clock: &SharedClock,
) -> impl Fn(&Change<Child<C>>) -> Vec<Key> + Send + 'static {
    let (expected, clock) = (Arc::clone(expected), Arc::clone(clock));
    move |change| {
        expected.lock().changed(
            change.old.as_deref().and_then(|child| child.expected_as(name)),
            change.new.as_deref().and_then(|child| child.expected_as(name)),
            clock.instant(),
        );
        triggers::of_child(change)
    }
}

/// What is kept of an object that may bear the name of an adapter.
#[derive(Debug)]
pub(in crate::controllers::model_adapter) struct Child<C> {
    namespace: Box<str>,
    name: Box<str>,
    version: Box<str>,
    uid: Box<str>,
    leaving: bool,
    /// The ModelAdapter that controls it; `None`: none does.
    pub(in crate::controllers::model_adapter) owner: Option<Owner>,
    content: Option<Box<C>>,
}

/// A ModelAdapter that controls a child.
#[derive(Debug)]
pub(in crate::controllers::model_adapter) struct Owner {
    /// Its name.
    pub(in crate::controllers::model_adapter) name: Box<str>,
    uid: Box<str>,
}

impl<C> Child<C> {
    fn keep(metadata: ObjectMeta, content: impl FnOnce(&ObjectMeta) -> C) -> Self {
        let owner = controller_of(&metadata)
            .filter(|owner| owner.kind == MODEL_ADAPTER && group_of(&owner.api_version) == GROUP)
            .map(|owner| Owner { name: owner.name.as_str().into(), uid: owner.uid.as_str().into() });
        let content = owner.is_some().then(|| Box::new(content(&metadata)));
        Self {
            namespace: metadata.namespace.unwrap_or_default().into(),
            name: metadata.name.unwrap_or_default().into(),
            version: metadata.resource_version.unwrap_or_default().into(),
            uid: metadata.uid.unwrap_or_default().into(),
            leaving: metadata.deletion_timestamp.is_some(),
            owner,
            content,
        }
    }

    /// As [`Expectations`] know it under this name; `None`: no ModelAdapter controls it.
    fn expected_as<'a>(&'a self, name: &'a str) -> Option<expectations::Child<'a>> {
        Some(expectations::Child { owner: &self.owner.as_ref()?.uid, name, uid: &self.uid })
    }

    /// Its uid.
    pub(super) fn uid(&self) -> &str {
        &self.uid
    }

    /// Whether it is being deleted.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving
    }
}

impl<C: Clone> Child<C> {
    /// What it is to the adapter with this uid.
    pub(super) fn seen_by(&self, uid: &str) -> ChildSeen<C> {
        match (&self.owner, &self.content) {
            (Some(owner), Some(content)) if *owner.uid == *uid => {
                ChildSeen::Ours { uid: self.uid.clone(), leaving: self.leaving, content: content.clone() }
            }
            _ => ChildSeen::Foreign,
        }
    }
}

impl<C: Send + Sync + 'static> Stored for Child<C> {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> &str {
        &self.version
    }
}

fn label(metadata: &ObjectMeta, key: &str) -> Option<String> {
    metadata.labels.as_ref()?.get(key).cloned()
}

fn keep_service(service: Service, _: &Interner) -> Child<ServiceContent> {
    let ports = service.spec.and_then(|spec| spec.ports).unwrap_or_default();
    Child::keep(service.metadata, |metadata| ServiceContent {
        name_label: label(metadata, NAME_LABEL),
        model_label: label(metadata, MODEL_NAME),
        model_annotation: metadata.annotations.as_ref().and_then(|it| it.get(MODEL_NAME).cloned()),
        ports,
    })
}

fn keep_slice(slice: EndpointSlice, _: &Interner) -> Child<SliceContent> {
    let EndpointSlice { metadata, address_type, mut endpoints, ports } = slice;
    for endpoint in &mut endpoints {
        // The API server answers with conditions that say nothing where there are none.
        endpoint.conditions = endpoint.conditions.take().filter(|it| *it != EndpointConditions::default());
    }
    Child::keep(metadata, |metadata| SliceContent {
        service_label: label(metadata, SERVICE_NAME_LABEL),
        address_type,
        endpoints,
        ports: ports.unwrap_or_default(),
    })
}

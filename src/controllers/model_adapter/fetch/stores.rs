// SPDX-License-Identifier: Apache-2.0
//! The stores that passes read, and what they keep of each object.

use k8s_openapi::{
    api::{
        core::v1::Service,
        discovery::v1::{EndpointConditions, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

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
use kube_loops::{
    k8s::owner::{controller_of, group_of},
    runtime::{
        children::{self, ChildRef, Children},
        loops::Sources,
        watches::{ControllerRef, Owned, Store, Stored, WatchSpec, interner::Interner},
    },
};

/// Names the controller that made an EndpointSlice; ours bear none.
const SLICE_MANAGER: &str = "endpointslice.kubernetes.io/managed-by";

/// Everything that passes read from memory.
#[derive(Debug)]
pub(in crate::controllers::model_adapter) struct Stores {
    /// All ModelAdapters.
    pub(in crate::controllers::model_adapter) adapters: Store<ModelAdapter>,
    /// All pods.
    pub(in crate::controllers::model_adapter) pods: Store<PodFacts>,
    /// All Services; those that no ModelAdapter controls without their content.
    pub(in crate::controllers::model_adapter) services: Children<Service, Child<ServiceContent>>,
    /// All EndpointSlices, likewise.
    pub(in crate::controllers::model_adapter) slices: Children<EndpointSlice, Child<SliceContent>>,
}

impl Stores {
    /// Opens the stores, and says which keys their changes queue.
    pub(in crate::controllers::model_adapter) fn open(sources: &mut Sources<'_>) -> Self {
        let adapters = sources.primary_when(WatchSpec::<ModelAdapter>::all(), triggers::worth_a_pass);
        let services = WatchSpec::<Service>::all().keeping(keep_service);
        let slices = WatchSpec::<EndpointSlice>::all().keeping(keep_slice);
        let affected = adapters.clone();
        Self {
            services: sources.owns(services, GROUP, MODEL_ADAPTER),
            slices: sources.owns(slices, GROUP, MODEL_ADAPTER),
            pods: sources.trigger(pod_facts::watch(), move |change| {
                triggers::of_pod(change, |namespace| affected.list_in(namespace))
            }),
            adapters,
        }
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
    /// Who controls it.
    owner: Owner,
    content: Option<Box<C>>,
}

/// Who controls a child.
#[derive(Debug)]
enum Owner {
    /// A ModelAdapter.
    Adapter { name: Box<str>, uid: Box<str> },
    /// Nobody, and it is what we would make for the adapter of its name. Its other owners.
    Nobody(Vec<OwnerReference>),
    /// Somebody else, or nobody whom we would replace.
    Other,
}

impl<C> Child<C> {
    /// `is_like_ours`: it looks like what we make for an adapter of this name.
    fn keep(
        metadata: ObjectMeta,
        is_like_ours: impl FnOnce(&ObjectMeta, &str) -> bool,
        content: impl FnOnce(&ObjectMeta) -> C,
    ) -> Self {
        let owner = match controller_of(&metadata) {
            Some(owner) if owner.kind == MODEL_ADAPTER && group_of(&owner.api_version) == GROUP => {
                Owner::Adapter { name: owner.name.as_str().into(), uid: owner.uid.as_str().into() }
            }
            None if is_like_ours(&metadata, metadata.name.as_deref().unwrap_or_default()) => {
                Owner::Nobody(metadata.owner_references.clone().unwrap_or_default())
            }
            Some(_) | None => Owner::Other,
        };
        let content = (!matches!(owner, Owner::Other)).then(|| Box::new(content(&metadata)));
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
}

impl<C: Clone + Send + Sync + 'static> Child<C> {
    /// What there is by the name of the adapter.
    pub(super) fn seen(child: &children::Child<Self>) -> ChildSeen<C> {
        match child {
            children::Child::Absent => ChildSeen::Absent,
            children::Child::Ours(it) => it.as_seen(false),
            children::Child::Terminating(it) => it.as_seen(true),
            children::Child::Orphan(it) => it.as_orphan(),
            children::Child::Foreign(_) => ChildSeen::Foreign,
        }
    }

    fn as_orphan(&self) -> ChildSeen<C> {
        match (&self.owner, &self.content) {
            (Owner::Nobody(owners), Some(content)) => ChildSeen::Orphan {
                child: ChildRef::to(self),
                owners: owners.clone(),
                content: content.clone(),
            },
            _ => ChildSeen::Foreign,
        }
    }

    fn as_seen(&self, leaving: bool) -> ChildSeen<C> {
        let Some(content) = self.content.clone() else { return ChildSeen::Foreign };
        ChildSeen::Ours { child: ChildRef::to(self), leaving, content }
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

impl<C: Send + Sync + 'static> Owned for Child<C> {
    fn uid(&self) -> &str {
        &self.uid
    }

    fn is_terminating(&self) -> bool {
        self.leaving
    }

    fn controller(&self) -> Option<ControllerRef<'_>> {
        let Owner::Adapter { name, uid } = &self.owner else { return None };
        Some(ControllerRef { group: GROUP, kind: MODEL_ADAPTER, name, uid })
    }

    fn has_controller(&self) -> bool {
        !matches!(self.owner, Owner::Nobody(_))
    }
}

fn label(metadata: &ObjectMeta, key: &str) -> Option<String> {
    metadata.labels.as_ref()?.get(key).cloned()
}

fn keep_service(service: Service, _: &Interner) -> Child<ServiceContent> {
    let spec = service.spec.unwrap_or_default();
    // An address of its own could not be taken from it.
    let headless = spec.cluster_ip.as_deref() == Some("None") && spec.selector.is_none_or(|it| it.is_empty());
    let ports = spec.ports.unwrap_or_default();
    let is_like_ours = |metadata: &ObjectMeta, name: &str| {
        headless && label(metadata, NAME_LABEL).is_some_and(|adapter| adapter == name)
    };
    Child::keep(service.metadata, is_like_ours, |metadata| ServiceContent {
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
    let is_like_ours = |metadata: &ObjectMeta, name: &str| {
        let of_service = label(metadata, SERVICE_NAME_LABEL).is_some_and(|service| service == name);
        of_service && label(metadata, SLICE_MANAGER).is_none()
    };
    Child::keep(metadata, is_like_ours, |metadata| SliceContent {
        service_label: label(metadata, SERVICE_NAME_LABEL),
        address_type,
        endpoints,
        ports: ports.unwrap_or_default(),
    })
}

// SPDX-License-Identifier: Apache-2.0
//! The facts of a pass as plain data.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::{
        core::v1::ServicePort,
        discovery::v1::{Endpoint as SliceEndpoint, EndpointPort},
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};

use crate::{
    api::model::{ModelAdapter, ModelAdapterStatus},
    engine::endpoint::Endpoint,
    k8s::pod_facts::PodFacts,
};

use kube_loops::runtime::children::ChildRef;

use super::{calls::Origin, policies::Measured, settings::SchedulerPolicy};

/// Built once per pass, never refreshed half-way.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    /// The object.
    pub(super) adapter: Arc<ModelAdapter>,
    /// How a pod is chosen.
    pub(super) policy: SchedulerPolicy,
    /// Pods that may host it now: selected, ready, staying, with an address. By name.
    pub(super) pods: Vec<PodSeen>,
    /// Other pods that host it, or may: instances and pods that this term had to do with. By name.
    pub(super) outside: Vec<PodSeen>,
    /// Uid of the pod that was chosen for it and that no status shows yet; `None`: none.
    pub(super) chosen: Option<Box<str>>,
    /// [`super::reservations::Reservations::changes`] when the models were counted.
    pub(super) reservations: u64,
    /// Why the source that the measurements of all pods share fails; `None`: it does not, or there is none.
    pub(super) metrics_error: Option<String>,
    /// Source of randomness of this pass.
    pub(super) draw: u64,
    /// The Service with its name.
    pub(super) service: ChildSeen<ServiceContent>,
    /// The EndpointSlice with its name.
    pub(super) slice: ChildSeen<SliceContent>,
    /// False while an earlier write of ours to a child is not visible yet: no steps on children then.
    pub(super) caught_up: bool,
}

/// A pod, and what is known of the adapter on it.
#[derive(Debug, Clone)]
pub(super) struct PodSeen {
    /// The pod.
    pub(super) facts: Arc<PodFacts>,
    /// Whether the selector of the adapter matches it.
    pub(super) selected: bool,
    /// Where its adapters are managed; `Err`: it cannot be called, and why.
    pub(super) endpoint: Result<Endpoint, String>,
    /// Where the engine listens.
    pub(super) port: u16,
    /// Names of models on it without this adapter, reservations under way included.
    pub(super) models: usize,
    /// What its metrics say; `None`: not known yet, and being asked for.
    pub(super) measured: Option<Measured>,
    /// What its engine says.
    pub(super) engine: EngineSeen,
}

/// What an engine says about an adapter, and what is under way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct EngineSeen {
    /// Whether it lists the adapter.
    pub(super) listed: Listed,
    /// The change that is under way.
    pub(super) call: Option<Change>,
    /// Hash of what the load under way is made from; `None`: none is.
    pub(super) loading: Option<Arc<str>>,
    /// The last attempt to load failed.
    pub(super) failed: Option<Failed>,
    /// Hash of what this term has loaded; `None`: nothing.
    pub(super) loaded: Option<Arc<str>>,
    /// Whether this term's last attempt to unload worked; `None`: there was none since the last load.
    pub(super) unloaded: Option<bool>,
    /// Another adapter would push one out.
    pub(super) full: bool,
}

/// Whether an engine lists an adapter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Listed {
    /// It was not asked yet, or has not answered yet.
    #[default]
    Unknown,
    /// It answered.
    Known(bool),
    /// It lists one of that name that was loaded from somewhere else, and not for this adapter.
    Foreign,
    /// It lists it now, and did not a short while ago: it counts once that has lasted.
    Unstable(Failed),
    /// Its lists never show any adapter, and it said that it has loaded this one.
    Vouched,
    /// It could not be asked.
    Failed(Failed),
}

/// A failure, and when the next attempt is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    /// What to tell people.
    pub(super) error: String,
    /// Failures in a row, from 1.
    pub(super) failures: u32,
    /// Wait until the next attempt; zero: it is due.
    pub(super) retry_in: Duration,
    /// What kind of failure.
    pub(super) trouble: Trouble,
}

/// Why an adapter is not on a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// It could not be loaded, or the engine not be asked.
    Load,
    /// It was loaded, and others have pushed it out.
    Evicted,
    /// It comes and goes in the list of the engine.
    Unstable,
}

/// A change of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// A load.
    Load,
    /// An unload.
    Unload,
}

/// An object with the name of the adapter.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ChildSeen<C> {
    /// There is none.
    Absent,
    /// Its controller is this adapter, by uid.
    Ours {
        /// Which one, and which version of it.
        child: ChildRef,
        /// Being deleted.
        leaving: bool,
        /// What it says.
        content: Box<C>,
    },
    /// It belongs to nobody, and looks like ours: it is adopted.
    Orphan {
        /// Which one, and which version of it.
        child: ChildRef,
        /// Its owners, none of which controls it.
        owners: Vec<OwnerReference>,
        /// What it says.
        content: Box<C>,
    },
    /// It belongs to somebody else.
    Foreign,
}

/// What a Service of ours says, as far as we own it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ServiceContent {
    /// Value of the label with the name of the adapter.
    pub(super) name_label: Option<String>,
    /// Value of the label with the base model.
    pub(super) model_label: Option<String>,
    /// Value of the annotation with the base model.
    pub(super) model_annotation: Option<String>,
    /// Its ports.
    pub(super) ports: Vec<ServicePort>,
}

/// What an EndpointSlice of ours says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct SliceContent {
    /// Value of the label with the name of the Service.
    pub(super) service_label: Option<String>,
    /// `IPv4` or `IPv6`.
    pub(super) address_type: String,
    /// Its endpoints.
    pub(super) endpoints: Vec<SliceEndpoint>,
    /// Its ports.
    pub(super) ports: Vec<EndpointPort>,
}

impl Snapshot {
    /// The stored status; an empty one before the first.
    pub(super) fn status(&self) -> ModelAdapterStatus {
        self.adapter.status.clone().unwrap_or_default()
    }

    /// Whether the spec asks for one pod, instead of all.
    pub(super) fn is_single(&self) -> bool {
        self.adapter.spec.replicas.is_some()
    }

    /// Where the pods with these uids are asked for their models.
    pub(super) fn origins(&self, wanted: &[Box<str>]) -> Vec<Origin> {
        let wanted = self.pods.iter().filter(|pod| wanted.contains(&pod.facts.uid));
        let origin =
            |pod: &PodSeen| Some(Origin { pod: pod.facts.uid.clone(), endpoint: pod.endpoint.clone().ok()? });
        wanted.filter_map(origin).collect()
    }

    /// What bears the name of a child and is somebody else's, in words; empty: nothing.
    pub(super) fn conflicts(&self, name: &str) -> Vec<String> {
        let kinds = [
            ("Service", matches!(self.service, ChildSeen::Foreign)),
            ("EndpointSlice", matches!(self.slice, ChildSeen::Foreign)),
        ];
        let foreign = kinds.into_iter().filter(|(_, foreign)| *foreign);
        let said = |(kind, _)| {
            format!("{kind} {name} exists and is not controlled by this ModelAdapter; it is left as it is")
        };
        foreign.map(said).collect()
    }

    /// Whether it is being deleted.
    pub(super) fn is_leaving(&self) -> bool {
        self.adapter.metadata.deletion_timestamp.is_some()
    }
}

impl PodSeen {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.facts.name
    }

    /// Whether the engine is known to have the adapter.
    pub(super) fn has_it(&self) -> bool {
        matches!(self.engine.listed, Listed::Known(true) | Listed::Vouched)
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What a plan consists of.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use serde_json::Value;

use crate::{api::model::ModelAdapterStatus, engine::endpoint::Endpoint, k8s::pod_facts::PodFacts};

use kube_loops::{cluster::events::EventText, runtime::children::ChildRef};

use super::{source::Source, state::State};

/// One change. Complete: carrying it out needs no look at spec or snapshot.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Starts to load the adapter; the pass does not wait for it.
    Load {
        /// Where.
        pod: PodTarget,
        /// What.
        source: Arc<Source>,
        /// Unload it first: another version is loaded.
        reload: bool,
    },
    /// Starts to unload the adapter, in place of a load that is under way; the pass does not wait for it.
    Unload {
        /// Where.
        pod: PodTarget,
    },
    /// Records what is loaded.
    RecordHash {
        /// Its hash.
        hash: Arc<str>,
    },
    /// Creates the Service.
    CreateService(Box<Service>),
    /// Changes the Service.
    PatchService {
        /// Which one, as it was seen.
        child: ChildRef,
        /// Merge patch.
        patch: Value,
    },
    /// Creates the EndpointSlice.
    CreateSlice(Box<EndpointSlice>),
    /// Changes the EndpointSlice.
    PatchSlice {
        /// Which one, as it was seen.
        child: ChildRef,
        /// Merge patch.
        patch: Value,
    },
    /// Deletes the EndpointSlice: its family of addresses cannot be changed.
    DeleteSlice {
        /// Which one.
        child: ChildRef,
    },
    /// Lets the object go.
    Release,
}

/// A pod to call.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PodTarget {
    /// The pod.
    pub(super) facts: Arc<PodFacts>,
    /// Where its adapters are managed.
    pub(super) endpoint: Endpoint,
}

/// A pod that was chosen in this pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reservation {
    /// Its name.
    pub(super) pod: Box<str>,
    /// Its uid.
    pub(super) uid: Box<str>,
}

/// What a pass does.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Plan {
    /// Changes, in order.
    pub(super) steps: Vec<Step>,
    /// The status, apart from what publishing makes of it; `None`: nothing to say.
    pub(super) status: Option<ModelAdapterStatus>,
    /// The adapter serves: once it is published, the status says that it runs.
    pub(super) serves: bool,
    /// Events.
    pub(super) events: Vec<EventText>,
    /// State for the next pass.
    pub(super) remember: State,
    /// The pod that was chosen.
    pub(super) reserve: Option<Reservation>,
    /// Pods (by uid) whose lists matter to the next pass.
    pub(super) watch: Vec<Box<str>>,
    /// Plan again at once, on what this plan has made.
    pub(super) again: bool,
    /// When to come back at the latest; `None`: on the next trigger.
    pub(super) requeue: Option<Duration>,
}

impl Plan {
    /// Comes back after `delay` at the latest.
    pub(super) fn within(&mut self, delay: Duration) {
        self.requeue = Some(self.requeue.map_or(delay, |known| known.min(delay)));
    }

    /// Sends an event.
    pub(super) fn tell(&mut self, warning: bool, reason: &'static str, message: String) {
        self.events.push(EventText { warning, reason, message });
    }

    /// Warns, once in the life of the state.
    pub(super) fn warn_once(&mut self, reason: &'static str, message: String) {
        if self.remember.warned.insert(format!("{reason}: {message}")) {
            self.tell(true, reason, message);
        }
    }
}

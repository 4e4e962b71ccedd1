// SPDX-License-Identifier: Apache-2.0
//! Reads for a pass: stores, and what is known of engines. A pass waits for neither: in steady state it sends
//! no request.

pub(super) mod engines;
pub(super) mod meter;
pub(super) mod scores;
pub(super) mod stores;

#[cfg(test)]
mod engines_tests;
#[cfg(test)]
mod scores_tests;

use std::sync::Arc;

use crate::{
    api::model::ModelAdapter,
    k8s::pod_facts::{BY_UID, PodFacts},
};
use kube_fenced_election::clock::{Instant, SharedClock};
use kube_loops::runtime::{
    children::Parent, own_objects::OwnObjects, reconciler::Key, requests::runner::Requests,
};

use self::{
    scores::Scores,
    stores::{Child, Stores},
};
use super::{
    candidates::{AdapterContext, Known, candidates, count_models},
    load_tracker::EngineCalls,
    plan::selector_of,
    reservations::Reservations,
    schedule::measures,
    settings::ModelAdapterSettings,
    snapshot::{PodSeen, Snapshot},
    state::State,
};

/// What a term reads with, and what it has to know to read right.
pub(super) struct Reads {
    /// The ModelAdapters.
    pub(super) own: OwnObjects<ModelAdapter>,
    /// From memory.
    pub(super) stores: Stores,
    /// From engines.
    pub(super) calls: Arc<EngineCalls>,
    /// Measurements.
    pub(super) readings: Arc<Requests<Scores>>,
    settings: ModelAdapterSettings,
    clock: SharedClock,
}

impl Reads {
    /// Reads of a new term.
    pub(super) fn new(
        stores: Stores,
        calls: Arc<EngineCalls>,
        readings: Arc<Requests<Scores>>,
        settings: ModelAdapterSettings,
        clock: SharedClock,
    ) -> Self {
        let own = OwnObjects::new(stores.adapters.clone());
        Self { own, stores, calls, readings, settings, clock }
    }

    /// The facts for one pass.
    pub(super) fn observe(
        &self,
        key: &Key,
        adapter: Arc<ModelAdapter>,
        state: &State,
        reservations: &Reservations,
        draw: u64,
    ) -> Snapshot {
        let now = self.clock.instant();
        let about = AdapterContext { key, adapter: &adapter, state, settings: &self.settings };
        let namespace_pods = self.namespace_pods(about);
        let (mut pods, outside) =
            self.calls.with(|tracker, _| candidates(about, &namespace_pods, tracker, now));
        let status = adapter.status.clone().unwrap_or_default();
        let unplaced = !pods.iter().any(|pod| status.instances.iter().any(|name| *name == *pod.facts.name));
        if adapter.spec.replicas.is_some() && unplaced {
            // Each as we wrote it last: what was chosen for one stops to be assumed when its status is stored, not when
            // the store shows that.
            let others = self.own.list_in(&key.namespace);
            count_models(key, &mut pods, &others, reservations, now);
            self.measure(key, &mut pods, reservations, now);
        }
        let (services, slices, parent) = (&self.stores.services, &self.stores.slices, Parent::of(&*adapter));
        let caught_up = services.caught_up(parent) && slices.caught_up(parent);
        Snapshot {
            policy: self.settings.policy,
            pods,
            outside,
            chosen: reservations.chosen(key, now).map(Box::from),
            reservations: reservations.changes(),
            metrics_error: self.readings.with(|scores, _| scores.last_error()),
            draw,
            service: Child::seen(&services.named(parent, &key.name)),
            slice: Child::seen(&slices.named(parent, &key.name)),
            caught_up,
            adapter,
        }
    }

    /// The pods that an adapter selects or has to do with.
    fn namespace_pods(&self, about: AdapterContext<'_>) -> Vec<Arc<PodFacts>> {
        let (pods, namespace) = (&self.stores.pods, &about.key.namespace);
        let known = self.calls.with(|tracker, _| Known::to(about, tracker));
        let selector = selector_of(about.adapter).ok();
        let selected = selector.map(|selector| pods.select(namespace, &selector)).unwrap_or_default();
        let by_uid = known.uids.iter().flat_map(|uid| pods.by_index_in(namespace, &BY_UID, uid));
        let by_name = known.names.iter().filter_map(|name| pods.get(namespace, name));
        let mut namespace_pods: Vec<Arc<PodFacts>> =
            selected.into_iter().chain(by_uid).chain(by_name).collect();
        namespace_pods.sort_by(|one, other| one.name.cmp(&other.name));
        namespace_pods.dedup_by(|one, other| one.name == other.name);
        namespace_pods
    }

    /// Measures pods where one is about to be chosen by measurements.
    fn measure(&self, key: &Key, pods: &mut [PodSeen], reservations: &Reservations, now: Instant) {
        if measures(self.settings.policy) && reservations.chosen(key, now).is_none() {
            self.readings.with(|scores, _| {
                for pod in pods {
                    pod.measured = scores.ask(key, &pod.facts, now);
                }
            });
        }
    }

    /// The term has made the first write to an adapter.
    pub(super) fn begin(&self, key: &Key, uid: &str) {
        self.calls.with(|tracker, _| tracker.begin(key, uid));
    }

    /// From now on the lists of exactly these pods are kept fresh for the adapter.
    pub(super) fn watch(&self, key: &Key, seen: &Snapshot, wanted: &[Box<str>]) {
        self.calls.with(|tracker, now| tracker.watch(key, seen.origins(wanted), now.instant));
    }

    /// The object is gone.
    pub(super) fn forget(&self, key: &Key) {
        self.calls.with(|tracker, _| tracker.forget(key));
        self.own.forget(key);
    }
}

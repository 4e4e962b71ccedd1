// SPDX-License-Identifier: Apache-2.0
//! The model route controller: leads requests for a model to the Service of the workload that serves it, by one
//! HTTPRoute for each model and one ReferenceGrant for each namespace.
//!
//! # Guarantees
//! - Several workloads with one model share its route, which goes with the last of them and is led to another
//!   one when the one that it leads to goes.
//! - A route that somebody else made is not changed, and not deleted unless it looks as AIBrix makes them and
//!   its last workload is seen to go. What was made before this term, and carries our marker, is tidied up.
//! - A kind of workloads that is not served takes no route with it: what cannot be seen is not gone. Any of the
//!   kinds but Deployment may be absent, and is used soon after it is served.
//! - Our routes are as wanted in every field of the standard channel; fields that we do not know are kept.
//! - Nothing is written while nothing changes, nor by a restart.
//!
//! Others write these objects, too: people routes of their own, the gateway the status, AIBrix's older manager
//! routes without a marker.
//!
//! Without the Gateway API the controller waits, and takes no Lease.

mod apply;
mod card;
mod error;
mod fetch;
mod fit;
mod memory;
mod objects;
pub mod paths;
mod plan;
mod reconcile;
mod routes;
mod snapshot;
mod sources;
mod status;
mod triggers;

#[cfg(test)]
mod cases;
#[cfg(test)]
mod fit_tests;
#[cfg(test)]
mod memory_tests;
#[cfg(test)]
mod objects_tests;
#[cfg(test)]
mod paths_tests;
#[cfg(test)]
mod plan_property_tests;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod triggers_tests;

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::sleep;

use kube_loops::{
    cluster::{events::Recorder, writer::Writer},
    runtime::{
        controller::{Card, Controller, RunError, Term},
        loops::{BuiltLoop, Loop, run_with_events},
        metrics::RuntimeMetrics,
        queue::Enqueue,
        watches::{Change, Read, Watches},
    },
};

use self::{
    card::{LOOP, NAME},
    fetch::Stores,
    memory::Memory,
    reconcile::ModelRouteLoop,
    sources::SourceFacts,
};

pub use self::card::{CARD, ModelRouteSettings};

/// How often it is looked whether a kind of workloads has come into sight.
const LOOK: Duration = Duration::from_secs(5);

/// The controller of model routes.
#[derive(Debug)]
pub struct ModelRouteController {
    /// Watches shared by all controllers.
    pub watches: Watches,
    /// Metrics of loops and queues.
    pub metrics: RuntimeMetrics,
    /// What the process is told about routes.
    pub settings: Arc<ModelRouteSettings>,
}

impl ModelRouteController {
    fn built(&self, term: &Term, recorder: &Recorder) -> BuiltLoop {
        let stores = Stores::new(&self.watches, &self.settings);
        let memory = Arc::new(Mutex::new(Memory::default()));
        let (of_routes, of_grants) = (Arc::clone(&self.settings), Arc::clone(&self.settings));
        let mut built = Loop::new(NAME, &LOOP, term, &self.metrics)
            .trigger(&stores.routes, move |change| triggers::of_route(change, &of_routes.gateway_namespace))
            .trigger(&stores.grants, move |change| triggers::of_grant(change, &of_grants.gateway_namespace));
        for (kind, store) in &stores.sources {
            let (settings, memory, source) = (Arc::clone(&self.settings), Arc::clone(&memory), store.clone());
            let keys = move |change: &Change<SourceFacts>| {
                let affected = triggers::of_source(change, &settings.gateway_namespace);
                // Objects of a kind that is not served any more may still be there, out of sight.
                if source.is_served() {
                    affected.lost.into_iter().for_each(|key| memory.lock().lose(key));
                }
                affected.keys
            };
            built = if kind.is_builtin() {
                built.trigger(store, keys)
            } else {
                built.trigger_if_served(store, keys)
            };
        }
        let (listed, existing, seen) = (stores.clone(), stores.clone(), stores.clone());
        let wake = built.enqueue();
        built
            .keyed(move || listed.keys(), move |key| existing.exists(key))
            .alongside("sight", async move { watch_sight(&seen, &wake).await })
            .build(ModelRouteLoop {
                settings: Arc::clone(&self.settings),
                stores,
                writer: Writer::new(term.client.0.clone()),
                memory,
                recorder: recorder.clone(),
            })
    }
}

impl Controller for ModelRouteController {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn reads(&self) -> Vec<Read> {
        Stores::new(&self.watches, &self.settings).reads()
    }

    fn run(&self, term: Term) -> BoxFuture<'static, Result<(), RunError>> {
        let built = |term: &Term, recorder: &Recorder| vec![self.built(term, recorder)];
        run_with_events(&term, LOOP.event_source, built)
    }
}

/// Looks at the routes of a kind of workloads anew once the kind comes (back) into sight: those whose workloads
/// have gone in the meantime get no other sign.
async fn watch_sight(stores: &Stores, wake: &Enqueue) {
    let in_sight = || stores.sources.iter().map(|(_, store)| store.is_served()).collect::<Vec<_>>();
    let mut before = in_sight();
    loop {
        sleep(LOOK).await;
        let now = in_sight();
        let kinds = stores.sources.iter().zip(before.iter().zip(&now));
        for ((kind, _), _) in kinds.filter(|(_, (before, now))| !**before && **now) {
            stores.made_for(*kind).into_iter().for_each(|key| wake.add(key));
        }
        before = now;
    }
}

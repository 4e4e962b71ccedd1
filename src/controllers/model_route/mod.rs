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
mod objects;
pub(crate) mod paths;
mod plan;
mod reconcile;
mod routes;
mod snapshot;
mod sources;
mod state;
mod status;
mod triggers;

#[cfg(test)]
mod cases;
#[cfg(test)]
mod fit_tests;
#[cfg(test)]
mod objects_tests;
#[cfg(test)]
mod paths_tests;
#[cfg(test)]
mod plan_property_tests;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod state_tests;
#[cfg(test)]
mod triggers_tests;

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use kube_loops::runtime::{
    conductor::Conductor,
    controller::LoopSpec,
    loops::{Loop, LoopController, LoopTerm, Sources},
    metrics::RuntimeMetrics,
    queue::Enqueue,
    watches::Watches,
};

use self::{card::LOOP, fetch::Stores, reconcile::RouteStages};

pub(crate) use self::card::{CARD, ModelRouteSettings};

/// How often it is looked whether a kind of workloads has come into sight.
const REDISCOVERY_PERIOD: Duration = Duration::from_secs(5);

/// The controller, with what the process is told about routes.
pub(crate) fn controller(
    watches: &Watches,
    metrics: &RuntimeMetrics,
    settings: Arc<ModelRouteSettings>,
) -> LoopController {
    LoopController::new(&CARD, watches, metrics).with(ModelRouteLoop { settings })
}

struct ModelRouteLoop {
    settings: Arc<ModelRouteSettings>,
}

impl Loop for ModelRouteLoop {
    type Stores = Stores;
    type Reconciler = Conductor<RouteStages>;

    fn spec(&self) -> &'static LoopSpec {
        &LOOP
    }

    fn open(&self, sources: &mut Sources<'_>) -> Stores {
        Stores::open(sources, &self.settings)
    }

    fn start(&self, stores: Stores, term: &mut LoopTerm) -> Conductor<RouteStages> {
        let (seen, enqueue) = (stores.clone(), term.enqueue.clone());
        term.run_beside("rediscovery", async move { rediscover(&seen, &enqueue).await });
        Conductor::new(RouteStages { settings: Arc::clone(&self.settings), stores })
    }
}

/// Looks at the routes of a kind of workloads anew once the kind comes (back) into sight: those whose workloads
/// have gone in the meantime get no other sign.
async fn rediscover(stores: &Stores, enqueue: &Enqueue) {
    let in_sight = || stores.sources.iter().map(|(_, store)| store.is_served()).collect::<Vec<_>>();
    let mut before = in_sight();
    loop {
        sleep(REDISCOVERY_PERIOD).await;
        let now = in_sight();
        let kinds = stores.sources.iter().zip(before.iter().zip(&now));
        for ((kind, _), _) in kinds.filter(|(_, (before, now))| !**before && **now) {
            stores.made_for(*kind).into_iter().for_each(|key| enqueue.add(key));
        }
        before = now;
    }
}

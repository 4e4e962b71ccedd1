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
mod fetch;
mod objects;
mod owned_fields;
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
mod dry_run_tests;
#[cfg(test)]
mod objects_tests;
#[cfg(test)]
mod owned_fields_tests;
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

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::{
    api::keys::model_route::{GATEWAY_NAME, GATEWAY_NAMESPACE},
    controllers::Deps,
};
use kube_loops::runtime::{
    conductor::Conductor,
    controller::{ControllerSpec, Kind, LoopSpec, Rule},
    loops::{Loop, LoopController, LoopTerm, Sources},
};

use self::{fetch::Stores, reconcile::RouteStages};

const NAME: &str = "model-route-controller";

/// Group of the Gateway API.
const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
const HTTP_ROUTE: Kind =
    Kind { group: GATEWAY_GROUP, version: "v1", kind: "HTTPRoute", plural: "httproutes" };
/// In the version that every release of the Gateway API serves.
const REFERENCE_GRANT: Kind =
    Kind { group: GATEWAY_GROUP, version: "v1beta1", kind: "ReferenceGrant", plural: "referencegrants" };

/// Constants of the controller.
pub(super) const SPEC: ControllerSpec =
    ControllerSpec { name: NAME, required_kinds: &[HTTP_ROUTE, REFERENCE_GRANT] };

/// Constants of its only loop.
const LOOP: LoopSpec = LoopSpec {
    label: NAME,
    event_source: NAME,
    workers: 4,
    period: None,
    deadline: Some(Duration::from_secs(30)),
    backoff_cap: Duration::from_mins(5),
    rules: &[Rule::new(
        GATEWAY_GROUP,
        &["httproutes", "referencegrants"],
        &["create", "update", "patch", "delete"],
    )],
};

/// What the process is told about routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRouteSettings {
    /// Request time-out of routes.
    pub request_timeout: Duration,
    /// Gateway that routes attach to.
    pub gateway_name: String,
    /// Namespace of the Gateway and of the routes.
    pub gateway_namespace: String,
    /// Whose routes they are: the namespace of the Leases.
    pub owner: String,
    /// The namespaces of workloads that get routes; none: all.
    pub watched: BTreeSet<String>,
}

impl Default for ModelRouteSettings {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_mins(2),
            gateway_name: GATEWAY_NAME.to_owned(),
            gateway_namespace: GATEWAY_NAMESPACE.to_owned(),
            owner: GATEWAY_NAMESPACE.to_owned(),
            watched: BTreeSet::new(),
        }
    }
}

/// The controller.
pub(super) fn controller(deps: &Deps) -> LoopController {
    let settings = Arc::new(deps.settings.model_route.clone());
    LoopController::new(&SPEC, &deps.watches, &deps.metrics).with(ModelRouteLoop { settings })
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

    fn start(&self, stores: Stores, _: &mut LoopTerm) -> Conductor<RouteStages> {
        Conductor::new(RouteStages { settings: Arc::clone(&self.settings), stores })
    }
}

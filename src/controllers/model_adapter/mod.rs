// SPDX-License-Identifier: Apache-2.0
//! `model-adapter-controller`: keeps LoRAs loaded on inference engines and publishes where.
//!
//! # Guarantees
//! - The status tells what engines report, not what was intended.
//! - Passes never wait for engines: lists and changes are made beside them (`load_tracker.rs`),
//!   within the task of the loop, and each change under the fence of its term.
//! - A new leader asks before it acts: nothing is unloaded, moved or loaded twice by a takeover.
//! - Nothing is written while nothing changes, and each engine is asked once per period for all its adapters.
//!
//! Deliberately absent: a check of the artifact URL, which is admission's, and any state in the cluster but the
//! status and one annotation.
//!
//! Others write these objects, too: users anything, so Service and EndpointSlice are restored where we own them
//! and left alone where we do not. Engines are changed by whoever reaches them.

mod apply;
mod attempt;
mod calls;
mod candidates;
mod fetch;
mod finalize;
mod load;
pub(crate) mod load_retry;
mod load_tracker;
mod metrics;
mod model_lists;
pub(crate) mod objects;
mod plan;
pub(crate) mod policies;
mod presence;
mod publish;
mod reconcile;
mod reservations;
mod schedule;
mod settings;
mod snapshot;
mod source;
mod state;
mod status;
mod steps;
mod triggers;
mod unload;

#[cfg(test)]
mod apply_tests;
#[cfg(test)]
mod candidates_tests;
#[cfg(test)]
mod controller_harness;
#[cfg(test)]
mod controller_tests;
#[cfg(test)]
mod load_tracker_tests;
#[cfg(test)]
mod objects_tests;
#[cfg(test)]
mod plan_engine_tests;
#[cfg(test)]
mod plan_property_tests;
#[cfg(test)]
mod plan_schedule_tests;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod policies_tests;
#[cfg(test)]
mod presence_tests;
#[cfg(test)]
mod publish_tests;
#[cfg(test)]
mod reconcile_tests;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod simulated_passes;
#[cfg(test)]
mod source_tests;
#[cfg(test)]
mod triggers_tests;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

use crate::{api::model, controllers::Deps, engine::http::EngineClient};
use kube_loops::{
    metrics::MetricsError,
    runtime::{
        conductor::Conductor,
        controller::{ControllerSpec, Kind, LoopSpec, Rule},
        loops::{Loop, LoopController, LoopTerm, Sources},
        requests::runner::Requests,
    },
};

use self::{
    apply::Writes,
    fetch::{Reads, engines::Engines, meter::Meter, scores::Scores, stores::Stores},
    load_tracker::LoadTracker,
    metrics::SourceFailures,
    reconcile::AdapterStages,
};

pub(crate) use self::settings::{
    EngineMetricsSettings, ModelAdapterSettings, PrometheusLogin, PrometheusSettings, REFRESH_INTERVAL,
    SchedulerPolicy,
};

/// Time between two looks at what an engine has loaded, and between two passes without a cause.
const PERIOD: Duration = Duration::from_secs(10);

const NAME: &str = "model-adapter-controller";

/// Constants of the controller.
pub(super) const SPEC: ControllerSpec = ControllerSpec {
    name: NAME,
    required_kinds: &[Kind {
        group: model::GROUP,
        version: model::VERSION,
        kind: model::MODEL_ADAPTER,
        plural: "modeladapters",
    }],
};

/// Constants of its only loop. Passes never wait for engines, only for the API server.
const LOOP: LoopSpec = LoopSpec {
    label: NAME,
    event_source: NAME,
    workers: 8,
    period: Some(PERIOD),
    deadline: Some(Duration::from_secs(30)),
    backoff_cap: Duration::from_secs(1000),
    rules: RULES,
};

const RULES: &[Rule] = &[
    Rule::new("model.aibrix.ai", &["modeladapters"], &["update", "patch"]),
    Rule::new("model.aibrix.ai", &["modeladapters/status"], &["get", "update", "patch"]),
    // The owner references of Service and EndpointSlice block the deletion of their owner.
    Rule::new("model.aibrix.ai", &["modeladapters/finalizers"], &["update"]),
    Rule::new("", &["services"], CHILD),
    Rule::new("discovery.k8s.io", &["endpointslices"], CHILD),
    // Read by name when an adapter with credentials is loaded, in any namespace; never listed or watched.
    Rule::new("", &["secrets"], &["get"]),
];

const CHILD: &[&str] = &["create", "update", "patch", "delete"];

/// The controller.
///
/// # Errors
/// [`MetricsError`]: a family is registered already, which is a defect.
pub(super) fn controller(deps: &Deps) -> Result<LoopController, MetricsError> {
    Ok(LoopController::new(&SPEC, &deps.watches, &deps.metrics).with(ModelAdapterLoop {
        engine: deps.engine.clone(),
        settings: deps.settings.model_adapter.clone(),
        failures: SourceFailures::register(&deps.registry)?,
    }))
}

struct ModelAdapterLoop {
    engine: EngineClient,
    settings: ModelAdapterSettings,
    failures: SourceFailures,
}

impl Loop for ModelAdapterLoop {
    type Stores = Stores;
    type Reconciler = Conductor<AdapterStages>;

    fn spec(&self) -> &'static LoopSpec {
        &LOOP
    }

    fn open(&self, sources: &mut Sources<'_>) -> Stores {
        Stores::open(sources)
    }

    fn start(&self, stores: Stores, term: &mut LoopTerm) -> Conductor<AdapterStages> {
        let (client, clock) = (term.client.clone(), Arc::clone(&term.clock));
        let calls = Arc::new(Requests::new(LoadTracker::default(), Arc::clone(&clock)));
        let readings = Arc::new(Requests::new(Scores::new(&self.settings.metrics), Arc::clone(&clock)));
        let reads = Arc::new(Reads::new(
            stores,
            Arc::clone(&calls),
            Arc::clone(&readings),
            self.settings.clone(),
            Arc::clone(&clock),
        ));
        let meter = Meter::new(
            self.engine.clone(),
            client.clone(),
            &self.settings,
            self.failures.clone(),
            Arc::clone(&clock),
        );
        let engines = Engines { engine: self.engine.clone(), client, fence: term.fence.clone() };
        let (called, measured) = (term.enqueue.clone(), term.enqueue.clone());
        term.run_beside("engine calls", async move { calls.run(&engines, |key| called.add(key)).await });
        term.run_beside("measurements", async move { readings.run(&meter, |key| measured.add(key)).await });
        Conductor::new(AdapterStages {
            writes: Writes::new(Arc::clone(&reads)),
            reads,
            reservations: Mutex::default(),
            clock,
        })
    }
}

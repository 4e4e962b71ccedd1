// SPDX-License-Identifier: Apache-2.0
//! `model-adapter-controller`: keeps LoRAs loaded on inference engines and publishes where.
//!
//! # Guarantees
//! - The status tells what engines report, not what was intended.
//! - Passes never wait for engines: lists and changes are made beside them (`ledger.rs`, `fetch/runner.rs`),
//!   within the term's own future, and each change under its fence.
//! - A new leader asks before it acts: nothing is unloaded, moved or loaded twice by a takeover.
//! - Nothing is written while nothing changes, and each engine is asked once per period for all its adapters.
//!
//! Deliberately absent: a check of the artifact URL, which is admission's, and any state in the cluster but the
//! status and one annotation.
//!
//! Others write these objects, too: users anything, so Service and EndpointSlice are restored where we own them
//! and left alone where we do not. Engines are changed by whoever reaches them.

mod apply;
mod calls;
mod card;
mod dropped;
mod error;
mod events;
mod fetch;
mod leave;
mod ledger;
mod load;
pub(crate) mod load_retry;
mod memory;
mod metrics;
pub(crate) mod objects;
mod place;
pub(crate) mod placement;
mod placements;
mod plan;
mod publish;
mod reconcile;
mod settings;
mod snapshot;
mod source;
mod status;
mod steps;
mod survey;
mod triggers;

#[cfg(test)]
mod apply_tests;
#[cfg(test)]
mod controller_tests;
#[cfg(test)]
mod led;
#[cfg(test)]
mod ledger_tests;
#[cfg(test)]
mod load_retry_tests;
#[cfg(test)]
mod objects_tests;
#[cfg(test)]
mod placement_tests;
#[cfg(test)]
mod plan_place_tests;
#[cfg(test)]
mod plan_property_tests;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod publish_tests;
#[cfg(test)]
mod reconcile_tests;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod source_tests;
#[cfg(test)]
mod survey_tests;
#[cfg(test)]
mod triggers_tests;

use std::sync::Arc;

use parking_lot::Mutex;

use crate::engine::http::EngineClient;
use kube_loops::runtime::{
    conductor::Conductor,
    controller::LoopSpec,
    loops::{Loop, LoopController, LoopTerm, Sources},
    metrics::RuntimeMetrics,
    watches::Watches,
};

use self::{
    apply::Writes,
    card::LOOP,
    fetch::{Reads, engines::Engines, meter::Meter, runner::Calls, scores::Scores, stores::Stores},
    reconcile::AdapterStages,
};

pub(crate) use self::{
    card::CARD,
    metrics::SourceFailures,
    settings::{
        EngineMetricsSettings, ModelAdapterSettings, PrometheusLogin, PrometheusSettings, REFRESH_INTERVAL,
        SchedulerPolicy,
    },
};

/// The controller, with a client towards engines, how pods are chosen and called, and a counter of measurements that
/// failed.
pub(crate) fn controller(
    watches: &Watches,
    metrics: &RuntimeMetrics,
    engine: EngineClient,
    settings: ModelAdapterSettings,
    failures: SourceFailures,
) -> LoopController {
    LoopController::new(&CARD, watches, metrics).with(ModelAdapterLoop { engine, settings, failures })
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
        let clock = Arc::clone(sources.clock());
        Stores::open(sources, &clock)
    }

    fn start(&self, stores: Stores, term: &mut LoopTerm) -> Conductor<AdapterStages> {
        let (client, clock) = (term.client.clone(), Arc::clone(&term.clock));
        let calls = Arc::new(Calls::new(Arc::clone(&clock)));
        let readings = Arc::new(Scores::new(Arc::clone(&clock), &self.settings.metrics));
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
            writes: Writes::new(Arc::clone(&reads), Arc::clone(&clock)),
            reads,
            placements: Mutex::default(),
            clock,
        })
    }
}

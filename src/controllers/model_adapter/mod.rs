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
pub mod load_retry;
mod memory;
pub mod objects;
mod place;
pub mod placement;
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
mod simulated;
#[cfg(test)]
mod source_tests;
#[cfg(test)]
mod survey_tests;
#[cfg(test)]
mod triggers_tests;

use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::engine::http::EngineClient;
use kube_loops::{
    cluster::{events::Recorder, writer::Writer},
    runtime::{
        controller::{Card, Controller, RunError, Term},
        loops::{BuiltLoop, Loop, run_with_events},
        memory::Memory,
        metrics::RuntimeMetrics,
        watches::{Read, Watches},
    },
};

use self::{
    apply::Writes,
    card::{CARD, LOOP, NAME},
    fetch::{
        Reads,
        engines::Engines,
        runner::Calls,
        scores::{Meter, Scores},
        stores::Stores,
    },
    reconcile::ModelAdapterLoop,
};

pub use self::settings::{
    EngineMetricsSettings, ModelAdapterSettings, PrometheusLogin, PrometheusSettings, SchedulerPolicy,
};

/// Objects that a term remembers at most; beyond, those that were not looked at for the longest time start
/// afresh.
const REMEMBERED: usize = 100_000;

/// The controller of ModelAdapters.
pub struct ModelAdapterController {
    /// Watches shared by all controllers.
    pub watches: Watches,
    /// Metrics of loops and queues.
    pub metrics: RuntimeMetrics,
    /// Client towards engines.
    pub engine: EngineClient,
    /// How pods are chosen and called.
    pub settings: ModelAdapterSettings,
}

/// The card of the controller.
pub fn card() -> &'static Card {
    &CARD
}

impl ModelAdapterController {
    /// The loop of a term, and the task that sends its events.
    fn built(&self, term: &Term, stores: &Stores, recorder: &Recorder) -> BuiltLoop {
        let client = term.client.0.clone();
        let clock = Arc::clone(&term.clock);
        let calls = Arc::new(Calls::new(Arc::clone(&clock)));
        let prometheus = self.settings.metrics.prometheus.clone();
        let readings = Arc::new(Scores::new(Arc::clone(&clock), prometheus.is_some()));
        let reads = Arc::new(Reads::new(
            stores.clone(),
            Arc::clone(&calls),
            Arc::clone(&readings),
            self.settings.clone(),
            Arc::clone(&clock),
        ));
        let adapters = stores.adapters.clone();
        let built = Loop::new(NAME, &LOOP, term, &self.metrics)
            .primary_when(&stores.adapters, triggers::worth_a_pass)
            .trigger(&stores.services, triggers::of_child)
            .trigger(&stores.slices, triggers::of_child)
            .trigger(&stores.pods, move |change| {
                triggers::of_pod(change, |namespace| adapters.list_in(namespace))
            });
        let (malformed, wake) = (recorder.clone(), built.enqueue());
        let measured = built.enqueue();
        let meter = Meter::new(self.engine.clone(), client.clone(), self.settings.policy, prometheus);
        let engines =
            Engines { engine: self.engine.clone(), client: client.clone(), fence: term.fence.clone() };
        built
            .on_malformed(&stores.adapters, move |object| malformed.publish(object.event()))
            .alongside("engine calls", async move { calls.run(&engines, |key| wake.add(key)).await })
            .alongside("measurements", async move { readings.run(&meter, |key| measured.add(key)).await })
            .build(ModelAdapterLoop {
                writes: Writes::new(Writer::new(client), Arc::clone(&reads), Arc::clone(&clock)),
                reads,
                memory: Mutex::new(Memory::new(REMEMBERED)),
                placements: Mutex::default(),
                recorder: recorder.clone(),
                clock,
            })
    }
}

impl Controller for ModelAdapterController {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn reads(&self) -> Vec<Read> {
        Stores::new(&self.watches).reads()
    }

    fn run(&self, term: Term) -> BoxFuture<'static, Result<(), RunError>> {
        let built =
            |term: &Term, recorder: &Recorder| vec![self.built(term, &Stores::new(&self.watches), recorder)];
        run_with_events(&term, LOOP.event_source, built)
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The PodAutoscaler controller: scales one target for each PodAutoscaler, by a generated
//! HorizontalPodAutoscaler (`HPA`) or by its own decisions (`KPA`, `APA`).
//!
//! # Guarantees
//! - Two PodAutoscalers never drive one target; who holds it survives restarts (`claims.rs`).
//! - A missing measurement is unknown, never zero, and nothing is scaled down on it, nor before a whole
//!   window was observed in this term.
//! - Passes never wait for engines: measurements are taken beside them, once per period (`fetch/samples`).
//! - Nothing is written, and but for targets of unusual kinds nothing is asked, while nothing changes.
//!
//! Others write these objects, too: users the replicas of a target, the HorizontalPodAutoscaler's own
//! controller its status, several PodAutoscalers roles of one StormService. So of a target exactly one
//! number is written, and of a HorizontalPodAutoscaler only what we own.

mod algorithm;
mod annotations;
mod apply;
mod bounds;
mod card;
mod claims;
mod decide;
mod error;
mod events;
mod fetch;
mod hpa;
mod memory;
mod metrics;
mod plan;
mod reconcile;
mod snapshot;
mod status;
mod steps;
mod targets;
mod triggers;

#[cfg(test)]
mod annotations_tests;
#[cfg(test)]
mod apply_tests;
#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod claims_tests;
#[cfg(test)]
mod controller_tests;
#[cfg(test)]
mod hpa_tests;
#[cfg(test)]
mod metrics_tests;
#[cfg(test)]
mod plan_property_tests;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod targets_tests;
#[cfg(test)]
mod triggers_tests;
#[cfg(test)]
mod world;

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::engine::http::EngineClient;
use kube_loops::{
    cluster::{events::Recorder, writer::Writer},
    runtime::{
        controller::{Card, Controller, LoopSpec, RunError, Term},
        loops::{BuiltLoop, Loop, run_with_events},
        memory::Memory,
        metrics::RuntimeMetrics,
        watches::{Change, Read, Stored, Watches},
    },
};

use self::{
    apply::Writes,
    card::{LOOP, NAME},
    fetch::{
        Reads,
        live::Live,
        samples::{Board, Sources},
        stores::{Stores, TargetFacts, TargetStore},
    },
    metrics::TermGauge,
    reconcile::PodAutoscalerLoop,
};

pub use self::{
    card::{SYNC_PERIOD, card_for},
    metrics::ScaleActions,
};

/// Objects that a term remembers at most; beyond, those that were not looked at for the longest time
/// start observing afresh.
const REMEMBERED: usize = 100_000;

/// The controller of PodAutoscalers.
pub struct PodAutoscalerController {
    /// [`card_for`] the sync period.
    pub card: &'static Card,
    /// Watches shared by all controllers.
    pub watches: Watches,
    /// Metrics of loops and queues.
    pub metrics: RuntimeMetrics,
    /// The gauge of decisions.
    pub scale_actions: ScaleActions,
    /// Client towards engines.
    pub engine: EngineClient,
    /// Time between two decisions of an autoscaler: [`SYNC_PERIOD`] but in tests.
    pub sync_period: Duration,
}

impl PodAutoscalerController {
    fn loop_card(&self) -> &'static LoopSpec {
        self.card.loops.first().unwrap_or(&LOOP)
    }

    /// The loop of a term, and the task that sends its events.
    fn built(&self, term: &Term, stores: &Stores, recorder: &Recorder) -> BuiltLoop {
        let client = term.client.0.clone();
        let clock = Arc::clone(&term.clock);
        let board = Arc::new(Board::new(Arc::clone(&clock), self.sync_period));
        let live = Live::new(client.clone(), Arc::clone(&clock));
        let reads = Arc::new(Reads::new(stores.clone(), live, Arc::clone(&board), Arc::clone(&clock)));
        let mut built = Loop::new(NAME, self.loop_card(), term, &self.metrics)
            .primary_when(&stores.autoscalers, triggers::worth_a_pass)
            .trigger(&stores.hpas, triggers::of_hpa)
            .reads(&stores.pods);
        for target in &stores.targets {
            built = triggered_by(built, target, stores);
        }
        let (malformed, enqueue) = (recorder.clone(), built.enqueue());
        let sources = Sources::new(self.engine.clone(), client.clone());
        let wake = built.enqueue();
        built
            .on_malformed(&stores.autoscalers, move |object| malformed.publish(object.event()))
            .alongside("samples", async move { board.run(&sources, |key| wake.add(key)).await })
            .build(PodAutoscalerLoop {
                writes: Writes::new(Writer::new(client), Arc::clone(&reads), clock),
                reads,
                memory: Mutex::new(Memory::new(REMEMBERED)),
                gauge: TermGauge::new(&self.scale_actions),
                recorder: recorder.clone(),
                enqueue,
                period: self.sync_period,
            })
    }
}

impl Controller for PodAutoscalerController {
    fn card(&self) -> &'static Card {
        self.card
    }

    fn reads(&self) -> Vec<Read> {
        Stores::new(&self.watches).reads()
    }

    fn run(&self, term: Term) -> BoxFuture<'static, Result<(), RunError>> {
        let built =
            |term: &Term, recorder: &Recorder| vec![self.built(term, &Stores::new(&self.watches), recorder)];
        run_with_events(&term, self.loop_card().event_source, built)
    }
}

/// A PodAutoscaler that waits for its target reacts when it appears.
fn triggered_by(built: Loop, target: &TargetStore, stores: &Stores) -> Loop {
    let (autoscalers, resource) = (stores.autoscalers.clone(), target.resource.clone());
    let keys = move |change: &Change<TargetFacts>| {
        let Some(object) = change.object().filter(|_| triggers::has_appeared(change)) else {
            return Vec::new();
        };
        let near = autoscalers.list_in(object.namespace());
        triggers::that_target(&near, &resource.group, &resource.kind, object.name())
    };
    if target.builtin {
        built.trigger(&target.store, keys)
    } else {
        built.trigger_if_served(&target.store, keys)
    }
}

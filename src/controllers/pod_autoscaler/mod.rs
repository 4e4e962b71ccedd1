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
mod claims;
mod contest;
mod decide;
mod fetch;
mod hpa;
mod metrics;
mod plan;
mod reconcile;
mod snapshot;
mod state;
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
mod contest_tests;
#[cfg(test)]
mod controller_tests;
#[cfg(test)]
mod hpa_tests;
#[cfg(test)]
mod metrics_tests;
#[cfg(test)]
mod plan_hpa_tests;
#[cfg(test)]
mod plan_measured_tests;
#[cfg(test)]
mod plan_property_tests;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod reconcile_tests;
#[cfg(test)]
mod targets_tests;
#[cfg(test)]
mod triggers_tests;
#[cfg(test)]
mod world;

use std::{sync::Arc, time::Duration};

use crate::{api::autoscaling, controllers::Deps, engine::http::EngineClient};
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
    fetch::{
        Reads,
        live::Live,
        samples::{MetricsCache, Sources as Engines},
        stores::Stores,
    },
    metrics::{AutoscalerMetrics, TermGauge},
    reconcile::AutoscalerStages,
};

/// Time between two decisions of an autoscaler, and between two rounds of measurements, unless a setting says otherwise.
pub(super) const SYNC_PERIOD: Duration = Duration::from_secs(10);
/// Time of a period in which nothing is measured any more; of a short one less.
const SPARE: Duration = Duration::from_secs(2);

/// Constants of the controller.
pub(super) const SPEC: ControllerSpec = ControllerSpec {
    name: "pod-autoscaler-controller",
    required_kinds: &[Kind {
        group: autoscaling::GROUP,
        version: autoscaling::VERSION,
        kind: autoscaling::POD_AUTOSCALER,
        plural: "podautoscalers",
    }],
};

/// Constants of its only loop.
const LOOP: LoopSpec = LoopSpec {
    label: "podautoscaler",
    event_source: "PodAutoscaler",
    workers: 4,
    period: Some(SYNC_PERIOD),
    deadline: Some(Duration::from_secs(10)),
    backoff_cap: Duration::from_secs(1000),
    rules: RULES,
};

const RULES: &[Rule] = &[
    Rule::new("autoscaling.aibrix.ai", &["podautoscalers/status"], &["get", "update", "patch"]),
    // The HorizontalPodAutoscaler's owner reference blocks the deletion of its owner.
    Rule::new("autoscaling.aibrix.ai", &["podautoscalers/finalizers"], &["update"]),
    Rule::new("autoscaling", &["horizontalpodautoscalers"], &["create", "update", "patch", "delete"]),
    Rule::new("apps", &["deployments", "statefulsets"], SCALE),
    // Targets that are not watched: read when a pass needs them.
    Rule::new("apps", &["replicasets"], &["get", "list", "watch", "update", "patch"]),
    Rule::new("orchestration.aibrix.ai", &["stormservices", "rayclusterfleets"], SCALE),
    // Read and written by their scale, as any kind of which only that is known.
    Rule::new("leaderworkerset.x-k8s.io", &["leaderworkersets/scale"], &["get", "patch"]),
    Rule::new("metrics.k8s.io", &["pods"], &["get", "list"]),
    Rule::new("custom.metrics.k8s.io", &["*"], &["get", "list"]),
    Rule::new("external.metrics.k8s.io", &["*"], &["get", "list"]),
];

const SCALE: &[&str] = &["update", "patch"];

/// Longest time of a scrape: answers that come later would not count for their period.
pub(crate) fn longest_scrape(period: Duration) -> Duration {
    period.saturating_sub(SPARE).max(period.mul_f64(0.6))
}

/// The controller.
///
/// # Errors
/// [`MetricsError`]: a family is registered already, which is a defect.
pub(super) fn controller(deps: &Deps) -> Result<LoopController, MetricsError> {
    Ok(LoopController::new(&SPEC, &deps.watches, &deps.metrics).with(PodAutoscalerLoop {
        metrics: AutoscalerMetrics::register(&deps.registry)?,
        engine: deps.scrapes.clone(),
        sync_period: deps.settings.sync_period,
        longest_scrape: deps.settings.longest_scrape(),
    }))
}

struct PodAutoscalerLoop {
    metrics: AutoscalerMetrics,
    engine: EngineClient,
    sync_period: Duration,
    longest_scrape: Duration,
}

impl Loop for PodAutoscalerLoop {
    type Stores = Stores;
    type Reconciler = Conductor<AutoscalerStages>;

    fn spec(&self) -> &'static LoopSpec {
        &LOOP
    }

    fn period(&self) -> Option<Duration> {
        Some(self.sync_period)
    }

    fn open(&self, sources: &mut Sources<'_>) -> Stores {
        Stores::open(sources)
    }

    fn start(&self, stores: Stores, term: &mut LoopTerm) -> Conductor<AutoscalerStages> {
        let clock = Arc::clone(&term.clock);
        let metrics = MetricsCache::new(self.sync_period, self.longest_scrape);
        let metrics = Arc::new(Requests::new(metrics, Arc::clone(&clock)));
        let live = Live::new(term.client.clone(), clock);
        let reads = Arc::new(Reads::new(stores, live, Arc::clone(&metrics)));
        let (engines, wake) = (Engines::new(self.engine.clone(), term.client.clone()), term.enqueue.clone());
        term.run_beside("samples", async move { metrics.run(&engines, |key| wake.add(key)).await });
        Conductor::new(AutoscalerStages {
            writes: Writes::new(Arc::clone(&reads)),
            reads,
            gauge: TermGauge::new(&self.metrics),
            enqueue: term.enqueue.clone(),
            period: self.sync_period,
        })
    }
}

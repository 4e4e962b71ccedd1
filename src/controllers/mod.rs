// SPDX-License-Identifier: Apache-2.0
//! The controllers. Each folder is a name of `--controllers` and owns a Lease.

pub(crate) mod model_adapter;
pub(crate) mod model_route;
pub(crate) mod pod_autoscaler;
pub(crate) mod storm_service;

use std::{sync::Arc, time::Duration};

use crate::engine::http::{BuildError, EngineClient, Limits};
use kube_loops::{
    metrics::{Metrics, MetricsError},
    runtime::{controller::Controller, loops::LoopController, metrics::RuntimeMetrics, watches::Watches},
};

pub(crate) use self::pod_autoscaler::longest_scrape;
use self::{model_adapter::ModelAdapterSettings, model_route::ModelRouteSettings};

/// Makes a controller.
type Make = fn(&Deps) -> Result<LoopController, MetricsError>;

/// All controllers by name, in the order in which they are listed and logged. `None`: this build lacks it.
const REGISTRY: [(&str, Option<Make>); 7] = [
    (pod_autoscaler::SPEC.name, Some(pod_autoscaler::controller)),
    ("distributed-inference-controller", None),
    (model_adapter::SPEC.name, Some(model_adapter::controller)),
    (model_route::SPEC.name, Some(|deps| Ok(model_route::controller(deps)))),
    ("kv-cache-controller", None),
    ("model-claim-controller", None),
    (storm_service::SPEC.name, Some(|deps| Ok(storm_service::controller(deps)))),
];

/// The names of the controllers, in that order.
pub const NAMES: [&str; REGISTRY.len()] = names();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn names() -> [&'static str; REGISTRY.len()] {
    let mut names = [""; REGISTRY.len()];
    let mut n = 0;
    while n < names.len() {
        names[n] = REGISTRY[n].0;
        n += 1;
    }
    names
}

/// Makes the controller of this name; `None`: this build lacks it.
///
/// # Errors
/// [`MetricsError`]: a family of metrics is registered already, which is a defect.
pub(crate) fn by_name(name: &str, deps: &Deps) -> Result<Option<Arc<dyn Controller>>, MetricsError> {
    let make = REGISTRY.into_iter().find(|(known, _)| *known == name).and_then(|(_, make)| make);
    make.map(|make| make(deps).map(|it| -> Arc<dyn Controller> { Arc::new(it) })).transpose()
}

/// What controllers are told by flags and variables.
#[derive(Debug, Clone, PartialEq)]
pub struct LoopSettings {
    /// Time between two decisions of a PodAutoscaler; shorter in tests.
    pub sync_period: Duration,
    /// How long a read of a pod's metrics may take; `None`: as long as the period allows.
    pub scrape_timeout: Option<Duration>,
    /// How ModelAdapters are placed and loaded.
    pub model_adapter: ModelAdapterSettings,
    /// Gateway and time-out of routes.
    pub model_route: ModelRouteSettings,
}

impl Default for LoopSettings {
    fn default() -> Self {
        Self {
            sync_period: pod_autoscaler::SYNC_PERIOD,
            scrape_timeout: None,
            model_adapter: ModelAdapterSettings::default(),
            model_route: ModelRouteSettings::default(),
        }
    }
}

impl LoopSettings {
    /// Longest read of a pod's metrics.
    pub(crate) fn longest_scrape(&self) -> Duration {
        self.scrape_timeout.unwrap_or_else(|| longest_scrape(self.sync_period))
    }
}

/// What controllers need of their process.
pub(crate) struct Deps {
    /// Watches shared by all controllers.
    pub watches: Watches,
    /// Metrics of loops and queues.
    pub metrics: RuntimeMetrics,
    /// Where a controller registers families of its own.
    pub registry: Metrics,
    /// Client towards engines.
    pub engine: EngineClient,
    /// The one that waits for metrics as long as an overloaded engine may take, for a connection, too.
    pub scrapes: EngineClient,
    /// What they are told.
    pub settings: LoopSettings,
}

impl Deps {
    /// The needs of a process. `metrics`: those of loops and queues. The clients towards engines name themselves
    /// `user_agent`.
    ///
    /// # Errors
    /// [`BuildError`]: no client towards engines.
    pub(crate) fn new(
        watches: Watches,
        metrics: RuntimeMetrics,
        registry: &Metrics,
        user_agent: &str,
        settings: LoopSettings,
    ) -> Result<Self, BuildError> {
        let engine = EngineClient::new(Limits::default(), user_agent)?;
        let longest = settings.longest_scrape();
        let limits = Limits { connect: longest, total: longest, ..Limits::default() };
        let scrapes = EngineClient::new(limits, user_agent)?;
        Ok(Self { watches, metrics, registry: registry.clone(), engine, scrapes, settings })
    }
}

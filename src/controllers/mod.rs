// SPDX-License-Identifier: Apache-2.0
//! The controllers. Each folder is a name of `--controllers` and owns a Lease.

pub(crate) mod model_adapter;
pub(crate) mod model_route;
pub(crate) mod pod_autoscaler;

use std::{sync::Arc, time::Duration};

use crate::engine::http::{BuildError, EngineClient, Limits};
use kube_loops::{
    metrics::{Metrics, MetricsError},
    runtime::{controller::Controller, metrics::RuntimeMetrics, watches::Watches},
};

use self::{
    model_adapter::{ModelAdapterSettings, SourceFailures},
    model_route::ModelRouteSettings,
    pod_autoscaler::ScaleActions,
};

/// What controllers need of their process.
#[derive(Clone)]
pub(crate) struct Deps {
    /// Watches shared by all controllers.
    pub watches: Watches,
    /// Metrics of loops and queues.
    pub metrics: RuntimeMetrics,
    /// The gauge of the PodAutoscaler controller.
    pub scale_actions: ScaleActions,
    /// Measurements of the ModelAdapter controller that failed.
    pub source_failures: SourceFailures,
    /// Client towards engines.
    pub engine: EngineClient,
    /// Time between two decisions of a PodAutoscaler: [`pod_autoscaler::SYNC_PERIOD`] but in tests.
    pub sync_period: Duration,
    /// What the process is told about routes; AIBrix's constants by default.
    pub model_route: Arc<ModelRouteSettings>,
    /// How ModelAdapters are placed and loaded.
    pub model_adapter: ModelAdapterSettings,
}

/// The needs of the controllers could not be met; a defect of the build.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DepsError {
    /// A family of metrics is registered already.
    #[error("could not register the metrics of the controllers")]
    Metrics(#[source] MetricsError),
    /// No client towards engines.
    #[error("could not make the client towards engines")]
    Engine(#[source] BuildError),
}

impl Deps {
    /// The needs of a process: registers the families of the controllers in `registry` and makes the
    /// client towards engines, which names itself `user_agent`. `metrics`: those of loops and queues.
    ///
    /// # Errors
    /// [`DepsError`].
    pub(crate) fn new(
        watches: Watches,
        metrics: RuntimeMetrics,
        registry: &Metrics,
        user_agent: &str,
    ) -> Result<Self, DepsError> {
        let scale_actions = ScaleActions::register(registry).map_err(DepsError::Metrics)?;
        let source_failures = SourceFailures::register(registry).map_err(DepsError::Metrics)?;
        let engine = EngineClient::new(Limits::default(), user_agent).map_err(DepsError::Engine)?;
        let sync_period = pod_autoscaler::SYNC_PERIOD;
        let model_route = Arc::default();
        let model_adapter = ModelAdapterSettings::default();
        Ok(Self {
            watches,
            metrics,
            scale_actions,
            source_failures,
            engine,
            sync_period,
            model_route,
            model_adapter,
        })
    }
}

/// The controllers that this build contains.
pub(crate) fn all(deps: &Deps) -> Vec<Arc<dyn Controller>> {
    let Deps {
        watches,
        metrics,
        scale_actions,
        source_failures,
        engine,
        sync_period,
        model_route,
        model_adapter,
    } = deps.clone();
    let autoscaler =
        pod_autoscaler::controller(&watches, &metrics, scale_actions, engine.clone(), sync_period);
    let adapter = model_adapter::controller(&watches, &metrics, engine, model_adapter, source_failures);
    let route = model_route::controller(&watches, &metrics, model_route);
    vec![Arc::new(autoscaler), Arc::new(adapter), Arc::new(route)]
}

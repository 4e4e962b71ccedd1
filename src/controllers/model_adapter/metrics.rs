// SPDX-License-Identifier: Apache-2.0
//! How often a source of measurements failed.

use std::{fmt, sync::Arc};

use kube_loops::metrics::{Metrics, MetricsError};

/// A source of measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailedSource {
    /// The metrics of a pod.
    Pod,
    /// The Prometheus server.
    Prometheus,
}

impl FailedSource {
    const ALL: [Self; 2] = [Self::Pod, Self::Prometheus];

    fn label(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Prometheus => "prometheus",
        }
    }
}

/// The family `aibrix_model_adapter_metric_source_failures_total` of the process.
#[derive(Clone)]
pub(super) struct SourceFailures(Arc<dyn Fn(FailedSource) + Send + Sync>);

impl SourceFailures {
    /// Registers the family, with a zero for each source.
    ///
    /// # Errors
    /// [`MetricsError`]: the name is taken, which is a defect.
    pub(super) fn register(metrics: &Metrics) -> Result<Self, MetricsError> {
        let help = "Measurements for the placement of ModelAdapters that failed, by source";
        let family =
            metrics.int_counter("aibrix_model_adapter_metric_source_failures_total", help, &["source"])?;
        for source in FailedSource::ALL {
            family.with_label_values(&[source.label()]).inc_by(0);
        }
        Ok(Self(Arc::new(move |source| family.with_label_values(&[source.label()]).inc())))
    }

    /// A measurement failed.
    pub(super) fn count(&self, source: FailedSource) {
        (self.0)(source);
    }
}

impl fmt::Debug for SourceFailures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SourceFailures")
    }
}

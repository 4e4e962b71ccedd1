// SPDX-License-Identifier: Apache-2.0
//! How many reviews were answered, and how fast, under the names that dashboards know.

use std::sync::Arc;

use kube_loops::metrics::{
    Metrics, MetricsError,
    families::{HistogramVec, IntCounter, IntCounterVec, IntGaugeVec},
};

use super::HOOKS;

/// Upper bounds of the latency, in seconds.
const LATENCY_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Codes whose series exist before the first review.
const CODES: [&str; 2] = ["200", "500"];

/// The families of the webhook server. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub(crate) struct WebhookMetrics(Arc<Families>);

#[derive(Debug)]
struct Families {
    requests: IntCounterVec,
    in_flight: IntGaugeVec,
    latency: HistogramVec,
    panics: IntCounter,
}

impl WebhookMetrics {
    /// Registers the families, with zeros for every path.
    ///
    /// # Errors
    /// A family is taken by another type, help or labels: a defect.
    pub(crate) fn register(metrics: &Metrics) -> Result<Self, MetricsError> {
        let families = Families {
            requests: metrics.int_counter(
                "controller_runtime_webhook_requests_total",
                "Total number of admission requests by HTTP status code.",
                &["webhook", "code"],
            )?,
            in_flight: metrics.int_gauge(
                "controller_runtime_webhook_requests_in_flight",
                "Current number of admission requests being served.",
                &["webhook"],
            )?,
            latency: metrics.histogram(
                "controller_runtime_webhook_latency_seconds",
                "Histogram of the latency of processing admission requests",
                &["webhook"],
                &LATENCY_BUCKETS,
            )?,
            panics: metrics
                .int_counter(
                    "controller_runtime_webhook_panics_total",
                    "Total number of webhook panics",
                    &[],
                )?
                .with_label_values::<&str>(&[]),
        };
        for hook in HOOKS {
            for code in CODES {
                families.requests.with_label_values(&[hook.path, code]);
            }
            families.in_flight.with_label_values(&[hook.path]);
            families.latency.with_label_values(&[hook.path]);
        }
        Ok(Self(Arc::new(families)))
    }

    /// A review has arrived at `path`; it is under way until the result is dropped.
    pub(super) fn in_flight(&self, path: &'static str) -> InFlight {
        self.0.in_flight.with_label_values(&[path]).inc();
        InFlight { metrics: self.clone(), path }
    }

    /// A review of `path` was answered.
    pub(super) fn answered(&self, path: &'static str, code: u16, seconds: f64) {
        self.0.requests.with_label_values(&[path, &code.to_string()]).inc();
        self.0.latency.with_label_values(&[path]).observe(seconds);
    }

    /// A handler panicked.
    pub(super) fn panicked(&self) {
        self.0.panics.inc();
    }
}

/// Counts a review while it is under way, also one whose client leaves.
pub(super) struct InFlight {
    metrics: WebhookMetrics,
    path: &'static str,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.metrics.0.in_flight.with_label_values(&[self.path]).dec();
    }
}

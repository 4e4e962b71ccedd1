// SPDX-License-Identifier: Apache-2.0
//! The gauges of autoscalers that decide by themselves: what was decided, and what could not be measured.

use std::{any::Any, collections::HashMap, fmt, sync::Arc};

use parking_lot::Mutex;

use kube_loops::{
    metrics::{Metrics, MetricsError, SeriesFamily},
    runtime::reconciler::Key,
};

use super::{state::Unknown, steps::Gauge};

/// Sets a series to a value; it exists as long as the answer does.
type Show = dyn Fn(&[&str], i64) -> Result<Handle, MetricsError> + Send + Sync;
type Handle = Box<dyn Any + Send + Sync>;

/// The families of the process.
#[derive(Clone)]
pub(super) struct AutoscalerMetrics {
    /// `aibrix_autoscaler_scale_action`.
    actions: Arc<Show>,
    /// `podautoscaler_unknown_pods` and `podautoscaler_unknown_sources`.
    unknown: [Arc<Show>; 2],
}

impl AutoscalerMetrics {
    /// Registers the families.
    ///
    /// # Errors
    /// [`MetricsError`]: a name is taken, which is a defect.
    pub(super) fn register(metrics: &Metrics) -> Result<Self, MetricsError> {
        let family = |name, help, labels: &[&str]| -> Result<Arc<Show>, MetricsError> {
            let family = SeriesFamily::new(metrics.int_gauge(name, help, labels)?);
            Ok(Arc::new(move |labels: &[&str], value: i64| -> Result<Handle, MetricsError> {
                let series = family.series(labels)?;
                series.set(value);
                Ok(Box::new(series))
            }))
        };
        let (object, pods) =
            (["namespace", "name"], "Pods without a value in the last round of an autoscaler");
        let sources = "Metric sources without any value in the last round of an autoscaler";
        Ok(Self {
            actions: family(
                "aibrix_autoscaler_scale_action",
                "Desired replicas of the last decision of an autoscaler",
                &["namespace", "name", "algorithm", "reason"],
            )?,
            unknown: [
                family("podautoscaler_unknown_pods", pods, &object)?,
                family("podautoscaler_unknown_sources", sources, &object)?,
            ],
        })
    }
}

impl fmt::Debug for AutoscalerMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AutoscalerMetrics")
    }
}

/// The series of one term: they go with it, so that never two replicas export an autoscaler.
pub(super) struct TermGauge {
    metrics: AutoscalerMetrics,
    series: Mutex<HashMap<Key, Series>>,
}

/// The series of one autoscaler.
#[derive(Default)]
struct Series {
    action: Option<Handle>,
    unknown: Vec<Handle>,
}

impl TermGauge {
    /// No series yet.
    pub(super) fn new(metrics: &AutoscalerMetrics) -> Self {
        Self { metrics: metrics.clone(), series: Mutex::new(HashMap::new()) }
    }

    /// Shows what a plan says, and what could not be measured; an autoscaler has one series of each at most.
    pub(super) fn show(&self, key: &Key, gauge: &Gauge, unknown: &Unknown) {
        let object = [key.namespace.as_str(), key.name.as_str()];
        let shown = |show: &Show, labels: &[&str], value: i64| {
            let shown = show(labels, value);
            debug_assert!(shown.is_ok(), "the labels of the family");
            shown.ok()
        };
        if *gauge == Gauge::Remove {
            self.remove(key);
            return;
        }
        let counts =
            [unknown.pods, unknown.sources.len()].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        let counted = self.metrics.unknown.iter().zip(counts);
        let counted: Vec<Handle> =
            counted.filter_map(|(family, count)| shown(&**family, &object, count)).collect();
        let action = match gauge {
            Gauge::Keep | Gauge::Remove => None,
            Gauge::Set { algorithm, reason, value } => {
                let [namespace, name] = object;
                shown(&*self.metrics.actions, &[namespace, name, algorithm, reason], i64::from(*value))
            }
        };
        let mut all = self.series.lock();
        let series = all.entry(key.clone()).or_default();
        // The former series go after the new ones came: they may be the same.
        let before =
            (std::mem::replace(&mut series.unknown, counted), action.map(|it| series.action.replace(it)));
        drop(all);
        drop(before);
    }

    /// Drops the series of an autoscaler.
    pub(super) fn remove(&self, key: &Key) {
        let before = self.series.lock().remove(key);
        drop(before);
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The gauge of decisions: one series for each autoscaler that decides by itself.

use std::{any::Any, collections::HashMap, fmt, sync::Arc};

use parking_lot::Mutex;

use kube_loops::{
    metrics::{Metrics, MetricsError, SeriesFamily},
    runtime::reconciler::Key,
};

use super::steps::Gauge;

/// Sets a series to a value; it exists as long as the answer does.
type Show = dyn Fn(&[&str], i64) -> Result<Handle, MetricsError> + Send + Sync;
type Handle = Box<dyn Any + Send + Sync>;

/// The family `aibrix_autoscaler_scale_action` of the process.
#[derive(Clone)]
pub(super) struct ScaleActions(Arc<Show>);

impl ScaleActions {
    /// Registers the family.
    ///
    /// # Errors
    /// [`MetricsError`]: the name is taken, which is a defect.
    pub(super) fn register(metrics: &Metrics) -> Result<Self, MetricsError> {
        let help = "Desired replicas of the last decision of an autoscaler";
        let labels = ["namespace", "name", "algorithm", "reason"];
        let family = SeriesFamily::new(metrics.int_gauge("aibrix_autoscaler_scale_action", help, &labels)?);
        Ok(Self(Arc::new(move |labels, value| {
            let series = family.series(labels)?;
            series.set(value);
            Ok(Box::new(series))
        })))
    }
}

impl fmt::Debug for ScaleActions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScaleActions")
    }
}

/// The series of one term: they go with it, so that never two replicas export an autoscaler.
pub(super) struct TermGauge {
    actions: ScaleActions,
    series: Mutex<HashMap<Key, Handle>>,
}

impl TermGauge {
    /// No series yet.
    pub(super) fn new(actions: &ScaleActions) -> Self {
        Self { actions: actions.clone(), series: Mutex::new(HashMap::new()) }
    }

    /// Shows what a plan says; an autoscaler has one series at most.
    pub(super) fn show(&self, key: &Key, gauge: &Gauge) {
        match gauge {
            Gauge::Keep => {}
            Gauge::Remove => self.remove(key),
            Gauge::Set { algorithm, reason, value } => {
                let labels = [key.namespace.as_str(), key.name.as_str(), algorithm, reason];
                let shown = (self.actions.0)(&labels, i64::from(*value));
                debug_assert!(shown.is_ok(), "four labels");
                let Ok(handle) = shown else { return };
                // The former series goes after the new one came: it may be the same one.
                let before = self.series.lock().insert(key.clone(), handle);
                drop(before);
            }
        }
    }

    /// Drops the series of an autoscaler.
    pub(super) fn remove(&self, key: &Key) {
        let before = self.series.lock().remove(key);
        drop(before);
    }
}

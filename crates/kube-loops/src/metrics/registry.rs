// SPDX-License-Identifier: Apache-2.0
//! The registry of one process: families that are registered once, values computed at scrape time.

use std::{collections::HashMap, fmt, sync::Arc};

use parking_lot::Mutex;
use prometheus::{
    CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry,
    core::Collector,
};

use super::exposition;

/// A family that cannot be registered: a mistake in the code that names it.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// Name, labels or buckets are not acceptable.
    #[error("could not create the metric family {name}")]
    Create {
        /// Family.
        name: String,
        /// Why.
        source: prometheus::Error,
    },
    /// The name is taken by a family of another type, help text or label set.
    #[error("the metric family {name} is registered already with another type, help or labels")]
    Conflict {
        /// Family.
        name: String,
    },
    /// A number of label values that is not the number of the family's labels.
    #[error("wrong label values for a series")]
    Labels(#[source] prometheus::Error),
}

/// All metrics of a process. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Metrics(Arc<Shared>);

struct Shared {
    registry: Registry,
    families: Mutex<HashMap<String, Registered>>,
    hooks: Mutex<Vec<Hook>>,
}

type Hook = Arc<dyn Fn() + Send + Sync>;

struct Registered {
    help: String,
    labels: Vec<String>,
    buckets: Vec<f64>,
    family: Family,
}

#[derive(Clone)]
enum Family {
    IntCounter(IntCounterVec),
    Counter(CounterVec),
    IntGauge(IntGaugeVec),
    Gauge(GaugeVec),
    Histogram(HistogramVec),
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A registry without any family.
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            registry: Registry::new(),
            families: Mutex::default(),
            hooks: Mutex::default(),
        }))
    }

    /// A counter of whole numbers. The same call again returns the same family.
    ///
    /// A series appears when its label values are first named: name all that must start at zero.
    ///
    /// # Errors
    /// [`MetricsError::Create`] and [`MetricsError::Conflict`]: report them at start, they are defects.
    pub fn int_counter(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, MetricsError> {
        let build = || IntCounterVec::new(Opts::new(name, help), labels);
        self.family(name, help, labels, &[], build, Family::IntCounter, |family| match family {
            Family::IntCounter(family) => Some(family),
            Family::Counter(_) | Family::IntGauge(_) | Family::Gauge(_) | Family::Histogram(_) => None,
        })
    }

    /// A counter of seconds or other fractions. Otherwise as [`Metrics::int_counter`].
    ///
    /// # Errors
    /// As [`Metrics::int_counter`].
    pub fn counter(&self, name: &str, help: &str, labels: &[&str]) -> Result<CounterVec, MetricsError> {
        let build = || CounterVec::new(Opts::new(name, help), labels);
        self.family(name, help, labels, &[], build, Family::Counter, |family| match family {
            Family::Counter(family) => Some(family),
            Family::IntCounter(_) | Family::IntGauge(_) | Family::Gauge(_) | Family::Histogram(_) => None,
        })
    }

    /// A gauge of whole numbers. Otherwise as [`Metrics::int_counter`].
    ///
    /// # Errors
    /// As [`Metrics::int_counter`].
    pub fn int_gauge(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, MetricsError> {
        let build = || IntGaugeVec::new(Opts::new(name, help), labels);
        self.family(name, help, labels, &[], build, Family::IntGauge, |family| match family {
            Family::IntGauge(family) => Some(family),
            Family::IntCounter(_) | Family::Counter(_) | Family::Gauge(_) | Family::Histogram(_) => None,
        })
    }

    /// A gauge. Otherwise as [`Metrics::int_counter`].
    ///
    /// # Errors
    /// As [`Metrics::int_counter`].
    pub fn gauge(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, MetricsError> {
        let build = || GaugeVec::new(Opts::new(name, help), labels);
        self.family(name, help, labels, &[], build, Family::Gauge, |family| match family {
            Family::Gauge(family) => Some(family),
            Family::IntCounter(_) | Family::Counter(_) | Family::IntGauge(_) | Family::Histogram(_) => None,
        })
    }

    /// A histogram with the upper bounds `buckets`, ascending, without `+Inf`. Otherwise as
    /// [`Metrics::int_counter`].
    ///
    /// # Errors
    /// As [`Metrics::int_counter`].
    pub fn histogram(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec, MetricsError> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_owned());
        let build = || HistogramVec::new(options, labels);
        self.family(name, help, labels, buckets, build, Family::Histogram, |family| match family {
            Family::Histogram(family) => Some(family),
            Family::IntCounter(_) | Family::Counter(_) | Family::IntGauge(_) | Family::Gauge(_) => None,
        })
    }

    /// The registry itself, for modules that register families of their own.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Runs `hook` before each [`Metrics::render`], for values that are computed when they are read.
    /// It must be quick and must not call back into this registry's `render`.
    pub fn on_render(&self, hook: Box<dyn Fn() + Send + Sync>) {
        self.0.hooks.lock().push(Arc::from(hook));
    }

    /// Everything in text format 0.0.4, families sorted by name, series by label values.
    pub fn render(&self) -> String {
        // A hook may register families and hooks: none runs under the lock.
        let hooks: Vec<Hook> = self.0.hooks.lock().clone();
        for hook in &hooks {
            hook();
        }
        exposition::encode(&self.0.registry.gather())
    }

    #[expect(clippy::too_many_arguments, reason = "private, one caller per kind of family")]
    fn family<T: Collector + Clone + 'static>(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
        build: impl FnOnce() -> prometheus::Result<T>,
        wrap: impl FnOnce(T) -> Family,
        unwrap: impl FnOnce(Family) -> Option<T>,
    ) -> Result<T, MetricsError> {
        let conflict = || MetricsError::Conflict { name: name.to_owned() };
        let mut families = self.0.families.lock();
        if let Some(known) = families.get(name) {
            let same = known.help == help && known.labels == labels && known.buckets == buckets;
            return unwrap(known.family.clone()).filter(|_| same).ok_or_else(conflict);
        }
        let create = |source| MetricsError::Create { name: name.to_owned(), source };
        let family = build().map_err(create)?;
        self.0.registry.register(Box::new(family.clone())).map_err(create)?;
        let registered = Registered {
            help: help.to_owned(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            buckets: buckets.to_vec(),
            family: wrap(family.clone()),
        };
        families.insert(name.to_owned(), registered);
        Ok(family)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

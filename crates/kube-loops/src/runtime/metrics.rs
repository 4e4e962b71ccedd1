// SPDX-License-Identifier: Apache-2.0
//! `controller_runtime_*` and `workqueue_*`, with the names, labels, help and buckets of a Go manager,
//! and the runtime's own counters. The one file of the runtime that knows the metrics crate.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;

use crate::metrics::families::{
    Collector, Desc, Error, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, MetricFamily, Opts, Registry,
};

use super::controller::LoopSpec;

const PASS_BUCKETS: [f64; 40] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25,
    1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0,
    50.0, 60.0,
];
const QUEUE_BUCKETS: [f64; 12] = [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0];

/// How a pass ended: label `result`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PassResult {
    /// `success`.
    Success,
    /// `requeue_after`.
    RequeueAfter,
    /// `requeue`.
    Requeue,
    /// `error`.
    Error,
}

/// What a queue looks like at the moment of a scrape.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct QueueSample {
    /// Keys that wait.
    pub(crate) depth: usize,
    /// Age of all work under way, in sum.
    pub(crate) unfinished: Duration,
    /// Age of the oldest work under way.
    pub(crate) longest: Duration,
}

/// A queue that is looked at when metrics are scraped.
pub(crate) trait SampledQueue: Send + Sync {
    /// How it looks now.
    fn sample(&self) -> QueueSample;
}

/// The metric families of all loops of a process. Cheap to clone.
#[derive(Clone)]
pub struct RuntimeMetrics(Arc<Families>);

struct Families {
    passes: IntCounterVec,
    errors: IntCounterVec,
    terminal_errors: IntCounterVec,
    panics: IntCounterVec,
    pass_time: HistogramVec,
    workers: IntGaugeVec,
    active: IntGaugeVec,
    adds: IntCounterVec,
    retries: IntCounterVec,
    queue_time: HistogramVec,
    work_time: HistogramVec,
    gauges: QueueGauges,
    malformed: IntCounterVec,
    rewritten: IntCounterVec,
}

/// Series of one loop. Cheap to clone.
#[derive(Clone)]
pub struct LoopMetrics {
    label: &'static str,
    success: IntCounter,
    requeue_after: IntCounter,
    requeue: IntCounter,
    error: IntCounter,
    errors: IntCounter,
    panics: IntCounter,
    pass_time: Histogram,
    active: IntGauge,
    adds: IntCounter,
    retries: IntCounter,
    queue_time: Histogram,
    work_time: Histogram,
    gauges: QueueGauges,
}

/// Counts one pass as active while it lives.
#[derive(Debug)]
pub(crate) struct Active(IntGauge);

/// Gauges that are computed when they are scraped: they can neither drift nor outlive their queue.
#[derive(Clone)]
struct QueueGauges {
    depth: IntGaugeVec,
    unfinished: GaugeVec,
    longest: GaugeVec,
    queues: Arc<Mutex<Queues>>,
}

/// Queues by the label of their loop.
type Queues = HashMap<&'static str, Vec<Weak<dyn SampledQueue>>>;
type Alive = Vec<(&'static str, Vec<Arc<dyn SampledQueue>>)>;

/// Adds a family to a registry.
fn registered<T: Collector + Clone + 'static>(registry: &Registry, family: T) -> Result<T, Error> {
    registry.register(Box::new(family.clone())).map(|()| family)
}

impl RuntimeMetrics {
    /// Adds the families to a registry, see [`Self::register_with_prefix`].
    ///
    /// # Errors
    /// As there.
    pub fn register(registry: &Registry) -> Result<Self, Error> {
        Self::register_with_prefix(registry, "")
    }

    /// Adds the families to a registry. `prefix`: of the names of those that controller-runtime does not have.
    ///
    /// # Errors
    /// A family of that name is there already: construct this once per registry.
    pub fn register_with_prefix(registry: &Registry, prefix: &str) -> Result<Self, Error> {
        let by_loop = ["controller"].as_slice();
        let by_queue = ["name", "controller"].as_slice();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).and_then(|family| registered(registry, family))
        };
        let gauge = |name: &str, help: &str| {
            IntGaugeVec::new(Opts::new(name, help), by_loop).and_then(|family| registered(registry, family))
        };
        let histogram = |name: &str, help: &str, labels: &[&str], buckets: Vec<f64>| {
            HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels)
                .and_then(|family| registered(registry, family))
        };
        let gauges = QueueGauges::new()?;
        registry.register(Box::new(gauges.clone()))?;
        Ok(Self(Arc::new(Families {
            passes: counter(
                "controller_runtime_reconcile_total",
                "Total number of reconciliations per controller",
                &["controller", "result"],
            )?,
            errors: counter(
                "controller_runtime_reconcile_errors_total",
                "Total number of reconciliation errors per controller",
                by_loop,
            )?,
            terminal_errors: counter(
                "controller_runtime_terminal_reconcile_errors_total",
                "Total number of terminal reconciliation errors per controller",
                by_loop,
            )?,
            panics: counter(
                "controller_runtime_reconcile_panics_total",
                "Total number of reconciliation panics per controller",
                by_loop,
            )?,
            pass_time: histogram(
                "controller_runtime_reconcile_time_seconds",
                "Length of time per reconciliation per controller",
                by_loop,
                PASS_BUCKETS.to_vec(),
            )?,
            workers: gauge(
                "controller_runtime_max_concurrent_reconciles",
                "Maximum number of concurrent reconciles per controller",
            )?,
            active: gauge(
                "controller_runtime_active_workers",
                "Number of currently used workers per controller",
            )?,
            adds: counter("workqueue_adds_total", "Total number of adds handled by workqueue", by_queue)?,
            retries: counter(
                "workqueue_retries_total",
                "Total number of retries handled by workqueue",
                by_queue,
            )?,
            queue_time: histogram(
                "workqueue_queue_duration_seconds",
                "How long in seconds an item stays in workqueue before being requested",
                by_queue,
                QUEUE_BUCKETS.to_vec(),
            )?,
            work_time: histogram(
                "workqueue_work_duration_seconds",
                "How long in seconds processing an item from workqueue takes.",
                by_queue,
                QUEUE_BUCKETS.to_vec(),
            )?,
            gauges,
            malformed: counter(
                &format!("{prefix}watch_malformed_objects_total"),
                "Objects that a watch skipped because they could not be parsed",
                &["kind"],
            )?,
            rewritten: counter(
                &format!("{prefix}watch_history_rewritten_total"),
                "Times that the API server showed an older state than before, such as after a restore, by kind",
                &["kind"],
            )?,
        })))
    }

    /// Makes every series of a loop exist, at zero. For every enabled loop at the start of the process,
    /// leader or not. `workers`: passes at a time.
    pub fn start_at_zero(&self, spec: &LoopSpec, workers: usize) {
        let series = self.of(spec);
        self.0.gauges.touch(series.label);
        self.0.terminal_errors.with_label_values(&[spec.label]);
        let workers = i64::try_from(workers).unwrap_or(i64::MAX);
        self.0.workers.with_label_values(&[spec.label]).set(workers);
    }

    /// The series of a loop.
    pub fn of(&self, spec: &LoopSpec) -> LoopMetrics {
        let families = &self.0;
        let label = spec.label;
        let passes = |result: &str| families.passes.with_label_values(&[label, result]);
        LoopMetrics {
            label,
            success: passes("success"),
            requeue_after: passes("requeue_after"),
            requeue: passes("requeue"),
            error: passes("error"),
            errors: families.errors.with_label_values(&[label]),
            panics: families.panics.with_label_values(&[label]),
            pass_time: families.pass_time.with_label_values(&[label]),
            active: families.active.with_label_values(&[label]),
            adds: families.adds.with_label_values(&[label, label]),
            retries: families.retries.with_label_values(&[label, label]),
            queue_time: families.queue_time.with_label_values(&[label, label]),
            work_time: families.work_time.with_label_values(&[label, label]),
            gauges: families.gauges.clone(),
        }
    }

    /// Counts the times that the API server showed an older state of a kind (plural and group) than before; exists at
    /// zero from this call on.
    pub(crate) fn rewritten(&self, kind: &str) -> IntCounter {
        self.0.rewritten.with_label_values(&[kind])
    }

    /// Counts objects of a kind (plural and group) that a watch skipped; exists at zero from this call on.
    pub(crate) fn malformed(&self, kind: &str) -> IntCounter {
        self.0.malformed.with_label_values(&[kind])
    }
}

impl LoopMetrics {
    /// A pass ended after `took`.
    pub(crate) fn pass_ended(&self, result: PassResult, took: Duration) {
        self.pass_time.observe(took.as_secs_f64());
        match result {
            PassResult::Success => self.success.inc(),
            PassResult::RequeueAfter => self.requeue_after.inc(),
            PassResult::Requeue => self.requeue.inc(),
            PassResult::Error => {
                self.error.inc();
                self.errors.inc();
            }
        }
    }

    /// A pass panicked.
    pub(crate) fn panicked(&self) {
        self.panics.inc();
    }

    /// A pass is under way until the answer is dropped.
    pub(crate) fn active(&self) -> Active {
        self.active.inc();
        Active(self.active.clone())
    }

    /// Keys came to wait.
    pub(super) fn added(&self, keys: u64) {
        self.adds.inc_by(keys);
    }

    /// A key was added with a delay.
    pub(super) fn retry(&self) {
        self.retries.inc();
    }

    /// A key was handed out.
    pub(super) fn waited(&self, time: Duration) {
        self.queue_time.observe(time.as_secs_f64());
    }

    /// A key was given back.
    pub(super) fn worked(&self, time: Duration) {
        self.work_time.observe(time.as_secs_f64());
    }

    /// Samples a queue at each scrape for as long as it lives.
    pub(super) fn follow(&self, queue: Weak<dyn SampledQueue>) {
        let mut queues = self.gauges.queues.lock();
        let queues = queues.entry(self.label).or_default();
        queues.retain(|queue| queue.strong_count() > 0);
        queues.push(queue);
    }
}

impl QueueGauges {
    fn new() -> Result<Self, Error> {
        let labels = &["name", "controller"];
        Ok(Self {
            depth: IntGaugeVec::new(Opts::new("workqueue_depth", "Current depth of workqueue"), labels)?,
            unfinished: GaugeVec::new(
                Opts::new(
                    "workqueue_unfinished_work_seconds",
                    "How many seconds of work has been done that is in progress and hasn't been observed by \
                     work_duration. Large values indicate stuck threads. One can deduce the number of stuck \
                     threads by observing the rate at which this increases.",
                ),
                labels,
            )?,
            longest: GaugeVec::new(
                Opts::new(
                    "workqueue_longest_running_processor_seconds",
                    "How many seconds has the longest running processor for workqueue been running.",
                ),
                labels,
            )?,
            queues: Arc::default(),
        })
    }

    fn touch(&self, label: &'static str) {
        self.queues.lock().entry(label).or_default();
    }

    fn refresh(&self) {
        // Collected first: sampling takes the queue's lock, and a queue is followed under none.
        let queues: Alive = {
            let queues = self.queues.lock();
            queues
                .iter()
                .map(|(label, all)| (*label, all.iter().filter_map(Weak::upgrade).collect()))
                .collect()
        };
        for (label, alive) in queues {
            let mut sum = QueueSample::default();
            for sample in alive.iter().map(|queue| queue.sample()) {
                sum.depth = sum.depth.saturating_add(sample.depth);
                sum.unfinished = sum.unfinished.saturating_add(sample.unfinished);
                sum.longest = sum.longest.max(sample.longest);
            }
            let labels = &[label, label];
            self.depth.with_label_values(labels).set(i64::try_from(sum.depth).unwrap_or(i64::MAX));
            self.unfinished.with_label_values(labels).set(sum.unfinished.as_secs_f64());
            self.longest.with_label_values(labels).set(sum.longest.as_secs_f64());
        }
    }
}

impl Collector for QueueGauges {
    fn desc(&self) -> Vec<&Desc> {
        let mut all = self.depth.desc();
        all.extend(self.unfinished.desc());
        all.extend(self.longest.desc());
        all
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.refresh();
        let mut all = self.depth.collect();
        all.extend(self.unfinished.collect());
        all.extend(self.longest.collect());
        all
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl fmt::Debug for RuntimeMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RuntimeMetrics")
    }
}

impl fmt::Debug for LoopMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LoopMetrics").field(&self.label).finish()
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The families `leader_election_*`. `name` is the name of a Lease.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use kube_fenced_election::{GuardMetrics, LeaseMetrics, LeaseRef, LeaseStatus, Metrics, clock::SharedClock};
use kube_loops::metrics::families::{
    self, Collector, Desc, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, MetricFamily, Opts, Registry,
};

/// Verbs of requests that a closed fence may refuse.
const FENCED_VERBS: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];

/// Reasons for giving a Lease away without having lost it.
const GAVE_WAY_REASONS: [&str; 2] = ["NoPassFinished", "WatchFailing"];

/// Could not set the families up: a programming error (a name registered twice).
#[derive(Debug, thiserror::Error)]
#[error("register {family}")]
pub(super) struct RegisterError {
    family: &'static str,
    #[source]
    source: families::Error,
}

/// All families of the election.
#[derive(Debug, Clone)]
pub(super) struct ElectionMetrics {
    master: IntGaugeVec,
    slow_path: IntCounterVec,
    transitions: IntCounterVec,
    renew_seconds: HistogramVec,
    valid_seconds: GaugeVec,
    conflict: IntGaugeVec,
    fenced: IntCounterVec,
    gave_way: IntCounterVec,
    waiting_for_legacy: IntGauge,
    guard_conflict: IntGaugeVec,
    guard_errors: IntCounter,
}

impl ElectionMetrics {
    /// Registers all families. Those with labels get their zero-valued series with each
    /// [`Metrics::of_lease`].
    ///
    /// # Errors
    /// [`RegisterError`] when the registry has a family of the same name.
    pub(super) fn register(registry: &Registry) -> Result<Self, RegisterError> {
        let named = ["name"].as_slice();
        Ok(Self {
            master: register(
                registry,
                "leader_election_master_status",
                "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 indicates \
                 master. 'name' is the string used to identify the lease.",
                |opts| IntGaugeVec::new(opts, named),
            )?,
            slow_path: register(
                registry,
                "leader_election_slowpath_total",
                "Total number of slow path exercised in renewing leader leases. 'name' is the string used to identify \
                 the lease.",
                |opts| IntCounterVec::new(opts, named),
            )?,
            transitions: register(
                registry,
                "leader_election_transitions_total",
                "Changes of the lease's holder seen by this process.",
                |opts| IntCounterVec::new(opts, named),
            )?,
            renew_seconds: register(
                registry,
                "leader_election_renew_duration_seconds",
                "Time that attempts to acquire or renew the lease took.",
                |opts| {
                    let buckets = vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
                    HistogramVec::new(HistogramOpts::from(opts).buckets(buckets), named)
                },
            )?,
            valid_seconds: register(
                registry,
                "leader_election_lease_valid_seconds",
                "Time for which this process may still act for the lease's controller; 0 when it is not leading.",
                |opts| GaugeVec::new(opts, named),
            )?,
            conflict: register(
                registry,
                "leader_election_conflict",
                "1 while the lease is held for another controller.",
                |opts| IntGaugeVec::new(opts, &["name", "controller", "lease"]),
            )?,
            fenced: register(
                registry,
                "leader_election_fenced_requests_total",
                "Requests that were not sent because the right to write had ended.",
                |opts| IntCounterVec::new(opts, &["name", "verb"]),
            )?,
            gave_way: register(
                registry,
                "leader_election_gave_way_total",
                "Times that the lease was given away because its controller could not work.",
                |opts| IntCounterVec::new(opts, &["name", "reason"]),
            )?,
            waiting_for_legacy: register(
                registry,
                "leader_election_waiting_for_legacy",
                "1 while no controller starts because an older manager holds its lease.",
                IntGauge::with_opts,
            )?,
            guard_conflict: register(
                registry,
                "leader_election_guard_conflict",
                "1 while a manager of this product holds the lease, for one of its controllers, that is the upgrade \
                 guard of others.",
                |opts| IntGaugeVec::new(opts, named),
            )?,
            guard_errors: register(
                registry,
                "leader_election_guard_errors_total",
                "Requests about the lease of older managers that failed.",
                IntCounter::with_opts,
            )?,
        })
    }

    /// Counter of requests refused by a closed fence; labels: name of the Lease, verb in capitals.
    pub(super) fn fenced_requests(&self) -> IntCounterVec {
        self.fenced.clone()
    }

    /// Has `leader_election_lease_valid_seconds` computed whenever the registry is gathered.
    pub(super) fn track_validity(
        &self,
        registry: &Registry,
        leases: Vec<(String, watch::Receiver<LeaseStatus>)>,
        clock: SharedClock,
    ) -> Result<(), RegisterError> {
        let family = "leader_election_lease_valid_seconds";
        let of_error = |source| RegisterError { family, source };
        registry.unregister(Box::new(self.valid_seconds.clone())).map_err(of_error)?;
        let live = Validity { gauge: self.valid_seconds.clone(), leases, clock };
        registry.register(Box::new(live)).map_err(of_error)
    }
}

fn register<T: Collector + Clone + 'static>(
    registry: &Registry,
    family: &'static str,
    help: &str,
    build: impl FnOnce(Opts) -> families::Result<T>,
) -> Result<T, RegisterError> {
    build(Opts::new(family, help))
        .and_then(|collector| registry.register(Box::new(collector.clone())).map(|()| collector))
        .map_err(|source| RegisterError { family, source })
}

/// Time left is a function of now: it is computed when somebody looks.
struct Validity {
    gauge: GaugeVec,
    leases: Vec<(String, watch::Receiver<LeaseStatus>)>,
    clock: SharedClock,
}

impl Collector for Validity {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let now = self.clock.instant();
        for (lease, status) in &self.leases {
            let left = status.borrow().valid_for(now);
            self.gauge.with_label_values(&[lease.as_str()]).set(left.as_secs_f64());
        }
        self.gauge.collect()
    }
}

impl Metrics for ElectionMetrics {
    fn of_lease(&self, lease: &LeaseRef, controller: &str) -> Arc<dyn LeaseMetrics> {
        let (path, name) = (lease.to_string(), lease.name.as_str());
        for verb in FENCED_VERBS {
            self.fenced.with_label_values(&[name, verb]).inc_by(0);
        }
        for reason in GAVE_WAY_REASONS {
            self.gave_way.with_label_values(&[name, reason]).inc_by(0);
        }
        self.valid_seconds.with_label_values(&[name]).set(0.0);
        Arc::new(OfLease {
            name: name.to_owned(),
            master: self.master.with_label_values(&[name]),
            slow_path: self.slow_path.with_label_values(&[name]),
            transitions: self.transitions.with_label_values(&[name]),
            renew_seconds: self.renew_seconds.with_label_values(&[name]),
            conflict: self.conflict.with_label_values(&[name, controller, &path]),
            guard_conflict: self.guard_conflict.with_label_values(&[name]),
            gave_way: self.gave_way.clone(),
        })
    }

    fn of_guard(&self, lease: &LeaseRef) -> Arc<dyn GuardMetrics> {
        Arc::new(OfGuard {
            waiting: self.waiting_for_legacy.clone(),
            conflict: self.guard_conflict.with_label_values(&[&lease.name]),
            errors: self.guard_errors.clone(),
        })
    }
}

/// Series of one Lease.
#[derive(Debug)]
struct OfLease {
    name: String,
    master: IntGauge,
    slow_path: IntCounter,
    transitions: IntCounter,
    renew_seconds: Histogram,
    conflict: IntGauge,
    guard_conflict: IntGauge,
    gave_way: IntCounterVec,
}

impl LeaseMetrics for OfLease {
    fn leading(&self, leading: bool) {
        self.master.set(leading.into());
    }

    fn slow_path(&self) {
        self.slow_path.inc();
    }

    fn holder_changed(&self) {
        self.transitions.inc();
    }

    fn attempt_took(&self, took: Duration) {
        self.renew_seconds.observe(took.as_secs_f64());
    }

    fn conflict(&self, conflict: bool) {
        self.conflict.set(conflict.into());
    }

    fn guard_conflict(&self, conflict: bool) {
        self.guard_conflict.set(conflict.into());
    }

    fn gave_way(&self, reason: &str) {
        self.gave_way.with_label_values(&[self.name.as_str(), reason]).inc();
    }
}

/// Series of the upgrade guard.
#[derive(Debug)]
struct OfGuard {
    waiting: IntGauge,
    conflict: IntGauge,
    errors: IntCounter,
}

impl GuardMetrics for OfGuard {
    fn failed(&self) {
        self.errors.inc();
    }

    fn waiting(&self, waiting: bool) {
        self.waiting.set(waiting.into());
    }

    fn conflict(&self, conflict: bool) {
        self.conflict.set(conflict.into());
    }
}

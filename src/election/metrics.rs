// SPDX-License-Identifier: Apache-2.0
//! The families `leader_election_*`. `name` is the name of a Lease.

use tokio::sync::watch;

use crate::clock::SharedClock;
use crate::telemetry::families::{
    Collector, Desc, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, MetricFamily, Opts, Registry,
};

use super::status::LeaseStatus;

/// Verbs of requests that a closed fence may refuse.
pub const FENCED_VERBS: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];

/// Reasons for giving a Lease away without having lost it.
pub const GAVE_WAY_REASONS: [&str; 2] = ["NoPassFinished", "WatchFailing"];

/// Could not set the families up: a programming error (a name registered twice).
#[derive(Debug, thiserror::Error)]
#[error("register {family}")]
pub struct RegisterError {
    family: &'static str,
    #[source]
    source: crate::telemetry::families::Error,
}

/// All families of the election.
#[derive(Debug, Clone)]
pub struct Metrics {
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
}

impl Metrics {
    /// Registers all families. Those with labels get their zero-valued series with each
    /// [`Metrics::of`].
    ///
    /// # Errors
    /// [`RegisterError`] when the registry has a family of the same name.
    pub fn register(registry: &Registry) -> Result<Self, RegisterError> {
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
        })
    }

    /// Series of the Lease `lease` of `namespace`, zero-valued from the start.
    pub fn of(&self, namespace: &str, lease: &str, controller: &str) -> LeaseMetrics {
        for verb in FENCED_VERBS {
            self.fenced.with_label_values(&[lease, verb]).inc_by(0);
        }
        for reason in GAVE_WAY_REASONS {
            self.gave_way.with_label_values(&[lease, reason]).inc_by(0);
        }
        self.valid_seconds.with_label_values(&[lease]).set(0.0);
        let path = format!("{namespace}/{lease}");
        LeaseMetrics {
            name: lease.to_owned(),
            master: self.master.with_label_values(&[lease]),
            slow_path: self.slow_path.with_label_values(&[lease]),
            transitions: self.transitions.with_label_values(&[lease]),
            renew_seconds: self.renew_seconds.with_label_values(&[lease]),
            conflict: self.conflict.with_label_values(&[lease, controller, &path]),
            guard_conflict: self.guard_conflict.with_label_values(&[lease]),
            gave_way: self.gave_way.clone(),
        }
    }

    /// Counter of requests refused by a closed fence; labels: name of the Lease, verb in capitals.
    pub fn fenced_requests(&self) -> IntCounterVec {
        self.fenced.clone()
    }

    /// Series of the upgrade guard on the Lease `lease`.
    pub(super) fn of_guard(&self, lease: &str) -> GuardMetrics {
        GuardMetrics {
            waiting: self.waiting_for_legacy.clone(),
            conflict: self.guard_conflict.with_label_values(&[lease]),
        }
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
    build: impl FnOnce(Opts) -> crate::telemetry::families::Result<T>,
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

/// Series of one Lease.
#[derive(Debug, Clone)]
pub struct LeaseMetrics {
    name: String,
    pub(super) master: IntGauge,
    pub(super) slow_path: IntCounter,
    pub(super) transitions: IntCounter,
    pub(super) renew_seconds: Histogram,
    pub(super) conflict: IntGauge,
    pub(super) guard_conflict: IntGauge,
    gave_way: IntCounterVec,
}

/// Series of the upgrade guard.
#[derive(Debug, Clone)]
pub(super) struct GuardMetrics {
    /// 1 while waiting for an older manager.
    pub(super) waiting: IntGauge,
    /// 1 while one of ours holds the Lease for one of its controllers.
    pub(super) conflict: IntGauge,
}

impl LeaseMetrics {
    pub(super) fn gave_way(&self, reason: &str) {
        self.gave_way.with_label_values(&[self.name.as_str(), reason]).inc();
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Why a well-formed command line is refused: exit code 1, before anything contacts the cluster.

use super::{controllers::InvalidController, lease_ids};

/// One reason. Says what is wrong and which flag cures it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    /// `--controllers` names none of the seven.
    #[error(
        "unable to validate the controllers, please type the right controller names through --controllers: {0}"
    )]
    Controllers(InvalidController),
    /// About Leases.
    #[error(transparent)]
    LeaseIds(#[from] lease_ids::Problem),
    /// Not a name of a namespace.
    #[error("invalid namespace {0:?}: set --leader-election-namespace=<lowercase DNS-1123 label>")]
    Namespace(String),
    /// A kind of lock that Go's library has dropped.
    #[error("{0} lock is removed, migrate to leases: set --leader-election-resource-lock=leases")]
    RemovedLock(String),
    /// No kind of lock at all.
    #[error("Invalid lock-type {0}: set --leader-election-resource-lock=leases")]
    UnknownLock(String),
    /// A Lease stores whole seconds of 32 bits and no 0.
    #[error(
        "leaseDuration must be whole seconds, at least 1s and at most 2147483647s, not {0}: \
         change --leader-election-lease-duration"
    )]
    LeaseDuration(String),
    /// A holder must have stopped before the Lease is free.
    #[error(
        "leaseDuration must be greater than renewDeadline, but {lease} is not greater than {renew}: \
         change --leader-election-lease-duration or --leader-election-renew-deadline"
    )]
    RenewDeadline {
        /// Lease duration.
        lease: String,
        /// Renew deadline.
        renew: String,
    },
    /// A failed renewal must be tried again before the deadline.
    #[error(
        "renewDeadline must be greater than retryPeriod*JitterFactor, but {renew} is not greater than 1.2 times {retry}: \
         change --leader-election-renew-deadline or --leader-election-retry-period"
    )]
    RetryPeriod {
        /// Renew deadline.
        renew: String,
        /// Retry period.
        retry: String,
    },
    /// A loop without pause.
    #[error("retryPeriod must be greater than zero, not {0}: change --leader-election-retry-period")]
    NoRetryPeriod(String),
    /// Not `CONTROLLER=N`.
    #[error(
        "invalid item {0:?} in --max-concurrent-reconciles: CONTROLLER=N with N from 1 to 1000 is needed"
    )]
    Workers(String),
    /// A pair of `--max-concurrent-reconciles` names none of the seven.
    #[error("{0} in --max-concurrent-reconciles")]
    WorkersOf(InvalidController),
    /// A stop that takes no time cannot be orderly.
    #[error(
        "the time for an orderly stop must be greater than zero, not {0}: change --graceful-shutdown-timeout"
    )]
    ShutdownTimeout(String),
    /// A scrape that gets no time, or whose answer would not count for its period.
    #[error(
        "reads of metrics may take {most} at most, and some time, not {given}: change --metric-scrape-timeout"
    )]
    ScrapeTimeout {
        /// As given.
        given: String,
        /// Longest that is possible.
        most: String,
    },
    /// No rate of requests.
    #[error("{0} requests a second are no rate: change --kube-api-qps")]
    Qps(String),
    /// A limit that lets nothing through.
    #[error(
        "burst is required to be greater than 0 when RateLimiter is not set and QPS is set to greater than 0, not {0}: \
         change --kube-api-burst"
    )]
    Burst(i64),
    /// None of the five.
    #[error(
        "unknown scheduler policy {0:?}: set --model-adapter-scheduler-policy=<random, leastAdapters, binPack, \
         leastLatency or leastThroughput>"
    )]
    SchedulerPolicy(String),
    /// No port.
    #[error("invalid webhook port {0}: set --webhook-port=<1 to 65535>")]
    WebhookPort(i64),
    /// A name that the API server would refuse.
    #[error("invalid name {name:?} in --{flag}: a lowercase DNS-1123 name is needed")]
    Name {
        /// The name.
        name: String,
        /// The flag that holds it.
        flag: &'static str,
    },
    /// Neither text nor JSON.
    #[error("unknown log format {0:?}: set --log-format=<text or json>")]
    LogFormat(String),
}

/// Everything that is wrong with a command line, at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub(crate) struct InvalidSettings {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl InvalidSettings {
    fn text(&self) -> String {
        let lines: Vec<_> = self.problems.iter().map(|problem| format!("  - {problem}")).collect();
        let count = lines.len();
        let plural = if count == 1 { "" } else { "s" };
        format!("{count} problem{plural} with the command line:\n{}", lines.join("\n"))
    }
}

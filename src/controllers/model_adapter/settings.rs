// SPDX-License-Identifier: Apache-2.0
//! What the controller gets to know of the command line and the environment.

use std::{fmt, time::Duration};

/// How a `ModelAdapter` chooses its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchedulerPolicy {
    /// Any candidate.
    Random,
    /// The pod with the fewest adapters.
    LeastAdapters,
    /// The fullest pod with room.
    BinPack,
    /// The pod that answers fastest.
    LeastLatency,
    /// The pod with the least load.
    LeastThroughput,
}

impl SchedulerPolicy {
    /// The policy with this name on the command line.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "random" => Some(Self::Random),
            "leastAdapters" => Some(Self::LeastAdapters),
            "binPack" => Some(Self::BinPack),
            "leastLatency" => Some(Self::LeastLatency),
            "leastThroughput" => Some(Self::LeastThroughput),
            _ => None,
        }
    }
}

/// The model-adapter controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelAdapterSettings {
    /// How a pod is chosen.
    pub policy: SchedulerPolicy,
    /// Talk to the `aibrix-runtime` sidecar of pods that have it.
    pub runtime_sidecar: bool,
    /// Call `localhost:30081` instead of pods.
    pub debug_mode: bool,
    /// Where its policies measure.
    pub metrics: EngineMetricsSettings,
}

/// How old what a pod said may be, unless the environment says so.
///
/// DIFFERS: AIBrix scrapes every pod each 50 ms, whether or not anything is placed.
pub(crate) const REFRESH_INTERVAL: Duration = Duration::from_secs(5);

/// Where load and latency of engines are measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineMetricsSettings {
    /// How old what a pod said may be before it is asked again. It is asked only when an adapter is placed.
    pub refresh_interval: Duration,
    /// Prometheus for what pods do not tell; `None`: off.
    pub prometheus: Option<PrometheusSettings>,
}

/// Queries to a Prometheus server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrometheusSettings {
    /// Base URL.
    pub endpoint: String,
    /// Pace of queries, one pod each.
    pub query_interval: Duration,
    /// Longest query.
    pub query_timeout: Duration,
    /// How to log in.
    pub login: PrometheusLogin,
}

/// Basic authentication at a Prometheus server.
#[derive(Clone, PartialEq, Eq)]
pub enum PrometheusLogin {
    /// None.
    Anonymous,
    /// From the environment.
    Password {
        /// User.
        username: String,
        /// Password.
        password: String,
    },
    /// From a Secret, read once.
    Secret {
        /// Namespace of the Secret.
        namespace: String,
        /// Name of the Secret.
        name: String,
        /// Key of the user.
        username_key: String,
        /// Key of the password.
        password_key: String,
    },
}

impl fmt::Debug for PrometheusLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            // Neither half of a credential belongs into a log.
            Self::Password { .. } => f.write_str("Password"),
            Self::Secret { namespace, name, .. } => write!(f, "Secret({namespace}/{name})"),
        }
    }
}

impl Default for ModelAdapterSettings {
    /// What the flags and the environment say when nobody sets them.
    fn default() -> Self {
        let metrics = EngineMetricsSettings { refresh_interval: REFRESH_INTERVAL, prometheus: None };
        let policy = SchedulerPolicy::LeastAdapters;
        Self { policy, runtime_sidecar: false, debug_mode: false, metrics }
    }
}

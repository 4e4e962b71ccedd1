// SPDX-License-Identifier: Apache-2.0
//! What each part of the process gets to know of the command line and the environment: one small struct per
//! consumer, so that no part sees flags of another. A consumer that already has a module of its own defines
//! its struct there, such as [`crate::cluster::client::ClientSettings`].

use std::{fmt, path::PathBuf, time::Duration};

/// One of the seven controllers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControllerSettings {
    /// Name in `--controllers`.
    pub name: &'static str,
    /// Whether it runs here.
    pub enabled: bool,
    /// Name of its Lease.
    pub lease: String,
    /// Passes at a time for each of its loops; `None`: the loop's own number.
    pub workers: Option<usize>,
}

/// Webhooks and their certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    /// Address of the listener, without brackets; empty: all addresses.
    pub host: String,
    /// Port of the listener.
    pub port: u16,
    /// Offer HTTP/2.
    pub enable_http2: bool,
    /// Fall-back for `tls.crt` and `tls.key`.
    pub cert_dir: PathBuf,
    /// Create, rotate and publish certificates; otherwise they are only read.
    pub manage_certs: bool,
    /// Namespace of Secret and Service.
    pub namespace: String,
    /// Secret with the certificates.
    pub secret_name: String,
    /// Service in the DNS name of the certificate.
    pub service_name: String,
    /// Configuration that gets the CA.
    pub mutating_configuration: String,
    /// Configuration that gets the CA.
    pub validating_configuration: String,
}

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

/// Where load and latency of engines are measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineMetricsSettings {
    /// Scrape period of a pod.
    pub refresh_interval: Duration,
    /// Label that groups the pods of a Deployment.
    pub deployment_label: String,
    /// Label that groups the pods of a `RayClusterFleet`.
    pub fleet_label: String,
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

/// The model-route controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRouteSettings {
    /// Request time-out of created routes.
    pub request_timeout: Duration,
    /// Gateway that routes attach to.
    pub gateway_name: String,
    /// Namespace of the Gateway and of the routes.
    pub gateway_namespace: String,
}

/// The orderly stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShutdownSettings {
    /// Total time for it.
    pub timeout: Duration,
}

// SPDX-License-Identifier: Apache-2.0
//! What each part of the process gets to know of the command line and the environment: one small struct per
//! consumer, so that no part sees flags of another. A consumer that already has a module of its own defines
//! its struct there, such as [`kube_loops::cluster::client::ClientSettings`].

use std::{path::PathBuf, time::Duration};

pub(crate) use crate::controllers::model_adapter::{
    EngineMetricsSettings, ModelAdapterSettings, PrometheusLogin, PrometheusSettings, REFRESH_INTERVAL,
    SchedulerPolicy,
};

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

/// The orderly stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShutdownSettings {
    /// Total time for it.
    pub timeout: Duration,
}

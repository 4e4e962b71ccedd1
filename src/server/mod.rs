// SPDX-License-Identifier: Apache-2.0
//! The listeners of the process: probes, leases for operators, metrics, admission webhooks.
//!
//! Promised: every replica answers, leader or not, and nobody can keep others from being answered: each
//! connection has limits on time and size, and a new one displaces the oldest when there are too many.
//! A listener is bound before it is served ([`ProbeServer::bind`], [`MetricsServer::bind`]), so that an
//! address in use ends the process at its start, and the kernel keeps early probes waiting instead of
//! refusing them.
//!
//! Deliberately absent: authentication, profiling, and whatever changes something.

pub(crate) mod bind;
mod connection_state;
mod idle;
pub(crate) mod metrics;
pub(crate) mod probes;
mod serve;
pub(crate) mod tls;
pub(crate) mod webhooks;

#[cfg(test)]
mod bind_tests;
#[cfg(test)]
mod idle_tests;
#[cfg(test)]
mod metrics_tests;
#[cfg(test)]
mod probes_tests;
#[cfg(test)]
mod serve_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tls_tests;
#[cfg(test)]
mod webhooks_tests;

use std::path::PathBuf;

pub(crate) use bind::Bind;
pub(crate) use metrics::MetricsServer;
pub(crate) use probes::{Check, ProbeServer, Probes};
pub(crate) use webhooks::WebhookServer;

/// Where the endpoints listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Listener of `/metrics`.
    pub metrics: Bind,
    /// Serve metrics over TLS.
    pub metrics_secure: bool,
    /// Where `tls.crt` and `tls.key` of secure metrics may be; without both a self-signed certificate is made.
    pub metrics_cert_dir: PathBuf,
    /// Listener of `/healthz`, `/readyz` and `/debug/leases`.
    pub probes: Bind,
    /// Offer HTTP/2 on secure metrics.
    pub enable_http2: bool,
}

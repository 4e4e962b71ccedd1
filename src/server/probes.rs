// SPDX-License-Identifier: Apache-2.0
//! `/healthz` and `/readyz`, byte for byte as probes, scripts and people know them; `/debug/leases` beside them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use axum::{
    Router,
    extract::Query,
    http::{StatusCode, Uri, header, header::HeaderValue},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio_util::sync::CancellationToken;

use super::{
    bind::{BindError, listen},
    serve::{Limits, ServeError, Server},
};
use crate::gocompat::quote::quote;

/// A health check: the error says what is wrong. Runs at each request, so it answers from memory.
pub(crate) type Check = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;
/// Lines for `?verbose` that do not change the status. Empty: the answer is exactly as usual.
pub(crate) type Remarks = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// The state of every election as the electors see it: an array with an object per controller.
pub(crate) type LeaseReport = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

/// The checks of the probe server.
#[derive(Clone)]
pub(crate) struct Probes {
    /// The check of `/healthz`: fails when the process should be restarted.
    pub healthz: Check,
    /// The check of `/readyz`: fails when no requests should be sent here.
    pub readyz: Check,
    /// Remarks of `/readyz?verbose`, such as missing permissions.
    pub remarks: Remarks,
    /// Answer of `/debug/leases`.
    pub leases: LeaseReport,
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Probes")
    }
}

/// One endpoint with its checks by name.
#[derive(Clone)]
struct Endpoint {
    checks: BTreeMap<&'static str, Check>,
    remarks: Remarks,
}

impl Endpoint {
    fn new(name: &'static str, check: Check, remarks: Remarks) -> Self {
        Self { checks: BTreeMap::from([(name, check)]), remarks }
    }

    /// Answers a path below the endpoint's own.
    fn answer(&self, sub_path: &str, query: &[(String, String)]) -> Response {
        match sub_path {
            "" => self.aggregate(query),
            name => match self.checks.get(name) {
                Some(check) => single(name, check),
                None => not_found(),
            },
        }
    }

    /// All checks but the excluded ones.
    fn aggregate(&self, query: &[(String, String)]) -> Response {
        let mut unknown: BTreeSet<&str> =
            query.iter().filter(|(key, _)| key == "exclude").map(|(_, value)| value.as_str()).collect();
        let mut lines = Vec::new();
        let mut failed = false;
        for (name, check) in &self.checks {
            if unknown.remove(name) {
                lines.push(format!("[+]{name} excluded: ok"));
                continue;
            }
            match check() {
                Ok(()) => lines.push(format!("[+]{name} ok")),
                Err(reason) => {
                    failed = true;
                    tracing::info!(checker = name, reason, "healthz check failed");
                    // The endpoint is public: the reason stands in the log and on the check's own path.
                    lines.push(format!("[-]{name} failed: reason withheld"));
                }
            }
        }
        let verbose = query.iter().any(|(key, _)| key == "verbose");
        if !failed && !verbose {
            return plain(StatusCode::OK, "ok".to_owned());
        }
        if !unknown.is_empty() {
            let names: Vec<_> = unknown.into_iter().map(quote).collect();
            let names = names.join(",");
            lines.push(format!("warn: some health checks cannot be excluded: no matches for {names}"));
        }
        if verbose {
            lines
                .extend((self.remarks)().iter().map(|remark| format!("info: {}", remark.replace('\n', " "))));
        }
        let (status, verdict) = if failed {
            (StatusCode::INTERNAL_SERVER_ERROR, "healthz check failed\n")
        } else {
            (StatusCode::OK, "healthz check passed\n")
        };
        lines.push(verdict.to_owned());
        plain(status, lines.join("\n"))
    }
}

fn single(name: &str, check: &Check) -> Response {
    match check() {
        Ok(()) => plain(StatusCode::OK, "ok".to_owned()),
        Err(reason) => {
            tracing::info!(checker = name, reason, "healthz check failed");
            plain(StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {reason}\n"))
        }
    }
}

fn plain(status: StatusCode, body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (status, headers, body).into_response()
}

/// The 404 of Go's server.
pub(super) fn not_found() -> Response {
    plain(StatusCode::NOT_FOUND, "404 page not found\n".to_owned())
}

/// Every path of the health port. Any method is answered.
pub(super) fn router(probes: Probes) -> Router {
    let none: Remarks = Arc::new(Vec::new);
    let endpoints = [
        ("healthz", Endpoint::new("healthz", probes.healthz, none)),
        ("readyz", Endpoint::new("readyz", probes.readyz, probes.remarks)),
    ];
    let answer = move |uri: Uri| {
        let query = Query::<Vec<(String, String)>>::try_from_uri(&uri);
        let query = query.map(|Query(pairs)| pairs).unwrap_or_default();
        // Doubled and trailing slashes count for nothing.
        let parts: Vec<_> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
        let found = parts.split_first().and_then(|(first, rest)| {
            let (_, endpoint) = endpoints.iter().find(|(name, _)| name == first)?;
            Some(endpoint.answer(&rest.join("/"), &query))
        });
        std::future::ready(found.unwrap_or_else(not_found))
    };
    debug_router(probes.leases).fallback(answer)
}

/// `/debug/leases` and its answer.
fn debug_router(report: LeaseReport) -> Router {
    let answer = move || {
        let report = report();
        async move {
            match serde_json::to_string_pretty(&report) {
                Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text + "\n").into_response(),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
            }
        }
    };
    Router::new().route("/debug/leases", get(answer))
}

/// The probe listener, bound but not yet serving.
pub(crate) struct ProbeServer(Server);

impl ProbeServer {
    /// Binds the address of `--health-probe-bind-address`.
    ///
    /// # Errors
    /// The address is wrong or taken: the process should end with 1.
    pub(crate) async fn bind(address: &str, probes: Probes) -> Result<Self, BindError> {
        let listener = listen(address).await?;
        let (address, limits) = (address.to_owned(), Limits::default());
        Ok(Self(Server { listener, address, tls: None, router: router(probes), limits }))
    }

    /// The address that it is bound to; `None` when the system does not know.
    #[cfg(test)]
    pub(crate) fn local_addr(&self) -> Option<std::net::SocketAddr> {
        self.0.local_addr()
    }

    /// Serves until `stop`, then lets the answers under way finish (at most 1 s).
    ///
    /// # Errors
    /// The listener broke.
    pub(crate) async fn serve(self, stop: CancellationToken) -> Result<(), ServeError> {
        tracing::info!(name = "health probe", addr = self.0.address, "starting server");
        self.0.serve(stop).await
    }
}

impl fmt::Debug for ProbeServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProbeServer").field(&self.0.address).finish()
    }
}

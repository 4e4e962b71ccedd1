// SPDX-License-Identifier: Apache-2.0
//! `/metrics`: the text of the registry, compressed if the client accepts it, over TLS if configured. However many ask, it
//! is rendered by one at a time and once a second at most.

use std::{fmt, io::Write as _, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
    routing::any,
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use kube_fenced_election::clock::{Clock as _, Instant, SystemClock};

use super::{
    bind::{BindError, listen},
    probes::not_found,
    serve::{Limits, ServeError, Server},
    tls::{self, Certificate, ReadCounter},
};

/// Renders every metric in Prometheus' text format 0.0.4. Asked once a second at most.
pub(crate) type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// How long a page is good for.
const KEPT: Duration = Duration::from_secs(1);
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// How metrics are served over TLS.
#[derive(Clone)]
pub(crate) struct Secure {
    /// Where `tls.crt` and `tls.key` may be; without both a self-signed certificate is made.
    pub cert_dir: PathBuf,
    /// Offer HTTP/2 besides HTTP/1.1.
    pub http2: bool,
    /// Told of each attempt to read the certificate.
    pub counter: ReadCounter,
}

impl fmt::Debug for Secure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secure")
            .field("cert_dir", &self.cert_dir)
            .field("http2", &self.http2)
            .finish_non_exhaustive()
    }
}

/// The only path, for any method, and Go's answer for all others.
pub(super) fn router(render: Render) -> Router {
    let page = Arc::new(Page { render, last: Mutex::default() });
    let answer = move |headers: HeaderMap| {
        let page = Arc::clone(&page);
        async move { page.answer(wants_gzip(&headers)).await }
    };
    Router::new().route("/metrics", any(answer)).fallback(|| std::future::ready(not_found()))
}

/// The page as it was rendered last.
struct Page {
    render: Render,
    last: Mutex<Option<Rendered>>,
}

struct Rendered {
    at: Instant,
    text: Bytes,
    /// Made when somebody asks for it.
    compressed: Option<Bytes>,
}

impl Page {
    async fn answer(&self, compress: bool) -> Response {
        // Held while it is rendered: others wait, and get the same.
        let mut last = self.last.lock().await;
        let now = SystemClock.instant();
        let current = last.take().filter(|page| now.saturating_duration_since(page.at) < KEPT);
        let page = last.insert(current.unwrap_or_else(|| {
            let text = Bytes::from((self.render)());
            Rendered { at: now, text, compressed: None }
        }));
        if !compress {
            return plain(page.text.clone());
        }
        if page.compressed.is_none() {
            page.compressed = gzip(&page.text);
        }
        page.compressed.clone().map_or_else(|| plain(page.text.clone()), compressed)
    }
}

fn plain(text: Bytes) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response()
}

fn gzip(text: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).and_then(|()| encoder.finish()).ok().map(Bytes::from)
}

fn compressed(bytes: Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, CONTENT_TYPE),
        (header::CONTENT_ENCODING, HeaderValue::from_static("gzip")),
        (header::VARY, HeaderValue::from_static("Accept-Encoding")),
    ];
    (headers, bytes).into_response()
}

/// Whether `Accept-Encoding` names gzip, other than with weight 0.
fn wants_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|offer| {
        let (coding, parameters) = offer.split_once(';').unwrap_or((offer, ""));
        let weight =
            parameters.trim().strip_prefix("q=").and_then(|weight| weight.trim().parse::<f32>().ok());
        coding.trim().eq_ignore_ascii_case("gzip") && weight.is_none_or(|weight| weight > 0.0)
    })
}

/// The metrics listener, bound but not yet serving.
pub(crate) struct MetricsServer {
    server: Server,
    certificate: Option<Arc<Certificate>>,
}

impl MetricsServer {
    /// Binds the address of `--metrics-bind-address`. `secure`: over TLS.
    ///
    /// # Errors
    /// The address is wrong or taken, or the mounted certificate cannot be used: the process should end
    /// with 1.
    pub(crate) async fn bind(
        address: &str,
        render: Render,
        secure: Option<Secure>,
    ) -> Result<Self, BindError> {
        let Some(Secure { cert_dir, http2, counter }) = secure else {
            let server = Self::server(address, render).await?;
            return Ok(Self { server, certificate: None });
        };
        let certificate = Certificate::load(&cert_dir, counter).await;
        let certificate =
            certificate.map_err(|source| BindError::Certificate { address: address.to_owned(), source })?;
        Self::with_certificate(address, render, certificate, http2).await
    }

    /// Binds the address and serves over TLS with this certificate.
    pub(super) async fn with_certificate(
        address: &str,
        render: Render,
        certificate: Certificate,
        http2: bool,
    ) -> Result<Self, BindError> {
        let certificate = Arc::new(certificate);
        let tls = tls::acceptor(Arc::<Certificate>::clone(&certificate), http2);
        let tls = tls.map_err(|source| BindError::Certificate { address: address.to_owned(), source })?;
        let server = Server { tls: Some(tls), ..Self::server(address, render).await? };
        Ok(Self { server, certificate: Some(certificate) })
    }

    async fn server(address: &str, render: Render) -> Result<Server, BindError> {
        let listener = listen(address).await?;
        let (address, limits) = (address.to_owned(), Limits::default());
        Ok(Server { listener, address, tls: None, router: router(render), limits })
    }

    /// The address that it is bound to; `None` when the system does not know.
    #[cfg(test)]
    pub(crate) fn local_addr(&self) -> Option<std::net::SocketAddr> {
        self.server.local_addr()
    }

    /// Serves until `stop`, then lets the answers under way finish (at most 1 s).
    ///
    /// # Errors
    /// The listener broke.
    pub(crate) async fn serve(self, stop: CancellationToken) -> Result<(), ServeError> {
        let secure = self.server.tls.is_some();
        tracing::info!(bind_address = self.server.address, secure, "Serving metrics server");
        let reload = async {
            match &self.certificate {
                Some(certificate) => certificate.keep_reading().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            result = self.server.serve(stop) => result,
            () = reload => Ok(()),
        }
    }
}

impl fmt::Debug for MetricsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MetricsServer").field(&self.server.address).finish()
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The one HTTP client towards pods and metric endpoints.

use std::{fmt, future::Future, io, net::IpAddr, pin::pin, time::Duration};

use bytes::Bytes;
use futures::future::{Either, select};
use http::{HeaderValue, Method, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use reqwest::{RequestBuilder, Response, StatusCode, Url, header};
use tower::{BoxError, ServiceExt as _};

use kube_fenced_election::fence::Fence;
use kube_loops::fenced_tcp::{FencedStream, FencedTcp};

use super::{
    call::FencedBody,
    exposition::{Families, Query, Scanner},
    tls,
};

/// Bounds of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Longest time to connect, TLS included.
    pub connect: Duration,
    /// Longest time from the start of a request to the last byte of its answer.
    pub total: Duration,
    /// Largest body in bytes; it is enforced while the body arrives, whatever its headers announce.
    pub body_bytes: usize,
}

impl Default for Limits {
    /// 1 s, 3 s, 8 MiB.
    fn default() -> Self {
        Self { connect: Duration::from_secs(1), total: Duration::from_secs(3), body_bytes: 8 << 20 }
    }
}

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Scheme {
    /// Plain text.
    Http,
    /// TLS without verification of the certificate: see the page of this folder's `tls`.
    Https,
}

impl Scheme {
    /// Reads the `protocolType` of a metric source: exactly `http` or `https`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "http" => Some(Self::Http),
            "https" => Some(Self::Https),
            _ => None,
        }
    }

    /// The scheme's name in a URL.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What a request goes to. Two targets are equal when their URLs are. Printed without user name,
/// password, query and fragment, so it may stand in logs, events and conditions.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Target(pub(super) Url);

/// A URL cannot be made of what a user wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetError {
    /// The port is not a number from 1 to 65535.
    #[error("port {0:?} is not a port number")]
    Port(String),
    /// `host[:port]` or path make no URL.
    #[error("{endpoint:?} and path {path:?} do not make a URL")]
    Url {
        /// `host[:port]`.
        endpoint: String,
        /// Path as written.
        path: String,
    },
}

impl Target {
    /// `<scheme>://<ip>:<port>/<path>`: IPv6 addresses are bracketed, leading slashes of the path are
    /// not doubled.
    ///
    /// # Errors
    /// [`TargetError`] when `port` is no port number or `path` cannot be part of a URL.
    pub(crate) fn pod(scheme: Scheme, ip: IpAddr, port: &str, path: &str) -> Result<Self, TargetError> {
        let number = port.trim().parse::<u16>().ok().filter(|number| *number != 0);
        let number = number.ok_or_else(|| TargetError::Port(port.to_owned()))?;
        let authority = match ip {
            IpAddr::V4(ip) => format!("{ip}:{number}"),
            IpAddr::V6(ip) => format!("[{ip}]:{number}"),
        };
        Self::endpoint(scheme, &authority, path)
    }

    /// `<scheme>://<endpoint>/<path>` with `endpoint` as `host[:port]`.
    ///
    /// # Errors
    /// [`TargetError::Url`] when the parts make no URL with a host.
    pub(crate) fn endpoint(scheme: Scheme, endpoint: &str, path: &str) -> Result<Self, TargetError> {
        let bad = || TargetError::Url { endpoint: endpoint.to_owned(), path: path.to_owned() };
        // A slash, '?' or '#' would let a part of the endpoint become path or query unnoticed.
        if endpoint.is_empty() || endpoint.contains(['/', '?', '#', '\\']) {
            return Err(bad());
        }
        let text = format!("{}://{endpoint}/{}", scheme.as_str(), path.trim_start_matches('/'));
        let url = Url::parse(&text).map_err(|_| bad())?;
        if url.has_host() { Ok(Self(url)) } else { Err(bad()) }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.host_str().unwrap_or_default();
        write!(f, "{}://{host}", self.0.scheme())?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.0.path())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

/// Why a request brought no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// Not connected or not answered in full in time.
    #[error("GET {target}: no answer in time")]
    Timeout {
        /// What was asked.
        target: Target,
    },
    /// Nobody listens there.
    #[error("GET {target}: connection refused")]
    Refused {
        /// What was asked.
        target: Target,
    },
    /// No connection: no route, unknown host, TLS failure, …
    #[error("GET {target}: could not connect")]
    Connect {
        /// What was asked.
        target: Target,
        /// What the transport said.
        source: BoxError,
    },
    /// The connection broke before the answer was complete, or what came was no HTTP.
    #[error("GET {target}: connection broken")]
    Broken {
        /// What was asked.
        target: Target,
        /// What the transport said.
        source: BoxError,
    },
    /// An answer other than 200.
    #[error("GET {target}: status {status}")]
    Status {
        /// What was asked.
        target: Target,
        /// Status code.
        status: u16,
    },
    /// A redirect to another origin, or a second one.
    #[error("GET {target}: redirected to {to}, which is not followed")]
    Redirect {
        /// What was asked.
        target: Target,
        /// Where it leads.
        to: Box<str>,
    },
    /// The body is larger than the limit.
    #[error("GET {target}: body larger than {limit} bytes")]
    TooLarge {
        /// What was asked.
        target: Target,
        /// The limit in bytes.
        limit: usize,
    },
    /// The body is not text.
    #[error("GET {target}: body is not text")]
    NotText {
        /// What was asked.
        target: Target,
    },
}

/// The client could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    /// TLS is not usable.
    #[error("could not set up TLS towards engines")]
    Tls(#[source] rustls::Error),
    /// The HTTP client is not usable.
    #[error("could not set up the HTTP client towards engines")]
    Client(#[source] reqwest::Error),
    /// The program's name cannot be sent.
    #[error("the name of this program is no HTTP header")]
    UserAgent(#[source] header::InvalidHeaderValue),
}

/// The client. Cheap to clone; clones share their settings.
#[derive(Debug, Clone)]
pub(crate) struct EngineClient {
    pub(super) inner: reqwest::Client,
    limits: Limits,
    user_agent: HeaderValue,
    /// How long the data of a change may stay unacknowledged.
    unacknowledged: Duration,
}

impl EngineClient {
    /// Makes the client.
    ///
    /// # Errors
    /// [`BuildError`]: a defect of the build, not of the surroundings.
    pub(crate) fn new(limits: Limits, user_agent: &str) -> Result<Self, BuildError> {
        let inner = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::any_certificate().map_err(BuildError::Tls)?)
            .user_agent(user_agent)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .connect_timeout(limits.connect)
            .timeout(limits.total)
            // No connection outlives its request: engines close idle ones before the next period
            // anyway, and one kept to a pod that died would eat the whole time-out of the next request.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(BuildError::Client)?;
        let user_agent = HeaderValue::from_str(user_agent).map_err(BuildError::UserAgent)?;
        Ok(Self { inner, limits, user_agent, unacknowledged: Duration::from_secs(5) })
    }

    /// Connections for changes are reset when data is not acknowledged for this time; otherwise after 5 s.
    pub(crate) fn resetting_after(self, unacknowledged: Duration) -> Self {
        Self { unacknowledged, ..self }
    }

    /// Sends a change over a connection of its own, which ends with the term, and hands the answer to `read` while
    /// the connection is open.
    pub(super) async fn post<T, R>(
        &self,
        target: &Target,
        fence: &Fence,
        request: http::request::Builder,
        body: FencedBody,
        read: impl FnOnce(Response) -> R,
    ) -> Result<T, HttpError>
    where
        R: Future<Output = T>,
    {
        let broken = |source: BoxError| HttpError::Broken { target: target.clone(), source };
        let request = request.method(Method::POST).uri(target.0.path());
        let request = request.header(header::HOST, target.0.authority());
        let request = request.header(header::USER_AGENT, &self.user_agent);
        let request = request.body(body).map_err(|error| broken(error.into()))?;
        let stream = self.connect(target, fence).await?;
        let handshake = hyper::client::conn::http1::handshake(stream).await;
        let (mut sender, connection) = handshake.map_err(|error| broken(error.into()))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|error| broken(error.into()))?;
            Ok(read(response.map(reqwest::Body::wrap).into()).await)
        };
        // In one future: whoever drops it resets the connection.
        match select(pin!(answer), pin!(connection)).await {
            Either::Left((answer, _)) => answer,
            Either::Right((_, answer)) => answer.await,
        }
    }

    async fn connect(&self, target: &Target, fence: &Fence) -> Result<FencedStream, HttpError> {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        let failed = |source| HttpError::Connect { target: target.clone(), source };
        let uri = target.0.as_str().parse::<Uri>().map_err(|error| failed(error.into()))?;
        let connecting = FencedTcp::new(tcp, fence, self.unacknowledged).oneshot(uri);
        match tokio::time::timeout(self.limits.connect, connecting).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(source)) if io_kind(&*source) == Some(io::ErrorKind::ConnectionRefused) => {
                Err(HttpError::Refused { target: target.clone() })
            }
            Ok(Err(source)) => Err(failed(source)),
            Err(_) => Err(HttpError::Timeout { target: target.clone() }),
        }
    }

    /// Reads Prometheus text and keeps the `wanted` families only. The body is scanned while it
    /// arrives and never held.
    ///
    /// # Errors
    /// [`HttpError`]: there is no measurement; never to be read as zero. A wanted family that the body
    /// lacks is no error here: [`Families`] says so.
    pub(crate) async fn scrape<Q: Into<Query>>(
        &self,
        target: &Target,
        wanted: impl IntoIterator<Item = Q>,
    ) -> Result<Families, HttpError> {
        let accept = |request: RequestBuilder| {
            request.header(header::ACCEPT, "text/plain;version=0.0.4;q=1,*/*;q=0.1")
        };
        let mut response = self.get(target, self.limits.total, accept).await?;
        if response.status() != StatusCode::OK {
            return Err(HttpError::Status { target: target.clone(), status: response.status().as_u16() });
        }
        let mut scanner = Scanner::new(wanted);
        let mut left = self.limits.body_bytes;
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(target, error))? {
            left = self.remaining(target, left, &chunk)?;
            scanner.feed(&chunk).map_err(|_| HttpError::NotText { target: target.clone() })?;
        }
        Ok(scanner.finish())
    }

    /// Reads something within that time. One redirect to the same scheme, host and port is followed, as servers send that
    /// have their page at `/metrics/`.
    pub(super) async fn get(
        &self,
        target: &Target,
        within: Duration,
        prepare: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, HttpError> {
        let answer = async {
            let (mut url, mut followed) = (target.0.clone(), false);
            loop {
                let request = prepare(self.inner.get(url.clone()));
                let response = request.send().await.map_err(|error| failed(target, error))?;
                let Some(to) = redirect_of(&response) else { return Ok(response) };
                match to {
                    Ok(to) if to.origin() == url.origin() && !followed => (url, followed) = (to, true),
                    to => {
                        let to = to.map_or_else(|text| text, |url| Target(url).to_string());
                        return Err(HttpError::Redirect { target: target.clone(), to: to.into() });
                    }
                }
            }
        };
        let late = |_| Err(HttpError::Timeout { target: target.clone() });
        tokio::time::timeout(within, answer).await.unwrap_or_else(late)
    }

    fn remaining(&self, target: &Target, left: usize, chunk: &Bytes) -> Result<usize, HttpError> {
        let too_large = || HttpError::TooLarge { target: target.clone(), limit: self.limits.body_bytes };
        left.checked_sub(chunk.len()).ok_or_else(too_large)
    }
}

/// Where a redirect leads; `Err`: to no URL, in words. `None`: it is none, or does not say where.
fn redirect_of(response: &Response) -> Option<Result<Url, String>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let to = response.headers().get(header::LOCATION)?;
    let url = to.to_str().ok().and_then(|to| response.url().join(to).ok());
    Some(url.ok_or_else(|| "what is no URL".to_owned()))
}

pub(super) fn failed(target: &Target, error: reqwest::Error) -> HttpError {
    let target = target.clone();
    if error.is_timeout() {
        return HttpError::Timeout { target };
    }
    if io_kind(&error) == Some(io::ErrorKind::ConnectionRefused) {
        return HttpError::Refused { target };
    }
    // The transport's own text would repeat the URL, query included.
    let source = error.without_url();
    if source.is_connect() {
        HttpError::Connect { target, source: source.into() }
    } else {
        HttpError::Broken { target, source: source.into() }
    }
}

fn io_kind(error: &(dyn std::error::Error + 'static)) -> Option<io::ErrorKind> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}

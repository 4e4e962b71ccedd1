// SPDX-License-Identifier: Apache-2.0
//! The HTTP client: pools of connections to the API server, HTTP/1.1 as kube's own. One serves all that the process
//! reads; what a term changes goes over one of its own, which ends with it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use hyper::rt::{Read, Write};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connection, HttpConnector, proxy::Tunnel},
    },
    rt::{TokioExecutor, TokioTimer},
};
use kube::{Config, client::ConfigExt as _};
use rustls::pki_types::ServerName;
use tower::{BoxError, Service, ServiceExt as _, timeout::Timeout, util::BoxCloneSyncService};

use kube_fenced_election::fence::Fence;

use crate::fenced_tcp::FencedTcp;

use super::request_info;

/// Body of a request on its way out.
pub(super) type SentBody = UnsyncBoxBody<Bytes, BoxError>;
/// Body of an answer.
pub(super) type AnswerBody = UnsyncBoxBody<Bytes, BoxError>;
/// Sends a request that carries everything it needs.
pub(super) type Transport = BoxCloneSyncService<Request<SentBody>, Response<AnswerBody>, BoxError>;

/// Bound of a connection's setup: name, TCP, proxy and TLS together.
const CONNECT: Duration = Duration::from_secs(5);
/// A peer that does not answer for this long is gone; a watch without events learns it by keep-alives.
const SILENCE: Duration = Duration::from_secs(30);
/// An unused connection is closed after this time.
const IDLE: Duration = Duration::from_secs(90);

#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    #[error("proxies of this kind are not supported")]
    Proxy,
    #[error("TLS cannot be set up")]
    Tls(#[source] Box<kube::Error>),
}

/// Makes transports to one API server. The configuration is read once: to read it may run a plugin.
pub(super) struct Dialer {
    tls: rustls::ClientConfig,
    /// Whom the server's certificate has to name, if not the host of the address.
    server_name: Option<ServerName<'static>>,
    proxy: Option<Uri>,
}

impl Dialer {
    pub(super) fn new(config: &Config, proxy: Option<&Uri>) -> Result<Self, TransportError> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Fails only when somebody else installs one at this very moment, which is as good.
            drop(rustls::crypto::ring::default_provider().install_default());
        }
        if proxy.is_some_and(|proxy| !matches!(proxy.scheme_str(), Some("http" | "https"))) {
            return Err(TransportError::Proxy);
        }
        let tls = config.rustls_client_config().map_err(|error| TransportError::Tls(Box::new(error)))?;
        let server_name = config.tls_server_name.clone().map(ServerName::try_from).transpose();
        let server_name =
            server_name.map_err(|error| TransportError::Tls(Box::new(kube::Error::Service(error.into()))))?;
        Ok(Self { tls, server_name, proxy: proxy.cloned() })
    }

    /// A pool of connections.
    pub(super) fn pool(&self) -> Transport {
        self.over(tcp())
    }

    /// A pool of connections for what a term changes: they are reset when its fence closes, and when data is not
    /// acknowledged for `unacknowledged`.
    pub(super) fn of_term(&self, fence: &Fence, unacknowledged: Duration) -> Transport {
        self.over(FencedTcp::new(tcp(), fence, unacknowledged))
    }

    fn over<C>(&self, tcp: C) -> Transport
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Connection + Read + Write + Send + Unpin + 'static,
        C::Future: Send + 'static,
        C::Error: Into<BoxError>,
    {
        match &self.proxy {
            None => self.pool_over(tcp),
            Some(proxy) if proxy.scheme_str() == Some("https") => {
                self.pool_over(tunnel(proxy, self.with_tls(tcp)))
            }
            Some(proxy) => self.pool_over(tunnel(proxy, tcp)),
        }
    }

    fn with_tls<C>(&self, connector: C) -> HttpsConnector<C> {
        let builder = HttpsConnectorBuilder::new().with_tls_config(self.tls.clone()).https_or_http();
        let builder = match self.server_name.clone() {
            Some(name) => builder.with_server_name_resolver(FixedServerNameResolver::new(name)),
            None => builder,
        };
        builder.enable_http1().wrap_connector(connector)
    }

    fn pool_over<C>(&self, connector: C) -> Transport
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Connection + Read + Write + Send + Unpin + 'static,
        C::Future: Send + 'static,
        C::Error: Into<BoxError>,
    {
        // Boxed futures, because the pool wants them to be Unpin.
        let connector = Timeout::new(self.with_tls(connector), CONNECT).map_future(Box::pin);
        let client: Client<_, SentBody> = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        let service = client
            .map_response(|answer: Response<hyper::body::Incoming>| {
                answer.map(|body| body.map_err(Into::into).boxed_unsync())
            })
            .map_err(BoxError::from);
        BoxCloneSyncService::new(service)
    }
}

/// Sends what changes something over the one, everything else over the other.
pub(super) fn split(reads: Transport, changes: Transport) -> Transport {
    BoxCloneSyncService::new(tower::service_fn(move |request: Request<SentBody>| {
        let changes_something = request_info::is_write(request.method());
        let transport = if changes_something { &changes } else { &reads };
        transport.clone().oneshot(request)
    }))
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(SILENCE));
    tcp.set_keepalive_interval(Some(SILENCE / 3));
    tcp.set_keepalive_retries(Some(3));
    tcp.set_tcp_user_timeout(Some(SILENCE));
    tcp
}

fn tunnel<C>(proxy: &Uri, connector: C) -> Tunnel<C> {
    let tunnel = Tunnel::new(proxy.clone(), connector);
    let login = proxy.authority().and_then(|authority| authority.as_str().rsplit_once('@'));
    let Some((login, _)) = login else { return tunnel };
    match HeaderValue::from_str(&format!("Basic {}", base64(login.as_bytes()))) {
        Ok(header) => tunnel.with_auth(header),
        Err(_) => tunnel,
    }
}

fn base64(bytes: &[u8]) -> String {
    // k8s-openapi's byte strings are base64 in JSON.
    let encoded = serde_json::to_string(&k8s_openapi::ByteString(bytes.to_vec())).unwrap_or_default();
    encoded.trim_matches('"').to_owned()
}

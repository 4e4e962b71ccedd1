// SPDX-License-Identifier: Apache-2.0
//! The HTTP client: one pool of connections for all clients of the process, HTTP/1.1 as kube's own.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use hyper::rt::{Read, Write};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connection, HttpConnector, proxy::Tunnel},
    },
    rt::{TokioExecutor, TokioTimer},
};
use kube::{Config, client::ConfigExt as _};
use tower::{BoxError, Service, ServiceExt as _, timeout::Timeout, util::BoxCloneSyncService};

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

pub(super) fn build(config: &Config, proxy: Option<&Uri>) -> Result<Transport, TransportError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Fails only when somebody else installs one at this very moment, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(SILENCE));
    tcp.set_keepalive_interval(Some(SILENCE / 3));
    tcp.set_keepalive_retries(Some(3));
    tcp.set_tcp_user_timeout(Some(SILENCE));
    let Some(proxy) = proxy else { return over(config, tcp) };
    match proxy.scheme_str() {
        Some("http") => over(config, tunnel(proxy, tcp)),
        Some("https") => {
            let tls = config.rustls_https_connector_with_connector(tcp).map_err(tls_error)?;
            over(config, tunnel(proxy, tls))
        }
        _ => Err(TransportError::Proxy),
    }
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

fn tls_error(error: kube::Error) -> TransportError {
    TransportError::Tls(Box::new(error))
}

fn over<C>(config: &Config, connector: C) -> Result<Transport, TransportError>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Connection + Read + Write + Send + Unpin + 'static,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    let tls = config.rustls_https_connector_with_connector(connector).map_err(tls_error)?;
    // Boxed futures, because the pool wants them to be Unpin.
    let connector = Timeout::new(tls, CONNECT).map_future(Box::pin);
    let client: Client<_, SentBody> = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .build(connector);
    let service = client
        .map_response(|answer: Response<hyper::body::Incoming>| {
            answer.map(|body| body.map_err(Into::into).boxed_unsync())
        })
        .map_err(BoxError::from);
    Ok(BoxCloneSyncService::new(service))
}

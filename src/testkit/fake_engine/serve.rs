// SPDX-License-Identifier: Apache-2.0
//! The small HTTP/1 server under the fakes: knows at which of the machine's addresses it was reached.

use std::{convert::Infallible, fmt, io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, future::BoxFuture};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

/// Body of an answer.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Ends the connection without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("hung up on purpose")]
pub struct Hangup;

/// What answers.
pub trait Handler: Send + Sync + 'static {
    /// Answers a request that came in at the address `local`.
    fn handle(
        &self,
        local: SocketAddr,
        request: Request<Incoming>,
    ) -> BoxFuture<'static, Result<Response<Body>, Hangup>>;

    /// Whether connections to `local` are to end with a reset instead of an orderly close.
    fn resets(&self, local: SocketAddr) -> bool {
        let _ = local;
        false
    }
}

/// A running server; dropping it aborts its tasks, which closes everything.
pub struct Server {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.address).finish()
    }
}

impl Server {
    /// Serves `handler` on `address`.
    ///
    /// # Errors
    /// When the address cannot be bound or the certificate cannot be made.
    pub async fn start(address: SocketAddr, tls: bool, handler: Arc<dyn Handler>) -> io::Result<Self> {
        let tls = if tls { Some(self_signed()?) } else { None };
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, tls, handler));
        Ok(Self { address, _tasks: tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, handler: Arc<dyn Handler>) {
    // Owned here: connections end with the task that accepts them.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(stream, tls.clone(), Arc::clone(&handler)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, handler: Arc<dyn Handler>) {
    let Ok(local) = stream.local_addr() else { return };
    if handler.resets(local) && stream.set_zero_linger().is_err() {
        return;
    }
    let service = service_fn(move |request| handler.handle(local, request));
    let mut server = http1::Builder::new();
    server.half_close(false);
    // A connection that ends badly is the client's affair.
    let ended = match tls {
        None => server.serve_connection(TokioIo::new(stream), service).await,
        Some(tls) => {
            let Ok(stream) = tls.accept(stream).await else { return };
            server.serve_connection(TokioIo::new(stream), service).await
        }
    };
    drop(ended);
}

/// An answer with a whole body.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// An answer in JSON.
pub fn json(status: StatusCode, body: &serde_json::Value) -> Response<Body> {
    let mut response = text(status, body.to_string());
    let kind = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// An answer that never ends: valid lines, as fast as they are taken.
pub fn endless(status: StatusCode) -> Response<Body> {
    let piece = Bytes::from("fake_noise{more=\"and more\"} 1\n".repeat(1024));
    let pieces = futures::stream::repeat(piece).map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
    let mut response = Response::new(StreamBody::new(pieces).boxed_unsync());
    *response.status_mut() = status;
    response
}

fn self_signed() -> io::Result<TlsAcceptor> {
    let made = rcgen::generate_simple_self_signed(vec!["fake".to_owned()]).map_err(io::Error::other)?;
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

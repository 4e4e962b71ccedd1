// SPDX-License-Identifier: Apache-2.0
//! Accepts connections and answers requests, within limits.

use std::{collections::VecDeque, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request, http::StatusCode, response::IntoResponse as _};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinError, JoinSet},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{
    connection_state::{ConnectionState, InFlight},
    idle::IdleTimeout,
};

/// What one client may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// For a TLS handshake.
    pub(super) handshake: Duration,
    /// For the head of a request of HTTP/1, from its first byte; for that of the first one, from the moment
    /// at which the connection is up.
    pub(super) head: Duration,
    /// Without a byte in either direction.
    pub(super) idle: Duration,
    /// Size of the head of a request, in bytes.
    pub(super) head_bytes: usize,
    /// Connections at a time. The oldest of the least useful ones makes room for a new one: first those that
    /// never got through their handshake, then those that ask nothing at the moment.
    pub(super) connections: usize,
    /// For the answers under way when the server stops.
    pub(super) drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(32),
            idle: Duration::from_secs(90),
            head_bytes: 64 * 1024,
            connections: 512,
            drain: Duration::from_secs(1),
        }
    }
}

/// A server ended before it was stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// The listener is broken.
    #[error("could not accept connections on {address}")]
    Accept {
        /// Where it listens.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Pause after an error that passes, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound listener with what it answers.
pub(super) struct Server {
    pub(super) listener: TcpListener,
    /// As given by the user.
    pub(super) address: String,
    /// `None`: plain HTTP.
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) router: Router,
    pub(super) limits: Limits,
}

impl Server {
    /// Where it really listens.
    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Serves until `stop`, then closes the listener and lets the answers under way finish.
    pub(super) async fn serve(self, stop: CancellationToken) -> Result<(), ServeError> {
        let mut connections = Connections::default();
        let result = loop {
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                Some(ended) = connections.tasks.join_next() => connections.ended(ended),
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.make_room(self.limits.connections);
                        let state = Arc::new(ConnectionState::default());
                        let connection = self.connection(stream, stop.clone(), Arc::clone(&state));
                        connections.add(connection, state);
                    }
                    Err(error) if passes(&error) => {
                        tracing::debug!(address = self.address, error = %error, "could not accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                    Err(source) => break Err(ServeError::Accept { address: self.address.clone(), source }),
                },
            }
        };
        drop(self.listener);
        let finished = async { while connections.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(self.limits.drain, finished).await.is_err() {
            tracing::debug!(address = self.address, "closed connections that did not finish");
        }
        result
    }

    fn connection(
        &self,
        stream: TcpStream,
        stop: CancellationToken,
        state: Arc<ConnectionState>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (tls, router, limits) = (self.tls.clone(), self.router.clone(), self.limits);
        async move {
            // Small answers: waiting for more to send only delays them. Without it they are late, not lost.
            stream.set_nodelay(true).unwrap_or_default();
            let stream = IdleTimeout::new(stream, limits.idle, limits.head, Arc::clone(&state));
            let Some(tls) = tls else {
                state.established(true);
                return answer(stream, false, router, limits, stop, state).await;
            };
            match tokio::time::timeout(limits.handshake, tls.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    state.established(!http2);
                    answer(stream, http2, router, limits, stop, state).await;
                }
                Ok(Err(error)) => tracing::debug!(error = %error, "tls handshake failed"),
                Err(_) => tracing::debug!("tls handshake timed out"),
            }
        }
    }
}

/// The connections of a server, oldest first.
#[derive(Debug, Default)]
struct Connections {
    tasks: JoinSet<()>,
    handles: VecDeque<(AbortHandle, Arc<ConnectionState>)>,
}

impl Connections {
    fn add(&mut self, connection: impl Future<Output = ()> + Send + 'static, state: Arc<ConnectionState>) {
        self.handles.push_back((self.tasks.spawn(connection), state));
    }

    /// Ends connections until one more fits: slow clients must not keep new ones out, and clients that
    /// cannot even shake hands must not end the others.
    fn make_room(&mut self, limit: usize) {
        while self.handles.len() >= limit.max(1) {
            let ranks = self.handles.iter().map(|(_, state)| state.keep_priority()).enumerate();
            let Some((place, _)) = ranks.min_by_key(|(_, rank)| *rank) else { return };
            if let Some((least, _)) = self.handles.remove(place) {
                least.abort();
            }
        }
    }

    fn ended(&mut self, result: Result<(), JoinError>) {
        self.handles.retain(|(handle, _)| !handle.is_finished());
        if let Err(error) = result
            && error.is_panic()
        {
            tracing::error!(error = %error, "answering a request panicked");
        }
    }
}

/// Answers the requests of one connection. The protocol is settled before: none is guessed from bytes.
async fn answer<S>(
    stream: S,
    http2: bool,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
    state: Arc<ConnectionState>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut builder = if http2 { builder.http2_only() } else { builder.http1_only() };
    // The library's own limit would run while a connection only waits for the next request.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(limits.head_bytes);
    let header_list = u32::try_from(limits.head_bytes).unwrap_or(u32::MAX);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(100).max_header_list_size(header_list);
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, in_flight) = (router.clone(), InFlight::new(&state));
        async move {
            // The buffer of the connection may hold up to twice as much before it refuses a head.
            if head_bytes(&request) > limits.head_bytes {
                return Ok(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response());
            }
            let answer = router.oneshot(request.map(Body::new)).await;
            drop(in_flight);
            answer
        }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(error = %error, "connection ended");
    }
}

/// Length of the head of a request, about as it was sent.
fn head_bytes(request: &Request<Incoming>) -> usize {
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    headers.sum::<usize>() + request.uri().path().len() + request.uri().query().map_or(0, str::len)
}

/// Whether accepting is worth another try: the peer left, or resources are short for the moment.
fn passes(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, OutOfMemory, WouldBlock};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | OutOfMemory | WouldBlock)
        || matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::EPROTO))
}

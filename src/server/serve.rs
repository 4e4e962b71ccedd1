// SPDX-License-Identifier: Apache-2.0
//! Accepts connections and answers requests, within limits.

use std::{collections::VecDeque, io, net::SocketAddr, pin::pin, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinError, JoinSet},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::idle::IdleTimeout;

/// What one client may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// For a TLS handshake.
    pub(super) handshake: Duration,
    /// For the head of a request, from its first byte or from the end of the last answer.
    pub(super) head: Duration,
    /// Without a byte in either direction.
    pub(super) idle: Duration,
    /// Size of the head of a request, in bytes.
    pub(super) head_bytes: usize,
    /// Connections at a time; the oldest makes room for a new one.
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

/// Why a server ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
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
                        connections.add(self.connection(stream, stop.clone()));
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
    ) -> impl Future<Output = ()> + Send + 'static {
        let (tls, router, limits) = (self.tls.clone(), self.router.clone(), self.limits);
        async move {
            // Small answers: waiting for more to send only delays them. Without it they are late, not lost.
            stream.set_nodelay(true).unwrap_or_default();
            let stream = IdleTimeout::new(stream, limits.idle);
            let Some(tls) = tls else { return answer(stream, false, router, limits, stop).await };
            match tokio::time::timeout(limits.handshake, tls.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    answer(stream, http2, router, limits, stop).await;
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
    handles: VecDeque<AbortHandle>,
}

impl Connections {
    fn add(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        self.handles.push_back(self.tasks.spawn(connection));
    }

    /// Ends the oldest connections until one more fits: slow clients must not keep new ones out.
    fn make_room(&mut self, limit: usize) {
        while self.handles.len() >= limit.max(1) {
            if let Some(oldest) = self.handles.pop_front() {
                oldest.abort();
            }
        }
    }

    fn ended(&mut self, result: Result<(), JoinError>) {
        self.handles.retain(|handle| !handle.is_finished());
        if let Err(error) = result
            && error.is_panic()
        {
            tracing::error!(error = %error, "answering a request panicked");
        }
    }
}

/// Answers the requests of one connection. The protocol is settled before: none is guessed from bytes.
async fn answer<S>(stream: S, http2: bool, router: Router, limits: Limits, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut builder = if http2 { builder.http2_only() } else { builder.http1_only() };
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(limits.head_bytes);
    let header_list = u32::try_from(limits.head_bytes).unwrap_or(u32::MAX);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(100).max_header_list_size(header_list);
    let mut connection =
        pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
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

/// Whether accepting is worth another try: the peer left, or resources are short for the moment.
fn passes(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, OutOfMemory, WouldBlock};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | OutOfMemory | WouldBlock)
        || matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::EPROTO))
}

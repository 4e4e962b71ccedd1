// SPDX-License-Identifier: Apache-2.0
//! TCP connections that end with a term.
//!
//! What was written to a socket is out of the process's hands: while the network is cut, the kernel keeps it and
//! delivers it when the network is whole again, also after the socket was closed, and after the process was killed.
//!
//! # Guarantees
//! - Nothing is written to a connection, and none is opened, once the fence is closed.
//! - When the fence closes, the connection is reset: what the kernel has not delivered yet is discarded.
//! - So it is however a connection ends: with its process, too.
//! - Data that nobody acknowledges for the time given to [`FencedTcp::new`] resets it as well. The kernel sees to that by
//!   itself, while the process is frozen.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector},
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower::{BoxError, Service};

use kube_fenced_election::fence::{Fence, NotLeading};

/// Opens connections for the changes of one term.
#[derive(Clone)]
pub struct FencedTcp {
    tcp: HttpConnector,
    fence: Fence,
}

impl FencedTcp {
    /// Connections that `tcp` opens, for as long as this fence is open. One whose data is not acknowledged for
    /// `unacknowledged` is reset.
    pub fn new(mut tcp: HttpConnector, fence: &Fence, unacknowledged: Duration) -> Self {
        tcp.set_tcp_user_timeout(Some(unacknowledged));
        Self { tcp, fence: fence.clone() }
    }
}

impl fmt::Debug for FencedTcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FencedTcp").field(&self.fence).finish()
    }
}

impl Service<Uri> for FencedTcp {
    type Response = FencedStream;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<FencedStream, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let fence = self.fence.clone();
        let connecting = fence.check().map(|_| self.tcp.call(uri));
        async move {
            let io = connecting?.await?;
            // Whoever closes it discards what it holds: the connection's task, or the kernel when the process ends.
            socket2::SockRef::from(io.inner()).set_linger(Some(Duration::ZERO))?;
            let awaited = fence.clone();
            let closed = async move { awaited.closed().await }.boxed();
            Ok(FencedStream { io, fence, closed, over: false })
        }
        .boxed()
    }
}

/// A connection for the changes of one term.
pub struct FencedStream {
    io: TokioIo<TcpStream>,
    fence: Fence,
    /// Resolves when the fence has closed.
    closed: BoxFuture<'static, ()>,
    over: bool,
}

impl fmt::Debug for FencedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FencedStream").field(&self.fence).finish()
    }
}

impl FencedStream {
    #[cfg(test)]
    pub(crate) fn socket(&self) -> &TcpStream {
        self.io.inner()
    }

    /// An error when the fence is closed: whoever drives the connection drops it then, which resets it.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        // Asked by the clock first: after a freeze the timer may be behind. A fence may open again, a connection does not.
        self.over = self.over || self.fence.check().is_err() || self.closed.as_mut().poll(context).is_ready();
        if self.over { Err(io::Error::new(io::ErrorKind::ConnectionAborted, NotLeading)) } else { Ok(()) }
    }
}

impl Read for FencedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl Write for FencedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }
}

impl Connection for FencedStream {
    fn connected(&self) -> Connected {
        self.io.connected()
    }
}

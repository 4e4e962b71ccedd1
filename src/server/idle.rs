// SPDX-License-Identifier: Apache-2.0
//! A stream that ends when nothing has moved on it for a while, or when the head of a request takes too long.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::connection_state::ConnectionState;

/// Fails with [`io::ErrorKind::TimedOut`] when no byte was read or written for the limit: a peer that
/// neither asks nor takes its answer keeps nothing open. The same when a head that has begun is not complete
/// within its own limit: a byte now and then is no sign of life.
#[derive(Debug)]
pub(super) struct IdleTimeout<S> {
    stream: S,
    limit: Duration,
    deadline: Pin<Box<Sleep>>,
    head: HeadTimeout,
}

impl<S> IdleTimeout<S> {
    /// `limit` without a byte, `head` for the head of a request.
    pub(super) fn new(stream: S, limit: Duration, head: Duration, state: Arc<ConnectionState>) -> Self {
        let head = HeadTimeout { limit: head, state, running: None };
        Self { stream, limit, deadline: Box::pin(sleep(limit)), head }
    }

    /// Passes on the result of the stream; the deadline runs while it is pending, and moves otherwise.
    fn watch<T>(&mut self, context: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match poll {
            Poll::Ready(result) => {
                self.deadline.set(sleep(self.limit));
                Poll::Ready(result)
            }
            Poll::Pending => match self.deadline.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for IdleTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(context, buffer);
        let moved = buffer.filled().len() > before;
        if self.head.is_over(context, moved) && poll.is_pending() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.watch(context, poll)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for IdleTimeout<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, buffer);
        self.watch(context, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Flushing without anything to flush is no sign of life: it must not move the deadline.
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watch(context, poll)
    }
}

/// How long the head that is awaited may still take.
#[derive(Debug)]
struct HeadTimeout {
    limit: Duration,
    state: Arc<ConnectionState>,
    /// The head that has begun, and until when it has to be complete.
    running: Option<(usize, Pin<Box<Sleep>>)>,
}

impl HeadTimeout {
    /// Whether the head has not come in time. `moved`: bytes have come just now.
    fn is_over(&mut self, context: &mut Context<'_>, moved: bool) -> bool {
        let Some(awaited) = self.state.awaited_head() else {
            self.running = None;
            return false;
        };
        let begun = self.running.as_ref().is_some_and(|(head, _)| *head == awaited);
        // A client that has connected to ask something does so; afterwards it may wait.
        if !begun && (moved || awaited == 0) {
            self.running = Some((awaited, Box::pin(sleep(self.limit))));
        } else if !begun {
            self.running = None;
        }
        self.running.as_mut().is_some_and(|(_, deadline)| deadline.as_mut().poll(context).is_ready())
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The last thing that a request passes before it is sent: may this client change anything now?
//!
//! Guaranteed for a client of a term: once its fence is closed, no request that changes something is
//! started, one that waits for a connection is dropped, and one whose answer is due is given up. The fence
//! is asked four times: before the request is handed to the HTTP client, each time its future is polled,
//! when the connection's own task takes the body, and when it writes to the socket ([`crate::fenced_tcp`]). So a
//! process that was frozen at any of these points and wakes too late sends nothing; what has arrived before may still
//! be carried out. While the fence waits for a renewal the same holds, and callers are told to try again ([`Interrupted`]).

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tower::{BoxError, Layer, Service};

use kube_fenced_election::{
    clock::Instant,
    fence::{Fence, Interrupted, NotLeading},
};

use super::{
    Refused, request_info,
    transport::{AnswerBody, SentBody},
};

/// A change was asked of a client that only reads: a defect of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this client only reads")]
pub struct ReadOnly;

/// What a client may change.
#[derive(Clone)]
pub(super) enum Gate {
    /// Anything.
    Open,
    /// Nothing.
    ReadOnly,
    /// Anything as long as the term lasts.
    Term { fence: Fence, refused: Refused },
}

type Answering = BoxFuture<'static, Result<Response<AnswerBody>, BoxError>>;

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { inner, gate: self.clone() }
    }
}

#[derive(Clone)]
pub(super) struct Gated<S> {
    inner: S,
    gate: Gate,
}

impl<S, B> Service<Request<B>> for Gated<S>
where
    S: Service<Request<SentBody>, Response = Response<AnswerBody>, Error = BoxError>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Answering;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        match &self.gate {
            Gate::ReadOnly | Gate::Term { .. } if !request_info::is_write(request.method()) => {
                self.inner.call(request).boxed()
            }
            Gate::Open => self.inner.call(request).boxed(),
            Gate::ReadOnly => async { Err(ReadOnly.into()) }.boxed(),
            Gate::Term { fence, refused } => {
                let (fence, refused) = (fence.clone(), Arc::clone(refused));
                let method = request.method().clone();
                let guarded = fence.check().map(|bound| {
                    let fence = fence.clone();
                    let request = request.map(|body| Fenced { body, fence }.boxed_unsync());
                    (bound, self.inner.call(request).boxed())
                });
                async move {
                    let result = match guarded {
                        Ok((bound, sent)) => within(&fence, bound, sent).await,
                        Err(over) => Err(over.into()),
                    };
                    result.map_err(|error| {
                        if !error.is::<NotLeading>() {
                            return error;
                        }
                        refused(&method);
                        if fence.has_ended() { error } else { Interrupted.into() }
                    })
                }
                .boxed()
            }
        }
    }
}

/// Polls `sent` only while the fence is open, and not beyond the end of the right that admitted it.
async fn within(
    fence: &Fence,
    bound: Option<Instant>,
    mut sent: Answering,
) -> Result<Response<AnswerBody>, BoxError> {
    let over = async {
        match bound {
            Some(bound) => fence.reaches(bound).await,
            None => std::future::pending().await,
        }
    };
    let (mut over, mut revoked) = (pin!(over), pin!(fence.closed()));
    std::future::poll_fn(|context| {
        // Asked by the clock, not by the timer alone: after a freeze the timer may be behind.
        if fence.check().is_err()
            || over.as_mut().poll(context).is_ready()
            || revoked.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(NotLeading.into()));
        }
        sent.as_mut()
            .poll(context)
            .map_err(|error| if is_not_leading(&*error) { NotLeading.into() } else { error })
    })
    .await
}

/// The HTTP client wraps what the body said.
fn is_not_leading(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<NotLeading>() || error.source().is_some_and(is_not_leading)
}

/// A request's body that ends in an error once the fence is closed, so that the connection drops a
/// request that it has taken but not written yet.
struct Fenced {
    body: SentBody,
    fence: Fence,
}

impl Body for Fenced {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.fence.check() {
            Ok(_) => Pin::new(&mut self.body).poll_frame(context),
            Err(over) => Poll::Ready(Some(Err(over.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

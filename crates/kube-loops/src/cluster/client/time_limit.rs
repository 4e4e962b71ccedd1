// SPDX-License-Identifier: Apache-2.0
//! No request hangs for ever: an answer and its body must be there within 30 s. A watch has as long for
//! the head of its answer; its body lives as long as it likes.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::Sleep;
use tower::{BoxError, Layer, Service};

use super::{request_info, transport::AnswerBody};

const LIMIT: Duration = Duration::from_secs(30);

/// No answer within the client's bound; the request's effect is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no answer from the API server within {} s", LIMIT.as_secs())]
pub struct RequestTimeout;

#[derive(Debug, Clone, Copy)]
pub(super) struct TimeLimit;

impl<S> Layer<S> for TimeLimit {
    type Service = TimeLimited<S>;

    fn layer(&self, inner: S) -> TimeLimited<S> {
        TimeLimited(inner)
    }
}

#[derive(Debug, Clone)]
pub(super) struct TimeLimited<S>(S);

impl<S, B> Service<Request<B>> for TimeLimited<S>
where
    S: Service<Request<B>, Response = Response<AnswerBody>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let watch = request_info::is_watch(request.uri());
        let sent = self.0.call(request);
        async move {
            let mut over = Box::pin(tokio::time::sleep(LIMIT));
            let answer = tokio::select! {
                answer = sent => answer?,
                () = &mut over => return Err(RequestTimeout.into()),
            };
            Ok(if watch { answer } else { answer.map(|body| InTime { body, over }.boxed_unsync()) })
        }
        .boxed()
    }
}

struct InTime {
    body: AnswerBody,
    over: Pin<Box<Sleep>>,
}

impl Body for InTime {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        self.over.as_mut().poll(context).map(|()| Some(Err(RequestTimeout.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

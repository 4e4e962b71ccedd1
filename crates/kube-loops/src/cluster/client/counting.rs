// SPDX-License-Identifier: Apache-2.0
//! `rest_client_requests_total`: what was really sent, by answer.

use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response};
use tower::{Layer, Service};

use crate::metrics::families::IntCounterVec;

/// Code of a request that got no answer.
const NO_ANSWER: &str = "<error>";

#[derive(Debug, Clone)]
pub(super) struct Counting(IntCounterVec);

impl Counting {
    /// Counts in a family with the labels `code`, `method` and `host`.
    pub(super) fn new(requests: IntCounterVec) -> Self {
        Self(requests)
    }
}

impl<S> Layer<S> for Counting {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, requests: self.0.clone() }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Counted<S> {
    inner: S,
    requests: IntCounterVec,
}

impl<S, B, A> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<A>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let requests = self.requests.clone();
        let method = request.method().clone();
        let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let sent = self.inner.call(request);
        async move {
            let answer = sent.await;
            let code = answer.as_ref().ok().map(Response::status);
            let code = code.as_ref().map_or(NO_ANSWER, |code| code.as_str());
            requests.with_label_values(&[code, method.as_str(), &host]).inc();
            answer
        }
        .boxed()
    }
}

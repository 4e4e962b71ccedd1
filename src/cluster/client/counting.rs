// SPDX-License-Identifier: Apache-2.0
//! Counts requests in `rest_client_requests_total`.

use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Request, Response};
use kube::client::Body;
use tower::{BoxError, Layer, Service};

use crate::telemetry::families::IntCounterVec;

#[derive(Debug, Clone)]
pub(super) struct CountingLayer {
    requests: IntCounterVec,
    host: String,
}

impl CountingLayer {
    pub(super) fn new(requests: IntCounterVec, host: String) -> Self {
        Self { requests, host }
    }
}

impl<S> Layer<S> for CountingLayer {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Counting { inner, layer: self.clone() }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Counting<S> {
    inner: S,
    layer: CountingLayer,
}

impl<S> Service<Request<Body>> for Counting<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = BoxError> + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let CountingLayer { requests, host } = self.layer.clone();
        let method = request.method().as_str().to_owned();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let code =
                answer.as_ref().map_or_else(|_| "<error>".to_owned(), |it| it.status().as_u16().to_string());
            requests.with_label_values(&[code.as_str(), method.as_str(), host.as_str()]).inc();
            answer
        })
    }
}

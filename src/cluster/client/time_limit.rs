// SPDX-License-Identifier: Apache-2.0
//! No request but a watch may take for ever: a server that accepts and never answers would hold a pass.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Request, Response};
use kube::client::Body;
use tower::{BoxError, Layer, Service};

use super::path;

/// Bound of a request with its whole answer; for a watch, of the beginning of its answer.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// The API server did not answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no answer from the API server within {} s", LIMIT.as_secs())]
pub struct Silence;

#[derive(Debug, Clone, Copy)]
pub(super) struct TimeLimitLayer;

impl<S> Layer<S> for TimeLimitLayer {
    type Service = TimeLimited<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TimeLimited { inner }
    }
}

#[derive(Debug, Clone)]
pub(super) struct TimeLimited<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for TimeLimited<S>
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
        let watches = path::watches(request.uri());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let whole = async {
                let (parts, body) = answer.await?.into_parts();
                let body = if watches { body } else { Body::from(body.collect_bytes().await?) };
                Ok(Response::from_parts(parts, body))
            };
            tokio::time::timeout(LIMIT, whole).await.unwrap_or_else(|_| Err(BoxError::from(Silence)))
        })
    }
}

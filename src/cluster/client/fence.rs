// SPDX-License-Identifier: Apache-2.0
//! Refuses to send what changes something when the right to write is over.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{Request, Response};
use kube::client::Body;
use tower::{BoxError, Layer, Service};

use crate::fence::{Fence, NotLeading};

use super::{Refused, path};

#[derive(Clone)]
pub(super) struct FenceLayer {
    /// `None`: closed for ever.
    fence: Option<Fence>,
    refused: Refused,
}

impl FenceLayer {
    /// Sends changes while `fence` is open; `refused` hears of the others.
    pub(super) fn new(fence: Fence, refused: Refused) -> Self {
        Self { fence: Some(fence), refused }
    }

    /// Sends no change, ever.
    pub(super) fn closed() -> Self {
        Self { fence: None, refused: Arc::new(|_| {}) }
    }
}

impl<S> Layer<S> for FenceLayer {
    type Service = Fenced<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Fenced { inner, layer: self.clone() }
    }
}

#[derive(Clone)]
pub(super) struct Fenced<S> {
    inner: S,
    layer: FenceLayer,
}

impl<S> Service<Request<Body>> for Fenced<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if !path::changes(request.method()) {
            return Box::pin(self.inner.call(request));
        }
        let layer = self.layer.clone();
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        Box::pin(async move {
            // Asked when the future is first polled, not when it is made: it may have waited in between.
            let right = layer.fence.as_ref().map_or(Err(NotLeading), Fence::check);
            let bound = match right {
                Ok(bound) => bound,
                Err(over) => {
                    (layer.refused)(request.method());
                    return Err(BoxError::from(over));
                }
            };
            let Some(bound) = bound else { return inner.call(request).await };
            let method = request.method().clone();
            tokio::time::timeout_at(bound, inner.call(request)).await.unwrap_or_else(|_| {
                (layer.refused)(&method);
                Err(BoxError::from(NotLeading))
            })
        })
    }
}

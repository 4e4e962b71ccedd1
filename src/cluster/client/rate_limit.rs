// SPDX-License-Identifier: Apache-2.0
//! A token bucket per kind, as each clientset of a Go manager has one.

use std::{
    num::NonZeroU32,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http::{Request, Response};
use kube::client::Body;
use tower::{BoxError, Layer, Service};

use super::path;

#[derive(Clone)]
pub(super) struct RateLimitLayer(Arc<DefaultKeyedRateLimiter<String>>);

impl RateLimitLayer {
    /// `None`: no limit (a rate that is not positive).
    pub(super) fn new(qps: f32, burst: u32) -> Option<Self> {
        if !qps.is_finite() || qps <= 0.0 {
            return None;
        }
        let period = Duration::try_from_secs_f64(1.0 / f64::from(qps)).ok()?;
        let burst = NonZeroU32::new(burst)?;
        let quota = Quota::with_period(period)?.allow_burst(burst);
        Some(Self(Arc::new(RateLimiter::keyed(quota))))
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimited<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimited { inner, buckets: Arc::clone(&self.0) }
    }
}

#[derive(Clone)]
pub(super) struct RateLimited<S> {
    inner: S,
    buckets: Arc<DefaultKeyedRateLimiter<String>>,
}

impl<S> Service<Request<Body>> for RateLimited<S>
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
        let buckets = Arc::clone(&self.buckets);
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        Box::pin(async move {
            buckets.until_key_ready(&path::kind_of(request.uri())).await;
            inner.call(request).await
        })
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Client-side rate limit: one token bucket per API kind, shared by all limited clients of the process.
//!
//! Leases are exempt on every client: a queue of other writes must not cost leadership. Whoever has to
//! wait for a kind waits in line.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use governor::{
    Quota, RateLimiter,
    clock::Clock as GovernorClock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use http::{Request, Uri};
use lru::LruCache;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tower::{BoxError, Layer, Service};

use kube_fenced_election::clock::SharedClock;

use super::request_info;

/// As [`request_info::resource_of`] names them.
const LEASES: &str = "coordination.k8s.io/v1/leases";
/// What client-go takes 0 for.
const DEFAULT_QPS: f32 = 5.0;
const DEFAULT_BURST: NonZeroU32 = NonZeroU32::new(10).unwrap();
const SLOWEST_SECONDS: f32 = 3600.0;
const LARGEST_BURST: NonZeroU32 = NonZeroU32::new(1_000_000).unwrap();
/// Kinds with a bucket of their own; beyond, the one that was not asked for the longest time begins with a full one.
const BUCKETS: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// Longest name of a kind, in bytes; all longer ones share a bucket.
const LONGEST_KIND: usize = 253;

/// The process's clock in governor's terms.
#[derive(Debug, Clone)]
struct Monotonic(SharedClock);

impl GovernorClock for Monotonic {
    type Instant = std::time::Instant;

    fn now(&self) -> std::time::Instant {
        self.0.instant().into_std()
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, Monotonic, NoOpMiddleware<std::time::Instant>>;

struct Bucket {
    limiter: Limiter,
    /// One waits for the bucket, the others for their turn to do so: first come, first served.
    line: Semaphore,
}

#[derive(Clone)]
pub(super) struct RateLimit(Arc<Shared>);

struct Shared {
    quota: Quota,
    clock: Monotonic,
    /// Some kinds are named by users, as targets of an autoscaler.
    buckets: Mutex<LruCache<String, Arc<Bucket>>>,
}

impl RateLimit {
    /// `None`: no limit.
    pub(super) fn new(qps: f32, burst: u32, clock: SharedClock) -> Option<Self> {
        let qps = if qps == 0.0 || qps.is_nan() { DEFAULT_QPS } else { qps };
        if qps < 0.0 {
            return None;
        }
        // Bounded, because governor's arithmetic overflows beyond some centuries. Infinitely fast: no period.
        let period = Duration::from_secs_f32(qps.recip().min(SLOWEST_SECONDS));
        let burst = NonZeroU32::new(burst).unwrap_or(DEFAULT_BURST).min(LARGEST_BURST);
        let quota = Quota::with_period(period)?.allow_burst(burst);
        let buckets = Mutex::new(LruCache::new(BUCKETS));
        Some(Self(Arc::new(Shared { quota, clock: Monotonic(clock), buckets })))
    }

    /// Resolves when a request to this address may go. Dropping it gives the place in line up.
    async fn wait(&self, uri: &Uri) {
        let kind = request_info::resource_of(uri);
        if kind == LEASES {
            return;
        }
        let bucket = self.bucket(kind);
        // The semaphore is never closed.
        let _turn = bucket.line.acquire().await.ok();
        while let Err(not_until) = bucket.limiter.check() {
            let wait = not_until.wait_time_from(self.0.clock.now());
            // At least a tick of the timer, or rounding could make this spin.
            tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
        }
    }

    fn bucket(&self, kind: String) -> Arc<Bucket> {
        let shared = &self.0;
        let create = || {
            let limiter = Limiter::direct_with_clock(shared.quota, shared.clock.clone());
            Arc::new(Bucket { limiter, line: Semaphore::new(1) })
        };
        let kind = if kind.len() > LONGEST_KIND { String::new() } else { kind };
        Arc::clone(shared.buckets.lock().get_or_insert(kind, create))
    }

    /// Kinds that have a bucket.
    #[cfg(any(test, feature = "testkit"))]
    pub(super) fn buckets(&self) -> usize {
        self.0.buckets.lock().len()
    }
}

impl<S> Layer<S> for RateLimit {
    type Service = RateLimited<S>;

    fn layer(&self, inner: S) -> RateLimited<S> {
        RateLimited { inner, limit: self.clone() }
    }
}

#[derive(Clone)]
pub(super) struct RateLimited<S> {
    inner: S,
    limit: RateLimit,
}

impl<S, B> Service<Request<B>> for RateLimited<S>
where
    S: Service<Request<B>, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that is ready goes with the request, a fresh one stays.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let limit = self.limit.clone();
        async move {
            limit.wait(request.uri()).await;
            inner.call(request).await
        }
        .boxed()
    }
}

/// How many buckets a client keeps that has sent requests to these paths.
#[cfg(any(test, feature = "testkit"))]
pub async fn buckets_after(paths: impl IntoIterator<Item = String>, clock: SharedClock) -> usize {
    let Some(limit) = RateLimit::new(1e6, u32::MAX, clock) else { return 0 };
    for uri in paths.into_iter().filter_map(|path| path.parse().ok()) {
        limit.wait(&uri).await;
    }
    limit.buckets()
}

// SPDX-License-Identifier: Apache-2.0
//! HTTP around the handlers: bodies with a bound on size, time and memory, metrics, 404 for other paths.
//!
//! Whatever comes to one of the paths is answered with 200 and a review; what was wrong stands in there.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::{
        HeaderMap, HeaderValue, StatusCode, Version,
        header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    },
    response::{IntoResponse, Response},
    routing::any,
};
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use kube_fenced_election::clock::SharedClock;

use super::{
    HOOKS, Hook, StoredKind,
    metrics::WebhookMetrics,
    review::{self, MAX_REVIEW_BYTES, Review, Stored},
};

/// Reads the object of this kind, namespace and name.
pub(crate) type ReadStored =
    Arc<dyn Fn(StoredKind, String, String) -> BoxFuture<'static, Stored> + Send + Sync>;

/// Bound of such a read: the API server waits 5 s for an answer.
const STORED_TIMEOUT: Duration = Duration::from_secs(2);

/// What one request may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// For the whole body to arrive. Longer than the API server waits for an answer.
    pub body: Duration,
    /// Bytes of long bodies that are held at a time, all requests together; at least one body of the
    /// greatest length fits.
    pub held_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body: Duration::from_secs(10), held_bytes: 8 * MAX_REVIEW_BYTES }
    }
}

/// A body up to this length is read without asking for room, in bytes: most are far shorter.
const SHORT_BYTES: usize = 64 << 10;
/// Bodies above this length are handled one at a time, in bytes.
const LARGE_BYTES: usize = 1 << 20;
/// A body that is too long is read up to this length, in bytes: a client that is still sending would see a
/// broken connection and not the answer.
const GIVE_UP_BYTES: usize = 2 * MAX_REVIEW_BYTES;

struct Shared {
    metrics: WebhookMetrics,
    clock: SharedClock,
    limits: Limits,
    stored: ReadStored,
    /// Room for long bodies, in KiB.
    room: Semaphore,
    /// For the large one that is being handled.
    large: Semaphore,
    draining: CancellationToken,
}

/// Answers all of [`HOOKS`]. From `draining` on, each answer asks the client to open its next connection
/// elsewhere, so that none is in use when the server closes.
pub(crate) fn router(
    metrics: WebhookMetrics,
    clock: SharedClock,
    limits: Limits,
    stored: ReadStored,
    draining: CancellationToken,
) -> Router {
    let room = Semaphore::new(in_kib(limits.held_bytes.max(MAX_REVIEW_BYTES)));
    routes(&HOOKS, Shared { metrics, clock, limits, stored, room, large: Semaphore::new(1), draining })
}

fn routes(hooks: &[Hook], shared: Shared) -> Router {
    let shared = Arc::new(shared);
    hooks
        .iter()
        .fold(Router::new(), |router, &hook| {
            let shared = Arc::clone(&shared);
            let answer = move |request: Request| {
                let shared = Arc::clone(&shared);
                async move { shared.answer(hook, request).await }
            };
            router.route(hook.path, any(answer))
        })
        .fallback(|| std::future::ready(not_found()))
}

impl Shared {
    async fn answer(&self, hook: Hook, request: Request) -> Response {
        let (start, _in_flight) = (self.clock.instant(), self.metrics.in_flight(hook.path));
        let (head, body) = request.into_parts();
        let answer = match tokio::time::timeout(self.limits.body, self.read(&head.headers, body)).await {
            Ok(Ok(ReadBody { body, .. })) => {
                let large = body.len() > LARGE_BYTES;
                let _turn = if large { self.large.acquire().await.ok() } else { None };
                let content_type = head.headers.get(CONTENT_TYPE).map(HeaderValue::to_str);
                let content_type = content_type.and_then(Result::ok);
                let mut review = Review::parse(content_type, &body);
                if let (Some(kind), Some(request)) = (hook.reads, review.request_mut()) {
                    request.stored = self.read_stored(kind, &request.namespace, &request.name).await;
                }
                review.answer(|request| {
                    let _counted = PanicCounter(&self.metrics);
                    (hook.handler)(request)
                })
            }
            Ok(Err(error)) => {
                review::unread_response(400, &format!("could not read the request body: {error}"))
            }
            Err(_) => {
                let limit = self.limits.body;
                review::unread_response(408, &format!("the request body did not arrive within {limit:?}"))
            }
        };
        let mut answer = ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], Body::from(answer))
            .into_response();
        if self.draining.is_cancelled() && head.version < Version::HTTP_2 {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let took = self.clock.instant().saturating_duration_since(start);
        self.metrics.answered(hook.path, answer.status().as_u16(), took.as_secs_f64());
        answer
    }

    async fn read_stored(&self, kind: StoredKind, namespace: &str, name: &str) -> Stored {
        let read = (self.stored)(kind, namespace.to_owned(), name.to_owned());
        let reason = || format!("no answer of the API server within {STORED_TIMEOUT:?}");
        let read = tokio::time::timeout(STORED_TIMEOUT, read).await;
        read.unwrap_or_else(|_| Stored::Unknown { reason: reason() })
    }

    /// The body, of one that is too long only as much as shows that.
    async fn read(&self, headers: &HeaderMap, body: Body) -> Result<ReadBody<'_>, axum::Error> {
        let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let announced = announced.unwrap_or(MAX_REVIEW_BYTES).min(MAX_REVIEW_BYTES);
        let (mut body, mut read, mut length) = (body, Vec::new(), 0_usize);
        let mut room = None;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            length = length.saturating_add(data.len());
            if length > GIVE_UP_BYTES {
                break;
            }
            if length > SHORT_BYTES && room.is_none() {
                // All at once: bodies that waited for a second piece could wait for each other.
                room = self.room.acquire_many(in_kib(announced).try_into().unwrap_or(u32::MAX)).await.ok();
                read.reserve_exact(announced.saturating_sub(read.len()));
            }
            let rest = (MAX_REVIEW_BYTES + 1).saturating_sub(read.len());
            read.extend_from_slice(data.get(..rest).unwrap_or(&data));
        }
        Ok(ReadBody { body: read.into(), _room: room })
    }
}

/// A body, with the room that it takes.
struct ReadBody<'a> {
    body: Bytes,
    _room: Option<SemaphorePermit<'a>>,
}

#[cfg(test)]
/// The same for other hooks than ours.
pub(super) fn router_of(
    hooks: &[Hook],
    metrics: WebhookMetrics,
    clock: SharedClock,
    stored: ReadStored,
) -> Router {
    let (limits, draining) = (Limits::default(), CancellationToken::new());
    let [room, large] = [Semaphore::new(1), Semaphore::new(1)];
    routes(hooks, Shared { metrics, clock, limits, stored, room, large, draining })
}

fn in_kib(bytes: usize) -> usize {
    bytes.div_ceil(1024)
}

/// Counts a panic that passes by; what catches it is further out.
struct PanicCounter<'a>(&'a WebhookMetrics);

impl Drop for PanicCounter<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.panicked();
        }
    }
}

fn not_found() -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (StatusCode::NOT_FOUND, headers, "404 page not found\n").into_response()
}

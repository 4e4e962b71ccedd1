// SPDX-License-Identifier: Apache-2.0

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use kube::client::Body;
use parking_lot::Mutex;
use tower::{BoxError, Layer as _, Service as _};

use crate::testkit::scripted_api::{Answer, ScriptedApi};
use kube_fenced_election::{
    clock::{Clock, ClockCheck, Instant, SystemClock, Timestamp},
    fence::{Fence, FenceKeeper, Interrupted, NotLeading, Validity},
};

use super::{
    fence::{Gate, ReadOnly},
    server_date::ServerDate,
    transport::{AnswerBody, SentBody},
};

const TERM: Duration = Duration::from_secs(14);
const CHANGES: [(Method, &str); 7] = [
    (Method::POST, "/api/v1/namespaces/ns/pods"),
    (Method::PUT, "/api/v1/namespaces/ns/pods/a"),
    (Method::PUT, "/api/v1/namespaces/ns/pods/a/status"),
    (Method::PATCH, "/apis/apps/v1/namespaces/ns/deployments/a/scale"),
    (Method::POST, "/api/v1/namespaces/ns/pods/a/eviction"),
    (Method::DELETE, "/api/v1/namespaces/ns/pods/a"),
    (Method::DELETE, "/api/v1/namespaces/ns/pods"),
];

/// Methods of the requests that the fence refused.
type Told = Arc<Mutex<Vec<Method>>>;

fn gate(clock: Arc<dyn Clock>, told: &Told) -> (FenceKeeper, Gate) {
    let until = clock.instant() + TERM;
    let (keeper, fence) = Fence::new(clock, until);
    let told = Arc::clone(told);
    let refused = Arc::new(move |method: &Method| told.lock().push(method.clone()));
    (keeper, Gate::Term { fence, refused })
}

fn request(method: &Method, path: &str) -> Request<Body> {
    Request::builder().method(method).uri(path).body(Body::from(b"{}".to_vec())).unwrap()
}

async fn outcome(gate: &Gate, api: &ScriptedApi, method: &Method, path: &str) -> Result<u16, BoxError> {
    let answer = gate.layer(api.clone()).call(request(method, path)).await?;
    Ok(answer.status().as_u16())
}

#[tokio::test(start_paused = true)]
async fn everything_passes_while_the_term_lasts() {
    let told = Told::default();
    let (_keeper, gate) = gate(Arc::new(SystemClock), &told);
    let api = ScriptedApi::echo();
    for (method, path) in CHANGES {
        assert_eq!(outcome(&gate, &api, &method, path).await.unwrap(), 200);
    }
    assert_eq!(api.requests().len(), CHANGES.len());
    assert!(told.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn no_change_is_sent_after_the_term_and_each_is_counted() {
    let told = Told::default();
    let (_keeper, gate) = gate(Arc::new(SystemClock), &told);
    let api = ScriptedApi::echo();
    tokio::time::advance(TERM).await;
    for (method, path) in CHANGES {
        let error = outcome(&gate, &api, &method, path).await.unwrap_err();
        assert!(error.is::<NotLeading>(), "{method} {path}: {error}");
    }
    assert_eq!(api.log(), [""; 0]);
    assert_eq!(*told.lock(), CHANGES.map(|(method, _)| method));
}

#[tokio::test(start_paused = true)]
async fn while_the_clock_is_doubted_changes_are_refused_in_a_way_that_is_tried_again() {
    let start = SystemClock.instant();
    let check = ClockCheck::new(Arc::new(SystemClock), Duration::from_secs(15));
    let granted = Validity { until: start + TERM, sent: start };
    let (keeper, fence) = Fence::checked(Arc::new(SystemClock), granted, &check);
    let gate = Gate::Term { fence, refused: Arc::new(|_| ()) };
    // The first answer is compared with, the second is dated half a minute later.
    let seconds = Arc::new(Mutex::new(0));
    let dated = {
        let seconds = Arc::clone(&seconds);
        tower::service_fn(move |_: Request<SentBody>| {
            let date = format!("Wed, 13 Jan 2027 08:00:{:02} GMT", *seconds.lock());
            std::future::ready(Ok::<_, BoxError>(
                Response::builder().header("date", date).body(AnswerBody::default()).unwrap(),
            ))
        })
    };
    let service = ServerDate(check).layer(dated);
    let change = || gate.layer(service.clone()).call(request(&Method::PUT, "/x"));
    change().await.unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    *seconds.lock() = 30;
    change().await.unwrap();
    let error = change().await.unwrap_err();
    assert!(error.is::<Interrupted>(), "{error}");
    keeper.renew(Validity { until: start + TERM, sent: SystemClock.instant() });
    change().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn reads_pass_after_the_term() {
    let told = Told::default();
    let (keeper, gate) = gate(Arc::new(SystemClock), &told);
    keeper.revoke();
    let api = ScriptedApi::echo();
    for path in ["/api/v1/pods", "/api/v1/pods?watch=true"] {
        assert_eq!(outcome(&gate, &api, &Method::GET, path).await.unwrap(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_answered_is_given_up_at_the_end_of_its_right() {
    let told = Told::default();
    let (keeper, gate) = gate(Arc::new(SystemClock), &told);
    let start = SystemClock.instant();
    // A renewal meanwhile does not give an admitted request more time.
    let renew = async {
        tokio::time::sleep(TERM / 2).await;
        keeper.extend(SystemClock.instant() + 10 * TERM);
    };
    let api = ScriptedApi::in_turn([Answer::Hang]);
    let (result, ()) = tokio::join!(outcome(&gate, &api, &Method::PUT, "/x"), renew);
    assert!(result.unwrap_err().is::<Interrupted>(), "the term goes on");
    assert_eq!(SystemClock.instant() - start, TERM);
    assert_eq!(*told.lock(), [Method::PUT]);
}

#[tokio::test(start_paused = true)]
async fn a_request_on_its_way_is_given_up_when_the_right_is_revoked() {
    let told = Told::default();
    let (keeper, gate) = gate(Arc::new(SystemClock), &told);
    let start = SystemClock.instant();
    let revoke = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        keeper.revoke();
    };
    let api = ScriptedApi::in_turn([Answer::Hang]);
    let (result, ()) = tokio::join!(outcome(&gate, &api, &Method::PUT, "/x"), revoke);
    assert!(result.unwrap_err().is::<NotLeading>());
    assert_eq!(SystemClock.instant() - start, Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waited_for_its_turn_is_not_sent_when_the_term_ended_meanwhile() {
    let told = Told::default();
    let (keeper, gate) = gate(Arc::new(SystemClock), &told);
    let api = ScriptedApi::echo();
    let limit = super::rate_limit::RateLimit::new(0.01, 1, Arc::new(SystemClock)).unwrap();
    let mut service = limit.layer(gate.layer(api.clone()));
    service.call(request(&Method::PUT, "/api/v1/pods")).await.unwrap();
    let waiting = service.call(request(&Method::PUT, "/api/v1/pods"));
    let revoke = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        keeper.revoke();
    };
    let (result, ()) = tokio::join!(waiting, revoke);
    assert!(result.unwrap_err().is::<NotLeading>());
    assert_eq!(api.requests().len(), 1);
}

/// A clock that can jump ahead of the timers, as it does for a process that was frozen.
#[derive(Debug, Default)]
struct Jumping(Mutex<Duration>);

impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn instant(&self) -> Instant {
        SystemClock.instant() + *self.0.lock()
    }
}

/// An HTTP client that waits for a connection, then sends by taking the body.
#[derive(Clone)]
struct SlowClient {
    connect: Duration,
    sent: Arc<Mutex<Vec<Bytes>>>,
}

impl tower::Service<Request<SentBody>> for SlowClient {
    type Response = Response<AnswerBody>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), BoxError>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<SentBody>) -> Self::Future {
        let Self { connect, sent } = self.clone();
        Box::pin(async move {
            tokio::time::sleep(connect).await;
            let body = request.into_body().collect().await?.to_bytes();
            sent.lock().push(body);
            Ok(Response::new(Body::empty().map_err(BoxError::from).boxed_unsync()))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_wakes_after_its_right_ended_sends_nothing() {
    let clock = Arc::new(Jumping::default());
    let (_keeper, gate) = gate(Arc::clone(&clock) as _, &Told::default());
    let client = SlowClient { connect: Duration::from_secs(1), sent: Arc::default() };
    let sending = gate.layer(client.clone()).call(request(&Method::POST, "/x"));
    let freeze = async { *clock.0.lock() = 2 * TERM };
    let (result, ()) = tokio::join!(sending, freeze);
    assert!(result.unwrap_err().is::<NotLeading>());
    assert!(client.sent.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_takes_the_request_too_late_does_not_get_its_body() {
    let clock = Arc::new(Jumping::default());
    let (_keeper, gate) = gate(Arc::clone(&clock) as _, &Told::default());
    let taken: Arc<Mutex<Option<SentBody>>> = Arc::default();
    let slot = Arc::clone(&taken);
    let client = tower::service_fn(move |request: Request<SentBody>| {
        *slot.lock() = Some(request.into_body());
        std::future::pending::<Result<Response<AnswerBody>, BoxError>>()
    });
    let _sending = gate.layer(client).call(request(&Method::POST, "/x"));
    let body = taken.lock().take().unwrap();
    assert_eq!(body.size_hint().exact(), Some(2), "the length is known to the connection");
    *clock.0.lock() = 2 * TERM;
    assert!(body.collect().await.unwrap_err().is::<NotLeading>());
}

#[tokio::test]
async fn a_client_that_only_reads_refuses_every_change() {
    let api = ScriptedApi::echo();
    for (method, path) in CHANGES {
        assert!(outcome(&Gate::ReadOnly, &api, &method, path).await.unwrap_err().is::<ReadOnly>());
    }
    assert_eq!(outcome(&Gate::ReadOnly, &api, &Method::GET, "/x").await.unwrap(), 200);
    assert_eq!(api.log(), ["GET /x"]);
}

#[tokio::test(start_paused = true)]
async fn other_errors_stay_what_they_are() {
    let (_keeper, gate) = gate(Arc::new(SystemClock), &Told::default());
    let error =
        outcome(&gate, &ScriptedApi::in_turn([Answer::Broken]), &Method::PUT, "/x").await.unwrap_err();
    assert!(error.is::<crate::testkit::scripted_api::Broken>());
}

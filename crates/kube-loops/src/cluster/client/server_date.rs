// SPDX-License-Identifier: Apache-2.0
//! The API server's clock, as its answers show it.

use futures::{FutureExt as _, TryFutureExt as _, future::BoxFuture};
use http::{Request, Response, header};
use jiff::fmt::rfc2822::DateTimeParser;
use tower::{Layer, Service};

use kube_fenced_election::clock::{ClockCheck, Timestamp};

/// Shows the `Date` of each answer to a check of the local clock.
#[derive(Debug, Clone)]
pub(super) struct ServerDate(pub(super) ClockCheck);

impl<S> Layer<S> for ServerDate {
    type Service = Dated<S>;

    fn layer(&self, inner: S) -> Dated<S> {
        Dated { inner, check: self.0.clone() }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Dated<S> {
    inner: S,
    check: ClockCheck,
}

impl<S, B, A> Service<Request<B>> for Dated<S>
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
        let (check, sent) = (self.check.clone(), self.check.sent());
        let answer = self.inner.call(request);
        answer
            .inspect_ok(move |answer| {
                if let Some(date) = date(answer) {
                    check.answered(sent, date);
                }
            })
            .boxed()
    }
}

fn date<A>(answer: &Response<A>) -> Option<Timestamp> {
    let date = answer.headers().get(header::DATE)?.to_str().ok()?;
    DateTimeParser::new().parse_timestamp(date).ok()
}

// SPDX-License-Identifier: Apache-2.0

use std::time::Duration;

use http::Request;
use http_body_util::BodyExt as _;
use kube::client::Body;
use tokio::time::Instant;
use tower::{BoxError, Layer as _, Service as _};

use crate::testkit::scripted_api::{Answer, ScriptedApi};
use kube_fenced_election::clock::{Clock as _, SystemClock};

use super::time_limit::{RequestTimeout, TimeLimit};

async fn read(answer: Answer, uri: &str) -> Result<usize, BoxError> {
    let mut service = TimeLimit.layer(ScriptedApi::in_turn([answer]));
    let answer = service.call(Request::get(uri).body(Body::empty())?).await?;
    Ok(answer.into_body().collect().await?.to_bytes().len())
}

fn start() -> Instant {
    SystemClock.instant()
}

#[tokio::test(start_paused = true)]
async fn a_request_without_answer_ends_after_thirty_seconds() {
    let start = start();
    for uri in ["/api/v1/pods", "/api/v1/pods?watch=true"] {
        let error = read(Answer::Hang, uri).await.unwrap_err();
        assert!(error.is::<RequestTimeout>(), "{error}");
    }
    assert_eq!(SystemClock.instant() - start, Duration::from_mins(1));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_ends_after_thirty_seconds() {
    let start = start();
    let error = read(Answer::HangInBody, "/api/v1/pods?limit=500&watch=false").await.unwrap_err();
    assert!(error.is::<RequestTimeout>(), "{error}");
    assert_eq!(SystemClock.instant() - start, Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_watch_may_be_silent_for_hours() {
    for query in ["watch=true", "timeoutSeconds=290&watch=1", "watch="] {
        let uri = format!("/api/v1/pods?{query}");
        let watching = read(Answer::HangInBody, &uri);
        assert!(tokio::time::timeout(Duration::from_hours(2), watching).await.is_err(), "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn answers_pass_unchanged() {
    assert_eq!(read(Answer::ok("abc".into()), "/x").await.unwrap(), 5);
}

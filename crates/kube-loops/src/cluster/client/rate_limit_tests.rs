// SPDX-License-Identifier: Apache-2.0

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use http::Request;
use kube::client::Body;
use parking_lot::Mutex;
use tower::{Layer as _, ServiceExt as _};

use crate::testkit::scripted_api::ScriptedApi;
use kube_fenced_election::clock::{Clock as _, SystemClock};

use super::rate_limit::RateLimit;

fn limit(qps: f32, burst: u32) -> Option<RateLimit> {
    RateLimit::new(qps, burst, Arc::new(SystemClock))
}

/// How long these requests take together.
async fn duration(limit: &RateLimit, paths: &[&str]) -> Duration {
    let service = limit.layer(ScriptedApi::echo());
    let start = SystemClock.instant();
    let send = |path: &&str| service.clone().oneshot(Request::get(*path).body(Body::empty()).unwrap());
    for result in join_all(paths.iter().map(send)).await {
        result.unwrap();
    }
    SystemClock.instant() - start
}

fn is_about(have: Duration, want: Duration) -> bool {
    have >= want && have <= want + Duration::from_millis(20)
}

#[tokio::test(start_paused = true)]
async fn after_the_burst_requests_of_a_kind_go_at_the_rate() {
    let limit = limit(10.0, 3).unwrap();
    let took = duration(&limit, &["/api/v1/pods"; 8]).await;
    assert!(is_about(took, Duration::from_millis(500)), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn kinds_do_not_wait_for_each_other() {
    let limit = limit(1.0, 1).unwrap();
    let took = duration(&limit, &["/api/v1/pods", "/api/v1/services", "/apis/apps/v1/deployments"]).await;
    assert!(is_about(took, Duration::ZERO), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn leases_never_wait() {
    let limit = limit(0.1, 1).unwrap();
    let path = "/apis/coordination.k8s.io/v1/namespaces/ns/leases/x";
    let took = duration(&limit, &[path; 50]).await;
    assert!(is_about(took, Duration::ZERO), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn zero_means_five_per_second_and_ten_at_once() {
    let limit = limit(0.0, 0).unwrap();
    let took = duration(&limit, &["/api/v1/pods"; 15]).await;
    assert!(is_about(took, Duration::from_secs(1)), "{took:?}");
}

#[test]
fn negative_and_infinite_rates_are_no_limit() {
    assert!(limit(-1.0, 1).is_none());
    assert!(limit(f32::INFINITY, 1).is_none());
}

#[tokio::test(start_paused = true)]
async fn absurd_settings_do_not_overflow() {
    for (qps, burst) in [(f32::MIN_POSITIVE, u32::MAX), (f32::NAN, 0), (f32::MAX, u32::MAX), (1e-9, 1)] {
        if let Some(limit) = limit(qps, burst) {
            assert!(is_about(duration(&limit, &["/api/v1/pods"]).await, Duration::ZERO), "{qps} {burst}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_first_goes_first_and_who_leaves_makes_room() {
    let limit = limit(1.0, 1).unwrap();
    let service = limit.layer(ScriptedApi::echo());
    let order = Mutex::new(Vec::new());
    let send = |number: usize| {
        let sent = service.clone().oneshot(Request::get("/api/v1/pods").body(Body::empty()).unwrap());
        let order = &order;
        async move {
            // The third gives up while it waits.
            let patience = Duration::from_millis(if number == 2 { 1500 } else { 60_000 });
            if tokio::time::timeout(patience, sent).await.is_ok() {
                order.lock().push(number);
            }
        }
    };
    let start = SystemClock.instant();
    join_all((0..5).map(send)).await;
    assert_eq!(*order.lock(), [0, 1, 3, 4]);
    let took = SystemClock.instant() - start;
    assert!(is_about(took, Duration::from_secs(3)), "{took:?}");
}

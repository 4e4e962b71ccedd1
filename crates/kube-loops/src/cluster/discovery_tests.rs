// SPDX-License-Identifier: Apache-2.0
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::{Request, Response, StatusCode};
use kube::client::Body;
use serde_json::json;

use kube_fenced_election::clock::SystemClock;

use super::discovery::{Discovery, DiscoveryError};

/// An API server with one group of two versions.
fn discovery() -> (Discovery, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let service = tower::service_fn(move |request: Request<Body>| {
        count.fetch_add(1, Ordering::SeqCst);
        let list = |version: &str, plural: &str| {
            json!({"kind": "APIResourceList", "groupVersion": format!("a.io/{version}"), "resources": [
                {"name": plural, "kind": "Thing", "namespaced": true, "singularName": "", "verbs": []},
                {"name": format!("{plural}/status"), "kind": "Thing", "namespaced": true, "singularName": "",
                 "verbs": []},
                {"name": format!("{plural}/scale"), "kind": "Scale", "namespaced": true, "singularName": "",
                 "verbs": []},
            ]})
        };
        let (code, body) = match request.uri().path() {
            "/apis/a.io" => (
                200,
                json!({"kind": "APIGroup", "name": "a.io", "versions": [
                {"groupVersion": "a.io/v2", "version": "v2"}, {"groupVersion": "a.io/v1", "version": "v1"},
            ], "preferredVersion": {"groupVersion": "a.io/v1", "version": "v1"}}),
            ),
            "/apis/a.io/v1" => (200, list("v1", "things")),
            "/apis/a.io/v2" => (200, list("v2", "things")),
            "/apis/broken.io/v1" => (500, json!({"kind": "Status", "status": "Failure", "code": 500})),
            _ => (404, json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound"})),
        };
        let status = StatusCode::from_u16(code).expect("a code");
        let answer = Response::builder().status(status).body(Body::from(body.to_string().into_bytes()));
        async move { Ok::<_, kube::Error>(answer.expect("a response")) }
    });
    (Discovery::new(kube::Client::new(service, "default"), Arc::new(SystemClock)), asked)
}

#[tokio::test]
async fn a_served_kind_is_told_from_one_that_is_not_and_from_trouble() {
    let (discovery, _) = discovery();
    assert!(discovery.is_served("a.io", "v1", "things").await.expect("an answer"));
    assert!(!discovery.is_served("a.io", "v1", "others").await.expect("an answer"));
    assert!(!discovery.is_served("b.io", "v1", "things").await.expect("an answer"));
    let trouble = discovery.is_served("broken.io", "v1", "things").await;
    assert!(matches!(trouble, Err(DiscoveryError::Ask { .. })), "{trouble:?}");
}

#[tokio::test]
async fn mappings_of_a_kind_begin_with_the_preferred_version_and_leave_subresources_out() {
    let (discovery, _) = discovery();
    let found = discovery.mappings("a.io", "Thing").await.expect("an answer");
    let versions: Vec<_> = found.iter().map(|it| it.resource.api_version.as_str()).collect();
    assert_eq!(versions, ["a.io/v1", "a.io/v2"]);
    assert!(found.iter().all(|it| it.namespaced && it.scale && it.resource.plural == "things"));
}

#[tokio::test(start_paused = true)]
async fn what_is_known_is_not_asked_again_for_a_while() {
    let (discovery, asked) = discovery();
    discovery.mappings("a.io", "Thing").await.expect("an answer");
    let first = asked.load(Ordering::SeqCst);
    discovery.mappings("a.io", "Thing").await.expect("an answer");
    assert_eq!(asked.load(Ordering::SeqCst), first);
    tokio::time::advance(std::time::Duration::from_secs(301)).await;
    discovery.mappings("a.io", "Thing").await.expect("an answer");
    assert_eq!(asked.load(Ordering::SeqCst), 2 * first);
}

#[tokio::test(start_paused = true)]
async fn a_missing_kind_is_asked_for_again_after_ten_seconds() {
    let (discovery, asked) = discovery();
    assert!(discovery.mappings("b.io", "Thing").await.expect("an answer").is_empty());
    let first = asked.load(Ordering::SeqCst);
    tokio::time::advance(std::time::Duration::from_secs(11)).await;
    discovery.mappings("b.io", "Thing").await.expect("an answer");
    assert!(asked.load(Ordering::SeqCst) > first);
}

#[tokio::test]
async fn ten_thousand_kinds_that_users_name_are_not_all_remembered() {
    let (discovery, asked) = discovery();
    for number in 0..10_000 {
        assert_eq!(discovery.mappings("a.io", &format!("Kind{number}")).await.unwrap(), []);
    }
    assert_eq!(discovery.remembered(), 4096);
    // What no API server can have is neither asked for nor remembered.
    asked.store(0, Ordering::SeqCst);
    let long = "K".repeat(64);
    for (group, kind) in
        [("a.io", long.as_str()), ("a.io", "Thing/../x"), ("a.io", ""), ("A_B", "Thing"), ("", "é")]
    {
        assert_eq!(discovery.mappings(group, kind).await.unwrap(), [], "{group}/{kind}");
    }
    assert_eq!((asked.load(Ordering::SeqCst), discovery.remembered()), (0, 4096));
}

// SPDX-License-Identifier: Apache-2.0
use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::{StatusCode, Version},
    response::Response,
};
use futures::{FutureExt as _, stream};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{
    HOOKS, Hook, Limits, ReadStored,
    metrics::WebhookMetrics,
    review::{MAX_REVIEW_BYTES, Stored},
    router,
    router::router_of,
    storm_service::{SCALE_PATH, STORED},
};
use kube_fenced_election::clock::SystemClock;
use kube_loops::metrics::Metrics;

const PATH: &str = "/validate-apps-v1-deployment";

struct Scene {
    metrics: Metrics,
    leaving: CancellationToken,
    router: Router,
}

fn scene(limits: Limits) -> Scene {
    let (metrics, leaving) = (Metrics::new(), CancellationToken::new());
    let families = WebhookMetrics::register(&metrics).unwrap();
    let router = router(families, Arc::new(SystemClock), limits, nothing_stored(), leaving.clone());
    Scene { metrics, leaving, router }
}

fn nothing_stored() -> ReadStored {
    Arc::new(|_, _, _| std::future::ready(Stored::NotFound).boxed())
}

impl Scene {
    async fn send(&self, request: Request) -> Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// Code and message of the status in the review that answers.
    async fn failure(&self, request: Request) -> (i64, String) {
        let answer = self.send(request).await;
        assert_eq!(answer.status(), StatusCode::OK, "whatever is wrong stands in the review");
        assert_eq!(answer.headers()["content-type"], "application/json");
        let review = body_of(answer).await;
        assert_eq!(
            (&review["kind"], &review["response"]["allowed"]),
            (&json!("AdmissionReview"), &json!(false))
        );
        let status = &review["response"]["status"];
        (status["code"].as_i64().unwrap(), status["message"].as_str().unwrap().to_owned())
    }

    fn metric(&self, series: &str) -> Option<f64> {
        let text = self.metrics.render();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        value.parse().ok()
    }
}

async fn body_of(answer: Response) -> Value {
    serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

fn post(path: &str, body: impl Into<Body>) -> Request {
    let request = Request::post(path).header("content-type", "application/json");
    request.body(body.into()).unwrap()
}

fn review(group: &str, version: &str, kind: &str) -> String {
    let kind = json!({"group": group, "version": version, "kind": kind});
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {"uid": "u-1", "operation": "CREATE", "kind": kind, "object": {"metadata": {"name": "x"}}},
    })
    .to_string()
}

fn deployment() -> String {
    review("apps", "v1", "Deployment")
}

#[tokio::test]
async fn all_paths_answer_and_no_other() {
    let scene = scene(Limits::default());
    let paths = [
        "/mutate-apps-v1-deployment",
        "/validate-apps-v1-deployment",
        "/mutate-orchestration-aibrix-ai-v1alpha1-kvcache",
        "/validate-orchestration-aibrix-ai-v1alpha1-kvcache",
        "/mutate-model-aibrix-ai-v1alpha1-modeladapter",
        "/validate-model-aibrix-ai-v1alpha1-modeladapter",
        "/mutate-autoscaling-aibrix-ai-v1alpha1-podautoscaler",
        "/validate-autoscaling-aibrix-ai-v1alpha1-podautoscaler",
        "/mutate-orchestration-aibrix-ai-v1alpha1-stormservice",
        "/validate-orchestration-aibrix-ai-v1alpha1-stormservice",
        "/validate-orchestration-aibrix-ai-v1alpha1-stormservice-scale",
    ];
    assert_eq!(HOOKS.len(), paths.len());
    for path in paths {
        let review = review("example.com", "v1", "Strange");
        let answer = body_of(scene.send(post(path, review)).await).await;
        assert_eq!(answer["response"]["uid"], "u-1", "{path}");
        let hook = HOOKS.iter().find(|hook| hook.path == path).expect("a hook");
        assert_eq!(hook.mutating, path.starts_with("/mutate"));
    }
    for path in ["/", "/mutate", "/metrics", "/mutate-apps-v1-deployment/"] {
        let answer = scene.send(post(path, "{}")).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "404 page not found\n");
    }
}

#[tokio::test]
async fn reviews_of_other_kinds_and_versions_are_refused_with_400() {
    let scene = scene(Limits::default());
    let path = "/validate-orchestration-aibrix-ai-v1alpha1-kvcache";
    for (group, version, kind) in [
        ("apps", "v1", "Deployment"),
        ("orchestration.aibrix.ai", "v1", "KVCache"),
        ("orchestration.aibrix.ai", "v1alpha1", "StormService"),
    ] {
        assert_eq!(scene.failure(post(path, review(group, version, kind))).await.0, 400, "{kind}");
    }
}

#[tokio::test]
async fn bodies_that_are_no_review_are_told_what_is_wrong_with_them() {
    let scene = scene(Limits::default());
    for body in
        ["", "{", "[]", "null", "\u{0}", "{\"request\": 1}", "{\"kind\": \"Pod\", \"apiVersion\": \"v1\"}"]
    {
        assert_eq!(scene.failure(post(PATH, body)).await.0, 400, "{body:?}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(scene.failure(post(PATH, deep)).await.0, 400, "too deep to be read");
    let get = Request::get(PATH).body(Body::empty()).unwrap();
    assert_eq!(scene.failure(get).await, (400, "request body is empty".to_owned()));
    for given in ["text/plain", "application/yaml", "", "application/jsonx"] {
        let request = Request::post(PATH).header("content-type", given).body(deployment().into()).unwrap();
        let (code, message) = scene.failure(request).await;
        assert_eq!((code, message), (400, format!("contentType={given}, expected application/json")));
    }
}

/// A body of `bytes` bytes in pieces of 64 KiB, whose length is not announced.
fn pieces(bytes: usize) -> Body {
    let piece = Bytes::from(vec![b' '; 64 << 10]);
    let (whole, rest) = (bytes / piece.len(), bytes % piece.len());
    let pieces = std::iter::repeat_n(piece.clone(), whole).chain([piece.slice(..rest)]);
    Body::from_stream(stream::iter(pieces.map(Ok::<_, Infallible>)))
}

#[tokio::test]
async fn body_of_more_than_7_mib_is_answered_with_413() {
    let scene = scene(Limits::default());
    assert_eq!(scene.failure(post(PATH, vec![b' '; MAX_REVIEW_BYTES + 1])).await.0, 413);
    assert_eq!(scene.failure(post(PATH, pieces(MAX_REVIEW_BYTES + 1))).await.0, 413);
    let endless = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[b' '; 4096])));
    assert_eq!(
        scene.failure(post(PATH, Body::from_stream(endless))).await.0,
        413,
        "and it is not read for ever"
    );
    let mut greatest = deployment();
    greatest.push_str(&" ".repeat(MAX_REVIEW_BYTES - greatest.len()));
    let answer = body_of(scene.send(post(PATH, greatest)).await).await;
    assert_eq!(answer["response"]["allowed"], true);
}

#[tokio::test(start_paused = true)]
async fn body_that_never_ends_is_answered_after_a_while() {
    let scene = scene(Limits::default());
    let answer = tokio::time::timeout(Duration::from_secs(11), scene.failure(post(PATH, silent()))).await;
    let (code, message) = answer.expect("an answer after the limit");
    assert_eq!((code, message.as_str()), (408, "the request body did not arrive within 10s"));
    assert_eq!(scene.metric(&in_flight()), Some(0.0));
}

/// A body that begins and never goes on.
fn silent() -> Body {
    use futures::StreamExt as _;
    let begin = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"{"))]);
    Body::from_stream(begin.chain(stream::pending()))
}

fn in_flight() -> String {
    format!("controller_runtime_webhook_requests_in_flight{{webhook=\"{PATH}\"}}")
}

#[tokio::test(start_paused = true)]
async fn long_bodies_share_their_room_and_short_ones_need_none() {
    use futures::StreamExt as _;
    let scene = scene(Limits { held_bytes: MAX_REVIEW_BYTES, ..Limits::default() });
    // Takes all the room and keeps it.
    let long = stream::iter([Ok::<_, Infallible>(Bytes::from(vec![b' '; 1 << 20]))]).chain(stream::pending());
    let holder = scene.send(post(PATH, Body::from_stream(long)));
    let meanwhile = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(body_of(scene.send(post(PATH, deployment())).await).await["response"]["allowed"], true);
        let mut long = deployment();
        long.push_str(&" ".repeat(1 << 20));
        let mut second = std::pin::pin!(scene.send(post(PATH, long)));
        tokio::time::timeout(Duration::from_secs(8), &mut second).await.expect_err("it waits for room");
        assert_eq!(body_of(second.await).await["response"]["allowed"], true);
    };
    tokio::join!(holder, meanwhile);
}

#[tokio::test]
async fn connection_is_given_up_politely_from_the_stop_on() {
    let scene = scene(Limits::default());
    let answer = scene.send(post(PATH, deployment())).await;
    assert_eq!(answer.headers().get("connection"), None);
    scene.leaving.cancel();
    let answer = scene.send(post(PATH, deployment())).await;
    assert_eq!(answer.headers()["connection"], "close");
    assert_eq!(body_of(answer).await["response"]["allowed"], true, "and it still answers");
    let mut newer = post(PATH, deployment());
    *newer.version_mut() = Version::HTTP_2;
    assert_eq!(scene.send(newer).await.headers().get("connection"), None, "HTTP/2 has no such header");
}

#[tokio::test]
async fn handler_that_panics_is_counted_and_answered_with_500() {
    let metrics = Metrics::new();
    let families = WebhookMetrics::register(&metrics).unwrap();
    let hook = Hook { path: PATH, mutating: false, reads: None, handler: |_| panic!("on purpose") };
    let (router, leaving) =
        (router_of(&[hook], families, Arc::new(SystemClock), nothing_stored()), CancellationToken::new());
    let scene = Scene { metrics, leaving, router };
    let failure = scene.failure(post(PATH, deployment())).await;
    assert_eq!(failure, (500, "panic: on purpose [recovered]".to_owned()));
    assert_eq!(scene.metric("controller_runtime_webhook_panics_total"), Some(1.0));
    assert_eq!(scene.metric(&in_flight()), Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn what_a_scale_is_of_is_read_and_the_wait_for_it_is_bounded() {
    let scale = |replicas: u32| {
        json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "u-1", "name": "web", "namespace": "ns", "operation": "UPDATE",
                "kind": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
                "object": {"spec": {"replicas": replicas}},
            },
        })
    };
    let scene = |stored: ReadStored| {
        let (metrics, leaving) = (Metrics::new(), CancellationToken::new());
        let families = WebhookMetrics::register(&metrics).unwrap();
        let router = router(families, Arc::new(SystemClock), Limits::default(), stored, leaving.clone());
        Scene { metrics, leaving, router }
    };
    let pooled: ReadStored = Arc::new(|kind, namespace, name| {
        assert_eq!((kind, &*namespace, &*name), (STORED, "ns", "web"));
        std::future::ready(Stored::Found(json!({"spec": {"mode": "Pooled", "replicas": 1}}))).boxed()
    });
    let asked = scene(pooled);
    for (replicas, allowed) in [(0, true), (1, true), (2, false)] {
        let answer = body_of(asked.send(post(SCALE_PATH, scale(replicas).to_string())).await).await;
        assert_eq!(answer["response"]["allowed"], allowed, "{answer}");
    }
    let hangs = scene(Arc::new(|_, _, _| std::future::pending().boxed()));
    let answer = body_of(hangs.send(post(SCALE_PATH, scale(2).to_string())).await).await;
    let response = &answer["response"];
    assert_eq!(response["allowed"], true);
    assert!(response["warnings"][0].as_str().unwrap().contains("no answer of the API server"), "{response}");
}

#[tokio::test]
async fn requests_are_counted_under_the_names_that_dashboards_know() {
    let scene = scene(Limits::default());
    let requests = |code: u16| {
        format!("controller_runtime_webhook_requests_total{{code=\"{code}\",webhook=\"{PATH}\"}}")
    };
    let count = format!("controller_runtime_webhook_latency_seconds_count{{webhook=\"{PATH}\"}}");
    for series in [&requests(200), &requests(500), &count, &in_flight()] {
        assert_eq!(scene.metric(series), Some(0.0), "{series} starts at zero");
    }
    assert_eq!(scene.metric("controller_runtime_webhook_panics_total"), Some(0.0));
    scene.send(post(PATH, deployment())).await;
    scene.send(post(PATH, "rubbish")).await;
    assert_eq!((scene.metric(&requests(200)), scene.metric(&count)), (Some(2.0), Some(2.0)));
    let text = scene.metrics.render();
    for bound in ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"] {
        let bucket = "controller_runtime_webhook_latency_seconds_bucket";
        // How long it took is the machine's business, in all buckets but the last.
        let value = if bound == "+Inf" { "2\n" } else { "" };
        let series = format!("{bucket}{{webhook=\"{PATH}\",le=\"{bound}\"}} {value}");
        assert!(text.contains(&series), "{series}\n{text}");
    }
}

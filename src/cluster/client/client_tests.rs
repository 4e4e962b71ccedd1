// SPDX-License-Identifier: Apache-2.0
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Method, Request, Response};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, client::Body};
use parking_lot::Mutex;
use prometheus::{IntCounterVec, Opts};
use serde_json::json;
use tower::ServiceBuilder;

use crate::{
    clock::{Clock, SharedClock, SystemClock},
    cluster::{
        error::WriteError,
        writer::{Target, Writer},
    },
    fence::Fence,
};

use super::{
    Base, counting::CountingLayer, counting_client, fence::FenceLayer, rate_limit::RateLimitLayer,
    time_limit::TimeLimitLayer, user_agent::UserAgentLayer,
};

type Seen = Arc<Mutex<Vec<(Method, String)>>>;

/// An API server that answers every request after `delay`, and records method and user agent.
fn server(delay: Duration) -> (Base, Seen) {
    let seen = Seen::default();
    let record = Arc::clone(&seen);
    let service = tower::service_fn(move |request: Request<Body>| {
        let agent = request.headers().get("user-agent").and_then(|it| it.to_str().ok()).unwrap_or_default();
        record.lock().push((request.method().clone(), agent.to_owned()));
        async move {
            tokio::time::sleep(delay).await;
            let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}});
            Ok::<_, kube::Error>(Response::new(Body::from(body.to_string().into_bytes())))
        }
    });
    (Base(Client::new(service, "default")), seen)
}

fn clock() -> SharedClock {
    Arc::new(SystemClock)
}

fn target() -> Target {
    let resource = kube::core::ApiResource::erase::<ConfigMap>(&());
    Target { resource, namespace: Some("prod".into()), name: "x".into() }
}

fn fenced(base: Base, fence: &Fence) -> (Client, Arc<AtomicUsize>) {
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let told = Arc::new(move |_: &Method| {
        count.fetch_add(1, Ordering::SeqCst);
    });
    let layers = ServiceBuilder::new().layer(FenceLayer::new(fence.clone(), told)).layer(TimeLimitLayer);
    (Client::new(layers.service(base), "default"), refused)
}

#[tokio::test(start_paused = true)]
async fn an_open_fence_lets_changes_pass_and_a_closed_one_none_while_reads_go_on() {
    let (base, seen) = server(Duration::ZERO);
    let (keeper, fence) = Fence::new(clock(), SystemClock.instant() + Duration::from_secs(10));
    let (client, refused) = fenced(base, &fence);
    let writer = Writer::new(client.clone());
    writer.merge_patch(&target(), &json!({"data": {}}), None).await.expect("the fence is open");
    keeper.revoke();
    let over = writer.merge_patch(&target(), &json!({"data": {}}), None).await;
    assert!(matches!(over, Err(WriteError::NotLeading(_))), "{over:?}");
    let over = writer.delete(&target(), "u1").await;
    assert!(matches!(over, Err(WriteError::NotLeading(_))), "{over:?}");
    let maps: Api<ConfigMap> = Api::namespaced(client, "prod");
    maps.get("x").await.expect("reads pass");
    let methods: Vec<_> = seen.lock().iter().map(|(method, _)| method.clone()).collect();
    assert_eq!(methods, [Method::PATCH, Method::GET]);
    assert_eq!(refused.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn an_admitted_change_is_given_up_when_the_right_ends() {
    let (base, _) = server(Duration::from_secs(20));
    let start = SystemClock.instant();
    let (_keeper, fence) = Fence::new(clock(), start + Duration::from_secs(3));
    let (client, _) = fenced(base, &fence);
    let over = Writer::new(client).merge_patch(&target(), &json!({}), None).await;
    assert!(matches!(over, Err(WriteError::NotLeading(_))), "{over:?}");
    assert_eq!(SystemClock.instant() - start, Duration::from_secs(3));
}

#[tokio::test]
async fn a_change_that_waited_for_the_rate_limit_is_refused_when_the_fence_closed_meanwhile() {
    let (base, seen) = server(Duration::ZERO);
    let (keeper, fence) = Fence::new(clock(), SystemClock.instant() + Duration::from_secs(60));
    let rate = RateLimitLayer::new(5.0, 1).expect("a limit");
    let fence = FenceLayer::new(fence, Arc::new(|_: &Method| {}));
    let service = ServiceBuilder::new().layer(rate).layer(fence).service(base);
    let writer = Writer::new(Client::new(service, "default"));
    writer.merge_patch(&target(), &json!({}), None).await.expect("the first finds a token");
    let waiting = async { writer.merge_patch(&target(), &json!({}), None).await };
    let closing = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        keeper.revoke();
    };
    let (over, ()) = tokio::join!(waiting, closing);
    assert!(matches!(over, Err(WriteError::NotLeading(_))), "{over:?}");
    assert_eq!(seen.lock().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up_after_thirty_seconds() {
    let (base, _) = server(Duration::from_secs(3600));
    let client = Client::new(ServiceBuilder::new().layer(TimeLimitLayer).service(base), "default");
    let start = SystemClock.instant();
    let silent = Writer::new(client).merge_patch(&target(), &json!({}), None).await;
    assert!(silent.as_ref().is_err_and(WriteError::is_silence), "{silent:?}");
    assert_eq!(SystemClock.instant() - start, Duration::from_secs(30));
}

#[tokio::test]
async fn the_user_agent_names_controller_and_identity() {
    let (base, seen) = server(Duration::ZERO);
    let layer = UserAgentLayer::new("v1.2.3", "kv-cache-controller", "pod-0_abc");
    let client = Client::new(ServiceBuilder::new().layer(layer).service(base), "default");
    let maps: Api<ConfigMap> = Api::namespaced(client, "prod");
    maps.get("x").await.expect("an answer");
    let agent = seen.lock()[0].1.clone();
    assert!(agent.starts_with("aibrix-controller-manager/v1.2.3 (linux/"), "{agent}");
    assert!(agent.ends_with(") kv-cache-controller/pod-0_abc"), "{agent}");
}

#[tokio::test]
async fn a_reader_changes_nothing() {
    let (base, seen) = server(Duration::ZERO);
    let client = Client::new(ServiceBuilder::new().layer(FenceLayer::closed()).service(base), "default");
    let over = Writer::new(client).delete(&target(), "u1").await;
    assert!(matches!(over, Err(WriteError::NotLeading(_))), "{over:?}");
    assert!(seen.lock().is_empty());
}

#[tokio::test]
async fn requests_are_counted_with_code_method_and_host() {
    let (base, _) = server(Duration::ZERO);
    let opts = Opts::new("rest_client_requests_total", "help");
    let requests = IntCounterVec::new(opts, &["code", "method", "host"]).expect("a family");
    let layer = CountingLayer::new(requests.clone(), "api:6443".into());
    let maps: Api<ConfigMap> = Api::namespaced(counting_client(base.0, &layer), "prod");
    maps.get("x").await.expect("an answer");
    assert_eq!(requests.with_label_values(&["200", "GET", "api:6443"]).get(), 1);
}

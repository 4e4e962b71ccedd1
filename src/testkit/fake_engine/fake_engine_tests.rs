// SPDX-License-Identifier: Apache-2.0

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::engine::{
    exposition::{Combine, Scanner},
    http::{EngineClient, Limits, Scheme, Target},
};

use super::{Engine, FakeEngine, Load, Page, render::optimizer};

fn pod(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))
}

#[tokio::test]
async fn one_port_answers_for_many_pods_and_counts_each() {
    let engine = FakeEngine::start(SocketAddr::from(([0, 0, 0, 0], 0))).await.unwrap();
    engine.pods.set(None, "metrics", Page::ok("m 1\n"));
    engine.pods.set(Some(pod(3)), "metrics", Page::ok("m 3\n"));
    let client = EngineClient::new(Limits::default(), "test").unwrap();
    for (last, value) in [(2, 1.0), (3, 3.0)] {
        let target = Target::pod(Scheme::Http, pod(last), &engine.port(), "metrics").unwrap();
        let families = client.scrape(&target, ["m"]).await.unwrap();
        assert_eq!(families.number(&"m".into(), Combine::Count), Ok(value));
        assert_eq!(engine.pods.count(pod(last), "/metrics"), 1);
    }
}

#[tokio::test]
async fn settings_and_counts_go_over_http() {
    let engine = FakeEngine::start(SocketAddr::from((pod(1), 0))).await.unwrap();
    let address = engine.address();
    let client = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(no_tls()).build().unwrap();
    let url = |path: &str| format!("http://{address}{path}");
    let put = |path: &str, body: &'static str| client.put(url(path)).body(body).send();
    for (path, body) in [
        ("/__fake/pods/127.0.0.1/load", r#"{"engine":"trtllm","values":{"kv_cache_usage_perc":0.5}}"#),
        ("/__fake/pods/*/page", r#"{"path":"/x","status":503,"body":"no","delayMs":1}"#),
        ("/__fake/pods/127.0.0.1/optimizer", r#"{"path":"/o","model":"m","replicas":4}"#),
    ] {
        assert_eq!(put(path, body).await.unwrap().status(), 200, "{path}");
    }
    assert_eq!(put("/__fake/pods/nobody/load", "{}").await.unwrap().status(), 400);
    let page = client.get(url("/prometheus/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(
        page.contains("trtllm_kv_cache_utilization{model_name=\"fake-model\",engine_type=\"trtllm\"} 0.5")
    );
    assert_eq!(client.get(url("/x")).send().await.unwrap().status(), 503);
    let counts = client.get(url("/__fake/counts")).send().await.unwrap().text().await.unwrap();
    assert_eq!(counts, r#"{"127.0.0.1":{"/prometheus/metrics":1,"/x":1}}"#);
}

fn no_tls() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

#[test]
fn pages_are_what_the_engines_print() {
    for (text, family, value) in [
        (Load::of(Engine::Vllm).with("num_requests_running", 2.0).render(), "vllm:num_requests_running", 2.0),
        (Load::of(Engine::Xllm).with("engine_utilization", 0.5).render(), "engine_utilization", 0.5),
        (optimizer("m", 4.0), "vllm:deployment_replicas", 4.0),
    ] {
        let mut scanner = Scanner::new([family]);
        scanner.feed(text.as_bytes()).unwrap();
        assert_eq!(scanner.finish().sum(family), Ok(value));
    }
}

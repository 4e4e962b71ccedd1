// SPDX-License-Identifier: Apache-2.0

use std::net::{Ipv4Addr, SocketAddr};

use http::StatusCode;
use serde_json::Value;

use crate::engine::tls::any_certificate;

use super::metrics_api::{MetricsApi, PodUsage};

async fn get(api: &MetricsApi, path: &str) -> (u16, Value) {
    let tls = any_certificate().unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(tls).build().unwrap();
    let answer = client.get(format!("https://{}/{path}", api.address())).send().await.unwrap();
    (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
}

async fn api() -> MetricsApi {
    MetricsApi::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), true).await.unwrap()
}

#[tokio::test]
async fn discovery_names_groups_and_versions() {
    let api = api().await;
    assert_eq!(get(&api, "apis").await.1["groups"].as_array().unwrap().len(), 3);
    let (_, group) = get(&api, "apis/metrics.k8s.io").await;
    assert_eq!(group["preferredVersion"]["groupVersion"], "metrics.k8s.io/v1beta1");
    let (_, version) = get(&api, "apis/metrics.k8s.io/v1beta1").await;
    assert_eq!(version["resources"][0]["kind"], "PodMetrics");
    assert_eq!(get(&api, "apis/metrics.k8s.io/v1").await.0, 404);
    assert!(api.values.counts().is_empty());
}

#[tokio::test]
async fn pods_are_listed_by_selector() {
    let api = api().await;
    for (pod, app) in [("a", "web"), ("b", "web"), ("c", "db")] {
        let labels = [("app".to_owned(), app.to_owned())].into();
        let usage = PodUsage { labels, containers: vec![("30m".to_owned(), "1Mi".to_owned())] };
        api.values.pod("ns", pod, Some(usage));
    }
    let names = async |query: &str| -> Vec<String> {
        let (_, list) = get(&api, &format!("apis/metrics.k8s.io/v1beta1/namespaces/ns/pods{query}")).await;
        let items = list["items"].as_array().unwrap();
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("").await, ["a", "b", "c"]);
    assert_eq!(names("?labelSelector=app%3Dweb").await, ["a", "b"]);
    assert_eq!(names("?labelSelector=app+in+%28db%2Cx%29").await, ["c"]);
    assert_eq!(names("?labelSelector=app!%3Dweb").await, ["c"]);
}

#[tokio::test]
async fn values_and_failures_are_as_told() {
    let api = api().await;
    api.values.external("ns", "queue", &["40", "60"]);
    api.values.custom("ns", "a", "load", Some("500m"));
    let (_, external) = get(&api, "apis/external.metrics.k8s.io/v1beta1/namespaces/ns/queue").await;
    assert_eq!(external["items"][1]["value"], "60");
    let (_, none) = get(&api, "apis/external.metrics.k8s.io/v1beta1/namespaces/ns/other").await;
    assert_eq!(none["items"], Value::Array(Vec::new()));
    let (_, custom) = get(&api, "apis/custom.metrics.k8s.io/v1beta2/namespaces/ns/pods/a/load").await;
    assert_eq!(custom["items"][0]["value"], "500m");
    assert_eq!(get(&api, "apis/custom.metrics.k8s.io/v1beta2/namespaces/ns/pods/b/load").await.0, 404);
    api.values.fail_with(Some(StatusCode::FORBIDDEN));
    assert_eq!(get(&api, "apis/external.metrics.k8s.io/v1beta1/namespaces/ns/queue").await.0, 403);
}

// SPDX-License-Identifier: Apache-2.0
//! The metrics APIs that a cluster gets from adapters: resource, custom and external metrics, with the
//! discovery documents that kube-apiserver's aggregator asks for.
//!
//! For an aggregator it has to be served with TLS; its certificate is signed by nobody, so the
//! `APIService` says `insecureSkipTLSVerify: true`. Without an aggregator a client can be pointed at it.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::fake_engine::serve::{self, Body, Handler, Hangup, Server};

/// Group and version of each API.
pub const APIS: [(&str, &str); 3] = [
    ("metrics.k8s.io", "v1beta1"),
    ("custom.metrics.k8s.io", "v1beta2"),
    ("external.metrics.k8s.io", "v1beta1"),
];
const TIME: &str = "2026-01-01T00:00:00Z";

/// Resource usage of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodUsage {
    /// The pod's labels: lists are filtered by them.
    pub labels: BTreeMap<String, String>,
    /// CPU and memory of each container, as quantities (`250m`, `64Mi`).
    pub containers: Vec<(String, String)>,
}

/// What the APIs say.
#[derive(Debug, Default)]
pub struct Values {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pods: BTreeMap<(String, String), PodUsage>,
    custom: BTreeMap<(String, String, String), String>,
    external: BTreeMap<(String, String), Vec<String>>,
    fails_with: Option<StatusCode>,
    counts: BTreeMap<String, u64>,
}

impl Values {
    /// Sets the usage of a pod; `None`: not measured.
    pub fn pod(&self, namespace: &str, pod: &str, usage: Option<PodUsage>) {
        let key = (namespace.to_owned(), pod.to_owned());
        set(&mut self.state.lock().pods, key, usage);
    }

    /// Sets a custom metric of a pod as a quantity; `None`: not measured.
    pub fn custom(&self, namespace: &str, pod: &str, metric: &str, value: Option<&str>) {
        let key = (namespace.to_owned(), pod.to_owned(), metric.to_owned());
        set(&mut self.state.lock().custom, key, value.map(str::to_owned));
    }

    /// Sets the items of an external metric as quantities. Unset metrics have no items.
    pub fn external(&self, namespace: &str, metric: &str, items: &[&str]) {
        let items = items.iter().map(|item| (*item).to_owned()).collect();
        self.state.lock().external.insert((namespace.to_owned(), metric.to_owned()), items);
    }

    /// All values are answered with this status from now on; discovery goes on.
    pub fn fail_with(&self, status: Option<StatusCode>) {
        self.state.lock().fails_with = status;
    }

    /// Requests for values by path and query; discovery is not counted.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.state.lock().counts.clone()
    }

    fn answer(&self, path: &str, query: &str) -> (StatusCode, Value) {
        let words: Vec<&str> = path.trim_matches('/').split('/').collect();
        let ["apis", group, version, "namespaces", namespace, rest @ ..] = words.as_slice() else {
            return discovery(&words).map_or_else(|| not_found(path), |page| (StatusCode::OK, page));
        };
        let mut state = self.state.lock();
        let asked = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        *state.counts.entry(asked).or_default() += 1;
        if let Some(status) = state.fails_with {
            return (status, status_object(status, "told to fail"));
        }
        let found = match (*group, *version, rest) {
            ("metrics.k8s.io", "v1beta1", ["pods"]) => Some(state.list(namespace, query)),
            ("metrics.k8s.io", "v1beta1", ["pods", pod]) => {
                let usage = state.pods.get(&((*namespace).to_owned(), (*pod).to_owned()));
                usage.map(|usage| pod_metrics(namespace, pod, usage))
            }
            ("custom.metrics.k8s.io", "v1beta2", ["pods", pod, metric]) => {
                state.custom_value(namespace, pod, metric)
            }
            ("external.metrics.k8s.io", "v1beta1", [metric]) => {
                Some(state.external_values(namespace, metric))
            }
            _ => None,
        };
        found.map_or_else(|| not_found(path), |page| (StatusCode::OK, page))
    }
}

impl State {
    fn list(&self, namespace: &str, query: &str) -> Value {
        let selector = query
            .split('&')
            .find_map(|part| part.strip_prefix("labelSelector="))
            .map(decoded)
            .unwrap_or_default();
        let items: Vec<Value> = self
            .pods
            .iter()
            .filter(|((home, _), usage)| home == namespace && selects(&selector, &usage.labels))
            .map(|((_, pod), usage)| pod_metrics(namespace, pod, usage))
            .collect();
        json!({"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": items})
    }

    fn custom_value(&self, namespace: &str, pod: &str, metric: &str) -> Option<Value> {
        let key = (namespace.to_owned(), pod.to_owned(), metric.to_owned());
        let value = self.custom.get(&key)?;
        let described = json!({"kind": "Pod", "namespace": namespace, "name": pod, "apiVersion": "/v1"});
        Some(json!({
            "kind": "MetricValueList", "apiVersion": "custom.metrics.k8s.io/v1beta2", "metadata": {},
            "items": [{
                "describedObject": described, "metric": {"name": metric, "selector": null},
                "timestamp": TIME, "value": value,
            }],
        }))
    }

    fn external_values(&self, namespace: &str, metric: &str) -> Value {
        let items = self.external.get(&(namespace.to_owned(), metric.to_owned()));
        let items: Vec<Value> = items
            .into_iter()
            .flatten()
            .map(|value| json!({"metricName": metric, "metricLabels": {}, "timestamp": TIME, "value": value}))
            .collect();
        json!({
            "kind": "ExternalMetricValueList", "apiVersion": "external.metrics.k8s.io/v1beta1",
            "metadata": {}, "items": items,
        })
    }
}

/// A running server; dropping it closes its port.
#[derive(Debug)]
pub struct MetricsApi {
    /// What it says.
    pub values: Arc<Values>,
    server: Server,
}

impl MetricsApi {
    /// Serves on `address` (port 0: any free one).
    ///
    /// # Errors
    /// When the address cannot be bound or the certificate cannot be made.
    pub async fn start(address: SocketAddr, tls: bool) -> io::Result<Self> {
        let values = Arc::new(Values::default());
        let server = Server::start(address, tls, Arc::new(Answers(Arc::clone(&values)))).await?;
        Ok(Self { values, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// `APIService` objects that send each API to the Service `namespace/name` at `port`.
    pub fn api_services(namespace: &str, name: &str, port: u16) -> Vec<Value> {
        APIS.iter()
            .map(|(group, version)| {
                json!({
                    "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
                    "metadata": {"name": format!("{version}.{group}")},
                    "spec": {
                        "group": group, "version": version,
                        "groupPriorityMinimum": 100, "versionPriority": 100,
                        "insecureSkipTLSVerify": true,
                        "service": {"namespace": namespace, "name": name, "port": port},
                    },
                })
            })
            .collect()
    }
}

struct Answers(Arc<Values>);

impl Handler for Answers {
    fn handle(
        &self,
        _local: SocketAddr,
        request: Request<Incoming>,
    ) -> BoxFuture<'static, Result<Response<Body>, Hangup>> {
        let uri = request.uri();
        let (status, page) = self.0.answer(uri.path(), uri.query().unwrap_or_default());
        async move { Ok(serve::json(status, &page)) }.boxed()
    }
}

fn set<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

fn pod_metrics(namespace: &str, pod: &str, usage: &PodUsage) -> Value {
    let containers: Vec<Value> = usage
        .containers
        .iter()
        .enumerate()
        .map(|(at, (cpu, memory))| json!({"name": format!("c{at}"), "usage": {"cpu": cpu, "memory": memory}}))
        .collect();
    json!({
        "kind": "PodMetrics", "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": {"name": pod, "namespace": namespace, "labels": usage.labels},
        "timestamp": TIME, "window": "15s", "containers": containers,
    })
}

fn discovery(words: &[&str]) -> Option<Value> {
    let group_of = |group: &str, version: &str| {
        let version = json!({"groupVersion": format!("{group}/{version}"), "version": version});
        json!({"kind": "APIGroup", "apiVersion": "v1", "name": group, "versions": [version], "preferredVersion": version})
    };
    match words {
        ["apis"] => {
            let groups: Vec<Value> = APIS.iter().map(|(group, version)| group_of(group, version)).collect();
            Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        ["apis", group] => {
            let (group, version) = APIS.iter().find(|(name, _)| name == group)?;
            Some(group_of(group, version))
        }
        ["apis", group, version] => {
            APIS.iter().find(|(name, served)| name == group && served == version)?;
            let resources = if *group == "metrics.k8s.io" {
                json!([{"name": "pods", "singularName": "", "namespaced": true, "kind": "PodMetrics", "verbs": ["get", "list"]}])
            } else {
                json!([])
            };
            let version = format!("{group}/{version}");
            Some(
                json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}),
            )
        }
        _ => None,
    }
}

fn not_found(path: &str) -> (StatusCode, Value) {
    (StatusCode::NOT_FOUND, status_object(StatusCode::NOT_FOUND, &format!("{path} not found")))
}

fn status_object(status: StatusCode, message: &str) -> Value {
    let reason = if status == StatusCode::NOT_FOUND { "NotFound" } else { "InternalError" };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": status.as_u16(),
    })
}

/// Equality and existence selectors (`a=b,c!=d,e,!f`) and sets of one kind (`g in (x,y)`).
fn selects(selector: &str, labels: &BTreeMap<String, String>) -> bool {
    let mut depth = 0_u32;
    let parts = selector.split(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).all(|part| requirement(part, labels))
}

fn requirement(part: &str, labels: &BTreeMap<String, String>) -> bool {
    let has = |key: &str| labels.get(key.trim());
    let within = |set: &str, value: Option<&String>| {
        let set = set.trim().trim_start_matches('(').trim_end_matches(')');
        value.is_some_and(|value| set.split(',').any(|item| item.trim() == value))
    };
    if let Some((key, set)) = part.split_once(" notin ") {
        return !within(set, has(key));
    }
    if let Some((key, set)) = part.split_once(" in ") {
        return within(set, has(key));
    }
    if let Some((key, value)) = part.split_once("!=") {
        return has(key).is_none_or(|has| has != value.trim());
    }
    if let Some((key, value)) = part.split_once('=') {
        return has(key).is_some_and(|has| has == value.trim_start_matches('=').trim());
    }
    match part.strip_prefix('!') {
        Some(key) => has(key).is_none(),
        None => has(part).is_some(),
    }
}

/// Undoes the percent-encoding of a query value.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'+' => b' ',
            b'%' => {
                let hex: Vec<u8> = rest.by_ref().take(2).collect();
                let hex = std::str::from_utf8(&hex).unwrap_or_default();
                u8::from_str_radix(hex, 16).unwrap_or(b'%')
            }
            byte => byte,
        };
        bytes.push(byte);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

// SPDX-License-Identifier: Apache-2.0
//! Whole terms: watches, passes, measurements and writes, against an API server in memory and engines on
//! loopback addresses.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use kube::client::Body;
use parking_lot::Mutex;
use prometheus::Registry;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    controllers::{Deps, LoopSettings, by_name},
    testkit::fake_engine::{Engine, FakeEngine, Fault, Load, Page},
};
use kube_fenced_election::{
    clock::{Clock, SharedClock, SystemClock},
    fence::{Fence, FenceKeeper},
};
use kube_loops::{
    metrics::Metrics,
    runtime::{
        controller::{FencedClient, RunError, Term},
        metrics::RuntimeMetrics,
        progress::Progress,
        watches::Watches,
    },
    testkit::scripted::ScriptedApi,
};

use super::SPEC;

const AUTOSCALERS: &str = "/apis/autoscaling.aibrix.ai/v1alpha1/podautoscalers";
const HPAS: &str = "/apis/autoscaling/v2/horizontalpodautoscalers";
const PODS: &str = "/api/v1/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/deployments";
const EVENTS: &str = "/api/v1/events";
const PERIOD: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_secs(10);

/// An API server that takes writes and tells the watches.
#[derive(Clone, Default)]
struct Api {
    watched: ScriptedApi,
    objects: Arc<Mutex<BTreeMap<(String, String), Value>>>,
    /// Method and path of everything that was asked besides lists and watches.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Api {
    fn put(&self, collection: &str, mut object: Value) -> Value {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("uid-{name}"));
        }
        let version = self.watched.put(collection, object.clone());
        object["metadata"]["resourceVersion"] = json!(version);
        self.objects.lock().insert((collection.to_owned(), name), object.clone());
        object
    }

    fn get(&self, collection: &str, name: &str) -> Option<Value> {
        self.objects.lock().get(&(collection.to_owned(), name.to_owned())).cloned()
    }

    fn remove(&self, collection: &str, name: &str) {
        self.objects.lock().remove(&(collection.to_owned(), name.to_owned()));
        self.watched.delete(collection, "ns", name);
    }

    fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                let (status, answer) = api.answer(&parts, &body);
                let body = Body::from(answer.to_string().into_bytes());
                Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
            }
        });
        kube::Client::new(service, "ns")
    }

    fn answer(&self, parts: &http::request::Parts, body: &[u8]) -> (StatusCode, Value) {
        let path = parts.uri.path();
        self.asked.lock().push(format!("{} {path}", parts.method));
        let (root, rest) = path.split_once("/namespaces/ns/").unwrap_or((path, ""));
        let words: Vec<&str> = rest.split('/').collect();
        let collection = format!("{root}/{}", words[0]);
        let stored = words.get(1).and_then(|name| self.get(&collection, name));
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let refused = |code: StatusCode, reason: &str| {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                "reason": reason, "code": code.as_u16(), "message": format!("{reason}: {path}")});
            (code, status)
        };
        match (&parts.method, stored) {
            (&Method::POST, _) => {
                let name = body["metadata"]["name"].as_str().unwrap_or_default();
                if self.get(&collection, name).is_some() {
                    return refused(StatusCode::CONFLICT, "AlreadyExists");
                }
                (StatusCode::CREATED, self.put(&collection, body))
            }
            (&Method::GET, Some(object)) => (StatusCode::OK, object),
            (&Method::PUT, Some(mut object)) => {
                if object["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] {
                    return refused(StatusCode::CONFLICT, "Conflict");
                }
                object["status"] = body["status"].clone();
                (StatusCode::OK, self.put(&collection, object))
            }
            (&Method::PATCH, Some(mut object)) => {
                if parts.headers[CONTENT_TYPE].to_str().unwrap().contains("json-patch") {
                    let operations: json_patch::Patch = serde_json::from_value(body).unwrap();
                    if json_patch::patch(&mut object, &operations).is_err() {
                        let said = "the server rejected our request due to an error in our request";
                        return refused(StatusCode::UNPROCESSABLE_ENTITY, said);
                    }
                } else {
                    json_patch::merge(&mut object, &body);
                }
                (StatusCode::OK, self.put(&collection, object))
            }
            (&Method::DELETE, Some(object)) => {
                self.remove(&collection, words[1]);
                (StatusCode::OK, object)
            }
            _ => refused(StatusCode::NOT_FOUND, "NotFound"),
        }
    }

    /// Waits until `look` finds something, and prints what was there otherwise.
    async fn wait<T>(&self, what: &str, look: impl Fn(&Self) -> Option<T>) -> T {
        let found = async {
            loop {
                if let Some(found) = look(self) {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = timeout(PATIENCE, found).await;
        waited.unwrap_or_else(|_| panic!("waited in vain for {what}: {:#?}", self.objects.lock()))
    }

    fn replicas(&self) -> i64 {
        self.get(DEPLOYMENTS, "web").unwrap()["spec"]["replicas"].as_i64().unwrap()
    }

    fn condition(&self, name: &str, kind: &str) -> Option<(String, String)> {
        let status = self.get(AUTOSCALERS, name)?["status"]["conditions"].clone();
        let condition = status.as_array()?.iter().find(|condition| condition["type"] == kind)?.clone();
        Some((condition["status"].as_str()?.to_owned(), condition["reason"].as_str()?.to_owned()))
    }

    fn reasons_of_events(&self) -> Vec<String> {
        let objects = self.objects.lock();
        let events = objects.iter().filter(|((collection, _), _)| collection == EVENTS);
        events.map(|(_, event)| event["reason"].as_str().unwrap().to_owned()).collect()
    }
}

/// A controller that leads.
struct Led {
    api: Api,
    engine: FakeEngine,
    drain: CancellationToken,
    running: JoinSet<Result<(), RunError>>,
    metrics: Metrics,
    _right: FenceKeeper,
}

impl Led {
    async fn start() -> Self {
        let api = Api::default();
        for path in [AUTOSCALERS, HPAS, PODS, DEPLOYMENTS, "/apis/apps/v1/statefulsets"] {
            api.watched.serve(path);
        }
        let engine = FakeEngine::start(SocketAddr::from(([0, 0, 0, 0], 0))).await.unwrap();
        let clock: SharedClock = Arc::new(SystemClock);
        let runtime = RuntimeMetrics::register(&Registry::new()).unwrap();
        let watches = Watches::new(api.watched.client(), Arc::clone(&clock), runtime.clone(), true);
        let metrics = Metrics::new();
        let settings = LoopSettings { sync_period: PERIOD, ..LoopSettings::default() };
        let deps = Deps::new(watches, runtime, &metrics, "test", settings).unwrap();
        let (right, fence) = Fence::without_election(Arc::clone(&clock));
        let drain = CancellationToken::new();
        let progress = Arc::new(Progress::new(Arc::clone(&clock)));
        let client = FencedClient(api.client());
        let tasks = TaskTracker::new();
        let term = Term { fence, client, clock, drain: drain.clone(), tasks, progress, workers: None };
        let mut running = JoinSet::new();
        let controller = by_name(SPEC.name, &deps).unwrap().unwrap();
        drop(controller.reads());
        running.spawn(controller.run(term));
        Self { api, engine, drain, running, metrics, _right: right }
    }

    /// Pods of the Deployment `web`, on loopback addresses.
    fn pods(&self, count: u8) -> Vec<IpAddr> {
        let ips: Vec<IpAddr> = (1..=count).map(|number| Ipv4Addr::new(127, 0, 9, number).into()).collect();
        for (number, ip) in ips.iter().enumerate() {
            self.api.put(
                PODS,
                json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": format!("web-{number}"), "namespace": "ns", "labels": {"app": "web"}},
                "spec": {}, "status": {"phase": "Running", "podIP": ip}}),
            );
        }
        ips
    }

    fn deployment(&self, replicas: i32) {
        self.api.put(
            DEPLOYMENTS,
            json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "ns"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}}}),
        );
    }

    fn autoscaler(&self, strategy: &str, more: &Value) {
        let source = json!({"metricSourceType": "pod", "protocolType": "http", "port": self.engine.port(),
            "path": "metrics", "targetMetric": "num_requests_running", "targetValue": "30"});
        let mut object = json!({
            "apiVersion": "autoscaling.aibrix.ai/v1alpha1", "kind": "PodAutoscaler",
            "metadata": {"name": "pa", "namespace": "ns", "generation": 1,
                "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "minReplicas": 1, "maxReplicas": 16, "scalingStrategy": strategy, "metricsSources": [source]},
        });
        json_patch::merge(&mut object, more);
        self.api.put(AUTOSCALERS, object);
    }

    fn load(&self, running: f64) {
        self.engine.pods.load(None, &Load::of(Engine::Vllm).with("num_requests_running", running));
    }

    async fn stop(mut self) -> Metrics {
        self.drain.cancel();
        timeout(Duration::from_secs(3), self.running.join_next()).await.unwrap().unwrap().unwrap().unwrap();
        self.metrics
    }
}

#[tokio::test]
async fn load_above_target_scales_up_once_per_round() {
    let led = Led::start().await;
    let start = SystemClock.instant();
    led.load(45.0);
    led.deployment(2);
    let ips = led.pods(2);
    led.autoscaler("APA", &json!({}));
    led.api.wait("the first step", |api| (api.replicas() != 2).then_some(())).await;
    assert_eq!(led.api.replicas(), 3);
    led.api
        .wait("the status", |api| {
            let status = &api.get(AUTOSCALERS, "pa")?["status"];
            (status["actualScale"] == 2 && status["desiredScale"] == 3).then_some(())
        })
        .await;
    let scaling = ("True".to_owned(), "ReconcilingScaleDiff".to_owned());
    assert_eq!(led.api.condition("pa", "ScalingActive"), Some(scaling));
    led.api.wait("events", |api| (api.reasons_of_events().len() >= 2).then_some(())).await;
    let mut reasons = led.api.reasons_of_events();
    reasons.sort();
    assert_eq!(&reasons[..2], ["AlgorithmRun", "SuccessfulRescale"]);
    assert!(led.metrics.render().contains("reason=\"apa above target\""));
    // However often the object was looked at, each engine was asked once per period.
    let periods = (SystemClock.instant() - start).div_duration_f64(PERIOD.mul_f64(0.9));
    for ip in ips {
        let asked = led.engine.pods.count(ip, "/metrics");
        assert!((1..=3).contains(&asked) && f64::from(u32::try_from(asked).unwrap()) <= periods + 1.0);
    }
    let metrics = led.stop().await;
    assert!(!metrics.render().contains("aibrix_autoscaler_scale_action{"));
}

#[tokio::test]
async fn nothing_is_written_or_asked_while_nothing_changes() {
    let led = Led::start().await;
    led.load(30.0);
    led.deployment(2);
    let ips = led.pods(2);
    led.autoscaler(
        "KPA",
        &json!({"metadata": {"annotations": {"autoscaling.aibrix.ai/scale-up-tolerance": "0.5"}}}),
    );
    led.api
        .wait("readiness", |api| {
            let stable = api.condition("pa", "ScalingActive")?.1 == "Stable";
            (stable && api.condition("pa", "Ready")?.0 == "True").then_some(())
        })
        .await;
    let asked = |led: &Led| led.engine.pods.count(ips[0], "/metrics");
    let before = asked(&led);
    led.api.wait("two rounds to settle", |_| (asked(&led) >= before + 2).then_some(())).await;
    let (requests, rounds) = (led.api.asked.lock().len(), asked(&led));
    led.api.wait("four more rounds", |_| (asked(&led) >= rounds + 4).then_some(())).await;
    assert_eq!(led.api.asked.lock()[requests..], Vec::<String>::new());
    assert_eq!(led.api.replicas(), 2);
}

#[tokio::test]
async fn silent_engine_neither_delays_others_nor_counts_as_idle() {
    let led = Led::start().await;
    led.load(30.0);
    led.deployment(2);
    let ips = led.pods(2);
    led.engine.pods.set(Some(ips[1]), "metrics", Page::fault(Fault::Hang));
    led.autoscaler(
        "APA",
        &json!({"metadata": {"annotations": {"autoscaling.aibrix.ai/scale-down-cooldown-window": "0s"}}}),
    );
    led.api.wait("three rounds", |_| (led.engine.pods.count(ips[0], "/metrics") >= 3).then_some(())).await;
    assert_eq!(led.api.replicas(), 2);
    led.engine.pods.set(Some(ips[0]), "metrics", Page::status(StatusCode::INTERNAL_SERVER_ERROR));
    let failed = |api: &Api| api.reasons_of_events().contains(&"FailedComputeScale".to_owned()).then_some(());
    led.api.wait("the alarm", failed).await;
    assert_eq!(led.api.replicas(), 2);
}

#[tokio::test]
async fn autoscaler_reacts_when_its_target_appears() {
    let led = Led::start().await;
    led.load(30.0);
    led.autoscaler("KPA", &json!({}));
    let missing = ("False".to_owned(), "FailedGetScale".to_owned());
    led.api.wait("the alarm", |api| (api.condition("pa", "AbleToScale")? == missing).then_some(())).await;
    led.deployment(8);
    led.api.wait("the upper bound", |api| (api.replicas() == 8).then_some(())).await;
    let found = ("True".to_owned(), "SucceededGetScale".to_owned());
    led.api.wait("the all-clear", |api| (api.condition("pa", "AbleToScale")? == found).then_some(())).await;
}

#[tokio::test]
async fn generated_hpa_is_made_again_when_somebody_deletes_it() {
    let led = Led::start().await;
    led.autoscaler("HPA", &json!({}));
    let hpa = led.api.wait("the HPA", |api| api.get(HPAS, "pa-hpa")).await;
    let owner = &hpa["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["uid"]), (&json!("PodAutoscaler"), &json!("uid-pa")));
    led.api.wait("conditions", |api| api.condition("pa", "AbleToScale")).await;
    led.api.remove(HPAS, "pa-hpa");
    led.api.wait("another HPA", |api| api.get(HPAS, "pa-hpa")).await;
    let posts = |api: &Api| {
        api.asked.lock().iter().filter(|asked| asked.starts_with("POST /apis/autoscaling")).count()
    };
    assert_eq!(posts(&led.api), 2);
}

#[tokio::test]
async fn malformed_autoscaler_gets_an_event_and_stops_no_other() {
    let led = Led::start().await;
    led.api.put(
        AUTOSCALERS,
        json!({"apiVersion": "autoscaling.aibrix.ai/v1alpha1", "kind": "PodAutoscaler",
        "metadata": {"name": "bad", "namespace": "ns"}, "spec": {"maxReplicas": "many"}}),
    );
    led.deployment(8);
    led.autoscaler("KPA", &json!({"spec": {"maxReplicas": 5}}));
    led.api.wait("the upper bound", |api| (api.replicas() == 5).then_some(())).await;
    let told = |api: &Api| api.reasons_of_events().contains(&"MalformedObject".to_owned()).then_some(());
    led.api.wait("the event", told).await;
}

#[tokio::test]
async fn role_of_a_service_is_scaled_by_name_and_nothing_else_of_it_is_touched() {
    const SERVICES: &str = "/apis/orchestration.aibrix.ai/v1alpha1/stormservices";
    let led = Led::start().await;
    let roles =
        json!([{"name": "decode", "replicas": 2, "x": 1}, {"name": "prefill", "replicas": 9, "y": 2}]);
    led.api.put(
        SERVICES,
        json!({"apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "StormService",
        "metadata": {"name": "s", "namespace": "ns"}, "spec": {"template": {"spec": {"roles": roles}}}}),
    );
    led.autoscaler("KPA", &json!({"spec": {
        "maxReplicas": 4, "subTargetSelector": {"roleName": "prefill"},
        "scaleTargetRef": {"apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "StormService", "name": "s"},
    }}));
    let kept = json!([{"name": "decode", "replicas": 2, "x": 1}, {"name": "prefill", "replicas": 4, "y": 2}]);
    led.api
        .wait("the role", |api| {
            (api.get(SERVICES, "s")?["spec"]["template"]["spec"]["roles"] == kept).then_some(())
        })
        .await;
}

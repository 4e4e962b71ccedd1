// SPDX-License-Identifier: Apache-2.0

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use kube::client::Body;
use prometheus::Registry;
use serde_json::{Value, json};

use crate::{
    api::autoscaling::PodAutoscalerStatus,
    controllers::pod_autoscaler::{
        snapshot::{Claim, HpaSeen, Snapshot, TargetSeen},
        targets::ScaleTarget,
    },
};
use kube_fenced_election::clock::{SharedClock, SystemClock};
use kube_loops::{
    runtime::{metrics::RuntimeMetrics, reconciler::Key, requests::runner::Requests, watches::Watches},
    testkit::scripted::ScriptedApi,
};

use kube_loops::runtime::loops::Sources;

use super::{Reads, live::Live, samples::MetricsCache, stores::Stores};

const AUTOSCALERS: &str = "/apis/autoscaling.aibrix.ai/v1alpha1/podautoscalers";
const HPAS: &str = "/apis/autoscaling/v2/horizontalpodautoscalers";
const PODS: &str = "/api/v1/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/deployments";

/// Reads whose watches see these objects, and whose live requests are counted and answered with `live`.
struct World {
    reads: Reads,
    live_requests: Arc<AtomicUsize>,
}

impl World {
    async fn of(objects: &[(&str, Value)], live: Option<Value>) -> Self {
        let api = ScriptedApi::new();
        for path in [AUTOSCALERS, HPAS, PODS, DEPLOYMENTS, "/apis/apps/v1/statefulsets"] {
            api.serve(path);
        }
        for (path, object) in objects {
            api.put(path, object.clone());
        }
        let clock: SharedClock = Arc::new(SystemClock);
        let metrics = RuntimeMetrics::register(&Registry::new()).unwrap();
        let watches = Watches::new(api.client(), Arc::clone(&clock), metrics, true);
        let stores = Stores::open(&mut Sources::new(&watches));
        let patience = Duration::from_secs(10);
        stores.autoscalers.synced(patience).await.unwrap();
        stores.hpas.store().synced(patience).await.unwrap();
        stores.pods.synced(patience).await.unwrap();
        for target in stores.targets.iter().filter(|target| target.resource.group == "apps") {
            target.store.synced(patience).await.unwrap();
        }
        let live_requests = Arc::new(AtomicUsize::new(0));
        let live = Live::new(live_client(live, Arc::clone(&live_requests)), Arc::clone(&clock));
        let metrics = Arc::new(Requests::new(MetricsCache::new(patience, patience), clock));
        Self { reads: Reads::new(stores, live, metrics), live_requests }
    }

    async fn see(&self, name: &str) -> Snapshot {
        let key = Key::new("ns", name);
        let (admitted, _) = self.reads.admit(&key);
        self.reads.observe(&key, admitted.unwrap()).await
    }

    fn asked_live(&self) -> usize {
        self.live_requests.load(Ordering::Relaxed)
    }
}

fn live_client(answer: Option<Value>, requests: Arc<AtomicUsize>) -> kube::Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        requests.fetch_add(1, Ordering::Relaxed);
        let missing = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound",
            "code": 404, "message": "deployments.apps \"web\" not found"});
        let found = answer.as_ref().filter(|_| request.uri().path().ends_with("/web"));
        let status = if found.is_some() { 200 } else { 404 };
        let body = found.unwrap_or(&missing).to_string().into_bytes();
        async move { Ok::<_, Infallible>(Response::builder().status(status).body(Body::from(body)).unwrap()) }
    });
    kube::Client::new(service, "ns")
}

fn autoscaler(name: &str) -> (&'static str, Value) {
    let source = json!({"metricSourceType": "pod", "protocolType": "http", "port": "8000", "path": "metrics",
        "targetMetric": "num_requests_running", "targetValue": "1"});
    let object = json!({
        "apiVersion": "autoscaling.aibrix.ai/v1alpha1", "kind": "PodAutoscaler",
        "metadata": {"name": name, "namespace": "ns", "uid": format!("uid-{name}"), "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "maxReplicas": 5, "scalingStrategy": "KPA", "metricsSources": [source]},
    });
    (AUTOSCALERS, object)
}

fn deployment(replicas: i32) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "ns", "uid": "d"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}}})
}

fn replicas(seen: &Snapshot) -> i32 {
    match seen.target.as_ref().unwrap() {
        TargetSeen::Found(target) => *target.replicas.as_ref().unwrap(),
        TargetSeen::Unreadable(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn pass_at_rest_sends_no_request() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web-0", "namespace": "ns", "labels": {"app": "web"}},
        "spec": {}, "status": {"phase": "Running", "podIP": "10.0.0.1"}});
    let world = World::of(&[autoscaler("pa"), (DEPLOYMENTS, deployment(2)), (PODS, pod)], None).await;
    for _ in 0..3 {
        let seen = world.see("pa").await;
        assert_eq!((replicas(&seen), &seen.claim, &seen.hpa), (2, &Claim::Held, &HpaSeen::Absent));
        assert!(seen.caught_up && seen.samples.pending);
    }
    assert_eq!(world.asked_live(), 0);
}

#[tokio::test]
async fn target_that_no_store_has_is_looked_for_before_it_is_called_missing() {
    let world = World::of(&[autoscaler("pa")], None).await;
    let seen = world.see("pa").await;
    let error = "failed to query scale subresource: deployments.apps \"web\" not found";
    assert!(matches!(&seen.target, Some(TargetSeen::Unreadable(said)) if said == error));
    assert_eq!(world.asked_live(), 1);
    let world = World::of(&[autoscaler("pa")], Some(deployment(3))).await;
    assert_eq!(replicas(&world.see("pa").await), 3);
}

#[tokio::test]
async fn store_behind_our_own_write_is_not_believed() {
    let world = World::of(&[autoscaler("pa"), (DEPLOYMENTS, deployment(2))], Some(deployment(4))).await;
    let resource = world.reads.stores.targets_of("apps", "Deployment").unwrap().resource.clone();
    let target = ScaleTarget { resource, namespace: "ns".to_owned(), name: "web".to_owned() };
    world.reads.own_writes.lock().wrote(&target, "1");
    assert_eq!(replicas(&world.see("pa").await), 2);
    assert_eq!(world.asked_live(), 0);
    world.reads.own_writes.lock().wrote(&target, "999999");
    assert_eq!(replicas(&world.see("pa").await), 4);
    assert_eq!(world.asked_live(), 1);
}

#[tokio::test]
async fn store_behind_our_own_status_is_not_believed() {
    let world = World::of(&[autoscaler("pa"), (DEPLOYMENTS, deployment(2))], None).await;
    let shown = world.see("pa").await.pa;
    let published = |version: &str, desired: i32| {
        let mut pa = (*shown).clone();
        pa.metadata.resource_version = Some(version.to_owned());
        pa.status = Some(PodAutoscalerStatus { desired_scale: desired, ..Default::default() });
        world.reads.own.wrote(pa);
    };
    published("999999", 7);
    assert_eq!(world.see("pa").await.pa.status.as_ref().map(|status| status.desired_scale), Some(7));
    // What is stored since, such as an edit of the spec, is later than our status.
    published("0", 8);
    assert_eq!(world.see("pa").await.pa.status, shown.status);
}

#[tokio::test]
async fn second_autoscaler_on_a_target_sees_who_holds_it_and_reads_nothing_of_it() {
    let world = World::of(&[autoscaler("a"), autoscaler("b"), (DEPLOYMENTS, deployment(2))], None).await;
    let seen = world.see("b").await;
    assert!(matches!(&seen.claim, Claim::Taken { by, .. } if *by == Key::new("ns", "a")));
    assert!(seen.target.is_none());
    assert_eq!(world.see("a").await.claim, Claim::Held);
}

#[tokio::test]
async fn autoscaler_that_is_gone_is_not_admitted() {
    let world = World::of(&[], None).await;
    let (admitted, wake) = world.reads.admit(&Key::new("ns", "pa"));
    assert!(admitted.is_none() && wake.is_empty());
}

#[tokio::test]
async fn hpa_of_somebody_else_is_foreign() {
    let hpa = |uid: &str| {
        let owner = json!({"apiVersion": "autoscaling.aibrix.ai/v1alpha1", "kind": "PodAutoscaler",
            "name": "pa", "uid": uid, "controller": true});
        let metadata = json!({"name": "pa-hpa", "namespace": "ns", "uid": "h", "ownerReferences": [owner]});
        let spec = json!({"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web"}});
        (
            HPAS,
            json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": metadata, "spec": spec}),
        )
    };
    let ours = World::of(&[autoscaler("pa"), hpa("uid-pa")], None).await.see("pa").await;
    assert!(matches!(ours.hpa, HpaSeen::Ours(_)));
    let foreign = World::of(&[autoscaler("pa"), hpa("uid-of-a-predecessor")], None).await.see("pa").await;
    assert_eq!(foreign.hpa, HpaSeen::Foreign);
}

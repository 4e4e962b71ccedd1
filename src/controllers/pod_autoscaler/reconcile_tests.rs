// SPDX-License-Identifier: Apache-2.0
//! Passes that are dropped before their end.

use std::{sync::Arc, time::Duration};

use prometheus::Registry;
use serde_json::{Value, json};
use tokio::time::timeout;

use kube_fenced_election::clock::{Clock, SharedClock, SystemClock};
use kube_loops::{
    cluster::{events::Recorder, writer::Writer},
    metrics::Metrics,
    runtime::{
        conductor::Conductor,
        loops::Sources,
        metrics::RuntimeMetrics,
        progress::Progress,
        queue::Queue,
        reconciler::{Key, Pass, Reconciler as _},
        requests::runner::Requests,
        watches::Watches,
    },
    testkit::{
        scripted,
        scripted_api::{Answer, ScriptedApi},
    },
};

use super::{
    LOOP,
    apply::Writes,
    fetch::{Reads, live::Live, samples::MetricsCache, stores::Stores},
    metrics::{AutoscalerMetrics, TermGauge},
    reconcile::AutoscalerStages,
};

const AUTOSCALERS: &str = "/apis/autoscaling.aibrix.ai/v1alpha1/podautoscalers";
const HPAS: &str = "/apis/autoscaling/v2/horizontalpodautoscalers";
const PODS: &str = "/api/v1/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/deployments";
const STATEFUL_SETS: &str = "/apis/apps/v1/statefulsets";
const PATIENCE: Duration = Duration::from_secs(10);

fn deployment(replicas: i32, version: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "ns", "uid": "d", "resourceVersion": version},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}}})
}

/// The passes of a term whose watches see one autoscaler with a minimum of 3 and its Deployment of one replica, and
/// whose requests `api` answers.
async fn term(api: &ScriptedApi) -> (Conductor<AutoscalerStages>, Pass) {
    let watched = scripted::ScriptedApi::new();
    for path in [AUTOSCALERS, HPAS, PODS, DEPLOYMENTS, STATEFUL_SETS] {
        watched.serve(path);
    }
    watched.put(AUTOSCALERS, autoscaler());
    watched.put(DEPLOYMENTS, deployment(1, ""));
    let clock: SharedClock = Arc::new(SystemClock);
    let metrics = RuntimeMetrics::register(&Registry::new()).unwrap();
    let process = Watches::new(watched.client(), Arc::clone(&clock), metrics.clone(), true);
    let stores = Stores::open(&mut Sources::new(&process));
    stores.autoscalers.synced(PATIENCE).await.unwrap();
    for target in stores.targets.iter().filter(|target| target.resource.group == "apps") {
        target.store.synced(PATIENCE).await.unwrap();
    }
    let live = Live::new(api.client(), Arc::clone(&clock));
    let cache = Arc::new(Requests::new(MetricsCache::new(PATIENCE, PATIENCE), Arc::clone(&clock)));
    let reads = Arc::new(Reads::new(stores, live, cache));
    let progress = Arc::new(Progress::new(Arc::clone(&clock)));
    let queue = Queue::new(&LOOP, Arc::clone(&clock), &metrics.of(&LOOP), progress.of_loop("test", PATIENCE));
    let conductor = Conductor::new(AutoscalerStages {
        writes: Writes::new(Arc::clone(&reads)),
        reads,
        gauge: TermGauge::new(&AutoscalerMetrics::register(&Metrics::new()).unwrap()),
        enqueue: queue.enqueue(),
        period: PATIENCE,
    });
    let (writer, recorder) = (Writer::new(api.client()), Recorder::new(api.client(), "test", clock).0);
    (conductor, Pass { now: SystemClock.now(), draw: 0, attempt: 0, writer, recorder })
}

fn autoscaler() -> Value {
    let source = json!({"metricSourceType": "pod", "protocolType": "http", "port": "8000", "path": "metrics",
        "targetMetric": "num_requests_running", "targetValue": "1"});
    json!({
        "apiVersion": "autoscaling.aibrix.ai/v1alpha1", "kind": "PodAutoscaler",
        "metadata": {"name": "pa", "namespace": "ns", "uid": "u", "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 3, "maxReplicas": 5, "scalingStrategy": "KPA", "metricsSources": [source]},
        "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Test", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
    })
}

/// Waits until a status is being written.
async fn status_write(api: &ScriptedApi) {
    let sent = async {
        while !api.log().iter().any(|line| line.starts_with("PUT")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, sent).await.expect("a status is written");
}

// scenario: hardening 18
#[tokio::test]
async fn a_scaling_whose_status_write_hangs_until_the_pass_is_dropped_is_told_by_the_next_pass() {
    let mut statuses = 0;
    let api = ScriptedApi::new(move |request| match request.on() {
        ("PATCH" | "GET", _) => Answer::ok(deployment(3, "99999")),
        ("PUT", _) => {
            statuses += 1;
            if statuses == 1 {
                return Answer::Hang;
            }
            let mut stored = request.body.clone();
            stored["metadata"]["resourceVersion"] = json!("99999");
            Answer::ok(stored)
        }
        _ => Answer::ok(json!({})),
    });
    let ((term, pass), key) = (term(&api).await, Key::new("ns", "pa"));
    // The pass is dropped, as by its deadline, while its status write hangs.
    tokio::select! {
        ended = term.reconcile(&key, &pass) => panic!("{ended:?}"),
        () = status_write(&api) => {}
    }
    let puts = |api: &ScriptedApi| -> Vec<Value> {
        let requests = api.requests().into_iter().filter(|request| request.method == "PUT");
        requests.map(|request| request.body["status"].clone()).collect()
    };
    assert_eq!(puts(&api).len(), 1, "{:?}", api.log());
    term.reconcile(&key, &pass).await.unwrap();
    let patches = api.log().iter().filter(|line| line.starts_with("PATCH")).count();
    assert_eq!(patches, 1, "it is not scaled twice: {:?}", api.log());
    let told = puts(&api).pop().unwrap();
    assert_eq!(puts(&api).len(), 2);
    let history = told["scalingHistory"].as_array().cloned().unwrap_or_default();
    let sizes: Vec<_> =
        history.iter().map(|it| (it["previousScale"].clone(), it["newScale"].clone())).collect();
    assert_eq!(sizes, [(json!(1), json!(3))], "{told}");
    assert_eq!(told["lastScaleTime"], history[0]["timestamp"]);
    // What was told is not told again.
    term.reconcile(&key, &pass).await.unwrap();
    assert_eq!(puts(&api).len(), 2);
}

// SPDX-License-Identifier: Apache-2.0
//! Passes that are dropped before their end, and those of a dry run.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use prometheus::Registry;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::timeout};

use crate::api::model::ModelAdapter;
use kube_fenced_election::clock::{Clock, SharedClock, SystemClock};
use kube_loops::{
    cluster::{
        events::Recorder,
        writer::{Target, Writer},
    },
    runtime::{
        conductor::Conductor,
        loops::Sources,
        metrics::RuntimeMetrics,
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
    apply::Writes,
    controller_harness::{ADAPTERS, PODS, SERVICES, SLICES},
    fetch::{Reads, scores::Scores, stores::Stores},
    load_tracker::LoadTracker,
    reconcile::AdapterStages,
    settings::ModelAdapterSettings,
};

const PATIENCE: Duration = Duration::from_secs(10);

fn adapter() -> Value {
    json!({
        "apiVersion": "model.aibrix.ai/v1alpha1", "kind": "ModelAdapter",
        "metadata": {"name": "sql", "namespace": "ns", "uid": "u", "generation": 1,
            "finalizers": ["adapter.model.aibrix.ai/finalizer"]},
        "spec": {"artifactURL": "/models/sql", "replicas": 1, "podSelector": {"matchLabels": {"app": "base"}}},
        "status": {"phase": "Pending", "conditions": [{"type": "Initialized", "status": "Unknown",
            "reason": "ModelAdapterPending", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
    })
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web-0", "namespace": "ns", "uid": "p", "labels": {"app": "base"}},
        "spec": {"containers": [{"name": "engine"}]},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
    })
}

/// The passes of a term, and what they read and send.
struct Term {
    conductor: Conductor<AdapterStages>,
    reads: Arc<Reads>,
    pass: Pass,
    _sending: JoinSet<()>,
}

/// The passes of a term whose watches see one adapter and one pod, and the sending of its events.
async fn term(api: &ScriptedApi, watched: &scripted::ScriptedApi) -> Term {
    for path in [ADAPTERS, PODS, SERVICES, SLICES] {
        watched.serve(path);
    }
    watched.put(ADAPTERS, adapter());
    watched.put(PODS, pod());
    let clock: SharedClock = Arc::new(SystemClock);
    let metrics = RuntimeMetrics::register(&Registry::new()).unwrap();
    let process = Watches::new(watched.client(), Arc::clone(&clock), metrics, true);
    let stores = Stores::open(&mut Sources::new(&process));
    stores.adapters.synced(PATIENCE).await.unwrap();
    stores.pods.synced(PATIENCE).await.unwrap();
    let settings = ModelAdapterSettings::default();
    let reads = Arc::new(Reads::new(
        stores,
        Arc::new(Requests::new(LoadTracker::default(), Arc::clone(&clock))),
        Arc::new(Requests::new(Scores::new(&settings.metrics), Arc::clone(&clock))),
        settings,
        Arc::clone(&clock),
    ));
    let (recorder, task) = Recorder::new(api.client(), "test", Arc::clone(&clock));
    let mut sending = JoinSet::new();
    sending.spawn(task.run());
    let pass =
        Pass { now: SystemClock.now(), draw: 0, attempt: 0, writer: Writer::new(api.client()), recorder };
    let conductor = Conductor::new(AdapterStages {
        writes: Writes::new(Arc::clone(&reads)),
        reads: Arc::clone(&reads),
        reservations: Mutex::default(),
        clock,
    });
    Term { conductor, reads, pass, _sending: sending }
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
async fn an_event_whose_status_write_hangs_until_the_pass_is_dropped_is_sent_by_the_next_pass() {
    let watched = scripted::ScriptedApi::new();
    // The first status is stored, and the answer never comes.
    let (mut statuses, stored) = (0, watched.clone());
    let api = ScriptedApi::new(move |request| match request.on() {
        ("PUT", _) => {
            statuses += 1;
            if statuses == 1 {
                stored.put(ADAPTERS, request.body.clone());
                return Answer::Hang;
            }
            Answer::ok(request.body.clone())
        }
        ("PATCH", _) => Answer::ok(adapter()),
        _ => Answer::ok(json!({"metadata": {"name": "event"}})),
    });
    let (term, key) = (term(&api, &watched).await, Key::new("ns", "sql"));
    tokio::select! {
        ended = term.conductor.reconcile(&key, &term.pass) => panic!("{ended:?}"),
        () = status_write(&api) => {}
    }
    let shown = async {
        while term
            .reads
            .stores
            .adapters
            .get_key(&key)
            .is_none_or(|it| it.status.as_ref().unwrap().phase != "Scheduled")
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, shown).await.expect("the store shows the status");
    let reasons = || async {
        term.pass.recorder.flush(PATIENCE).await;
        let sent =
            api.requests().into_iter().filter(|it| it.method == "POST" && it.path.ends_with("/events"));
        sent.map(|it| it.body["reason"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(reasons().await, [""; 0]);
    for _ in 0..3 {
        term.conductor.reconcile(&key, &term.pass).await.unwrap();
        assert_eq!(reasons().await, ["Scheduled"]);
    }
}

#[tokio::test]
async fn calls_to_engines_of_a_dry_run_are_noted_and_not_ordered() {
    let (api, watched) = (ScriptedApi::in_turn([]), scripted::ScriptedApi::new());
    let (mut term, key) = (term(&api, &watched).await, Key::new("ns", "sql"));
    let mut leaving = adapter();
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    leaving["status"]["instances"] = json!(["web-0"]);
    watched.put(ADAPTERS, leaving);
    let is_leaving = |it: Arc<ModelAdapter>| it.metadata.deletion_timestamp.is_some();
    let shown = async {
        while !term.reads.stores.adapters.get_key(&key).is_some_and(is_leaving) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, shown).await.expect("the store shows the deletion");
    term.pass.writer = Writer::dry_run(api.client());
    term.conductor.reconcile(&key, &term.pass).await.unwrap();
    let noted = term.pass.writer.take_noted();
    let [step] = noted.as_slice() else { panic!("{noted:?}") };
    let Target { resource, namespace, name } = &step.target;
    assert_eq!(
        (step.verb, &*resource.kind, namespace.as_deref(), &**name),
        ("unload", "Pod", Some("ns"), "web-0")
    );
    assert_eq!(step.content, json!({"model": "sql"}));
    assert!(api.log().is_empty(), "{api:?}");
}

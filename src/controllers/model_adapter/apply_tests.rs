// SPDX-License-Identifier: Apache-2.0
//! Steps that the API server refuses.

use std::sync::Arc;

use prometheus::Registry;
use serde_json::json;

use crate::api::model::ModelAdapter;
use kube_fenced_election::clock::{SharedClock, SystemClock};
use kube_loops::{
    cluster::writer::Writer,
    runtime::{
        children::ChildRef, loops::Sources, metrics::RuntimeMetrics, reconciler::Key,
        requests::runner::Requests, watches::Watches,
    },
    testkit::{
        scripted,
        scripted_api::{Answer, ScriptedApi},
    },
};

use super::{
    apply::{Report, Writes},
    fetch::{Reads, scores::Scores, stores::Stores},
    load_tracker::LoadTracker,
    settings::ModelAdapterSettings,
    steps::Step,
};

/// What a term knows of its writes..
fn writes() -> Writes {
    let clock: SharedClock = Arc::new(SystemClock);
    let metrics = RuntimeMetrics::register(&Registry::new()).unwrap();
    let watches = Watches::new(scripted::ScriptedApi::new().client(), Arc::clone(&clock), metrics, true);
    let settings = ModelAdapterSettings::default();
    let reads = Reads::new(
        Stores::open(&mut Sources::new(&watches)),
        Arc::new(Requests::new(LoadTracker::default(), Arc::clone(&clock))),
        Arc::new(Requests::new(Scores::new(&settings.metrics), Arc::clone(&clock))),
        settings,
        Arc::clone(&clock),
    );
    Writes::new(Arc::new(reads))
}

#[tokio::test]
async fn a_refused_service_hides_no_error_of_a_later_step() {
    let api = ScriptedApi::new(|request| {
        if request.path.contains("/services/") {
            Answer::failure(422, "Invalid", "spec.ports: no")
        } else {
            Answer::server_error()
        }
    });
    let adapter: ModelAdapter = serde_json::from_value(json!({
        "metadata": {"name": "sql", "namespace": "ns", "uid": "u"}, "spec": {"artifactURL": "s3://loras/sql"},
    }))
    .unwrap();
    let child = ChildRef { namespace: "ns".into(), name: "sql".into(), uid: "c".into(), version: "1".into() };
    let steps = [
        Step::PatchService { child: child.clone(), patch: json!({"spec": {"ports": []}}) },
        Step::PatchSlice { child, patch: json!({"endpoints": []}) },
    ];
    let mut report = Report::default();
    writes().apply(&Writer::new(api.client()), &Key::new("ns", "sql"), &adapter, &steps, &mut report).await;
    assert_eq!(api.log().len(), 2, "{:?}", api.log());
    assert!(report.refused);
    assert_eq!(report.failed.map(|it| it.reason), Some("ServiceCreateError"));
    assert_eq!(report.steps.error.map(|error| error.attempt), Some("patch the EndpointSlice"));
}

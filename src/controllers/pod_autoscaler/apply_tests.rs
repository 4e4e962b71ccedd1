// SPDX-License-Identifier: Apache-2.0
//! Steps that the API server refuses.

use std::sync::Arc;

use prometheus::Registry;
use serde_json::json;

use kube_fenced_election::clock::{SharedClock, SystemClock};
use kube_loops::{
    cluster::writer::Writer,
    runtime::{
        children::ChildRef,
        loops::Sources,
        metrics::RuntimeMetrics,
        reconciler::{Failure as _, Retry},
        requests::runner::Requests,
        steps::{StepOutcome, StepReport},
        watches::Watches,
    },
    testkit::{
        scripted,
        scripted_api::{Answer, ScriptedApi},
    },
};

use super::{
    SYNC_PERIOD,
    apply::Writes,
    cases::{pa, resource},
    fetch::{Reads, live::Live, samples::MetricsCache, stores::Stores},
    steps::Step,
    targets::{Found, ScaleTarget, ScaleWrite},
};

/// What a term knows of its writes, towards this API server.
fn writes(api: &ScriptedApi) -> Writes {
    let clock: SharedClock = Arc::new(SystemClock);
    let metrics = RuntimeMetrics::register(&Registry::new()).unwrap();
    let watches = Watches::new(scripted::ScriptedApi::new().client(), Arc::clone(&clock), metrics, true);
    let metrics = Arc::new(Requests::new(MetricsCache::new(SYNC_PERIOD, SYNC_PERIOD), Arc::clone(&clock)));
    let live = Live::new(api.client(), clock);
    Writes::new(Arc::new(Reads::new(Stores::open(&mut Sources::new(&watches)), live, metrics)))
}

#[tokio::test]
async fn a_step_that_is_refused_for_good_does_not_delay_one_that_can_be_tried_again_soon() {
    let api = ScriptedApi::new(|request| {
        if request.path.contains("/horizontalpodautoscalers/") {
            Answer::forbidden()
        } else {
            Answer::server_error()
        }
    });
    let child =
        ChildRef { namespace: "ns".into(), name: "pa-hpa".into(), uid: "h".into(), version: "1".into() };
    let steps = [
        Step::DeleteHpa { child },
        Step::Scale {
            target: ScaleTarget {
                resource: resource("apps", "Deployment"),
                namespace: "ns".into(),
                name: "web".into(),
            },
            write: ScaleWrite::Replicas,
            found: Found { uid: "u".into(), version: "1".into(), count: Some(1) },
            from: 1,
            to: 2,
            reason: "test",
        },
    ];
    let mut report = StepReport::default();
    writes(&api).apply(&Writer::new(api.client()), &pa(json!({})), &steps, &mut report).await;
    assert_eq!(api.log().len(), 2, "{:?}", api.log());
    assert!(report.outcomes.iter().all(|it| matches!(it, StepOutcome::Failed(_))), "{:?}", report.outcomes);
    let error = report.error.unwrap();
    assert_eq!(error.retry(), Retry::Backoff);
    assert_eq!(error.to_string(), "failed to scale the target");
}

// SPDX-License-Identifier: Apache-2.0
//! Steps that the API server refuses.

use std::sync::Arc;

use prometheus::Registry;
use serde_json::{Value, json};

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

/// Scales what was read by its scale from 2 to 4.
async fn scale(api: &ScriptedApi) -> StepReport {
    let step = Step::Scale {
        target: ScaleTarget { resource: resource("g", "Fleet"), namespace: "ns".into(), name: "x".into() },
        write: ScaleWrite::Scale,
        found: Found { uid: "u".into(), version: "1".into(), count: Some(2) },
        from: 2,
        to: 4,
        reason: "test",
    };
    let mut report = StepReport::default();
    writes(api).apply(&Writer::new(api.client()), &pa(json!({})), &[step], &mut report).await;
    report
}

#[tokio::test]
async fn a_count_is_written_by_the_scale_and_past_it_where_that_is_forbidden_and_the_object_keeps_the_count()
{
    let api = |scale: Answer, kept: Value| {
        ScriptedApi::new(move |request| match (request.method.as_str(), request.path.ends_with("/x/scale")) {
            ("PATCH", true) => scale.clone(),
            ("GET", false) => Answer::ok(json!({"metadata": {"name": "x"}, "spec": kept})),
            _ => Answer::ok(
                json!({"metadata": {"name": "x", "resourceVersion": "2"}, "spec": {"replicas": 4}}),
            ),
        })
    };
    let served =
        api(Answer::ok(json!({"metadata": {"resourceVersion": "2"}, "spec": {"replicas": 4}})), json!({}));
    assert_eq!(scale(&served).await.outcomes, [StepOutcome::Done]);
    assert_eq!(served.log().len(), 1, "{:?}", served.log());
    assert_eq!(served.requests()[0].body[1], json!({"op": "test", "path": "/spec/replicas", "value": 2}));
    let usual = api(Answer::forbidden(), json!({"replicas": 2}));
    assert_eq!(scale(&usual).await.outcomes, [StepOutcome::Done]);
    assert!(usual.log()[2].starts_with("PATCH ") && usual.log()[2].ends_with("/x"), "{:?}", usual.log());
    // A field of that name would be a new one.
    let elsewhere = api(Answer::forbidden(), json!({"scale": {"count": 2}}));
    assert!(matches!(scale(&elsewhere).await.outcomes[..], [StepOutcome::Failed(_)]));
    assert_eq!(elsewhere.log().len(), 2, "{:?}", elsewhere.log());
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

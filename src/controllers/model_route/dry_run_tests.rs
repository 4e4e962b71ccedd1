// SPDX-License-Identifier: Apache-2.0
//! What a dry run tells is what a term does.

use std::sync::Arc;

use prometheus::Registry;
use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use kube_fenced_election::{
    clock::{SharedClock, SystemClock},
    fence::Fence,
};
use kube_loops::{
    metrics::Metrics,
    runtime::{
        controller::{Controller as _, FencedClient, Term},
        loops::LoopController,
        metrics::RuntimeMetrics,
        progress::Progress,
        watches::Watches,
    },
    testkit::stored_api::StoredApi,
};

use super::{
    super::{Deps, LoopSettings},
    cases::workload,
    controller,
};

const DEPLOYMENTS: &str = "/apis/apps/v1/deployments";
const ROUTES: &str = "/apis/gateway.networking.k8s.io/v1/httproutes";
const ROUTES_WATCHED: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/ns/httproutes";
const GRANTS: &str = "/apis/gateway.networking.k8s.io/v1beta1/referencegrants";

fn clock() -> SharedClock {
    Arc::new(SystemClock)
}

/// A controller whose routes stand where its workloads are.
fn over(api: &StoredApi) -> LoopController {
    let metrics = RuntimeMetrics::register(&Registry::new()).unwrap();
    let watches = Watches::new(api.watched.client(), clock(), metrics.clone(), true);
    let mut settings = LoopSettings::default();
    settings.model_route.gateway_namespace = "ns".to_owned();
    let deps = Deps::new(watches, metrics, &Metrics::new(), "test", settings).unwrap();
    controller(&deps)
}

/// Without what the API server adds.
fn bare(mut object: Value) -> Value {
    for key in ["uid", "resourceVersion", "generation"] {
        object["metadata"].as_object_mut().unwrap().remove(key);
    }
    object
}

#[tokio::test(start_paused = true)]
async fn dry_run_tells_what_a_term_then_does_and_sends_nothing() {
    let api = StoredApi::default();
    for path in [ROUTES, ROUTES_WATCHED, GRANTS] {
        api.watched.serve(path);
    }
    api.put(DEPLOYMENTS, workload("ns", "w", "m", 0));
    let mut bad_port = workload("ns", "v", "n", 0);
    bad_port["metadata"]["labels"]["model.aibrix.ai/port"] = json!("bad");
    api.put(DEPLOYMENTS, bad_port);
    let runs = over(&api).dry_run(api.client(), clock(), std::time::Duration::ZERO).await.unwrap();
    let told: Vec<Value> = runs.iter().flat_map(|run| &run.steps).map(|step| step.content.clone()).collect();
    let steps = runs.iter().flat_map(|run| &run.steps);
    assert!(steps.clone().all(|step| (step.verb, &*step.target.resource.kind) == ("create", "HTTPRoute")));
    let reasons: Vec<&str> = runs.iter().flat_map(|run| &run.events).map(|event| &*event.reason).collect();
    assert_eq!((told.len(), reasons), (2, vec!["InvalidRouteConfig"]), "{runs:?}");
    assert_eq!(api.asked(), [""; 0]);

    let (_keeper, fence) = Fence::without_election(clock());
    let term = Term {
        fence,
        client: FencedClient(api.client()),
        clock: clock(),
        drain: CancellationToken::new(),
        progress: Arc::new(Progress::new(clock())),
        workers: None,
        tasks: TaskTracker::new(),
    };
    let both = api.wait("both routes", |api| Some(api.list(ROUTES)).filter(|routes| routes.len() == 2));
    let done = tokio::select! {
        ended = over(&api).run(term) => panic!("{ended:?}"),
        done = both => done.unwrap(),
    };
    let mut told: Vec<Value> = told.into_iter().map(bare).collect();
    told.sort_by_key(|route| route["metadata"]["name"].as_str().map(str::to_owned));
    assert_eq!(told, done.into_iter().map(bare).collect::<Vec<_>>());
}

// SPDX-License-Identifier: Apache-2.0
use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::ApiResource;
use parking_lot::Mutex;
use prometheus::Registry;
use serde_json::{Value, json};

use crate::{
    cluster::{
        dry_run::NotedStep,
        error::WriteError,
        events::EventText,
        writer::{Change, Guard, Target},
    },
    testkit::stored_api::StoredApi,
};
use kube_fenced_election::{
    clock::{SharedClock, SystemClock},
    fence::Fence,
};

use super::{
    super::{
        controller::{ControllerSpec, LoopSpec},
        metrics::RuntimeMetrics,
        own_objects::OwnObjects,
        reconciler::{Failure, Key, Outcome, Pass, Reconciler, Retry},
        watches::{Store, WatchSpec, Watches},
    },
    DryRun, Loop, LoopController, LoopTerm, Sources,
};

const MAPS: &str = "/api/v1/configmaps";
const CONTROLLER: ControllerSpec = ControllerSpec { name: "marker-controller", required_kinds: &[] };
const MARKER: LoopSpec = LoopSpec {
    label: "marker",
    event_source: "marker",
    workers: 1,
    period: None,
    deadline: None,
    backoff_cap: Duration::from_secs(1),
    rules: &[],
};

/// Marks each map, rings for it outside the API server, and tells so. A background task queues the map `a` once more.
struct Marks {
    maps: OwnObjects<ConfigMap>,
    fence: Fence,
    bells: Arc<Mutex<Vec<String>>>,
}

#[derive(Debug, thiserror::Error)]
#[error("failed to mark")]
struct Unmarked(#[source] WriteError);

impl Failure for Unmarked {
    fn retry(&self) -> Retry {
        Retry::Backoff
    }
}

fn target(name: &str) -> Target {
    let resource = ApiResource::erase::<ConfigMap>(&());
    Target { resource, namespace: Some("ns".into()), name: name.into() }
}

fn ring(name: &str) -> NotedStep {
    NotedStep { verb: "ring", target: target(name), content: Value::Null }
}

impl Reconciler for Marks {
    type Error = Unmarked;

    async fn reconcile(&self, key: &Key, pass: &Pass) -> Result<Outcome, Unmarked> {
        let Some(map) = self.maps.get(key) else { return Ok(Outcome::Done) };
        let version = map.metadata.resource_version.as_deref().unwrap();
        let guard = Guard { uid: (key.name == "c").then_some("another"), version };
        let patch = Change::Merge(json!({"data": {"marked": "yes"}}));
        if map.data.is_none() {
            let marked = pass.writer.patch_as::<ConfigMap>(&target(&key.name), "", patch, guard).await;
            let marked = self.maps.wrote(marked.map_err(Unmarked)?);
            assert_eq!(marked.data.as_ref().unwrap()["marked"], "yes", "answered as if it had been made");
        }
        if !pass.writer.notes_instead(|| ring(&key.name)) {
            self.bells.lock().push(key.name.clone());
        }
        assert!(self.fence.check().is_err(), "nothing may be changed outside the API server");
        let event = EventText { warning: false, reason: "Marked", message: key.name.clone() };
        pass.recorder.publish(event.on(&*map));
        Ok(Outcome::RequeueAfter(Duration::from_secs(1)))
    }
}

struct MarkerLoop(Arc<Mutex<Vec<String>>>);

impl Loop for MarkerLoop {
    type Stores = Store<ConfigMap>;
    type Reconciler = Marks;

    fn spec(&self) -> &'static LoopSpec {
        &MARKER
    }

    fn open(&self, sources: &mut Sources<'_>) -> Store<ConfigMap> {
        sources.primary(WatchSpec::all())
    }

    fn start(&self, maps: Store<ConfigMap>, term: &mut LoopTerm) -> Marks {
        let enqueue = term.enqueue.clone();
        term.run_beside("more", async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            enqueue.add(Key::new("ns", "a"));
            enqueue.add(Key::new("ns", "gone"));
            std::future::pending::<()>().await;
        });
        Marks { maps: OwnObjects::new(maps), fence: term.fence.clone(), bells: Arc::clone(&self.0) }
    }
}

/// Runs a dry run over these maps. Yields it, what was asked of the API server, and which bells were rung.
async fn dry_run(names: &[&str], patience: Duration) -> (Vec<DryRun>, Vec<String>, Vec<String>) {
    let api = StoredApi::default();
    api.watched.serve(MAPS);
    for name in names {
        api.put(
            MAPS,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "ns"}}),
        );
    }
    let clock: SharedClock = Arc::new(SystemClock);
    let metrics = RuntimeMetrics::register(&Registry::new()).unwrap();
    let watches = Watches::new(api.watched.client(), Arc::clone(&clock), metrics.clone(), true);
    let bells = Arc::<Mutex<Vec<String>>>::default();
    let controller =
        LoopController::new(&CONTROLLER, &watches, &metrics).with(MarkerLoop(Arc::clone(&bells)));
    let runs = controller.dry_run(api.client(), clock, patience).await.unwrap();
    let bells = bells.lock().clone();
    (runs, api.asked(), bells)
}

#[tokio::test(start_paused = true)]
async fn every_key_is_passed_once_and_all_is_noted_and_nothing_sent() {
    let (runs, asked, bells) = dry_run(&["b", "a"], Duration::ZERO).await;
    let keys: Vec<&str> = runs.iter().map(|run| run.key.name.as_str()).collect();
    assert_eq!(keys, ["a", "b"]);
    for run in runs {
        let name = run.key.name.as_str();
        let version = if name == "b" { "2" } else { "3" };
        let content = json!({"data": {"marked": "yes"}, "metadata": {"resourceVersion": version}});
        let patch = NotedStep { verb: "patch", target: target(name), content };
        assert_eq!((run.r#loop, run.steps), ("marker", vec![patch, ring(name)]));
        let events: Vec<_> =
            run.events.iter().map(|event| (event.reason.as_str(), event.message.as_str())).collect();
        assert_eq!((events, run.failure), (vec![("Marked", name)], None));
    }
    assert_eq!(asked, ["GET /api/v1/namespaces/ns/configmaps/a", "GET /api/v1/namespaces/ns/configmaps/b"]);
    assert!(bells.is_empty());
}

#[tokio::test(start_paused = true)]
async fn failed_pass_tells_why() {
    let (runs, _, _) = dry_run(&["c"], Duration::ZERO).await;
    let failure = runs[0].failure.as_deref().unwrap();
    assert!(failure.starts_with("failed to mark: ConfigMap ns/c was changed by somebody else"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn key_that_background_work_queues_in_time_is_passed_again_and_its_steps_are_told_once() {
    let (once, _, _) = dry_run(&["a"], Duration::ZERO).await;
    let (twice, asked, _) = dry_run(&["a"], Duration::from_secs(10)).await;
    assert_eq!(twice[0], once[0]);
    assert_eq!(twice[1].key.name, "gone", "{twice:?}");
    assert_eq!(asked.len(), 1, "the second pass starts from what the first wrote");
}

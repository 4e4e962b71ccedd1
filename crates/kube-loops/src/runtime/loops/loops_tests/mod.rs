// SPDX-License-Identifier: Apache-2.0
//! Loops of one controller, over a scripted API server.

mod health_tests;
mod served_tests;
mod tasks_tests;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod},
};
use parking_lot::Mutex;
use prometheus::Registry;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    cluster::writer::Writer,
    testkit::scripted::{Ask, Fault, ScriptedApi},
};

use super::{
    super::{
        controller::{Controller as _, ControllerSpec, FencedClient, LoopSpec, Rule, RunError, Term},
        metrics::RuntimeMetrics,
        progress::Progress,
        reconciler::{Failure, Key, Outcome, Pass, Reconciler, Retry},
        watches::{Change, Store, WatchSpec, Watches},
    },
    AnyLoop as _, BuiltLoop, Loop, LoopController, LoopTerm, Sources, run_loops,
};
use kube_fenced_election::{
    clock::{Clock, SharedClock, SystemClock},
    fence::{Fence, FenceKeeper},
};

const PODS: &str = "/api/v1/pods";
const MAPS: &str = "/api/v1/configmaps";
const NAME: &str = "map-controller";
const SECOND: Duration = Duration::from_secs(1);

const SPEC: LoopSpec = LoopSpec {
    label: "map",
    event_source: "map",
    workers: 1,
    period: None,
    deadline: Some(Duration::from_secs(10)),
    backoff_cap: Duration::from_secs(1000),
    rules: &[],
};
const PERIODIC: LoopSpec = LoopSpec { label: "periodic", period: Some(Duration::from_secs(10)), ..SPEC };

impl Failure for Infallible {
    fn retry(&self) -> Retry {
        match *self {}
    }
}

/// Notes passes; a pass takes some time.
#[derive(Clone, Default)]
struct Recorder {
    log: Arc<Mutex<Vec<String>>>,
    takes: Duration,
    in_each: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Reconciler for Recorder {
    type Error = Infallible;

    async fn reconcile(&self, key: &Key, _: &Pass) -> Result<Outcome, Infallible> {
        sleep(self.takes).await;
        if let Some(in_each) = &self.in_each {
            in_each();
        }
        self.log.lock().push(key.name.clone());
        Ok(Outcome::Done)
    }

    fn forget(&self, key: &Key) {
        self.log.lock().push(format!("forgot {}", key.name));
    }
}

struct Bench {
    metrics: RuntimeMetrics,
    watches: Watches,
    pods: Store<Pod>,
    term: Term,
    recorder: Recorder,
    _keeper: FenceKeeper,
}

impl Bench {
    fn new(api: &ScriptedApi) -> Self {
        let metrics = RuntimeMetrics::register(&Registry::new()).unwrap();
        let clock: SharedClock = Arc::new(SystemClock);
        let watches = Watches::new(api.client(), Arc::clone(&clock), metrics.clone(), true);
        let (keeper, fence) = Fence::without_election(Arc::clone(&clock));
        let term = Term {
            fence,
            client: FencedClient(api.client()),
            clock: Arc::clone(&clock),
            drain: CancellationToken::new(),
            tasks: TaskTracker::new(),
            progress: Arc::new(Progress::new(clock)),
            workers: None,
        };
        Self {
            metrics,
            pods: watches.store(pods()),
            watches,
            term,
            recorder: Recorder::default(),
            _keeper: keeper,
        }
    }

    /// A loop over the maps, with what else is declared, and what runs beside it.
    fn built(
        &self,
        spec: &'static LoopSpec,
        open: impl Fn(&mut Sources<'_>) + Send + Sync + 'static,
        start: impl Fn(&mut LoopTerm) + Send + Sync + 'static,
    ) -> BuiltLoop {
        let one =
            TestLoop { spec, open: Box::new(open), start: Box::new(start), passes: self.recorder.clone() };
        let writer = Writer::new(self.term.client.0.clone());
        one.build(NAME, &self.watches, &self.metrics, &self.term, writer)
    }

    fn alone(&self, spec: &'static LoopSpec) -> BuiltLoop {
        self.built(spec, |sources| drop(sources.primary(maps())), |_| {})
    }

    /// Pods queue the map of their name's first letter.
    fn with_pods(&self) -> BuiltLoop {
        self.built(
            &SPEC,
            |sources| {
                sources.primary(maps());
                sources.trigger(pods(), pod_to_map);
            },
            |_| {},
        )
    }

    async fn run_for(&self, time: Duration, loops: Vec<BuiltLoop>) -> Option<Result<(), RunError>> {
        timeout(time, run_loops(&self.term, loops)).await.ok()
    }

    fn passes(&self) -> Vec<String> {
        std::mem::take(&mut self.recorder.log.lock())
    }
}

/// A loop whose parts are closures.
struct TestLoop {
    spec: &'static LoopSpec,
    open: Box<dyn Fn(&mut Sources<'_>) + Send + Sync>,
    start: Box<dyn Fn(&mut LoopTerm) + Send + Sync>,
    passes: Recorder,
}

impl Loop for TestLoop {
    type Stores = ();
    type Reconciler = Recorder;

    fn spec(&self) -> &'static LoopSpec {
        self.spec
    }

    fn open(&self, sources: &mut Sources<'_>) {
        (self.open)(sources);
    }

    fn start(&self, (): (), term: &mut LoopTerm) -> Recorder {
        (self.start)(term);
        self.passes.clone()
    }
}

fn maps() -> WatchSpec<ConfigMap> {
    WatchSpec::all()
}

fn pods() -> WatchSpec<Pod> {
    WatchSpec::all()
}

fn pod_to_map(change: &Change<Pod>) -> Vec<Key> {
    vec![Key::new("ns", &change.key().name[..1])]
}

fn map(name: &str) -> Value {
    json!({ "metadata": { "namespace": "ns", "name": name, "uid": name } })
}

fn pod(name: &str) -> Value {
    json!({ "metadata": { "namespace": "ns", "name": name, "uid": name }, "spec": { "containers": [] } })
}

fn api() -> ScriptedApi {
    let api = ScriptedApi::new();
    api.put(MAPS, map("a"));
    api.put(MAPS, map("b"));
    api.serve(PODS);
    api
}

#[tokio::test]
async fn a_controller_must_be_allowed_to_read_what_its_loops_open_to_send_events_and_what_they_name() {
    const WRITES: LoopSpec = LoopSpec { rules: &[Rule::new("", &["pods/status"], &["patch"])], ..SPEC };
    static BOTH: ControllerSpec = ControllerSpec { name: NAME, required_kinds: &[] };
    let bench = Bench::new(&api());
    let one = |spec, open| TestLoop { spec, open, start: Box::new(|_| {}), passes: Recorder::default() };
    let controller = LoopController::new(&BOTH, &bench.watches, &bench.metrics)
        .with(one(&SPEC, Box::new(|sources| drop(sources.primary(maps())))))
        .with(one(
            &WRITES,
            Box::new(|sources| drop(sources.reads_if_served(WatchSpec::<Deployment>::all()))),
        ));
    let allowed = controller.permissions();
    let allowed: Vec<_> =
        allowed.iter().map(|it| format!("{}/{} {}", it.group, it.resource, it.verb)).collect();
    let of_events = ["/events create", "/events patch", "/events update"];
    let of_maps = ["/configmaps get", "/configmaps list", "/configmaps watch"];
    let of_deployments = ["apps/deployments get", "apps/deployments list", "apps/deployments watch"];
    assert_eq!(allowed, [&of_maps[..], &of_events, &["/pods/status patch"], &of_deployments].concat());
}

#[tokio::test(start_paused = true)]
async fn a_term_queues_every_key_once_and_then_what_triggers_ask_for() {
    let api = api();
    let bench = Bench::new(&api);
    let changes = async {
        sleep(SECOND).await;
        assert_eq!(bench.passes(), ["a", "b"]);
        api.put(MAPS, map("b"));
        sleep(SECOND).await;
        assert_eq!(bench.passes(), ["b"]);
        api.put(PODS, pod("a-0"));
        sleep(SECOND).await;
        assert_eq!(bench.passes(), ["a"]);
        api.delete(PODS, "ns", "a-0");
        sleep(SECOND).await;
        assert_eq!(bench.passes(), ["a"]);
        api.put(MAPS, map("c"));
        sleep(SECOND).await;
        assert_eq!(bench.passes(), ["c"]);
        api.delete(MAPS, "ns", "b");
        sleep(SECOND).await;
        assert_eq!(bench.passes(), ["b", "forgot b"]);
    };
    tokio::select! {
        ended = run_loops(&bench.term, vec![bench.with_pods()]) => panic!("{ended:?}"),
        () = changes => {}
    }
}

#[tokio::test(start_paused = true)]
async fn updates_that_are_not_worth_a_pass_queue_nothing() {
    let api = api();
    let bench = Bench::new(&api);
    let generation = |map: &ConfigMap| map.metadata.generation;
    let built = bench.built(
        &SPEC,
        move |sources| drop(sources.primary_when(maps(), move |old, new| generation(old) != generation(new))),
        |_| {},
    );
    let changes = async {
        sleep(SECOND).await;
        bench.passes();
        api.put(MAPS, map("a"));
        sleep(SECOND).await;
        assert!(bench.passes().is_empty());
        let mut changed = map("a");
        changed["metadata"]["generation"] = json!(2);
        api.put(MAPS, changed);
        api.delete(MAPS, "ns", "b");
        sleep(SECOND).await;
        assert_eq!(bench.passes(), ["a", "b", "forgot b"]);
    };
    tokio::select! {
        ended = run_loops(&bench.term, vec![built]) => panic!("{ended:?}"),
        () = changes => {}
    }
}

#[tokio::test(start_paused = true)]
async fn all_keys_come_each_period_and_about_every_ten_hours() {
    let api = api();
    let bench = Bench::new(&api);
    bench.run_for(35 * SECOND, vec![bench.alone(&PERIODIC)]).await;
    assert_eq!(bench.passes(), ["a", "b", "a", "b", "a", "b", "a", "b"]);

    bench.run_for(9 * 3600 * SECOND, vec![bench.alone(&SPEC)]).await;
    assert_eq!(bench.passes(), ["a", "b"]);
    bench.run_for(11 * 3600 * SECOND, vec![bench.alone(&SPEC)]).await;
    assert_eq!(bench.passes(), ["a", "b", "a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn the_first_pass_waits_until_all_stores_have_caught_up() {
    let api = api();
    let bench = Bench::new(&api);
    sleep(SECOND).await;
    api.hold_watches(PODS, true);
    api.put(PODS, pod("a-0")); // by the predecessor, unseen by our watch
    let pods = bench.pods.clone();
    let seen = Arc::new(AtomicBool::new(false));
    let witness = Arc::clone(&seen);
    let built = bench.built(
        &SPEC,
        |sources| {
            sources.primary(maps());
            sources.reads(self::pods());
        },
        move |term| {
            let (pods, witness) = (pods.clone(), Arc::clone(&witness));
            term.run_beside("probe", async move {
                witness.store(pods.get("ns", "a-0").is_some(), Ordering::SeqCst);
                std::future::pending::<()>().await;
            });
        },
    );
    let start = SystemClock.instant();
    bench.run_for(SECOND, vec![built]).await;
    assert!(seen.load(Ordering::SeqCst), "what the predecessor wrote is there when the term's work starts");
    assert_eq!(bench.passes(), ["a", "b"]);
    assert!(SystemClock.instant() - start >= Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn drain_lets_the_pass_under_way_end_and_starts_no_other() {
    let api = api();
    let mut bench = Bench::new(&api);
    bench.recorder.takes = 5 * SECOND;
    let stop = async {
        sleep(SECOND).await;
        bench.term.drain.cancel();
    };
    let (ended, ()) = tokio::join!(bench.run_for(10 * SECOND, vec![bench.with_pods()]), stop);
    assert!(matches!(ended, Some(Ok(()))), "{ended:?}");
    assert_eq!(bench.passes(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn drain_before_the_first_list_ends_well() {
    let api = ScriptedApi::new();
    let bench = Bench::new(&api);
    bench.term.drain.cancel();
    let ended = bench.run_for(SECOND, vec![bench.with_pods()]).await;
    assert!(matches!(ended, Some(Ok(()))), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_term_runs_nothing_any_more_and_the_next_starts_anew() {
    let api = api();
    let mut bench = Bench::new(&api);
    bench.recorder.takes = 5 * SECOND;
    bench.run_for(7 * SECOND, vec![bench.with_pods()]).await;
    assert_eq!(bench.passes(), ["a"], "b was under way");
    api.put(PODS, pod("a-0"));
    sleep(100 * SECOND).await;
    assert!(bench.passes().is_empty());
    bench.run_for(11 * SECOND, vec![bench.with_pods()]).await;
    assert_eq!(bench.passes(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_not_filled_in_two_minutes_ends_the_run_and_is_named() {
    let api = api();
    api.stop_serving(PODS);
    let bench = Bench::new(&api);
    let ended = bench.run_for(121 * SECOND, vec![bench.with_pods()]).await;
    let Some(Err(RunError::CacheSync { kind, cause })) = ended else { panic!("{ended:?}") };
    assert_eq!((kind.as_str(), cause.as_str()), ("pods", "the kind is not served"));
    assert!(bench.passes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_may_be_absent_is_not_waited_for() {
    let api = api();
    api.stop_serving(PODS);
    let bench = Bench::new(&api);
    let built = bench.built(
        &SPEC,
        |sources| {
            sources.primary(maps());
            sources.trigger_if_served(pods(), pod_to_map);
        },
        |_| {},
    );
    let later = async {
        sleep(SECOND).await;
        assert_eq!(bench.passes(), ["a", "b"]);
        api.put(PODS, pod("b-0"));
        sleep(31 * SECOND).await;
        assert_eq!(bench.passes(), ["b"], "once it is served, its triggers work");
    };
    tokio::select! {
        ended = run_loops(&bench.term, vec![built]) => panic!("{ended:?}"),
        () = later => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_required_kind_that_vanishes_ends_the_run_and_an_optional_one_does_not() {
    for required in [true, false] {
        let api = api();
        let bench = Bench::new(&api);
        let built = if required {
            bench.with_pods()
        } else {
            bench.built(
                &SPEC,
                |sources| {
                    sources.primary(maps());
                    sources.trigger_if_served(pods(), pod_to_map);
                },
                |_| {},
            )
        };
        let vanish = async {
            sleep(10 * SECOND).await;
            api.stop_serving(PODS);
        };
        let (ended, ()) = tokio::join!(bench.run_for(100 * SECOND, vec![built]), vanish);
        assert_eq!(ended.is_some(), required, "{ended:?}");
        if let Some(ended) = ended {
            let Err(RunError::CacheSync { kind, cause }) = ended else { panic!("{ended:?}") };
            assert_eq!((kind.as_str(), cause.as_str()), ("pods", "the kind is not served any more"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_unknown_for_a_moment_only_ends_nothing() {
    let api = api();
    let bench = Bench::new(&api);
    let blink = async {
        sleep(11 * SECOND).await;
        api.stop_serving(PODS);
        sleep(SECOND).await;
        api.serve(PODS);
    };
    let (ended, ()) = tokio::join!(bench.run_for(100 * SECOND, vec![bench.with_pods()]), blink);
    assert!(ended.is_none(), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn loops_of_a_controller_start_together() {
    let api = api();
    api.fail(Ask::StreamingList, PODS, Fault::Status(500));
    let bench = Bench::new(&api);
    let other = bench.alone(&PERIODIC);
    let heal = async {
        sleep(50 * SECOND).await;
        assert!(bench.passes().is_empty(), "the second loop needs no pods, but waits for the first");
        api.heal();
    };
    tokio::join!(bench.run_for(100 * SECOND, vec![bench.with_pods(), other]), heal);
    assert!(bench.passes().len() >= 4);
}

#[tokio::test(start_paused = true)]
async fn a_part_that_ends_or_panics_by_itself_ends_the_run_and_is_named() {
    let api = api();
    let bench = Bench::new(&api);
    let with = |work: fn() -> BoxFuture<'static, ()>| {
        let open = |sources: &mut Sources<'_>| drop(sources.primary(maps()));
        bench.built(&SPEC, open, move |term| term.run_beside("scraper", work()))
    };
    let ends = with(|| async {}.boxed());
    let ended = bench.run_for(SECOND, vec![bench.with_pods(), ends]).await;
    assert!(matches!(ended, Some(Err(RunError::Ended { part: "scraper" }))), "{ended:?}");
    let panics = with(|| async { panic!("boom") }.boxed());
    let ended = bench.run_for(SECOND, vec![panics, bench.with_pods()]).await;
    let Some(Err(RunError::Panicked { part: "scraper", message })) = ended else { panic!("{ended:?}") };
    assert_eq!(message, "boom");
    assert!(bench.term.tasks.is_empty(), "the other loop has ended, too");
}

#[tokio::test(start_paused = true)]
async fn background_work_queues_keys_through_the_loops_handle() {
    let api = api();
    let bench = Bench::new(&api);
    let built = bench.built(
        &SPEC,
        |sources| drop(sources.primary(maps())),
        |term| {
            let enqueue = term.enqueue.clone();
            term.run_beside("loader", async move {
                sleep(5 * SECOND).await;
                enqueue.add(Key::new("ns", "a"));
                std::future::pending::<()>().await;
            });
        },
    );
    bench.run_for(10 * SECOND, vec![built]).await;
    assert_eq!(bench.passes(), ["a", "b", "a"]);
}

#[tokio::test(start_paused = true)]
async fn as_many_passes_at_a_time_as_the_operator_says() {
    let api = ScriptedApi::new();
    api.serve(PODS);
    (0..6).for_each(|n| drop(api.put(MAPS, map(&n.to_string()))));
    let mut bench = Bench::new(&api);
    bench.term.workers = Some(3);
    bench.recorder.takes = SECOND;
    bench.run_for(Duration::from_millis(1500), vec![bench.with_pods()]).await;
    assert_eq!(bench.passes().len(), 3);
}

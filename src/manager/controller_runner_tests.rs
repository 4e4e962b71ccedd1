// SPDX-License-Identifier: Apache-2.0
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use prometheus::{IntGaugeVec, Opts, Registry};
use tokio_util::{sync::CancellationToken, task::task_tracker::TaskTrackerToken};

use kube_fenced_election::{
    clock::{Clock, SharedClock, SystemClock},
    without_election,
};
use kube_loops::{
    runtime::{
        controller::{Controller, ControllerSpec, FencedClient, Kind, LoopSpec, RunError, Term},
        loops::{Loop, LoopController, LoopTerm, Sources},
        metrics::RuntimeMetrics,
        reconciler::{Failure, Key, Outcome, Pass, Reconciler, Retry},
        watches::{Read, Watches},
    },
    testkit::scripted::ScriptedApi,
};

use super::{
    ControllerRunner, ControllerState, ControllerStates, HealthGate, KindProbe, RunnerContext,
    ShutdownOutcome,
};

static KIND: [Kind; 1] = [Kind { group: "a.io", version: "v1", kind: "A", plural: "as" }];
static SPEC: ControllerSpec = ControllerSpec { name: "some-controller", required_kinds: &[] };
static SPEC_WITH_KIND: ControllerSpec = ControllerSpec { name: "some-controller", required_kinds: &KIND };

/// What each term of the controller does; the last one for ever.
#[derive(Clone, Copy)]
enum Does {
    Panics,
    Fails,
    WorksUntilDrained,
    NeverEnds,
    /// Fails while one of its tasks has not ended yet.
    LeavesATask,
}

struct Scripted {
    spec: &'static ControllerSpec,
    script: Vec<Does>,
    terms: Arc<AtomicUsize>,
    /// The tasks that were left.
    left: Arc<Mutex<Vec<TaskTrackerToken>>>,
}

impl Controller for Scripted {
    fn spec(&self) -> &'static ControllerSpec {
        self.spec
    }

    fn loops(&self) -> Vec<&'static LoopSpec> {
        Vec::new()
    }

    fn reads(&self) -> Vec<Read> {
        Vec::new()
    }

    fn run(&self, term: Term) -> BoxFuture<'static, Result<(), RunError>> {
        let turn = self.terms.fetch_add(1, Ordering::SeqCst);
        let does = self.script[turn.min(self.script.len() - 1)];
        let left = Arc::clone(&self.left);
        async move {
            match does {
                Does::Panics => panic!("as scripted"),
                Does::Fails => Err(RunError::CacheSync { kind: "as.a.io".into(), cause: "forbidden".into() }),
                Does::WorksUntilDrained => {
                    term.drain.cancelled().await;
                    Ok(())
                }
                Does::NeverEnds => std::future::pending().await,
                Does::LeavesATask => {
                    left.lock().push(term.tasks.token());
                    Err(RunError::Ended { part: "loop" })
                }
            }
        }
        .boxed()
    }
}

struct Stage {
    runner: ControllerRunner,
    handles: Vec<kube_fenced_election::Task>,
    states: Arc<ControllerStates>,
    terms: Arc<AtomicUsize>,
    left: Arc<Mutex<Vec<TaskTrackerToken>>>,
    shutdown: CancellationToken,
}

fn stage(spec: &'static ControllerSpec, script: &[Does], served: Result<bool, &'static str>) -> Stage {
    stage_asking(spec, script, Arc::new(move |_| async move { served.map_err(str::to_owned) }.boxed()))
}

fn stage_asking(spec: &'static ControllerSpec, script: &[Does], probe: KindProbe) -> Stage {
    let (terms, left) = (Arc::default(), Arc::default());
    let controller =
        Scripted { spec, script: script.to_vec(), terms: Arc::clone(&terms), left: Arc::clone(&left) };
    Stage { terms, left, ..stage_of(Arc::new(controller), probe) }
}

fn stage_of(controller: Arc<dyn Controller>, probe: KindProbe) -> Stage {
    let spec = controller.spec();
    let clock: SharedClock = Arc::new(SystemClock);
    let shutdown = CancellationToken::new();
    let (mut handles, tasks) = without_election(&[spec.name], "pod_1", &clock, &shutdown);
    let gauge = IntGaugeVec::new(Opts::new("state", "help"), &["controller", "state"]).expect("a family");
    let states = Arc::new(ControllerStates::new(gauge));
    let context = RunnerContext {
        clock,
        client: Arc::new(|_, _| {
            let refuse = tower::service_fn(|_: http::Request<kube::client::Body>| async {
                Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("no server here"))
            });
            FencedClient(kube::Client::new(refuse, "default"))
        }),
        probe,
        states: Arc::clone(&states),
        shutdown: shutdown.clone(),
        drain_budget: Duration::from_secs(6),
        warm_standby: true,
        health_gate: HealthGate::default(),
    };
    let runner = ControllerRunner::new(controller, handles.remove(0), None, context);
    Stage { runner, handles: tasks, states, terms: Arc::default(), left: Arc::default(), shutdown }
}

/// Lets the runner run; asks it to stop after `lived`, and answers how and when it ended.
async fn play(stage: Stage, lived: Duration) -> (ShutdownOutcome, Duration) {
    let start = SystemClock.instant();
    let handles = stage.handles.into_iter().map(|task| task.run);
    let handles = futures::future::join_all(handles);
    let stopping = async {
        tokio::time::sleep(lived).await;
        stage.shutdown.cancel();
    };
    let (outcome, ..) = tokio::join!(stage.runner.run(), handles, stopping);
    (outcome, SystemClock.instant() - start)
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_panics_is_started_again_after_its_back_off() {
    let stage = stage(&SPEC, &[Does::Panics, Does::Panics, Does::WorksUntilDrained], Ok(true));
    let terms = Arc::clone(&stage.terms);
    let (outcome, _) = play(stage, Duration::from_secs(10)).await;
    assert_eq!((outcome, terms.load(Ordering::SeqCst)), (ShutdownOutcome::Graceful, 3));
}

#[tokio::test(start_paused = true)]
async fn caches_that_do_not_fill_keep_a_controller_out_for_ten_seconds() {
    let stage = stage(&SPEC, &[Does::Fails, Does::WorksUntilDrained], Ok(true));
    let terms = Arc::clone(&stage.terms);
    let (_, _) = play(stage, Duration::from_secs(9)).await;
    assert_eq!(terms.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn work_that_ends_when_drained_ends_the_life_at_once_and_orderly() {
    let stage = stage(&SPEC, &[Does::WorksUntilDrained], Ok(true));
    let states = Arc::clone(&stage.states);
    let (outcome, after) = play(stage, Duration::from_secs(5)).await;
    assert_eq!(outcome, ShutdownOutcome::Graceful);
    assert!(after < Duration::from_millis(5100), "{after:?}");
    assert_eq!(states.get(SPEC.name), Some(ControllerState::Stopped));
}

#[tokio::test(start_paused = true)]
async fn work_that_never_ends_is_unfinished_after_the_budget() {
    let stage = stage(&SPEC, &[Does::NeverEnds], Ok(true));
    let (outcome, after) = play(stage, Duration::from_secs(5)).await;
    assert_eq!(outcome, ShutdownOutcome::TimedOut);
    assert!((11_000..12_500).contains(&after.as_millis()), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn the_next_term_begins_only_after_the_last_task_of_the_one_before_has_ended() {
    let stage = stage(&SPEC, &[Does::LeavesATask, Does::WorksUntilDrained], Ok(true));
    let (terms, left, states) =
        (Arc::clone(&stage.terms), Arc::clone(&stage.left), Arc::clone(&stage.states));
    let ending = async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(
            (states.get(SPEC.name), terms.load(Ordering::SeqCst)),
            (Some(ControllerState::Stopping), 1)
        );
        left.lock().clear();
    };
    let ((outcome, _), ()) = tokio::join!(play(stage, Duration::from_secs(110)), ending);
    assert_eq!((outcome, terms.load(Ordering::SeqCst)), (ShutdownOutcome::Graceful, 2));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_does_not_end_leaves_the_term_unfinished_after_the_budget() {
    let stage = stage(&SPEC, &[Does::LeavesATask], Ok(true));
    let left = Arc::clone(&stage.left);
    let (outcome, after) = play(stage, Duration::from_secs(5)).await;
    assert_eq!((outcome, left.lock().len()), (ShutdownOutcome::TimedOut, 1));
    assert!((11_000..12_500).contains(&after.as_millis()), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_controller_whose_kind_is_missing_waits_and_never_works() {
    let stage = stage(&SPEC_WITH_KIND, &[Does::WorksUntilDrained], Ok(false));
    let (states, terms) = (Arc::clone(&stage.states), Arc::clone(&stage.terms));
    let shutdown = stage.shutdown.clone();
    let watching = async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(states.get(SPEC_WITH_KIND.name), Some(ControllerState::WaitingForCrd));
        shutdown.cancel();
    };
    let ((outcome, _), ()) = tokio::join!(play(stage, Duration::from_secs(100)), watching);
    assert_eq!((outcome, terms.load(Ordering::SeqCst)), (ShutdownOutcome::Graceful, 0));
}

/// It stands from its first look on, so it may win before discovery has answered again.
#[tokio::test(start_paused = true)]
async fn lease_won_while_discovery_hangs_is_worked_under() {
    let looks = AtomicUsize::new(0);
    let first_only: KindProbe = Arc::new(move |_| {
        let first = looks.fetch_add(1, Ordering::SeqCst) == 0;
        async move { if first { Ok(true) } else { std::future::pending().await } }.boxed()
    });
    let stage = stage_asking(&SPEC_WITH_KIND, &[Does::Fails, Does::WorksUntilDrained], first_only);
    let (terms, states) = (Arc::clone(&stage.terms), Arc::clone(&stage.states));
    let (outcome, _) = play(stage, Duration::from_secs(30)).await;
    assert_eq!((outcome, terms.load(Ordering::SeqCst)), (ShutdownOutcome::Graceful, 2));
    assert_eq!(states.get(SPEC.name), Some(ControllerState::Stopped));
}

/// A loop with one key, whose passes end at once or never.
struct OneKey {
    spec: &'static LoopSpec,
    hangs: bool,
    terms: Arc<AtomicUsize>,
}

#[derive(Debug, thiserror::Error)]
enum Never {}

impl Failure for Never {
    fn retry(&self) -> Retry {
        match *self {}
    }
}

impl Loop for OneKey {
    type Stores = ();
    type Reconciler = Self;

    fn spec(&self) -> &'static LoopSpec {
        self.spec
    }

    fn open(&self, sources: &mut Sources<'_>) {
        sources.keyed(|| vec![Key::new("ns", "a")], |_| true);
    }

    fn start(&self, (): (), _: &mut LoopTerm) -> Self {
        self.terms.fetch_add(1, Ordering::SeqCst);
        Self { spec: self.spec, hangs: self.hangs, terms: Arc::clone(&self.terms) }
    }
}

impl Reconciler for OneKey {
    type Error = Never;

    async fn reconcile(&self, _: &Key, _: &Pass) -> Result<Outcome, Never> {
        if self.hangs {
            std::future::pending::<()>().await;
        }
        Ok(Outcome::RequeueAfter(Duration::from_secs(1)))
    }
}

// scenario: hardening 12
#[tokio::test(start_paused = true)]
async fn loop_that_hangs_costs_the_lease_within_its_bound_though_another_of_the_controller_works() {
    const WORKS: LoopSpec = LoopSpec {
        label: "works",
        event_source: "works",
        workers: 1,
        period: None,
        deadline: Some(Duration::from_secs(20)),
        backoff_cap: Duration::from_secs(5),
        rules: &[],
    };
    static WORKING: LoopSpec = WORKS;
    static HANGING: LoopSpec = LoopSpec { label: "hangs", ..WORKS };
    let metrics = RuntimeMetrics::register(&Registry::new()).expect("families");
    let watches = Watches::new(ScriptedApi::new().client(), Arc::new(SystemClock), metrics.clone(), true);
    let terms = |hangs: bool| {
        let terms = Arc::default();
        let of_loop = |spec, hangs| OneKey { spec, hangs, terms: Arc::clone(&terms) };
        let controller = LoopController::new(&SPEC, &watches, &metrics)
            .with(of_loop(&WORKING, false))
            .with(of_loop(&HANGING, hangs));
        let stage = stage_of(Arc::new(controller), Arc::new(|_| async { Ok(true) }.boxed()));
        (stage, terms)
    };
    // Its longest pass and a minute, and moments to look.
    for (lived, begun) in [(78, 1), (84, 2)] {
        let (stage, terms) = terms(true);
        play(stage, Duration::from_secs(lived)).await;
        assert_eq!(terms.load(Ordering::SeqCst), 2 * begun, "loops that began within {lived} s");
    }
    let (stage, terms) = terms(false);
    play(stage, Duration::from_secs(1000)).await;
    assert_eq!(terms.load(Ordering::SeqCst), 2, "both work");
}

// SPDX-License-Identifier: Apache-2.0
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use prometheus::{Encoder, Registry, TextEncoder};
use tokio::time::{advance, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{events::Recorder, writer::Writer},
    testkit::scripted_api::{Answer, ScriptedApi},
};

use super::{
    controller::LoopSpec,
    metrics::{PassResult, RuntimeMetrics},
    progress::Progress,
    queue::Queue,
    reconciler::{Failure, Key, Outcome, Pass, Reconciler, Retry},
    worker::{LogPolicy, PassEnd, QueueAction, Worker, classify},
};
use kube_fenced_election::clock::{SharedClock, SystemClock};

#[derive(Debug, thiserror::Error)]
#[error("scripted failure")]
struct Scripted(Retry);

impl Failure for Scripted {
    fn retry(&self) -> Retry {
        self.0
    }
}

/// What a pass does, by the name of its key.
#[derive(Clone, Copy)]
enum Act {
    Answer(Outcome),
    Fail(Retry),
    Panic,
    Hang,
    Work(Duration),
}

#[derive(Default)]
struct Log {
    passes: Vec<(String, u32)>,
    forgotten: Vec<String>,
    running: usize,
    most: usize,
}

struct Actor {
    acts: HashMap<&'static str, Act>,
    log: Arc<Mutex<Log>>,
}

/// Counts a pass as running, even if it is dropped half-way.
struct Running(Arc<Mutex<Log>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
    }
}

impl Reconciler for Actor {
    type Error = Scripted;

    async fn reconcile(&self, key: &Key, pass: &Pass) -> Result<Outcome, Scripted> {
        let _running = {
            let mut log = self.log.lock();
            log.passes.push((key.name.clone(), pass.attempt));
            log.running += 1;
            log.most = log.most.max(log.running);
            Running(Arc::clone(&self.log))
        };
        match self.acts.get(key.name.as_str()).copied().unwrap_or(Act::Answer(Outcome::Done)) {
            Act::Answer(outcome) => Ok(outcome),
            Act::Fail(retry) => Err(Scripted(retry)),
            Act::Panic => panic!("scripted panic"),
            Act::Hang => std::future::pending().await,
            Act::Work(time) => {
                sleep(time).await;
                Ok(Outcome::Done)
            }
        }
    }

    fn forget(&self, key: &Key) {
        self.log.lock().forgotten.push(key.name.clone());
    }
}

const SPEC: LoopSpec = LoopSpec {
    label: "thing",
    event_source: "thing",
    workers: 1,
    period: None,
    deadline: Some(Duration::from_secs(10)),
    backoff_cap: Duration::from_secs(1000),
    rules: &[],
};

struct Bench {
    worker: Arc<Worker<Actor>>,
    queue: Queue,
    log: Arc<Mutex<Log>>,
    registry: Registry,
    progress: Arc<Progress>,
    drain: CancellationToken,
}

fn bench(acts: &[(&'static str, Act)], present: &[&str]) -> Bench {
    let registry = Registry::new();
    let metrics = RuntimeMetrics::register(&registry).unwrap();
    let clock: SharedClock = Arc::new(SystemClock);
    let progress = Arc::new(Progress::new(Arc::clone(&clock)));
    let of_loop = progress.of_loop(SPEC.label, SPEC.longest_pass());
    let queue = Queue::new(&SPEC, Arc::clone(&clock), &metrics.of(&SPEC), of_loop.clone());
    let client = ScriptedApi::new(|_| Answer::not_found()).client();
    let (recorder, _) = Recorder::new(client.clone(), "thing", Arc::clone(&clock));
    let log = Arc::new(Mutex::new(Log::default()));
    let present: HashSet<String> = present.iter().map(|name| (*name).to_owned()).collect();
    let worker = Worker {
        controller: "thing-controller",
        spec: &SPEC,
        reconciler: Actor { acts: acts.iter().copied().collect(), log: Arc::clone(&log) },
        queue: queue.clone(),
        reads: Vec::new(),
        exists: Arc::new(move |key: &Key| present.contains(&key.name)),
        clock,
        progress: of_loop,
        writer: Writer::new(client),
        recorder,
        metrics: metrics.of(&SPEC),
        failures: Mutex::new(HashMap::new()),
    };
    Bench { worker: Arc::new(worker), queue, log, registry, progress, drain: CancellationToken::new() }
}

impl Bench {
    fn add(&self, names: &[&str]) {
        for name in names {
            self.queue.add(Key::new("ns", *name));
        }
    }

    /// Runs the workers for some time, then drops them as at the end of a term.
    async fn run_for(&self, max_concurrent: usize, time: Duration) {
        tokio::time::timeout(time, self.worker.run(max_concurrent, &self.drain)).await.unwrap_err();
    }

    fn passes(&self) -> Vec<(String, u32)> {
        self.log.lock().passes.clone()
    }

    fn metric(&self, line: &str) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let found = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("{line} is missing")).to_owned()
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// End of a pass, failures before it, what follows, name of the row.
type Row = (PassEnd<Scripted>, u32, QueueAction, Option<PassResult>, LogPolicy, &'static str);

#[test]
fn every_end_of_a_pass_has_its_row() {
    use LogPolicy as Log;
    use PassResult::{Error, Requeue, RequeueAfter, Success};
    use QueueAction::{AddAfter, AddRateLimited, DropPass, Forget, ForgetAndAddAfter};
    let five = Duration::from_secs(5);
    let failed = |retry| PassEnd::Answered(Err(Scripted(retry)));
    let rows: [Row; 9] = [
        (PassEnd::Answered(Ok(Outcome::Done)), 3, Forget, Some(Success), Log::Debug, "done"),
        (
            PassEnd::Answered(Ok(Outcome::RequeueAfter(five))),
            0,
            ForgetAndAddAfter(five),
            Some(RequeueAfter),
            Log::Debug,
            "requeue after",
        ),
        (failed(Retry::Soon), 0, AddRateLimited, Some(Requeue), Log::Debug, "conflict"),
        (failed(Retry::Soon), 3, AddRateLimited, Some(Requeue), Log::Debug, "fourth conflict"),
        (failed(Retry::Soon), 4, AddRateLimited, Some(Requeue), Log::Warn, "fifth conflict"),
        (failed(Retry::Backoff), 0, AddRateLimited, Some(Error), Log::WarnOnNewCause, "trouble"),
        (failed(Retry::After(five)), 0, AddAfter(five), Some(Error), Log::WarnOnNewCause, "paced"),
        (failed(Retry::TermOver), 0, DropPass, None, Log::Debug, "term over"),
        (PassEnd::Panicked("x".into()), 0, AddRateLimited, Some(Error), Log::Error, "panic"),
    ];
    for (ended, attempt, action, result, log, row) in rows {
        let handling = classify(&ended, attempt);
        assert_eq!((handling.action, handling.result, handling.log), (action, result, log), "{row}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_good_pass_waits_for_triggers() {
    let bench = bench(&[], &["a"]);
    bench.add(&["a"]);
    bench.run_for(1, Duration::from_secs(100_000)).await;
    assert_eq!(bench.passes(), [("a".to_owned(), 0)]);
    assert_eq!(
        bench.metric(r#"controller_runtime_reconcile_total{controller="thing",result="success"}"#),
        "1"
    );
}

#[tokio::test(start_paused = true)]
async fn requeue_after_comes_back_after_the_delay_each_time() {
    let bench = bench(&[("a", Act::Answer(Outcome::RequeueAfter(10 * SECOND)))], &["a"]);
    bench.add(&["a"]);
    bench.run_for(1, 35 * SECOND).await;
    assert_eq!(bench.passes().len(), 4);
    assert_eq!(
        bench.metric(r#"controller_runtime_reconcile_total{controller="thing",result="requeue_after"}"#),
        "4"
    );
}

#[tokio::test(start_paused = true)]
async fn failures_back_off_and_the_pass_learns_how_often_it_failed() {
    let bench = bench(&[("a", Act::Fail(Retry::Backoff))], &["a"]);
    bench.add(&["a"]);
    // 5 + 10 + 20 + 40 ms: the fifth pass runs after 75 ms, the sixth after 155 ms.
    bench.run_for(1, Duration::from_millis(120)).await;
    let attempts: Vec<u32> = bench.passes().into_iter().map(|(_, attempt)| attempt).collect();
    assert_eq!(attempts, [0, 1, 2, 3, 4]);
    assert_eq!(bench.metric(r#"controller_runtime_reconcile_errors_total{controller="thing"}"#), "5");
}

#[tokio::test(start_paused = true)]
async fn a_pass_of_a_term_that_is_over_is_neither_retried_nor_counted() {
    let bench = bench(&[("a", Act::Fail(Retry::TermOver))], &["a"]);
    bench.add(&["a"]);
    bench.run_for(1, Duration::from_secs(100_000)).await;
    assert_eq!(bench.passes().len(), 1);
    for result in ["success", "error", "requeue", "requeue_after"] {
        let series = format!(r#"controller_runtime_reconcile_total{{controller="thing",result="{result}"}}"#);
        assert_eq!(bench.metric(&series), "0", "{result}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_hits_only_its_own_key_and_is_retried() {
    let bench = bench(&[("bad", Act::Panic)], &["bad", "good"]);
    bench.add(&["bad", "good"]);
    bench.run_for(1, Duration::from_millis(12)).await;
    let names: Vec<String> = bench.passes().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["bad", "good", "bad"]);
    assert_eq!(bench.metric(r#"controller_runtime_reconcile_panics_total{controller="thing"}"#), "2");
    assert_eq!(bench.metric(r#"controller_runtime_reconcile_errors_total{controller="thing"}"#), "2");
    assert_eq!(bench.metric(r#"controller_runtime_active_workers{controller="thing"}"#), "0");
}

#[tokio::test(start_paused = true)]
async fn a_pass_is_cancelled_at_its_deadline_and_others_go_on() {
    let bench = bench(&[("stuck", Act::Hang)], &["stuck", "good"]);
    bench.add(&["stuck", "good"]);
    bench.run_for(1, Duration::from_millis(10_002)).await;
    let names: Vec<String> = bench.passes().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["stuck", "good"]);
    assert_eq!(bench.metric(r#"controller_runtime_reconcile_total{controller="thing",result="error"}"#), "1");
}

#[tokio::test(start_paused = true)]
async fn passes_that_only_run_into_their_deadline_are_no_progress() {
    let bench = bench(&[("stuck", Act::Hang)], &["stuck"]);
    bench.add(&["stuck"]);
    bench.run_for(1, Duration::from_secs(69)).await;
    assert_eq!(bench.progress.stuck(60 * SECOND), None);
    advance(SECOND).await;
    assert_eq!(bench.progress.stuck(60 * SECOND).map(|stuck| stuck.reason), Some("NoPassFinished"));
}

#[tokio::test(start_paused = true)]
async fn passes_run_as_many_at_a_time_as_there_are_workers_but_one_per_key() {
    let work = Act::Work(SECOND);
    let bench = bench(&[("a", work), ("b", work), ("c", work), ("d", work)], &["a", "b", "c", "d"]);
    bench.add(&["a", "b", "c", "d"]);
    let more = async {
        sleep(Duration::from_millis(100)).await;
        bench.add(&["a", "a", "b"]);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = bench.run_for(3, Duration::from_millis(900)) => {}
        () = more => {}
    }
    let names: Vec<String> = bench.passes().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "b", "c"], "d waits for a worker, a and b for themselves");
    assert_eq!(bench.log.lock().most, 3);
}

#[tokio::test(start_paused = true)]
async fn drain_starts_nothing_new_and_lets_passes_end() {
    let bench = bench(&[("a", Act::Work(5 * SECOND))], &["a", "b"]);
    bench.add(&["a", "b"]);
    let stop = async {
        sleep(SECOND).await;
        bench.drain.cancel();
    };
    tokio::join!(bench.worker.run(1, &bench.drain), stop);
    let names: Vec<String> = bench.passes().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a"]);
    assert_eq!(bench.log.lock().running, 0);
    assert_eq!(
        bench.metric(r#"controller_runtime_reconcile_total{controller="thing",result="success"}"#),
        "1"
    );
}

#[tokio::test(start_paused = true)]
async fn dropping_the_workers_ends_passes_at_once_and_leaves_no_gauge_behind() {
    let bench = bench(&[("a", Act::Hang)], &["a"]);
    bench.add(&["a"]);
    bench.run_for(1, SECOND).await;
    assert_eq!(bench.log.lock().running, 0);
    assert_eq!(bench.metric(r#"controller_runtime_active_workers{controller="thing"}"#), "0");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_gone_is_forgotten_after_its_pass_and_one_that_is_there_is_not() {
    let bench = bench(&[("failing", Act::Fail(Retry::After(1000 * SECOND)))], &["here"]);
    bench.add(&["here", "gone", "failing"]);
    bench.run_for(1, SECOND).await;
    assert_eq!(bench.log.lock().forgotten, ["gone", "failing"]);
}

/// What was logged, as text.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Captured {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_once_per_change_of_cause_with_everything_that_finds_it_again() {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let bench = bench(&[("a", Act::Fail(Retry::Backoff))], &["a"]);
    bench.add(&["a"]);
    bench.run_for(1, Duration::from_millis(120)).await;
    assert_eq!(bench.passes().len(), 5);
    let text = String::from_utf8(captured.0.lock().clone()).unwrap();
    let told: Vec<&str> = text.lines().filter(|line| line.contains("Reconciler error")).collect();
    assert_eq!(told.len(), 1, "{text}");
    for part in [
        "WARN",
        "controller=\"thing-controller\"",
        "loop=\"thing\"",
        "namespace=\"ns\"",
        "name=\"a\"",
        "reconcile_id=",
        "scripted failure",
    ] {
        assert!(told[0].contains(part), "{part} is missing in {}", told[0]);
    }
    assert!(text.contains("Starting workers") && text.contains("worker_count=1"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_told_as_a_defect_each_time() {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let bench = bench(&[("a", Act::Panic)], &["a"]);
    bench.add(&["a"]);
    bench.run_for(1, Duration::from_millis(12)).await;
    let text = String::from_utf8(captured.0.lock().clone()).unwrap();
    let told = text
        .lines()
        .filter(|line| line.contains("ERROR") && line.contains("panic: scripted panic [recovered]"));
    assert_eq!(told.count(), 2, "{text}");
}

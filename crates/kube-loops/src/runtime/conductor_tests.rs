// SPDX-License-Identifier: Apache-2.0
use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::timeout;

use crate::{
    cluster::{
        events::{EventDraft, Recorder, Severity},
        writer::Writer,
    },
    testkit::scripted_api::{Answer, ScriptedApi},
};
use kube_fenced_election::clock::{Clock as _, SystemClock};

use super::{
    conductor::{Conclusion, Conductor, Next, Round, Stages},
    reconciler::{Failure, Key, Outcome, Pass, Reconciler as _, Retry},
};

/// How a stage that waits ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Well,
    Badly,
    Never,
}

#[derive(Debug, thiserror::Error)]
#[error("the status could not be stored")]
struct Refused;

impl Failure for Refused {
    fn retry(&self) -> Retry {
        Retry::Backoff
    }
}

/// Counts up with each pass, and tells by the status what it has counted.
#[derive(Default)]
struct Counting {
    /// How the writes of the steps and of the statuses end; well without an entry.
    steps: Mutex<VecDeque<End>>,
    stores: Mutex<VecDeque<End>>,
    /// What has been stored.
    stored: Mutex<Vec<Vec<u32>>>,
    /// What the states were with which passes began.
    began: Mutex<Vec<State>>,
    rounds: u32,
}

/// What has been done and not told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct State {
    count: u32,
    untold: Vec<u32>,
}

impl Counting {
    async fn end(script: &Mutex<VecDeque<End>>) -> End {
        let end = script.lock().pop_front().unwrap_or(End::Well);
        if end == End::Never { std::future::pending().await } else { end }
    }
}

impl Stages for Arc<Counting> {
    type Object = String;
    type Snapshot = u32;
    type Plan = u32;
    type Report = Vec<u32>;
    type State = State;
    type Status = Vec<u32>;
    type Error = Refused;

    fn uid(object: &String) -> &str {
        object
    }

    async fn prepare(&self, key: &Key, _: &Pass) -> Result<Option<String>, Refused> {
        Ok((key.name != "gone").then(|| format!("uid of {}", key.name)))
    }

    async fn fetch(&self, _: &Key, _: String, state: &State, _: &Pass) -> Result<u32, Refused> {
        self.began.lock().push(state.clone());
        Ok(state.count)
    }

    fn plan(&self, _: &Key, seen: &u32, _: &State, _: &Pass) -> u32 {
        seen + 1
    }

    async fn apply(&self, _: &Key, _: &u32, plan: &u32, report: &mut Vec<u32>, _: &Pass) {
        // Two steps, of which the second may hang.
        report.push(*plan);
        Counting::end(&self.steps).await;
    }

    fn conclude(&self, _: &Key, round: Round<'_, Self>, _: &Pass) -> Conclusion<Vec<u32>, State, Refused> {
        let mut untold = round.state.untold.clone();
        untold.extend(round.report.iter());
        let count = round.report.last().copied().unwrap_or(round.state.count);
        let told = State { count, untold: Vec::new() };
        let event = |reason: &str| EventDraft {
            severity: Severity::Normal,
            reason: reason.to_owned(),
            message: count.to_string(),
            regarding: k8s_openapi::api::core::v1::ObjectReference::default(),
        };
        Conclusion {
            status: Some(untold.clone()),
            untold: State { count, untold },
            told,
            events: vec![event("Counted")],
            events_with_status: vec![event("Stored")],
            next: if count < self.rounds { Next::Again } else { Next::End(Outcome::Done) },
        }
    }

    async fn publish(
        &self,
        _: &Key,
        _: &u32,
        _: &Vec<u32>,
        status: Vec<u32>,
        _: &Pass,
    ) -> Result<(), Refused> {
        match Counting::end(&self.stores).await {
            End::Badly => Err(Refused),
            End::Well | End::Never => {
                self.stored.lock().push(status);
                Ok(())
            }
        }
    }
}

struct Bench {
    stages: Arc<Counting>,
    conductor: Conductor<Arc<Counting>>,
    api: ScriptedApi,
    pass: Pass,
    sending: tokio::task::JoinSet<()>,
}

impl Bench {
    fn new(stages: Counting) -> Self {
        let stages = Arc::new(stages);
        let api = ScriptedApi::new(|seen| Answer::ok(seen.body.clone()));
        let (recorder, task) = Recorder::new(api.client(), "counting", Arc::new(SystemClock));
        let mut sending = tokio::task::JoinSet::new();
        sending.spawn(task.run());
        let pass =
            Pass { now: SystemClock.now(), draw: 0, attempt: 0, writer: Writer::new(api.client()), recorder };
        Self { conductor: Conductor::new(Arc::clone(&stages)), stages, api, pass, sending }
    }

    /// One pass, dropped after a deadline.
    async fn pass(&self) -> Option<Result<Outcome, Refused>> {
        let key = Key::new("ns", "it");
        timeout(Duration::from_secs(10), self.conductor.reconcile(&key, &self.pass)).await.ok()
    }

    /// Reasons and messages of the events that were sent.
    async fn events(&self) -> Vec<String> {
        self.pass.recorder.flush(Duration::from_secs(1)).await;
        let seen = self.api.requests();
        let text = |body: &serde_json::Value, key: &str| body[key].as_str().unwrap_or_default().to_owned();
        seen.iter().map(|it| format!("{} {}", text(&it.body, "reason"), text(&it.body, "message"))).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_told_is_told_once() {
    let bench = Bench::new(Counting::default());
    for _ in 0..3 {
        assert!(bench.pass().await.unwrap().is_ok());
    }
    assert_eq!(*bench.stages.stored.lock(), [vec![1], vec![2], vec![3]]);
    assert_eq!(bench.events().await.len(), 6);
    drop(bench.sending);
}

// scenario: hardening 18
#[tokio::test(start_paused = true)]
async fn what_a_status_did_not_tell_is_told_by_the_next_however_the_pass_ended() {
    for end in [End::Badly, End::Never] {
        let stages = Counting { stores: Mutex::new([end].into()), ..Counting::default() };
        let bench = Bench::new(stages);
        assert!(!matches!(bench.pass().await, Some(Ok(_))), "{end:?}");
        assert!(bench.stages.stored.lock().is_empty());
        assert!(bench.pass().await.unwrap().is_ok());
        assert_eq!(*bench.stages.stored.lock(), [vec![1, 2]], "{end:?}");
        let events = bench.events().await;
        assert_eq!(events, ["Counted 1", "Counted 2", "Stored 2"], "{end:?}");
    }
}

// scenario: hardening 18
#[tokio::test(start_paused = true)]
async fn what_was_done_before_a_step_that_hangs_past_the_deadline_is_not_forgotten() {
    let bench = Bench::new(Counting { steps: Mutex::new([End::Never].into()), ..Counting::default() });
    assert!(bench.pass().await.is_none(), "dropped by its deadline");
    assert!(bench.pass().await.unwrap().is_ok());
    assert_eq!(*bench.stages.stored.lock(), [vec![1, 2]]);
    assert_eq!(bench.events().await, ["Counted 1", "Counted 2", "Stored 2"]);
}

#[tokio::test(start_paused = true)]
async fn plan_that_asks_for_another_round_gets_it_with_what_the_first_remembered() {
    let bench = Bench::new(Counting { rounds: 3, ..Counting::default() });
    assert!(bench.pass().await.unwrap().is_ok());
    assert_eq!(*bench.stages.stored.lock(), [vec![1], vec![2], vec![3]]);
    let counts: Vec<u32> = bench.stages.began.lock().iter().map(|state| state.count).collect();
    assert_eq!(counts, [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn object_that_is_gone_gets_no_plan_and_forgotten_ones_start_afresh() {
    let bench = Bench::new(Counting::default());
    let gone = bench.conductor.reconcile(&Key::new("ns", "gone"), &bench.pass).await;
    assert!(matches!(gone, Ok(Outcome::Done)));
    assert!(bench.stages.began.lock().is_empty());
    assert!(bench.pass().await.unwrap().is_ok());
    bench.conductor.forget(&Key::new("ns", "it"));
    assert!(bench.pass().await.unwrap().is_ok());
    assert_eq!(*bench.stages.began.lock(), [State::default(), State::default()]);
}

// SPDX-License-Identifier: Apache-2.0
use std::{future::Future, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use kube_fenced_election::{
    ElectionHandle,
    clock::{Clock, Instant, SharedClock, SystemClock},
    without_election,
};
use kube_loops::runtime::{
    controller::{Controller, ControllerSpec, LoopSpec, RunError, Term},
    watches::{AnyStore, Read},
};

use super::health_gate::{EligibilityCheck, HealthGate};

static SPEC: ControllerSpec = ControllerSpec { name: "some-controller", required_kinds: &[] };

/// A store of which only the health matters.
#[derive(Default)]
struct Store {
    silent: Mutex<bool>,
    failing: Mutex<Option<Instant>>,
    asked: Mutex<usize>,
}

impl AnyStore for Store {
    fn kind(&self) -> &'static str {
        "as.a.io"
    }

    fn id(&self) -> usize {
        0
    }

    fn has_synced(&self) -> bool {
        true
    }

    fn is_absent(&self) -> bool {
        false
    }

    fn failing_since(&self) -> Option<(Instant, String)> {
        self.failing.lock().map(|since| (since, "forbidden".to_owned()))
    }

    fn settled(&self, _: bool) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }

    fn catch_up(&self, _: bool) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), String>> {
        *self.asked.lock() += 1;
        let answer = if *self.silent.lock() { Err("no answer".to_owned()) } else { Ok(()) };
        async move { answer }.boxed()
    }
}

struct Reading(Arc<Store>);

impl Controller for Reading {
    fn spec(&self) -> &'static ControllerSpec {
        &SPEC
    }

    fn loops(&self) -> Vec<&'static LoopSpec> {
        Vec::new()
    }

    fn reads(&self) -> Vec<Read> {
        vec![Read { store: Arc::<Store>::clone(&self.0), optional: false }]
    }

    fn run(&self, _: Term) -> BoxFuture<'static, Result<(), RunError>> {
        std::future::pending().boxed()
    }
}

struct Stage {
    store: Arc<Store>,
    health_gate: HealthGate,
    handle: ElectionHandle,
}

impl Stage {
    fn new() -> Self {
        let clock: SharedClock = Arc::new(SystemClock);
        let (mut handles, _) = without_election(&[SPEC.name], "pod_1", &clock, &CancellationToken::new());
        Self { store: Arc::default(), health_gate: HealthGate::default(), handle: handles.remove(0) }
    }

    /// Looks after the standby while `play` plays.
    async fn play(&self, play: impl Future<Output = ()>) {
        let standby = EligibilityCheck {
            controller: Arc::new(Reading(Arc::clone(&self.store))),
            candidacy: self.handle.candidacy(),
            health_gate: self.health_gate.clone(),
        };
        tokio::select! {
            never = standby.run() => match never {},
            () = play => {}
        }
    }

    fn is_eligible(&self) -> bool {
        self.handle.candidacy().is_eligible()
    }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_while_all_are_healthy() {
    let stage = Stage::new();
    *stage.store.silent.lock() = true;
    stage.play(pass(3600)).await;
    assert!(stage.is_eligible());
    assert_eq!(*stage.store.asked.lock(), 0);
}

#[tokio::test(start_paused = true)]
async fn controller_without_progress_is_ineligible_until_a_read_is_answered_and_no_watch_fails() {
    let stage = Stage::new();
    *stage.store.silent.lock() = true;
    *stage.store.failing.lock() = Some(SystemClock.instant());
    stage.health_gate.set_unhealthy(SPEC.name);
    stage
        .play(async {
            pass(1).await;
            assert!(!stage.is_eligible());
            *stage.store.silent.lock() = false;
            pass(10).await;
            assert!(!stage.is_eligible(), "its watch fails");
            *stage.store.failing.lock() = None;
            pass(6).await;
            assert!(stage.is_eligible());
            let asked = *stage.store.asked.lock();
            pass(600).await;
            assert_eq!(*stage.store.asked.lock(), asked, "none is unhealthy any more");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn others_are_checked_while_one_is_unhealthy() {
    let stage = Stage::new();
    stage
        .play(async {
            pass(1).await;
            stage.health_gate.set_unhealthy("other-controller");
            pass(1).await;
            assert!(stage.is_eligible(), "its reads are answered");
            *stage.store.silent.lock() = true;
            pass(16).await;
            assert!(!stage.is_eligible());
            stage.health_gate.set_healthy("other-controller");
            pass(60).await;
            assert!(!stage.is_eligible(), "its own reads still hang");
            *stage.store.silent.lock() = false;
            pass(6).await;
            assert!(stage.is_eligible());
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn all_stay_eligible_when_the_unhealthy_one_recovers_at_once() {
    let stage = Stage::new();
    stage
        .play(async {
            pass(1).await;
            stage.health_gate.set_unhealthy("other-controller");
            tokio::task::yield_now().await;
            stage.health_gate.set_healthy("other-controller");
            pass(1).await;
            assert!(stage.is_eligible());
        })
        .await;
}

// SPDX-License-Identifier: Apache-2.0
//! Passes over a simulated world: the conductor of the product, stages that the test gives, and no runtime.
//!
//! The stages read and change the world of the test in place of the cluster, around the loop's own `plan` and
//! `conclude`. Rounds, state, what is untold, and events are the conductor's.

use std::{
    fmt,
    mem::swap,
    sync::{Arc, LazyLock},
};

use futures::FutureExt as _;
use kube::Client;
use parking_lot::Mutex;
use tokio::runtime::Builder;

use crate::{
    cluster::{
        events::{EventDraft, Recorder, RecorderTask},
        writer::Writer,
    },
    runtime::{
        conductor::{Conductor, Stages},
        reconciler::{Key, Outcome, Pass, Reconciler as _},
    },
};
use kube_fenced_election::clock::{SystemClock, Timestamp};

use super::scripted_api::ScriptedApi;

/// The passes of a loop over a world `W`, for one term after another.
pub struct Simulation<W, S: Stages> {
    /// Where the stages find the world while a pass runs.
    lent: Arc<Mutex<W>>,
    stages: fn(Arc<Mutex<W>>) -> S,
    conductor: Conductor<S>,
    writer: Writer,
    recorder: Recorder,
    events: RecorderTask,
}

impl<W: Default, S: Stages> Simulation<W, S> {
    /// A term begins with the stages over this world.
    pub fn new(stages: fn(Arc<Mutex<W>>) -> S) -> Self {
        let (lent, client) = (Arc::<Mutex<W>>::default(), unused_client());
        let (recorder, events) = Recorder::new(client.clone(), "simulation", Arc::new(SystemClock));
        let conductor = Conductor::new(stages(Arc::clone(&lent)));
        Self { lent, stages, conductor, writer: Writer::new(client), recorder, events }
    }

    /// Another term begins: nothing is remembered.
    pub fn take_over(&mut self) {
        self.conductor = Conductor::new((self.stages)(Arc::clone(&self.lent)));
    }

    /// A pass over the world at this moment. `None`: a stage did not come to its end, so the pass was dropped there,
    /// as by its deadline.
    pub fn pass(&mut self, world: &mut W, key: &Key, now: Timestamp) -> Option<Result<Outcome, S::Error>> {
        let (writer, recorder) = (self.writer.clone(), self.recorder.clone());
        let pass = Pass { now, draw: 0, attempt: 0, writer, recorder };
        swap(world, &mut self.lent.lock());
        let ended = self.conductor.reconcile(key, &pass).now_or_never();
        swap(world, &mut self.lent.lock());
        ended
    }

    /// The events since the last call.
    pub fn events(&mut self) -> Vec<EventDraft> {
        self.events.take()
    }

    /// What is remembered of the object with this uid.
    pub fn state(&self, key: &Key, uid: &str) -> S::State {
        self.conductor.state(key, uid)
    }
}

/// Nothing is asked of it: where it is made there is a runtime, where it would be used there is none.
#[expect(clippy::expect_used, reason = "without a runtime no test goes on")]
fn unused_client() -> Client {
    static CLIENT: LazyLock<Client> = LazyLock::new(|| {
        let runtime = Builder::new_current_thread().build().expect("a runtime without I/O");
        let inside = runtime.enter();
        let client = ScriptedApi::echo().client();
        drop(inside);
        // In place of a drop, which must not stand in a runtime of the test's own.
        runtime.shutdown_background();
        client
    });
    CLIENT.clone()
}

impl<W, S: Stages> fmt::Debug for Simulation<W, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Simulation").field(&self.conductor).finish()
    }
}

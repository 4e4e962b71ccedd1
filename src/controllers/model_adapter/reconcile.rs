// SPDX-License-Identifier: Apache-2.0
//! The conductor of a pass: mark → (observe → plan → apply → conclude → publish), until nothing follows at once.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tracing::debug;

use crate::api::model::ModelAdapter;
use kube_fenced_election::clock::{SharedClock, Timestamp};
use kube_loops::{
    cluster::{self, events::Recorder},
    runtime::{
        memory::Memory as Remembered,
        reconciler::{Key, Outcome, Pass, Reconciler},
    },
};

use super::{
    apply::Writes,
    error::Error,
    events,
    fetch::Reads,
    memory::Memory,
    placements::Placements,
    plan::{plan, plan_base, plan_mark},
    snapshot::Snapshot,
    source::Source,
    status::{conclude, refuse},
    steps::Plan,
};

/// Most plans of one pass: lost, placed, loaded, scaled down; more would be a defect.
const ROUNDS: usize = 6;

/// The loop for one term.
pub(super) struct ModelAdapterLoop {
    pub(super) reads: Arc<Reads>,
    pub(super) writes: Writes,
    pub(super) memory: Mutex<Remembered<Memory>>,
    pub(super) placements: Mutex<Placements>,
    pub(super) recorder: Recorder,
    pub(super) clock: SharedClock,
}

impl Reconciler for ModelAdapterLoop {
    type Error = Error;

    async fn reconcile(&self, key: &Key, pass: &Pass) -> Result<Outcome, Error> {
        let Some(mut adapter) = self.reads.adapter(key) else { return Ok(Outcome::Done) };
        if let Some(mark) = plan_mark(&adapter, &Source::of(&adapter).hash) {
            adapter = self.writes.mark(key, &adapter, &mark).await?;
        }
        if let Some(status) = plan_base(&adapter, pass.now) {
            adapter = self.writes.publish(key, &adapter, status).await?;
        }
        for _ in 0..ROUNDS {
            let (next, plan) = self.round(key, adapter, pass.now).await?;
            adapter = next;
            if !plan.again {
                return Ok(plan.requeue.map_or(Outcome::Done, Outcome::RequeueAfter));
            }
        }
        debug_assert!(false, "plans follow plans without end");
        Ok(Outcome::RequeueAfter(Duration::from_secs(1)))
    }

    fn forget(&self, key: &Key) {
        self.reads.forget(key);
        self.placements.lock().forget(key);
        self.memory.lock().forget(key);
    }
}

impl ModelAdapterLoop {
    /// One plan, carried out. Answers with the object as stored then.
    async fn round(
        &self,
        key: &Key,
        adapter: Arc<ModelAdapter>,
        now: Timestamp,
    ) -> Result<(Arc<ModelAdapter>, Plan), Error> {
        let uid = adapter.metadata.uid.clone().unwrap_or_default();
        let memory = self.memory.lock().get(key, &uid).cloned().unwrap_or_default();
        let (seen, mut plan) = self.decide(key, adapter, &memory, now);
        debug!(steps = ?plan.steps, "planned");
        let report = self.writes.apply(key, &seen.adapter, &plan.steps).await;
        refuse(&mut plan, &seen, report.refused, now);
        self.memory.lock().put(key, &uid, plan.remember.clone());
        let adapter = report.adapter.unwrap_or_else(|| Arc::clone(&seen.adapter));
        let serves = plan.serves && report.error.is_none();
        let status = plan.status.take().filter(|_| !report.released);
        let status = status.map(|status| conclude(&adapter, status, serves, report.failed, now));
        let have = adapter.status.clone().unwrap_or_default();
        let stored = match status.filter(|status| !cluster::status::same(&have, status)) {
            None => Ok(adapter),
            Some(status) => self.writes.publish(key, &adapter, status).await,
        };
        if stored.is_err() {
            // What was not stored is told again: by the status, and by the events that go with it.
            let told = memory.told.clone();
            let (warned, recovering) = (memory.warned.clone(), memory.recovering || plan.remember.recovering);
            let remember = Memory { told, warned, recovering, ..plan.remember.clone() };
            self.memory.lock().put(key, &uid, remember);
        }
        let stored = stored?;
        for draft in plan.events.drain(..) {
            self.recorder.publish(events::about(&stored, draft));
        }
        report.error.map_or(Ok((stored, plan)), Err)
    }

    /// Looks and decides in one step, so that two adapters that are placed at the same time see each other.
    fn decide(
        &self,
        key: &Key,
        adapter: Arc<ModelAdapter>,
        memory: &Memory,
        now: Timestamp,
    ) -> (Snapshot, Plan) {
        let mut placements = self.placements.lock();
        let seen = self.reads.observe(key, adapter, memory, &placements);
        let plan = plan(&seen, memory, now);
        if let Some(chosen) = &plan.reserve {
            placements.reserve(key, &chosen.pod, &chosen.uid, self.clock.instant());
        }
        drop(placements);
        self.reads.watch(key, &seen, &plan.watch);
        (seen, plan)
    }
}

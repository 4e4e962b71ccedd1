// SPDX-License-Identifier: Apache-2.0
//! The stages of a pass.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::api::model::{ModelAdapter, ModelAdapterStatus};
use kube_fenced_election::clock::{Instant, SharedClock, Timestamp};
use kube_loops::runtime::{
    conductor::{Conclusion, Next, Round, Stages},
    reconciler::{Key, Pass},
    steps::StepError,
};

use super::{
    apply::{Report, Writes},
    fetch::Reads,
    plan::{ensure_finalizer, initial_status, plan},
    reservations::Reservations,
    snapshot::Snapshot,
    source::Source,
    state::State,
    status::{conclude, refuse},
    steps::Plan,
};

/// The passes of a term.
pub(super) struct AdapterStages {
    pub(super) reads: Arc<Reads>,
    pub(super) writes: Writes,
    pub(super) reservations: Mutex<Reservations>,
    pub(super) clock: SharedClock,
}

impl Stages for AdapterStages {
    type Object = Arc<ModelAdapter>;
    type Snapshot = Snapshot;
    type Plan = Plan;
    type Report = Report;
    type State = State;
    type Status = ModelAdapterStatus;
    type Error = StepError;

    fn uid(adapter: &Arc<ModelAdapter>) -> &str {
        adapter.metadata.uid.as_deref().unwrap_or_default()
    }

    async fn prepare(&self, key: &Key, pass: &Pass) -> Result<Option<Arc<ModelAdapter>>, StepError> {
        let Some(mut adapter) = self.reads.own.get(key) else { return Ok(None) };
        if let Some(mark) = ensure_finalizer(&adapter, &Source::of(&adapter).hash) {
            adapter = self.writes.mark(&pass.writer, &adapter, &mark).await?;
            if mark.hash.is_some() {
                self.reads.begin(key, Self::uid(&adapter));
            }
        }
        if let Some(status) = initial_status(&adapter, pass.now) {
            adapter = self.reads.own.replace_status(&pass.writer, &adapter, status).await?;
        }
        Ok(Some(adapter))
    }

    async fn fetch(
        &self,
        key: &Key,
        adapter: Arc<ModelAdapter>,
        state: &State,
        pass: &Pass,
    ) -> Result<Snapshot, StepError> {
        Ok(self.reads.observe(key, adapter, state, &self.reservations.lock(), pass.draw))
    }

    fn plan(&self, key: &Key, seen: &Snapshot, state: &State, pass: &Pass) -> Plan {
        let now = (pass.now, self.clock.instant());
        let plan = plan_and_reserve(key, seen, state, &mut self.reservations.lock(), now);
        // The next round follows at once, and says whose.
        if !plan.again {
            self.reads.watch(key, seen, &plan.watch);
        }
        plan
    }

    async fn apply(&self, key: &Key, seen: &Snapshot, plan: &Plan, report: &mut Report, pass: &Pass) {
        self.writes.apply(&pass.writer, key, &seen.adapter, &plan.steps, report).await;
    }

    fn conclude(
        &self,
        _: &Key,
        round: Round<'_, Self>,
        pass: &Pass,
    ) -> Conclusion<ModelAdapterStatus, State, StepError> {
        conclude_round(round, pass.now)
    }

    async fn publish(
        &self,
        key: &Key,
        seen: &Snapshot,
        report: &Report,
        status: ModelAdapterStatus,
        pass: &Pass,
    ) -> Result<(), StepError> {
        let adapter = report.adapter.as_ref().unwrap_or(&seen.adapter);
        let stored = self.reads.own.replace_status(&pass.writer, adapter, status).await?;
        if let Some(status) = &stored.status {
            self.reservations.lock().stored(key, status);
        }
        Ok(())
    }

    fn forget(&self, key: &Key) {
        self.reads.forget(key);
        self.reservations.lock().forget(key);
    }
}

/// Plans, and reserves the pod that is chosen.
pub(super) fn plan_and_reserve(
    key: &Key,
    seen: &Snapshot,
    state: &State,
    reservations: &mut Reservations,
    (now, instant): (Timestamp, Instant),
) -> Plan {
    let plan = plan(seen, state, now);
    if let Some(chosen) = &plan.reserve {
        if reservations.changes() != seen.reservations {
            // Another adapter was placed since this one looked: look again, and see it.
            return Plan { remember: state.clone(), again: true, ..Plan::default() };
        }
        reservations.reserve(key, &chosen.pod, &chosen.uid, instant);
    }
    plan
}

/// What follows from a round.
pub(super) fn conclude_round<S>(
    round: Round<'_, S>,
    now: Timestamp,
) -> Conclusion<ModelAdapterStatus, State, StepError>
where
    S: Stages<Snapshot = Snapshot, Plan = Plan, Report = Report, State = State>,
{
    let Round { seen, plan, report, state } = round;
    let mut plan = plan.clone();
    refuse(&mut plan, seen, report.refused, now);
    let adapter = report.adapter.as_ref().unwrap_or(&seen.adapter);
    let serves = plan.serves && report.steps.error.is_none();
    let status = plan.status.take().filter(|_| !report.released);
    let status = status.map(|status| conclude(seen, adapter, status, serves, report.failed.take(), now));
    let events = state.with_untold(std::mem::take(&mut plan.events));
    // While all were lost, every status has to say so until one is stored.
    let recovering = state.recovering || plan.remember.recovering;
    let untold = State { untold: events.clone(), recovering, ..plan.remember.clone() };
    let told = State { untold: Vec::new(), ..plan.remember };
    let next = match report.steps.error.take() {
        None if plan.again => Next::Again,
        error => Next::of(error, plan.requeue),
    };
    let events = events.into_iter().map(|draft| draft.on(&**adapter));
    Conclusion { status, untold, events: Vec::new(), events_with_status: events.collect(), told, next }
}

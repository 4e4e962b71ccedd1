// SPDX-License-Identifier: Apache-2.0
//! The stages of a pass.

use std::{sync::Arc, time::Duration};

use tracing::info;

use crate::api::autoscaling::PodAutoscalerStatus;
use kube_fenced_election::clock::Timestamp;
use kube_loops::runtime::{
    conductor::{Conclusion, Next, Round, Stages},
    queue::Enqueue,
    reconciler::{Key, Pass},
    steps::StepReport,
};

use super::{
    apply::Writes,
    fetch::{Admitted, Reads},
    metrics::TermGauge,
    plan::{plan, plan_base},
    snapshot::Snapshot,
    state::State,
    status::conclude,
    steps::{Error, Plan},
};

/// The passes of a term.
pub(super) struct AutoscalerStages {
    pub(super) reads: Arc<Reads>,
    pub(super) writes: Writes,
    pub(super) gauge: TermGauge,
    pub(super) enqueue: Enqueue,
    /// Time between two rounds of measurements.
    pub(super) period: Duration,
}

impl Stages for AutoscalerStages {
    type Object = Admitted;
    type Snapshot = Snapshot;
    type Plan = Plan;
    type Report = StepReport;
    type State = State;
    type Status = PodAutoscalerStatus;
    type Error = Error;

    fn uid(admitted: &Admitted) -> &str {
        admitted.pa.metadata.uid.as_deref().unwrap_or_default()
    }

    async fn prepare(&self, key: &Key, pass: &Pass) -> Result<Option<Admitted>, Error> {
        let (admitted, wake) = self.reads.admit(key);
        for waiting in wake {
            self.enqueue.add(waiting);
        }
        let Some(Admitted { mut pa, claim }) = admitted else { return Ok(None) };
        if let Some(status) = plan_base(&pa, &claim, pass.now) {
            pa = self.reads.own.replace_status(&pass.writer, &pa, status).await?;
        }
        Ok(Some(Admitted { pa, claim }))
    }

    async fn fetch(&self, key: &Key, object: Admitted, _: &State, _: &Pass) -> Result<Snapshot, Error> {
        Ok(self.reads.observe(key, object).await)
    }

    fn plan(&self, _: &Key, seen: &Snapshot, state: &State, pass: &Pass) -> Plan {
        plan(seen, state, pass.now)
    }

    async fn apply(&self, key: &Key, seen: &Snapshot, plan: &Plan, report: &mut StepReport, pass: &Pass) {
        self.gauge.show(key, &plan.gauge, &plan.remember.unknown);
        self.writes.apply(&pass.writer, &seen.pa, &plan.steps, report).await;
    }

    fn conclude(
        &self,
        _: &Key,
        round: Round<'_, Self>,
        pass: &Pass,
    ) -> Conclusion<PodAutoscalerStatus, State, Error> {
        conclude_round(round, self.period, pass.now)
    }

    async fn publish(
        &self,
        _: &Key,
        seen: &Snapshot,
        _: &StepReport,
        status: PodAutoscalerStatus,
        pass: &Pass,
    ) -> Result<(), Error> {
        self.reads.own.replace_status(&pass.writer, &seen.pa, status).await?;
        Ok(())
    }

    fn forget(&self, key: &Key) {
        self.reads.forget(key);
        self.gauge.remove(key);
    }
}

/// What follows from a round. `period`: time between two rounds of measurements.
pub(super) fn conclude_round<S>(
    round: Round<'_, S>,
    period: Duration,
    now: Timestamp,
) -> Conclusion<PodAutoscalerStatus, State, Error>
where
    S: Stages<Snapshot = Snapshot, Plan = Plan, Report = StepReport, State = State>,
{
    let Round { seen, plan, report, state } = round;
    if let Some(until) = plan.withheld_until.filter(|_| plan.remember.note != state.note) {
        info!(%until, "scaling down is withheld until a whole window was observed");
    }
    let concluded = conclude(plan, &report.outcomes, now);
    let degraded = plan.degraded.clone().map(|reason| Error::Degraded { reason, cure: period });
    let error = report.error.take().map(Error::Write).or(degraded);
    let events = concluded.events.into_iter().map(|draft| draft.on(&*seen.pa));
    Conclusion {
        status: concluded.status,
        // The target is scaled already, so the next pass decides nothing: it has to tell this.
        untold: State { untold: concluded.untold, ..concluded.remember.clone() },
        told: concluded.remember,
        events: events.collect(),
        events_with_status: Vec::new(),
        next: Next::of(error, plan.requeue),
    }
}

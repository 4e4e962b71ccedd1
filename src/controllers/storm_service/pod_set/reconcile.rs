// SPDX-License-Identifier: Apache-2.0
//! The stages of a pass.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kube_loops::{
    cluster::finalizers,
    runtime::{
        conductor::{Conclusion, Next, Round, Stages},
        reconciler::{Key, Pass},
        steps::StepError,
    },
};
use tracing::warn;

use crate::api::{
    keys::storm_service::POD_SET_FINALIZER,
    orchestration::{PodSet, PodSetStatus},
};

use super::{
    super::render::dropped_variables,
    apply::{Report, target},
    fetch::Reads,
    plan::{Plan, plan, status_after},
    snapshot::Snapshot,
    state::State,
};

/// Safety net of what events should have brought about.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// The passes of a term.
pub(crate) struct PodSetStages {
    pub(super) reads: Reads,
}

impl Stages for PodSetStages {
    type Object = Arc<PodSet>;
    type Snapshot = Snapshot;
    type Plan = Plan;
    type Report = Report;
    type State = State;
    type Status = PodSetStatus;
    type Error = StepError;

    fn uid(pod_set: &Arc<PodSet>) -> &str {
        pod_set.metadata.uid.as_deref().unwrap_or_default()
    }

    async fn prepare(&self, key: &Key, pass: &Pass) -> Result<Option<Arc<PodSet>>, StepError> {
        let Some(pod_set) = self.reads.own.get(key) else { return Ok(None) };
        if pod_set.metadata.deletion_timestamp.is_some() {
            return Ok(Some(pod_set));
        }
        let Some(patch) = finalizers::addition(&pod_set.metadata, POD_SET_FINALIZER) else {
            return Ok(Some(pod_set));
        };
        let added = pass.writer.json_patch(&target(&pod_set), patch).await;
        let added = added.map_err(|error| StepError::new("add the finalizer to the PodSet", error))?;
        let dropped = dropped_variables(&pod_set);
        if !dropped.is_empty() {
            warn!(variables = dropped.join(","), "pods get other values for variables of the template");
        }
        Ok(Some(self.reads.own.wrote(added)))
    }

    async fn fetch(&self, _: &Key, pod_set: Arc<PodSet>, _: &State, _: &Pass) -> Result<Snapshot, StepError> {
        Ok(self.reads.observe(pod_set).await)
    }

    fn plan(&self, _: &Key, seen: &Snapshot, _: &State, _: &Pass) -> Plan {
        plan(seen)
    }

    async fn apply(&self, _: &Key, seen: &Snapshot, plan: &Plan, report: &mut Report, pass: &Pass) {
        self.reads.apply(&pass.writer, seen, plan, report, pass.now).await;
    }

    fn conclude(
        &self,
        _: &Key,
        round: Round<'_, Self>,
        _: &Pass,
    ) -> Conclusion<PodSetStatus, State, StepError> {
        conclude_round(round)
    }

    async fn publish(
        &self,
        _: &Key,
        seen: &Snapshot,
        _: &Report,
        status: PodSetStatus,
        pass: &Pass,
    ) -> Result<(), StepError> {
        self.reads.own.replace_status(&pass.writer, &seen.pod_set, status).await.map(drop)
    }

    fn forget(&self, key: &Key) {
        self.reads.own.forget(key);
    }
}

/// What follows from a round.
pub(super) fn conclude_round<S>(round: Round<'_, S>) -> Conclusion<PodSetStatus, State, StepError>
where
    S: Stages<Snapshot = Snapshot, Plan = Plan, Report = Report, State = State>,
{
    let Round { seen, plan, report, state } = round;
    let leaves = seen.pod_set.metadata.deletion_timestamp.is_some();
    let gone = report.released || leaves && plan.finalized;
    let status = (!gone).then(|| status_after(seen, &report.deleted, report.created));
    let told: BTreeSet<String> = plan.warnings.iter().map(|warning| warning.message.clone()).collect();
    let news = plan.warnings.iter().filter(|warning| !state.told.contains(&warning.message)).cloned();
    let done = report.steps.error.is_none();
    let happened = plan.events.iter().chain(&plan.groups.events).filter(|_| done).cloned();
    let mut events: Vec<_> = happened.chain(news).collect();
    if let Some(error) = &report.steps.error {
        events.push(failure(error));
    }
    let settled = seen.pod_set.status.as_ref().is_some_and(|status| status.phase == "Ready");
    let again = (!settled || leaves).then_some(LOOK_AGAIN);
    let state = State { told };
    let next = match report.steps.error.take() {
        Some(error) => Next::Fail(error),
        // What was adopted is looked at before anything is decided.
        None if !seen.adoptable.is_empty() => Next::Again,
        None => Next::of(None, again),
    };
    Conclusion {
        status: status.filter(|_| !matches!(next, Next::Again)),
        untold: state.clone(),
        told: state,
        events: events.into_iter().map(|event| event.on(&*seen.pod_set)).collect(),
        events_with_status: Vec::new(),
        next,
    }
}

/// The event about what could not be done.
fn failure(error: &StepError) -> kube_loops::cluster::events::EventText {
    let part = if error.attempt.contains("PodGroup") { "podgroup" } else { "pods" };
    let message = format!("Failed to reconcile {part}: {}", kube_loops::chain::Chain(error));
    kube_loops::cluster::events::EventText { warning: true, reason: "ReconcileError", message }
}

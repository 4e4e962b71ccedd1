// SPDX-License-Identifier: Apache-2.0
//! The stages of a pass.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kube_fenced_election::clock::Timestamp;
use kube_loops::{
    cluster::{error::ReadError, events::EventText, finalizers},
    runtime::{
        conductor::{Conclusion, Next, Round, Stages},
        reconciler::{Failure, Key, Pass, Retry},
        steps::StepError,
    },
};

use crate::api::{
    keys::storm_service::FINALIZER,
    orchestration::{StormService, StormServiceStatus},
};

use super::{
    super::conditions,
    apply::{Report, target},
    fetch::Reads,
    plan::plan,
    snapshot::Snapshot,
    state::State,
    status::{READY, with_failure},
    steps::{Part, Plan},
};

/// Safety net of what events should have brought about.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// Wait for the RoleSet loop, whose pass over a RoleSet that is as wanted writes nothing.
const AFTER_ROLE_SETS: Duration = Duration::from_secs(1);

/// Why a pass did not reach its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A change could not be written.
    #[error(transparent)]
    Write(#[from] StepError),
    /// What a template is compared with could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The template makes no RoleSets.
    #[error("{0}")]
    Template(String),
}

impl Failure for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Write(error) => error.retry(),
            Self::Read(_) => Retry::Backoff,
            Self::Template(_) => Retry::After(LOOK_AGAIN),
        }
    }
}

/// The passes of a term.
pub(crate) struct StormServiceStages {
    pub(super) reads: Reads,
}

impl Stages for StormServiceStages {
    type Object = Arc<StormService>;
    type Snapshot = Snapshot;
    type Plan = Plan;
    type Report = Report;
    type State = State;
    type Status = StormServiceStatus;
    type Error = Error;

    fn uid(service: &Arc<StormService>) -> &str {
        service.metadata.uid.as_deref().unwrap_or_default()
    }

    async fn prepare(&self, key: &Key, pass: &Pass) -> Result<Option<Arc<StormService>>, Error> {
        let Some(service) = self.reads.own.get(key) else { return Ok(None) };
        if service.metadata.deletion_timestamp.is_some() {
            return Ok(Some(service));
        }
        let Some(patch) = finalizers::addition(&service.metadata, FINALIZER) else {
            return Ok(Some(service));
        };
        let added = pass.writer.json_patch(&target(&service), patch).await;
        let added = added.map_err(|error| StepError::new("add the finalizer to the StormService", error))?;
        Ok(Some(self.reads.own.wrote(added)))
    }

    async fn fetch(
        &self,
        _: &Key,
        service: Arc<StormService>,
        _: &State,
        pass: &Pass,
    ) -> Result<Snapshot, Error> {
        Ok(self.reads.observe(&service, pass.draw).await?)
    }

    fn plan(&self, _: &Key, seen: &Snapshot, state: &State, pass: &Pass) -> Plan {
        plan(seen, state, pass.now)
    }

    async fn apply(&self, _: &Key, seen: &Snapshot, plan: &Plan, report: &mut Report, pass: &Pass) {
        self.reads.apply(&pass.writer, seen, plan, report).await;
    }

    fn conclude(
        &self,
        _: &Key,
        round: Round<'_, Self>,
        pass: &Pass,
    ) -> Conclusion<StormServiceStatus, State, Error> {
        conclude_round(round, pass.now)
    }

    async fn publish(
        &self,
        _: &Key,
        seen: &Snapshot,
        _: &Report,
        status: StormServiceStatus,
        pass: &Pass,
    ) -> Result<(), Error> {
        self.reads.own.replace_status(&pass.writer, &seen.service, status).await?;
        Ok(())
    }

    fn forget(&self, key: &Key) {
        self.reads.own.forget(key);
    }
}

/// What follows from a round.
pub(super) fn conclude_round<S>(
    round: Round<'_, S>,
    now: Timestamp,
) -> Conclusion<StormServiceStatus, State, Error>
where
    S: Stages<Snapshot = Snapshot, Plan = Plan, Report = Report, State = State>,
{
    let Round { seen, plan, report, state } = round;
    let warned = plan.warnings.iter().map(|warning| warning.message.clone());
    // Before the template is recorded, nothing has been looked at that there could be a warning about.
    let told: BTreeSet<String> = if plan.look_again { state.told.clone() } else { warned.collect() };
    let news = plan.warnings.iter().filter(|warning| !state.told.contains(&warning.message)).cloned();
    let mut events: Vec<EventText> = report.events.drain(..).chain(news).collect();
    let failure = report.failure.take().or_else(|| plan.error.clone());
    if let Some(failure) = &failure {
        let (reason, part) = match plan.part {
            Part::Scaling => ("Scaling", "scaling"),
            Part::Rollout => ("Rollout", "rollout"),
        };
        events.push(EventText { warning: true, reason, message: format!("{part} error {failure}") });
    }
    let status = plan.status.clone().filter(|_| !report.released);
    let status = status.map(|status| with_failure(status, failure, now));
    let settled = status.as_ref().is_some_and(|status| conditions::is_true(&status.conditions, READY));
    let collisions = report.collisions.unwrap_or(state.collisions);
    let state = State { told, collisions, since: Some(state.since.unwrap_or(now)) };
    // What there is a warning about may end without an event for this StormService.
    let unsettled = !settled || plan.waits || !plan.warnings.is_empty();
    let wait = if plan.waits { AFTER_ROLE_SETS } else { LOOK_AGAIN };
    let next = match report.steps.error.take() {
        Some(error) => Next::Fail(error.into()),
        None if plan.look_again => Next::Again,
        None => Next::of(plan.error.clone().map(Error::Template), unsettled.then_some(wait)),
    };
    Conclusion {
        status,
        untold: state.clone(),
        told: state,
        events: events.into_iter().map(|event| event.on(&*seen.service)).collect(),
        events_with_status: Vec::new(),
        next,
    }
}

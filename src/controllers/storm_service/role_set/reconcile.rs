// SPDX-License-Identifier: Apache-2.0
//! The stages of a pass.

use std::{sync::Arc, time::Duration};

use kube_fenced_election::clock::Timestamp;
use kube_loops::{
    cluster::finalizers,
    runtime::{
        conductor::{Conclusion, Next, Round, Stages},
        reconciler::{Failure, Key, Pass, Retry},
        steps::StepError,
    },
};

use crate::api::{
    keys::storm_service::ROLE_SET_FINALIZER,
    orchestration::{RoleSet, RoleSetStatus},
};

use super::{
    super::{conditions, passes::Passes},
    apply::{Report, target},
    fetch::Reads,
    plan::plan,
    snapshot::Snapshot,
    state::State,
    status::{READY, status_with},
    steps::{Notice, Plan},
};

/// Safety net of what events should have brought about.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// Why a pass did not reach its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A change could not be written.
    #[error(transparent)]
    Write(#[from] StepError),
    /// A role cannot be worked on.
    #[error("{0}")]
    Unusable(String),
}

impl Failure for Error {
    fn retry(&self) -> Retry {
        match self {
            // A quota or a webhook that refuses changes its mind without telling.
            Self::Write(error) => match error.retry() {
                Retry::After(_) => Retry::Backoff,
                other @ (Retry::TermOver | Retry::Soon | Retry::Backoff) => other,
            },
            Self::Unusable(_) => Retry::After(LOOK_AGAIN),
        }
    }
}

/// The passes of a term.
pub(crate) struct RoleSetStages {
    pub(super) reads: Reads,
    /// What StormServices are told of passes that ended.
    pub(super) passes: Arc<Passes>,
}

impl Stages for RoleSetStages {
    type Object = Arc<RoleSet>;
    type Snapshot = Snapshot;
    type Plan = Plan;
    type Report = Report;
    type State = State;
    type Status = RoleSetStatus;
    type Error = Error;

    fn uid(role_set: &Arc<RoleSet>) -> &str {
        role_set.metadata.uid.as_deref().unwrap_or_default()
    }

    async fn prepare(&self, key: &Key, pass: &Pass) -> Result<Option<Arc<RoleSet>>, Error> {
        let Some(role_set) = self.reads.own.get(key) else { return Ok(None) };
        if role_set.metadata.deletion_timestamp.is_some() {
            return Ok(Some(role_set));
        }
        let Some(patch) = finalizers::addition(&role_set.metadata, ROLE_SET_FINALIZER) else {
            return Ok(Some(role_set));
        };
        let added = pass.writer.json_patch(&target(&role_set), patch).await;
        let added = added.map_err(|error| StepError::new("add the finalizer to the RoleSet", error))?;
        Ok(Some(self.reads.own.wrote(added)))
    }

    async fn fetch(
        &self,
        _: &Key,
        role_set: Arc<RoleSet>,
        state: &State,
        pass: &Pass,
    ) -> Result<Snapshot, Error> {
        Ok(self.reads.observe(role_set, state, pass.draw).await)
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
        pass: &Pass,
    ) -> Conclusion<RoleSetStatus, State, Error> {
        if round.report.released {
            self.passes.forget(round.seen.role_set.metadata.uid.as_deref().unwrap_or_default());
        }
        conclude_round(round, pass.now)
    }

    async fn publish(
        &self,
        _: &Key,
        seen: &Snapshot,
        report: &Report,
        status: RoleSetStatus,
        pass: &Pass,
    ) -> Result<(), Error> {
        let role_set = report.role_set.as_ref().unwrap_or(&seen.role_set);
        self.reads.own.replace_status(&pass.writer, role_set, status).await?;
        let uid = seen.role_set.metadata.uid.as_deref().unwrap_or_default();
        self.passes.passed(uid, seen.role_set.metadata.generation.unwrap_or_default());
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
) -> Conclusion<RoleSetStatus, State, Error>
where
    S: Stages<Snapshot = Snapshot, Plan = Plan, Report = Report, State = State>,
{
    let Round { seen, plan, report, state } = round;
    let failed = report.errors();
    let refusals = failed.iter().map(|error| Notice::warning("ReconcileError", error.clone()));
    let notices: Vec<Notice> = plan.notices.iter().cloned().chain(refusals).collect();
    let news = notices.iter().filter(|notice| !state.told.contains(&notice.key));
    let generation = seen.role_set.metadata.generation;
    let before = state.told.iter().filter(|_| state.generation == generation).chain(&state.once);
    let told = before.chain(notices.iter().map(|notice| &notice.key)).cloned().collect();
    let synced = plan.groups.events.iter().filter(|_| report.steps.error.is_none());
    let happened = report.events.iter().chain(synced).cloned();
    let events: Vec<_> = happened.chain(news.map(|notice| notice.text.clone())).collect();
    let errors: Vec<String> = failed.into_iter().chain(plan.errors.iter().cloned()).collect();
    let status = plan.roles.clone().filter(|_| !plan.look_again);
    let status = status.map(|roles| status_with(&seen.role_set, roles, &errors, now));
    let settled = status.as_ref().is_some_and(|status| conditions::is_true(&status.conditions, READY));
    let once = notices.iter().filter(|notice| notice.once).map(|notice| notice.key.clone());
    let once = state.once.iter().cloned().chain(once).collect();
    let taken = report.taken.iter().chain(&seen.taken).cloned().collect();
    let state = State { told, once, generation, taken, refused: report.refused.clone() };
    let unusable = plan.errors.first().cloned().map(Error::Unusable);
    let next = match report.steps.error.take() {
        Some(error) => Next::Fail(error.into()),
        None if plan.look_again => Next::Again,
        None => Next::of(unusable, (!settled || plan.updates_in_place).then_some(LOOK_AGAIN)),
    };
    Conclusion {
        status,
        untold: state.clone(),
        told: state,
        events: events.into_iter().map(|event| event.on(&*seen.role_set)).collect(),
        events_with_status: Vec::new(),
        next,
    }
}

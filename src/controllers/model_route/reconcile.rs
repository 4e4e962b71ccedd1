// SPDX-License-Identifier: Apache-2.0
//! The stages of a pass, for a route and for a grant.

use std::{sync::Arc, time::Duration};

use tracing::info;

use kube_fenced_election::clock::Timestamp;
use kube_loops::{
    cluster::error::WriteError,
    runtime::{
        backoff::exponential,
        conductor::{Conclusion, Next, Round, Stages},
        reconciler::{Key, Pass},
        steps::{StepError, StepReport},
    },
};

use super::{
    ModelRouteSettings,
    apply::apply,
    fetch::Stores,
    plan::{Plan, plan_grant, plan_route},
    snapshot::{Snapshot, Subject},
    state::{Losses, State},
    status,
};

/// Wait after the first failure of a key; doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// The passes of a term.
pub(super) struct RouteStages {
    pub(super) settings: Arc<ModelRouteSettings>,
    pub(super) stores: Stores,
}

impl Stages for RouteStages {
    type Object = ();
    type Snapshot = Snapshot;
    type Plan = Plan;
    type Report = StepReport;
    type State = State;
    type Status = ();
    type Error = StepError;

    async fn prepare(&self, _: &Key, _: &Pass) -> Result<Option<()>, StepError> {
        Ok(Some(()))
    }

    async fn fetch(&self, key: &Key, (): (), _: &State, _: &Pass) -> Result<Snapshot, StepError> {
        Ok(self.stores.snapshot(key))
    }

    fn plan(&self, key: &Key, seen: &Snapshot, state: &State, pass: &Pass) -> Plan {
        plan_for(key, seen, state, &self.settings, pass.now)
    }

    async fn apply(&self, _: &Key, _: &Snapshot, plan: &Plan, report: &mut StepReport, pass: &Pass) {
        apply(&plan.steps, &self.settings.gateway_namespace, &pass.writer, report).await;
    }

    fn conclude(&self, key: &Key, round: Round<'_, Self>, pass: &Pass) -> Conclusion<(), State, StepError> {
        conclude_round(key, round, &self.stores.losses, pass)
    }

    fn forget(&self, key: &Key) {
        self.stores.losses.forget(key);
    }
}

/// Plans for a route or a grant. A repair waits for its turn.
pub(super) fn plan_for(
    key: &Key,
    seen: &Snapshot,
    state: &State,
    settings: &ModelRouteSettings,
    now: Timestamp,
) -> Plan {
    let plan = match &seen.subject {
        Subject::Route(route) => plan_route(&key.name, route, settings),
        Subject::Grant(grant) => plan_grant(grant, settings),
    };
    let wait = state.wait_to_repair(now).filter(|_| plan.repair);
    wait.map(|wait| Plan { wait: Some(wait), ..Plan::default() }).unwrap_or(plan)
}

/// What follows from a round. What was lost is dealt with once all is done.
pub(super) fn conclude_round<S>(
    key: &Key,
    round: Round<'_, S>,
    losses: &Losses,
    pass: &Pass,
) -> Conclusion<(), State, StepError>
where
    S: Stages<Snapshot = Snapshot, Plan = Plan, Report = StepReport, State = State>,
{
    let Round { seen, plan, report, state } = round;
    let mut state = state.clone();
    if plan.left_alone.is_some() && plan.left_alone != state.left_alone {
        info!(reason = plan.left_alone, "route is left alone");
    }
    state.left_alone = plan.left_alone;
    let wait = exponential(FIRST_WAIT, pass.attempt, LONGEST_WAIT);
    let error = report.error.take().map(|error| error.after(wait));
    let mut events = Vec::new();
    if let Some(error) = &error {
        let refusal =
            if let WriteError::Invalid { message, .. } = &error.source { Some(message) } else { None };
        let news = refusal.filter(|refusal| state.refusal.as_ref() != Some(refusal));
        if let (Some(refusal), Some(primary)) = (news, &plan.primary) {
            events.push(status::event(primary, &[status::refusal(refusal)]));
        }
        state.refusal = refusal.cloned();
    } else if plan.wait.is_none() && report.is_done(&plan.steps) {
        state.refusal = None;
        if plan.repair {
            state.repaired(pass.now);
        }
        if !seen.waits_for_loss() {
            losses.settle(key, seen.loss);
        }
        events.clone_from(&plan.events);
    }
    Conclusion { events, ..Conclusion::quiet(state, Next::of(error, plan.wait)) }
}

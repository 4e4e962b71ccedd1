// SPDX-License-Identifier: Apache-2.0
//! Test cases that take more than one pass: passes of the conductor over a target that does what it is told.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

use crate::api::autoscaling::{PodAutoscaler, PodAutoscalerStatus};
use kube_loops::{
    cluster::events::EventDraft,
    runtime::{
        conductor::{self, Round, Stages},
        reconciler::{Key, Pass},
        steps::{StepOutcome, StepReport},
    },
    testkit::simulation::Simulation,
};

use super::{
    cases::{at, seen},
    plan::{plan, plan_base},
    reconcile::conclude_round,
    snapshot::{Claim, Reading, Snapshot},
    state::State,
    status::conclude,
    steps::{Conclusion, Error, Plan, Step},
};

/// Plans and concludes with every step done.
pub(super) fn pass(seen: &Snapshot, state: &State, seconds: i64) -> (Plan, Conclusion) {
    let plan = plan(seen, state, at(seconds));
    let conclusion = conclude(&plan, &vec![StepOutcome::Done; plan.steps.len()], at(seconds));
    (plan, conclusion)
}

/// A target that does what it is told, over one round of measurements every ten seconds.
pub(super) struct World {
    pub(super) pa: PodAutoscaler,
    pub(super) replicas: i32,
    pub(super) second: i64,
    /// A status that is sent gets no answer.
    pub(super) mute: bool,
    passes: Simulation<Cluster, Simulated>,
}

/// What a pass told.
pub(super) struct Told {
    pub(super) status: Option<PodAutoscalerStatus>,
    pub(super) events: Vec<EventDraft>,
}

/// What a pass finds and leaves.
#[derive(Default)]
struct Cluster {
    pa: Option<Arc<PodAutoscaler>>,
    replicas: i32,
    sources: Vec<Reading>,
    mute: bool,
    planned: Option<Plan>,
    concluded: Option<PodAutoscalerStatus>,
}

/// The stages of the controller over that cluster.
struct Simulated(Arc<Mutex<Cluster>>);

impl Stages for Simulated {
    type Object = Arc<PodAutoscaler>;
    type Snapshot = Snapshot;
    type Plan = Plan;
    type Report = StepReport;
    type State = State;
    type Status = PodAutoscalerStatus;
    type Error = Error;

    fn uid(pa: &Arc<PodAutoscaler>) -> &str {
        pa.metadata.uid.as_deref().unwrap()
    }

    async fn prepare(&self, _: &Key, pass: &Pass) -> Result<Option<Arc<PodAutoscaler>>, Error> {
        let mut cluster = self.0.lock();
        if let Some(pa) = cluster.pa.as_mut().map(Arc::make_mut)
            && let Some(status) = plan_base(pa, &Claim::Held, pass.now)
        {
            pa.status = Some(status);
        }
        Ok(cluster.pa.clone())
    }

    async fn fetch(
        &self,
        _: &Key,
        pa: Arc<PodAutoscaler>,
        _: &State,
        pass: &Pass,
    ) -> Result<Snapshot, Error> {
        let cluster = self.0.lock();
        Ok(seen(PodAutoscaler::clone(&pa), cluster.replicas, pass.now, cluster.sources.clone()))
    }

    fn plan(&self, _: &Key, seen: &Snapshot, state: &State, pass: &Pass) -> Plan {
        plan(seen, state, pass.now)
    }

    async fn apply(&self, _: &Key, _: &Snapshot, plan: &Plan, report: &mut StepReport, _: &Pass) {
        let mut cluster = self.0.lock();
        for step in &plan.steps {
            if let Step::Scale { to, .. } = step {
                cluster.replicas = *to;
            }
            report.note("take it", Ok(()));
        }
        cluster.planned = Some(plan.clone());
    }

    fn conclude(
        &self,
        _: &Key,
        round: Round<'_, Self>,
        pass: &Pass,
    ) -> conductor::Conclusion<PodAutoscalerStatus, State, Error> {
        let conclusion = conclude_round(round, Duration::from_secs(10), pass.now);
        self.0.lock().concluded.clone_from(&conclusion.status);
        conclusion
    }

    async fn publish(
        &self,
        _: &Key,
        _: &Snapshot,
        _: &StepReport,
        status: PodAutoscalerStatus,
        _: &Pass,
    ) -> Result<(), Error> {
        if self.0.lock().mute {
            std::future::pending::<()>().await;
        }
        let mut cluster = self.0.lock();
        Arc::make_mut(cluster.pa.as_mut().unwrap()).status = Some(status);
        Ok(())
    }
}

impl World {
    pub(super) fn new(pa: PodAutoscaler, replicas: i32) -> Self {
        Self { pa, replicas, second: 0, mute: false, passes: Simulation::new(Simulated) }
    }

    /// Another leader: nothing is remembered.
    pub(super) fn take_over(&mut self) {
        self.passes.take_over();
    }

    pub(super) fn state(&self) -> State {
        self.passes.state(&self.key(), self.pa.metadata.uid.as_deref().unwrap())
    }

    fn key(&self) -> Key {
        let meta = &self.pa.metadata;
        Key::new(meta.namespace.as_deref().unwrap(), meta.name.as_deref().unwrap())
    }

    pub(super) fn round(&mut self, sources: Vec<Reading>) -> (Plan, Told) {
        let pa = Some(Arc::new(self.pa.clone()));
        let mut cluster =
            Cluster { pa, replicas: self.replicas, sources, mute: self.mute, ..Cluster::default() };
        let ended = self.passes.pass(&mut cluster, &self.key(), at(self.second));
        assert_eq!(ended.is_none(), self.mute, "{ended:?}");
        (self.pa, self.replicas) = (Arc::unwrap_or_clone(cluster.pa.unwrap()), cluster.replicas);
        self.second += 10;
        (cluster.planned.unwrap(), Told { status: cluster.concluded, events: self.passes.events() })
    }

    pub(super) fn condition(&self, kind: &str) -> (String, String, String) {
        let status = self.pa.status.as_ref().unwrap();
        let found = status.conditions.iter().find(|condition| condition.type_ == kind).unwrap();
        (found.status.clone(), found.reason.clone(), found.message.clone())
    }
}

pub(super) fn scale_of(plan: &Plan) -> Option<(i32, i32, &'static str)> {
    plan.steps.iter().find_map(|step| match step {
        Step::Scale { from, to, reason, .. } => Some((*from, *to, *reason)),
        Step::CreateHpa(_) | Step::PatchHpa { .. } | Step::DeleteHpa { .. } => None,
    })
}

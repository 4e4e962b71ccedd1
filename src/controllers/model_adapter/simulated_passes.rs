// SPDX-License-Identifier: Apache-2.0
//! Passes of the conductor over the simulated cluster.

use std::{
    collections::BTreeSet,
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

use crate::api::model::{ModelAdapter, ModelAdapterStatus};
use kube_loops::{
    cluster::status::same,
    runtime::{
        conductor::{Conclusion, Round, Stages},
        reconciler::{Key, Pass},
        steps::StepError,
    },
    testkit::simulation::Simulation,
};

use super::{
    apply::Report,
    reconcile::{conclude_round, plan_and_reserve},
    settings::SchedulerPolicy,
    simulated::Cluster,
    snapshot::Snapshot,
    state::State,
    steps::Plan,
};

/// A world in which a controller leads.
pub(super) struct World {
    cluster: Cluster,
    passes: Simulation<Cluster, Simulated>,
}

/// The stages of the controller over that cluster.
struct Simulated(Arc<Mutex<Cluster>>);

impl Deref for World {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }
}

impl Stages for Simulated {
    type Object = Arc<ModelAdapter>;
    type Snapshot = Snapshot;
    type Plan = Plan;
    type Report = Report;
    type State = State;
    type Status = ModelAdapterStatus;
    type Error = StepError;

    fn uid(adapter: &Arc<ModelAdapter>) -> &str {
        adapter.metadata.uid.as_deref().unwrap()
    }

    async fn prepare(&self, key: &Key, pass: &Pass) -> Result<Option<Arc<ModelAdapter>>, StepError> {
        Ok(self.0.lock().prepare(&key.name, pass.now))
    }

    async fn fetch(
        &self,
        key: &Key,
        _: Arc<ModelAdapter>,
        state: &State,
        _: &Pass,
    ) -> Result<Snapshot, StepError> {
        Ok(self.0.lock().look(&key.name, state))
    }

    fn plan(&self, key: &Key, seen: &Snapshot, state: &State, pass: &Pass) -> Plan {
        let mut cluster = self.0.lock();
        let now = cluster.instant();
        let plan = plan_and_reserve(key, seen, state, &mut cluster.reservations, (pass.now, now));
        if !plan.again {
            cluster.tracker.watch(key, seen.origins(&plan.watch), now);
        }
        cluster.planned = plan.clone();
        plan
    }

    async fn apply(&self, key: &Key, seen: &Snapshot, plan: &Plan, report: &mut Report, _: &Pass) {
        let mut cluster = self.0.lock();
        for step in plan.steps.clone() {
            cluster.carry_out(&key.name, seen, step, report);
        }
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
        _: &Pass,
    ) -> Result<(), StepError> {
        if self.0.lock().mute {
            std::future::pending::<()>().await;
        }
        let adapter = report.adapter.as_ref().unwrap_or(&seen.adapter);
        if !same(&adapter.status.clone().unwrap_or_default(), &status) {
            self.0.lock().store(&key.name, status);
        }
        Ok(())
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self { cluster: Cluster::default(), passes: Simulation::new(Simulated) }
    }

    pub(super) fn with_policy(policy: SchedulerPolicy) -> Self {
        let mut world = Self::new();
        world.settings.policy = policy;
        world
    }

    /// Begins a new term: nothing is remembered, and what is under way is lost.
    pub(super) fn take_over(&mut self) {
        self.cluster.take_over();
        self.passes.take_over();
    }

    /// What passes remember of the adapter.
    pub(super) fn state(&self, name: &str) -> State {
        let uid = self.adapters[name].adapter.metadata.uid.clone().unwrap();
        self.passes.state(&Key::new("ns", name), &uid)
    }

    /// What a pass for the adapter would see now.
    pub(super) fn look(&mut self, name: &str) -> Snapshot {
        let state = self.state(name);
        self.cluster.look(name, &state)
    }

    /// One pass. Returns its last plan.
    pub(super) fn pass(&mut self, name: &str) -> Plan {
        let now = self.now();
        let ended = self.passes.pass(&mut self.cluster, &Key::new("ns", name), now);
        assert!(self.mute || matches!(ended, Some(Ok(_))), "{ended:?}");
        let events = self.passes.events();
        self.events.extend(events);
        std::mem::take(&mut self.planned)
    }

    /// Passes and calls until nothing is left to do at this moment.
    pub(super) fn settle(&mut self) {
        let mut due: BTreeSet<String> = self.adapters.keys().cloned().collect();
        for _ in 0..100 {
            for name in std::mem::take(&mut due) {
                if self.adapters.contains_key(&name) {
                    self.pass(&name);
                }
            }
            due.extend(self.call_engines());
            if due.is_empty() {
                return;
            }
        }
        panic!("it does not settle: {due:?} {:#?}", self.calls);
    }

    /// Lets time pass, second by second, with a pass each.
    pub(super) fn run(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.passed += Duration::from_secs(1);
            self.settle();
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Test cases that take more than one pass: a target that does what it is told.

use crate::api::autoscaling::PodAutoscaler;

use super::{
    cases::{at, seen},
    memory::Memory,
    plan::plan,
    snapshot::{Reading, Snapshot},
    status::conclude,
    steps::{Conclusion, Plan, Step},
};

/// Plans and concludes with every step done.
pub(super) fn pass(seen: &Snapshot, memory: &Memory, seconds: i64) -> (Plan, Conclusion) {
    let plan = plan(seen, memory, at(seconds));
    let conclusion = conclude(&plan, &vec![None; plan.steps.len()], at(seconds));
    (plan, conclusion)
}

/// A target that does what it is told, over one round of measurements every ten seconds.
pub(super) struct World {
    pub(super) pa: PodAutoscaler,
    pub(super) memory: Memory,
    pub(super) replicas: i32,
    pub(super) second: i64,
}

impl World {
    pub(super) fn new(pa: PodAutoscaler, replicas: i32) -> Self {
        Self { pa, memory: Memory::default(), replicas, second: 0 }
    }

    pub(super) fn round(&mut self, sources: Vec<Reading>) -> (Plan, Conclusion) {
        let taken = at(self.second);
        let seen = seen(self.pa.clone(), self.replicas, taken, sources);
        let (plan, conclusion) = pass(&seen, &self.memory, self.second);
        for step in &plan.steps {
            if let Step::Scale { to, .. } = step {
                self.replicas = *to;
            }
        }
        self.memory = conclusion.remember.clone();
        self.pa.status = conclusion.status.clone();
        self.second += 10;
        (plan, conclusion)
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

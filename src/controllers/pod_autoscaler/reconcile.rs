// SPDX-License-Identifier: Apache-2.0
//! The conductor of a pass: admit → observe → plan → apply → conclude → publish.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tracing::{debug, info};

use kube_loops::{
    cluster::events::Recorder,
    runtime::{
        memory::Memory as Remembered,
        queue::Enqueue,
        reconciler::{Key, Outcome, Pass, Reconciler},
    },
};

use super::{
    apply::Writes,
    error::Error,
    events,
    fetch::{Admitted, Reads},
    memory::Memory,
    metrics::TermGauge,
    plan::{plan, plan_base},
    status::conclude,
};

/// The loop for one term.
pub(super) struct PodAutoscalerLoop {
    pub(super) reads: Arc<Reads>,
    pub(super) writes: Writes,
    pub(super) memory: Mutex<Remembered<Memory>>,
    pub(super) gauge: TermGauge,
    pub(super) recorder: Recorder,
    pub(super) enqueue: Enqueue,
    /// Time between two rounds of measurements.
    pub(super) period: Duration,
}

impl Reconciler for PodAutoscalerLoop {
    type Error = Error;

    async fn reconcile(&self, key: &Key, pass: &Pass) -> Result<Outcome, Error> {
        let (admitted, wake) = self.reads.admit(key);
        for waiting in wake {
            self.enqueue.add(waiting);
        }
        let Some(Admitted { pa, claim }) = admitted else { return Ok(Outcome::Done) };
        let pa = match plan_base(&pa, &claim, pass.now) {
            Some(status) => self.writes.publish(&pa, status).await?,
            None => pa,
        };
        let uid = pa.metadata.uid.clone().unwrap_or_default();
        let seen = self.reads.observe(key, Admitted { pa, claim }).await;
        let memory = self.memory.lock().get(key, &uid).cloned().unwrap_or_default();
        let plan = plan(&seen, &memory, pass.now);
        debug!(steps = ?plan.steps, "planned");
        if let Some(until) = plan.withheld_until.filter(|_| plan.remember.note != memory.note) {
            info!(%until, "scaling down is withheld until a whole window was observed");
        }
        self.gauge.show(key, &plan.gauge);
        let report = self.writes.apply(&seen.pa, &plan.steps).await;
        let conclusion = conclude(&plan, &report.failures, pass.now);
        self.memory.lock().put(key, &uid, conclusion.remember.clone());
        for draft in conclusion.events {
            self.recorder.publish(events::about(&seen.pa, draft));
        }
        if let Some(status) = conclusion.status.filter(|status| seen.pa.status.as_ref() != Some(status))
            && let Err(error) = self.writes.publish(&seen.pa, status).await
        {
            // The target is scaled already, so the next pass decides nothing: it has to tell this.
            let remember = Memory { untold: conclusion.untold, ..conclusion.remember };
            self.memory.lock().put(key, &uid, remember);
            return Err(error);
        }
        if let Some(error) = report.error {
            return Err(error);
        }
        match (plan.trouble, plan.requeue) {
            (Some(trouble), _) => Err(Error::Trouble { trouble, cure: self.period }),
            (None, Some(delay)) => Ok(Outcome::RequeueAfter(delay)),
            (None, None) => Ok(Outcome::Done),
        }
    }

    fn forget(&self, key: &Key) {
        self.reads.forget(key);
        self.memory.lock().forget(key);
        self.gauge.remove(key);
    }
}

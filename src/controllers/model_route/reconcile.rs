// SPDX-License-Identifier: Apache-2.0
//! One pass: read, plan, apply, tell.

use std::sync::Arc;

use parking_lot::Mutex;
use tracing::{debug, info};

use kube_loops::{
    cluster::{events::Recorder, writer::Writer},
    runtime::reconciler::{Key, Outcome, Pass, Reconciler},
};

use super::{
    apply::apply,
    card::ModelRouteSettings,
    error::Error,
    fetch::Stores,
    memory::Memory,
    plan::{Step, plan_grant, plan_route},
    sources::Source,
    status,
};

/// The loop of a term.
pub(super) struct ModelRouteLoop {
    pub(super) settings: Arc<ModelRouteSettings>,
    pub(super) stores: Stores,
    pub(super) writer: Writer,
    pub(super) memory: Arc<Mutex<Memory>>,
    pub(super) recorder: Recorder,
}

impl Reconciler for ModelRouteLoop {
    type Error = Error;

    async fn reconcile(&self, key: &Key, pass: &Pass) -> Result<Outcome, Error> {
        let mut lost = Lost::take(&self.memory, key);
        if key.namespace == self.settings.gateway_namespace {
            self.route(key, pass, &mut lost).await
        } else {
            self.grant(key, pass, &mut lost).await
        }
    }

    fn forget(&self, key: &Key) {
        self.memory.lock().forget(key);
    }
}

impl ModelRouteLoop {
    async fn route(&self, key: &Key, pass: &Pass, lost: &mut Lost<'_>) -> Result<Outcome, Error> {
        let seen = self.stores.route(&key.name, lost.pending);
        let plan = plan_route(&key.name, &seen, &self.settings);
        debug!(steps = ?plan.steps, "planned");
        if self.memory.lock().is_news(key, plan.left_alone) {
            info!(reason = plan.left_alone, "route is left alone");
        }
        let wait = if plan.repair { self.memory.lock().wait_to_repair(key, pass.now) } else { None };
        if let Some(wait) = wait {
            return Ok(Outcome::RequeueAfter(wait));
        }
        let applied = self.apply(&plan.steps, pass).await;
        self.tell_refusal(key, plan.primary.as_ref(), applied.as_ref().err());
        applied?;
        if plan.repair {
            self.memory.lock().repaired(key, pass.now);
        }
        lost.pending = false;
        for event in plan.events {
            self.recorder.publish(event);
        }
        Ok(Outcome::Done)
    }

    /// Tells people why the API server does not take the route of their workload, once per cause.
    fn tell_refusal(&self, key: &Key, primary: Option<&Source>, failed: Option<&Error>) {
        let refusal = failed.and_then(Error::refusal);
        let news = self.memory.lock().is_refusal_news(key, refusal);
        if let (true, Some(refusal), Some(primary)) = (news, refusal, primary) {
            self.recorder.publish(status::event(primary, &[status::refusal(refusal)]));
        }
    }

    async fn grant(&self, key: &Key, pass: &Pass, lost: &mut Lost<'_>) -> Result<Outcome, Error> {
        let seen = self.stores.grant(&key.namespace, lost.pending);
        let steps = plan_grant(&seen, &self.settings);
        debug!(?steps, "planned");
        self.apply(&steps, pass).await?;
        // As long as a route of ours leads there, the grant waits for its end.
        lost.pending &= !seen.needed && seen.used;
        Ok(Outcome::Done)
    }

    async fn apply(&self, steps: &[Step], pass: &Pass) -> Result<(), Error> {
        let applied = apply(steps, &self.settings.gateway_namespace, &self.writer).await;
        applied.map_err(|(attempt, source)| Error { attempt, source, before: pass.attempt })
    }
}

/// That a workload was lost is remembered until a pass has dealt with it, however the pass ends.
struct Lost<'a> {
    memory: &'a Mutex<Memory>,
    key: &'a Key,
    pending: bool,
}

impl<'a> Lost<'a> {
    fn take(memory: &'a Mutex<Memory>, key: &'a Key) -> Self {
        let pending = memory.lock().take_lost(key);
        Self { memory, key, pending }
    }
}

impl Drop for Lost<'_> {
    fn drop(&mut self) {
        if self.pending {
            self.memory.lock().lose(self.key.clone());
        }
    }
}

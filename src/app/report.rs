// SPDX-License-Identifier: Apache-2.0
//! Answers of the probes and of `/debug/leases` about elections and controllers.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    manager::{ControllerState, ControllerStates},
    server::{Check, Probes},
};
use kube_fenced_election::{LeaseStatus, clock::SharedClock};

/// Answers from memory; nothing in here asks the API server.
pub(super) struct Report {
    clock: SharedClock,
    /// Cancelled at the first signal: not ready any more.
    shutdown: CancellationToken,
    lease_duration: Duration,
    sources: Mutex<StatusSources>,
    /// A further check of `/readyz`.
    extra_check: Mutex<Option<Check>>,
    /// A part that ended before shutdown.
    ended_part: Mutex<Option<&'static str>>,
}

#[derive(Default)]
struct StatusSources {
    statuses: Vec<watch::Receiver<LeaseStatus>>,
    states: Option<Arc<ControllerStates>>,
    not_built: Vec<&'static str>,
}

impl Report {
    pub(super) fn new(
        clock: SharedClock,
        shutdown: CancellationToken,
        lease_duration: Duration,
    ) -> Arc<Self> {
        let (sources, extra_check, ended_part) = (Mutex::default(), Mutex::default(), Mutex::default());
        Arc::new(Self { clock, shutdown, lease_duration, sources, extra_check, ended_part })
    }

    /// Adds a check to `/readyz`.
    pub(super) fn add_ready_check(&self, check: Option<Check>) {
        *self.extra_check.lock() = check;
    }

    /// What to report from now on.
    pub(super) fn set_sources(
        &self,
        statuses: Vec<watch::Receiver<LeaseStatus>>,
        states: Arc<ControllerStates>,
        not_built: Vec<&'static str>,
    ) {
        *self.sources.lock() = StatusSources { statuses, states: Some(states), not_built };
    }

    /// A part ended without which a controller never works again: `/healthz` fails, so that the process is restarted.
    pub(super) fn set_ended(&self, what: &'static str) {
        self.ended_part.lock().get_or_insert(what);
    }

    pub(super) fn probes(report: &Arc<Self>) -> Probes {
        let (healthy, ready, remarks, leases) =
            (Arc::clone(report), Arc::clone(report), Arc::clone(report), Arc::clone(report));
        Probes {
            healthz: Arc::new(move || healthy.healthy()),
            readyz: Arc::new(move || ready.ready()),
            remarks: Arc::new(move || remarks.remarks()),
            leases: Arc::new(move || leases.leases()),
        }
    }

    fn statuses(&self) -> Vec<LeaseStatus> {
        self.sources.lock().statuses.iter().map(|it| it.borrow().clone()).collect()
    }

    fn healthy(&self) -> Result<(), String> {
        let ended = self.ended_part.lock().filter(|_| !self.shutdown.is_cancelled());
        if let Some(what) = ended {
            return Err(what.to_owned());
        }
        let now = self.clock.instant();
        match self.statuses().into_iter().find(|it| it.is_stuck(self.lease_duration, now)) {
            Some(stuck) => Err(format!("the elector of {} makes no progress", stuck.controller)),
            None => Ok(()),
        }
    }

    fn ready(&self) -> Result<(), String> {
        if self.shutdown.is_cancelled() {
            return Err("shutting down".to_owned());
        }
        let extra_check = self.extra_check.lock().clone();
        extra_check.map_or(Ok(()), |check| check())
    }

    /// Leases that cannot be used, because a permission or the namespace is missing or the upgrade guard fails: no
    /// reason not to be ready, and worth telling.
    fn remarks(&self) -> Vec<String> {
        let unusable = |error: &String| {
            let error = error.to_lowercase();
            error.contains("forbidden") || error.contains("not found")
        };
        let mut remarks = Vec::new();
        for status in self.statuses() {
            let own = status.last_error.filter(unusable);
            let own = own.map(|error| format!("lease {}/{}: {error}", status.namespace, status.lease));
            // The guard is the same for all.
            let guard = status.guard_error.filter(|error| !remarks.contains(error));
            remarks.extend(own.into_iter().chain(guard));
        }
        remarks
    }

    fn leases(&self) -> Value {
        let now = self.clock.instant();
        let sources = self.sources.lock();
        let state_of = |controller: &str| sources.states.as_ref().and_then(|states| states.get(controller));
        let entry = |status: LeaseStatus| {
            let controller_state = state_of(&status.controller);
            // The elector does not know why its controller does not contend.
            let state = match controller_state {
                Some(ControllerState::WaitingForCrd) => ControllerState::WaitingForCrd.name(),
                _ => status.state.word(),
            };
            json!({
                "controller": status.controller,
                "state": state,
                "controllerState": controller_state.map(ControllerState::name),
                "namespace": status.namespace,
                "lease": status.lease,
                "identity": status.identity,
                "holder": status.holder,
                "transitions": status.transitions,
                "validForSeconds": status.valid_for(now).as_secs_f64(),
                "claimedUntil": status.claimed_until.map(|until| until.to_string()),
                "lastError": status.last_error.or(status.guard_error),
            })
        };
        let not_built = sources.not_built.iter().map(|controller| {
            json!({"controller": controller, "state": ControllerState::NotBuilt.name(),
                   "controllerState": ControllerState::NotBuilt.name(), "lease": null, "holder": null})
        });
        let running = sources.statuses.iter().map(|it| entry(it.borrow().clone()));
        running.chain(not_built).collect()
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What the probes and `/debug/leases` say of elections and controllers.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    manager::{State, States},
    server::{Check, Probes},
};
use kube_fenced_election::{LeaseStatus, clock::SharedClock};

/// Answers from memory; nothing in here asks the API server.
pub(super) struct Report {
    clock: SharedClock,
    /// Cancelled at the first signal: not ready any more.
    shutdown: CancellationToken,
    lease_duration: Duration,
    followed: Mutex<Followed>,
    /// What else has to be well before requests may be sent here.
    also: Mutex<Option<Check>>,
    /// What ended though nothing told it to.
    part_ended: Mutex<Option<&'static str>>,
}

#[derive(Default)]
struct Followed {
    statuses: Vec<watch::Receiver<LeaseStatus>>,
    states: Option<Arc<States>>,
    not_built: Vec<&'static str>,
}

impl Report {
    pub(super) fn new(
        clock: SharedClock,
        shutdown: CancellationToken,
        lease_duration: Duration,
    ) -> Arc<Self> {
        let (followed, also, part_ended) = (Mutex::default(), Mutex::default(), Mutex::default());
        Arc::new(Self { clock, shutdown, lease_duration, followed, also, part_ended })
    }

    /// Ready only when `check` says so too.
    pub(super) fn also_ready_when(&self, check: Option<Check>) {
        *self.also.lock() = check;
    }

    /// Tells of these from now on.
    pub(super) fn follow(
        &self,
        statuses: Vec<watch::Receiver<LeaseStatus>>,
        states: Arc<States>,
        not_built: Vec<&'static str>,
    ) {
        *self.followed.lock() = Followed { statuses, states: Some(states), not_built };
    }

    /// A part ended though nothing told it to, without which a controller never works again: the process has to be
    /// started anew.
    pub(super) fn part_ended(&self, what: &'static str) {
        self.part_ended.lock().get_or_insert(what);
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
        self.followed.lock().statuses.iter().map(|it| it.borrow().clone()).collect()
    }

    fn healthy(&self) -> Result<(), String> {
        let ended = self.part_ended.lock().filter(|_| !self.shutdown.is_cancelled());
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
        let also = self.also.lock().clone();
        also.map_or(Ok(()), |check| check())
    }

    /// Missing permissions for Leases: no reason not to be ready, and worth telling.
    fn remarks(&self) -> Vec<String> {
        let forbidden = |status: LeaseStatus| {
            let error = status.last_error.filter(|it| it.to_lowercase().contains("forbidden"))?;
            Some(format!("lease {}/{}: {error}", status.namespace, status.lease))
        };
        self.statuses().into_iter().filter_map(forbidden).collect()
    }

    fn leases(&self) -> Value {
        let now = self.clock.instant();
        let followed = self.followed.lock();
        let state_of = |controller: &str| followed.states.as_ref().and_then(|states| states.get(controller));
        let entry = |status: LeaseStatus| {
            let life = state_of(&status.controller);
            // Why it does not contend is known better by the controller's life than by its elector.
            let state = match life {
                Some(State::WaitingForCrd) => State::WaitingForCrd.name(),
                _ => status.state.word(),
            };
            json!({
                "controller": status.controller,
                "state": state,
                "controllerState": life.map(State::name),
                "namespace": status.namespace,
                "lease": status.lease,
                "identity": status.identity,
                "holder": status.holder,
                "transitions": status.transitions,
                "validForSeconds": status.valid_for(now).as_secs_f64(),
                "lastError": status.last_error,
            })
        };
        let not_built = followed.not_built.iter().map(|controller| {
            json!({"controller": controller, "state": State::NotBuilt.name(),
                   "controllerState": State::NotBuilt.name(), "lease": null, "holder": null})
        });
        let running = followed.statuses.iter().map(|it| entry(it.borrow().clone()));
        running.chain(not_built).collect()
    }
}

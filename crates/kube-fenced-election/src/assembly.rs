// SPDX-License-Identifier: Apache-2.0
//! Assembles the elections of one process.

use std::{collections::BTreeMap, fmt, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use kube::Api;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::{BootClock, ClockCheck, SharedClock};
use crate::whole_errors::whole_errors;

use super::{
    Settings,
    decision::{ElectorState, Permit, Timing},
    elector::{self, Elector},
    events::{EventRecorder, LeaseRef, NoEvents},
    guard::GuardedLease,
    handle::ElectionHandle,
    legacy::{self, GuardState, LegacyGuard},
    lock::{LeaseClients, Lock},
    log::ElectionLog,
    metrics::{Metrics, NoMetrics},
    names::Names,
    presence::Presence,
    registry::ElectionRegistry,
    status::{LeaseState, LeaseStatus},
    watch::watch_lease,
};

/// One controller that contends for a Lease.
#[derive(Clone)]
pub struct Candidate {
    /// Name of the controller.
    pub controller: String,
    /// Name of its Lease.
    pub lease: String,
    /// Clients for the traffic of that Lease.
    pub clients: LeaseClients,
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("controller", &self.controller)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

/// What [`Election::new`] needs.
pub struct Setup {
    /// What this product writes into Leases besides their specification.
    pub names: Arc<Names>,
    /// Durations, identity and the like, checked.
    pub settings: Settings,
    /// The controllers that run here.
    pub candidates: Vec<Candidate>,
    /// Annotations that every write of a controller's Lease sets, or removes (`None`).
    pub lease_annotations: BTreeMap<String, Option<String>>,
    /// Clients for presence and for the Lease of an older manager.
    pub clients: LeaseClients,
    /// Clock by which rights are judged; [`BootClock`] unless a test has another.
    pub clock: SharedClock,
    /// Whether that clock stood still: told of each answer of the API server by whoever makes the clients.
    pub clock_check: ClockCheck,
    /// Publishes Kubernetes events: [`crate::NoEvents`] for none.
    pub events: Arc<dyn EventRecorder>,
    /// Cancelled when the process shuts down.
    pub shutdown: CancellationToken,
    /// Keeps the figures: [`crate::NoMetrics`] for none.
    pub metrics: Arc<dyn Metrics>,
}

impl Setup {
    /// Without candidates, events and metrics, on the clock of the system. `clients`: for all Leases.
    pub fn new(names: Names, settings: Settings, clients: LeaseClients) -> Self {
        let clock: SharedClock = Arc::new(BootClock);
        let clock_check = ClockCheck::new(Arc::clone(&clock), settings.lease_duration);
        Self {
            names: Arc::new(names),
            settings,
            candidates: Vec::new(),
            lease_annotations: BTreeMap::new(),
            clients,
            clock,
            clock_check,
            events: Arc::new(NoEvents),
            shutdown: CancellationToken::new(),
            metrics: Arc::new(NoMetrics),
        }
    }

    /// Adds a controller that contends for this Lease.
    #[must_use]
    pub fn candidate(mut self, controller: &str, lease: &str) -> Self {
        let (controller, lease) = (controller.to_owned(), lease.to_owned());
        self.candidates.push(Candidate { controller, lease, clients: self.clients.clone() });
        self
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("settings", &self.settings)
            .field("candidates", &self.candidates)
            .finish_non_exhaustive()
    }
}

/// A future that somebody has to run; it ends by itself after shutdown.
pub struct Task {
    /// Name for logs.
    pub name: String,
    /// The task itself.
    pub run: BoxFuture<'static, ()>,
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The elections of one process.
#[derive(Debug)]
pub struct Election {
    /// A handle per candidate, in the order of the candidates.
    pub handles: Vec<ElectionHandle>,
    /// One task per candidate, in the same order: the electors.
    pub electors: Vec<Task>,
    /// Tasks of the process, to be run like the electors: presence and the Lease of an older manager. They end after
    /// the electors.
    pub background: Vec<Task>,
    /// State of each election, in the same order.
    pub statuses: Vec<watch::Receiver<LeaseStatus>>,
}

impl Election {
    /// Assembles the elections. Nothing is requested before the tasks run. Has to be called within a
    /// tokio runtime.
    pub fn new(setup: &Setup) -> Self {
        let Settings { namespace, identity, .. } = &setup.settings;
        let elections = setup.candidates.iter().map(|one| (one.lease.clone(), one.controller.clone()));
        let registry = ElectionRegistry::new(elections.collect(), setup.settings.legacy_lease.clone());
        let mut background = Vec::new();

        let permit = setup.settings.legacy_lease.as_ref().map_or(Permit::Unbounded, |_| Permit::Closed);
        let (guard, guarded) = watch::channel(GuardState { permit, held_for: None, problem: None });
        let legacy_left = CancellationToken::new();
        let mut handles = Vec::new();
        let mut electors = Vec::new();
        for candidate in &setup.candidates {
            let (handle, elector) = elector_for(setup, candidate, &registry, &guarded);
            handles.push(handle);
            electors.push(Task {
                name: format!("elector of {}", candidate.controller),
                run: elector.run().boxed(),
            });
        }
        let statuses: Vec<_> = handles.iter().map(ElectionHandle::status).collect();

        match &setup.settings.legacy_lease {
            Some(lease) if !setup.candidates.is_empty() => {
                let guard = legacy_guard(setup, lease, &registry, guard, legacy_left.clone());
                background
                    .push(Task { name: format!("guard of {namespace}/{lease}"), run: guard.run().boxed() });
            }
            Some(_) | None => legacy_left.cancel(),
        }
        if !setup.candidates.is_empty() {
            let presence = Presence {
                api: Api::namespaced(whole_errors(setup.clients.first.clone()), namespace),
                names: Arc::clone(&setup.names),
                identity: identity.clone(),
                registry: Arc::clone(&registry),
                shutdown: setup.shutdown.clone(),
                legacy_left,
                spread: setup.settings.spread,
                clock: Arc::clone(&setup.clock),
            };
            background.push(Task { name: "presence".to_owned(), run: presence.run().boxed() });
        }
        Self { handles, electors, background, statuses }
    }
}

impl Settings {
    /// The durations.
    pub(crate) fn timing(&self) -> Timing {
        Timing {
            lease_duration: self.lease_duration,
            renew_deadline: self.renew_deadline,
            retry_period: self.retry_period,
        }
    }
}

fn elector_for(
    setup: &Setup,
    candidate: &Candidate,
    registry: &Arc<ElectionRegistry>,
    guard: &watch::Receiver<GuardState>,
) -> (ElectionHandle, Elector) {
    let names = &setup.names;
    let Settings { namespace, identity, release_on_cancel, spread, .. } = &setup.settings;
    let Candidate { controller, lease, clients } = candidate;
    let timing = setup.settings.timing();
    let now = setup.clock.instant();
    let (handle, channels) = ElectionHandle::new(LeaseStatus {
        controller: controller.clone(),
        namespace: namespace.clone(),
        lease: lease.clone(),
        identity: identity.clone(),
        state: LeaseState::Waiting,
        holder: None,
        transitions: 0,
        valid_until: None,
        claimed_until: None,
        last_error: None,
        guard_error: None,
        last_progress: now,
    });
    let holder = (names.holder_annotation(), Some(identity.clone()));
    let guarded = GuardedLease {
        labels: names.lease_labels(controller),
        annotations: setup.lease_annotations.clone().into_iter().chain([holder]).collect(),
        ..GuardedLease::new(names, namespace, lease, identity, &timing)
    };
    let lease_ref = LeaseRef { namespace: namespace.clone(), name: lease.clone(), uid: None };
    let permit = guard.borrow().permit_for(controller);
    let parts = elector::Parts {
        state: ElectorState::new(identity.clone(), timing, *release_on_cancel, permit, now),
        timing,
        lock: Arc::new(Lock::new(clients, guarded, timing.lease_duration, Arc::clone(&setup.clock))),
        lease_events: watch_lease(Api::namespaced(whole_errors(clients.first.clone()), namespace), lease),
        channels,
        registration: registry.register(lease),
        guard: guard.clone(),
        controller: controller.clone(),
        shutdown: setup.shutdown.clone(),
        metrics: setup.metrics.of_lease(&lease_ref, controller),
        log: ElectionLog::new(names, controller, lease_ref, identity, timing.lease_duration),
        events: Arc::clone(&setup.events),
        identity: identity.clone(),
        spread: *spread,
        clock: Arc::clone(&setup.clock),
        clock_check: setup.clock_check.clone(),
        jitter: Box::new(rand::random::<f64>),
    };
    (handle, Elector::new(parts))
}

fn legacy_guard(
    setup: &Setup,
    lease: &str,
    registry: &Arc<ElectionRegistry>,
    state: watch::Sender<GuardState>,
    left: CancellationToken,
) -> LegacyGuard {
    let (names, namespace) = (&setup.names, &setup.settings.namespace);
    let timing = setup.settings.timing();
    let guarded = GuardedLease {
        labels: names.common_labels(),
        keeps_duration: true,
        request_timeout: timing.guard_hedge_after() * 2,
        hedge_after: timing.guard_hedge_after(),
        ..GuardedLease::new(names, namespace, lease, &names.group(), &timing)
    };
    let lease_ref = LeaseRef { namespace: namespace.clone(), name: lease.to_owned(), uid: None };
    LegacyGuard::new(legacy::Parts {
        lock: Lock::new(&setup.clients, guarded, timing.lease_duration, Arc::clone(&setup.clock)),
        lease_events: watch_lease(
            Api::namespaced(whole_errors(setup.clients.first.clone()), namespace),
            lease,
        ),
        metrics: setup.metrics.of_guard(&lease_ref),
        lease: lease_ref,
        names: Arc::clone(names),
        identity: setup.settings.identity.clone(),
        timing,
        release_on_cancel: setup.settings.release_on_cancel,
        registry: Arc::clone(registry),
        state,
        left,
        shutdown: setup.shutdown.clone(),
        events: Arc::clone(&setup.events),
        clock: Arc::clone(&setup.clock),
        clock_check: setup.clock_check.clone(),
        jitter: Box::new(rand::random::<f64>),
    })
}

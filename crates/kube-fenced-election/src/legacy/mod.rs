// SPDX-License-Identifier: Apache-2.0
//! The upgrade guard: the Lease of an older, Go-made manager. Wait for it, then hold it as a group.
//!
//! A Go manager runs all controllers under one Lease, for which no elector contends. As long as it renews that Lease,
//! no controller starts here. Afterwards the managers of this product hold the Lease together, as a group, so that a Go
//! manager that is started later (a rollback) waits until all of them have stopped.
//!
//! Every manager that leads renews it every third of its stored duration, whatever the others do, and signs it with an
//! annotation of its own: only its *own* successful write, counted from the moment at which it was sent, extends its
//! right to write ([`Permit::Until`]). So a manager that cannot renew the claim stops before a Go manager may take the
//! Lease. One that leads nothing writes nothing; its claim is renewed before it acquires its first Lease. Renewals
//! keep the stored duration, because a shorter one would end the claims that others count on.
//!
//! Whoever stopped leading removes its signature once its own claim has ended; the one whose signature was the last
//! releases the Lease in the same write, unless another member may take its controllers over: then the Lease expires
//! if none does. All writes are compare-and-swap, so two that leave at once cannot both believe
//! that the other one is still there. The signature of a member whose presence was seen to expire does not count; whoever
//! merely is not seen may lead all the same.
//!
//! A manager of this product may sit on the Lease with a single controller, by a wrong `--leader-election-id`. It
//! keeps a Go manager away as we would, so only that controller waits for it, and both sides say what is wrong. No
//! claim of the group protects the others then: a Go manager that takes over from it is seen by the watch alone.

mod holder;
#[cfg(test)]
mod holder_tests;
mod requests;

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::BoxStream};

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    clock::{ClockCheck, Instant, SharedClock, sleep_until},
    fence::Validity,
};

use super::{
    conflict::ReportLimiter,
    decision::{Permit, Timing},
    events::{EventRecorder, LeaseRef},
    lock::Lock,
    lock_error::Attempt,
    long_claim::LongClaims,
    metrics::GuardMetrics,
    names::Names,
    observation::{Changed, LeaseSnapshot, Observation, Source},
    presence::fingerprint,
    registry::{ElectionRegistry, Members},
    watch::LeaseEvent,
};

use holder::{GuardHolder, guard_holder_of};
use requests::Next;

/// Time between two log lines while waiting for a Go manager.
const REMINDER: Duration = Duration::from_mins(1);
/// Time between two log lines about a lasting failure; the loop of the task runs at least this often.
const REPEAT_PERIOD: Duration = Duration::from_secs(30);

/// What the guard allows the controllers of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GuardState {
    /// What it allows those that nobody else works for.
    pub(super) permit: Permit,
    /// The controller for which a manager of this product holds the guard's Lease; `None`: no such.
    pub(super) held_for: Option<String>,
    /// What is wrong about the guard's Lease, in words.
    pub(super) problem: Option<String>,
}

impl GuardState {
    /// What it allows this controller.
    pub(super) fn permit_for(&self, controller: &str) -> Permit {
        if self.held_for.as_deref() == Some(controller) { Permit::Closed } else { self.permit }
    }
}

/// What the task is made of.
pub(super) struct Parts {
    pub(super) names: Arc<Names>,
    pub(super) lock: Lock,
    pub(super) lease_events: BoxStream<'static, LeaseEvent>,
    pub(super) lease: LeaseRef,
    pub(super) identity: String,
    pub(super) timing: Timing,
    pub(super) release_on_cancel: bool,
    pub(super) registry: Arc<ElectionRegistry>,
    /// Sent to the electors.
    pub(super) state: watch::Sender<GuardState>,
    /// Cancelled when this task writes the Lease no more.
    pub(super) left: CancellationToken,
    pub(super) shutdown: CancellationToken,
    pub(super) metrics: Arc<dyn GuardMetrics>,
    pub(super) events: Arc<dyn EventRecorder>,
    pub(super) clock: SharedClock,
    pub(super) clock_check: ClockCheck,
    /// Source of numbers in `0.0..1.0`.
    pub(super) jitter: Box<dyn FnMut() -> f64 + Send>,
}

/// The group's claim by this process's own last write.
#[derive(Debug, Clone, Copy)]
struct OwnClaim {
    /// Right before that write was sent.
    sent: Instant,
    renew_at: Instant,
    until: Instant,
}

impl OwnClaim {
    fn validity(&self) -> Validity {
        Validity { until: self.until, sent: self.sent }
    }
}

/// A request about the Lease that failed, until one like it succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Failure {
    attempt: Attempt,
    text: String,
    logged: Instant,
}

/// The task that watches and holds the older manager's Lease.
pub(super) struct LegacyGuard {
    parts: Parts,
    _left: DropGuard,
    me: String,
    /// The identity that holds the Lease.
    group: String,
    path: String,
    seen: Observation,
    watching: bool,
    reread: bool,
    read_at: Instant,
    not_before: Instant,
    claim: Option<OwnClaim>,
    /// Random share of a second: those who lost a race do not try again at the same moment.
    stagger: Duration,
    leading: watch::Receiver<usize>,
    wanted: watch::Receiver<bool>,
    /// When the last controller stopped leading.
    idle_since: Option<Instant>,
    members: watch::Receiver<Members>,
    doubted: watch::Receiver<Option<Instant>>,
    reminded: Option<Instant>,
    reports: ReportLimiter,
    long_claims: LongClaims,
    /// What the Lease cannot be used for, and when that was logged.
    failure: Option<Failure>,
}

impl LegacyGuard {
    pub(super) fn new(mut parts: Parts) -> Self {
        let now = parts.clock.instant();
        Self {
            _left: parts.left.clone().drop_guard(),
            me: fingerprint(&parts.identity),
            group: parts.names.group(),
            path: parts.lease.to_string(),
            seen: Observation::new(now),
            watching: false,
            reread: false,
            read_at: now + parts.timing.retry_period,
            not_before: now,
            claim: None,
            stagger: Duration::from_secs(1).mul_f64((parts.jitter)()),
            leading: parts.registry.leading(),
            wanted: parts.registry.guard_wanted(),
            idle_since: Some(now),
            members: parts.registry.members(),
            doubted: parts.clock_check.doubted(),
            reminded: None,
            reports: ReportLimiter::default(),
            long_claims: LongClaims::new(&parts.names.group(), parts.timing.lease_duration),
            failure: None,
            parts,
        }
    }

    pub(super) async fn run(mut self) {
        let mut electors = self.parts.registry.electors();
        loop {
            let now = self.parts.clock.instant();
            self.update_permit(now);
            let last = *electors.borrow_and_update() == 0;
            let next = if last { Next::Release } else { self.next(now) };
            let wait = match next {
                Next::Read => {
                    self.read().await;
                    continue;
                }
                Next::Renew => {
                    self.renew().await;
                    continue;
                }
                Next::Release => {
                    self.release(last).await;
                    if last {
                        return;
                    }
                    continue;
                }
                Next::Wait(until) => until,
            };
            let until = wait.unwrap_or(now + REPEAT_PERIOD).min(now + REPEAT_PERIOD);
            tokio::select! {
                biased;
                Ok(()) = electors.changed() => {}
                Ok(()) = self.leading.changed() => {
                    let leads = *self.leading.borrow_and_update() > 0;
                    self.idle_since = (!leads).then(|| self.parts.clock.instant());
                }
                Ok(()) = self.wanted.changed() => self.wanted.mark_unchanged(),
                Some(lease_event) = self.parts.lease_events.next() => self.watched(lease_event),
                Ok(()) = self.members.changed() => self.members.mark_unchanged(),
                Ok(()) = self.doubted.changed() => {
                    let since = *self.doubted.borrow_and_update();
                    if let Some(claim) = self.claim.as_mut().filter(|claim| since.is_some_and(|it| claim.sent < it)) {
                        claim.renew_at = self.parts.clock.instant();
                    }
                }
                () = sleep_until(&*self.parts.clock, until) => {}
            }
        }
    }

    fn watched(&mut self, lease_event: LeaseEvent) {
        let now = self.parts.clock.instant();
        match lease_event {
            LeaseEvent::Listed(snapshot) => {
                self.watching = true;
                self.observe(snapshot, Source::List, now);
            }
            LeaseEvent::Changed(snapshot) => {
                self.watching = true;
                self.observe(snapshot, Source::Watch, now);
            }
            LeaseEvent::Broken(cause) => {
                self.watching = false;
                self.seen.watch_broken();
                tracing::debug!(lease = self.path, error = cause, "watch on lease is broken");
            }
        }
    }

    fn observe(&mut self, snapshot: LeaseSnapshot, source: Source, at: Instant) {
        // It can be read.
        self.failure.take_if(|failure| failure.attempt == Attempt::Get);
        if let Some(lease) = snapshot.lease() {
            self.parts.lease.uid.clone_from(&lease.metadata.uid);
        }
        match self.seen.observe(snapshot, source, at) {
            Changed::Yes => self.reread = false,
            Changed::No => {}
            Changed::Stale => self.reread = true,
        }
    }

    fn leads(&self) -> bool {
        self.idle_since.is_none()
    }

    fn guard_holder(&self, now: Instant) -> GuardHolder {
        guard_holder_of(&self.parts.names, &self.seen, &self.parts.lease.name, &self.members.borrow(), now)
    }

    /// Sets what controllers may do by who holds the Lease, and reports conflicts: none may start beside a foreign
    /// manager.
    fn update_permit(&mut self, now: Instant) {
        let guard_holder = self.guard_holder(now);
        let Parts { lease, clock, events, .. } = &self.parts;
        let long = self.long_claims.report(&self.seen, lease, &**clock, &**events);
        let failure = self.failure.as_ref().map(|failure| failure.text.clone());
        let problem =
            failure.map(|text| format!("cannot use upgrade guard {}: {text}", self.path)).or_else(|| {
                let (holder, until) = (self.seen.claimant().unwrap_or_default(), long?);
                Some(format!("upgrade guard {} is claimed by {holder} until {until}", self.path))
            });
        self.set_problem(problem);
        if let GuardHolder::Ours { controller, .. } = &guard_holder {
            self.set_state(Permit::Unbounded, Some(controller.clone()));
        }
        // A member that contends for this Lease has the wrong id even while it waits: it can never lead beside the group.
        let contender = {
            let members = self.members.borrow();
            let contender = members.contending_for(&self.parts.lease.name);
            contender.map(|(member, controller)| (member.identity.clone(), controller.to_owned()))
        };
        self.parts.metrics.conflict(contender.is_some());
        let report = self.reports.report(contender.as_ref().map(|(member, _)| member.as_str()), now);
        if let Some((member, controller)) = contender.filter(|_| report.log || report.event) {
            self.report_conflict(&member, &controller, report.event);
        }
        match guard_holder {
            GuardHolder::Foreign(holder, _) => {
                self.set_state(Permit::Closed, None);
                self.remind(&holder, now);
            }
            GuardHolder::Nobody | GuardHolder::Group => {
                self.reminded = None;
                self.open(now);
            }
            GuardHolder::Unknown | GuardHolder::Ours { .. } => self.reminded = None,
        }
    }

    /// Controllers may contend: under this process's own claim, which has to be written before any of them starts.
    /// Those that run beside a member that holds this Lease go on until it is written.
    fn open(&self, now: Instant) {
        let state = self.parts.state.borrow().clone();
        if state.permit == Permit::Closed || state.held_for.is_some() && !self.leads() {
            let nothing = Validity { until: now, sent: now };
            self.set_state(Permit::Until(self.claim.map_or(nothing, |claim| claim.validity())), None);
        }
    }

    fn remind(&mut self, holder: &str, now: Instant) {
        if self.reminded.is_none_or(|last| now.saturating_duration_since(last) >= REMINDER) {
            self.reminded = Some(now);
            tracing::info!(
                lease = self.path,
                identity = self.parts.identity,
                holder,
                "waiting for an older manager to stop, no controller starts"
            );
        }
    }

    /// `member` contends for the guard's Lease with `controller`, and may hold it.
    fn report_conflict(&self, member: &str, controller: &str, publish: bool) {
        let flag = (self.parts.names.own_lease_advice)(controller);
        tracing::error!(
            controller,
            lease = self.path,
            identity = self.parts.identity,
            holder = self.seen.holder().unwrap_or_default(),
            claimed_by = member,
            flag,
            "upgrade guard conflict"
        );
        if publish {
            let message = format!(
                "upgrade guard conflict: {member} stands for Lease {}, the Lease of older managers, with its \
                 controller {controller}; start it with {flag}",
                self.path
            );
            self.parts.events.guard_conflict(&self.parts.lease, &self.parts.identity, &message);
        }
    }

    fn set_state(&self, permit: Permit, held_for: Option<String>) {
        self.parts.metrics.waiting(permit == Permit::Closed);
        self.parts.state.send_if_modified(|known| {
            let new = known.permit != permit || known.held_for != held_for;
            known.permit = permit;
            known.held_for = held_for;
            new
        });
    }

    fn set_problem(&self, problem: Option<String>) {
        self.parts.state.send_if_modified(|known| {
            let new = known.problem != problem;
            known.problem = problem;
            new
        });
    }
}

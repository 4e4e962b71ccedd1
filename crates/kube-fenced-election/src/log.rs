// SPDX-License-Identifier: Apache-2.0
//! The log of one election. The phrases are those of client-go, which people search for.

use std::{sync::Arc, time::Duration};

use crate::clock::{Clock, Instant, Timestamp};

use super::{
    conflict::{ComponentMatch, ReportLimiter, component_match, stated_controller},
    decision::{StepDownReason, Timing},
    events::{EventRecorder, LeaseRef},
    lock_error::LockError,
    long_claim::LongClaims,
    names::Names,
    observation::Observation,
    registry::Members,
};

/// A lasting failure is repeated in the log this often.
const REPEAT_PERIOD: Duration = Duration::from_secs(30);

/// Logs one election, each change once.
#[derive(Debug)]
pub(super) struct ElectionLog {
    names: Arc<Names>,
    controller: String,
    lease: LeaseRef,
    path: String,
    identity: String,
    holder: Option<String>,
    failure: Option<(String, Instant)>,
    reports: ReportLimiter,
    guard_reports: ReportLimiter,
    foreign: Option<String>,
    long_claims: LongClaims,
}

impl ElectionLog {
    pub(super) fn new(
        names: &Arc<Names>,
        controller: &str,
        lease: LeaseRef,
        identity: &str,
        lease_duration: Duration,
    ) -> Self {
        Self {
            names: Arc::clone(names),
            controller: controller.to_owned(),
            path: lease.to_string(),
            lease,
            identity: identity.to_owned(),
            holder: None,
            failure: None,
            reports: ReportLimiter::default(),
            guard_reports: ReportLimiter::default(),
            foreign: None,
            long_claims: LongClaims::new(identity, lease_duration),
        }
    }

    pub(super) fn lease(&self) -> &LeaseRef {
        &self.lease
    }

    pub(super) fn configured(&self, timing: &Timing) {
        tracing::info!(
            controller = self.controller,
            lease = self.path,
            identity = self.identity,
            lease_duration = ?timing.lease_duration,
            renew_deadline = ?timing.renew_deadline,
            retry_period = ?timing.retry_period,
            "leader election configured"
        );
    }

    pub(super) fn attempting(&self) {
        tracing::info!(
            controller = self.controller,
            lease = self.path,
            identity = self.identity,
            "attempting to acquire leader lease {}...",
            self.path
        );
    }

    pub(super) fn acquired(&self, transitions: i32) {
        tracing::info!(
            controller = self.controller,
            lease = self.path,
            identity = self.identity,
            transitions,
            "successfully acquired lease {}",
            self.path
        );
    }

    pub(super) fn renewed(&mut self) {
        self.failure = None;
        tracing::trace!(
            controller = self.controller,
            lease = self.path,
            "successfully renewed lease {}",
            self.path
        );
    }

    pub(super) fn not_acquired(&self, seen: &Observation) {
        let holder = seen.claimant().unwrap_or_default();
        tracing::debug!(
            controller = self.controller,
            lease = self.path,
            holder,
            "lock is held by {holder} and has not yet expired"
        );
        tracing::debug!(
            controller = self.controller,
            lease = self.path,
            "failed to acquire lease {}",
            self.path
        );
    }

    pub(super) fn step_down_requested(&self, why: &StepDownReason) {
        tracing::info!(
            controller = self.controller,
            lease = self.path,
            reason = why.word(),
            "asking controller to give its lease away"
        );
    }

    pub(super) fn gave_way(&self, reason: &str) {
        tracing::warn!(
            controller = self.controller,
            lease = self.path,
            identity = self.identity,
            reason,
            "controller cannot work, giving its lease away"
        );
    }

    pub(super) fn stopped(&self, why: &StepDownReason, seen: &Observation, last_error: Option<&str>) {
        let (controller, lease, identity) = (&self.controller, &self.path, &self.identity);
        match why {
            StepDownReason::ControllerLeft | StepDownReason::Surplus => {}
            StepDownReason::RenewDeadline
            | StepDownReason::Rival(_)
            | StepDownReason::ReleasedByOther
            | StepDownReason::Legacy
            | StepDownReason::GuardNotRenewed => {
                if *why == StepDownReason::RenewDeadline {
                    let cause = last_error.unwrap_or("timed out waiting for the condition");
                    tracing::error!(controller, lease, identity, "failed to renew lease {lease}: {cause}");
                }
                let (holder, reason) = (seen.holder().unwrap_or_default(), why.word());
                tracing::error!(controller, lease, identity, holder, reason, "leader election lost");
            }
        }
        tracing::info!(controller, lease, identity, reason = why.word(), "stopped leading");
    }

    pub(super) fn released(&self) {
        tracing::info!(
            controller = self.controller,
            lease = self.path,
            identity = self.identity,
            "released lease {}",
            self.path
        );
    }

    /// Each cause once, and again every half minute while it lasts.
    pub(super) fn failed(&mut self, error: &LockError, now: Instant) {
        let text = error.to_string();
        if let Some((known, since)) = &self.failure
            && *known == text
            && now.saturating_duration_since(*since) < REPEAT_PERIOD
        {
            return;
        }
        tracing::error!(
            controller = self.controller,
            lease = self.path,
            verb = error.attempt.verb(),
            resource = "leases.coordination.k8s.io",
            namespace = self.lease.namespace,
            "{} {}: {}",
            error.attempt,
            self.path,
            error.cause
        );
        self.failure = Some((text, now));
    }

    pub(super) fn watch_broken(&self, cause: &str) {
        tracing::debug!(
            controller = self.controller,
            lease = self.path,
            error = cause,
            "watch on lease is broken"
        );
    }

    /// Reports what the observation shows. Returns whether the holder has changed, and whose the Lease is.
    pub(super) fn observed(
        &mut self,
        seen: &Observation,
        members: &Members,
        events: &dyn EventRecorder,
        now: Instant,
    ) -> (bool, ComponentMatch) {
        if let Some(uid) = seen.lease().and_then(|lease| lease.metadata.uid.as_ref())
            && self.lease.uid.as_ref() != Some(uid)
        {
            self.lease.uid = Some(uid.clone());
        }
        let changed =
            seen.holder().filter(|holder| self.holder.as_deref() != Some(holder)).map(str::to_owned);
        if let Some(holder) = &changed {
            tracing::info!(
                controller = self.controller,
                lease = self.path,
                identity = self.identity,
                holder,
                transitions = seen.transitions(),
                "new leader elected"
            );
            self.holder = Some(holder.clone());
        }
        let stated = stated_controller(&self.names, seen, &self.lease.name, members);
        let component = component_match(seen, stated, &self.controller, &self.identity, now);
        self.report(&component, events, now);
        (changed.is_some(), component)
    }

    /// The end of the holder's claim where that is unusually long; reports it once.
    pub(super) fn claimed_until(
        &mut self,
        seen: &Observation,
        clock: &dyn Clock,
        events: &dyn EventRecorder,
    ) -> Option<Timestamp> {
        self.long_claims.report(seen, &self.lease, clock, events)
    }

    /// Reports that another manager of this product takes this Lease for its upgrade guard, so that its controllers wait
    /// for whoever holds it. `None`: no such manager.
    pub(super) fn guarded_by(&mut self, manager: Option<&str>, events: &dyn EventRecorder, now: Instant) {
        let report = self.guard_reports.report(manager, now);
        let Some(manager) = manager.filter(|_| report.log || report.event) else { return };
        let flag = (self.names.own_lease_advice)(&self.controller);
        if report.log {
            tracing::error!(
                controller = self.controller,
                lease = self.path,
                identity = self.identity,
                guarded_by = manager,
                flag,
                "upgrade guard conflict"
            );
        }
        if report.event {
            let message = format!(
                "upgrade guard conflict: {} stands for Lease {}, which {manager} takes for the Lease of an older \
                 manager; set {flag}",
                self.controller, self.path
            );
            events.guard_conflict(&self.lease, &self.identity, &message);
        }
    }

    fn report(&mut self, component: &ComponentMatch, events: &dyn EventRecorder, now: Instant) {
        let report = self.reports.report(component.other(), now);
        match component {
            ComponentMatch::Same => self.foreign = None,
            ComponentMatch::Unknown { holder } => {
                if self.foreign.as_ref() != Some(holder) {
                    tracing::info!(
                        controller = self.controller,
                        lease = self.path,
                        holder,
                        "lease is held by a manager of another make"
                    );
                    self.foreign = Some(holder.clone());
                }
            }
            ComponentMatch::Other { controller: other, holder } => {
                let flag = (self.names.other_lease_advice)(&self.controller);
                if report.log {
                    tracing::error!(
                        controller = self.controller,
                        other_controller = other,
                        lease = self.path,
                        identity = self.identity,
                        holder,
                        flag,
                        "election id conflict"
                    );
                }
                if report.event {
                    let message = format!(
                        "election id conflict: {} and {other} are both set up to use Lease {}, held by {holder}; \
                         set {flag}",
                        self.controller, self.path
                    );
                    events.conflict(&self.lease, &self.identity, &message);
                }
            }
        }
    }
}

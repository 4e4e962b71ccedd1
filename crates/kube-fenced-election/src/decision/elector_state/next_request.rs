// SPDX-License-Identifier: Apache-2.0
//! Which request comes next, and when.

use std::time::Duration;

use crate::clock::Instant;

use super::{
    super::super::{observation::AcquirableAt, spread},
    Action, ElectorState, Phase, Request, RequestKind, StepInputs,
};

impl ElectorState {
    /// Whether the Lease may still name this candidate as holder.
    fn may_be_ours(&self) -> bool {
        self.reread || !self.watching || self.seen.holder() == Some(self.me.as_str())
    }

    pub(super) fn advance(&mut self, now: Instant, inputs: StepInputs, actions: &mut Vec<Action>) {
        if let Phase::Releasing(release) = &self.phase
            && self.request.is_none()
        {
            let kept = self.intent.shutdown && !self.release_on_cancel;
            if kept || now >= release.until || !self.may_be_ours() {
                self.conclude(false, actions);
            }
        }
        if self.phase == Phase::Standby && self.intent.shutdown && self.request.is_none() {
            self.phase = Phase::Ended;
            actions.push(Action::Finish);
        }
        let request = if self.request.is_some() { Next::Nothing } else { self.next_request(now, inputs) };
        self.permitted.lacking =
            matches!(request, Next::Nothing | Next::At(_)) && self.lacks_guard(now, inputs);
        let bound = match &self.phase {
            Phase::Leading(term) => {
                let deadline = self.permitted.bound(term.deadline);
                Some(term.step_down.as_ref().map_or(deadline, |step_down| step_down.1.min(deadline)))
            }
            Phase::Standby | Phase::Stopping | Phase::Releasing(_) | Phase::Ended => None,
        };
        self.wake = match request {
            Next::Nothing => bound,
            Next::At(moment) => Some(bound.map_or(moment, |bound| bound.min(moment))),
            Next::Now(action, kind) => {
                self.request = Some(Request { what: kind, overtaken: false });
                actions.push(action);
                bound
            }
        };
    }

    fn next_request(&self, now: Instant, inputs: StepInputs) -> Next {
        let read = self.is_rereading();
        match &self.phase {
            Phase::Leading(term) => Next::once(term.renew_at, now, || {
                (Action::Renew { read, until: term.deadline }, RequestKind::Attempting(now))
            }),
            Phase::Releasing(release) => Next::once(release.try_at, now, || {
                (Action::Release { read, until: release.until }, RequestKind::Releasing)
            }),
            Phase::Standby if self.contends() => self.next_of_standby(now, inputs),
            Phase::Standby | Phase::Stopping | Phase::Ended => Next::Nothing,
        }
    }

    /// From when on an ineligible candidate tries, too: an eligible one would have acquired the Lease long before.
    fn unwanted_from(&self, acquirable: AcquirableAt) -> Instant {
        acquirable.moment() + self.timing.lease_duration
    }

    fn next_of_standby(&self, now: Instant, inputs: StepInputs) -> Next {
        // Without a watch the Lease is read once per retry period.
        let look = if self.watching { None } else { Some(self.read_at.max(self.not_before)) };
        if look.is_some_and(|moment| moment <= now) {
            return Next::Now(Action::Read, RequestKind::Reading);
        }
        let attempt = self
            .attempt_at(now, inputs)
            .filter(|moment| *moment > now || self.permitted.lasts(now, &self.timing));
        match (attempt, look) {
            (Some(moment), _) if moment <= now => {
                let until = now + self.timing.request_timeout() * 2;
                Next::Now(
                    Action::TryAcquire { read: self.is_rereading(), until },
                    RequestKind::Attempting(now),
                )
            }
            (Some(moment), Some(look)) => Next::At(moment.min(look)),
            (Some(moment), None) | (None, Some(moment)) => Next::At(moment),
            (None, None) => Next::Nothing,
        }
    }

    /// Whether a standby would try now, but for a claim of the upgrade guard that lasts.
    fn lacks_guard(&self, now: Instant, inputs: StepInputs) -> bool {
        self.phase == Phase::Standby
            && self.request.is_none()
            && self.contends()
            && !self.permitted.lasts(now, &self.timing)
            && self.attempt_at(now, inputs).is_some_and(|moment| moment <= now)
    }

    /// When a standby tries to acquire; `None` while nothing is known of the Lease.
    fn attempt_at(&self, now: Instant, inputs: StepInputs) -> Option<Instant> {
        self.seen.acquirable_at(&self.me).map(|acquirable| {
            let wait = if self.seen.claimant() == Some(self.me.as_str()) || !inputs.spread || inputs.alone {
                Duration::ZERO
            } else {
                match acquirable {
                    AcquirableAt::Free(_) => spread::wait_for_free(inputs.load),
                    AcquirableAt::Expires(_) => spread::wait_for_expired(inputs.load),
                }
            };
            let pause = self.pause.filter(|pause| !(pause.only_for_others && inputs.alone));
            let paused = pause.map_or(now, |pause| {
                let unwanted =
                    matches!(acquirable, AcquirableAt::Free(_)).then(|| self.unwanted_from(acquirable));
                unwanted
                    .filter(|_| pause.only_for_others)
                    .map_or(pause.until, |moment| moment.min(pause.until))
            });
            let ineligible =
                if inputs.eligible || inputs.alone { now } else { self.unwanted_from(acquirable) };
            (acquirable.moment() + wait).max(self.not_before).max(paused).max(ineligible)
        })
    }
}

/// What comes next in a phase.
enum Next {
    Nothing,
    At(Instant),
    Now(Action, RequestKind),
}

impl Next {
    fn once(moment: Instant, now: Instant, action: impl FnOnce() -> (Action, RequestKind)) -> Self {
        if moment > now {
            return Self::At(moment);
        }
        let (action, kind) = action();
        Self::Now(action, kind)
    }
}

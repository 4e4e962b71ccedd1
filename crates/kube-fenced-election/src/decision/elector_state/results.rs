// SPDX-License-Identifier: Apache-2.0
//! What the end of a request, or of the controller's work, changes.

use crate::{clock::Instant, fence::Validity};

use super::{
    super::super::{
        TermEnd,
        lock::{AttemptEnd, Exchanged, ReleaseEnd},
        observation::{margin, valid_until},
    },
    Action, ElectorState, Pause, Phase, Release, RequestKind, StepDownReason, StepInputs, Term,
};

impl ElectorState {
    pub(super) fn attempted(
        &mut self,
        ended: Exchanged<AttemptEnd>,
        now: Instant,
        inputs: StepInputs,
        actions: &mut Vec<Action>,
    ) {
        let (what, source) = self.end_request();
        let started = match what {
            Some(RequestKind::Attempting(started)) => started,
            Some(RequestKind::Reading | RequestKind::Releasing) | None => now,
        };
        let showed = !ended.seen.is_empty();
        for (snapshot, at) in ended.seen {
            self.observe(snapshot, source, at);
        }
        let retry_at = now.max(started + self.timing.retry(inputs.jitter));
        self.read_at = retry_at;
        match ended.end {
            AttemptEnd::Holding { sent } => self.acquired_or_renewed(sent, now, actions),
            AttemptEnd::LostRace => {
                self.reread = true;
                if let Phase::Leading(term) = &mut self.phase {
                    // Read at once who wrote; a second lost race in a row waits like any failure.
                    term.renew_at = if term.lost_race { retry_at } else { now };
                    term.lost_race = true;
                } else {
                    self.not_before = retry_at;
                }
            }
            AttemptEnd::HeldByOther | AttemptEnd::Failed(_) => {
                self.reread |= !showed || matches!(ended.end, AttemptEnd::Failed(_));
                if let Phase::Leading(term) = &mut self.phase {
                    term.renew_at = retry_at;
                } else {
                    self.not_before = retry_at;
                }
            }
        }
    }

    /// An attempt succeeded: its request was sent right after `sent`.
    fn acquired_or_renewed(&mut self, sent: Instant, now: Instant, actions: &mut Vec<Action>) {
        self.reread = false;
        let Some(lease) = self.seen.lease() else { return };
        let valid_until = valid_until(sent, lease);
        let deadline = valid_until.min(sent + self.timing.renew_deadline);
        let proves_nothing = self.doubted.is_some_and(|since| sent < since);
        let renew_at = if proves_nothing { now } else { now.max(sent + self.timing.renew_every()) };
        let repair_from = renew_at.min(sent + self.timing.retry_period);
        let validity = Validity { until: valid_until, sent };
        let renewed = Term { validity, deadline, renew_at, repair_from, lost_race: false, step_down: None };
        let contends = self.contends();
        let bounded = self.permitted.both(validity);
        match &mut self.phase {
            Phase::Leading(term) => {
                *term = Term { step_down: term.step_down.take(), ..renewed };
                actions.push(Action::Extend(bounded));
            }
            Phase::Standby if now >= deadline || contends && self.permitted.is_over(now) => {
                // Answered too late to be of any use (a frozen process): try again.
            }
            Phase::Standby if !self.seen.is_acquirable_by(&self.me, now) => {
                // Written over the claim of another, which had appeared meanwhile: wait until that ends.
            }
            Phase::Standby if contends => {
                self.pause = None;
                self.phase = Phase::Leading(renewed);
                let transitions = self.seen.transitions();
                actions.push(Action::StartLeading { validity: bounded, transitions });
            }
            Phase::Standby => {
                // Acquired though it no longer contends: release.
                self.phase = Phase::Releasing(Release { until: valid_until, try_at: now, lost_race: false });
            }
            Phase::Stopping | Phase::Releasing(_) | Phase::Ended => {}
        }
    }

    pub(super) fn released(&mut self, ended: Exchanged<ReleaseEnd>, now: Instant, actions: &mut Vec<Action>) {
        let (_, source) = self.end_request();
        for (snapshot, at) in ended.seen {
            self.observe(snapshot, source, at);
        }
        match ended.end {
            ReleaseEnd::Released => self.conclude(true, actions),
            ReleaseEnd::NotOurs => self.conclude(false, actions),
            ReleaseEnd::LostRace | ReleaseEnd::Failed(_) => {
                self.reread = true;
                let lost_race = ended.end == ReleaseEnd::LostRace;
                if let Phase::Releasing(release) = &mut self.phase {
                    let again = lost_race && !release.lost_race;
                    release.try_at = if again { now } else { now + self.timing.release_retry() };
                    release.lost_race = lost_race;
                }
            }
        }
    }

    pub(super) fn conclude(&mut self, released: bool, actions: &mut Vec<Action>) {
        self.phase = Phase::Standby;
        actions.push(Action::Concluded { released });
    }

    pub(super) fn controller_stopped(&mut self, end: &TermEnd, now: Instant, actions: &mut Vec<Action>) {
        // Whether requests may have been dropped: the API server may carry them out a moment later.
        let cut = match &self.phase {
            Phase::Leading(_) => {
                actions.push(Action::StopLeading(StepDownReason::ControllerLeft));
                matches!(end, TermEnd::Failed { .. } | TermEnd::GaveWay { .. })
            }
            Phase::Stopping => true,
            // No term runs, so none ends.
            Phase::Standby | Phase::Releasing(_) | Phase::Ended => {
                actions.push(Action::Concluded { released: false });
                return;
            }
        };
        self.pause = match end {
            TermEnd::Finished | TermEnd::Unfinished => None,
            TermEnd::Failed { back_off } => Some(Pause { until: now + *back_off, only_for_others: false }),
            TermEnd::GaveWay { pause, .. } => Some(Pause { until: now + *pause, only_for_others: true }),
        };
        if *end == TermEnd::Unfinished {
            self.phase = Phase::Ended;
            actions.push(Action::Concluded { released: false });
            actions.push(Action::Finish);
            return;
        }
        let until = now + self.timing.lease_duration;
        // A release on another connection must not overtake them.
        let try_at = if cut { now + margin(self.timing.lease_duration) } else { now };
        self.phase = Phase::Releasing(Release { until, try_at, lost_race: false });
    }
}

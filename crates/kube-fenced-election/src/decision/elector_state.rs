// SPDX-License-Identifier: Apache-2.0
//! The state machine of one election: what to send next, and what a result means for the term.

use std::time::Duration;

use crate::clock::Instant;

use super::{
    super::{
        TermEnd,
        lock::{AttemptEnd, Exchanged, ReleaseEnd},
        observation::{AcquirableAt, Changed, LeaseSnapshot, Observation, Source, margin, valid_until},
        spread,
    },
    Action, Event, Permit, Stage, StepDownReason, StepInputs, Timing,
    permit::Permitted,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Phase {
    Standby,
    Leading(Term),
    Stopping,
    Releasing(Release),
    Ended,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Term {
    /// End of the right to write by the controller's own Lease.
    valid_until: Instant,
    /// End of leadership unless renewed: the renew deadline, or the right to write if that ends first.
    deadline: Instant,
    renew_at: Instant,
    /// The last renewal met a 409.
    raced: bool,
    /// The controller was asked to step down for this reason; after this moment the term ends.
    asked: Option<(StepDownReason, Instant)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Release {
    /// By then the Lease has expired by itself.
    until: Instant,
    try_at: Instant,
    raced: bool,
}

/// The request under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Request {
    what: RequestKind,
    /// The watch has shown something new since it began: its answer may be older.
    overtaken: bool,
}

/// What the request under way is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum RequestKind {
    Reading,
    /// Acquiring or renewing, since.
    Attempting(Instant),
    Releasing,
}

/// When a standby that gave its Lease away may try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Pause {
    until: Instant,
    /// Not needed when no other member could take over: none is there, or none has for a lease duration.
    only_for_others: bool,
}

/// Whether to lead at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Intent {
    /// The controller may run.
    wanted: bool,
    shutdown: bool,
}

/// The state of one election: who holds the Lease as far as is known, and where this candidate stands. A value that
/// can be compared, copied and hashed: `tests/election_model` explores all states that it may reach.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct ElectorState {
    me: String,
    timing: Timing,
    release_on_cancel: bool,

    seen: Observation,
    watching: bool,
    /// What is known may be out of date: the next request has to read first.
    reread: bool,

    intent: Intent,
    permitted: Permitted,

    phase: Phase,
    request: Option<Request>,
    not_before: Instant,
    read_at: Instant,
    pause: Option<Pause>,
    wake: Option<Instant>,
}

impl ElectorState {
    /// An election of which nothing is known yet; it does not contend. `permit`: what the upgrade guard allows.
    pub fn new(me: String, timing: Timing, release_on_cancel: bool, permit: Permit, now: Instant) -> Self {
        Self {
            me,
            timing,
            release_on_cancel,
            seen: Observation::new(now),
            watching: false,
            reread: false,
            intent: Intent { wanted: false, shutdown: false },
            permitted: Permitted::new(permit),
            phase: Phase::Standby,
            request: None,
            not_before: now,
            // The watch gets a moment to come up before anything is read without it.
            read_at: now + timing.retry_period,
            pause: None,
            wake: None,
        }
    }

    /// What is known of the Lease.
    pub fn seen(&self) -> &Observation {
        &self.seen
    }

    /// The stage of the election.
    pub fn stage(&self) -> Stage {
        match self.phase {
            Phase::Standby => Stage::Standby,
            Phase::Leading(_) => Stage::Leading,
            Phase::Stopping => Stage::Stopping,
            Phase::Releasing(_) => Stage::Releasing,
            Phase::Ended => Stage::Ended,
        }
    }

    /// Whether it would acquire the Lease if that were free.
    pub(crate) fn contends(&self) -> bool {
        self.intent.wanted && self.permitted.open && !self.intent.shutdown
    }

    /// Whether it may not start because of an older manager.
    pub(crate) fn is_guarded(&self) -> bool {
        self.intent.wanted && !self.permitted.open
    }

    /// Whether it would try to acquire now, but for the group's claim of the upgrade guard, which has to be renewed
    /// first: nobody renews it while nothing of the process leads.
    pub(crate) fn wants_guard(&self) -> bool {
        self.permitted.lacking
    }

    /// Whether it waits before contending again, having given its Lease away.
    pub(crate) fn pauses(&self, now: Instant) -> bool {
        self.pause.is_some_and(|pause| now < pause.until)
    }

    /// Whether its next request reads the Lease from the API server.
    pub(crate) fn is_rereading(&self) -> bool {
        self.reread || !self.watching
    }

    /// When [`ElectorState::step`] has to be called with [`Event::Tick`] at the latest.
    pub fn wake(&self) -> Option<Instant> {
        self.wake
    }

    /// Takes an event in and says what to do, in order. At most one request is under way at a time:
    /// its end has to be reported.
    pub fn step(&mut self, event: Event, now: Instant, inputs: StepInputs) -> Vec<Action> {
        let mut actions = Vec::new();
        self.check_deadlines(now, &mut actions);
        self.apply(event, now, inputs, &mut actions);
        self.check_rivals(&mut actions);
        self.advance(now, inputs, &mut actions);
        actions
    }

    fn check_deadlines(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Phase::Leading(term) = &self.phase else { return };
        if now >= term.deadline {
            self.end_term(StepDownReason::RenewDeadline, actions);
        } else if self.permitted.is_over(now) {
            self.end_term(StepDownReason::GuardNotRenewed, actions);
        } else if let Some((why, until)) = &term.asked
            && now >= *until
        {
            let why = why.clone();
            self.end_term(why, actions);
        }
    }

    fn end_term(&mut self, why: StepDownReason, actions: &mut Vec<Action>) {
        self.phase = Phase::Stopping;
        actions.push(Action::StopLeading(why));
    }

    fn apply(&mut self, event: Event, now: Instant, inputs: StepInputs, actions: &mut Vec<Action>) {
        match event {
            Event::Tick => {}
            Event::Listed(snapshot) => self.watched(snapshot, Source::List, now),
            Event::Watched(snapshot) => self.watched(snapshot, Source::Watch, now),
            Event::WatchBroken => {
                self.watching = false;
                self.seen.watch_broken();
            }
            Event::Read(read) => {
                let (_, source) = self.end_request();
                self.read_at = now + self.timing.retry(inputs.jitter);
                if let Ok((snapshot, at)) = read {
                    self.observe(snapshot, source, at);
                }
            }
            Event::Attempted(ended) => self.attempted(ended, now, inputs, actions),
            Event::Released(ended) => self.released(ended, now, actions),
            Event::Contend => self.intent.wanted = true,
            Event::Withdraw => self.intent.wanted = false,
            Event::Guard(permit) => self.guarded(permit, now, actions),
            Event::Shutdown => self.intent.shutdown = true,
            Event::Surplus => self.request_step_down(StepDownReason::Surplus, now, actions),
            Event::SteppedDown(end) => self.controller_stopped(&end, now, actions),
        }
    }

    fn watched(&mut self, snapshot: LeaseSnapshot, source: Source, now: Instant) {
        self.watching = true;
        let changed = self.observe(snapshot, source, now) == Changed::Yes;
        if let Some(request) = &mut self.request {
            request.overtaken |= changed;
        }
    }

    fn guarded(&mut self, permit: Permit, now: Instant, actions: &mut Vec<Action>) {
        self.permitted.set(permit);
        if permit == Permit::Closed {
            self.request_step_down(StepDownReason::Legacy, now, actions);
        } else if let Phase::Leading(term) = &self.phase {
            actions.push(Action::Extend { valid_until: self.permitted.bound(term.valid_until) });
        }
    }

    /// What has ended, and how far its answers can be trusted: they are newer than everything that was seen
    /// before it began. What the watch has shown since may be newer still, and the watch does not show it again.
    fn end_request(&mut self) -> (Option<RequestKind>, Source) {
        match self.request.take() {
            Some(Request { what, overtaken: true }) => (Some(what), Source::Overtaken),
            Some(Request { what, overtaken: false }) => (Some(what), Source::Answer),
            None => (None, Source::Answer),
        }
    }

    fn observe(&mut self, snapshot: LeaseSnapshot, source: Source, at: Instant) -> Changed {
        let changed = self.seen.observe(snapshot, source, at);
        match changed {
            Changed::Yes => {
                self.reread = false;
                let sound = self.seen.holder() == Some(self.me.as_str())
                    && self.seen.stored_seconds() == Some(self.timing.lease_duration.as_secs());
                if let Phase::Leading(term) = &mut self.phase
                    && !sound
                {
                    // Somebody deleted, emptied or edited the Lease of this leader: repair it at once.
                    term.renew_at = at;
                }
            }
            Changed::No => {}
            // The watch lags behind our own requests. It will catch up; until then it proves nothing.
            Changed::Stale => self.reread = true,
        }
        changed
    }

    fn check_rivals(&mut self, actions: &mut Vec<Action>) {
        if !matches!(self.phase, Phase::Leading(_)) {
            return;
        }
        if let Some(rival) = self.seen.holder().filter(|holder| *holder != self.me) {
            let why = StepDownReason::Rival(rival.to_owned());
            self.end_term(why, actions);
        } else if self.seen.is_released() {
            // Others may acquire right now, so whoever did this has ended our term.
            self.end_term(StepDownReason::ReleasedByOther, actions);
        }
    }

    fn request_step_down(&mut self, why: StepDownReason, now: Instant, actions: &mut Vec<Action>) {
        if let Phase::Leading(term) = &mut self.phase
            && term.asked.is_none()
        {
            term.asked = Some((why.clone(), now + Timing::STEP_DOWN_TIMEOUT));
            actions.push(Action::RequestStepDown(why));
        }
    }

    fn attempted(
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
                    term.renew_at = if term.raced { retry_at } else { now };
                    term.raced = true;
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
        let renew_at = now.max(sent + self.timing.renew_every());
        let renewed = Term { valid_until, deadline, renew_at, raced: false, asked: None };
        let contends = self.contends();
        let bounded = self.permitted.bound(valid_until);
        match &mut self.phase {
            Phase::Leading(term) => {
                *term = Term { asked: term.asked.take(), ..renewed };
                actions.push(Action::Extend { valid_until: bounded });
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
                actions.push(Action::StartLeading {
                    valid_until: bounded,
                    transitions: self.seen.transitions(),
                });
            }
            Phase::Standby => {
                // Acquired though it no longer contends: release.
                self.phase = Phase::Releasing(Release { until: valid_until, try_at: now, raced: false });
            }
            Phase::Stopping | Phase::Releasing(_) | Phase::Ended => {}
        }
    }

    fn released(&mut self, ended: Exchanged<ReleaseEnd>, now: Instant, actions: &mut Vec<Action>) {
        let (_, source) = self.end_request();
        for (snapshot, at) in ended.seen {
            self.observe(snapshot, source, at);
        }
        match ended.end {
            ReleaseEnd::Released => self.conclude(true, actions),
            ReleaseEnd::NotOurs => self.conclude(false, actions),
            ReleaseEnd::LostRace | ReleaseEnd::Failed(_) => {
                self.reread = true;
                let raced = ended.end == ReleaseEnd::LostRace;
                if let Phase::Releasing(release) = &mut self.phase {
                    let again = raced && !release.raced;
                    release.try_at = if again { now } else { now + self.timing.release_retry() };
                    release.raced = raced;
                }
            }
        }
    }

    fn conclude(&mut self, released: bool, actions: &mut Vec<Action>) {
        self.phase = Phase::Standby;
        actions.push(Action::Concluded { released });
    }

    fn controller_stopped(&mut self, end: &TermEnd, now: Instant, actions: &mut Vec<Action>) {
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
        self.phase = Phase::Releasing(Release { until, try_at, raced: false });
    }

    /// Whether the Lease may still name this candidate as holder.
    fn may_be_ours(&self) -> bool {
        self.reread || !self.watching || self.seen.holder() == Some(self.me.as_str())
    }

    fn advance(&mut self, now: Instant, inputs: StepInputs, actions: &mut Vec<Action>) {
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
                Some(term.asked.as_ref().map_or(deadline, |asked| asked.1.min(deadline)))
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

// SPDX-License-Identifier: Apache-2.0
//! The state machine of one election: what to send next, and what a result means for the term.

mod next_request;
mod results;

use crate::{clock::Instant, fence::Validity};

use super::{
    super::observation::{Changed, LeaseSnapshot, Observation, Source},
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
    /// The right to write by the controller's own Lease.
    validity: Validity,
    /// End of leadership unless renewed: the renew deadline, or the right to write if that ends first.
    deadline: Instant,
    renew_at: Instant,
    /// No repair of the Lease is sent before this moment: two that disagree about it must not write in turn.
    repair_from: Instant,
    /// The last renewal met a 409.
    lost_race: bool,
    /// The controller was asked to step down for this reason; after this moment the term ends.
    step_down: Option<(StepDownReason, Instant)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Release {
    /// By then the Lease has expired by itself.
    until: Instant,
    try_at: Instant,
    lost_race: bool,
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
    /// Renewals that were sent before this moment prove nothing.
    doubted: Option<Instant>,
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
            doubted: None,
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

    /// Applies an event and returns the actions, in order. At most one request is under way at a time:
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
        } else if let Some((reason, until)) = &term.step_down
            && now >= *until
        {
            let reason = reason.clone();
            self.end_term(reason, actions);
        }
    }

    fn end_term(&mut self, reason: StepDownReason, actions: &mut Vec<Action>) {
        self.phase = Phase::Stopping;
        actions.push(Action::StopLeading(reason));
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
            Event::ClockDoubted(since) => self.clock_doubted(since, now),
            Event::Surplus => self.request_step_down(StepDownReason::Surplus, now, actions),
            Event::SteppedDown(end) => self.controller_stopped(&end, now, actions),
        }
    }

    /// Nothing is changed until a renewal that is sent from now on has succeeded. One that is under way does not count.
    fn clock_doubted(&mut self, since: Instant, now: Instant) {
        self.doubted = Some(since);
        if let Phase::Leading(term) = &mut self.phase
            && term.validity.sent < since
        {
            term.renew_at = now;
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
            actions.push(Action::Extend(self.permitted.both(term.validity)));
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
                let as_written = self.seen.holder() == Some(self.me.as_str())
                    && self.seen.stored_seconds() == Some(self.timing.lease_duration.as_secs());
                if let Phase::Leading(term) = &mut self.phase
                    && !as_written
                {
                    // Somebody deleted, emptied or edited the Lease of this leader: repair it before it is due.
                    term.renew_at = term.renew_at.min(term.repair_from.max(at));
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
            let reason = StepDownReason::Rival(rival.to_owned());
            self.end_term(reason, actions);
        } else if self.seen.is_released() {
            // Others may acquire right now, so whoever did this has ended our term.
            self.end_term(StepDownReason::ReleasedByOther, actions);
        }
    }

    fn request_step_down(&mut self, reason: StepDownReason, now: Instant, actions: &mut Vec<Action>) {
        if let Phase::Leading(term) = &mut self.phase
            && term.step_down.is_none()
        {
            term.step_down = Some((reason.clone(), now + Timing::STEP_DOWN_TIMEOUT));
            actions.push(Action::RequestStepDown(reason));
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! One candidate of the model: the state machine of production, its right to write, and its exchange with the server.

use std::time::Duration;

use kube_fenced_election::{
    TermEnd,
    clock::{Instant, Timestamp},
    fence::{Right, Validity},
    testkit::parts::{
        Action, Attempt, AttemptEnd, ElectorState, Event, Exchanged, LeaseSnapshot, LockError, Observation,
        Permit, ReleaseEnd, Source, Stage, StepInputs, Timing,
    },
};

use crate::server::{Outcome, Write};

/// Nothing random, no spread, nobody known: what differs between replicas is left to the search.
const INPUTS: StepInputs = StepInputs { jitter: 0.0, load: 0, spread: false, alone: false, eligible: true };

/// What an exchange is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    Read,
    Attempt,
    Release,
}

/// Where the request of an exchange is.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) enum Way {
    /// A read is on its way to the server.
    Asking,
    /// What it showed is on its way back.
    Shown(LeaseSnapshot),
    /// A write is on its way to the server.
    Writing(Write),
    /// Its outcome is on its way back.
    Written(Outcome),
    /// Request or answer is lost.
    Lost,
}

/// An exchange with the server, of one or two requests.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) struct Exchange {
    purpose: Purpose,
    view: Observation,
    seen: Vec<(LeaseSnapshot, Instant)>,
    /// Its end at the latest.
    until: Instant,
    /// When the request under way was sent.
    sent: Instant,
    /// Where that request is.
    pub(crate) way: Way,
    /// Its requests and answers take any time.
    pub(crate) slow: bool,
    /// The step at which the API server answered, where that counts.
    pub(crate) dated: u32,
}

/// One candidate.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) struct Candidate {
    name: String,
    timing: Timing,
    state: ElectorState,
    right: Right,
    /// The exchange under way.
    pub(crate) exchange: Option<Exchange>,
    /// How many states of the Lease its watch has delivered.
    pub(crate) watched: usize,
    /// Its watch has begun: what comes next is an event, not a list.
    listed: bool,
    /// Its process is frozen.
    pub(crate) frozen: bool,
    /// Its watch lags.
    pub(crate) lags: bool,
    /// The step at which it was frozen, where its clock stops then.
    pub(crate) frozen_at: u32,
    /// Steps that its clock has missed.
    pub(crate) behind: u32,
    /// Its machine went on at this step, after a pause of which it has not heard yet.
    pub(crate) unsure: Option<u32>,
    /// Renewals that were sent before this moment prove nothing.
    doubted: Option<Instant>,
}

impl Candidate {
    /// A process that has just started and whose controller may run.
    pub(crate) fn new(name: String, timing: Timing, now: Instant) -> Self {
        let state = ElectorState::new(name.clone(), timing, true, Permit::Unbounded, now);
        let mut one = Self {
            name,
            timing,
            state,
            right: Right::Ended,
            exchange: None,
            watched: 0,
            listed: false,
            frozen: false,
            lags: false,
            frozen_at: 0,
            behind: 0,
            unsure: None,
            doubted: None,
        };
        one.step(Event::Contend, now, false);
        one
    }

    /// Who it is.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it may write at this moment of its own clock.
    pub(crate) fn may_write(&self, now: Instant) -> bool {
        self.right.check(now).is_ok() && !self.right.is_older_than(self.doubted)
    }

    /// An answer is about to be heard: one that is dated after the pause tells of it, to whoever `compares` clocks.
    pub(crate) fn check_clock(&mut self, now: Instant, compares: bool) {
        let dated = self.exchange.as_ref().map(|it| it.dated);
        if self.unsure.is_none_or(|since| dated.is_none_or(|dated| dated < since)) {
            return;
        }
        self.unsure = None;
        if compares {
            self.doubted = Some(now);
            self.step(Event::ClockDoubted(now), now, false);
        }
    }

    /// Stage of its election.
    pub(crate) fn stage(&self) -> Stage {
        self.state.stage()
    }

    /// Whether its state machine has asked to be woken by now.
    pub(crate) fn wakes(&self, now: Instant) -> bool {
        self.state.wake().is_some_and(|wake| wake <= now)
    }

    /// Whether the request under way has taken too long.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.exchange
            .as_ref()
            .is_some_and(|it| (it.sent + self.timing.request_timeout()).min(it.until) <= now)
    }

    /// What its controller says by itself: it has left.
    pub(crate) fn leave(&mut self, now: Instant) {
        self.step(Event::SteppedDown(TermEnd::Finished), now, false);
    }

    /// Feeds its state machine with an event. `late`: of a term that begins, the right to write counts from now, not
    /// from before the request: a fault that the search has to find.
    pub(crate) fn step(&mut self, event: Event, now: Instant, late: bool) {
        for action in self.state.step(event, now, INPUTS) {
            match action {
                Action::Read => self.begin(Purpose::Read, true, now + self.timing.request_timeout(), now),
                Action::TryAcquire { read, until } | Action::Renew { read, until } => {
                    self.begin(Purpose::Attempt, read, until, now);
                }
                Action::Release { read, until } => self.begin(Purpose::Release, read, until, now),
                Action::StartLeading { validity, .. } => {
                    self.right = Right::Until(if late { self.from(now) } else { validity });
                }
                Action::Extend(validity) => {
                    self.right.extend(if late { self.from(now) } else { validity });
                }
                Action::StopLeading(_) => self.right = Right::Ended,
                Action::RequestStepDown(_) | Action::Concluded { .. } | Action::Finish => {}
            }
        }
    }

    /// A right that counts from this moment.
    fn from(&self, now: Instant) -> Validity {
        Validity { until: now + self.timing.lease_duration, sent: now }
    }

    /// Its watch delivers this state.
    pub(crate) fn watch(&mut self, snapshot: LeaseSnapshot, now: Instant, late: bool) {
        self.watched += 1;
        let event = if self.listed { Event::Watched(snapshot) } else { Event::Listed(snapshot) };
        self.listed = true;
        self.step(event, now, late);
    }

    /// Its watch breaks.
    pub(crate) fn break_watch(&mut self, now: Instant, late: bool) {
        self.listed = false;
        self.step(Event::WatchBroken, now, late);
    }

    fn begin(&mut self, purpose: Purpose, read: bool, until: Instant, now: Instant) {
        let view = self.state.seen().clone();
        let read = read || !view.is_known();
        let exchange = Exchange {
            purpose,
            view,
            seen: Vec::new(),
            until,
            sent: now,
            way: Way::Asking,
            slow: false,
            dated: 0,
        };
        if read {
            self.exchange = Some(exchange);
        } else {
            self.decide(exchange, now);
        }
    }

    /// What the guard and the library make of what is known: a write under compare-and-swap, or none.
    fn decide(&mut self, mut exchange: Exchange, now: Instant) {
        let mine = exchange.view.holder() == Some(self.name.as_str());
        let writes = match exchange.purpose {
            Purpose::Read => false,
            Purpose::Attempt => exchange.view.is_acquirable_by(&self.name, now),
            Purpose::Release => mine && exchange.view.is_acquirable_by(&self.name, now),
        };
        if !writes {
            self.end_with(exchange, now, None, false);
            return;
        }
        let releases = exchange.purpose == Purpose::Release;
        let (holder, seconds) = if releases {
            (String::new(), 1)
        } else {
            (self.name.clone(), i32::try_from(self.timing.lease_duration.as_secs()).unwrap_or(i32::MAX))
        };
        let on = exchange.view.resource_version().map(str::to_owned);
        exchange.way = Way::Writing(Write { on, holder, seconds, renewed: wall(now) });
        exchange.sent = now;
        self.exchange = Some(exchange);
    }

    /// An answer arrives. False: none is on its way.
    pub(crate) fn hear(&mut self, now: Instant, late: bool) -> bool {
        let Some(mut exchange) = self.exchange.take() else { return false };
        match exchange.way.clone() {
            Way::Shown(snapshot) => {
                if exchange.purpose == Purpose::Read {
                    self.step(Event::Read(Ok((snapshot, now))), now, late);
                } else {
                    exchange.view.observe(snapshot.clone(), Source::Answer, now);
                    exchange.seen.push((snapshot, now));
                    self.decide(exchange, now);
                }
            }
            Way::Written(outcome) => {
                if let Outcome::Stored(snapshot) = &outcome {
                    exchange.seen.push((snapshot.clone(), now));
                }
                self.end_with(exchange, now, Some(&outcome), late);
            }
            Way::Asking | Way::Writing(_) | Way::Lost => {
                self.exchange = Some(exchange);
                return false;
            }
        }
        true
    }

    fn end_with(&mut self, exchange: Exchange, now: Instant, outcome: Option<&Outcome>, late: bool) {
        let Exchange { purpose, seen, sent, .. } = exchange;
        let failed = |attempt| LockError { attempt, code: Some(404), cause: "not found".to_owned() };
        let event = match purpose {
            Purpose::Read => return,
            Purpose::Attempt => {
                let end = match outcome {
                    Some(Outcome::Stored(_)) => AttemptEnd::Holding { sent },
                    Some(Outcome::Conflict) => AttemptEnd::LostRace,
                    Some(Outcome::NotFound) => AttemptEnd::Failed(failed(Attempt::Patch)),
                    None => AttemptEnd::HeldByOther,
                };
                Event::Attempted(Exchanged { seen, end })
            }
            Purpose::Release => {
                let end = match outcome {
                    Some(Outcome::Stored(_)) => ReleaseEnd::Released,
                    Some(Outcome::Conflict) => ReleaseEnd::LostRace,
                    Some(Outcome::NotFound) => ReleaseEnd::Failed(failed(Attempt::Release)),
                    None => ReleaseEnd::NotOurs,
                };
                Event::Released(Exchanged { seen, end })
            }
        };
        self.step(event, now, late);
    }

    /// Gives up waiting; answers the write that may still be on its way.
    pub(crate) fn give_up(&mut self, now: Instant) -> Option<Write> {
        let exchange = self.exchange.take()?;
        let error = |attempt| LockError { attempt, code: None, cause: "late".to_owned() };
        let seen = exchange.seen;
        let event = match exchange.purpose {
            Purpose::Read => Event::Read(Err(error(Attempt::Get))),
            Purpose::Attempt => {
                Event::Attempted(Exchanged { seen, end: AttemptEnd::Failed(error(Attempt::Patch)) })
            }
            Purpose::Release => {
                Event::Released(Exchanged { seen, end: ReleaseEnd::Failed(error(Attempt::Release)) })
            }
        };
        self.step(event, now, false);
        match exchange.way {
            Way::Writing(write) => Some(write),
            Way::Asking | Way::Shown(_) | Way::Written(_) | Way::Lost => None,
        }
    }

    /// An election by the bare library's rule: it believes the `renewTime` of another clock, and leads as soon
    /// as `take` has written.
    pub(crate) fn steal(&mut self, now: Instant, take: impl FnOnce(&Write) -> Outcome) {
        let on = self.state.seen().resource_version().map(str::to_owned);
        let seconds = i32::try_from(self.timing.lease_duration.as_secs()).unwrap_or(i32::MAX);
        let write = Write { on, holder: self.name.clone(), seconds, renewed: wall(now) };
        if matches!(take(&write), Outcome::Stored(_)) {
            self.right = Right::Until(Validity { until: now + self.timing.renew_deadline, sent: now });
        }
    }

    /// What it last saw of the Lease.
    pub(crate) fn seen(&self) -> &Observation {
        self.state.seen()
    }
}

/// The wall clock at that moment of the monotonic one: holders write a later time at each renewal.
pub(crate) fn wall(now: Instant) -> Timestamp {
    let since = now.saturating_duration_since(crate::world::start());
    Timestamp::UNIX_EPOCH + Duration::from_hours(500_000) + since
}

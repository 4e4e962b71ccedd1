// SPDX-License-Identifier: Apache-2.0
//! The task of one Lease: feeds the core with events and does what it says.
//!
//! Owns the only keeper of the term's fence. When this task ends for whatever reason, the keeper is
//! dropped and the fence is closed.

use std::{sync::Arc, time::Duration};

use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, OptionFuture},
    stream::BoxStream,
};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{Instant, SharedClock},
    fence::{Fence, FenceKeeper},
};

use super::{
    Leaving, Won,
    conflict::Tenant,
    decision::{Action, Core, Event, Stage, Surroundings, Timing, Why},
    events::LeaseEvents,
    journal::Journal,
    legacy::GuardState,
    lock::{Attempt, AttemptEnd, Exchanged, Lock, LockError, ReleaseEnd},
    metrics::LeaseMetrics,
    seat::{Left, SeatEnds},
    shared::{Entry, Members},
    status::LeaseState,
    watch::Glimpse,
};

/// The task goes round at least this often, so that its health can be seen.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// What an elector is made of.
pub(super) struct Parts {
    pub(super) core: Core,
    pub(super) timing: Timing,
    pub(super) lock: Arc<Lock>,
    pub(super) glimpses: BoxStream<'static, Glimpse>,
    pub(super) ends: SeatEnds,
    pub(super) entry: Entry,
    /// What the upgrade guard allows.
    pub(super) guard: watch::Receiver<GuardState>,
    /// Name of the controller.
    pub(super) controller: String,
    pub(super) shutdown: CancellationToken,
    pub(super) journal: Journal,
    pub(super) metrics: Arc<dyn LeaseMetrics>,
    pub(super) events: Arc<dyn LeaseEvents>,
    pub(super) identity: String,
    pub(super) spread: bool,
    pub(super) clock: SharedClock,
    /// Source of numbers in `0.0..1.0`.
    pub(super) jitter: Box<dyn FnMut() -> f64 + Send>,
}

/// The task of one Lease.
pub(super) struct Elector {
    parts: Parts,
    members: watch::Receiver<Members>,
    request: Option<Request>,
    keeper: Option<FenceKeeper>,
    settled: Option<oneshot::Sender<bool>>,
    told_shutdown: bool,
    seat_gone: bool,
    /// Whether it stood for election after the last step.
    stood: bool,
    valid_until: Option<Instant>,
    last_error: Option<String>,
}

/// The request under way.
struct Request {
    ends: BoxFuture<'static, Event>,
    started: Instant,
    /// To acquire or renew.
    attempt: bool,
}

impl Elector {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            members: parts.entry.shared().members(),
            parts,
            request: None,
            keeper: None,
            settled: None,
            told_shutdown: false,
            seat_gone: false,
            stood: false,
            valid_until: None,
            last_error: None,
        }
    }

    /// Stands and leads until the process shuts down and the controller has left.
    pub(super) async fn run(mut self) {
        self.parts.journal.configured(&self.parts.timing);
        let mut event = Event::Tick;
        while self.take(event) {
            event = self.next_event().await;
        }
    }

    /// One round. False: done for good.
    fn take(&mut self, event: Event) -> bool {
        let now = self.parts.clock.instant();
        self.note(&event, now);
        let around = self.surroundings(now);
        let actions = self.parts.core.step(event, now, around);
        let mut goes_on = true;
        for action in actions {
            goes_on &= self.act(action, now);
        }
        self.publish(now, goes_on);
        goes_on
    }

    fn surroundings(&mut self, now: Instant) -> Surroundings {
        Surroundings {
            jitter: (self.parts.jitter)(),
            load: self.parts.entry.shared().load(),
            spread: self.parts.spread,
            alone: self.members.borrow().alone(now),
            fit: *self.parts.ends.fit.borrow(),
        }
    }

    /// Logs and counts what an event tells.
    fn note(&mut self, event: &Event, now: Instant) {
        let error = match event {
            Event::Read(Err(error))
            | Event::Attempted(Exchanged { end: AttemptEnd::Failed(error), .. })
            | Event::Released(Exchanged { end: ReleaseEnd::Failed(error), .. }) => Some(error),
            Event::Attempted(Exchanged { end: AttemptEnd::Holding { .. }, .. }) => {
                self.parts.journal.renewed();
                self.last_error = None;
                None
            }
            Event::Attempted(Exchanged { end: AttemptEnd::HeldByOther | AttemptEnd::LostRace, .. }) => {
                self.parts.journal.not_acquired(self.parts.core.seen());
                None
            }
            Event::Listed(_) | Event::Watched(_) | Event::Read(Ok(_)) => {
                if self.parts.core.stage() == Stage::Standby {
                    self.last_error = None;
                }
                None
            }
            Event::Left(Leaving::GaveWay { reason, .. }) => {
                self.parts.metrics.gave_way(reason);
                self.parts.journal.gave_way(reason);
                None
            }
            Event::Tick
            | Event::WatchBroken
            | Event::Released(_)
            | Event::Stand
            | Event::StandDown
            | Event::Guard(_)
            | Event::Shutdown
            | Event::Surplus
            | Event::Left(_) => None,
        };
        if let Some(error) = error {
            self.parts.journal.failed(error, now);
            self.last_error = Some(error.to_string());
        }
        if *event == Event::Left(Leaving::Unfinished) {
            self.parts.entry.unfinished();
        }
    }

    fn act(&mut self, action: Action, now: Instant) -> bool {
        match action {
            Action::Read => self.read(now),
            Action::Attempt { read, until } => self.attempt(read, until, now),
            Action::Release { read, until } => self.release(read, until, now),
            Action::Begin { valid_until, transitions } => self.begin(valid_until, transitions, now),
            Action::Extend { valid_until } => {
                self.valid_until = Some(valid_until);
                if let Some(keeper) = &self.keeper {
                    keeper.extend(valid_until);
                }
            }
            Action::AskToLeave(why) => {
                self.parts.journal.asked_to_leave(&why);
                self.parts.ends.asked.send_replace(Some(why.word()));
            }
            Action::End(why) => self.end(&why),
            Action::Settled { released } => {
                if released {
                    self.parts.journal.released();
                }
                if let Some(settled) = self.settled.take() {
                    // Nobody may be waiting for it.
                    settled.send(released).ok();
                }
            }
            Action::Finish => return false,
        }
        true
    }

    fn read(&mut self, now: Instant) {
        let lock = Arc::clone(&self.parts.lock);
        let ends = async move { Event::Read(lock.read().await) }.boxed();
        self.request = Some(Request { ends, started: now, attempt: false });
    }

    fn attempt(&mut self, read: bool, until: Instant, now: Instant) {
        if read && self.parts.core.stage() == Stage::Leading {
            self.parts.metrics.slow_path();
        }
        let (lock, seen) = (Arc::clone(&self.parts.lock), self.parts.core.seen().clone());
        let ends = async move {
            let ended = tokio::time::timeout_at(until, lock.attempt(seen, read)).await;
            Event::Attempted(ended.unwrap_or_else(|_| Exchanged {
                seen: Vec::new(),
                end: AttemptEnd::Failed(LockError::timed_out(Attempt::Patch)),
            }))
        };
        self.request = Some(Request { ends: ends.boxed(), started: now, attempt: true });
    }

    fn release(&mut self, read: bool, until: Instant, now: Instant) {
        let (lock, seen) = (Arc::clone(&self.parts.lock), self.parts.core.seen().clone());
        let ends = async move {
            let ended = tokio::time::timeout_at(until, lock.release(seen, read)).await;
            Event::Released(ended.unwrap_or_else(|_| Exchanged {
                seen: Vec::new(),
                end: ReleaseEnd::Failed(LockError::timed_out(Attempt::Release)),
            }))
        };
        self.request = Some(Request { ends: ends.boxed(), started: now, attempt: false });
    }

    fn begin(&mut self, valid_until: Instant, transitions: i32, now: Instant) {
        let (keeper, fence) = Fence::new(Arc::clone(&self.parts.clock), valid_until);
        self.keeper = Some(keeper);
        self.valid_until = Some(valid_until);
        self.parts.entry.leading(now);
        self.parts.metrics.leading(true);
        self.parts.journal.acquired(transitions);
        self.parts.events.became_leader(self.parts.journal.lease(), &self.parts.identity);
        self.parts.ends.asked.send_replace(None);
        let won = Won { fence, since: self.parts.clock.now(), transitions };
        // It fails only when the seat is gone, and then the next round ends the term.
        drop(self.parts.ends.won.try_send(won));
    }

    fn end(&mut self, why: &Why) {
        if let Some(keeper) = self.keeper.take() {
            keeper.revoke();
        }
        self.valid_until = None;
        self.parts.metrics.leading(false);
        self.parts.journal.stopped(why, self.parts.core.seen(), self.last_error.as_deref());
        self.parts.events.stopped_leading(self.parts.journal.lease(), &self.parts.identity);
    }

    /// Brings everything that others can see up to date.
    fn publish(&mut self, now: Instant, goes_on: bool) {
        let core = &self.parts.core;
        let stage = core.stage();
        match stage {
            Stage::Standby if self.request.as_ref().is_some_and(|request| request.attempt) => {
                self.parts.entry.trying();
            }
            Stage::Standby | Stage::Ended => self.parts.entry.idle(),
            // Its tasks may still run until the Lease has been given away.
            Stage::Leading | Stage::Stopping | Stage::Releasing => {}
        }
        self.parts.entry.holder(core.seen().live_holder(now));
        self.parts.entry.wants_guard(core.wants_guard());

        let stands = stage == Stage::Standby && core.contends();
        if stands && !self.stood {
            self.parts.journal.attempting();
        }
        self.stood = stands;

        let (new_holder, tenant) = self.parts.journal.observed(core.seen(), &*self.parts.events, now);
        if new_holder {
            self.parts.metrics.holder_changed();
        }
        let conflict = matches!(tenant, Tenant::Other { .. });
        self.parts.metrics.conflict(conflict);
        let members = self.members.borrow();
        let guarding = members.guarding(&self.parts.journal.lease().name);
        let guarding = guarding.map(|member| member.identity.as_str());
        self.parts.metrics.guard_conflict(guarding.is_some());
        self.parts.journal.guarded_by(guarding, &*self.parts.events, now);
        drop(members);

        let shown = match stage {
            Stage::Ended => LeaseState::Stopped,
            Stage::Leading => LeaseState::Leading,
            Stage::Stopping => LeaseState::Stopping,
            Stage::Releasing => LeaseState::Releasing,
            Stage::Standby if !goes_on => LeaseState::Stopped,
            Stage::Standby if conflict => LeaseState::Conflict,
            Stage::Standby if core.is_guarded() => LeaseState::Guarded,
            Stage::Standby if core.contends() && (core.pauses(now) || !*self.parts.ends.fit.borrow()) => {
                LeaseState::Paused
            }
            Stage::Standby if core.contends() => LeaseState::Standby,
            Stage::Standby => LeaseState::Waiting,
        };
        let (holder, transitions) = (core.seen().holder(), core.seen().transitions());
        self.parts.ends.status.send_if_modified(|status| {
            // Progress alone wakes nobody up.
            status.last_progress = now;
            let same = status.state == shown
                && status.holder.as_deref() == holder
                && status.transitions == transitions
                && status.valid_until == self.valid_until
                && status.last_error == self.last_error;
            if !same {
                status.state = shown;
                status.holder = holder.map(str::to_owned);
                status.transitions = transitions;
                status.valid_until = self.valid_until;
                status.last_error.clone_from(&self.last_error);
            }
            !same
        });
    }

    async fn next_event(&mut self) -> Event {
        let heartbeat = self.parts.clock.instant() + HEARTBEAT;
        let wake = self.parts.core.wake().map_or(heartbeat, |wake| wake.min(heartbeat));
        // Orders come first, then what our own requests have brought, then what others did.
        tokio::select! {
            biased;
            // First: a controller that has nothing to finish leaves at the same moment, because of it.
            () = self.parts.shutdown.cancelled(), if !self.told_shutdown => {
                self.told_shutdown = true;
                Event::Shutdown
            }
            left = self.parts.ends.left.recv(), if !self.seat_gone => self.seat_said(left),
            Some(event) = OptionFuture::from(self.request.as_mut().map(|request| &mut request.ends)) => {
                if let Some(request) = self.request.take().filter(|request| request.attempt) {
                    let took = self.parts.clock.instant().saturating_duration_since(request.started);
                    self.parts.metrics.attempt_took(took);
                }
                event
            }
            Ok(()) = self.parts.guard.changed() => {
                Event::Guard(self.parts.guard.borrow_and_update().permit_for(&self.parts.controller))
            }
            Ok(()) = self.parts.ends.standing.changed(), if !self.seat_gone => {
                let stands = *self.parts.ends.standing.borrow_and_update();
                if stands { Event::Stand } else { Event::StandDown }
            }
            Ok(()) = self.parts.ends.fit.changed(), if !self.seat_gone => {
                self.parts.entry.fit(*self.parts.ends.fit.borrow_and_update());
                Event::Tick
            }
            () = self.parts.entry.surplus() => Event::Surplus,
            Some(glimpse) = self.parts.glimpses.next() => match glimpse {
                Glimpse::Listed(sight) => Event::Listed(sight),
                Glimpse::Changed(sight) => Event::Watched(sight),
                Glimpse::Broken(cause) => {
                    self.parts.journal.watch_broken(&cause);
                    self.last_error.get_or_insert(cause);
                    Event::WatchBroken
                }
            },
            Ok(()) = self.members.changed() => {
                self.members.mark_unchanged();
                Event::Tick
            }
            () = tokio::time::sleep_until(wake) => Event::Tick,
        }
    }

    fn seat_said(&mut self, left: Option<Left>) -> Event {
        if let Some(Left { leaving, settled }) = left {
            self.settled = Some(settled);
            return Event::Left(leaving);
        }
        // Whoever held the seat is gone without a word: its tasks may still run.
        self.seat_gone = true;
        match self.parts.core.stage() {
            Stage::Leading | Stage::Stopping => Event::Left(Leaving::Unfinished),
            Stage::Standby | Stage::Releasing | Stage::Ended => Event::Shutdown,
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The task of one Lease: feeds the state machine with events and carries out its actions.
//!
//! Owns the only keeper of the term's fence. When this task ends for whatever reason, the keeper is dropped, which
//! closes the fence.

use std::{future::Future, sync::Arc, time::Duration};

use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, OptionFuture},
    stream::BoxStream,
};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{ClockCheck, Instant, SharedClock, sleep_until},
    fence::{Fence, FenceKeeper, Validity},
};

use super::{
    Leadership, TermEnd,
    conflict::ComponentMatch,
    decision::{Action, ElectorState, Event, Stage, StepDownReason, StepInputs, Timing},
    events::EventRecorder,
    handle::{ElectorChannels, SteppedDown},
    legacy::GuardState,
    lock::{AttemptEnd, Exchanged, Lock, ReleaseEnd},
    lock_error::{Attempt, LockError},
    log::ElectionLog,
    metrics::LeaseMetrics,
    registry::{Members, Registration},
    status::LeaseState,
    watch::LeaseEvent,
};

/// The task goes round at least this often, so that its health can be seen.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// What an elector is made of.
pub(super) struct Parts {
    pub(super) state: ElectorState,
    pub(super) timing: Timing,
    pub(super) lock: Arc<Lock>,
    pub(super) lease_events: BoxStream<'static, LeaseEvent>,
    pub(super) channels: ElectorChannels,
    pub(super) registration: Registration,
    /// What the upgrade guard allows.
    pub(super) guard: watch::Receiver<GuardState>,
    /// Name of the controller.
    pub(super) controller: String,
    pub(super) shutdown: CancellationToken,
    pub(super) log: ElectionLog,
    pub(super) metrics: Arc<dyn LeaseMetrics>,
    pub(super) events: Arc<dyn EventRecorder>,
    pub(super) identity: String,
    pub(super) spread: bool,
    pub(super) clock: SharedClock,
    pub(super) clock_check: ClockCheck,
    /// Source of numbers in `0.0..1.0`.
    pub(super) jitter: Box<dyn FnMut() -> f64 + Send>,
}

/// The task of one Lease.
pub(super) struct Elector {
    /// Since when renewals have to be sent anew, because the clock may have stood still.
    doubted: watch::Receiver<Option<Instant>>,
    parts: Parts,
    members: watch::Receiver<Members>,
    request: Option<Request>,
    keeper: Option<FenceKeeper>,
    concluded: Option<oneshot::Sender<bool>>,
    shutdown_seen: bool,
    handle_gone: bool,
    /// Whether it contended for election after the last step.
    contended: bool,
    valid_until: Option<Instant>,
    last_error: Option<String>,
}

/// The request under way.
struct Request {
    outcome: BoxFuture<'static, Event>,
    started: Instant,
    /// To acquire or renew.
    attempt: bool,
}

impl Elector {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            members: parts.registration.registry().members(),
            doubted: parts.clock_check.doubted(),
            parts,
            request: None,
            keeper: None,
            concluded: None,
            shutdown_seen: false,
            handle_gone: false,
            contended: false,
            valid_until: None,
            last_error: None,
        }
    }

    /// Contends and leads until the process shuts down and the controller has stepped down.
    pub(super) async fn run(mut self) {
        self.parts.log.configured(&self.parts.timing);
        let mut event = Event::Tick;
        while self.handle_event(event) {
            event = self.next_event().await;
        }
    }

    /// One round. False: done for good.
    fn handle_event(&mut self, event: Event) -> bool {
        let now = self.parts.clock.instant();
        self.record(&event, now);
        let inputs = self.step_inputs(now);
        let actions = self.parts.state.step(event, now, inputs);
        let mut goes_on = true;
        for action in actions {
            goes_on &= self.act(action, now);
        }
        self.publish(now, goes_on);
        goes_on
    }

    fn step_inputs(&mut self, now: Instant) -> StepInputs {
        StepInputs {
            jitter: (self.parts.jitter)(),
            load: self.parts.registration.registry().load(),
            spread: self.parts.spread,
            alone: self.members.borrow().alone(now),
            eligible: *self.parts.channels.eligible.borrow(),
        }
    }

    /// Logs and counts an event.
    fn record(&mut self, event: &Event, now: Instant) {
        let error = match event {
            Event::Read(Err(error))
            | Event::Attempted(Exchanged { end: AttemptEnd::Failed(error), .. })
            | Event::Released(Exchanged { end: ReleaseEnd::Failed(error), .. }) => Some(error),
            Event::Attempted(Exchanged { end: AttemptEnd::Holding { .. }, .. }) => {
                self.parts.log.renewed();
                self.last_error = None;
                None
            }
            Event::Attempted(Exchanged { end: AttemptEnd::HeldByOther | AttemptEnd::LostRace, .. }) => {
                self.parts.log.not_acquired(self.parts.state.seen());
                None
            }
            Event::Listed(_) | Event::Watched(_) | Event::Read(Ok(_)) => {
                if self.parts.state.stage() == Stage::Standby {
                    self.last_error = None;
                }
                None
            }
            Event::SteppedDown(TermEnd::GaveWay { reason, .. }) => {
                self.parts.metrics.gave_way(reason);
                self.parts.log.gave_way(reason);
                None
            }
            Event::Tick
            | Event::WatchBroken
            | Event::Released(_)
            | Event::Contend
            | Event::Withdraw
            | Event::Guard(_)
            | Event::Shutdown
            | Event::ClockDoubted(_)
            | Event::Surplus
            | Event::SteppedDown(_) => None,
        };
        if let Some(error) = error {
            self.parts.log.failed(error, now);
            self.last_error = Some(error.to_string());
        }
        if *event == Event::SteppedDown(TermEnd::Unfinished) {
            self.parts.registration.unfinished();
        }
    }

    fn act(&mut self, action: Action, now: Instant) -> bool {
        match action {
            Action::Read => self.read(now),
            Action::TryAcquire { read, until } => self.try_acquire(read, until, now),
            Action::Renew { read, until } => self.renew(read, until, now),
            Action::Release { read, until } => self.release(read, until, now),
            Action::StartLeading { validity, transitions } => self.start_leading(validity, transitions, now),
            Action::Extend(validity) => {
                self.valid_until = Some(validity.until);
                if let Some(keeper) = &self.keeper {
                    keeper.renew(validity);
                }
            }
            Action::RequestStepDown(why) => {
                self.parts.log.step_down_requested(&why);
                self.parts.channels.step_down.send_replace(Some(why.word()));
            }
            Action::StopLeading(why) => self.stop_leading(&why),
            Action::Concluded { released } => {
                if released {
                    self.parts.log.released();
                }
                if let Some(concluded) = self.concluded.take() {
                    // The manager may not be waiting for it.
                    concluded.send(released).ok();
                }
            }
            Action::Finish => return false,
        }
        true
    }

    fn read(&mut self, now: Instant) {
        let lock = Arc::clone(&self.parts.lock);
        let outcome = async move { Event::Read(lock.read().await) }.boxed();
        self.request = Some(Request { outcome, started: now, attempt: false });
    }

    fn try_acquire(&mut self, read: bool, until: Instant, now: Instant) {
        let (lock, seen) = (Arc::clone(&self.parts.lock), self.parts.state.seen().clone());
        self.attempt(async move { lock.try_acquire(seen, read).await }, until, now);
    }

    fn renew(&mut self, read: bool, until: Instant, now: Instant) {
        if read {
            self.parts.metrics.slow_path();
        }
        let (lock, seen) = (Arc::clone(&self.parts.lock), self.parts.state.seen().clone());
        self.attempt(async move { lock.renew(seen, read).await }, until, now);
    }

    /// Sends an attempt to acquire or renew on its way, and gives it up at `until`.
    fn attempt(
        &mut self,
        attempt: impl Future<Output = Exchanged<AttemptEnd>> + Send + 'static,
        until: Instant,
        now: Instant,
    ) {
        let clock = Arc::clone(&self.parts.clock);
        let outcome = async move {
            let left = until.saturating_duration_since(clock.instant());
            let ended = tokio::time::timeout(left, attempt).await;
            Event::Attempted(ended.unwrap_or_else(|_| Exchanged {
                seen: Vec::new(),
                end: AttemptEnd::Failed(LockError::timed_out(Attempt::Patch)),
            }))
        };
        self.request = Some(Request { outcome: outcome.boxed(), started: now, attempt: true });
    }

    fn release(&mut self, read: bool, until: Instant, now: Instant) {
        let (lock, seen) = (Arc::clone(&self.parts.lock), self.parts.state.seen().clone());
        let clock = Arc::clone(&self.parts.clock);
        let outcome = async move {
            let left = until.saturating_duration_since(clock.instant());
            let ended = tokio::time::timeout(left, lock.release(seen, read)).await;
            Event::Released(ended.unwrap_or_else(|_| Exchanged {
                seen: Vec::new(),
                end: ReleaseEnd::Failed(LockError::timed_out(Attempt::Release)),
            }))
        };
        self.request = Some(Request { outcome: outcome.boxed(), started: now, attempt: false });
    }

    fn start_leading(&mut self, validity: Validity, transitions: i32, now: Instant) {
        let (keeper, fence) =
            Fence::checked(Arc::clone(&self.parts.clock), validity, &self.parts.clock_check);
        self.keeper = Some(keeper);
        self.valid_until = Some(validity.until);
        self.parts.registration.leading(now);
        self.parts.metrics.leading(true);
        self.parts.log.acquired(transitions);
        self.parts.events.became_leader(self.parts.log.lease(), &self.parts.identity);
        self.parts.channels.step_down.send_replace(None);
        let leadership = Leadership { fence, transitions };
        // It fails only when the handle has been dropped, and then the next round ends the term.
        drop(self.parts.channels.acquired.try_send(leadership));
    }

    fn stop_leading(&mut self, why: &StepDownReason) {
        if let Some(keeper) = self.keeper.take() {
            keeper.revoke();
        }
        self.valid_until = None;
        self.parts.metrics.leading(false);
        self.parts.log.stopped(why, self.parts.state.seen(), self.last_error.as_deref());
        self.parts.events.stopped_leading(self.parts.log.lease(), &self.parts.identity);
    }

    /// Publishes status, metrics and registry.
    fn publish(&mut self, now: Instant, goes_on: bool) {
        let election = &self.parts.state;
        let stage = election.stage();
        match stage {
            Stage::Standby if self.request.as_ref().is_some_and(|request| request.attempt) => {
                self.parts.registration.acquiring();
            }
            Stage::Standby | Stage::Ended => self.parts.registration.idle(),
            // Tasks of the controller may run until the Lease has been released.
            Stage::Leading | Stage::Stopping | Stage::Releasing => {}
        }
        self.parts.registration.holder(election.seen().live_holder(now));
        self.parts.registration.wants_guard(election.wants_guard());

        let contends = stage == Stage::Standby && election.contends();
        if contends && !self.contended {
            self.parts.log.attempting();
        }
        self.contended = contends;

        let members = self.members.borrow();
        let (new_holder, component) =
            self.parts.log.observed(election.seen(), &members, &*self.parts.events, now);
        if new_holder {
            self.parts.metrics.holder_changed();
        }
        let claimed_until =
            self.parts.log.claimed_until(election.seen(), &*self.parts.clock, &*self.parts.events);
        let guard_error = self.parts.guard.borrow().problem.clone();
        let conflict = matches!(component, ComponentMatch::Other { .. });
        self.parts.metrics.conflict(conflict);
        let guarding = members.guarding(&self.parts.log.lease().name);
        let guarding = guarding.map(|member| member.identity.as_str());
        self.parts.metrics.guard_conflict(guarding.is_some());
        self.parts.log.guarded_by(guarding, &*self.parts.events, now);
        drop(members);

        let shown = match stage {
            Stage::Ended => LeaseState::Stopped,
            Stage::Leading => LeaseState::Leading,
            Stage::Stopping => LeaseState::Stopping,
            Stage::Releasing => LeaseState::Releasing,
            Stage::Standby if !goes_on => LeaseState::Stopped,
            Stage::Standby if conflict => LeaseState::Conflict,
            Stage::Standby if election.is_guarded() => LeaseState::Guarded,
            Stage::Standby
                if election.contends()
                    && (election.pauses(now) || !*self.parts.channels.eligible.borrow()) =>
            {
                LeaseState::Paused
            }
            Stage::Standby if election.contends() => LeaseState::Standby,
            Stage::Standby => LeaseState::Waiting,
        };
        let (holder, transitions) = (election.seen().holder(), election.seen().transitions());
        self.parts.channels.status.send_if_modified(|status| {
            // A change of the progress alone notifies no receiver.
            status.last_progress = now;
            let same = status.state == shown
                && status.holder.as_deref() == holder
                && status.transitions == transitions
                && status.valid_until == self.valid_until
                && status.claimed_until == claimed_until
                && status.guard_error == guard_error
                && status.last_error == self.last_error;
            if !same {
                status.state = shown;
                status.holder = holder.map(str::to_owned);
                status.transitions = transitions;
                status.valid_until = self.valid_until;
                status.claimed_until = claimed_until;
                status.guard_error = guard_error;
                status.last_error.clone_from(&self.last_error);
            }
            !same
        });
    }

    async fn next_event(&mut self) -> Event {
        let heartbeat = self.parts.clock.instant() + HEARTBEAT;
        let wake = self.parts.state.wake().map_or(heartbeat, |wake| wake.min(heartbeat));
        // First what the process demands, then answers to own requests, then what others did.
        tokio::select! {
            biased;
            // First: a controller that has nothing to finish steps down at the same moment, because of it.
            () = self.parts.shutdown.cancelled(), if !self.shutdown_seen => {
                self.shutdown_seen = true;
                Event::Shutdown
            }
            message = self.parts.channels.stepped_down.recv(), if !self.handle_gone => self.receive(message),
            Some(event) = OptionFuture::from(self.request.as_mut().map(|request| &mut request.outcome)) => {
                if let Some(request) = self.request.take().filter(|request| request.attempt) {
                    let took = self.parts.clock.instant().saturating_duration_since(request.started);
                    self.parts.metrics.attempt_took(took);
                }
                event
            }
            Ok(()) = self.parts.guard.changed() => {
                Event::Guard(self.parts.guard.borrow_and_update().permit_for(&self.parts.controller))
            }
            Ok(()) = self.parts.channels.contending.changed(), if !self.handle_gone => {
                let contends = *self.parts.channels.contending.borrow_and_update();
                if contends { Event::Contend } else { Event::Withdraw }
            }
            Ok(()) = self.parts.channels.eligible.changed(), if !self.handle_gone => {
                self.parts.registration.set_eligible(*self.parts.channels.eligible.borrow_and_update());
                Event::Tick
            }
            Ok(()) = self.doubted.changed() => {
                self.doubted.borrow_and_update().map_or(Event::Tick, Event::ClockDoubted)
            }
            () = self.parts.registration.surplus() => Event::Surplus,
            Some(lease_event) = self.parts.lease_events.next() => match lease_event {
                LeaseEvent::Listed(snapshot) => Event::Listed(snapshot),
                LeaseEvent::Changed(snapshot) => Event::Watched(snapshot),
                LeaseEvent::Broken(cause) => {
                    self.parts.log.watch_broken(&cause);
                    self.last_error.get_or_insert(cause);
                    Event::WatchBroken
                }
            },
            Ok(()) = self.members.changed() => {
                self.members.mark_unchanged();
                Event::Tick
            }
            () = sleep_until(&*self.parts.clock, wake) => Event::Tick,
        }
    }

    fn receive(&mut self, message: Option<SteppedDown>) -> Event {
        if let Some(SteppedDown { end, concluded }) = message {
            self.concluded = Some(concluded);
            return Event::SteppedDown(end);
        }
        // The handle was dropped without a report: the controller's tasks may still run.
        self.handle_gone = true;
        match self.parts.state.stage() {
            Stage::Leading | Stage::Stopping => Event::SteppedDown(TermEnd::Unfinished),
            Stage::Standby | Stage::Releasing | Stage::Ended => Event::Shutdown,
        }
    }
}

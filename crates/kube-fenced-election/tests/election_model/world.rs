// SPDX-License-Identifier: Apache-2.0
//! Everything that may happen to candidates of one Lease, in every order.
//!
//! Time goes in steps up to a horizon. What is due within a step happens in every order; time passes when
//! nothing is due. Everything else has a budget, and happens at every moment: processes that are frozen for
//! any time while their clock goes on, or, on a machine that is paused, stands still,
//! requests and answers that take any time, watches that lag, lost
//! requests, lost answers of writes that were carried out, writes that arrive a second time or long after
//! nobody waits for them, broken watches, restarted processes, Leases deleted or emptied by hand or labelled by
//! tools, controllers that leave.

use std::{sync::OnceLock, time::Duration};

use kube_fenced_election::{
    clock::{Clock, Instant, SystemClock},
    testkit::parts::{Event, LeaseSnapshot, Stage, Timing},
};
use stateright::{Model, Property};

use crate::{
    candidate::{Candidate, Way, wall},
    server::{Outcome, Server},
};

/// Holds always.
pub(crate) const SAFE: &str = "at most one may write";
/// Holds at the horizon, where it is asked for.
pub(crate) const LIVE: &str = "somebody leads in the end";
/// Happens, or the search proves little.
pub(crate) const MOVED: &str = "a second holder has the Lease";
/// Happens, or the search proves little: one has not noticed yet that another leads.
pub(crate) const BELIEVED: &str = "two believe that they lead";

/// The moment at which every run begins.
pub(crate) fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(|| SystemClock.instant())
}

/// How often what is rare may happen in one run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    /// Processes that are frozen (SIGSTOP), each for any time.
    pub(crate) frozen: u8,
    /// Exchanges whose requests and answers take any time.
    pub(crate) slow: u8,
    /// Watches that lag from then on, each state for any time.
    pub(crate) lagging: u8,
    /// Requests that never arrive.
    pub(crate) lost: u8,
    /// Answers that never arrive, of requests that were carried out.
    pub(crate) unanswered: u8,
    /// Writes that arrive twice.
    pub(crate) twice: u8,
    /// Watches that break.
    pub(crate) broken: u8,
    /// Processes that are killed; a new one stands in their place at once.
    pub(crate) killed: u8,
    /// Leases deleted by hand.
    pub(crate) deleted: u8,
    /// Leases emptied by hand.
    pub(crate) emptied: u8,
    /// Edits of metadata by a tool, at any time, also when everything else is calm.
    pub(crate) labelled: u8,
    /// Controllers that leave by themselves.
    pub(crate) left: u8,
}

/// Rules that are broken on purpose, to see that the search finds it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Broken {
    /// Writes overwrite whatever is there.
    pub(crate) no_swap: bool,
    /// A candidate with this many steps of wall-clock lead believes the `renewTime` of others.
    pub(crate) remote_time: Option<u32>,
    /// The right to write counts from the answer.
    pub(crate) late: bool,
    /// Clocks stand still while their process is frozen, as without [`kube_fenced_election::clock::BootClock`]; and
    /// nobody compares them with the API server's.
    pub(crate) clock_stops: bool,
}

/// What is explored.
#[derive(Debug, Clone)]
pub(crate) struct World {
    /// How many candidates.
    pub(crate) candidates: usize,
    /// How many steps of time.
    pub(crate) horizon: u32,
    /// How long a step is.
    pub(crate) step: Duration,
    /// The durations of the election.
    pub(crate) timing: Timing,
    /// What is rare.
    pub(crate) budget: Budget,
    /// By how many hundredths the clock of each further candidate runs faster than that of the one before.
    pub(crate) faster: u32,
    /// Faults end so many steps before the horizon, at which somebody has to lead. `None`: they never end, and
    /// nobody has to.
    pub(crate) calm: Option<u32>,
    /// A frozen process is on a machine that is paused: its clock stands still, and the first answer that is dated later
    /// tells it.
    pub(crate) paused: bool,
    /// Rules that are broken.
    pub(crate) broken: Broken,
}

/// A moment of a run.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) struct State {
    at: u32,
    server: Server,
    candidates: Vec<Candidate>,
    budget: Budget,
    born: usize,
}

/// Something that happens. Numbers are candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Time passes.
    Pass,
    /// Its process is frozen.
    Freeze(usize),
    /// Its process goes on.
    Thaw(usize),
    /// Its exchange takes any time from now on.
    Slow(usize),
    /// Its watch lags from now on.
    Lag(usize),
    /// The elector is woken by its timer.
    Wake(usize),
    /// Its watch delivers the next state.
    Watch(usize),
    /// Its request arrives and is carried out.
    Arrive(usize),
    /// Its request is lost.
    Lose(usize),
    /// Its request is carried out, and the answer is lost.
    Unanswered(usize),
    /// Its write is carried out, and once more later.
    Twice(usize),
    /// The answer arrives.
    Hear(usize),
    /// It gives up waiting.
    GiveUp(usize),
    /// A request that nobody waits for arrives.
    Stray(usize),
    /// Its watch breaks.
    Break(usize),
    /// Its controller has left.
    Leave(usize),
    /// It is killed and started anew.
    Kill(usize),
    /// Somebody deletes the Lease.
    Delete,
    /// Somebody empties the Lease.
    Empty,
    /// A tool labels the Lease.
    Label,
    /// It takes the Lease because its own wall clock says so.
    Steal(usize),
}

impl Step {
    /// Whose it is; for what is nobody's, anybody's.
    fn candidate(self) -> usize {
        match self {
            Self::Freeze(n)
            | Self::Thaw(n)
            | Self::Slow(n)
            | Self::Lag(n)
            | Self::Wake(n)
            | Self::Watch(n)
            | Self::Arrive(n)
            | Self::Lose(n)
            | Self::Unanswered(n)
            | Self::Twice(n)
            | Self::Hear(n)
            | Self::GiveUp(n)
            | Self::Break(n)
            | Self::Leave(n)
            | Self::Kill(n)
            | Self::Steal(n) => n,
            Self::Pass | Self::Stray(_) | Self::Delete | Self::Empty | Self::Label => 0,
        }
    }
}

impl World {
    /// The clock of candidate `n`.
    fn clock(&self, state: &State, n: usize) -> Instant {
        let at = state.at - state.candidates.get(n).map_or(0, |it| it.behind);
        let rate = u32::try_from(n).unwrap_or_default() * self.faster + 100;
        start() + self.step * at * rate / 100
    }

    /// How many candidates may write now.
    pub(crate) fn writers(&self, state: &State) -> usize {
        let may = |(n, it): (usize, &Candidate)| {
            // A clock that stands still shows nothing of a process that cannot write; and the first requests of one that
            // goes on are what remains of a pause.
            let counts = !self.clock_stops() || !it.frozen && it.unsure.is_none();
            counts && it.may_write(self.clock(state, n))
        };
        state.candidates.iter().enumerate().filter(|it| may(*it)).count()
    }

    /// Whether clocks stand still while their process is frozen.
    fn clock_stops(&self) -> bool {
        self.paused || self.broken.clock_stops
    }

    /// Whether the run is over.
    pub(crate) fn is_over(&self, state: &State) -> bool {
        state.at >= self.horizon
    }

    /// What has to happen sooner or later.
    fn due(&self, state: &State, steps: &mut Vec<Step>) {
        for (n, one) in state.candidates.iter().enumerate() {
            let now = self.clock(state, n);
            steps.extend(on_its_way(n, one).filter(|_| !one.exchange.as_ref().is_some_and(|it| it.slow)));
            if one.frozen {
                continue;
            }
            if one.watched < state.server.states() && !one.lags {
                steps.push(Step::Watch(n));
            }
            if one.is_late(now) {
                steps.push(Step::GiveUp(n));
            }
            if one.stage() == Stage::Stopping {
                steps.push(Step::Leave(n));
            }
            if one.wakes(now) {
                steps.push(Step::Wake(n));
            }
        }
    }

    /// What need not happen.
    fn rare(&self, state: &State, steps: &mut Vec<Step>) {
        let left = &state.budget;
        for (n, one) in state.candidates.iter().enumerate() {
            let way = one.exchange.as_ref().map(|it| &it.way);
            if one.frozen {
                steps.push(Step::Thaw(n));
            } else {
                if left.frozen > 0 {
                    steps.push(Step::Freeze(n));
                }
                if one.lags && one.watched < state.server.states() {
                    steps.push(Step::Watch(n));
                }
            }
            if left.lagging > 0 && !one.lags {
                steps.push(Step::Lag(n));
            }
            match &one.exchange {
                Some(it) if it.slow => steps.extend(on_its_way(n, one)),
                Some(it) if left.slow > 0 && it.way != Way::Lost => steps.push(Step::Slow(n)),
                Some(_) | None => {}
            }
            if left.lost > 0 && matches!(way, Some(Way::Asking | Way::Writing(_))) {
                steps.push(Step::Lose(n));
            }
            if left.unanswered > 0 && matches!(way, Some(Way::Writing(_))) {
                steps.push(Step::Unanswered(n));
            }
            if left.twice > 0 && matches!(way, Some(Way::Writing(_))) {
                steps.push(Step::Twice(n));
            }
            if left.broken > 0 && !one.frozen {
                steps.push(Step::Break(n));
            }
            if left.killed > 0 {
                steps.push(Step::Kill(n));
            }
            if left.left > 0 && one.stage() == Stage::Leading && !one.frozen {
                steps.push(Step::Leave(n));
            }
            if self.may_steal(state, n) && !one.frozen {
                steps.push(Step::Steal(n));
            }
        }
        steps.extend((0..state.server.strays.len()).map(Step::Stray));
        if matches!(state.server.now(), LeaseSnapshot::Present(_)) {
            if left.deleted > 0 && Self::all_saw_the_holder(state) {
                steps.push(Step::Delete);
            }
            if left.emptied > 0 && Self::all_saw_the_holder(state) {
                steps.push(Step::Empty);
            }
        }
    }

    /// A candidate that is born while a held Lease is gone cannot know of its holder; nor one whose watch has
    /// not shown it yet. That is the price of a protocol whose whole memory is the Lease, not a defect.
    fn all_saw_the_holder(state: &State) -> bool {
        state.candidates.iter().all(|it| it.watched == state.server.states() && it.seen().holder().is_some())
    }

    fn may_steal(&self, state: &State, n: usize) -> bool {
        let (Some(lead), Some(one)) = (self.broken.remote_time, state.candidates.get(n)) else {
            return false;
        };
        let renewed = one.seen().lease().and_then(|it| it.spec.as_ref()?.renew_time.as_ref().map(|it| it.0));
        let own = wall(self.clock(state, n)) + self.step * lead;
        one.exchange.is_none()
            && one.stage() == Stage::Standby
            && one.seen().holder().is_some_and(|holder| holder != one.name())
            && renewed.is_some_and(|it| it + self.timing.lease_duration < own)
    }

    fn arrive(&self, state: &mut State, n: usize, answered: bool) {
        let at = state.at;
        let Some(exchange) = state.candidates.get_mut(n).and_then(|it| it.exchange.as_mut()) else { return };
        let way = match &exchange.way {
            Way::Asking => Way::Shown(state.server.now()),
            Way::Writing(write) => Way::Written(state.server.write(write, !self.broken.no_swap)),
            Way::Shown(_) | Way::Written(_) | Way::Lost => return,
        };
        exchange.way = if answered { way } else { Way::Lost };
        exchange.dated = if self.paused { at } else { 0 };
    }

    fn candidate(&self, state: &mut State, n: usize) -> Candidate {
        state.born += 1;
        let name = format!("m{}", state.born);
        let mut one = Candidate::new(name, self.timing, self.clock(state, n));
        // Its list shows the present state.
        one.watched = state.server.states() - 1;
        one
    }

    fn happen(&self, state: &mut State, step: Step) -> Option<()> {
        let late = self.broken.late;
        let now = self.clock(state, step.candidate());
        match step {
            Step::Pass => state.at += 1,
            Step::Wake(n) => state.candidates.get_mut(n)?.step(Event::Tick, now, late),
            Step::Watch(n) => {
                let one = state.candidates.get_mut(n)?;
                let snapshot = state.server.state(one.watched)?;
                one.watch(snapshot, now, late);
            }
            Step::Arrive(n) => self.arrive(state, n, true),
            Step::Lose(n) => {
                state.budget.lost -= 1;
                state.candidates.get_mut(n)?.exchange.as_mut()?.way = Way::Lost;
            }
            Step::Unanswered(n) => {
                state.budget.unanswered -= 1;
                self.arrive(state, n, false);
            }
            Step::Twice(n) => {
                state.budget.twice -= 1;
                if let Way::Writing(write) = &state.candidates.get(n)?.exchange.as_ref()?.way {
                    state.server.strays.push(write.clone());
                }
                self.arrive(state, n, true);
            }
            Step::Hear(n) => {
                state.candidates.get_mut(n)?.check_clock(now, !self.broken.clock_stops);
                state.candidates.get_mut(n)?.hear(now, late);
            }
            Step::GiveUp(n) => {
                let write = state.candidates.get_mut(n)?.give_up(now);
                state.server.strays.extend(write);
            }
            Step::Stray(which) => {
                let write = state.server.strays.remove(which);
                let _: Outcome = state.server.write(&write, !self.broken.no_swap);
            }
            Step::Leave(n) => {
                let one = state.candidates.get_mut(n)?;
                if one.stage() == Stage::Leading {
                    state.budget.left -= 1;
                }
                one.leave(now);
            }
            _ => return self.go_wrong(state, step),
        }
        Some(())
    }

    /// What is done to processes, watches and Leases.
    fn go_wrong(&self, state: &mut State, step: Step) -> Option<()> {
        let late = self.broken.late;
        let now = self.clock(state, step.candidate());
        match step {
            Step::Freeze(n) => {
                state.budget.frozen -= 1;
                let (at, stops) = (state.at, self.clock_stops());
                let one = state.candidates.get_mut(n)?;
                one.frozen = true;
                one.frozen_at = if stops { at } else { 0 };
            }
            Step::Thaw(n) => {
                let (at, stops) = (state.at, self.clock_stops());
                let one = state.candidates.get_mut(n)?;
                one.frozen = false;
                if stops && at > one.frozen_at {
                    one.behind += at - one.frozen_at;
                    one.unsure = self.paused.then_some(at);
                }
                one.frozen_at = 0;
            }
            Step::Slow(n) => {
                state.budget.slow -= 1;
                state.candidates.get_mut(n)?.exchange.as_mut()?.slow = true;
            }
            Step::Lag(n) => {
                state.budget.lagging -= 1;
                state.candidates.get_mut(n)?.lags = true;
            }
            Step::Break(n) => {
                state.budget.broken -= 1;
                let (one, states) = (state.candidates.get_mut(n)?, state.server.states());
                one.break_watch(now, late);
                // The next list skips what came in between.
                one.watched = states - 1;
            }
            Step::Kill(n) => {
                state.budget.killed -= 1;
                if let Way::Writing(write) =
                    &state.candidates.get(n)?.exchange.as_ref().map_or(Way::Lost, |it| it.way.clone())
                {
                    state.server.strays.push(write.clone());
                }
                let fresh = self.candidate(state, n);
                *state.candidates.get_mut(n)? = fresh;
            }
            Step::Delete => {
                state.budget.deleted -= 1;
                state.server.delete();
            }
            Step::Empty => {
                state.budget.emptied -= 1;
                state.server.empty_out();
            }
            Step::Label => {
                state.budget.labelled -= 1;
                state.server.label();
            }
            Step::Steal(n) => {
                let server = &mut state.server;
                let one = state.candidates.get_mut(n)?;
                one.steal(now, |write| server.write(write, true));
            }
            _ => return None,
        }
        Some(())
    }
}

/// A request that may arrive, or an answer.
fn on_its_way(n: usize, one: &Candidate) -> impl Iterator<Item = Step> {
    let step = match one.exchange.as_ref().map(|it| &it.way) {
        Some(Way::Asking | Way::Writing(_)) => Some(Step::Arrive(n)),
        Some(Way::Shown(_) | Way::Written(_)) if !one.frozen => Some(Step::Hear(n)),
        Some(Way::Shown(_) | Way::Written(_) | Way::Lost) | None => None,
    };
    step.into_iter()
}

impl Model for World {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let mut state =
            State { at: 0, server: Server::empty(), candidates: Vec::new(), budget: self.budget, born: 0 };
        for n in 0..self.candidates {
            let one = self.candidate(&mut state, n);
            state.candidates.push(one);
        }
        vec![state]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if self.is_over(state) {
            return;
        }
        self.due(state, steps);
        if steps.is_empty() {
            steps.push(Step::Pass);
        }
        if state.budget.labelled > 0 && matches!(state.server.now(), LeaseSnapshot::Present(_)) {
            steps.push(Step::Label);
        }
        if self.calm.is_none_or(|calm| state.at + calm <= self.horizon) {
            self.rare(state, steps);
        }
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let mut state = before.clone();
        self.happen(&mut state, step)?;
        // Two requests that nobody waits for are as good as many.
        state.server.strays.truncate(2);
        let delivered = state.candidates.iter().map(|it| it.watched).min().unwrap_or_default();
        let forgotten = state.server.forget(delivered);
        for one in &mut state.candidates {
            one.watched -= forgotten;
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(SAFE, |world: &Self, state: &State| world.writers(state) <= 1),
            Property::always(LIVE, |world: &Self, state: &State| {
                world.calm.is_none() || !world.is_over(state) || world.writers(state) == 1
            }),
            Property::sometimes(MOVED, |_: &Self, state: &State| {
                matches!(state.server.now(), LeaseSnapshot::Present(lease)
                    if lease.spec.as_ref().and_then(|it| it.lease_transitions) > Some(1))
            }),
            Property::sometimes(BELIEVED, |_: &Self, state: &State| {
                state.candidates.iter().filter(|it| it.stage() == Stage::Leading).count() > 1
            }),
        ]
    }
}

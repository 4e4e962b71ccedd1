// SPDX-License-Identifier: Apache-2.0
//! Who wants what read, what is being read, and what the reads of this period said. Pure: the moment is
//! an argument, and whoever drives it carries out the reads.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::controllers::pod_autoscaler::snapshot::{Reading, Samples};
use kube_fenced_election::clock::{Instant, Timestamp};
use kube_loops::runtime::reconciler::Key;

use super::wanted::{Item, Origin, Outcome, Wanted};

/// A round that has not ended by then counts what is missing as failed: two reads after another.
const ROUND_LIMIT: Duration = Duration::from_secs(6);
/// An origin that was never read waits this long, so that all autoscalers of a new term have said which
/// families they want before the only read of the period.
const GATHER: Duration = Duration::from_millis(100);
/// Periods that something unasked for is kept.
const KEEP_PERIODS: u64 = 3;

/// Now, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) wall: Timestamp,
}

/// Reads that share a bound on how many are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Pods and endpoints that answered last time, or were never asked.
    Healthy,
    /// Pods and endpoints that did not answer last time.
    Failing,
    /// The API server.
    Api,
}

impl Lane {
    const ALL: [Self; 3] = [Self::Healthy, Self::Failing, Self::Api];

    /// Reads under way at most.
    pub(super) const fn width(self) -> usize {
        match self {
            Self::Healthy => 128,
            Self::Failing => 32,
            Self::Api => 16,
        }
    }
}

/// A read to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) origin: Origin,
    /// Families to keep; sorted.
    pub(super) families: BTreeSet<Arc<str>>,
    pub(super) lane: Lane,
}

#[derive(Debug, Default)]
struct Queue {
    /// Not before this moment, in order of arrival.
    waiting: VecDeque<(Instant, Origin)>,
    running: usize,
}

/// A read that began in `period` and keeps `families`.
#[derive(Debug, Clone)]
struct Read {
    period: u64,
    families: BTreeSet<Arc<str>>,
}

impl Read {
    fn serves(&self, period: u64, item: &Item) -> bool {
        self.period >= period && item.pick.families().iter().all(|family| self.families.contains(&**family))
    }
}

#[derive(Debug, Default)]
struct Entry {
    queued: bool,
    /// The read under way.
    running: Option<Read>,
    /// The last read that ended.
    ended: Option<(Read, Outcome)>,
    /// Wanted families, and the period that last wanted them.
    wanted: BTreeMap<Arc<str>, u64>,
    /// Period that last asked.
    asked: u64,
    waiters: Vec<Key>,
}

#[derive(Debug)]
struct Round {
    period: u64,
    about: Arc<str>,
    wanted: Vec<Wanted>,
    /// Reads still to come; `None`: complete.
    missing: Option<BTreeSet<Origin>>,
    /// `None`: something wanted was not kept by this period's read, so this round never completes and
    /// the next period has to do.
    deadline: Option<Instant>,
    complete: Option<(Timestamp, Vec<Reading>)>,
}

/// The books.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Length of a period.
    length: Duration,
    /// Number of the period under way; 0 before the first one.
    period: u64,
    began: Option<Instant>,
    entries: HashMap<Origin, Entry>,
    rounds: HashMap<Key, Round>,
    deadlines: BTreeSet<(Instant, Key)>,
    queues: [Queue; 3],
}

impl Ledger {
    /// An empty ledger with periods of about this length.
    pub(super) fn new(length: Duration) -> Self {
        Self {
            length,
            period: 0,
            began: None,
            entries: HashMap::new(),
            rounds: HashMap::new(),
            deadlines: BTreeSet::new(),
            queues: Default::default(),
        }
    }

    /// A period begins with the first question that comes nine tenths of the length after the beginning
    /// of the one before. So the periods follow the ticks that queue all autoscalers, however late these
    /// are or drift; a single autoscaler that asks shortly before a tick takes the tick's period along.
    fn advance(&mut self, now: Instant) {
        let over = |began: Instant| now.saturating_duration_since(began) >= self.length.mul_f64(0.9);
        if self.began.is_none_or(over) {
            self.began = Some(now);
            self.period = self.period.saturating_add(1);
            self.sweep();
        }
    }

    /// Asks for a round of `wanted` for the autoscaler `key` and answers with its last complete one.
    /// `about` says what the round is for; the rounds of another `about` are not shown any more.
    pub(super) fn ask(&mut self, key: &Key, about: &str, wanted: Vec<Wanted>, now: Now) -> Samples {
        self.advance(now.instant);
        let period = self.period;
        let current =
            self.rounds.get(key).is_some_and(|round| round.period == period && *round.about == *about);
        if !current {
            self.open(key, about, wanted, period, now);
        }
        let Some(round) = self.rounds.get(key) else { return Samples::default() };
        let (taken, sources) = match &round.complete {
            Some((taken, readings)) => (Some(*taken), readings.clone()),
            None => (None, Vec::new()),
        };
        Samples { taken, pending: round.missing.is_some(), sources }
    }

    /// Drops what is known for an autoscaler.
    pub(super) fn forget(&mut self, key: &Key) {
        if let Some(deadline) = self.rounds.remove(key).and_then(|round| round.deadline) {
            self.deadlines.remove(&(deadline, key.clone()));
        }
    }

    fn open(&mut self, key: &Key, about: &str, wanted: Vec<Wanted>, period: u64, now: Now) {
        let before = self.rounds.remove(key);
        if let Some(deadline) = before.as_ref().and_then(|round| round.deadline) {
            self.deadlines.remove(&(deadline, key.clone()));
        }
        let complete = before.filter(|round| *round.about == *about).and_then(|round| round.complete);
        let mut missing = BTreeSet::new();
        let mut next_period = false;
        for item in wanted.iter().flat_map(Wanted::items) {
            match self.want(key, item, period, now.instant) {
                Need::Met => {}
                Need::Wait => drop(missing.insert(item.origin.clone())),
                Need::NextPeriod => next_period = true,
            }
        }
        let limit = ROUND_LIMIT.min(self.length.mul_f64(0.6));
        let deadline = (!next_period).then(|| now.instant + limit);
        let missing = Some(missing);
        let round = Round { period, about: about.into(), wanted, missing, deadline, complete };
        let done = round.deadline.is_some() && round.missing.as_ref().is_some_and(BTreeSet::is_empty);
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, key.clone()));
        }
        self.rounds.insert(key.clone(), round);
        if done {
            self.close(key, now.wall);
        }
    }

    /// Notes that `key` wants `item` and queues its origin unless this period's read was begun already.
    fn want(&mut self, key: &Key, item: &Item, period: u64, now: Instant) -> Need {
        let entry = self.entries.entry(item.origin.clone()).or_default();
        entry.asked = period;
        for family in item.pick.families() {
            entry.wanted.insert(family.as_str().into(), period);
        }
        if let Some(read) = entry.ended.as_ref().map(|(read, _)| read).filter(|read| read.period == period) {
            return if read.serves(period, item) { Need::Met } else { Need::NextPeriod };
        }
        if let Some(read) = entry.running.as_ref().filter(|read| read.period == period)
            && !read.serves(period, item)
        {
            return Need::NextPeriod;
        }
        if !entry.waiters.contains(key) {
            entry.waiters.push(key.clone());
        }
        if entry.running.is_none() && !entry.queued {
            let first = entry.ended.is_none();
            let lane = lane_of(&item.origin, entry);
            entry.queued = true;
            let from = if first { now + GATHER } else { now };
            self.queue(lane).waiting.push_back((from, item.origin.clone()));
        }
        Need::Wait
    }

    fn queue(&mut self, lane: Lane) -> &mut Queue {
        let [healthy, failing, api] = &mut self.queues;
        match lane {
            Lane::Healthy => healthy,
            Lane::Failing => failing,
            Lane::Api => api,
        }
    }

    /// The next read to begin now, if any.
    pub(super) fn next_job(&mut self, now: Instant) -> Option<Job> {
        Lane::ALL.into_iter().find_map(|lane| self.next_of(lane, now))
    }

    fn next_of(&mut self, lane: Lane, now: Instant) -> Option<Job> {
        let period = self.period;
        loop {
            let queue = self.queue(lane);
            if queue.running >= lane.width() || queue.waiting.front().is_none_or(|(from, _)| *from > now) {
                return None;
            }
            let (_, origin) = queue.waiting.pop_front()?;
            let Some(entry) = self.entries.get_mut(&origin) else { continue };
            entry.queued = false;
            let waits = |key: &Key| {
                let missing = self.rounds.get(key).filter(|round| round.deadline.is_some());
                missing
                    .and_then(|round| round.missing.as_ref())
                    .is_some_and(|missing| missing.contains(&origin))
            };
            entry.waiters.retain(waits);
            // Nobody waits any more: who asked has given up, or is gone.
            if entry.waiters.is_empty() {
                continue;
            }
            entry.wanted.retain(|_, asked| asked.saturating_add(1) >= period);
            let families: BTreeSet<Arc<str>> = entry.wanted.keys().cloned().collect();
            entry.running = Some(Read { period, families: families.clone() });
            self.queue(lane).running += 1;
            return Some(Job { origin, families, lane });
        }
    }

    /// A read has ended. Answers with the autoscalers whose rounds it completes, in order.
    pub(super) fn ended(&mut self, job: &Job, outcome: Outcome, now: Now) -> Vec<Key> {
        let queue = self.queue(job.lane);
        queue.running = queue.running.saturating_sub(1);
        let Some(entry) = self.entries.get_mut(&job.origin) else { return Vec::new() };
        let Some(read) = entry.running.take() else { return Vec::new() };
        let mut waiters = std::mem::take(&mut entry.waiters);
        waiters.sort();
        let mut complete = Vec::new();
        for key in waiters {
            let Some(round) = self.rounds.get_mut(&key) else { continue };
            let Some(missing) = &mut round.missing else { continue };
            if round.period > read.period {
                // Asked for in a later period than this read began in.
                if missing.contains(&job.origin) {
                    entry.waiters.push(key);
                }
            } else if missing.remove(&job.origin) && missing.is_empty() && round.deadline.is_some() {
                complete.push(key);
            }
        }
        entry.ended = Some((read, outcome));
        if !entry.waiters.is_empty() && !entry.queued {
            entry.queued = true;
            let lane = lane_of(&job.origin, entry);
            self.queue(lane).waiting.push_back((now.instant, job.origin.clone()));
        }
        for key in &complete {
            self.close(key, now.wall);
        }
        complete
    }

    /// Ends the rounds whose time is over. Answers with their autoscalers.
    pub(super) fn overdue(&mut self, now: Now) -> Vec<Key> {
        let mut over = Vec::new();
        while let Some((deadline, key)) = self.deadlines.first().cloned() {
            if deadline > now.instant {
                break;
            }
            self.deadlines.remove(&(deadline, key.clone()));
            self.close(&key, now.wall);
            over.push(key);
        }
        over
    }

    /// When something becomes due by itself: the end of a round, or of the time of gathering.
    pub(super) fn next_moment(&self) -> Option<Instant> {
        let gathered = self.queues.iter().zip(Lane::ALL).filter(|(queue, lane)| queue.running < lane.width());
        let gathered = gathered.filter_map(|(queue, _)| queue.waiting.front().map(|(from, _)| *from));
        gathered.chain(self.deadlines.first().map(|(deadline, _)| *deadline)).min()
    }

    fn close(&mut self, key: &Key, wall: Timestamp) {
        let Some(round) = self.rounds.get_mut(key) else { return };
        if let Some(deadline) = round.deadline {
            self.deadlines.remove(&(deadline, key.clone()));
        }
        let outcome_of = |origin: &Origin| {
            let (read, outcome) = self.entries.get(origin)?.ended.as_ref()?;
            (read.period >= round.period).then(|| outcome.clone())
        };
        let readings = round.wanted.iter().map(|wanted| wanted.reading(outcome_of)).collect();
        round.missing = None;
        round.complete = Some((wall, readings));
    }

    fn sweep(&mut self) {
        let period = self.period;
        let recent = |asked: u64| asked.saturating_add(KEEP_PERIODS) >= period;
        self.entries.retain(|_, entry| entry.queued || entry.running.is_some() || recent(entry.asked));
        let deadlines = &mut self.deadlines;
        self.rounds.retain(|key, round| {
            let keep = recent(round.period);
            if let Some(deadline) = round.deadline.filter(|_| !keep) {
                deadlines.remove(&(deadline, key.clone()));
            }
            keep
        });
    }

    /// Origins and rounds that are held.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.entries.len(), self.rounds.len())
    }
}

enum Need {
    /// This period's read has it.
    Met,
    /// A read is queued or under way.
    Wait,
    /// This period's read was begun without it.
    NextPeriod,
}

fn lane_of(origin: &Origin, entry: &Entry) -> Lane {
    match origin {
        Origin::Text(_) if entry.ended.as_ref().is_some_and(|(_, outcome)| outcome.is_err()) => Lane::Failing,
        Origin::Text(_) => Lane::Healthy,
        Origin::Usage { .. } | Origin::Custom { .. } | Origin::External { .. } => Lane::Api,
    }
}

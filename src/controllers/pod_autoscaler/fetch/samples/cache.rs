// SPDX-License-Identifier: Apache-2.0
//! Who wants what read, and what the reads of this period said. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use crate::{
    controllers::pod_autoscaler::snapshot::{Reading, SampleError, Samples},
    engine::exposition::Query,
};
use kube_fenced_election::clock::{Instant, Timestamp};
use kube_loops::runtime::{
    reconciler::Key,
    requests::{
        Job, Lane, RequestScheduler, Slow,
        runner::{Now, RequestBook},
    },
};

use super::wanted::{Item, Origin, Outcome, Value, Wanted};

/// A read that takes longer is slow: it leaves its lane, and the origin's next one does not begin there.
pub(super) const SLOW_AFTER: Duration = Duration::from_secs(1);
/// An origin that was never read waits this long, so that all autoscalers of a new term have said which
/// families they want before the only read of the period.
const GATHER: Duration = Duration::from_millis(100);
/// Periods that something unasked for is kept.
const KEEP_PERIODS: u64 = 3;

/// Lanes. First, pods and endpoints that answered soon last time, or were never asked.
pub(super) const HEALTHY: usize = 0;
/// Those that did not answer last time, or took long, and whatever takes long now.
pub(super) const SLOW: usize = 1;
/// The API server.
pub(super) const API: usize = 2;
/// Reads under way at most, by lane.
pub(super) const AT_ONCE: [usize; 3] = [128, 512, 16];

fn lanes(time_limit: Duration) -> [Lane; 3] {
    let lane = |at_once, slow| Lane { at_once, per_host: usize::MAX, time_limit, slow };
    let slow = Some(Slow { after: SLOW_AFTER, lane: SLOW });
    [lane(AT_ONCE[HEALTHY], slow), lane(AT_ONCE[SLOW], None), lane(AT_ONCE[API], slow)]
}

/// A read to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::controllers::pod_autoscaler) struct Scrape {
    pub(super) origin: Arc<Origin>,
    /// Series to keep; sorted.
    pub(super) queries: BTreeSet<Arc<Query>>,
}

/// A read that began in `period` and keeps `queries`.
#[derive(Debug, Clone)]
struct Read {
    period: u64,
    queries: BTreeSet<Arc<Query>>,
}

impl Read {
    fn keeps(&self, item: &Item) -> bool {
        item.pick.queries().iter().all(|query| self.queries.contains(query))
    }
}

#[derive(Debug, Default)]
struct Entry {
    /// The read under way.
    running: Option<Read>,
    /// The last read that ended.
    ended: Option<(Read, Outcome)>,
    /// That one took long, or brought nothing.
    slow: bool,
    /// Since when a read is due that was not sent yet: those that got no place in a period come first in the next.
    due: Option<Instant>,
    /// Wanted series, and the period that last wanted them.
    wanted: BTreeMap<Arc<Query>, u64>,
    /// Period that last asked.
    asked: u64,
}

#[derive(Debug)]
struct Round {
    period: u64,
    about: Arc<str>,
    wanted: Vec<Wanted>,
    pending: bool,
    /// When it was complete, until its autoscaler has got it.
    closed: Option<Instant>,
    /// `None`: something wanted was not kept by this period's read, so this round never completes and
    /// the next period has to do.
    deadline: Option<Instant>,
    complete: Option<(Timestamp, Vec<Reading>)>,
}

/// Measurements of one term.
#[derive(Debug)]
pub(in crate::controllers::pod_autoscaler) struct MetricsCache {
    /// Length of a period.
    length: Duration,
    /// How long after it was asked for a round counts what is missing as failed.
    round_limit: Duration,
    /// Number of the period under way; 0 before the first one.
    period: u64,
    began: Option<Instant>,
    /// Each autoscaler watches what its round still misses.
    requests: RequestScheduler<Origin>,
    entries: HashMap<Arc<Origin>, Entry>,
    rounds: HashMap<Key, Round>,
    deadlines: BTreeSet<(Instant, Key)>,
}

impl MetricsCache {
    /// An empty cache with periods of about this length, and reads that may take so long. The first question begins
    /// the first period.
    pub(in crate::controllers::pod_autoscaler) fn new(length: Duration, longest_read: Duration) -> Self {
        Self {
            length,
            // Reads that had to wait for a place have half of what is left besides, until the next period may begin.
            round_limit: longest_read + length.mul_f64(0.9).saturating_sub(longest_read) / 2,
            period: 0,
            began: None,
            requests: RequestScheduler::new(&lanes(longest_read), |_| ""),
            entries: HashMap::new(),
            rounds: HashMap::new(),
            deadlines: BTreeSet::new(),
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

    /// Asks for this period's round of `wanted` for the autoscaler `key`, and answers at once with the last
    /// complete one about the same thing. `pending`: a round is not complete yet; `key` is woken when it is. A round
    /// that is still under way when the next period begins is awaited, and answered with, before the next one.
    pub(in crate::controllers::pod_autoscaler) fn ask(
        &mut self,
        key: &Key,
        about: &str,
        wanted: Vec<Wanted>,
        now: Now,
    ) -> Samples {
        self.advance(now.instant);
        let period = self.period;
        let current = self.rounds.get(key).is_some_and(|round| {
            let is_under_way = round.pending && round.deadline.is_some();
            // Its autoscaler was woken for it, and the next period has begun meanwhile.
            let is_news = |at: Instant| now.instant.saturating_duration_since(at) < self.length / 4;
            let is_late = is_under_way || round.closed.is_some_and(is_news);
            *round.about == *about && (round.period == period || is_late)
        });
        if !current {
            self.open(key, about, wanted, now);
        }
        let Some(round) = self.rounds.get_mut(key) else { return Samples::default() };
        round.closed = None;
        let (taken, sources) = match &round.complete {
            Some((taken, readings)) => (Some(*taken), readings.clone()),
            None => (None, Vec::new()),
        };
        Samples { taken, pending: round.pending, sources }
    }

    /// Drops what is known for an autoscaler.
    pub(in crate::controllers::pod_autoscaler) fn forget(&mut self, key: &Key) {
        self.requests.watch(key, []);
        self.take_round(key);
    }

    fn take_round(&mut self, key: &Key) -> Option<Round> {
        let round = self.rounds.remove(key)?;
        if let Some(deadline) = round.deadline {
            self.deadlines.remove(&(deadline, key.clone()));
        }
        Some(round)
    }

    fn open(&mut self, key: &Key, about: &str, wanted: Vec<Wanted>, now: Now) {
        let before = self.take_round(key).filter(|round| *round.about == *about);
        let (mut missing, mut next_period) = (BTreeSet::new(), false);
        for item in wanted.iter().flat_map(Wanted::items) {
            match self.want(item) {
                Need::Met => {}
                Need::Wait(origin) => drop(missing.insert(origin)),
                Need::NextPeriod => next_period = true,
            }
        }
        if next_period {
            missing.clear();
        }
        self.requests.watch(key, missing.iter().map(Arc::clone));
        let done = !next_period && missing.is_empty();
        for origin in &missing {
            self.request(origin, now.instant);
        }
        let deadline = (!next_period).then(|| now.instant + self.round_limit);
        self.deadlines.extend(deadline.map(|deadline| (deadline, key.clone())));
        let (period, complete) = (self.period, before.and_then(|round| round.complete));
        let (about, pending, closed) = (about.into(), true, None);
        let round = Round { period, about, wanted, pending, closed, deadline, complete };
        self.rounds.insert(key.clone(), round);
        if done {
            self.close(key, now);
        }
    }

    /// Notes that `item` is wanted.
    fn want(&mut self, item: &Item) -> Need {
        let period = self.period;
        let known = self.entries.get_key_value(&item.origin).map(|(known, _)| Arc::clone(known));
        let origin = known.unwrap_or_else(|| Arc::new(item.origin.clone()));
        let entry = self.entries.entry(Arc::clone(&origin)).or_default();
        entry.asked = period;
        for query in item.pick.queries() {
            entry.wanted.insert(Arc::new(query.clone()), period);
        }
        let is_current = |read: &&Read| read.period == period;
        if let Some(read) = entry.ended.as_ref().map(|(read, _)| read).filter(is_current) {
            return if read.keeps(item) { Need::Met } else { Need::NextPeriod };
        }
        match entry.running.as_ref().filter(is_current) {
            Some(read) if !read.keeps(item) => Need::NextPeriod,
            _ => Need::Wait(origin),
        }
    }

    /// Makes a read due, unless one is. After one that is under way another follows if somebody still waits then.
    fn request(&mut self, origin: &Arc<Origin>, now: Instant) {
        let Some(entry) = self.entries.get_mut(origin) else { return };
        if !self.requests.is_scheduled(origin) {
            let due = if entry.ended.is_none() { now + GATHER } else { now };
            let due = *entry.due.get_or_insert(due);
            self.requests.schedule(Arc::clone(origin), lane_of(origin, entry), due);
        }
    }

    /// Ends the round of an autoscaler with what is there.
    fn close(&mut self, key: &Key, now: Now) {
        for origin in self.requests.watch(key, []) {
            self.give_up(&origin);
        }
        let Some(round) = self.rounds.get_mut(key) else { return };
        if let Some(deadline) = round.deadline {
            self.deadlines.remove(&(deadline, key.clone()));
        }
        let outcome_of = |origin: &Origin| {
            let (read, outcome) = self.entries.get(origin)?.ended.as_ref()?;
            (read.period >= round.period).then(|| outcome.clone())
        };
        let readings = round.wanted.iter().map(|wanted| wanted.reading(outcome_of)).collect();
        (round.pending, round.complete) = (false, Some((now.wall, readings)));
        round.closed = Some(now.instant);
    }

    /// Ends the read that is under way, if nobody waits for it any more: it would delay that of the next period.
    fn give_up(&mut self, origin: &Arc<Origin>) {
        if self.requests.is_watched(origin) {
            return;
        }
        let Some(entry) = self.entries.get_mut(origin) else { return };
        if let Some(read) = entry.running.take() {
            self.requests.abort(origin);
            (entry.ended, entry.slow) = (Some((read, Err(late(origin)))), true);
        }
    }

    fn sweep(&mut self) {
        let (period, requests) = (self.period, &self.requests);
        let recent = |asked: u64| asked.saturating_add(KEEP_PERIODS) >= period;
        self.entries.retain(|origin, entry| requests.is_scheduled(origin) || recent(entry.asked));
        let old = self.rounds.iter().filter(|(_, round)| !recent(round.period));
        let old: Vec<Key> = old.map(|(key, _)| key.clone()).collect();
        for key in &old {
            self.forget(key);
        }
    }

    /// Origins and rounds that are held.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.entries.len(), self.rounds.len())
    }
}

impl RequestBook for MetricsCache {
    type Request = Scrape;
    type Answer = Result<Value, SampleError>;

    fn next(&mut self, now: Instant) -> Option<Job<Scrape>> {
        let job = self.requests.next(now)?;
        let (origin, period) = (Arc::clone(&job.request), self.period);
        let entry = self.entries.entry(Arc::clone(&origin)).or_default();
        entry.wanted.retain(|_, asked| asked.saturating_add(1) >= period);
        let queries: BTreeSet<Arc<Query>> = entry.wanted.keys().map(Arc::clone).collect();
        (entry.running, entry.due) = (Some(Read { period, queries: queries.clone() }), None);
        Some(job.map(|_| Scrape { origin, queries }))
    }

    /// The end of a round, or of the time of gathering.
    fn next_moment(&self) -> Option<Instant> {
        let deadline = self.deadlines.first().map(|(deadline, _)| *deadline);
        self.requests.next_moment().into_iter().chain(deadline).min()
    }

    /// Answers with the autoscalers whose rounds the read completes, in order.
    fn ended(
        &mut self,
        number: u64,
        scrape: Scrape,
        answer: Option<Result<Value, SampleError>>,
        now: Now,
    ) -> Vec<Key> {
        let origin = &scrape.origin;
        let Some(since) = self.requests.ended(origin, number) else { return Vec::new() };
        let Some(entry) = self.entries.get_mut(origin) else { return Vec::new() };
        let Some(read) = entry.running.take() else { return Vec::new() };
        let outcome = answer.unwrap_or_else(|| Err(late(origin))).map(Arc::new);
        let period = read.period;
        entry.slow = outcome.is_err() || now.instant.saturating_duration_since(since) > SLOW_AFTER;
        entry.ended = Some((read, outcome));
        let mut complete = Vec::new();
        for key in self.requests.unwatch_all(origin) {
            // Asked for in a later period than this read began in.
            if self.rounds.get(&key).is_some_and(|round| round.period > period) {
                self.requests.also_watch(&key, Arc::clone(origin));
                self.request(origin, now.instant);
            } else if !self.requests.is_watching(&key) {
                self.close(&key, now);
                complete.push(key);
            }
        }
        complete
    }

    fn overdue(&mut self, now: Now) -> Vec<Key> {
        let over = self.deadlines.iter().take_while(|(deadline, _)| *deadline <= now.instant);
        let over: Vec<Key> = over.map(|(_, key)| key.clone()).collect();
        for key in &over {
            self.close(key, now);
        }
        over
    }
}

enum Need {
    /// This period's read has it.
    Met,
    /// A read is due or under way, or has to be.
    Wait(Arc<Origin>),
    /// This period's read was begun without it.
    NextPeriod,
}

fn late(origin: &Origin) -> SampleError {
    SampleError(format!("{origin}: no answer in time"))
}

fn lane_of(origin: &Origin, entry: &Entry) -> usize {
    match origin {
        Origin::Text(_) if entry.slow => SLOW,
        Origin::Text(_) => HEALTHY,
        Origin::Usage { .. } | Origin::Custom { .. } | Origin::External { .. } => API,
    }
}

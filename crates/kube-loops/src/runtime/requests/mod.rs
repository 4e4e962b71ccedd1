// SPDX-License-Identifier: Apache-2.0
//! Requests that a loop sends beside its passes, to pods for instance: which are due, and who waits for them.
//!
//! Promised by [`RequestScheduler`], which is pure:
//! - Never more requests under way than the bounds of a lane allow, in all and for one host, and never two for one
//!   key.
//! - A request that takes long leaves its lane for another one, where there is such a lane and room in it.
//! - Inside a lane those that are due longest come first; a host that is full holds up nobody else.
//! - An aborted request never reports, and if it was not sent yet, it never is.
//! - A waiting request is dropped when the last of its watchers leaves. Nothing is kept of a key that has no
//!   watcher and no request.
//!
//! [`runner`] sends what it schedules. Absent: what a request asks and what its answer means.

pub mod runner;
#[cfg(test)]
mod runner_tests;
#[cfg(test)]
mod scheduler_tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use futures::future::{AbortHandle, AbortRegistration};
use kube_fenced_election::clock::Instant;

use super::reconciler::Key;

/// Requests that share bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lane {
    /// Requests under way at most.
    pub at_once: usize,
    /// Requests under way at most for one host.
    pub per_host: usize,
    /// Longest time of a request.
    pub time_limit: Duration,
    /// What becomes of those that take long; `None`: they stay.
    pub slow: Option<Slow>,
}

/// Requests that leave a lane, so that they hold up nobody who is quick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slow {
    /// How long they have been under way then.
    pub after: Duration,
    /// Index of the lane that they count for from then on, if it has room.
    pub lane: usize,
}

/// A request to send now.
#[derive(Debug)]
pub struct Job<R> {
    /// Tells it apart.
    pub number: u64,
    /// Index of its lane.
    pub lane: usize,
    /// What to send.
    pub request: R,
    /// It has no answer if there is none until then.
    pub deadline: Instant,
    /// Registered with the scheduler already: an abort from now on is an abort of this job.
    pub aborted: AbortRegistration,
}

/// Keys with a moment when their request is due. `W` is what is remembered for each watcher of a key.
#[derive(Debug)]
pub struct RequestScheduler<K, W = ()> {
    lanes: Vec<LaneState<K>>,
    requests: HashMap<Arc<K>, Request<W>>,
    watching: HashMap<Arc<Key>, HashSet<Arc<K>>>,
    host: fn(&K) -> &str,
    numbers: u64,
}

#[derive(Debug)]
struct LaneState<K> {
    bounds: Lane,
    waiting: BTreeMap<Place, Arc<K>>,
    /// By the moment when they were sent.
    under_way: BTreeMap<Place, Arc<K>>,
    hosts: HashMap<Box<str>, usize>,
}

/// When a request is due, or was sent, and its number: the order inside a lane.
type Place = (Instant, u64);

#[derive(Debug)]
struct Request<W> {
    watchers: HashMap<Arc<Key>, W>,
    waiting: Option<(usize, Place)>,
    under_way: Option<UnderWay>,
}

#[derive(Debug, Clone)]
struct UnderWay {
    number: u64,
    lane: usize,
    since: Instant,
    abort: AbortHandle,
}

impl<R> Job<R> {
    /// The same job, with what a loop sends for it.
    pub fn map<T>(self, request: impl FnOnce(R) -> T) -> Job<T> {
        let Self { number, lane, deadline, aborted, .. } = self;
        Job { number, lane, request: request(self.request), deadline, aborted }
    }
}

impl<K> LaneState<K> {
    fn has_room(&self) -> bool {
        self.under_way.len() < self.bounds.at_once
    }

    /// The request that has been under way longest, if it is to leave the lane.
    fn slowest(&self, now: Instant) -> Option<(Slow, Place, Arc<K>)> {
        let slow = self.bounds.slow?;
        let (place, key) = self.under_way.first_key_value()?;
        let is_slow = now.saturating_duration_since(place.0) >= slow.after;
        is_slow.then(|| (slow, *place, Arc::clone(key)))
    }
}

impl<W> Default for Request<W> {
    fn default() -> Self {
        Self { watchers: HashMap::new(), waiting: None, under_way: None }
    }
}

impl<K: Eq + Hash, W: Default> RequestScheduler<K, W> {
    /// No requests. Where two lanes have one that is due, the first lane comes first. `host`: whom a request
    /// burdens.
    pub fn new(lanes: &[Lane], host: fn(&K) -> &str) -> Self {
        let state = |bounds: &Lane| LaneState {
            bounds: *bounds,
            waiting: BTreeMap::new(),
            under_way: BTreeMap::new(),
            hosts: HashMap::new(),
        };
        let lanes = lanes.iter().map(state).collect();
        Self { lanes, requests: HashMap::new(), watching: HashMap::new(), host, numbers: 0 }
    }

    /// Makes a request due, in place of one that waits for the same key. While one is under way, the next waits
    /// for its end.
    pub fn schedule(&mut self, key: impl Into<Arc<K>>, lane: usize, due: Instant) {
        let key = self.shared(key.into());
        self.remove_waiting(&key);
        self.numbers = self.numbers.saturating_add(1);
        let place = (due, self.numbers);
        if let Some(state) = self.lanes.get_mut(lane) {
            state.waiting.insert(place, Arc::clone(&key));
            self.requests.entry(key).or_default().waiting = Some((lane, place));
        }
    }

    /// Drops the request that waits. One that is under way goes on.
    pub fn withdraw(&mut self, key: &K) {
        self.remove_waiting(key);
        self.tidy(key);
    }

    /// Drops the request that waits, and ends the one that is under way: it will not report.
    pub fn abort(&mut self, key: &K) {
        if let Some(under_way) = self.requests.get_mut(key).and_then(|request| request.under_way.take()) {
            under_way.abort.abort();
            self.leave_lane(key, &under_way);
        }
        self.withdraw(key);
    }

    /// From now on the watcher waits for exactly these keys. Returns those that it leaves.
    pub fn watch(&mut self, watcher: &Key, keys: impl IntoIterator<Item = Arc<K>>) -> Vec<Arc<K>> {
        let keys: HashSet<Arc<K>> = keys.into_iter().map(|key| self.shared(key)).collect();
        let before = self.watching.get(watcher).into_iter().flatten();
        let left: Vec<Arc<K>> = before.filter(|key| !keys.contains(*key)).map(Arc::clone).collect();
        for key in keys {
            self.also_watch(watcher, key);
        }
        for key in &left {
            self.unwatch(watcher, key);
        }
        left
    }

    /// From now on the watcher waits for this key, too.
    pub fn also_watch(&mut self, watcher: &Key, key: impl Into<Arc<K>>) {
        let key = self.shared(key.into());
        let known = self.watching.get_key_value(watcher).map(|(known, _)| Arc::clone(known));
        let watcher = known.unwrap_or_else(|| Arc::new(watcher.clone()));
        self.watching.entry(Arc::clone(&watcher)).or_default().insert(Arc::clone(&key));
        self.requests.entry(key).or_default().watchers.entry(watcher).or_default();
    }

    /// The watcher does not wait for this key any more.
    pub fn unwatch(&mut self, watcher: &Key, key: &K) {
        if let Some(keys) = self.watching.get_mut(watcher) {
            keys.remove(key);
            if keys.is_empty() {
                self.watching.remove(watcher);
            }
        }
        let Some(request) = self.requests.get_mut(key) else { return };
        if request.watchers.remove(watcher).is_some() && request.watchers.is_empty() {
            self.withdraw(key);
        }
    }

    /// Nobody waits for this key any more. Returns who did, sorted.
    pub fn unwatch_all(&mut self, key: &K) -> Vec<Key> {
        let watchers: Vec<_> = self.watchers(key).into_iter().map(|(watcher, _)| watcher).collect();
        for watcher in &watchers {
            self.unwatch(watcher, key);
        }
        watchers.into_iter().map(Arc::unwrap_or_clone).collect()
    }

    /// Whether anybody waits for a key.
    pub fn is_watched(&self, key: &K) -> bool {
        self.requests.get(key).is_some_and(|request| !request.watchers.is_empty())
    }

    /// Whether the watcher waits for anything.
    pub fn is_watching(&self, watcher: &Key) -> bool {
        self.watching.contains_key(watcher)
    }

    /// Who waits for a key, sorted, and what is remembered for each.
    pub fn watchers(&self, key: &K) -> Vec<(Arc<Key>, &W)> {
        let watchers = self.requests.get(key).into_iter().flat_map(|request| &request.watchers);
        let mut watchers: Vec<_> = watchers.map(|(key, told)| (Arc::clone(key), told)).collect();
        watchers.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        watchers
    }

    /// What is remembered for a watcher of a key; `None`: it is none.
    pub fn watcher_mut(&mut self, watcher: &Key, key: &K) -> Option<&mut W> {
        self.requests.get_mut(key)?.watchers.get_mut(watcher)
    }

    /// Lane of the request that waits, and when it is due; `None`: none waits.
    pub fn waiting(&self, key: &K) -> Option<(usize, Instant)> {
        self.requests.get(key)?.waiting.map(|(lane, (due, _))| (lane, due))
    }

    /// Whether a request is under way.
    pub fn is_under_way(&self, key: &K) -> bool {
        self.requests.get(key).is_some_and(|request| request.under_way.is_some())
    }

    /// Whether a request waits or is under way.
    pub fn is_scheduled(&self, key: &K) -> bool {
        self.waiting(key).is_some() || self.is_under_way(key)
    }

    /// The next request to send, if one is due and there is room.
    pub fn next(&mut self, now: Instant) -> Option<Job<Arc<K>>> {
        self.move_slow(now);
        let due = |lane: &LaneState<K>| self.first(lane).filter(|(due, _)| *due <= now);
        let found = self.lanes.iter().enumerate().find_map(|(index, lane)| Some((index, due(lane)?)));
        let (lane, place) = found?;
        let state = self.lanes.get_mut(lane)?;
        let (key, number) = (state.waiting.remove(&place)?, place.1);
        state.under_way.insert((now, number), Arc::clone(&key));
        *state.hosts.entry((self.host)(&key).into()).or_default() += 1;
        let (abort, aborted) = AbortHandle::new_pair();
        let request = self.requests.entry(Arc::clone(&key)).or_default();
        request.waiting = None;
        request.under_way = Some(UnderWay { number, lane, since: now, abort });
        Some(Job { number, lane, request: key, deadline: now + state.bounds.time_limit, aborted })
    }

    /// When the next request is due for which there is room; `None`: not before something has ended.
    pub fn next_moment(&self) -> Option<Instant> {
        let due = self.lanes.iter().filter_map(|lane| self.first(lane)).map(|(due, _)| due);
        due.chain(self.lanes.iter().filter_map(|lane| self.next_slow(lane))).min()
    }

    /// A job has ended. Returns since when it was under way; `None`: it was aborted, and its answer does not count.
    pub fn ended(&mut self, key: &K, number: u64) -> Option<Instant> {
        let request = self.requests.get_mut(key)?;
        let under_way = request.under_way.take_if(|it| it.number == number)?;
        self.leave_lane(key, &under_way);
        self.tidy(key);
        Some(under_way.since)
    }

    /// Keys that are known.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// The first request of a lane that has room.
    fn first(&self, lane: &LaneState<K>) -> Option<Place> {
        let has_room = |key: &K| lane.hosts.get((self.host)(key)).is_none_or(|it| *it < lane.bounds.per_host);
        let mut waiting = lane.waiting.iter().filter(|_| lane.has_room());
        waiting.find(|(_, key)| has_room(key) && !self.is_under_way(key)).map(|(place, _)| *place)
    }

    fn shared(&self, key: Arc<K>) -> Arc<K> {
        self.requests.get_key_value(&key).map_or(key, |(known, _)| Arc::clone(known))
    }

    fn remove_waiting(&mut self, key: &K) {
        let waiting = self.requests.get_mut(key).and_then(|request| request.waiting.take());
        if let Some((lane, place)) = waiting
            && let Some(state) = self.lanes.get_mut(lane)
        {
            state.waiting.remove(&place);
        }
    }

    /// When a request leaves a lane that is full, to make room for one that waits.
    fn next_slow(&self, lane: &LaneState<K>) -> Option<Instant> {
        let slow = lane.bounds.slow.filter(|_| !lane.waiting.is_empty() && !lane.has_room())?;
        let (since, _) = lane.under_way.keys().next().filter(|_| self.has_room(slow.lane))?;
        since.checked_add(slow.after)
    }

    fn has_room(&self, lane: usize) -> bool {
        self.lanes.get(lane).is_some_and(LaneState::has_room)
    }

    /// Moves requests that take long to the lanes for such.
    fn move_slow(&mut self, now: Instant) {
        for from in 0..self.lanes.len() {
            while let Some((slow, place, key)) = self.lanes.get(from).and_then(|lane| lane.slowest(now))
                && self.has_room(slow.lane)
            {
                let Some(under_way) = self.requests.get_mut(&key).and_then(|it| it.under_way.as_mut()) else {
                    break;
                };
                let before =
                    UnderWay { lane: std::mem::replace(&mut under_way.lane, slow.lane), ..under_way.clone() };
                self.leave_lane(&key, &before);
                if let Some(state) = self.lanes.get_mut(slow.lane) {
                    *state.hosts.entry((self.host)(&key).into()).or_default() += 1;
                    state.under_way.insert(place, key);
                }
            }
        }
    }

    fn leave_lane(&mut self, key: &K, under_way: &UnderWay) {
        let Some(state) = self.lanes.get_mut(under_way.lane) else { return };
        state.under_way.remove(&(under_way.since, under_way.number));
        match state.hosts.get_mut((self.host)(key)) {
            Some(requests) if *requests > 1 => *requests -= 1,
            _ => drop(state.hosts.remove((self.host)(key))),
        }
    }

    fn tidy(&mut self, key: &K) {
        let is_idle =
            |it: &Request<W>| it.watchers.is_empty() && it.waiting.is_none() && it.under_way.is_none();
        if self.requests.get(key).is_some_and(is_idle) {
            self.requests.remove(key);
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Calls to engines: which are due, under way, and what came of them. Pure; [`super::fetch::runner`] carries
//! them out.
//!
//! - One list per pod and token in a period, shared by all adapters that look at it.
//! - Never two changes at a time for one adapter on one pod.
//! - An engine that is silent delays nobody: lists of such engines have a lane of their own.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::engine::endpoint::Endpoint;
use kube_fenced_election::clock::{Instant, Timestamp};
use kube_loops::runtime::reconciler::Key;

use super::{
    PERIOD,
    calls::{Call, Ended, Job, Models, Order, Origin, What},
    load_retry::{LoadFailure, delay_after},
    snapshot::{Change, EngineSeen, Failed, Listed},
};

/// Lists under way at a time, of engines that answer and of those that did not last time.
const LISTS: usize = 192;
const SLOW_LISTS: usize = 128;
/// Changes under way at a time, in all and on one pod.
const CHANGES: usize = 384;
const CHANGES_ON_A_POD: usize = 8;
/// After a load that failed, the list tells whether it has worked all the same.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// All calls of one term.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    origins: HashMap<Arc<Origin>, Lists>,
    /// Lists by the moment when they are due, of engines that answer and of those that did not.
    due: BTreeMap<(Instant, u64), Arc<Origin>>,
    slow_due: BTreeMap<(Instant, u64), Arc<Origin>>,
    watching: HashMap<Key, Vec<Arc<Origin>>>,
    adapters: HashMap<Key, Adapter>,
    /// Changes that wait for room.
    orders: VecDeque<(u64, Arc<Order>)>,
    /// Changes under way.
    changes: HashMap<u64, Arc<Order>>,
    lists: usize,
    slow_lists: usize,
    next: u64,
}

/// What is known of the models of an origin.
#[derive(Debug)]
struct Lists {
    number: u64,
    state: State,
    slow: bool,
    failures: u32,
    models: Option<Result<BTreeSet<String>, String>>,
    /// Names that changes added or took since the list under way began.
    edits: Vec<(String, bool)>,
    watchers: HashMap<Key, Watcher>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Due(Instant),
    UnderWay { since: Instant },
}

/// Somebody who wants to know about one name.
#[derive(Debug)]
struct Watcher {
    name: String,
    /// What it has been told; `None`: nothing.
    told: Option<Fact>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    Has,
    Lacks,
    Failed,
}

#[derive(Debug, Default)]
struct Adapter {
    uid: Box<str>,
    pods: HashMap<Box<str>, Attempt>,
}

/// What this term did for one adapter on one pod.
#[derive(Debug, Default)]
struct Attempt {
    generation: Option<i64>,
    ready_since: Option<Timestamp>,
    failures: u32,
    error: Option<String>,
    retry_at: Option<Instant>,
    call: Option<(u64, Change)>,
    /// From what the load is made that was ordered last.
    loading: Option<Arc<str>>,
    loaded: Option<Arc<str>>,
    unloaded: Option<bool>,
    /// When the engine said that it has loaded it, and from what; `None`: a list has shown it since.
    claimed: Option<(Instant, Arc<str>)>,
    /// It said so before, and it was not so: its list is believed from now on, and nothing else.
    lied: bool,
}

/// Whom a question is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The adapter.
    pub(super) key: &'a Key,
    /// Its uid.
    pub(super) uid: &'a str,
    /// Generation of its spec.
    pub(super) generation: Option<i64>,
    /// Uid of the pod.
    pub(super) pod: &'a str,
    /// Since when it is ready.
    pub(super) ready_since: Option<Timestamp>,
    /// Where it is asked; `None`: it cannot be.
    pub(super) endpoint: Option<&'a Endpoint>,
}

impl Ledger {
    /// From now on the adapter looks at exactly these origins. Unknown ones are asked at once.
    pub(super) fn watch(&mut self, key: &Key, origins: impl IntoIterator<Item = Origin>, now: Instant) {
        let wanted: Vec<Arc<Origin>> = origins.into_iter().map(|origin| self.known(origin, now)).collect();
        let before = self.watching.insert(key.clone(), wanted.clone()).unwrap_or_default();
        for origin in &wanted {
            if let Some(lists) = self.origins.get_mut(origin) {
                lists
                    .watchers
                    .entry(key.clone())
                    .or_insert_with(|| Watcher { name: key.name.clone(), told: None });
            }
        }
        for origin in before.iter().filter(|origin| !wanted.contains(origin)) {
            self.unwatch(key, origin);
        }
        if wanted.is_empty() {
            self.watching.remove(key);
        }
    }

    fn known(&mut self, origin: Origin, now: Instant) -> Arc<Origin> {
        if let Some((known, _)) = self.origins.get_key_value(&origin) {
            return Arc::clone(known);
        }
        let origin = Arc::new(origin);
        let number = self.number();
        let lists = Lists {
            number,
            state: State::Due(now),
            slow: false,
            failures: 0,
            models: None,
            edits: Vec::new(),
            watchers: HashMap::new(),
        };
        self.due.insert((now, number), Arc::clone(&origin));
        self.origins.insert(Arc::clone(&origin), lists);
        origin
    }

    fn unwatch(&mut self, key: &Key, origin: &Arc<Origin>) {
        let Some(lists) = self.origins.get_mut(origin) else { return };
        lists.watchers.remove(key);
        let attempt = self.adapters.get_mut(key).and_then(|adapter| adapter.pods.get_mut(&origin.pod));
        if let Some(attempt) = attempt.filter(|attempt| attempt.is_unconfirmed()) {
            // Nobody will look whether it is so.
            (attempt.call, attempt.claimed) = (None, None);
        }
        if !lists.watchers.is_empty() {
            return;
        }
        // A list that is under way ends in nothing.
        if let Some(lists) = self.origins.remove(origin)
            && let State::Due(at) = lists.state
        {
            self.due.remove(&(at, lists.number));
            self.slow_due.remove(&(at, lists.number));
        }
    }

    /// What is known about an adapter on a pod. Its watcher has been told that then.
    pub(super) fn seen(&mut self, asked: Asked<'_>, now: Instant) -> EngineSeen {
        let listed = asked.endpoint.map(|endpoint| self.listed(&asked, endpoint, now)).unwrap_or_default();
        let adapter = self.adapters.get(asked.key).filter(|adapter| *adapter.uid == *asked.uid);
        let Some(attempt) = adapter.and_then(|adapter| adapter.pods.get(asked.pod)) else {
            return EngineSeen { listed, ..EngineSeen::default() };
        };
        // Another spec, or a pod that has become ready anew, is another chance.
        let counts = attempt.generation == asked.generation && attempt.ready_since == asked.ready_since;
        let failed = attempt.error.clone().filter(|_| counts).map(|error| Failed {
            error,
            failures: attempt.failures,
            retry_in: attempt.retry_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now)),
        });
        EngineSeen {
            listed,
            call: attempt.call.map(|(_, change)| change),
            loading: attempt.call.and_then(|_| attempt.loading.clone()),
            failed,
            loaded: attempt.loaded.clone(),
            unloaded: attempt.unloaded,
        }
    }

    fn listed(&mut self, asked: &Asked<'_>, endpoint: &Endpoint, now: Instant) -> Listed {
        let origin = Origin { pod: asked.pod.into(), endpoint: endpoint.clone() };
        let Some(lists) = self.origins.get_mut(&origin) else { return Listed::Unknown };
        let fact = lists.fact(&asked.key.name);
        if let Some(watcher) = lists.watchers.get_mut(asked.key) {
            watcher.told = fact;
        }
        match &lists.models {
            None => Listed::Unknown,
            Some(Ok(models)) => Listed::Known(models.contains(&asked.key.name)),
            Some(Err(error)) => Listed::Failed(Failed {
                error: error.clone(),
                failures: lists.failures,
                retry_in: match lists.state {
                    State::Due(at) => at.saturating_duration_since(now),
                    State::UnderWay { .. } => PERIOD,
                },
            }),
        }
    }

    /// Uids of the pods that this term had to do with for the adapter.
    pub(super) fn touched(&self, key: &Key, uid: &str) -> Vec<Box<str>> {
        let adapter = self.adapters.get(key).filter(|adapter| *adapter.uid == *uid);
        adapter.into_iter().flat_map(|adapter| adapter.pods.keys().cloned()).collect()
    }

    /// Forgets what was done on pods that are gone.
    pub(super) fn retain(&mut self, key: &Key, exists: impl Fn(&str) -> bool) {
        if let Some(adapter) = self.adapters.get_mut(key) {
            adapter.pods.retain(|pod, attempt| attempt.call.is_some() || exists(pod));
        }
    }

    /// The adapter is gone.
    pub(super) fn forget(&mut self, key: &Key) {
        for origin in self.watching.remove(key).unwrap_or_default() {
            self.unwatch(key, &origin);
        }
        self.adapters.remove(key);
        self.orders.retain(|(_, order)| order.key != *key);
    }

    /// Orders a change. An unload takes the place of a load that is under way, whose number is returned:
    /// abort it. Any other change beside one under way is not ordered.
    pub(super) fn order(&mut self, order: Order) -> Option<u64> {
        let number = self.number();
        let adapter = self.adapters.entry(order.key.clone()).or_default();
        if adapter.uid != order.uid {
            *adapter = Adapter { uid: order.uid.clone(), pods: HashMap::new() };
        }
        let attempt = adapter.pods.entry(order.origin.pod.clone()).or_default();
        let change = order.what.change();
        let aborted = match attempt.call {
            Some((under_way, Change::Load)) if change == Change::Unload => Some(under_way),
            Some(_) => return None,
            None => None,
        };
        if attempt.generation != order.generation || attempt.ready_since != order.ready_since {
            (attempt.failures, attempt.error, attempt.retry_at) = (0, None, None);
            (attempt.generation, attempt.ready_since) = (order.generation, order.ready_since);
        }
        attempt.call = Some((number, change));
        attempt.loading = match &order.what {
            What::Load { source, .. } => Some(Arc::clone(&source.hash)),
            What::Unload => None,
        };
        // What was said before this change proves nothing after it.
        attempt.claimed = None;
        if change == Change::Load {
            attempt.unloaded = None;
        }
        if let Some(aborted) = aborted {
            self.changes.remove(&aborted);
            self.orders.retain(|(number, _)| *number != aborted);
        }
        self.orders.push_back((number, Arc::new(order)));
        aborted
    }

    /// The next call to make, if any is due and there is room.
    pub(super) fn next_job(&mut self, now: Instant) -> Option<Job> {
        self.next_change().or_else(|| self.next_list(false, now)).or_else(|| self.next_list(true, now))
    }

    fn next_change(&mut self) -> Option<Job> {
        if self.changes.len() >= CHANGES {
            return None;
        }
        let on = |pod: &str| self.changes.values().filter(|order| *order.origin.pod == *pod).count();
        let at = self.orders.iter().position(|(_, order)| on(&order.origin.pod) < CHANGES_ON_A_POD)?;
        let (number, order) = self.orders.remove(at)?;
        self.changes.insert(number, Arc::clone(&order));
        Some(Job { number, call: Call::Change(order) })
    }

    fn next_list(&mut self, slow: bool, now: Instant) -> Option<Job> {
        let (due, under_way, room) = if slow {
            (&mut self.slow_due, &mut self.slow_lists, SLOW_LISTS)
        } else {
            (&mut self.due, &mut self.lists, LISTS)
        };
        if *under_way >= room || due.first_key_value()?.0.0 > now {
            return None;
        }
        let ((_, number), origin) = due.pop_first()?;
        *under_way += 1;
        if let Some(lists) = self.origins.get_mut(&origin) {
            lists.state = State::UnderWay { since: now };
            lists.edits.clear();
        }
        Some(Job { number, call: Call::List { origin, slow } })
    }

    /// When the next list is due for which there is room; `None`: when something else has ended.
    pub(super) fn next_moment(&self) -> Option<Instant> {
        let first = |due: &BTreeMap<(Instant, u64), Arc<Origin>>| due.keys().next().map(|(at, _)| *at);
        let fast = first(&self.due).filter(|_| self.lists < LISTS);
        let slow = first(&self.slow_due).filter(|_| self.slow_lists < SLOW_LISTS);
        fast.into_iter().chain(slow).min()
    }

    /// A list that was started in a lane has ended. Returns the adapters to which it brings news.
    pub(super) fn listed_all(
        &mut self,
        number: u64,
        origin: &Arc<Origin>,
        slow: bool,
        models: Models,
        now: Instant,
    ) -> Vec<Key> {
        let lane = if slow { &mut self.slow_lists } else { &mut self.lists };
        *lane = lane.saturating_sub(1);
        let Some(lists) = self.origins.get_mut(origin).filter(|lists| lists.number == number) else {
            return Vec::new();
        };
        let since = match lists.state {
            State::UnderWay { since } => since,
            State::Due(_) => now,
        };
        let proofs: Vec<(Key, Result<bool, String>)> = match &models {
            Models::Known(names) => {
                let shows = |key: &Key| names.contains(&key.name);
                lists.watchers.keys().map(|key| (key.clone(), Ok(shows(key)))).collect()
            }
            Models::Unknown { error, .. } => {
                lists.watchers.keys().map(|key| (key.clone(), Err(error.clone()))).collect()
            }
        };
        let wait = match models {
            Models::Known(names) => {
                let mut names: BTreeSet<String> = names.into_iter().collect();
                for (name, added) in lists.edits.drain(..) {
                    if added {
                        names.insert(name)
                    } else {
                        names.remove(&name)
                    };
                }
                lists.models = Some(Ok(names));
                (lists.failures, lists.slow) = (0, false);
                PERIOD.saturating_sub(now.saturating_duration_since(since))
            }
            Models::Unknown { error, silent } => {
                lists.models = Some(Err(error));
                lists.failures = lists.failures.saturating_add(1);
                lists.slow = silent;
                delay_after(LoadFailure::Transient, lists.failures)
            }
        };
        let due = now + wait;
        lists.state = State::Due(due);
        let lane = if lists.slow { &mut self.slow_due } else { &mut self.due };
        lane.insert((due, number), Arc::clone(origin));
        let mut news = lists.news();
        for (key, proof) in proofs {
            let adapter = self.adapters.get_mut(&key);
            let attempt = adapter.and_then(|adapter| adapter.pods.get_mut(&origin.pod));
            if attempt.is_some_and(|attempt| attempt.prove(proof, since, now)) && !news.contains(&key) {
                news.push(key);
            }
        }
        news
    }

    /// A change has ended. Returns the adapters to which that is news.
    pub(super) fn changed(&mut self, number: u64, order: &Order, ended: &Ended, now: Instant) -> Vec<Key> {
        self.changes.remove(&number);
        let Some(adapter) = self.adapters.get_mut(&order.key) else { return Vec::new() };
        let Some(attempt) = adapter.pods.get_mut(&order.origin.pod) else { return Vec::new() };
        if attempt.call.is_none_or(|(under_way, _)| under_way != number) {
            return Vec::new();
        }
        attempt.call = None;
        match (&order.what, ended) {
            (What::Load { source, .. }, Ended::Well) => {
                attempt.claimed = Some((now, Arc::clone(&source.hash)));
                if attempt.lied {
                    attempt.call = Some((number, Change::Load));
                    self.look_again(order, now);
                    return Vec::new();
                }
                (attempt.failures, attempt.error, attempt.retry_at) = (0, None, None);
                (attempt.loaded, attempt.unloaded) = (Some(Arc::clone(&source.hash)), None);
                self.edit(order, true);
            }
            (What::Load { reload, .. }, Ended::Badly { kind, error, .. }) => {
                attempt.failures = attempt.failures.saturating_add(1);
                attempt.error = Some(error.clone());
                attempt.retry_at = Some(now + delay_after(*kind, attempt.failures));
                if *reload {
                    attempt.loaded = None;
                    self.edit(order, false);
                }
                self.look_again(order, now);
            }
            // An engine that answers anything but yes does not know the adapter: there is nothing to unload.
            (What::Unload, Ended::Well | Ended::Badly { answered: true, .. }) => {
                (attempt.loaded, attempt.unloaded) = (None, Some(true));
                (attempt.failures, attempt.error, attempt.retry_at) = (0, None, None);
                self.edit(order, false);
            }
            (What::Unload, Ended::Badly { .. }) => {
                attempt.unloaded = Some(false);
                self.look_again(order, now);
            }
        }
        vec![order.key.clone()]
    }

    /// Writes what a change did into what is known of the pod.
    fn edit(&mut self, order: &Order, added: bool) {
        let name = &order.key.name;
        // Whatever token was used: it is one engine.
        let lists = self.origins.iter_mut().filter(|(origin, _)| origin.pod == order.origin.pod);
        for (_, lists) in lists {
            if let Some(Ok(models)) = &mut lists.models {
                if added {
                    models.insert(name.clone())
                } else {
                    models.remove(name)
                };
            }
            if matches!(lists.state, State::UnderWay { .. }) {
                lists.edits.push((name.clone(), added));
            }
        }
    }

    /// Lists the models of a pod soon: nobody knows what a change has done.
    fn look_again(&mut self, order: &Order, now: Instant) {
        let Some((origin, lists)) = self.origins.get_key_value(&order.origin) else { return };
        let (origin, number, slow) = (Arc::clone(origin), lists.number, lists.slow);
        let State::Due(at) = lists.state else { return };
        let sooner = now + LOOK_AGAIN;
        if sooner >= at || slow {
            return;
        }
        self.due.remove(&(at, number));
        self.due.insert((sooner, number), Arc::clone(&origin));
        if let Some(lists) = self.origins.get_mut(&origin) {
            lists.state = State::Due(sooner);
        }
    }

    fn number(&mut self) -> u64 {
        self.next = self.next.saturating_add(1);
        self.next
    }
}

impl Lists {
    fn fact(&self, name: &str) -> Option<Fact> {
        match self.models.as_ref()? {
            Ok(models) if models.contains(name) => Some(Fact::Has),
            Ok(_) => Some(Fact::Lacks),
            Err(_) => Some(Fact::Failed),
        }
    }

    /// Watchers that have not been told what is so now.
    fn news(&self) -> Vec<Key> {
        let is_news = |watcher: &Watcher| {
            let fact = self.fact(&watcher.name);
            // That an engine fails again may be one step of the back-off more.
            fact != watcher.told || fact == Some(Fact::Failed)
        };
        let news = self.watchers.iter().filter(|(_, watcher)| is_news(watcher));
        news.map(|(key, _)| key.clone()).collect()
    }
}

impl Attempt {
    /// Whether a load has ended well by the word of an engine whose word is not taken.
    fn is_unconfirmed(&self) -> bool {
        self.lied && self.claimed.is_some() && matches!(self.call, Some((_, Change::Load)))
    }

    /// Compares what an engine said with a list that was asked for at `since`. Returns whether that is news.
    fn prove(&mut self, listed: Result<bool, String>, since: Instant, now: Instant) -> bool {
        let waits = self.is_unconfirmed();
        let Some((_, hash)) = self.claimed.take_if(|(at, _)| *at <= since) else { return false };
        let is_known = listed.is_ok();
        let error = match listed {
            Ok(true) => {
                self.lied = false;
                if waits {
                    (self.call, self.loaded, self.unloaded) = (None, Some(hash), None);
                    (self.failures, self.error, self.retry_at) = (0, None, None);
                }
                return waits;
            }
            Ok(false) => "the engine said that it has loaded the adapter, and does not list it".to_owned(),
            Err(error) => error,
        };
        if waits {
            self.call = None;
            self.failures = self.failures.saturating_add(1);
            self.error = Some(error);
            self.retry_at = Some(now + delay_after(LoadFailure::Transient, self.failures));
        }
        if waits || is_known {
            // It may have restarted in between: that is not held against it, but seen.
            (self.lied, self.loaded) = (true, None);
        }
        waits
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What this term did to engines, which changes are due or under way, and what engines say about it. Pure.
//!
//! - Never two changes at a time for one adapter on one pod.
//! - The word of an engine that it has loaded an adapter is no news: the list that is asked for right after it is.
//! - Only the word of engines whose lists never show any adapter is taken, until the pod becomes ready anew: of
//!   `SGLang`, whose older releases are like that, and of whoever says so twice.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::engine::endpoint::Endpoint;
use kube_fenced_election::clock::{Instant, Timestamp};
use kube_loops::runtime::{
    reconciler::Key,
    requests::{
        Job, Lane, RequestScheduler,
        runner::{Now, RequestBook, Requests},
    },
};

use super::{
    attempt::{self, Attempt, Heard, ListSaid},
    calls::{Answer, Call, Ended, Models, Order, Origin, What},
    load_retry::LoadFailure,
    model_lists::{Entry, ModelLists},
    presence::Room,
    snapshot::{Change, EngineSeen},
};

/// A load may have to read a Secret and to unload before; each step has a shorter time limit of its own.
const CHANGES: Lane = Lane { at_once: 384, per_host: 8, time_limit: Duration::from_mins(10), slow: None };

/// After a load that failed, the list tells whether it has worked all the same.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The calls to engines of one term.
pub(super) type EngineCalls = Requests<LoadTracker>;

/// An adapter on a pod, by the pod's uid.
type Slot = (Key, Box<str>);

/// All that one term knows of engines.
#[derive(Debug)]
pub(super) struct LoadTracker {
    lists: ModelLists,
    changes: RequestScheduler<Slot>,
    adapters: HashMap<Key, Adapter>,
    /// What engines have room for, by the uid of the pod, where one has pushed an adapter out.
    rooms: HashMap<Box<str>, Room>,
}

#[derive(Debug, Default)]
struct Adapter {
    uid: Box<str>,
    /// This term wrote to it first: nobody can have loaded anything for it before.
    is_new: bool,
    pods: HashMap<Box<str>, Attempt>,
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
    /// From where it must have been loaded, unless this term has loaded it; `None`: from wherever.
    pub(super) root: Option<&'a str>,
    /// An earlier term took the word of the engine.
    pub(super) vouched: bool,
}

impl Default for LoadTracker {
    fn default() -> Self {
        let changes = RequestScheduler::new(&[CHANGES], |slot: &Slot| &slot.1);
        Self { lists: ModelLists::default(), changes, adapters: HashMap::new(), rooms: HashMap::new() }
    }
}

impl LoadTracker {
    /// From now on the adapter looks at the lists of exactly these origins.
    pub(super) fn watch(&mut self, key: &Key, origins: impl IntoIterator<Item = Origin>, now: Instant) {
        for origin in self.lists.watch(key, origins, now) {
            let attempt = attempt_of(&mut self.adapters, key, &origin.pod);
            if let Some(attempt) = attempt {
                // Nobody will look whether it is so. To be unloaded, it need not be.
                attempt.take_word();
            }
        }
    }

    /// What is known about an adapter on a pod. It has been told that then.
    pub(super) fn seen(&mut self, asked: Asked<'_>, now: Instant) -> EngineSeen {
        let entry = asked.endpoint.map_or_else(Entry::default, |endpoint| {
            let origin = Origin { pod: asked.pod.into(), endpoint: endpoint.clone() };
            self.lists.entry(asked.key, &origin, now)
        });
        let adapter = self.adapters.get(asked.key).filter(|adapter| *adapter.uid == *asked.uid);
        let attempt = adapter.and_then(|adapter| adapter.pods.get(asked.pod));
        attempt::seen(asked, entry, attempt, self.rooms.get(asked.pod), now)
    }

    /// This term makes the first write to the adapter.
    pub(super) fn begin(&mut self, key: &Key, uid: &str) {
        adapter_of(&mut self.adapters, key, uid).is_new = true;
    }

    /// Whether it did.
    pub(super) fn is_new(&self, key: &Key, uid: &str) -> bool {
        self.adapters.get(key).is_some_and(|adapter| *adapter.uid == *uid && adapter.is_new)
    }

    /// Uids of the pods that this term had to do with for the adapter.
    pub(super) fn affected(&self, key: &Key, uid: &str) -> Vec<Box<str>> {
        let adapter = self.adapters.get(key).filter(|adapter| *adapter.uid == *uid);
        adapter.into_iter().flat_map(|adapter| adapter.pods.keys().cloned()).collect()
    }

    /// Forgets what was done on pods that are gone.
    pub(super) fn retain(&mut self, key: &Key, exists: impl Fn(&str) -> bool) {
        if let Some(adapter) = self.adapters.get_mut(key) {
            adapter.pods.retain(|pod, attempt| attempt.order.is_some() || exists(pod));
        }
    }

    /// The adapter is gone. A change that is under way goes on, and nobody hears of its end.
    pub(super) fn forget(&mut self, key: &Key) {
        self.lists.forget(key);
        for pod in self.adapters.remove(key).into_iter().flat_map(|adapter| adapter.pods.into_keys()) {
            self.changes.withdraw(&(key.clone(), pod));
        }
    }
    /// Orders a change. An unload ends a load that is due or under way and takes its place; any other change beside
    /// one is not ordered.
    pub(super) fn order(&mut self, order: Order, now: Instant) {
        let adapter = adapter_of(&mut self.adapters, &order.key, &order.uid);
        let attempt = adapter.pods.entry(order.origin.pod.clone()).or_default();
        let (slot, change) = (slot_of(&order), order.what.change());
        match attempt.order.as_ref().map(|order| order.what.change()) {
            None => {}
            Some(Change::Load) if change == Change::Unload => self.changes.abort(&slot),
            Some(_) => return,
        }
        if change == Change::Load && attempt.is_evicted() {
            self.rooms.entry(order.origin.pod.clone()).or_default().reloaded(now);
        }
        attempt.is_about(order.generation, order.ready_since);
        // What was said before this change proves nothing after it.
        attempt.said = None;
        if change == Change::Load {
            attempt.unloaded = None;
        }
        attempt.order = Some(Arc::new(order));
        self.changes.schedule(slot, 0, now);
    }

    /// A list has ended. Returns the adapters to which it brings news.
    pub(super) fn listed(
        &mut self,
        number: u64,
        origin: &Arc<Origin>,
        models: Models,
        now: Instant,
    ) -> Vec<Key> {
        let Some(since) = self.lists.requests.ended(origin, number) else { return Vec::new() };
        let said = ListSaid::of(&models, self.lists.shows_adapters(origin), origin.endpoint.dialect);
        let mut proven = Vec::new();
        for (key, _) in self.lists.requests.watchers(origin) {
            let before = attempt_of(&mut self.adapters, &key, &origin.pod);
            let Some(waits_since) = before.map(|attempt| attempt.said_at()) else { continue };
            let beside = waits_since.is_some_and(|at| self.loads_beside(&key, &origin.pod, at));
            let evicts = self.rooms.get(&origin.pod).is_some_and(|room| room.is_recent(now));
            let Some(attempt) = attempt_of(&mut self.adapters, &key, &origin.pod) else { continue };
            let heard = attempt.hear(&key.name, &said, (beside, evicts), since, now);
            if heard == Heard::Evicted {
                self.rooms.retain(|_, room| room.is_recent(now));
                let room = self.rooms.entry(origin.pod.clone()).or_default();
                let (failures, retry_at) = room.evicted(&key.name, said.others(&key.name), now);
                attempt.evicted(failures, retry_at);
            }
            if heard != Heard::Nothing {
                proven.push(Key::clone(&key));
            }
        }
        let freed = self.room_of(origin, &said, now);
        proven.extend(freed);
        let mut news = self.lists.keep(origin, models, since, now);
        proven.retain(|key| !news.contains(key));
        news.append(&mut proven);
        news
    }

    /// Whether another adapter was being loaded on the pod at `at`, or later.
    fn loads_beside(&self, key: &Key, pod: &str, at: Instant) -> bool {
        let others = self.adapters.iter().filter(|(other, _)| *other != key);
        others.filter_map(|(_, adapter)| adapter.pods.get(pod)).any(|attempt| attempt.loads_at(at))
    }

    /// Notes how many adapters a list shows. Returns those that were pushed out and have room now.
    fn room_of(&mut self, origin: &Origin, said: &ListSaid<'_>, now: Instant) -> Vec<Key> {
        let (Some(room), Some(adapters)) = (self.rooms.get_mut(&origin.pod), said.adapters()) else {
            return Vec::new();
        };
        room.shows(adapters);
        if room.is_full(now) {
            return Vec::new();
        }
        let watchers = self.lists.requests.watchers(origin).into_iter().map(|(key, _)| Key::clone(&key));
        let waits = |key: &Key| {
            let attempt = self.adapters.get(key).and_then(|adapter| adapter.pods.get(&origin.pod));
            attempt.is_some_and(Attempt::is_evicted)
        };
        watchers.filter(waits).collect()
    }

    /// A change has ended. Returns the adapters to which that is news.
    pub(super) fn changed(
        &mut self,
        number: u64,
        order: &Arc<Order>,
        ended: &Ended,
        now: Instant,
    ) -> Vec<Key> {
        if self.changes.ended(&slot_of(order), number).is_none() {
            return Vec::new();
        }
        let Order { key, origin, what, .. } = &**order;
        let is_it = |attempt: &&mut Attempt| attempt.order.as_ref().is_some_and(|it| Arc::ptr_eq(it, order));
        let attempt = attempt_of(&mut self.adapters, key, &origin.pod).filter(is_it);
        let Some(attempt) = attempt else { return Vec::new() };
        match (what, ended) {
            (What::Load { source, reload: false }, Ended::Already { error }) => {
                attempt.has_said(&source.hash, Some(error.clone()), now);
                self.lists.look_again(origin, now);
                if self.lists.is_watched_by(key, origin) {
                    return Vec::new();
                }
                attempt.take_word();
            }
            (What::Load { source, .. }, Ended::Well) => {
                attempt.has_said(&source.hash, None, now);
                if self.lists.is_watched_by(key, origin) {
                    self.lists.look_again(origin, now);
                    return Vec::new();
                }
                attempt.take_word();
            }
            // It could not be unloaded, and so not be replaced.
            (What::Load { reload: true, .. }, Ended::Already { error }) => {
                attempt.fail(LoadFailure::Lasting, error, now);
                self.lists.look_again(origin, now + LOOK_AGAIN);
            }
            (What::Load { reload, .. }, Ended::Badly { kind, error, .. }) => {
                attempt.fail(*kind, error, now);
                if *reload {
                    attempt.loaded = None;
                    self.lists.unloaded(&origin.pod, &key.name);
                }
                self.lists.look_again(origin, now + LOOK_AGAIN);
            }
            // An engine that answers anything but yes does not know the adapter: there is nothing to unload.
            (What::Unload, Ended::Well | Ended::Already { .. } | Ended::Badly { answered: true, .. }) => {
                attempt.has_unloaded();
                if let Some(room) = self.rooms.get_mut(&origin.pod) {
                    room.unloaded();
                }
                self.lists.unloaded(&origin.pod, &key.name);
            }
            (What::Unload, Ended::Badly { .. }) => {
                (attempt.order, attempt.unloaded) = (None, Some(false));
                self.lists.look_again(origin, now + LOOK_AGAIN);
            }
        }
        vec![key.clone()]
    }
}

impl RequestBook for LoadTracker {
    type Request = Call;
    type Answer = Answer;

    fn next(&mut self, now: Instant) -> Option<Job<Call>> {
        while let Some(job) = self.changes.next(now) {
            let (key, pod) = &*job.request;
            if let Some(order) = attempt_of(&mut self.adapters, key, pod).and_then(|it| it.order.clone()) {
                return Some(job.map(|_| Call::Change(order)));
            }
            // It was ordered for a predecessor of the adapter.
            self.changes.abort(&job.request);
        }
        self.lists.requests.next(now).map(|job| job.map(Call::List))
    }

    fn next_moment(&self) -> Option<Instant> {
        self.changes.next_moment().into_iter().chain(self.lists.requests.next_moment()).min()
    }

    fn ended(&mut self, number: u64, call: Call, answer: Option<Answer>, now: Now) -> Vec<Key> {
        let (error, now) = ("no answer in time".to_owned(), now.instant);
        match call {
            Call::List(origin) => {
                let Some(Answer::Models(models)) = answer else {
                    return self.listed(number, &origin, Models::Unknown { error, silent: true }, now);
                };
                self.listed(number, &origin, models, now)
            }
            Call::Change(order) => {
                let Some(Answer::Change(ended)) = answer else {
                    let ended = Ended::Badly { kind: LoadFailure::Transient, error, answered: false };
                    return self.changed(number, &order, &ended, now);
                };
                self.changed(number, &order, &ended, now)
            }
        }
    }
}

fn attempt_of<'a>(adapters: &'a mut HashMap<Key, Adapter>, key: &Key, pod: &str) -> Option<&'a mut Attempt> {
    adapters.get_mut(key)?.pods.get_mut(pod)
}

/// What is kept of the adapter with this uid; nothing yet, if it had another one.
fn adapter_of<'a>(adapters: &'a mut HashMap<Key, Adapter>, key: &Key, uid: &str) -> &'a mut Adapter {
    let adapter = adapters.entry(key.clone()).or_default();
    if *adapter.uid != *uid {
        *adapter = Adapter { uid: uid.into(), ..Adapter::default() };
    }
    adapter
}

fn slot_of(order: &Order) -> Slot {
    (order.key.clone(), order.origin.pod.clone())
}

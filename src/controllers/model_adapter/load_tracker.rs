// SPDX-License-Identifier: Apache-2.0
//! What this term did to engines, which changes are due or under way, and what engines say about it. Pure.
//!
//! - Never two changes at a time for one adapter on one pod.
//! - An engine that said that it has loaded an adapter and does not list it is not trusted again: its list decides.

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
    calls::{Answer, Call, Ended, Models, Order, Origin, What},
    load_retry::{LoadFailure, delay_after},
    model_lists::ModelLists,
    snapshot::{Change, EngineSeen, Failed, Listed},
};

/// A load may have to read a Secret and to unload before; each step has a shorter time limit of its own.
const CHANGES: Lane = Lane { at_once: 384, per_host: 8, time_limit: Duration::from_mins(10), slow: None };

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
    failure: Option<Failure>,
    /// The change that is due or under way, or that an engine that is not trusted says to have carried out.
    order: Option<Arc<Order>>,
    /// From what the adapter was loaded.
    loaded: Option<Arc<str>>,
    unloaded: Option<bool>,
    /// When the engine said that it has loaded it, and from what; `None`: a list has shown it since.
    reported: Option<(Instant, Arc<str>)>,
    /// It said so before, and it was not so: its list is believed from now on, and nothing else.
    untrusted: bool,
}

#[derive(Debug)]
struct Failure {
    failures: u32,
    error: String,
    retry_at: Instant,
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

impl Default for LoadTracker {
    fn default() -> Self {
        let changes = RequestScheduler::new(&[CHANGES], |slot: &Slot| &slot.1);
        Self { lists: ModelLists::default(), changes, adapters: HashMap::new() }
    }
}

impl LoadTracker {
    /// From now on the adapter looks at the lists of exactly these origins.
    pub(super) fn watch(&mut self, key: &Key, origins: impl IntoIterator<Item = Origin>, now: Instant) {
        for origin in self.lists.watch(key, origins, now) {
            let attempt = attempt(&mut self.adapters, key, &origin.pod);
            if let Some(attempt) = attempt.filter(|attempt| attempt.is_unconfirmed()) {
                // Nobody will look whether it is so.
                (attempt.order, attempt.reported) = (None, None);
            }
        }
    }

    /// What is known about an adapter on a pod. It has been told that then.
    pub(super) fn seen(&mut self, asked: Asked<'_>, now: Instant) -> EngineSeen {
        let listed = asked.endpoint.map_or(Listed::Unknown, |endpoint| {
            let origin = Origin { pod: asked.pod.into(), endpoint: endpoint.clone() };
            self.lists.listed(asked.key, &origin, now)
        });
        let adapter = self.adapters.get(asked.key).filter(|adapter| *adapter.uid == *asked.uid);
        let Some(attempt) = adapter.and_then(|adapter| adapter.pods.get(asked.pod)) else {
            return EngineSeen { listed, ..EngineSeen::default() };
        };
        // Another spec, or a pod that has become ready anew, is another chance.
        let counts = attempt.generation == asked.generation && attempt.ready_since == asked.ready_since;
        let failed = attempt.failure.as_ref().filter(|_| counts).map(|failure| Failed {
            error: failure.error.clone(),
            failures: failure.failures,
            retry_in: failure.retry_at.saturating_duration_since(now),
        });
        let what = attempt.order.as_ref().map(|order| &order.what);
        EngineSeen {
            listed,
            call: what.map(What::change),
            loading: what.and_then(What::hash).map(Arc::clone),
            failed,
            loaded: attempt.loaded.clone(),
            unloaded: attempt.unloaded,
        }
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
        let adapter = self.adapters.entry(order.key.clone()).or_default();
        if adapter.uid != order.uid {
            *adapter = Adapter { uid: order.uid.clone(), pods: HashMap::new() };
        }
        let attempt = adapter.pods.entry(order.origin.pod.clone()).or_default();
        let (slot, change) = (slot_of(&order), order.what.change());
        match attempt.order.as_ref().map(|order| order.what.change()) {
            None => {}
            Some(Change::Load) if change == Change::Unload => self.changes.abort(&slot),
            Some(_) => return,
        }
        if attempt.generation != order.generation || attempt.ready_since != order.ready_since {
            attempt.failure = None;
            (attempt.generation, attempt.ready_since) = (order.generation, order.ready_since);
        }
        // What was said before this change proves nothing after it.
        attempt.reported = None;
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
        let mut proven = Vec::new();
        for (key, _) in self.lists.requests.watchers(origin) {
            let shows = match &models {
                Models::Known(names) => Ok(names.contains(&key.name)),
                Models::Unknown { error, .. } => Err(error.as_str()),
            };
            let attempt = attempt(&mut self.adapters, &key, &origin.pod);
            if attempt.is_some_and(|attempt| attempt.prove(shows, since, now)) {
                proven.push(Key::clone(&key));
            }
        }
        let mut news = self.lists.keep(origin, models, since, now);
        proven.retain(|key| !news.contains(key));
        news.append(&mut proven);
        news
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
        let attempt = attempt(&mut self.adapters, key, &origin.pod).filter(is_it);
        let Some(attempt) = attempt else { return Vec::new() };
        if let (What::Load { source, .. }, Ended::Well) = (what, ended) {
            attempt.reported = Some((now, Arc::clone(&source.hash)));
            if attempt.untrusted {
                self.lists.look_again(origin, now);
                return Vec::new();
            }
        }
        attempt.order = None;
        match (what, ended) {
            (What::Load { source, .. }, Ended::Well) => {
                attempt.has_loaded(Arc::clone(&source.hash));
                self.lists.edit(&origin.pod, &key.name, true);
            }
            (What::Load { reload, .. }, Ended::Badly { kind, error, .. }) => {
                attempt.fail(*kind, error, now);
                if *reload {
                    attempt.loaded = None;
                    self.lists.edit(&origin.pod, &key.name, false);
                }
                self.lists.look_again(origin, now);
            }
            // An engine that answers anything but yes does not know the adapter: there is nothing to unload.
            (What::Unload, Ended::Well | Ended::Badly { answered: true, .. }) => {
                (attempt.loaded, attempt.unloaded, attempt.failure) = (None, Some(true), None);
                self.lists.edit(&origin.pod, &key.name, false);
            }
            (What::Unload, Ended::Badly { .. }) => {
                attempt.unloaded = Some(false);
                self.lists.look_again(origin, now);
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
            if let Some(order) = attempt(&mut self.adapters, key, pod).and_then(|it| it.order.clone()) {
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

impl Attempt {
    /// Whether a load has ended well by the word of an engine whose word is not taken.
    fn is_unconfirmed(&self) -> bool {
        let loads = self.order.as_ref().is_some_and(|order| order.what.change() == Change::Load);
        self.untrusted && self.reported.is_some() && loads
    }

    fn has_loaded(&mut self, hash: Arc<str>) {
        (self.loaded, self.unloaded, self.failure) = (Some(hash), None, None);
    }

    fn fail(&mut self, kind: LoadFailure, error: &str, now: Instant) {
        let failures = self.failure.as_ref().map_or(0, |failure| failure.failures).saturating_add(1);
        let retry_at = now + delay_after(kind, failures);
        self.failure = Some(Failure { failures, error: error.to_owned(), retry_at });
    }

    /// Compares what an engine said with a list that was asked for at `since`. Returns whether that is news.
    fn prove(&mut self, listed: Result<bool, &str>, since: Instant, now: Instant) -> bool {
        let waits = self.is_unconfirmed();
        let Some((_, hash)) = self.reported.take_if(|(at, _)| *at <= since) else { return false };
        if waits {
            self.order = None;
        }
        let error = match listed {
            Ok(true) => {
                self.untrusted = false;
                if waits {
                    self.has_loaded(hash);
                }
                return waits;
            }
            Ok(false) => "the engine said that it has loaded the adapter, and does not list it",
            Err(error) => error,
        };
        if waits {
            self.fail(LoadFailure::Transient, error, now);
        }
        if waits || listed.is_ok() {
            // It may have restarted in between: that is not held against it, but seen.
            (self.untrusted, self.loaded) = (true, None);
        }
        waits
    }
}

fn attempt<'a>(adapters: &'a mut HashMap<Key, Adapter>, key: &Key, pod: &str) -> Option<&'a mut Attempt> {
    adapters.get_mut(key)?.pods.get_mut(pod)
}

fn slot_of(order: &Order) -> Slot {
    (order.key.clone(), order.origin.pod.clone())
}

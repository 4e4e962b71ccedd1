// SPDX-License-Identifier: Apache-2.0
//! Which models engines list: one list per pod and token in a period, shared by all adapters that look at it.
//! Engines that are silent delay nobody: their lists have a lane of their own. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use kube_fenced_election::clock::Instant;
use kube_loops::runtime::{
    reconciler::Key,
    requests::{Lane, RequestScheduler},
};

use super::{
    PERIOD,
    calls::{Models, Origin},
    load_retry::{LoadFailure, delay_after},
    snapshot::{Failed, Listed, Trouble},
};

/// Lanes: engines that answer, and those that did not last time. The client gives up before their time limit.
pub(super) const ANSWERING: usize = 0;
const SILENT: usize = 1;
const LANES: [Lane; 2] = [
    Lane { at_once: 192, per_host: usize::MAX, time_limit: Duration::from_secs(15), slow: None },
    Lane { at_once: 128, per_host: usize::MAX, time_limit: Duration::from_secs(15), slow: None },
];
/// The lists of one term.
#[derive(Debug)]
pub(super) struct ModelLists {
    /// The lists to ask for, with what each adapter that looks at one has been told.
    pub(super) requests: RequestScheduler<Origin, Fact>,
    lists: HashMap<Arc<Origin>, ModelList>,
}

/// Names, with what adapters were loaded from, where that is told.
type Listing = BTreeMap<String, Option<Box<str>>>;

#[derive(Debug, Default)]
struct ModelList {
    models: Option<Result<Listing, String>>,
    failures: u32,
    /// Names that were unloaded since the list under way began.
    unloaded: Vec<String>,
    /// When another one is due after the one under way.
    again: Option<Instant>,
    /// An adapter was in it, ever.
    shows_adapters: bool,
}

/// What a list says about an adapter.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// Whether it is listed.
    pub(super) listed: Listed,
    /// From where it was loaded; `None`: the list does not tell.
    pub(super) root: Option<Box<str>>,
    /// Whether the list has ever shown an adapter.
    pub(super) shows_adapters: bool,
}

/// Whether an engine lists a name; `Err`: it could not be asked; `None`: it was not.
type Fact = Option<Result<bool, ()>>;

impl Default for ModelLists {
    fn default() -> Self {
        Self { requests: RequestScheduler::new(&LANES, |origin: &Origin| &origin.pod), lists: HashMap::new() }
    }
}

impl ModelLists {
    /// From now on the adapter looks at exactly these origins. Unknown ones are asked at once. Returns those that it
    /// looks at no more.
    pub(super) fn watch(
        &mut self,
        key: &Key,
        origins: impl IntoIterator<Item = Origin>,
        now: Instant,
    ) -> Vec<Arc<Origin>> {
        let origins: Vec<Arc<Origin>> = origins.into_iter().map(Arc::new).collect();
        let left = self.requests.watch(key, origins.iter().map(Arc::clone));
        for origin in origins {
            if !self.lists.contains_key(&origin) {
                self.lists.insert(Arc::clone(&origin), ModelList::default());
                self.requests.schedule(origin, ANSWERING, now);
            }
        }
        self.drop_unwatched(&left);
        left
    }

    /// The adapter is gone.
    pub(super) fn forget(&mut self, key: &Key) {
        let left = self.requests.watch(key, []);
        self.drop_unwatched(&left);
    }

    fn drop_unwatched(&mut self, origins: &[Arc<Origin>]) {
        for origin in origins {
            if self.requests.is_watched(origin) {
                continue;
            }
            self.requests.abort(origin);
            self.lists.remove(origin);
        }
    }

    /// What is known about an adapter. It has been told that then.
    pub(super) fn entry(&mut self, key: &Key, origin: &Origin, now: Instant) -> Entry {
        let Some(list) = self.lists.get(origin) else { return Entry::default() };
        if let Some(told) = self.requests.watcher_mut(key, origin) {
            *told = list.fact(&key.name);
        }
        let root = match &list.models {
            Some(Ok(models)) => models.get(&key.name).cloned().flatten(),
            None | Some(Err(_)) => None,
        };
        let listed = match &list.models {
            None => Listed::Unknown,
            Some(Ok(models)) => Listed::Known(models.contains_key(&key.name)),
            Some(Err(error)) => Listed::Failed(Failed {
                error: error.clone(),
                failures: list.failures,
                retry_in: match self.requests.waiting(origin) {
                    Some((_, due)) => due.saturating_duration_since(now),
                    None => PERIOD,
                },
                trouble: Trouble::Load,
            }),
        };
        Entry { listed, root, shows_adapters: list.shows_adapters }
    }

    /// Whether the list has ever shown an adapter.
    pub(super) fn shows_adapters(&self, origin: &Origin) -> bool {
        self.lists.get(origin).is_some_and(|list| list.shows_adapters)
    }

    /// Whether the adapter looks at this origin.
    pub(super) fn is_watched_by(&mut self, key: &Key, origin: &Origin) -> bool {
        self.requests.watcher_mut(key, origin).is_some()
    }

    /// Keeps what a list says that was under way since then. Returns the adapters to which it brings news.
    pub(super) fn keep(
        &mut self,
        origin: &Arc<Origin>,
        models: Models,
        since: Instant,
        now: Instant,
    ) -> Vec<Key> {
        let Some(list) = self.lists.get_mut(origin) else { return Vec::new() };
        let unloaded = std::mem::take(&mut list.unloaded);
        let (lane, wait) = match models {
            Models::Known(models) => {
                list.shows_adapters |= models.iter().any(|model| model.is_adapter);
                let models =
                    models.into_iter().map(|model| (model.id, model.root.map(String::into_boxed_str)));
                let models = models.filter(|(name, _)| !unloaded.contains(name));
                (list.models, list.failures) = (Some(Ok(models.collect())), 0);
                (ANSWERING, PERIOD.saturating_sub(now.saturating_duration_since(since)))
            }
            Models::Unknown { error, silent } => {
                list.models = Some(Err(error));
                list.failures = list.failures.saturating_add(1);
                let lane = if silent { SILENT } else { ANSWERING };
                (lane, delay_after(LoadFailure::Transient, list.failures))
            }
        };
        let due = now + wait;
        let due = list.again.take().map_or(due, |again| again.min(due));
        self.requests.schedule(Arc::clone(origin), lane, due);
        // That an engine fails again may be one step of the back-off more.
        let is_news = |fact: Fact, told: Fact| fact != told || fact == Some(Err(()));
        let watchers = self.requests.watchers(origin).into_iter();
        let news = watchers.filter(|(key, told)| is_news(list.fact(&key.name), **told));
        news.map(|(key, _)| Key::clone(&key)).collect()
    }

    /// The adapter was unloaded from a pod.
    pub(super) fn unloaded(&mut self, pod: &str, name: &str) {
        // Whatever token was used: it is one engine.
        for (origin, list) in self.lists.iter_mut().filter(|(origin, _)| *origin.pod == *pod) {
            if let Some(Ok(models)) = &mut list.models {
                models.remove(name);
            }
            if self.requests.is_under_way(origin) {
                list.unloaded.push(name.to_owned());
            }
        }
    }

    /// Lists the models of a pod at `due`, if not sooner, in a request that begins after this call: nobody knows
    /// what a change has done.
    pub(super) fn look_again(&mut self, origin: &Origin, due: Instant) {
        if let Some((lane, planned)) = self.requests.waiting(origin)
            && due < planned
        {
            self.requests.schedule(origin.clone(), lane, due);
        } else if self.requests.is_under_way(origin)
            && let Some(list) = self.lists.get_mut(origin)
        {
            list.again = Some(list.again.map_or(due, |again| again.min(due)));
        }
    }
}

impl ModelList {
    fn fact(&self, name: &str) -> Fact {
        Some(self.models.as_ref()?.as_ref().map(|models| models.contains_key(name)).map_err(drop))
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Which models engines list: one list per pod and token in a period, shared by all adapters that look at it.
//! Engines that are silent delay nobody: their lists have a lane of their own. Pure.

use std::{
    collections::{BTreeSet, HashMap},
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
    snapshot::{Failed, Listed},
};

/// Lanes: engines that answer, and those that did not last time. The client gives up before their time limit.
pub(super) const ANSWERING: usize = 0;
const SILENT: usize = 1;
const LANES: [Lane; 2] = [
    Lane { at_once: 192, per_host: usize::MAX, time_limit: Duration::from_secs(15), slow: None },
    Lane { at_once: 128, per_host: usize::MAX, time_limit: Duration::from_secs(15), slow: None },
];
/// After a load that failed, the list tells whether it has worked all the same.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The lists of one term.
#[derive(Debug)]
pub(super) struct ModelLists {
    /// The lists to ask for, with what each adapter that looks at one has been told.
    pub(super) requests: RequestScheduler<Origin, Fact>,
    lists: HashMap<Arc<Origin>, ModelList>,
}

#[derive(Debug, Default)]
struct ModelList {
    models: Option<Result<BTreeSet<String>, String>>,
    failures: u32,
    /// Names that changes added or took since the list under way began.
    edits: Vec<(String, bool)>,
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
    pub(super) fn listed(&mut self, key: &Key, origin: &Origin, now: Instant) -> Listed {
        let Some(list) = self.lists.get(origin) else { return Listed::Unknown };
        if let Some(told) = self.requests.watcher_mut(key, origin) {
            *told = list.fact(&key.name);
        }
        match &list.models {
            None => Listed::Unknown,
            Some(Ok(models)) => Listed::Known(models.contains(&key.name)),
            Some(Err(error)) => Listed::Failed(Failed {
                error: error.clone(),
                failures: list.failures,
                retry_in: match self.requests.waiting(origin) {
                    Some((_, due)) => due.saturating_duration_since(now),
                    None => PERIOD,
                },
            }),
        }
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
        let edits = std::mem::take(&mut list.edits);
        let (lane, wait) = match models {
            Models::Known(names) => {
                let mut names: BTreeSet<String> = names.into_iter().collect();
                for (name, added) in edits {
                    edit(&mut names, name, added);
                }
                (list.models, list.failures) = (Some(Ok(names)), 0);
                (ANSWERING, PERIOD.saturating_sub(now.saturating_duration_since(since)))
            }
            Models::Unknown { error, silent } => {
                list.models = Some(Err(error));
                list.failures = list.failures.saturating_add(1);
                let lane = if silent { SILENT } else { ANSWERING };
                (lane, delay_after(LoadFailure::Transient, list.failures))
            }
        };
        self.requests.schedule(Arc::clone(origin), lane, now + wait);
        // That an engine fails again may be one step of the back-off more.
        let is_news = |fact: Fact, told: Fact| fact != told || fact == Some(Err(()));
        let watchers = self.requests.watchers(origin).into_iter();
        let news = watchers.filter(|(key, told)| is_news(list.fact(&key.name), **told));
        news.map(|(key, _)| Key::clone(&key)).collect()
    }

    /// Writes what a change did into what is known of a pod.
    pub(super) fn edit(&mut self, pod: &str, name: &str, added: bool) {
        // Whatever token was used: it is one engine.
        for (origin, list) in self.lists.iter_mut().filter(|(origin, _)| *origin.pod == *pod) {
            if let Some(Ok(models)) = &mut list.models {
                edit(models, name.to_owned(), added);
            }
            if self.requests.is_under_way(origin) {
                list.edits.push((name.to_owned(), added));
            }
        }
    }

    /// Lists the models of a pod soon: nobody knows what a change has done.
    pub(super) fn look_again(&mut self, origin: &Origin, now: Instant) {
        let sooner = now + LOOK_AGAIN;
        if let Some((ANSWERING, due)) = self.requests.waiting(origin)
            && sooner < due
        {
            self.requests.schedule(origin.clone(), ANSWERING, sooner);
        }
    }
}

impl ModelList {
    fn fact(&self, name: &str) -> Fact {
        Some(self.models.as_ref()?.as_ref().map(|models| models.contains(name)).map_err(drop))
    }
}

fn edit(models: &mut BTreeSet<String>, name: String, added: bool) {
    if added {
        models.insert(name);
    } else {
        models.remove(&name);
    }
}

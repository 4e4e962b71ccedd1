// SPDX-License-Identifier: Apache-2.0
//! What a term did for one adapter on one pod, and what the engine and its lists say about it. Pure.

use std::{collections::HashSet, sync::Arc};

use crate::engine::endpoint::Dialect;
use kube_fenced_election::clock::{Instant, Timestamp};

use super::{
    calls::{Models, Order, What},
    load_retry::{LoadFailure, delay_after},
    load_tracker::Asked,
    model_lists::Entry,
    presence::{Presence, Room, Turn, WINDOW},
    snapshot::{Change, EngineSeen, Failed, Listed, Trouble},
};

/// What this term did for one adapter on one pod.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    generation: Option<i64>,
    ready_since: Option<Timestamp>,
    failure: Option<Failure>,
    /// The change that is due or under way, or a load of which no list has told yet.
    pub(super) order: Option<Arc<Order>>,
    /// From what the adapter was loaded.
    pub(super) loaded: Option<Arc<str>>,
    loaded_at: Option<Instant>,
    pub(super) unloaded: Option<bool>,
    /// What the engine said of a load; `None`: a list has told since.
    pub(super) said: Option<Said>,
    /// That is all that is known, and counts.
    vouched: bool,
    presence: Presence,
}

/// The word of an engine that it has an adapter.
#[derive(Debug)]
pub(super) struct Said {
    at: Instant,
    /// From what it was to be loaded.
    hash: Arc<str>,
    /// It had one of that name already: its words.
    already: Option<String>,
}

#[derive(Debug)]
struct Failure {
    failures: u32,
    error: String,
    retry_at: Instant,
    /// It was loaded, and pushed out.
    evicted: bool,
}

/// What a list says.
#[derive(Debug)]
pub(super) struct ListSaid<'a> {
    /// Names, and those of them that are adapters; `None`: it failed.
    names: Option<(HashSet<&'a str>, HashSet<&'a str>)>,
    /// Whether the engine lists adapters at all, as far as was seen.
    shows_adapters: bool,
    dialect: Dialect,
}

/// What a list means for an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing but what it says.
    Nothing,
    /// News.
    News,
    /// It was pushed out by others.
    Evicted,
}

impl<'a> ListSaid<'a> {
    /// `shown`: former lists have shown an adapter.
    pub(super) fn of(models: &'a Models, shown: bool, dialect: Dialect) -> Self {
        let names = match models {
            Models::Unknown { .. } => None,
            Models::Known(models) => {
                let adapters = models.iter().filter(|model| model.is_adapter);
                let adapters: HashSet<&str> = adapters.map(|model| model.id.as_str()).collect();
                Some((models.iter().map(|model| model.id.as_str()).collect(), adapters))
            }
        };
        let shows_adapters = shown || names.as_ref().is_some_and(|(_, adapters)| !adapters.is_empty());
        Self { names, shows_adapters, dialect }
    }

    /// Number of adapters; `None`: it failed.
    pub(super) fn adapters(&self) -> Option<usize> {
        self.names.as_ref().map(|(_, adapters)| adapters.len())
    }

    /// The other adapters.
    pub(super) fn others(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let adapters = self.names.as_ref().map(|(_, adapters)| adapters.clone()).unwrap_or_default();
        adapters.into_iter().filter(move |other| *other != name)
    }

    /// Whether it shows the adapter; `None`: it failed.
    fn shows(&self, name: &str) -> Option<bool> {
        self.names.as_ref().map(|(names, _)| names.contains(name))
    }
}

impl Attempt {
    /// A change for this generation of the adapter is ordered, on a pod that is ready since then.
    pub(super) fn is_about(&mut self, generation: Option<i64>, ready_since: Option<Timestamp>) {
        if self.generation != generation || self.ready_since != ready_since {
            self.failure = None;
        }
        if self.ready_since != ready_since {
            self.presence.restart();
        }
        (self.generation, self.ready_since) = (generation, ready_since);
    }

    /// The engine says that it has the adapter.
    pub(super) fn has_said(&mut self, hash: &Arc<str>, already: Option<String>, now: Instant) {
        self.said = Some(Said { at: now, hash: Arc::clone(hash), already });
    }

    /// Since when the word of the engine waits for a list; `None`: it does not.
    pub(super) fn said_at(&self) -> Option<Instant> {
        self.said.as_ref().map(|said| said.at)
    }

    /// What the engine said counts, since no list will tell.
    pub(super) fn take_word(&mut self) {
        if let Some(said) = self.said.take() {
            self.has_loaded(said);
        }
    }

    pub(super) fn has_unloaded(&mut self) {
        (self.order, self.loaded, self.vouched) = (None, None, false);
        (self.unloaded, self.failure) = (Some(true), None);
    }

    pub(super) fn fail(&mut self, kind: LoadFailure, error: &str, now: Instant) {
        let failures = self.failure.as_ref().map_or(0, |failure| failure.failures).saturating_add(1);
        let retry_at = now + delay_after(kind, failures);
        self.failed(failures, error.to_owned(), retry_at, false);
    }

    /// It was pushed out for the `failures`-th time.
    pub(super) fn evicted(&mut self, failures: u32, retry_at: Instant) {
        self.failed(failures, String::new(), retry_at, true);
    }

    /// Whether it waits because it was pushed out.
    pub(super) fn is_evicted(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.evicted)
    }

    /// Whether a load was under way at `at`, or later.
    pub(super) fn loads_at(&self, at: Instant) -> bool {
        let loads = self.order.as_ref().is_some_and(|order| order.what.change() == Change::Load);
        loads || self.said_at().or(self.loaded_at).is_some_and(|it| it >= at)
    }

    fn failed(&mut self, failures: u32, error: String, retry_at: Instant, evicted: bool) {
        self.failure = Some(Failure { failures, error, retry_at, evicted });
        (self.order, self.loaded, self.vouched) = (None, None, false);
    }

    fn has_loaded(&mut self, said: Said) {
        (self.order, self.unloaded, self.failure) = (None, None, None);
        (self.loaded, self.loaded_at) = (Some(said.hash), Some(said.at));
    }

    /// A list that was asked for at `since` has ended. `beside`: others were being loaded, too; `evicts`: the engine has
    /// pushed adapters out of late.
    pub(super) fn hear(
        &mut self,
        name: &str,
        list: &ListSaid<'_>,
        (beside, evicts): (bool, bool),
        since: Instant,
        now: Instant,
    ) -> Heard {
        let Some(shown) = list.shows(name) else {
            // The next list decides, and the failure of this one is told meanwhile.
            let waits = self.said.is_some() && self.order.take().is_some();
            return if waits { Heard::News } else { Heard::Nothing };
        };
        let crowded = list.others(name).next().is_some();
        let was_loaded = self.loaded.is_some() && !self.vouched;
        let turn = self.presence.note(shown, self.causes_changes(), now);
        if let Some(said) = self.said.take_if(|said| said.at <= since) {
            return self.prove(said, shown, list, crowded && beside, now);
        }
        let is_recent = self.loaded_at.is_some_and(|at| now.saturating_duration_since(at) < WINDOW);
        match turn {
            Turn::Same => Heard::Nothing,
            // With all others gone, too, the engine has restarted.
            Turn::Vanished if was_loaded && crowded && (is_recent || evicts) => Heard::Evicted,
            Turn::Vanished | Turn::Unstable => Heard::News,
        }
    }

    /// Whether what the term did explains a change of the list.
    fn causes_changes(&self) -> bool {
        match &self.said {
            Some(said) => said.already.is_none(),
            None => self.order.is_some() || self.unloaded == Some(true),
        }
    }

    /// Compares what the engine said with what its list shows.
    fn prove(
        &mut self,
        said: Said,
        shown: bool,
        list: &ListSaid<'_>,
        pushed_out: bool,
        now: Instant,
    ) -> Heard {
        match (shown, &said.already) {
            (true, None) => self.has_loaded(said),
            // From wherever.
            (true, Some(_)) => (self.order, self.unloaded, self.failure) = (None, None, None),
            (false, already) if !list.shows_adapters && (list.dialect.is_sglang() || already.is_some()) => {
                self.has_loaded(said);
                self.vouched = true;
            }
            (false, Some(error)) => self.fail(LoadFailure::Lasting, error, now),
            (false, None) if pushed_out => {
                self.order = None;
                return Heard::Evicted;
            }
            (false, None) => {
                let error = "the engine said that it has loaded the adapter, and does not list it";
                self.fail(LoadFailure::Transient, error, now);
            }
        }
        Heard::News
    }
}

/// What is known about an adapter on a pod.
pub(super) fn seen(
    asked: Asked<'_>,
    entry: Entry,
    attempt: Option<&Attempt>,
    room: Option<&Room>,
    now: Instant,
) -> EngineSeen {
    let full = room.is_some_and(|room| room.is_full(now));
    let listed = listed(asked, entry, attempt);
    let Some(attempt) = attempt else { return EngineSeen { listed, full, ..EngineSeen::default() } };
    let unstable = attempt.presence.unstable_for(now).filter(|_| attempt.ready_since == asked.ready_since);
    let unstable = unstable.map(|left| Failed {
        error: attempt.presence.text(),
        failures: 1,
        retry_in: left,
        trouble: Trouble::Unstable,
    });
    // Another spec, or a pod that has become ready anew, is another chance.
    let counts = attempt.generation == asked.generation && attempt.ready_since == asked.ready_since;
    let failed = attempt.failure.as_ref().filter(|_| counts).map(|failure| {
        let (failures, retry_in) = (failure.failures, failure.retry_at.saturating_duration_since(now));
        match room.filter(|_| failure.evicted) {
            Some(room) => Failed {
                error: room.text(),
                failures,
                retry_in: room.wait(failure.retry_at, now),
                trouble: Trouble::Evicted,
            },
            None => Failed { error: failure.error.clone(), failures, retry_in, trouble: Trouble::Load },
        }
    });
    let failed = match &unstable {
        Some(unstable) => Some(Failed { retry_in: attempt.presence.reload_in(now), ..unstable.clone() }),
        None => failed,
    };
    let listed = match (listed, unstable) {
        (Listed::Known(true), Some(unstable)) => Listed::Unstable(unstable),
        (listed, _) => listed,
    };
    let what = attempt.order.as_ref().map(|order| &order.what);
    EngineSeen {
        listed,
        call: what.map(What::change),
        loading: what.and_then(What::hash).map(Arc::clone),
        failed,
        loaded: attempt.loaded.clone(),
        unloaded: attempt.unloaded,
        full,
    }
}

/// What a list says about an adapter, given what was done for it.
fn listed(asked: Asked<'_>, entry: Entry, attempt: Option<&Attempt>) -> Listed {
    // A pod that has become ready anew has another engine, as far as anybody knows.
    let same = attempt.filter(|attempt| attempt.ready_since == asked.ready_since);
    match &entry.listed {
        Listed::Known(true) => {
            let ours = same.is_some_and(|attempt| attempt.loaded.is_some());
            let from_elsewhere = asked.root.zip(entry.root).is_some_and(|(want, root)| *want != *root);
            if from_elsewhere && !ours { Listed::Foreign } else { Listed::Known(true) }
        }
        Listed::Known(false) if !entry.shows_adapters => {
            let vouched = if attempt.is_none() { asked.vouched } else { same.is_some_and(|it| it.vouched) };
            if vouched { Listed::Vouched } else { Listed::Known(false) }
        }
        Listed::Unknown
        | Listed::Known(false)
        | Listed::Foreign
        | Listed::Unstable(_)
        | Listed::Vouched
        | Listed::Failed(_) => entry.listed,
    }
}

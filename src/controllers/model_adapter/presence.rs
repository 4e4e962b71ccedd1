// SPDX-License-Identifier: Apache-2.0
//! How adapters come and go in the list of an engine though nobody loads or unloads them: one whose list flickers is
//! no endpoint until it is calm, and one that keeps only so many adapters is not asked for more again and again. Pure.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use kube_fenced_election::clock::Instant;

use super::load_retry::{LoadFailure, delay_after};

/// Changes without a cause within [`WINDOW`] after which an adapter is no endpoint any more, if it has come by itself
/// at least once: one that only goes is lost or pushed out.
const CHANGES: usize = 3;
/// An adapter that vanishes within this time after its load was pushed out.
pub(super) const WINDOW: Duration = Duration::from_mins(10);
/// How long such an adapter must be listed without a break; doubles up to [`LONGEST_CALM`].
const CALM: Duration = Duration::from_mins(1);
const LONGEST_CALM: Duration = Duration::from_mins(10);
/// What was seen of an engine counts for so long.
const MEMORY: Duration = Duration::from_hours(1);
/// Loads of adapters that were pushed out, of one engine in that time.
const RELOADS: usize = 20;

/// How one adapter comes and goes on one pod.
#[derive(Debug, Default)]
pub(super) struct Presence {
    /// What the last list said; `None`: none did.
    shown: Option<bool>,
    /// When a list showed it last.
    shown_at: Option<Instant>,
    /// When that changed without a cause, and to what.
    changes: VecDeque<(Instant, bool)>,
    unstable: Option<Unstable>,
    /// How often it was unstable, the last time within an hour of the one before.
    spells: u32,
    last_spell: Option<Instant>,
}

#[derive(Debug)]
struct Unstable {
    calm: Duration,
    /// Since when it has been listed without a break; `None`: it is not listed.
    since: Option<Instant>,
}

/// What a list changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing that matters.
    Same,
    /// The adapter is gone without a cause.
    Vanished,
    /// It has come and gone too often.
    Unstable,
}

impl Presence {
    /// A list says whether it shows the adapter. `caused`: somebody loaded or unloaded it since the last one.
    pub(super) fn note(&mut self, shown: bool, caused: bool, now: Instant) -> Turn {
        let changed = self.shown.replace(shown).is_some_and(|before| before != shown);
        if shown {
            self.shown_at = Some(now);
        }
        if self.unstable_for(now).is_none() && self.unstable.take().is_some() {
            self.changes.clear();
        }
        if let Some(unstable) = &mut self.unstable {
            unstable.since = if shown { unstable.since.filter(|_| !changed).or(Some(now)) } else { None };
        }
        if !changed || caused {
            return Turn::Same;
        }
        self.changes.push_back((now, shown));
        self.changes.retain(|(at, _)| now.saturating_duration_since(*at) < WINDOW);
        let came = self.changes.iter().any(|(_, shown)| *shown);
        if self.unstable.is_none() && came && self.changes.len() >= CHANGES {
            let again = self.last_spell.is_some_and(|at| now.saturating_duration_since(at) < MEMORY);
            self.spells = if again { self.spells.saturating_add(1) } else { 0 };
            self.last_spell = Some(now);
            let calm = CALM.saturating_mul(1 << self.spells.min(8)).min(LONGEST_CALM);
            self.unstable = Some(Unstable { calm, since: shown.then_some(now) });
            return Turn::Unstable;
        }
        if shown { Turn::Same } else { Turn::Vanished }
    }

    /// Forgets what another engine on this pod did.
    pub(super) fn restart(&mut self) {
        (self.shown, self.unstable) = (None, None);
        self.changes.clear();
    }

    /// How long it must still be listed to be stable; `None`: it is.
    pub(super) fn unstable_for(&self, now: Instant) -> Option<Duration> {
        let Unstable { calm, since } = self.unstable.as_ref()?;
        let passed = since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        calm.checked_sub(passed).filter(|left| !left.is_zero())
    }

    /// How long one that is not stable must be out of sight before it is loaded again.
    pub(super) fn reload_in(&self, now: Instant) -> Duration {
        let calm = self.unstable.as_ref().map_or(Duration::ZERO, |unstable| unstable.calm);
        self.shown_at.map_or(Duration::ZERO, |at| (at + calm).saturating_duration_since(now))
    }

    /// What to tell people of one that is not stable.
    pub(super) fn text(&self) -> String {
        let calm = self.unstable.as_ref().map_or(CALM, |unstable| unstable.calm).as_secs();
        format!(
            "the engine lists the adapter one time and not the next: it counts once it has been listed for {calm} s"
        )
    }
}

/// What the engine of one pod has room for, as far as that was seen.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Adapters that were pushed out, one after the other.
    evictions: u32,
    last: Option<Instant>,
    /// Until then the places of those that wait are taken.
    next: Option<Instant>,
    /// Adapters that it kept when it last pushed one out.
    kept: usize,
    /// Adapters in its last list.
    shown: usize,
    /// Those that take turns.
    turns: BTreeSet<String>,
    reloads: VecDeque<Instant>,
}

impl Room {
    /// An adapter was pushed out, these are there. Returns how often that has happened and when it may be loaded
    /// again.
    pub(super) fn evicted<'a>(
        &mut self,
        name: &str,
        others: impl Iterator<Item = &'a str>,
        now: Instant,
    ) -> (u32, Instant) {
        if !self.is_recent(now) {
            *self = Self { reloads: std::mem::take(&mut self.reloads), ..Self::default() };
        }
        let others: BTreeSet<String> = others.map(str::to_owned).collect();
        (self.kept, self.shown) = (others.len(), others.len());
        self.turns.extend(others);
        self.turns.insert(name.to_owned());
        self.evictions = self.evictions.saturating_add(1);
        self.last = Some(now);
        let free = self.next.map_or(now, |next| next.max(now));
        let next = free + delay_after(LoadFailure::Lasting, self.evictions);
        self.next = Some(next);
        (self.evictions, next)
    }

    /// Whether anything was pushed out of late.
    pub(super) fn is_recent(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| now.saturating_duration_since(last) < MEMORY)
    }

    /// A list shows so many adapters.
    pub(super) fn shows(&mut self, adapters: usize) {
        self.shown = adapters;
    }

    /// One was unloaded.
    pub(super) fn unloaded(&mut self) {
        self.shown = self.shown.saturating_sub(1);
    }

    /// Whether another adapter would push one out.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.is_recent(now) && self.shown >= self.kept
    }

    /// One that was pushed out is loaded again.
    pub(super) fn reloaded(&mut self, now: Instant) {
        self.reloads.retain(|at| now.saturating_duration_since(*at) < MEMORY);
        self.reloads.push_back(now);
    }

    /// How long one that was pushed out waits, whose turn is at `retry_at`.
    pub(super) fn wait(&self, retry_at: Instant, now: Instant) -> Duration {
        let turn = if self.is_full(now) { retry_at.saturating_duration_since(now) } else { Duration::ZERO };
        let recent = self.reloads.iter().filter(|at| now.saturating_duration_since(**at) < MEMORY);
        let recent: Vec<&Instant> = recent.collect();
        let oldest = recent.len().checked_sub(RELOADS).and_then(|surplus| recent.get(surplus));
        let limit = oldest.map_or(Duration::ZERO, |at| (**at + MEMORY).saturating_duration_since(now));
        turn.max(limit)
    }

    /// What to tell people.
    pub(super) fn text(&self) -> String {
        let mut names: Vec<&str> = self.turns.iter().map(String::as_str).collect();
        let last = names.pop().unwrap_or_default();
        let adapters = if self.kept == 1 { "adapter" } else { "adapters" };
        format!("the engine keeps {} {adapters}: {} and {last} take turns", self.kept, names.join(", "))
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Own creates, deletes and writes that a store does not show yet. Pure.
//!
//! A loop that plans from a store which lags behind its own last pass would do the same thing twice.
//! What it is about to do is therefore noted, and it plans nothing new for that object until the store
//! shows it all, or until the time-out, after which the store is believed (the effect may have come and
//! gone unseen). Until then, what was answered counts as if it were shown.

use std::{collections::HashMap, sync::Arc, time::Duration};

use kube_fenced_election::clock::Instant;

use super::watches::{Change, Owned, version};

/// Owners beyond which those are dropped of which nothing is expected any more.
const SWEEP: usize = 1024;

/// Notes of one loop for one term, by the uid of the owner.
pub(super) struct Expectations<S> {
    owners: HashMap<String, Pending<S>>,
    timeouts: Timeouts,
}

/// How long the store may lag before it is believed.
#[derive(Debug, Clone, Copy)]
struct Timeouts {
    /// Behind a create that was not answered: it may never have been.
    unanswered: Duration,
    /// Behind what is known to be done.
    answered: Duration,
}

struct Pending<S> {
    /// By name. The child once the create has been answered.
    creates: HashMap<String, (Option<Arc<S>>, Instant)>,
    /// Uids of children that were seen to go while a create was not answered yet: it may have been theirs.
    departed: HashMap<String, Instant>,
    /// By uid, with the name: gone or terminating is both fine.
    deletes: HashMap<String, (String, Instant)>,
    /// By name: what our last write was answered with.
    writes: HashMap<String, (Arc<S>, Instant)>,
}

impl<S: Owned> Expectations<S> {
    /// Nothing is expected. `timeout`: how long the store may lag before it is believed.
    pub(super) fn new(timeout: Duration) -> Self {
        Self { owners: HashMap::new(), timeouts: Timeouts { unanswered: timeout, answered: timeout } }
    }

    /// How long the store may lag behind what is known to be done.
    pub(super) fn wait_for_answered(&mut self, timeout: Duration) {
        self.timeouts.answered = timeout;
    }

    /// A child is about to be created. Note it before the call.
    pub(super) fn creating(&mut self, owner: &str, name: &str, now: Instant) {
        self.pending(owner, now).creates.insert(name.to_owned(), (None, now));
    }

    /// The create was answered: from now on only the child with this uid counts as seen.
    pub(super) fn created(&mut self, owner: &str, child: &Arc<S>, now: Instant) {
        let pending = self.pending(owner, now);
        if pending.departed.remove(child.uid()).is_some() {
            pending.creates.remove(child.name());
        } else {
            pending.creates.insert(child.name().to_owned(), (Some(Arc::clone(child)), now));
        }
        self.change(owner, |_| {});
    }

    /// The create was refused, so nothing will appear. Not for time-outs: those may have worked.
    pub(super) fn create_failed(&mut self, owner: &str, name: &str) {
        self.change(owner, |pending| {
            pending.creates.remove(name);
        });
    }

    /// A child is about to be deleted. Note it before the call.
    pub(super) fn deleting(&mut self, owner: &str, name: &str, uid: &str, now: Instant) {
        self.pending(owner, now).deletes.insert(uid.to_owned(), (name.to_owned(), now));
    }

    /// The delete was refused, so the child stays.
    pub(super) fn delete_failed(&mut self, owner: &str, uid: &str) {
        self.change(owner, |pending| {
            pending.deletes.remove(uid);
        });
    }

    /// A write to a child was answered with this.
    pub(super) fn wrote(&mut self, owner: &str, child: &Arc<S>, now: Instant) {
        self.pending(owner, now).writes.insert(child.name().to_owned(), (Arc::clone(child), now));
    }

    /// A child changed in the store. One that went settles whatever was expected of it, also when it came and went
    /// between two passes.
    pub(super) fn changed(&mut self, change: &Change<S>, now: Instant) {
        let (old, new) = (change.old.as_deref(), change.new.as_deref());
        let Some(gone) = old.filter(|old| new.is_none_or(|new| new.uid() != old.uid())) else { return };
        let Some(owner) = gone.controller() else { return };
        let (name, uid) = (gone.name(), gone.uid());
        self.change(owner.uid, |pending| {
            pending.deletes.remove(uid);
            pending.writes.retain(|_, (wrote, _)| wrote.uid() != uid);
            match pending.creates.get(name) {
                Some((Some(created), _)) if created.uid() == uid => drop(pending.creates.remove(name)),
                Some((None, _)) => drop(pending.departed.insert(uid.to_owned(), now)),
                Some((Some(_), _)) | None => {}
            }
        });
    }

    /// Whether the store shows all that was done for the owner. Settles what it shows and what has been
    /// waited for long enough. `shown`: what the store has by a name.
    pub(super) fn caught_up(
        &mut self,
        owner: &str,
        shown: impl Fn(&str) -> Option<Arc<S>>,
        now: Instant,
    ) -> bool {
        let timeouts = self.timeouts;
        let Some(pending) = self.owners.get_mut(owner) else { return true };
        pending.settle_overdue(now, timeouts);
        let Pending { creates, deletes, writes, .. } = pending;
        creates.retain(|name, (created, _)| {
            // A later namesake: ours has been replaced by it.
            let is_it = |child: Arc<S>| created.as_ref().is_none_or(|created| shows(&*child, created));
            !shown(name).is_some_and(is_it)
        });
        // A child that is not shown is gone, unless it is on its way.
        let is_coming = |name: &str| matches!(creates.get(name), Some((Some(_), _)));
        deletes.retain(|uid, (name, _)| match shown(name) {
            Some(child) => child.uid() == uid && !child.is_terminating(),
            None => is_coming(name),
        });
        writes.retain(|name, (wrote, _)| match shown(name) {
            Some(child) => !shows(&*child, wrote),
            None => is_coming(name),
        });
        let settled = pending.is_empty();
        if settled {
            self.owners.remove(owner);
        }
        settled
    }

    /// Names under which more may be known of the owner's children than the store shows.
    pub(super) fn names(&self, owner: &str) -> impl Iterator<Item = &str> {
        let pending = self.owners.get(owner).into_iter();
        pending.flat_map(|pending| pending.creates.keys().chain(pending.writes.keys())).map(String::as_str)
    }

    /// The child of a name, as the store shows it or as a write of ours was answered, whichever is newer.
    pub(super) fn newest(
        &self,
        owner: &str,
        name: &str,
        shown: Option<Arc<S>>,
        now: Instant,
    ) -> Option<Arc<S>> {
        let Some(pending) = self.owners.get(owner) else { return shown };
        let waits = |since: Instant| now.saturating_duration_since(since) < self.timeouts.answered;
        let created = pending.creates.get(name).filter(|(_, since)| waits(*since));
        let created = created.and_then(|(created, _)| created.as_ref());
        let created = created.filter(|created| shown.as_ref().is_none_or(|shown| !shows(&**shown, created)));
        let child = created.map(Arc::clone).or(shown)?;
        let wrote = pending.writes.get(name).filter(|(_, since)| waits(*since)).map(|(wrote, _)| wrote);
        let newer = wrote.filter(|wrote| !shows(&*child, wrote));
        Some(newer.map_or(child, Arc::clone))
    }

    /// Whether the child with this uid was deleted, and the store does not show that yet.
    pub(super) fn is_deleting(&self, owner: &str, uid: &str) -> bool {
        self.owners.get(owner).is_some_and(|pending| pending.deletes.contains_key(uid))
    }

    /// Owners of which anything is expected, or was until lately.
    #[cfg(test)]
    pub(super) fn owners(&self) -> usize {
        self.owners.len()
    }

    fn pending(&mut self, owner: &str, now: Instant) -> &mut Pending<S> {
        if self.owners.len() >= SWEEP && !self.owners.contains_key(owner) {
            // Owners that are gone get no pass in which they could be settled.
            let timeouts = self.timeouts;
            self.owners.retain(|_, pending| {
                pending.settle_overdue(now, timeouts);
                !pending.is_empty()
            });
        }
        self.owners.entry(owner.to_owned()).or_default()
    }

    fn change(&mut self, owner: &str, change: impl FnOnce(&mut Pending<S>)) {
        let Some(pending) = self.owners.get_mut(owner) else { return };
        change(pending);
        if pending.is_empty() {
            self.owners.remove(owner);
        }
    }
}

/// Whether a store that has `shown` under the name shows a write that was answered with `ours`.
fn shows<S: Owned>(shown: &S, ours: &S) -> bool {
    version::at_least(shown.version(), ours.version())
}

impl<S> Pending<S> {
    /// Drops what has been waited for long enough.
    fn settle_overdue(&mut self, now: Instant, timeouts: Timeouts) {
        let Timeouts { unanswered, answered } = timeouts;
        let age = |since: Instant| now.saturating_duration_since(since);
        self.creates.retain(|_, (created, since)| {
            age(*since) < if created.is_some() { answered } else { unanswered }
        });
        self.deletes.retain(|_, (_, since)| age(*since) < answered);
        self.writes.retain(|_, (_, since)| age(*since) < answered);
    }

    fn is_empty(&self) -> bool {
        self.creates.is_empty() && self.deletes.is_empty() && self.writes.is_empty()
    }
}

impl<S> Default for Pending<S> {
    fn default() -> Self {
        let (creates, departed) = (HashMap::new(), HashMap::new());
        Self { creates, departed, deletes: HashMap::new(), writes: HashMap::new() }
    }
}

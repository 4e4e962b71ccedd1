// SPDX-License-Identifier: Apache-2.0
//! Own creates, deletes and writes that the cache does not show yet. Pure.
//!
//! A loop that plans from a cache which lags behind its own last pass would do the same thing twice.
//! It therefore notes what it is about to do, and plans nothing new for that object until the cache
//! shows it all, or until the time-out, after which the cache is believed (the effect may have come and
//! gone unseen).

use std::{collections::HashMap, time::Duration};

use kube_fenced_election::clock::Instant;

use super::watches::version;

/// What the cache shows of one child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen<'a> {
    /// Name; children of one owner are in its namespace.
    pub name: &'a str,
    /// Uid.
    pub uid: &'a str,
    /// `metadata.resourceVersion`.
    pub version: &'a str,
    /// Whether it has a `deletionTimestamp`.
    pub leaving: bool,
}

/// A child that a store showed or shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Child<'a> {
    /// Uid of its controller.
    pub owner: &'a str,
    /// Name, as in [`Expectations::creating`].
    pub name: &'a str,
    /// Uid.
    pub uid: &'a str,
}

/// Owners beyond which those are dropped of which nothing is expected any more.
const SWEEP: usize = 1024;

/// Notes of one loop for one term, by the uid of the owner. Watches settle them, too: see [`Self::changed`].
#[derive(Debug)]
pub struct Expectations {
    owners: HashMap<String, Pending>,
    timeout: Duration,
}

#[derive(Debug, Default)]
struct Pending {
    /// By name. The uid once the create has been answered.
    creates: HashMap<String, (Option<String>, Instant)>,
    /// Uids of children that were seen to go while a create was not answered yet: it may have been theirs.
    departed: HashMap<String, Instant>,
    /// By uid: gone or leaving is both fine.
    deletes: HashMap<String, Instant>,
    /// By uid: the version that our write was answered with.
    writes: HashMap<String, (String, Instant)>,
}

impl Expectations {
    /// Nothing is expected. `timeout`: how long the cache may lag before it is believed.
    pub fn new(timeout: Duration) -> Self {
        Self { owners: HashMap::new(), timeout }
    }

    /// A child is about to be created. Note it before the call.
    pub fn creating(&mut self, owner: &str, name: &str, now: Instant) {
        self.pending(owner, now).creates.insert(name.to_owned(), (None, now));
    }

    /// The create was answered: from now on only the child with this uid counts as seen.
    pub fn created(&mut self, owner: &str, name: &str, uid: &str, now: Instant) {
        let pending = self.pending(owner, now);
        if pending.departed.remove(uid).is_some() {
            pending.creates.remove(name);
        } else {
            pending.creates.insert(name.to_owned(), (Some(uid.to_owned()), now));
        }
        self.change(owner, |_| {});
    }

    /// The create was refused, so nothing will appear. Not for time-outs: those may have worked.
    pub fn create_failed(&mut self, owner: &str, name: &str) {
        self.change(owner, |pending| {
            pending.creates.remove(name);
        });
    }

    /// A child is about to be deleted. Note it before the call.
    pub fn deleting(&mut self, owner: &str, uid: &str, now: Instant) {
        self.pending(owner, now).deletes.insert(uid.to_owned(), now);
    }

    /// The delete was refused, so the child stays.
    pub fn delete_failed(&mut self, owner: &str, uid: &str) {
        self.change(owner, |pending| {
            pending.deletes.remove(uid);
        });
    }

    /// A write to a child (or to the owner itself) was answered with this version.
    pub fn wrote(&mut self, owner: &str, uid: &str, version: &str, now: Instant) {
        self.pending(owner, now).writes.insert(uid.to_owned(), (version.to_owned(), now));
    }

    /// A child changed. For the triggers of its store: one that went settles whatever was expected of it, also when it
    /// came and went between two passes.
    pub fn changed(&mut self, old: Option<Child<'_>>, new: Option<Child<'_>>, now: Instant) {
        let Some(Child { owner, name, uid }) = old.filter(|old| new.is_none_or(|new| new.uid != old.uid))
        else {
            return;
        };
        self.change(owner, |pending| {
            pending.deletes.remove(uid);
            pending.writes.remove(uid);
            match pending.creates.get(name) {
                Some((Some(created), _)) if created == uid => drop(pending.creates.remove(name)),
                Some((None, _)) => drop(pending.departed.insert(uid.to_owned(), now)),
                Some((Some(_), _)) | None => {}
            }
        });
    }

    /// Whether the cache shows all that was done for the owner. Settles what it shows and what has been
    /// waited for long enough.
    pub fn caught_up<'a>(
        &mut self,
        owner: &str,
        seen: impl IntoIterator<Item = Seen<'a>>,
        now: Instant,
    ) -> bool {
        let timeout = self.timeout;
        let Some(pending) = self.owners.get_mut(owner) else { return true };
        let seen: Vec<Seen<'a>> = seen.into_iter().collect();
        let waited_for = |since: Instant| now.saturating_duration_since(since) < timeout;
        let by_uid = |uid: &str| seen.iter().find(|child| child.uid == uid);
        pending.creates.retain(|name, (uid, since)| {
            let shown = seen
                .iter()
                .any(|child| child.name == name && uid.as_deref().is_none_or(|uid| child.uid == uid));
            !shown && waited_for(*since)
        });
        pending
            .deletes
            .retain(|uid, since| by_uid(uid).is_some_and(|child| !child.leaving) && waited_for(*since));
        pending.writes.retain(|uid, (wrote, since)| {
            // A child that is not there was deleted, or its create is expected above.
            by_uid(uid).is_some_and(|child| !version::at_least(child.version, wrote)) && waited_for(*since)
        });
        let settled = pending.is_empty();
        if settled {
            self.owners.remove(owner);
        }
        settled
    }

    /// Owners of which anything is expected, or was until lately.
    #[cfg(test)]
    pub(super) fn owners(&self) -> usize {
        self.owners.len()
    }

    fn pending(&mut self, owner: &str, now: Instant) -> &mut Pending {
        if self.owners.len() >= SWEEP && !self.owners.contains_key(owner) {
            // Owners that are gone get no pass in which they could be settled.
            let timeout = self.timeout;
            self.owners.retain(|_, pending| pending.settle_overdue(now, timeout));
        }
        self.owners.entry(owner.to_owned()).or_default()
    }

    fn change(&mut self, owner: &str, change: impl FnOnce(&mut Pending)) {
        let Some(pending) = self.owners.get_mut(owner) else { return };
        change(pending);
        if pending.is_empty() {
            self.owners.remove(owner);
        }
    }
}

impl Pending {
    /// Drops what has been waited for long enough. Whether anything is left.
    fn settle_overdue(&mut self, now: Instant, timeout: Duration) -> bool {
        let waited_for = |since: Instant| now.saturating_duration_since(since) < timeout;
        self.creates.retain(|_, (_, since)| waited_for(*since));
        self.deletes.retain(|_, since| waited_for(*since));
        self.writes.retain(|_, (_, since)| waited_for(*since));
        !self.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.creates.is_empty() && self.deletes.is_empty() && self.writes.is_empty()
    }
}

// SPDX-License-Identifier: Apache-2.0
//! The objects of one kind that a loop makes for the objects that it is about.
//!
//! # Guarantees
//! - A child is ours by the uid of its controller, whatever its name and labels say; nothing else is ever written to,
//!   but what nobody controls and the loop adopts.
//! - A write reaches only the child that was looked at: a patch that version of it, a delete that uid of it. A
//!   namesake that came since, and what a later leader wrote, stay.
//! - What was written counts at once, whatever the store shows by then: a created child is there, a patched one has
//!   its patch, a deleted one is terminating.
//! - [`Children::caught_up`] tells whether there may be a child that nobody knows of yet, because its create was not
//!   answered. Changes of the store settle that, and half a minute does. [`Children::waiting_for_answered`] holds on to
//!   what was answered for longer.
//!
//! Deliberately absent: which children there should be, and which of nobody's objects are adopted.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use kube::{Resource, core::ApiResource};
use parking_lot::Mutex;
use serde::{Serialize, de::DeserializeOwned};

use crate::cluster::{
    error::WriteError,
    writer::{Change as Patch, Deletion, Guard, Target, Writer},
};
use kube_fenced_election::clock::SharedClock;

use super::{
    expectations::Expectations,
    reconciler::Key,
    watches::{Change, Index, Keep, Owned, Store, Subscription, Watches},
};

/// How long a store may lag behind our own writes before it is believed.
const LAG: Duration = Duration::from_secs(30);

/// The children of one kind, for one term. `K`: as they come over the wire; `S`: what the store keeps of them.
pub struct Children<K, S = K> {
    store: Store<S>,
    resource: ApiResource,
    keep: Keep<K, S>,
    watches: Watches,
    expected: Arc<Mutex<Expectations<S>>>,
    clock: SharedClock,
    _settling: Subscription,
}

/// Whose children are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent<'a> {
    /// Its namespace, and theirs.
    pub namespace: &'a str,
    /// Its uid. An empty one has no children.
    pub uid: &'a str,
}

/// What there is by the name of a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Child<S> {
    /// Nothing.
    Absent,
    /// Ours.
    Ours(Arc<S>),
    /// Ours, and being deleted.
    Terminating(Arc<S>),
    /// Controlled by nobody, and not being deleted: the loop may adopt it by a patch that names the parent as its
    /// controller, where it is what the loop would make ([`crate::rollout::controller_ref::adoption_patch`]).
    Orphan(Arc<S>),
    /// Controlled by somebody else, or not to be adopted.
    Foreign(Arc<S>),
}

/// A child as a decision saw it: what a write must find unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildRef {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// `resourceVersion`.
    pub version: String,
}

impl<'a> Parent<'a> {
    /// This object.
    pub fn of(object: &'a impl Owned) -> Self {
        Self { namespace: object.namespace(), uid: object.uid() }
    }

    fn has(self, child: &impl Owned) -> bool {
        !self.uid.is_empty() && child.controller().is_some_and(|owner| owner.uid == self.uid)
    }
}

impl ChildRef {
    /// This object.
    pub fn to(child: &impl Owned) -> Self {
        Self {
            namespace: child.namespace().to_owned(),
            name: child.name().to_owned(),
            uid: child.uid().to_owned(),
            version: child.version().to_owned(),
        }
    }
}

/// The objects of a kind that control a changed child, or did before.
pub(super) fn parents_of<S: Owned>(change: &Change<S>, group: &str, kind: &str) -> Vec<Key> {
    let key = |child: &Arc<S>| {
        let owner = child.controller().filter(|owner| owner.group == group && owner.kind == kind)?;
        Some(Key::new(child.namespace(), owner.name))
    };
    let mut keys: Vec<Key> = change.old.iter().chain(&change.new).filter_map(key).collect();
    keys.dedup();
    keys
}

impl<K, S: Owned> Children<K, S> {
    /// No write yet. The store is indexed by controller. See [`super::loops::Sources::owns`].
    pub(super) fn new(
        store: Store<S>,
        resource: ApiResource,
        keep: Keep<K, S>,
        watches: &Watches,
        clock: SharedClock,
    ) -> Self {
        let expected = Arc::new(Mutex::new(Expectations::new(LAG)));
        let (settled, at) = (Arc::clone(&expected), Arc::clone(&clock));
        let settling = store.subscribe(move |change| settled.lock().changed(&change, at.instant()));
        Self { store, resource, keep, watches: watches.clone(), expected, clock, _settling: settling }
    }

    /// The same, where the store may lag for so long behind what is known to be done: for children whose names say nothing
    /// about whether they are there already.
    #[must_use]
    pub fn waiting_for_answered(self, timeout: Duration) -> Self {
        self.expected.lock().wait_for_answered(timeout);
        self
    }

    /// The store behind it.
    pub fn store(&self) -> &Store<S> {
        &self.store
    }

    /// What there is by this name.
    pub fn named(&self, parent: Parent<'_>, name: &str) -> Child<S> {
        let shown = self.store.get(parent.namespace, name);
        let expected = self.expected.lock();
        match expected.newest(parent.uid, name, shown, self.clock.instant()) {
            None => Child::Absent,
            Some(child) if !parent.has(&*child) => {
                let orphan = !child.has_controller() && !child.is_terminating() && !parent.uid.is_empty();
                if orphan { Child::Orphan(child) } else { Child::Foreign(child) }
            }
            Some(child) if child.is_terminating() || expected.is_deleting(parent.uid, child.uid()) => {
                Child::Terminating(child)
            }
            Some(child) => Child::Ours(child),
        }
    }

    /// All children, by name: those that are ours, and those of them that are being deleted.
    pub fn of(&self, parent: Parent<'_>) -> Vec<Child<S>> {
        let shown = self.store.by_index_in(parent.namespace, &Index::controller(), parent.uid);
        let mut names: BTreeSet<String> = shown.iter().map(|child| child.name().to_owned()).collect();
        names.extend(self.expected.lock().names(parent.uid).map(str::to_owned));
        let children = names.iter().map(|name| self.named(parent, name));
        children.filter(|child| child.ours().is_some()).collect()
    }

    /// Whether everything that was done for the parent is known. While it is not, a plan must create nothing more.
    pub fn caught_up(&self, parent: Parent<'_>) -> bool {
        let shown = |name: &str| self.store.get(parent.namespace, name);
        self.expected.lock().caught_up(parent.uid, shown, self.clock.instant())
    }

    fn target(&self, child: &ChildRef) -> Target {
        Target {
            resource: self.resource.clone(),
            namespace: Some(child.namespace.clone()),
            name: child.name.clone(),
        }
    }

    /// Deletes the child with this uid, whatever else has changed of it, unless `how` asks for its version. That it
    /// is gone already, or replaced by a namesake, is success.
    ///
    /// # Errors
    /// As [`Writer::delete_with`].
    pub async fn delete(
        &self,
        writer: &Writer,
        parent: Parent<'_>,
        child: &ChildRef,
        how: Deletion,
    ) -> Result<(), WriteError> {
        self.expected.lock().deleting(parent.uid, &child.name, &child.uid, self.clock.instant());
        let deleted = writer.delete_with(&self.target(child), &child.uid, how).await;
        if deleted.is_err() {
            self.expected.lock().delete_failed(parent.uid, &child.uid);
        }
        deleted
    }
}

impl<K: DeserializeOwned, S: Owned> Children<K, S> {
    /// Creates a child, which names the parent as its controller and has a name of its own: by that name it is known
    /// before the answer is here.
    ///
    /// # Errors
    /// [`WriteError::AlreadyExists`]: the store will show whose it is.
    pub async fn create<T: Resource + Serialize>(
        &self,
        writer: &Writer,
        parent: Parent<'_>,
        object: &T,
    ) -> Result<Arc<S>, WriteError> {
        let name = object.meta().name.as_deref().unwrap_or_default();
        debug_assert!(
            !name.is_empty(),
            "a child that the API server names is not known until it is answered"
        );
        // Before the call: the store may show the child before the answer is here.
        self.expected.lock().creating(parent.uid, name, self.clock.instant());
        match writer.create_as(&self.resource, object).await {
            Ok(created) => {
                let created = self.kept(created);
                self.expected.lock().created(parent.uid, &created, self.clock.instant());
                Ok(created)
            }
            Err(error) => {
                // Unanswered, it may exist all the same.
                if !matches!(error, WriteError::Other { .. }) {
                    self.expected.lock().create_failed(parent.uid, name);
                }
                Err(error)
            }
        }
    }

    /// Patches a child, if it is still as it was seen.
    ///
    /// # Errors
    /// [`WriteError::Conflict`]: it is not; the store will show what it is.
    pub async fn patch(
        &self,
        writer: &Writer,
        parent: Parent<'_>,
        child: &ChildRef,
        patch: Patch,
    ) -> Result<Arc<S>, WriteError> {
        let guard = Guard { uid: Some(&child.uid), version: &child.version };
        let patched = self.kept(writer.patch_as(&self.target(child), "", patch, guard).await?);
        self.expected.lock().wrote(parent.uid, &patched, self.clock.instant());
        Ok(patched)
    }

    fn kept(&self, object: K) -> Arc<S> {
        Arc::new((self.keep)(object, self.watches.interner()))
    }
}

impl<S> Child<S> {
    /// The child, unless it is somebody else's.
    pub fn ours(&self) -> Option<&Arc<S>> {
        match self {
            Self::Ours(child) | Self::Terminating(child) => Some(child),
            Self::Absent | Self::Orphan(_) | Self::Foreign(_) => None,
        }
    }
}

impl<K, S> fmt::Debug for Children<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Children").field("kind", &self.resource.kind).finish_non_exhaustive()
    }
}

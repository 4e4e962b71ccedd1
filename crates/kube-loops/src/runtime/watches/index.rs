// SPDX-License-Identifier: Apache-2.0
//! Indexes of a store: which objects have this controller, this label, this text. Pure.
//!
//! An index costs about 25 bytes for each of an object's keys and holds no text: keys are hashed, and whoever looks up
//! is shown only objects that do have the key. A store without indexes pays nothing.

use std::{
    borrow::{Borrow, Cow},
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    fmt,
    hash::{BuildHasher, RandomState},
    ops::Bound,
    sync::Arc,
};

use crate::k8s::{
    owner::{controller_of, group_of},
    selector::Selector,
};

use super::cache::Stored;

/// Objects whose labels a store keeps. Implemented for every Kubernetes type.
pub trait Labelled: Stored {
    /// Its labels.
    fn labels(&self) -> &BTreeMap<String, String>;
}

impl<K: kube::Resource + Send + Sync + 'static> Labelled for K {
    fn labels(&self) -> &BTreeMap<String, String> {
        kube::ResourceExt::labels(self)
    }
}

/// Objects of which a store keeps who controls them. Implemented for every Kubernetes type.
pub trait Owned: Stored {
    /// Its uid.
    fn uid(&self) -> &str;
    /// Whether it is being deleted.
    fn is_terminating(&self) -> bool;
    /// The object that controls it; `None`: none does, or none that matters here.
    fn controller(&self) -> Option<ControllerRef<'_>>;
    /// Whether any object controls it.
    fn has_controller(&self) -> bool {
        self.controller().is_some()
    }
}

/// The object that controls another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControllerRef<'a> {
    /// Group of its kind; empty for the core group.
    pub group: &'a str,
    /// Its kind.
    pub kind: &'a str,
    /// Its name; it is in the same namespace.
    pub name: &'a str,
    /// Its uid.
    pub uid: &'a str,
}

impl<K: kube::Resource + Send + Sync + 'static> Owned for K {
    fn uid(&self) -> &str {
        self.meta().uid.as_deref().unwrap_or_default()
    }

    fn is_terminating(&self) -> bool {
        self.meta().deletion_timestamp.is_some()
    }

    fn controller(&self) -> Option<ControllerRef<'_>> {
        controller_of(self.meta()).map(|owner| ControllerRef {
            group: group_of(&owner.api_version),
            kind: &owner.kind,
            name: &owner.name,
            uid: &owner.uid,
        })
    }
}

/// By what the objects of a store can be looked up. Indexes of one kind and name are the same.
pub struct Index<S> {
    name: &'static str,
    keys: Keys<S>,
}

enum Keys<S> {
    /// The value of the label that the index is named after.
    Label(fn(&S) -> &BTreeMap<String, String>),
    Text(for<'a> fn(&'a S) -> Vec<Cow<'a, str>>),
}

impl<S> Index<S> {
    /// By texts that `keys` yields for an object, any number of them.
    pub const fn new(name: &'static str, keys: for<'a> fn(&'a S) -> Vec<Cow<'a, str>>) -> Self {
        Self { name, keys: Keys::Text(keys) }
    }

    /// By the value of a label. Makes [`super::Store::select`] fast for selectors that ask for a value of it.
    pub const fn label(key: &'static str) -> Self
    where
        S: Labelled,
    {
        Self { name: key, keys: Keys::Label(S::labels) }
    }

    /// By the uid of the object that controls it.
    pub const fn controller() -> Self
    where
        S: Owned,
    {
        Self::new("uid of the controller", |object| {
            object.controller().map(|owner| Cow::Borrowed(owner.uid)).into_iter().collect()
        })
    }

    fn is_label(&self) -> bool {
        matches!(self.keys, Keys::Label(_))
    }

    fn is(&self, other: &Self) -> bool {
        (self.name, self.is_label()) == (other.name, other.is_label())
    }

    fn keys_of<'a>(&self, object: &'a S) -> Vec<Cow<'a, str>> {
        match self.keys {
            Keys::Label(labels) => {
                labels(object).get(self.name).map(|value| Cow::Borrowed(value.as_str())).into_iter().collect()
            }
            Keys::Text(keys) => keys(object),
        }
    }

    /// Whether the object has this key.
    pub(super) fn finds(&self, object: &S, key: &str) -> bool {
        self.keys_of(object).iter().any(|it| it == key)
    }
}

/// The indexes of one store.
pub(super) struct Indexes<S> {
    hasher: RandomState,
    built: Vec<(Index<S>, BTreeSet<Posting<S>>)>,
}

impl<S: Stored> Indexes<S> {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), built: Vec::new() }
    }

    /// Adds an index over what is held, unless there is one of its name.
    pub(super) fn add<'a>(&mut self, index: Index<S>, held: impl Iterator<Item = &'a Arc<S>>) {
        if self.built.iter().any(|(known, _)| known.is(&index)) {
            return;
        }
        let hasher = &self.hasher;
        let postings = held.flat_map(|object| {
            let keys = index.keys_of(object);
            keys.into_iter().map(|key| Posting::new(hasher, &key, object)).collect::<Vec<_>>()
        });
        let postings = postings.collect();
        self.built.push((index, postings));
    }

    /// An object has changed, come or gone.
    pub(super) fn change(&mut self, old: Option<&Arc<S>>, new: Option<&Arc<S>>) {
        for (index, postings) in &mut self.built {
            let keys = |object: Option<&Arc<S>>| -> Vec<Posting<S>> {
                object.map_or_else(Vec::new, |object| {
                    let keys = index.keys_of(object);
                    keys.iter().map(|key| Posting::new(&self.hasher, key, object)).collect()
                })
            };
            let (gone, fresh) = (keys(old), keys(new));
            for posting in gone.iter().filter(|posting| !fresh.contains(posting)) {
                postings.remove(posting);
            }
            // In place of the posting of the version before: those of one object and key are equal.
            for posting in fresh {
                postings.replace(posting);
            }
        }
    }

    /// Objects with this key, sorted by namespace and name; `namespace`: only those in it. `None`: no such index.
    pub(super) fn find<'a>(
        &'a self,
        index: &'a Index<S>,
        namespace: Option<&'a str>,
        key: &'a str,
    ) -> Option<impl Iterator<Item = &'a Arc<S>>> {
        let (_, postings) = self.built.iter().find(|(known, _)| known.is(index))?;
        let found = self.range(postings, namespace, key);
        Some(found.filter(move |object| index.finds(object, key)))
    }

    /// A few objects of a namespace among which are all that `selector` matches. `None`: no label that it wants to
    /// have a certain value is indexed.
    pub(super) fn candidates<'a>(
        &'a self,
        namespace: &'a str,
        selector: &'a Selector,
    ) -> Option<impl Iterator<Item = &'a Arc<S>>> {
        let walks = selector.values().filter_map(|(label, values)| {
            let (_, postings) = self.built.iter().find(|(it, _)| it.is_label() && it.name == label)?;
            Some(move || values.iter().flat_map(move |value| self.range(postings, Some(namespace), value)))
        });
        let walks: Vec<_> = walks.collect();
        // All are walked side by side: the first to end is the shortest.
        let mut ahead: Vec<_> = walks.iter().map(|walk| walk()).collect();
        if ahead.is_empty() {
            return None;
        }
        let shortest = loop {
            if let Some(ended) = ahead.iter_mut().position(|walk| walk.next().is_none()) {
                break ended;
            }
        };
        walks.get(shortest).map(|walk| walk())
    }

    fn range<'a>(
        &'a self,
        postings: &'a BTreeSet<Posting<S>>,
        namespace: Option<&'a str>,
        key: &str,
    ) -> impl Iterator<Item = &'a Arc<S>> + use<'a, S> {
        let hash = self.hasher.hash_one(key);
        let first: &dyn Place = &(hash, namespace.unwrap_or_default(), "");
        let from = postings.range::<dyn Place, _>((Bound::Included(first), Bound::Unbounded));
        let here = move |posting: &&Posting<S>| {
            posting.hash == hash && namespace.is_none_or(|namespace| posting.object.namespace() == namespace)
        };
        from.take_while(here).map(|posting| &posting.object)
    }
}

/// That an object has a key. Ordered by the key's hash, namespace and name.
struct Posting<S> {
    hash: u64,
    object: Arc<S>,
}

impl<S> Posting<S> {
    fn new(hasher: &RandomState, key: &str, object: &Arc<S>) -> Self {
        Self { hash: hasher.hash_one(key), object: Arc::clone(object) }
    }
}

/// Where a posting stands in the order of an index.
trait Place {
    fn place(&self) -> (u64, &str, &str);
}

impl<S: Stored> Place for Posting<S> {
    fn place(&self) -> (u64, &str, &str) {
        (self.hash, self.object.namespace(), self.object.name())
    }
}

impl Place for (u64, &str, &str) {
    fn place(&self) -> (u64, &str, &str) {
        *self
    }
}

impl<'a, S: Stored> Borrow<dyn Place + 'a> for Posting<S> {
    fn borrow(&self) -> &(dyn Place + 'a) {
        self
    }
}

impl Ord for dyn Place + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl PartialOrd for dyn Place + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn Place + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for dyn Place + '_ {}

impl<S: Stored> Ord for Posting<S> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl<S: Stored> PartialOrd for Posting<S> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<S: Stored> PartialEq for Posting<S> {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl<S: Stored> Eq for Posting<S> {}

impl<S> Clone for Index<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Index<S> {}

impl<S> Clone for Keys<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Keys<S> {}

impl<S> fmt::Debug for Index<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index")
            .field("name", &self.name)
            .field("label", &self.is_label())
            .finish_non_exhaustive()
    }
}

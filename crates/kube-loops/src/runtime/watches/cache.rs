// SPDX-License-Identifier: Apache-2.0
//! What a store holds, and how lists and watch events change it. Pure.
//!
//! # Guarantees
//! - No object goes back to an earlier version, whatever the order in which a watch and a list deliver; unless a
//!   consistent list shows that the server itself went back, as after a restore of its storage: then the list counts.
//! - After the end of a list, exactly the objects of the list and newer ones are left.
//! - Every difference is reported once, deletions included.
//! - Of an object whose newest version is malformed, the last good version stays until it is deleted:
//!   children that seem to vanish would be created again.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    super::reconciler::Key,
    deserialize_guard::Malformed,
    index::{Index, Indexes, Labelled},
    version,
};
use crate::k8s::selector::Selector;

/// What a store needs to know of an object. Implemented for every Kubernetes type; a type of one's own
/// that keeps less implements it by hand.
pub trait Stored: Send + Sync + 'static {
    /// Namespace; empty for cluster-scoped objects.
    fn namespace(&self) -> &str;
    /// Name.
    fn name(&self) -> &str;
    /// `metadata.resourceVersion`.
    fn version(&self) -> &str;
}

impl<K: kube::Resource + Send + Sync + 'static> Stored for K {
    fn namespace(&self) -> &str {
        self.meta().namespace.as_deref().unwrap_or_default()
    }

    fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }

    fn version(&self) -> &str {
        self.meta().resource_version.as_deref().unwrap_or_default()
    }
}

/// One difference. Never both `None`. An object that was replaced by a namesake between two lists
/// comes as one difference: compare the uids where it matters.
#[derive(Debug)]
pub struct Change<S> {
    /// What the store held before; `None`: the object is new.
    pub old: Option<Arc<S>>,
    /// What the store holds now; `None`: the object is gone.
    pub new: Option<Arc<S>>,
}

impl<S: Stored> Change<S> {
    /// The object after the change, or the last that was known of it.
    pub fn object(&self) -> Option<&Arc<S>> {
        self.new.as_ref().or(self.old.as_ref())
    }

    /// Key of the object.
    pub fn key(&self) -> Key {
        self.object().map_or_else(|| Key::new("", ""), |object| Key::new(object.namespace(), object.name()))
    }
}

impl<S> Clone for Change<S> {
    fn clone(&self) -> Self {
        Self { old: self.old.clone(), new: self.new.clone() }
    }
}

/// An object as it came in.
pub(crate) type Item<S> = Result<S, Box<Malformed>>;

/// What the watch has to do after a list ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterInit {
    /// Go on.
    Watch,
    /// Begin anew: a full list was applied while this one was under way, and which of the two is later
    /// is not known.
    Restart,
}

pub(crate) struct Cache<S> {
    namespaces: BTreeMap<Box<str>, BTreeMap<Box<str>, Entry<S>>>,
    objects: usize,
    /// Number of the watch's list that is under way or was the last.
    epoch: u32,
    /// Number of the full list that is under way or was the last; 0: there was none.
    relist: u32,
    /// A list of the watch is under way.
    initialising: bool,
    /// A full list ran beside the watch's list: which of the two shows the later state is not known.
    list_raced: bool,
    /// Version of the last full list: watch events up to this version are ignored.
    min_event_version: Option<String>,
    /// Version of the last watch event: everything up to here is in the store.
    observed: Option<String>,
    /// The server went back to an earlier state since the last list: of two versions of an object, that of the next
    /// list counts, and nothing that it lacks stays.
    rewritten: bool,
    /// Objects deleted by the watch while a full list is under way, with the version of the deletion.
    tombstones: Option<HashMap<Key, String>>,
    indexes: Indexes<S>,
}

struct Entry<S> {
    object: Option<Arc<S>>,
    malformed: Option<Box<Malformed>>,
    /// The watch's list and the full list that brought it last.
    epoch: u32,
    relist: u32,
}

/// Who brings an object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Via {
    Init,
    Event,
    Relist,
}

impl<S: Stored> Entry<S> {
    fn version(&self) -> &str {
        let malformed = self.malformed.as_ref().map(|malformed| malformed.version.as_str());
        malformed.or_else(|| self.object.as_ref().map(|object| object.version())).unwrap_or_default()
    }
}

impl<S: Stored> Cache<S> {
    pub(super) fn new() -> Self {
        Self {
            namespaces: BTreeMap::new(),
            objects: 0,
            epoch: 0,
            relist: 0,
            initialising: false,
            list_raced: false,
            min_event_version: None,
            observed: None,
            rewritten: false,
            tombstones: None,
            indexes: Indexes::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn indexes(&self) -> &Indexes<S> {
        &self.indexes
    }

    /// Objects can be looked up by this index from now on.
    pub(super) fn add_index(&mut self, index: Index<S>) {
        let objects = self.namespaces.values().flat_map(BTreeMap::values);
        self.indexes.add(index, objects.filter_map(|entry| entry.object.as_ref()));
    }

    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<S>> {
        self.namespaces.get(namespace)?.get(name)?.object.as_ref()
    }

    /// In order of namespace and name.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<S>> {
        self.namespaces.values().flat_map(BTreeMap::values).filter_map(|entry| entry.object.as_ref())
    }

    /// In order of name.
    pub(super) fn iter_in(&self, namespace: &str) -> impl Iterator<Item = &Arc<S>> {
        let entries = self.namespaces.get(namespace).into_iter().flat_map(BTreeMap::values);
        entries.filter_map(|entry| entry.object.as_ref())
    }

    pub(super) fn len(&self) -> usize {
        self.objects
    }

    /// Objects with this key, in order of namespace and name; `namespace`: only those in it.
    pub(super) fn find(&self, index: &Index<S>, namespace: Option<&str>, key: &str) -> Vec<Arc<S>> {
        if let Some(found) = self.indexes.find(index, namespace, key) {
            return found.cloned().collect();
        }
        debug_assert!(false, "the watch was asked for without {index:?}");
        let wanted = |object: &&Arc<S>| {
            namespace.is_none_or(|namespace| object.namespace() == namespace) && index.finds(object, key)
        };
        self.iter().filter(wanted).cloned().collect()
    }

    /// The objects of a namespace that a selector matches, in order of name.
    pub(super) fn select(&self, namespace: &str, selector: &Selector) -> Vec<Arc<S>>
    where
        S: Labelled,
    {
        let matches = |object: &&Arc<S>| selector.matches(object.labels());
        let Some(candidates) = self.indexes.candidates(namespace, selector) else {
            return self.iter_in(namespace).filter(matches).cloned().collect();
        };
        let mut selected: Vec<Arc<S>> = candidates.filter(matches).cloned().collect();
        // Several values of one label are looked up one after the other.
        selected.sort_by(|one, other| one.name().cmp(other.name()));
        selected
    }

    pub(super) fn malformed(&self) -> impl Iterator<Item = &Malformed> {
        self.namespaces.values().flat_map(BTreeMap::values).filter_map(|entry| entry.malformed.as_deref())
    }

    /// The version held of an object, malformed or not.
    pub(crate) fn version_of(&self, namespace: &str, name: &str) -> Option<&str> {
        Some(self.namespaces.get(namespace)?.get(name)?.version())
    }

    /// Namespace, name and version of everything held, malformed objects included.
    pub(crate) fn versions(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.namespaces.iter().flat_map(|(namespace, entries)| {
            entries.iter().map(move |(name, entry)| (&**namespace, &**name, entry.version()))
        })
    }

    /// Version of the last watch event.
    pub(crate) fn observed(&self) -> Option<&str> {
        self.observed.as_deref()
    }

    /// The watch begins to list.
    pub(super) fn begin(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        self.initialising = true;
        self.list_raced = self.tombstones.is_some();
    }

    /// An object of the watch's list.
    pub(super) fn init_apply(&mut self, item: Item<S>) -> Option<Change<S>> {
        let (namespace, name, incoming) = identity(&item);
        if self.list_raced && self.is_old(incoming) && self.version_of(namespace, name).is_none() {
            return None; // deleted before the full list
        }
        // The list is consistent and began after everything that is held was delivered: it cannot be older.
        if !self.list_raced
            && self.version_of(namespace, name).is_some_and(|held| version::before(incoming, held))
        {
            self.rewritten = true;
            return self.replace(item, Via::Init);
        }
        self.upsert(item, Via::Init)
    }

    /// The watch's list is complete.
    pub(super) fn init_done(&mut self) -> (Vec<Change<S>>, AfterInit) {
        self.initialising = false;
        if self.list_raced {
            return (Vec::new(), AfterInit::Restart);
        }
        // The list is later than all that came before: versions from before it say nothing about what follows.
        (self.min_event_version, self.observed, self.rewritten) = (None, None, false);
        let epoch = self.epoch;
        (self.sweep(|entry| entry.epoch == epoch), AfterInit::Watch)
    }

    /// Whether the server is known to have gone back to an earlier state, and no list has been completed since.
    pub(super) fn is_rewritten(&self) -> bool {
        self.rewritten
    }

    /// A consistent list is older than what is held, or than what the watch has delivered: the server went back to an
    /// earlier state. What is held stays until the next list: passes would take an empty store for an empty cluster.
    pub(super) fn rewritten(&mut self) {
        self.rewritten = true;
    }

    /// The latest version that is held or was delivered: no consistent list that begins later is older.
    pub(crate) fn newest(&self) -> Option<&str> {
        let held = self.versions().map(|(.., version)| version);
        held.chain(self.observed()).reduce(|one, other| if version::before(one, other) { other } else { one })
    }

    /// The watch saw an object appear or change.
    pub(super) fn apply(&mut self, item: Item<S>) -> Option<Change<S>> {
        let (.., incoming) = identity(&item);
        self.observed = Some(incoming.to_owned());
        if self.is_old(incoming) {
            return None;
        }
        self.upsert(item, Via::Event)
    }

    /// The watch saw an object go.
    pub(super) fn delete(&mut self, item: &Item<S>) -> Option<Change<S>> {
        let (namespace, name, incoming) = identity(item);
        self.observed = Some(incoming.to_owned());
        if let Some(tombstones) = &mut self.tombstones {
            tombstones.insert(Key::new(namespace, name), incoming.to_owned());
        }
        let held = self.version_of(namespace, name)?;
        if self.is_old(incoming) || version::before(incoming, held) {
            return None; // the namesake that came after it
        }
        self.remove(namespace, name)
    }

    /// A full list apart from the watch begins.
    pub(crate) fn relist_begin(&mut self) {
        self.tombstones = Some(HashMap::new());
        self.relist = self.relist.saturating_add(1);
        self.list_raced |= self.initialising;
    }

    /// An object of the full list.
    pub(crate) fn relist_apply(&mut self, item: Item<S>) -> Option<Change<S>> {
        let (namespace, name, incoming) = identity(&item);
        let deleted =
            self.tombstones.as_ref().and_then(|tombstones| tombstones.get(&Key::new(namespace, name)));
        if deleted.is_some_and(|deleted| version::before(incoming, deleted)) {
            return None; // the watch has seen it go since the list was made
        }
        if self.rewritten {
            return self.replace(item, Via::Relist);
        }
        self.upsert(item, Via::Relist)
    }

    /// The full list is complete; it shows the state at `listed`.
    pub(crate) fn relist_done(&mut self, listed: &str) -> Vec<Change<S>> {
        self.tombstones = None;
        self.list_raced |= self.initialising;
        let rewritten = std::mem::take(&mut self.rewritten);
        if rewritten {
            self.observed = None;
        }
        let earlier = self.min_event_version.as_deref().filter(|_| !rewritten);
        if earlier.is_none_or(|earlier| version::before(earlier, listed)) {
            self.min_event_version = Some(listed.to_owned());
        }
        let relist = self.relist;
        self.sweep(|entry| {
            let newer = version::compare(entry.version(), listed).is_some_and(Ordering::is_gt) && !rewritten;
            entry.relist == relist || newer
        })
    }

    /// The full list failed half-way. What it brought stays, nothing is removed.
    pub(crate) fn relist_failed(&mut self) {
        self.tombstones = None;
    }

    /// The kind is not served: there can be no object of it.
    pub(super) fn clear(&mut self) -> Vec<Change<S>> {
        self.sweep(|_| false)
    }

    fn is_old(&self, incoming: &str) -> bool {
        self.min_event_version
            .as_deref()
            .is_some_and(|min| version::compare(incoming, min).is_some_and(Ordering::is_le))
    }

    fn upsert(&mut self, item: Item<S>, via: Via) -> Option<Change<S>> {
        let (epoch, relist) = (self.epoch, self.relist);
        let (namespace, name, incoming) = identity(&item);
        let held = self.namespaces.get_mut(namespace).and_then(|entries| entries.get_mut(name));
        if let Some(entry) = held {
            match via {
                Via::Init => entry.epoch = epoch,
                Via::Relist => entry.relist = relist,
                Via::Event => {}
            }
            if entry.version() == incoming || version::before(incoming, entry.version()) {
                return None;
            }
            return match item {
                Ok(object) => {
                    entry.malformed = None;
                    let new = Arc::new(object);
                    let old = entry.object.replace(Arc::clone(&new));
                    self.objects = self.objects.saturating_add(usize::from(old.is_none()));
                    self.indexes.change(old.as_ref(), Some(&new));
                    Some(Change { old, new: Some(new) })
                }
                Err(malformed) => {
                    entry.malformed = Some(malformed);
                    None
                }
            };
        }
        let (namespace, name) = (Box::from(namespace), Box::from(name));
        let (object, malformed) = match item {
            Ok(object) => (Some(Arc::new(object)), None),
            Err(malformed) => (None, Some(malformed)),
        };
        self.objects = self.objects.saturating_add(usize::from(object.is_some()));
        self.indexes.change(None, object.as_ref());
        let new = object.clone();
        let relist = if via == Via::Relist { relist } else { 0 };
        let entry = Entry { object, malformed, epoch, relist };
        self.namespaces.entry(namespace).or_default().insert(name, entry);
        new.map(|new| Change { old: None, new: Some(new) })
    }

    /// Takes an object of a list whatever is held of it, unless it is the same.
    fn replace(&mut self, item: Item<S>, via: Via) -> Option<Change<S>> {
        let (namespace, name, incoming) = identity(&item);
        if self.version_of(namespace, name) == Some(incoming) {
            return self.upsert(item, via);
        }
        let old = self.remove(namespace, name).and_then(|change| change.old);
        match self.upsert(item, via) {
            Some(change) => Some(Change { old, ..change }),
            None => old.map(|old| Change { old: Some(old), new: None }),
        }
    }

    fn remove(&mut self, namespace: &str, name: &str) -> Option<Change<S>> {
        let entries = self.namespaces.get_mut(namespace)?;
        let entry = entries.remove(name)?;
        if entries.is_empty() {
            self.namespaces.remove(namespace);
        }
        let old = entry.object?;
        self.objects = self.objects.saturating_sub(1);
        self.indexes.change(Some(&old), None);
        Some(Change { old: Some(old), new: None })
    }

    /// Removes what does not stay.
    fn sweep(&mut self, stays: impl Fn(&Entry<S>) -> bool) -> Vec<Change<S>> {
        let mut gone = Vec::new();
        self.namespaces.retain(|_, entries| {
            entries.retain(|_, entry| {
                let stays = stays(entry);
                if !stays {
                    gone.extend(entry.object.take());
                }
                stays
            });
            !entries.is_empty()
        });
        self.objects = self.objects.saturating_sub(gone.len());
        for old in &gone {
            self.indexes.change(Some(old), None);
        }
        gone.into_iter().map(|old| Change { old: Some(old), new: None }).collect()
    }
}

/// Namespace, name and version of an object, malformed or not.
pub(super) fn identity<S: Stored>(item: &Item<S>) -> (&str, &str, &str) {
    match item {
        Ok(object) => (object.namespace(), object.name(), object.version()),
        Err(malformed) => (&malformed.namespace, &malformed.name, &malformed.version),
    }
}

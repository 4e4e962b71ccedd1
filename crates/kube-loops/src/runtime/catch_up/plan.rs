// SPDX-License-Identifier: Apache-2.0
//! Whether a store has caught up with a list. Pure.

use std::{cmp::Ordering, collections::BTreeMap};

use super::super::{reconciler::Key, watches::version};

/// A consistent list, reduced to versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Version of the list.
    pub(crate) version: String,
    /// Version of each object.
    pub(crate) objects: BTreeMap<Key, String>,
}

/// What a store shows, as far as catching up needs it.
pub(crate) trait View {
    /// Version held of an object; `None`: it is not there.
    fn version_of(&self, key: &Key) -> Option<&str>;
    /// Namespace, name and version of everything held.
    fn versions(&self) -> Box<dyn Iterator<Item = (&str, &str, &str)> + '_>;
    /// Version of the last event of the watch, which delivers in order: everything up to it is held.
    fn observed(&self) -> Option<&str>;
}

/// Objects of which a store shows a state older than a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CatchUp {
    listed: String,
    /// Missing or older than listed, with the listed version.
    older: Vec<(Key, String)>,
    /// Not listed, and not newer than the list: deleted before it.
    surplus: Vec<Key>,
}

impl CatchUp {
    /// Compares a store with a list.
    pub(crate) fn of(listed: &Listed, view: &dyn View) -> Self {
        let mut catch_up = Self { listed: listed.version.clone(), ..Self::default() };
        if catch_up.passed(view) {
            return catch_up;
        }
        let older = listed.objects.iter().filter(|(key, want)| !holds(view, key, want));
        catch_up.older = older.map(|(key, want)| (key.clone(), want.clone())).collect();
        let held = view.versions().filter(|(.., held)| !is_after(held, &listed.version));
        let surplus = held.map(|(namespace, name, _)| Key::new(namespace, name));
        catch_up.surplus = surplus.filter(|key| !listed.objects.contains_key(key)).collect();
        catch_up
    }

    /// Looks again at what was behind; the rest can only have moved forward.
    pub(crate) fn recheck(&mut self, view: &dyn View) {
        if self.passed(view) {
            self.older.clear();
            self.surplus.clear();
            return;
        }
        self.older.retain(|(key, want)| !holds(view, key, want));
        let listed = &self.listed;
        self.surplus.retain(|key| view.version_of(key).is_some_and(|held| !is_after(held, listed)));
    }

    /// Whether nothing is behind.
    pub(crate) fn is_done(&self) -> bool {
        self.older.is_empty() && self.surplus.is_empty()
    }

    /// Number of objects that are behind.
    pub(crate) fn behind(&self) -> usize {
        self.older.len().saturating_add(self.surplus.len())
    }

    /// Whether the watch has delivered everything up to the list. This also settles an object that was
    /// deleted after the list, so that its listed version will never be held.
    fn passed(&self, view: &dyn View) -> bool {
        let observed = view.observed().and_then(|observed| version::compare(observed, &self.listed));
        observed.is_some_and(Ordering::is_ge)
    }
}

fn holds(view: &dyn View, key: &Key, want: &str) -> bool {
    view.version_of(key).is_some_and(|held| version::at_least(held, want))
}

fn is_after(held: &str, listed: &str) -> bool {
    version::compare(held, listed).is_some_and(Ordering::is_gt)
}

// SPDX-License-Identifier: Apache-2.0
//! The oracle's fourth question: was anything made twice?
//!
//! The children of probe loops have random names, so that a second leader that works on old data would make
//! more of them: `<parent>-<32 hexadecimal digits>`. Nobody deletes them, so each parent has exactly as many
//! creations as it asks for children.

use std::collections::BTreeMap;

use super::audit::Entry;

/// Parents with more children than they ask for: how many were made, by whom and when the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Doubled {
    /// The parent.
    pub(crate) parent: String,
    /// How many children were made.
    pub(crate) made: usize,
    /// The processes that made them.
    pub(crate) by: Vec<String>,
}

/// The parents of which more than `wanted` children were made.
pub(crate) fn made_twice(entries: &[Entry], wanted: usize) -> Vec<Doubled> {
    let mut made: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for entry in entries.iter().filter(|it| it.verb == "create" && it.is_ok()) {
        let (Some(object), Some(caller)) = (&entry.object, &entry.caller) else { continue };
        if let Some(parent) = parent_of(&object.name).filter(|_| object.resource == "configmaps") {
            made.entry(parent).or_default().push(caller.identity.clone());
        }
    }
    let too_many = made.into_iter().filter(|(_, by)| by.len() > wanted);
    too_many.map(|(parent, by)| Doubled { parent: parent.to_owned(), made: by.len(), by }).collect()
}

/// How many children were made in all.
pub(crate) fn children_made(entries: &[Entry]) -> usize {
    let made = entries.iter().filter(|it| it.verb == "create" && it.is_ok() && it.caller.is_some());
    made.filter_map(|it| it.object.as_ref()).filter(|it| parent_of(&it.name).is_some()).count()
}

fn parent_of(child: &str) -> Option<&str> {
    let (parent, random) = child.rsplit_once('-')?;
    (random.len() == 32 && random.bytes().all(|it| it.is_ascii_hexdigit())).then_some(parent)
}

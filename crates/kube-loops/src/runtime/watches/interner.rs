// SPDX-License-Identifier: Apache-2.0
//! Strings that occur in thousands of objects, kept once.

use std::{collections::HashSet, fmt, sync::Arc};

use parking_lot::Mutex;

/// Fewest strings before unused ones are looked for.
const FIRST_SWEEP: usize = 1024;

/// Shares equal strings (label keys, image names, node names) among the objects of all stores.
///
/// A string that no object uses any more goes when the table has doubled since it was last swept, so
/// names that come and go do not pile up.
pub struct Interner {
    table: Mutex<Table>,
}

struct Table {
    strings: HashSet<Arc<str>>,
    sweep_at: usize,
}

impl Interner {
    /// Empty.
    pub fn new() -> Self {
        Self { table: Mutex::new(Table { strings: HashSet::new(), sweep_at: FIRST_SWEEP }) }
    }

    /// The shared string that equals this one.
    pub fn share(&self, text: &str) -> Arc<str> {
        let mut table = self.table.lock();
        if let Some(shared) = table.strings.get(text) {
            return Arc::clone(shared);
        }
        if table.strings.len() >= table.sweep_at {
            table.strings.retain(|shared| Arc::strong_count(shared) > 1);
            table.sweep_at = table.strings.len().saturating_mul(2).max(FIRST_SWEEP);
        }
        let shared: Arc<str> = Arc::from(text);
        table.strings.insert(Arc::clone(&shared));
        shared
    }

    /// Strings in the table, unused ones included.
    pub fn len(&self) -> usize {
        self.table.lock().strings.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Interner {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Interner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interner").field("strings", &self.len()).finish()
    }
}

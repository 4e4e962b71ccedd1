// SPDX-License-Identifier: Apache-2.0
//! Which generation of a RoleSet the RoleSet loop has passed over in this term, its status written.
//!
//! A StormService counts a RoleSet as updated by its status. Just after an edit that status is about the spec before, and
//! says nothing of that: the loop under the same Lease tells it here.

use std::collections::HashMap;

use parking_lot::Mutex;

/// Generations by uid.
#[derive(Debug, Default)]
pub(super) struct Passes(Mutex<HashMap<String, i64>>);

impl Passes {
    /// A term begins: nothing has been passed over.
    pub(super) fn reset(&self) {
        self.0.lock().clear();
    }

    /// The RoleSet was passed over.
    pub(super) fn passed(&self, uid: &str, generation: i64) {
        self.0.lock().insert(uid.to_owned(), generation);
    }

    /// The RoleSet is gone.
    pub(super) fn forget(&self, uid: &str) {
        self.0.lock().remove(uid);
    }

    /// The generation that was passed over; `None`: none in this term.
    pub(super) fn of(&self, uid: &str) -> Option<i64> {
        self.0.lock().get(uid).copied()
    }
}

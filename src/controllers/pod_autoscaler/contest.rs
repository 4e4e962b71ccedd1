// SPDX-License-Identifier: Apache-2.0
//! Writes of ours that somebody else undoes, or that admission changes: they are told once, and tried ever more
//! rarely. Pure.
//!
//! A write lasts when the object still says what was written a minute later. After two in a row that did not, the
//! object is contested until one does.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;

use kube_fenced_election::clock::Timestamp;
use kube_loops::cluster::writer::FIELD_MANAGER;

/// How long a write has to stay to have lasted.
const LASTS: SignedDuration = SignedDuration::from_mins(1);
/// Writes in a row that did not last, from which on they are told and become rarer.
const CONTESTED: u32 = 2;
/// Distance between the second write and the third; it doubles.
const FIRST_DISTANCE: SignedDuration = SignedDuration::from_secs(20);
/// Longest distance.
const LONGEST_DISTANCE: SignedDuration = SignedDuration::from_mins(5);

/// What is known of our writes to one object.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Contest {
    /// The last write, until it is known whether it lasted.
    last: Option<Write>,
    /// Writes in a row that did not last because of the same one.
    undone: u32,
    /// When the last of them was sent.
    at: Option<Timestamp>,
    /// Who undid it, in words.
    by: String,
    /// A write that the API server took without storing anything else than before.
    idle: Option<IdleWrite>,
}

#[derive(Debug, Clone, PartialEq)]
struct Write {
    at: Timestamp,
    /// What was written.
    content: String,
}

/// What was wanted of what, and what the API server made of it.
#[derive(Debug, Clone, PartialEq)]
struct IdleWrite {
    content: String,
    /// The object as it was, and is.
    stored: String,
    /// What is said about it.
    message: String,
}

/// What is to become of a write that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Attempt {
    /// It is made.
    Now,
    /// Not yet: others like it did not last.
    Later,
    /// It would change nothing.
    Never,
}

impl Contest {
    /// Notes what the object says now. `is_kept`: tells of what was written whether it is still there; `by`: who has
    /// changed it otherwise, in words.
    pub(super) fn look(&mut self, now: Timestamp, by: &str, is_kept: impl Fn(&str) -> bool) {
        let Some(last) = &self.last else { return };
        match (is_kept(&last.content), now.duration_since(last.at) <= LASTS) {
            (true, true) => {}
            // What was changed later was changed on purpose.
            (_, false) => *self = Self::default(),
            (false, true) => {
                let undone = if self.by == by { self.undone.saturating_add(1) } else { 1 };
                *self = Self { undone, at: Some(last.at), by: by.to_owned(), ..Self::default() };
            }
        }
    }

    /// Nothing is to be written: who undid our writes has come to want the same.
    pub(super) fn rest(&mut self, now: Timestamp) {
        let is_over = |at: Timestamp| now.duration_since(at) > LASTS.max(distance(self.undone));
        if self.last.is_none() && self.at.is_some_and(is_over) {
            *self = Self::default();
        }
    }

    /// Whether to write `content` now, over an object that is as `stored` says.
    pub(super) fn attempt(&self, now: Timestamp, content: &str, stored: &str) -> Attempt {
        if self.idle.as_ref().is_some_and(|it| it.content == content && it.stored == stored) {
            return Attempt::Never;
        }
        let waits = self.at.is_some_and(|at| now.duration_since(at) < distance(self.undone));
        if self.undone >= CONTESTED && waits { Attempt::Later } else { Attempt::Now }
    }

    /// The API server has stored what was written.
    pub(super) fn wrote(&mut self, at: Timestamp, content: String) {
        (self.last, self.idle) = (Some(Write { at, content }), None);
    }

    /// The API server has taken what was written, and kept the object as it was: `stored`.
    pub(super) fn wrote_in_vain(&mut self, at: Timestamp, content: String, stored: String, message: String) {
        let idle = Some(IdleWrite { content, stored, message });
        *self = Self { undone: self.undone.saturating_add(1), at: Some(at), idle, ..Self::default() };
    }

    /// What is said while writes change nothing.
    pub(super) fn in_vain(&self) -> Option<&str> {
        self.idle.as_ref().map(|idle| idle.message.as_str())
    }

    /// Who undoes our writes, in words, while they do not last.
    pub(super) fn undone_by(&self) -> Option<&str> {
        (self.undone >= CONTESTED && self.idle.is_none()).then_some(&*self.by)
    }
}

fn distance(undone: u32) -> SignedDuration {
    let doublings = undone.saturating_sub(CONTESTED).min(8);
    FIRST_DISTANCE.checked_mul(1 << doublings).unwrap_or(LONGEST_DISTANCE).min(LONGEST_DISTANCE)
}

/// Who wrote an object last besides us, by the field manager; `owns`: whether an entry concerns what we write.
pub(super) fn other_writer(
    entries: &[ManagedFieldsEntry],
    owns: impl Fn(&ManagedFieldsEntry) -> bool,
) -> Option<&str> {
    let is_other = |it: &&ManagedFieldsEntry| {
        it.manager.as_deref() != Some(FIELD_MANAGER)
            && it.subresource.as_deref() != Some("status")
            && owns(it)
    };
    let last = entries.iter().filter(is_other).max_by_key(|it| it.time.as_ref().map(|time| time.0));
    last?.manager.as_deref()
}

/// The same in words.
pub(super) fn in_words(manager: Option<&str>) -> String {
    match manager {
        Some(manager) => format!("field manager {manager:?}"),
        None => "somebody whom its managedFields do not name, such as a webhook or policy".to_owned(),
    }
}

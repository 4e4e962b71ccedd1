// SPDX-License-Identifier: Apache-2.0
//! The history of an owner's templates: which recorded revision is the wanted one, which the current one,
//! which ones are kept.
//!
//! A template that was recorded before is found again by what it means, not by its name or hash, and gets
//! the next number: going back is going forward to an old name. Numbers only rise; the highest is the
//! newest.

use std::cmp::Ordering;

use jiff::Timestamp;

use super::template::hashes::revision_hash;

/// Revisions kept beside those in use, where the owner says nothing.
pub const DEFAULT_HISTORY_LIMIT: usize = 10;
/// Collision counts that are tried for a name of its own.
const MOST_COLLISIONS: u32 = 100;
/// Longest list of earlier numbers in an annotation, in bytes.
const HISTORY_BYTES: usize = 2000;

/// A recorded revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Name of the object.
    pub name: String,
    /// Uid of the object.
    pub uid: String,
    /// Its number.
    pub number: i64,
    /// Creation time.
    pub created: Option<Timestamp>,
}

/// The order of a history: number, age, name, ascending.
pub fn by_number(a: &Recorded, b: &Recorded) -> Ordering {
    let key = |recorded: &Recorded| (recorded.number, recorded.created.is_none(), recorded.created);
    key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
}

/// The number of the next revision: one more than the highest, or 1.
pub fn next_number(numbers: impl IntoIterator<Item = i64>) -> i64 {
    numbers.into_iter().max().unwrap_or(0).saturating_add(1)
}

/// Which revision the live template is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateRevision<'a> {
    /// The newest one, as it is.
    Newest(&'a Recorded),
    /// An older one: it gets this number, and keeps name and data.
    Renumber(&'a Recorded, i64),
    /// None: a new one is to be recorded under this number.
    Record(i64),
}

/// Finds the live template in the history. `means_the_same` compares what a revision recorded with the live
/// template; of several that do, the newest counts.
pub fn update_revision(
    history: &[Recorded],
    means_the_same: impl Fn(&Recorded) -> bool,
) -> UpdateRevision<'_> {
    let history = sorted(history);
    let next = next_number(history.iter().map(|recorded| recorded.number));
    match history.iter().rev().find(|recorded| means_the_same(recorded)) {
        None => UpdateRevision::Record(next),
        Some(same) if history.last().is_some_and(|newest| newest.name == same.name) => {
            UpdateRevision::Newest(same)
        }
        Some(same) => UpdateRevision::Renumber(same, next),
    }
}

/// The revision that the status calls current; `None`: it is not there (any more), and the update revision
/// takes its place.
pub fn current_revision<'a>(history: &'a [Recorded], stored: &str) -> Option<&'a Recorded> {
    history.iter().find(|recorded| recorded.name == stored)
}

/// The oldest revision of the unbroken run that ends with `current` and in which `is_same` holds: the
/// revision at which a part of the template last changed. `current` itself always belongs to it.
pub fn unchanged_since<'a>(
    history: &'a [Recorded],
    current: &'a Recorded,
    is_same: impl Fn(&Recorded) -> bool,
) -> &'a Recorded {
    let before = sorted(history).into_iter().rev().filter(|recorded| by_number(recorded, current).is_lt());
    before.take_while(|recorded| is_same(recorded)).last().unwrap_or(current)
}

/// The revisions to delete: of those not in use the oldest ones, until `limit` are left. Absent is
/// [`DEFAULT_HISTORY_LIMIT`], negative is 0.
pub fn surplus(
    history: &[Recorded],
    limit: Option<i32>,
    is_live: impl Fn(&Recorded) -> bool,
) -> Vec<&Recorded> {
    let limit = limit.map_or(DEFAULT_HISTORY_LIMIT, |limit| usize::try_from(limit).unwrap_or(0));
    let idle: Vec<_> = sorted(history).into_iter().filter(|recorded| !is_live(recorded)).collect();
    let excess = idle.len().saturating_sub(limit);
    idle.into_iter().take(excess).collect()
}

/// The old sets that a history of sets gives up: of all the first ones beyond `limit`, less those that are
/// still in use, which are not made up for by others. Absent and 2147483647 keep all, negative is 0.
pub fn surplus_sets(
    old: &[Recorded],
    limit: Option<i32>,
    in_use: impl Fn(&Recorded) -> bool,
) -> Vec<&Recorded> {
    let Some(limit) = limit.filter(|limit| *limit != i32::MAX) else { return Vec::new() };
    let excess = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    sorted(old).into_iter().take(excess).filter(|recorded| !in_use(recorded)).collect()
}

/// The second highest number, to which a rollback without a number goes: 0 without a second one, the
/// highest where two share it.
pub fn last_but_one(numbers: impl IntoIterator<Item = i64>) -> i64 {
    let (mut highest, mut second) = (0, 0);
    for number in numbers {
        if number >= highest {
            (second, highest) = (highest, number);
        } else if number > second {
            second = number;
        }
    }
    second
}

/// The list of earlier numbers with one more at its end, separated by commas. The oldest are dropped while
/// it is longer than 2000 bytes; where that does not help, it stays as it was.
pub fn append_number(history: &str, number: &str) -> String {
    if history.is_empty() {
        return number.to_owned();
    }
    let mut kept = history;
    while kept.len() + number.len() + 1 > HISTORY_BYTES {
        match kept.split_once(',') {
            Some((_, rest)) => kept = rest,
            None => return history.to_owned(),
        }
    }
    format!("{kept},{number}")
}

/// A name for a new revision and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionName {
    /// `<prefix>-<hash>`.
    pub name: String,
    /// The hash, for a label.
    pub hash: String,
    /// The number of collisions that the hash is taken with.
    pub collision_count: u32,
}

/// The name of a revision: the first `prefix_bytes` of the owner's name, on a character boundary, and the
/// hash of the data.
pub fn revision_name(owner: &str, prefix_bytes: usize, data: &str, collision_count: u32) -> RevisionName {
    let prefix = owner.get(..owner.floor_char_boundary(prefix_bytes)).unwrap_or(owner);
    let hash = revision_hash(data.as_bytes(), collision_count);
    RevisionName { name: format!("{prefix}-{hash}"), hash, collision_count }
}

/// The next name when this one is taken by something else. The hash often stays the same over ten counts,
/// so counts are tried until it changes. `None` when a hundred did not help.
pub fn next_revision_name(
    owner: &str,
    prefix_bytes: usize,
    data: &str,
    taken: &RevisionName,
) -> Option<RevisionName> {
    (1..=MOST_COLLISIONS)
        .map(|more| revision_name(owner, prefix_bytes, data, taken.collision_count.saturating_add(more)))
        .find(|next| next.hash != taken.hash)
}

fn sorted(history: &[Recorded]) -> Vec<&Recorded> {
    let mut sorted: Vec<_> = history.iter().collect();
    sorted.sort_by(|a, b| by_number(a, b));
    sorted
}

// SPDX-License-Identifier: Apache-2.0
//! Scaling and rolling replicas with an index: one slot for each of `0..R`, held by one active replica, and
//! for a while by two, when the new one is made beside the old one.
//!
//! ```text
//! R, S, U  Limits          D = slots with a ready replica − (R − U)          live = active + terminating
//! scale    delete what has ended and what has no slot; per slot keep one (table below)
//!          create empty slots, lowest first, while R + S − live > 0
//! roll     per slot with one active, outdated replica, lowest first:
//!          not ready → delete;  D > 0 → delete, D − 1;  room > 0 → create beside it, room − 1
//!          room = R + S − all, ended ones included
//! ```
//! Of several active replicas in one slot, scaling keeps:
//!
//! | Ready and updated | Kept |
//! |---|---|
//! | at least one | the first of them by [`keep_first`], nothing else |
//! | none | the first that is ready and outdated, and the first that is updated and not ready |
//!
//! Scaling in removes the highest indexes at once: unavailability is not looked at. Slots with none or
//! several are left to scaling, so the two never fight.

use std::collections::BTreeSet;

use super::{
    limits::Limits,
    order::{group_surplus, keep_first},
    pool::{Pace, sorted},
    replica::{Counts, Life, Replica},
};

/// What a pass does to slots. Both empty: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlotStep<'a> {
    /// To delete (or to drain first, where the kind has that), in this order.
    pub delete: Vec<&'a Replica>,
    /// Indexes to create from the wanted template, ascending.
    pub create: Vec<usize>,
}

impl SlotStep<'_> {
    /// Whether the pass does nothing.
    pub fn is_empty(&self) -> bool {
        self.delete.is_empty() && self.create.is_empty()
    }
}

/// The active replicas by slot.
#[derive(Debug, Clone)]
pub struct Slots<'a> {
    /// One entry per index of `0..R`; inside one, by [`keep_first`].
    pub by_index: Vec<Vec<&'a Replica>>,
    /// Active replicas without a slot: no usable index, or one that is too high. Highest index first.
    pub homeless: Vec<&'a Replica>,
}

impl<'a> Slots<'a> {
    /// Sorts replicas into `desired` slots.
    pub fn of(replicas: &'a [Replica], desired: usize) -> Self {
        let mut by_index = vec![Vec::new(); desired];
        for replica in sorted(replicas, keep_first, |_| true) {
            if let Some(slot) = replica.index.and_then(|index| by_index.get_mut(index)) {
                slot.push(replica);
            }
        }
        let homeless =
            sorted(replicas, group_surplus, |replica| replica.index.is_none_or(|index| index >= desired));
        Self { by_index, homeless }
    }

    /// How many slots hold a replica that this is true of.
    pub fn count(&self, holds: impl Fn(&Replica) -> bool) -> usize {
        self.by_index.iter().filter(|slot| slot.iter().any(|replica| holds(replica))).count()
    }

    /// How many slots hold something, and nothing that is updated.
    pub fn outdated(&self) -> usize {
        let outdated =
            |slot: &&Vec<&Replica>| !slot.is_empty() && !slot.iter().any(|replica| replica.is_updated());
        self.by_index.iter().filter(outdated).count()
    }
}

/// Fills empty slots, empties those that are gone, and leaves one replica in each.
///
/// `can_be_made`: whether the replica of an index can be made at all. One whose name somebody has, or an old one that is
/// not gone yet, takes no room from the others.
pub fn scale(replicas: &[Replica], limits: Limits, can_be_made: impl Fn(usize) -> bool) -> SlotStep<'_> {
    let slots = Slots::of(replicas, limits.desired);
    let mut delete: Vec<_> = replicas.iter().filter(|replica| replica.life == Life::Ended).collect();
    delete.sort_by(|a, b| a.name.cmp(&b.name));
    delete.extend(slots.homeless);
    delete.extend(slots.by_index.iter().flat_map(|slot| superseded(slot)));
    let empty = slots.by_index.iter().enumerate().filter(|(_, slot)| slot.is_empty()).map(|(index, _)| index);
    let creatable = empty.filter(|index| can_be_made(*index));
    SlotStep { delete, create: creatable.take(limits.room(Counts::of(replicas).live())).collect() }
}

/// Those of one slot that another one of it makes superfluous.
fn superseded<'a>(slot: &[&'a Replica]) -> Vec<&'a Replica> {
    if slot.len() < 2 {
        return Vec::new();
    }
    let first = |ready: bool, updated: bool| {
        slot.iter().find(|replica| replica.ready == ready && replica.is_updated() == updated)
    };
    let kept = match first(true, true) {
        Some(serving) => vec![serving],
        None => [first(true, false), first(false, true)].into_iter().flatten().collect(),
    };
    slot.iter().filter(|replica| !kept.iter().any(|kept| kept.name == replica.name)).copied().collect()
}

/// Replaces outdated replicas. To be asked in a pass in which [`scale`] had nothing to do.
///
/// `holds_name`: whether the replica bears the very name that its successor would get, so that nothing can
/// be made beside it. Without unavailability it is deleted all the same, one at a time and only while every
/// slot has a ready replica: it could never be replaced otherwise.
pub fn roll(
    replicas: &[Replica],
    limits: Limits,
    pace: Pace,
    holds_name: impl Fn(&Replica) -> bool,
) -> SlotStep<'_> {
    let slots = Slots::of(replicas, limits.desired);
    let ready_slots = slots.count(|replica| replica.ready);
    let mut budget = Budget::new(&slots, replicas.len(), ready_slots, limits, pace);
    let mut step = SlotStep::default();
    for (index, slot) in slots.by_index.iter().enumerate() {
        let [replica] = slot.as_slice() else { continue };
        if replica.is_updated() {
            continue;
        }
        if replica.draining {
            step.delete.push(replica);
            continue;
        }
        if budget.starts == 0 {
            continue; // Its turn has not come.
        }
        if !replica.ready {
            budget.starts -= 1;
            step.delete.push(replica);
        } else if budget.expendable > 0 {
            budget.starts -= 1;
            budget.expendable -= 1;
            step.delete.push(replica);
        } else if budget.room > 0 {
            let stuck = holds_name(replica);
            let alone = limits.unavailable == 0 && ready_slots == limits.desired && step.delete.is_empty();
            if !stuck {
                step.create.push(index);
            } else if alone {
                step.delete.push(replica);
            } else {
                continue;
            }
            budget.starts -= 1;
            budget.room -= 1;
        }
    }
    step
}

struct Budget {
    /// Ready replicas that may be deleted, D.
    expendable: usize,
    /// What may be created beside.
    room: usize,
    /// Slots that may be begun at all.
    starts: usize,
}

impl Budget {
    fn new(slots: &Slots<'_>, all: usize, ready_slots: usize, limits: Limits, pace: Pace) -> Self {
        let target = pace.target(limits.desired);
        let (expendable, room) = (limits.expendable(ready_slots), limits.room(all));
        // R − T slots are not touched yet.
        let untouched = limits.desired - target;
        let draining = slots.count(|replica| replica.draining && !replica.is_updated());
        let updated = slots.count(Replica::is_updated);
        let startable = slots.outdated().saturating_sub(draining).saturating_sub(untouched);
        let of_ready = slots.outdated().saturating_sub(untouched).min(expendable);
        match pace {
            Pace::Free => Self { expendable, room, starts: usize::MAX },
            Pace::Step(_) => Self {
                expendable: of_ready,
                room: room.min(target.saturating_sub(updated)),
                starts: usize::MAX,
            },
            Pace::Share(_) => Self {
                expendable: of_ready,
                room: room.min(target.saturating_sub(updated)),
                starts: startable,
            },
        }
    }
}

/// The ordinal at the end of the name of a pod of a `StatefulSet`, `<set>-<ordinal>`, as Kubernetes reads
/// it: decimal digits behind the last dash, within 31 bits. `None` for other names.
pub fn ordinal_of(name: &str) -> Option<usize> {
    let (_, digits) = name.rsplit_once('-')?;
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let ordinal: i32 = digits.parse().ok().filter(|_| all_digits)?;
    usize::try_from(ordinal).ok()
}

/// The index that a label or annotation says: an integer of at least 0, read as Go's `strconv.Atoi` does
/// (`+1` and `01` are 1). `None` for an absent one and for other text.
pub fn index_of(text: Option<&str>) -> Option<usize> {
    let index: i64 = text?.parse().ok()?;
    usize::try_from(index).ok()
}

/// The `count` lowest indexes that are not used, ascending.
pub fn lowest_free(used: impl IntoIterator<Item = usize>, count: usize) -> Vec<usize> {
    let used: BTreeSet<usize> = used.into_iter().collect();
    (0..).filter(|index| !used.contains(index)).take(count).collect()
}

/// The indexes of `0..size` that are not used, ascending.
pub fn missing(used: impl IntoIterator<Item = usize>, size: usize) -> Vec<usize> {
    let used: BTreeSet<usize> = used.into_iter().collect();
    (0..size).filter(|index| !used.contains(index)).collect()
}

// SPDX-License-Identifier: Apache-2.0
//! Policy `binPack`.

use super::Candidate;

/// Models that fit on a pod, its base model included.
pub(crate) const CAPACITY: usize = 10;

/// The fullest candidate that has room; `None`: none has.
pub(crate) fn bin_pack(candidates: &[Candidate]) -> Option<&Candidate> {
    let fitting = candidates.iter().filter(|candidate| candidate.models < CAPACITY);
    fitting.min_by(|a, b| b.models.cmp(&a.models).then_with(|| a.name.cmp(&b.name)))
}

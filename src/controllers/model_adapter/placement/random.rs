// SPDX-License-Identifier: Apache-2.0
//! Policy `random`.

use rand::{Rng, seq::IndexedRandom as _};

use super::Candidate;

/// Any candidate, each as likely as the others; `None` without any.
pub(crate) fn random<'a>(candidates: &'a [Candidate], rng: &mut impl Rng) -> Option<&'a Candidate> {
    candidates.choose(rng)
}

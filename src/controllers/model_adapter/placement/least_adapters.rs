// SPDX-License-Identifier: Apache-2.0
//! Policy `leastAdapters`, the default.

use super::{Candidate, by_models};

/// The candidate with the fewest models; `None` without any.
pub(crate) fn least_adapters(candidates: &[Candidate]) -> Option<&Candidate> {
    candidates.iter().min_by(|a, b| by_models(a, b))
}

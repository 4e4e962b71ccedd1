// SPDX-License-Identifier: Apache-2.0
//! Policy `leastThroughput`.

use super::{Candidate, Measured, by_models, by_score};

/// `2 · prompt + generation`, both in tokens a minute.
pub(crate) fn throughput_score(prompt: f64, generation: f64) -> f64 {
    2.0f64.mul_add(prompt, generation)
}

/// The candidate with the lowest score. When nothing was measured anywhere, the one with the fewest models
/// among those that answered, if any did. `None` without any candidate.
pub(crate) fn least_throughput(candidates: &[Candidate]) -> Option<&Candidate> {
    if candidates.iter().any(|candidate| matches!(candidate.measured, Measured::Score(_))) {
        return candidates.iter().min_by(|a, b| by_score(a, b));
    }
    let silent = |candidate: &Candidate| candidate.measured == Measured::Unreachable;
    candidates.iter().min_by(|a, b| silent(a).cmp(&silent(b)).then_with(|| by_models(a, b)))
}

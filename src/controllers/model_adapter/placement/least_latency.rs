// SPDX-License-Identifier: Apache-2.0
//! Policy `leastLatency`.

use super::{Candidate, by_score};

/// Sum and count of a histogram, over all models of a pod.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Mean {
    /// Sum of the observations, in seconds.
    pub sum: f64,
    /// Their number.
    pub count: f64,
}

impl Mean {
    fn value(self) -> f64 {
        if self.count > 0.0 { self.sum / self.count } else { 0.0 }
    }
}

/// Mean time in the queue plus mean time of inference, in seconds; what was never observed counts as 0.
pub(crate) fn latency_score(queue: Mean, inference: Mean) -> f64 {
    queue.value() + inference.value()
}

/// The candidate with the lowest score; `None` without any candidate.
pub(crate) fn least_latency(candidates: &[Candidate]) -> Option<&Candidate> {
    candidates.iter().min_by(|a, b| by_score(a, b))
}

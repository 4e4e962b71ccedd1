// SPDX-License-Identifier: Apache-2.0
//! Which pod hosts an adapter with one replica. Numbers in, pod out; ties go to the lowest name, so that the same
//! facts lead to the same pod.

use std::cmp::Ordering;

use rand::{Rng, seq::IndexedRandom as _};

/// A pod that may host the adapter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    /// Its name.
    pub name: String,
    /// Names of models on it: base model, adapters, claims, reservations under way. A pod of which nothing is
    /// known has none.
    pub models: usize,
    /// What its metrics say, for the policies that measure.
    pub measured: Measured,
}

/// What the metrics of a pod say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Measured {
    /// A score; lower is better.
    Score(f64),
    /// The pod answered, without the metrics: it counts as idle.
    Missing,
    /// The pod did not answer, or not in time: it comes last.
    Unreachable,
}

impl Measured {
    fn score(self) -> f64 {
        match self {
            Self::Score(score) if score.is_nan() => f64::INFINITY,
            Self::Score(score) => score,
            Self::Missing => 0.0,
            Self::Unreachable => f64::INFINITY,
        }
    }
}

/// Any candidate, each as likely as the others; `None` without any.
pub(crate) fn random<'a>(candidates: &'a [Candidate], rng: &mut impl Rng) -> Option<&'a Candidate> {
    candidates.choose(rng)
}

/// The candidate with the fewest models; `None` without any.
pub(crate) fn least_adapters(candidates: &[Candidate]) -> Option<&Candidate> {
    candidates.iter().min_by(|a, b| by_models(a, b))
}

/// Models that fit on a pod, its base model included.
pub(crate) const CAPACITY: usize = 10;

/// The fullest candidate that has room; `None`: none has.
pub(crate) fn bin_pack(candidates: &[Candidate]) -> Option<&Candidate> {
    let fitting = candidates.iter().filter(|candidate| candidate.models < CAPACITY);
    fitting.min_by(|a, b| b.models.cmp(&a.models).then_with(|| a.name.cmp(&b.name)))
}

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

fn by_models(a: &Candidate, b: &Candidate) -> Ordering {
    a.models.cmp(&b.models).then_with(|| a.name.cmp(&b.name))
}

fn by_score(a: &Candidate, b: &Candidate) -> Ordering {
    a.measured.score().total_cmp(&b.measured.score()).then_with(|| a.name.cmp(&b.name))
}

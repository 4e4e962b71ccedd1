// SPDX-License-Identifier: Apache-2.0
//! Which pod hosts an adapter with one replica. One file per policy, numbers in, pod out; ties go to the lowest
//! name, so that the same facts lead to the same pod.

mod bin_pack;
mod least_adapters;
mod least_latency;
mod least_throughput;
mod random;

use std::cmp::Ordering;

pub(crate) use bin_pack::{CAPACITY, bin_pack};
pub(crate) use least_adapters::least_adapters;
pub(crate) use least_latency::{Mean, latency_score, least_latency};
pub(crate) use least_throughput::{least_throughput, throughput_score};
pub(crate) use random::random;

/// A pod that may host the adapter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    /// Its name.
    pub name: String,
    /// Names of models on it: base model, adapters, claims, placements under way. A pod of which nothing is
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

fn by_models(a: &Candidate, b: &Candidate) -> Ordering {
    a.models.cmp(&b.models).then_with(|| a.name.cmp(&b.name))
}

fn by_score(a: &Candidate, b: &Candidate) -> Ordering {
    a.measured.score().total_cmp(&b.measured.score()).then_with(|| a.name.cmp(&b.name))
}

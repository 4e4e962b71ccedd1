// SPDX-License-Identifier: Apache-2.0
//! KPA: replicas for a total, with a stable and a panic window.
//!
//! ```text
//! panic   = S.sum > 0 and P.sum / S.sum > θ
//! cap     = max(1, ceil(up * R));  floor_ = floor(R / down)
//! want(x) = (x.spread > T*B*(1+tu) or x.sum < T*B*(1-td)) ? ceil(x.sum / T) : R     B = max(1, R) or 1
//! ns = min( max(want(S), floor_), cap );  np likewise from P
//! if activation > 1: raise ns (np) to activation when 0 < ns < activation
//! d  = ns;  if panic: d = max(ns, np, M), M = d
//! ```
//! M, the most replicas asked for in this panic, ends with the panic: an idle service scales down.

use super::{Limits, Totals, to_replicas};

/// What KPA is given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct Input {
    /// R.
    pub(in super::super) current: i32,
    /// T: the wanted value of one replica, above 0.
    pub(in super::super) target: f64,
    /// S: means of the stable window.
    pub(in super::super) stable: Totals,
    /// P: means of the panic window.
    pub(in super::super) panic: Totals,
    /// Whether the total is a sum over R replicas: the tolerance is then around T·R instead of T.
    pub(in super::super) summed: bool,
    /// Fewest replicas of a target that has any; 1: no such rule.
    pub(in super::super) activation: i32,
    /// M; `None`: no panic so far.
    pub(in super::super) peak: Option<i32>,
}

/// What KPA answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Output {
    /// Recommendation, not clamped to bounds.
    pub(in super::super) desired: i32,
    /// M for the next round; `None`: no panic.
    pub(in super::super) peak: Option<i32>,
}

/// Recommendation; panics from θ = `threshold`.
pub(in super::super) fn recommend(input: Input, threshold: f64, limits: Limits) -> Output {
    let in_panic = input.stable.sum > 0.0 && input.panic.sum / input.stable.sum > threshold;
    decide(input, in_panic, limits)
}

/// [`recommend`] with the question of panic answered.
pub(super) fn decide(input: Input, in_panic: bool, limits: Limits) -> Output {
    let Input { current, target, stable, panic, activation, .. } = input;
    if target.is_nan() || target <= 0.0 || !stable.is_finite() || !panic.is_finite() {
        return Output { desired: current, peak: input.peak };
    }
    let replicas = f64::from(current);
    let cap = (limits.up_rate * replicas).ceil().max(1.0);
    let floor = (replicas / limits.down_rate).floor();
    let band = if input.summed { target * replicas.max(1.0) } else { target };
    let want = |total: Totals| {
        let beyond = total.spread > band * (1.0 + limits.up_tolerance)
            || total.sum < band * (1.0 - limits.down_tolerance);
        let wanted = if beyond { (total.sum / target).ceil() } else { replicas };
        to_replicas(wanted.max(floor).min(cap))
    };
    let activated = |count: i32| if activation > 1 && count > 0 { count.max(activation) } else { count };
    let from_stable = activated(want(stable));
    if !in_panic {
        return Output { desired: from_stable, peak: None };
    }
    let from_panic = activated(want(panic));
    let desired = from_stable.max(from_panic).max(input.peak.unwrap_or(0));
    Output { desired, peak: Some(desired) }
}

// SPDX-License-Identifier: Apache-2.0
//! APA: replicas in proportion to the load.
//!
//! ```text
//! up = spread / R / T;  down = sum / R / T
//! if   up   > 1 + tu : min( ceil(sum / T), ceil(up_rate * R) )
//! elif down < 1 - td : max( ceil(sum / T), floor(R / down_rate) )
//! else               : R
//! ```
//! The totals are means of a window, and R is the count of now: pods that do not serve yet are capacity on its way.

use super::{Limits, Totals, to_replicas};

/// Recommendation for R = `current`, T = `target` and the means of a window, not clamped to bounds. 0 stays 0;
/// a target that is not above 0 and totals that are no numbers keep R.
pub(in super::super) fn recommend(current: i32, target: f64, stable: Totals, limits: Limits) -> i32 {
    if current <= 0 || target.is_nan() || target <= 0.0 || !stable.is_finite() {
        return current;
    }
    let replicas = f64::from(current);
    let load = stable.map(|total| total / replicas / target);
    let wanted = (stable.sum / target).ceil();
    if load.spread > 1.0 + limits.up_tolerance {
        to_replicas(wanted.min((limits.up_rate * replicas).ceil()))
    } else if load.sum < 1.0 - limits.down_tolerance {
        to_replicas(wanted.max((replicas / limits.down_rate).floor()))
    } else {
        current
    }
}

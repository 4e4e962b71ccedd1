// SPDX-License-Identifier: Apache-2.0
//! APA: replicas in proportion to the measured mean.
//!
//! ```text
//! rho = S / T
//! if   rho > 1 + tu : min( ceil(R * rho), ceil(up * R) )
//! elif rho < 1 - td : max( ceil(R * rho), floor(R / down) )
//! else              : R
//! ```

use super::{Limits, to_replicas};

/// Recommendation for R = `current`, T = `target` and S = `stable`, not clamped to bounds. 0 stays 0;
/// a target that is not above 0 and a mean that is no number keep R.
pub(in super::super) fn recommend(current: i32, target: f64, stable: f64, limits: Limits) -> i32 {
    if target.is_nan() || target <= 0.0 || !stable.is_finite() {
        return current;
    }
    let replicas = f64::from(current);
    let rho = stable / target;
    if rho > 1.0 + limits.up_tolerance {
        to_replicas((replicas * rho).ceil().min((limits.up_rate * replicas).ceil()))
    } else if rho < 1.0 - limits.down_tolerance {
        to_replicas((replicas * rho).ceil().max((replicas / limits.down_rate).floor()))
    } else {
        current
    }
}

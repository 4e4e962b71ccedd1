// SPDX-License-Identifier: Apache-2.0
//! One number from the values of pods, of which some may be missing.
//!
//! A missing value is unknown, not zero. With n values of R pods, Σ their sum and m their mean:
//! above the target missing pods count as 0, but never below the target; below the target they count as
//! being at the target. So missing values lead neither to scaling down nor to scaling up.

/// mean': the mean over R pods for the wanted value T = `target`; `None` without any finite value.
pub(in super::super) fn mean_of_pods(values: &[f64], current: i32, target: f64) -> Option<f64> {
    let mut known: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    // The order of pods must not decide a comparison at a boundary.
    known.sort_by(f64::total_cmp);
    let mut count = 0.0;
    let mut sum = 0.0;
    for value in known {
        sum += value;
        count += 1.0;
    }
    let wanted = f64::from(current);
    if count == 0.0 {
        return None;
    }
    // Of finite values the mean is finite, however large their sum.
    let sum = sum.clamp(f64::MIN, f64::MAX);
    let mean = sum / count;
    if count >= wanted {
        return Some(mean);
    }
    Some(if mean > target {
        target.max(sum / wanted)
    } else if mean < target {
        (sum + target * (wanted - count)) / wanted
    } else {
        mean
    })
}

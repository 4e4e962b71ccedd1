// SPDX-License-Identifier: Apache-2.0
//! Totals from the values of pods, of which some may be missing.
//!
//! A missing value is unknown, not zero. With k values of R pods, Σ their sum and m their mean: while there are fewer
//! values than R, missing pods count as 0 above the target, but never lead below it, and below the target they count
//! as being at the target. So missing values lead neither to scaling down nor to scaling up.

use super::Totals;

/// The totals over R = `current` pods for the wanted value T = `target`; `None` without any finite value.
pub(in super::super) fn totals_of_pods(values: &[f64], current: i32, target: f64) -> Option<Totals> {
    let mut known: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    // The order of pods must not decide a comparison at a boundary.
    known.sort_by(f64::total_cmp);
    let (mut count, mut sum) = (0.0, 0.0);
    for value in known {
        sum += value;
        count += 1.0;
    }
    if count == 0.0 {
        return None;
    }
    // Of finite values the mean is finite, however large their sum.
    let sum = sum.clamp(f64::MIN, f64::MAX);
    let (mean, wanted) = (sum / count, f64::from(current.max(0)));
    if count > wanted {
        return Some(Totals { sum, spread: mean * wanted });
    }
    let missing = wanted - count;
    let total = if mean > target {
        sum.max(target * wanted)
    } else if mean < target {
        sum + target * missing
    } else {
        mean * wanted
    };
    Some(Totals::of(total))
}

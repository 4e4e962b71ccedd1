// SPDX-License-Identifier: Apache-2.0
//! Order of `resourceVersion`s: unsigned decimal numbers of any length, comparable within one
//! resource type only. Pure.

use std::cmp::Ordering;

/// Which of two versions is the later one; `None` when one of them is not a number.
pub fn compare(left: &str, right: &str) -> Option<Ordering> {
    let (left, right) = (digits(left)?, digits(right)?);
    Some(left.len().cmp(&right.len()).then_with(|| left.cmp(right)))
}

/// Whether `have` is `want` or later. Versions that cannot be compared must be equal.
pub fn at_least(have: &str, want: &str) -> bool {
    compare(have, want).map_or(have == want, Ordering::is_ge)
}

/// Whether `left` is known to be earlier than `right`.
pub fn before(left: &str, right: &str) -> bool {
    compare(left, right).is_some_and(Ordering::is_lt)
}

/// The number without leading zeros, so that longer means larger.
fn digits(version: &str) -> Option<&str> {
    let number = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    number.then(|| version.trim_start_matches('0'))
}

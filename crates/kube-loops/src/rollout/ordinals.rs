// SPDX-License-Identifier: Apache-2.0
//! Indexes of replicas that are not interchangeable.

use std::collections::BTreeSet;

/// The ordinal at the end of the name of a pod of a `StatefulSet`, `<set>-<ordinal>`, as Kubernetes reads
/// it: decimal digits behind the last dash, within 31 bits. `None` for other names.
pub fn ordinal_of(name: &str) -> Option<usize> {
    let (_, digits) = name.rsplit_once('-')?;
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let ordinal: i32 = digits.parse().ok().filter(|_| all_digits)?;
    usize::try_from(ordinal).ok()
}

/// The index that a label or annotation says: an integer of at least 0, read as Go's `strconv.Atoi` does
/// (`+1` and `01` are 1). `None` for an absent one and for other text.
pub fn index_of(text: Option<&str>) -> Option<usize> {
    let index: i64 = text?.parse().ok()?;
    usize::try_from(index).ok()
}

/// The `count` lowest indexes that are not used, ascending.
pub fn lowest_free(used: impl IntoIterator<Item = usize>, count: usize) -> Vec<usize> {
    let used: BTreeSet<usize> = used.into_iter().collect();
    (0..).filter(|index| !used.contains(index)).take(count).collect()
}

/// The indexes of `0..size` that are not used, ascending.
pub fn missing(used: impl IntoIterator<Item = usize>, size: usize) -> Vec<usize> {
    let used: BTreeSet<usize> = used.into_iter().collect();
    (0..size).filter(|index| !used.contains(index)).collect()
}

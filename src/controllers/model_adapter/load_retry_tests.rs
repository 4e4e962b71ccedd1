// SPDX-License-Identifier: Apache-2.0
use super::load_retry::{LoadFailure, delay_after};

#[test]
fn waits_grow_to_five_minutes() {
    let waits = |failure| [1, 2, 3, 4, 5, 6, 7, u32::MAX].map(|k| delay_after(failure, k).as_secs());
    assert_eq!(waits(LoadFailure::Lasting), [10, 20, 40, 80, 160, 300, 300, 300]);
    assert_eq!(waits(LoadFailure::Transient), [10, 10, 10, 10, 10, 300, 300, 300]);
}

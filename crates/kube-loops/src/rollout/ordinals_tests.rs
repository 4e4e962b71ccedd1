// SPDX-License-Identifier: Apache-2.0

use proptest::prelude::*;

use super::ordinals::*;
use super::replica_cases::cases;

#[test]
fn ordinal_is_the_number_behind_the_last_dash() {
    let table = [
        ("web-0", Some(0)),
        ("web-a-12", Some(12)),
        ("web-2147483647", Some(2_147_483_647)),
        ("web-2147483648", None),
        ("web-", None),
        ("web--1", Some(1)),
        ("web-+1", None),
        ("web-1a", None),
        ("web", None),
        ("7", None),
    ];
    for (name, ordinal) in table {
        assert_eq!(ordinal_of(name), ordinal, "{name}");
    }
}

#[test]
fn index_is_an_integer_that_is_not_negative() {
    let table = [
        (Some("3"), Some(3)),
        (Some("01"), Some(1)),
        (Some("+1"), Some(1)),
        (Some("-1"), None),
        (Some(""), None),
        (Some("1.0"), None),
        (Some(" 1"), None),
        (None, None),
    ];
    for (text, index) in table {
        assert_eq!(index_of(text), index, "{text:?}");
    }
}

#[test]
fn free_indexes_fill_the_gaps_first() {
    assert_eq!(lowest_free([0, 2, 5, 2], 3), [1, 3, 4]);
    assert_eq!(lowest_free([], 2), [0, 1]);
    assert_eq!(missing([0, 2, 9], 4), [1, 3]);
    assert!(missing([0], 1).is_empty());
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn free_and_used_indexes_do_not_meet(used in prop::collection::vec(0_usize..12, 0..8),
        count in 0_usize..8) {
        let free = lowest_free(used.clone(), count);
        prop_assert_eq!(free.len(), count);
        prop_assert!(free.iter().all(|index| !used.contains(index)));
        let skipped = (0..free.last().copied().unwrap_or(0)).filter(|index| !free.contains(index));
        prop_assert!(skipped.into_iter().all(|index| used.contains(&index)), "the lowest ones");
        let size = count;
        prop_assert!(missing(used.clone(), size).iter().all(|index| *index < size && !used.contains(index)));
    }
}

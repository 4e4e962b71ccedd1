// SPDX-License-Identifier: Apache-2.0
use std::cmp::Ordering;

use proptest::prelude::*;

use super::version::{at_least, before, compare};

#[test]
fn versions_are_ordered_as_numbers_of_any_length() {
    let cases = [
        ("9", "10", Some(Ordering::Less), "longer is later"),
        ("10", "9", Some(Ordering::Greater), "and the other way round"),
        ("10", "10", Some(Ordering::Equal), "same"),
        ("007", "7", Some(Ordering::Equal), "leading zeros do not count"),
        ("0", "", None, "nothing is not a number"),
        ("0", "000", Some(Ordering::Equal), "zero is zero"),
        ("a1", "2", None, "letters are not compared"),
        ("-1", "2", None, "no signs"),
        (
            "340282366920938463463374607431768211456",
            "340282366920938463463374607431768211455",
            Some(Ordering::Greater),
            "beyond 128 bits",
        ),
    ];
    for (left, right, want, why) in cases {
        assert_eq!(compare(left, right), want, "{why}");
    }
}

#[test]
fn incomparable_versions_must_be_equal_to_count_as_reached() {
    assert!(at_least("x", "x"));
    assert!(!at_least("x", "y"));
    assert!(!before("x", "y"));
}

proptest! {
    #[test]
    fn order_is_that_of_the_numbers(left: u128, right: u128) {
        prop_assert_eq!(compare(&left.to_string(), &right.to_string()), Some(left.cmp(&right)));
    }
}

// SPDX-License-Identifier: Apache-2.0
use super::{flags, help::usage};

#[test]
fn usage_is_the_one_that_is_published() {
    assert_eq!(usage(flags::ALL), include_str!("golden/help.txt"));
}

#[test]
fn usage_names_every_flag_but_hidden_ones() {
    let text = usage(flags::ALL);
    for flag in flags::ALL {
        let shown = text.contains(&format!("\n  -{}\n", flag.name()))
            || text.contains(&format!("\n  -{} ", flag.name()));
        assert_eq!(shown, !flag.usage().is_empty(), "{}", flag.name());
    }
}

#[test]
fn usage_fits_a_wide_terminal() {
    for line in usage(flags::ALL).lines() {
        assert!(line.len() <= 110, "{line}");
    }
}

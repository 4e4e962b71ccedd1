// SPDX-License-Identifier: Apache-2.0
use super::text::cut;

#[test]
fn text_is_cut_on_a_character_boundary() {
    for (text, bytes, want) in [
        ("short", 5, "short"),
        ("longer", 5, "lo..."),
        ("ééé", 6, "ééé"),
        ("éééé", 6, "é..."),
        ("☺☺", 5, "..."),
        ("abc", 2, "ab"),
        ("☺", 2, ""),
        ("abc", 0, ""),
    ] {
        assert_eq!(cut(text, bytes), want, "{text} {bytes}");
    }
}

// SPDX-License-Identifier: Apache-2.0
use super::quote::quote;

#[test]
fn strings_are_quoted_as_go_quotes_them() {
    for (text, want) in [
        ("", r#""""#),
        ("plain it's", r#""plain it's""#),
        ("a\"b\\c", r#""a\"b\\c""#),
        ("\n\t\r\u{7}\u{8}\u{b}\u{c}", r#""\n\t\r\a\b\v\f""#),
        ("\u{1}\u{7f}", r#""\x01\x7f""#),
        ("µ☺\u{a0}", "\"µ☺\\u00a0\""),
        ("\u{10ffff}", r#""\U0010ffff""#),
    ] {
        assert_eq!(quote(text), want, "{text:?}");
    }
}

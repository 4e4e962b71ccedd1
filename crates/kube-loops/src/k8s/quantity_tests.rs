// SPDX-License-Identifier: Apache-2.0
use super::quantity::{are_equal, format_binary, format_milli, parse_milli, parse_quantity, parse_whole};

#[test]
fn quantities_are_read_as_kubernetes_reads_them() {
    for (text, value, milli, whole) in [
        ("0", 0.0, 0, 0),
        ("50", 50.0, 50_000, 50),
        ("500m", 0.5, 500, 1),
        ("-1.5", -1.5, -1500, -1),
        ("+.5", 0.5, 500, 1),
        ("2.", 2.0, 2000, 2),
        ("1234567n", 0.001_234_567, 2, 1),
        ("100u", 0.0001, 1, 1),
        ("2e3", 2000.0, 2_000_000, 2000),
        ("1E-3", 0.001, 1, 1),
        ("1E", 1e18, i64::MAX, 1_000_000_000_000_000_000),
        ("128Mi", 134_217_728.0, 134_217_728_000, 134_217_728),
        ("1.5Ki", 1536.0, 1_536_000, 1536),
        ("0.1Ki", 102.4, 102_400, 103),
        ("3k", 3000.0, 3_000_000, 3000),
    ] {
        assert_eq!(parse_quantity(text), Ok(value), "{text}");
        if milli != i64::MAX {
            assert_eq!(parse_milli(text), Ok(milli), "{text}");
        }
        assert_eq!(parse_whole(text), Ok(whole), "{text}");
    }
}

#[test]
fn nonsense_is_no_quantity() {
    for text in ["", "m", "1.2.3", "1K", "1mi", "0x1", "1e", "1 ", "--1", ".", "Inf", "1e1.5", "é"] {
        assert!(parse_quantity(text).is_err() && parse_milli(text).is_err(), "{text}");
    }
    assert!(parse_quantity("99999999999999999999999999999999999999999999").is_err());
    assert!(parse_milli("1e900").is_err() && parse_whole("16Ei").is_err());
    assert_eq!(parse_milli("1e-900"), Ok(1));
}

#[test]
fn quantities_are_printed_canonically() {
    for (milli, text) in [
        (0, "0"),
        (500, "500m"),
        (1000, "1"),
        (1500, "1500m"),
        (50_000, "50"),
        (2_000_000, "2k"),
        (-250, "-250m"),
    ] {
        assert_eq!(format_milli(milli), text);
    }
    for (bytes, text) in [(134_217_728, "128Mi"), (1000, "1000"), (1024, "1Ki"), (0, "0"), (1 << 30, "1Gi")] {
        assert_eq!(format_binary(bytes), text);
    }
}

#[test]
fn equal_numbers_are_equal_in_any_notation() {
    assert!(are_equal("1000m", "1") && are_equal("2k", "2000") && are_equal("128Mi", "134217728"));
    assert!(!are_equal("1", "2") && are_equal("x", "x") && !are_equal("x", "1"));
}

proptest::proptest! {
    #[test]
    fn printed_quantities_parse_to_themselves(milli in -1_000_000_000_000_i64..1_000_000_000_000) {
        proptest::prop_assert_eq!(parse_milli(&format_milli(milli)), Ok(milli));
        proptest::prop_assert_eq!(parse_whole(&format_binary(milli)), Ok(milli));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[-+.0-9eEKMGinumk]{0,50}") {
        let _: Result<_, _> = parse_quantity(&text);
        let _: Result<_, _> = parse_milli(&text);
    }
}

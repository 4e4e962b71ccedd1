// SPDX-License-Identifier: Apache-2.0

use super::quantity::Quantity;

#[test]
fn quantities_are_read_exactly() {
    for (text, value) in [
        ("40", 40.0),
        ("500m", 0.5),
        ("0.1", 0.1),
        ("1.5Gi", 1.5 * 1024.0 * 1024.0 * 1024.0),
        ("128Mi", 134_217_728.0),
        ("2k", 2000.0),
        ("1E", 1e18),
        ("1Ei", 1_152_921_504_606_846_976.0),
        ("1e3", 1000.0),
        ("12E-1", 1.2),
        ("-3", -3.0),
        ("+.5", 0.5),
        ("7.", 7.0),
        ("12345n", 0.000_012_345),
    ] {
        assert_eq!(Quantity::parse(text).map(Quantity::value), Some(value), "{text}");
    }
}

#[test]
fn cores_and_bytes_are_rounded_up() {
    for (text, parts, whole) in [
        ("30m", 1000, 30.0),
        ("30", 1000, 30_000.0),
        ("1n", 1000, 1.0),
        ("0.0301", 1000, 31.0),
        ("1Ki", 1, 1024.0),
        ("1500m", 1, 2.0),
        ("0", 1000, 0.0),
    ] {
        assert_eq!(Quantity::parse(text).map(|quantity| quantity.ceil(parts)), Some(whole), "{text}");
    }
}

#[test]
fn other_texts_are_no_quantities() {
    for text in
        ["", "m", ".", "1x", "1 Mi", "1mi", "1.2.3", "--1", "1e", "1e1.5", "NaN", "1-", "9e99", "0.+1"]
    {
        assert_eq!(Quantity::parse(text), None, "{text}");
    }
}

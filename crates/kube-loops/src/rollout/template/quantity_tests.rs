// SPDX-License-Identifier: Apache-2.0

use proptest::prelude::*;

use super::quantity::*;
use crate::rollout::replica_cases::cases;

/// Text, value, what Go writes, and Go's dump: printed by `k8s.io/apimachinery` v0.36.3 and go-spew, but
/// for the values, which are exact arithmetic.
const VECTORS: [(&str, &str, &str, &str); 44] = [
    ("0", "0", "0", "0e0 0 DecimalSI"),
    ("1", "1", "1", "1e0 1 DecimalSI"),
    ("1000m", "1", "1", "1000e-3  DecimalSI"),
    ("0.5", "0.5", "500m", "5e-1  DecimalSI"),
    ("500m", "0.5", "500m", "500e-3 500m DecimalSI"),
    ("1024Mi", "1073741824", "1Gi", "1073741824e0  BinarySI"),
    ("1Gi", "1073741824", "1Gi", "1073741824e0 1Gi BinarySI"),
    ("8Gi", "8589934592", "8Gi", "8589934592e0  BinarySI"),
    ("1.5Gi", "1610612736", "1536Mi", "slow false [1610612736000000000] 9  BinarySI"),
    ("0.5Gi", "536870912", "512Mi", "slow false [536870912000000000] 9  BinarySI"),
    ("100Mi", "104857600", "100Mi", "104857600e0 100Mi BinarySI"),
    ("1e3", "1000", "1e3", "1e3 1e3 DecimalExponent"),
    ("1E3", "1000", "1E3", "1e3 1E3 DecimalExponent"),
    ("12e6", "12000000", "12e6", "12e6 12e6 DecimalExponent"),
    ("1500M", "1500000000", "1500M", "1500e6 1500M DecimalSI"),
    ("0.1", "0.1", "100m", "1e-1  DecimalSI"),
    ("1n", "0.000000001", "1n", "1e-9 1n DecimalSI"),
    ("0.1n", "0.000000001", "1n", "slow false [1] 9  DecimalSI"),
    ("1.0", "1", "1", "10e-1  DecimalSI"),
    ("100k", "100000", "100k", "100e3 100k DecimalSI"),
    ("1000k", "1000000", "1M", "1000e3  DecimalSI"),
    ("1Ki", "1024", "1Ki", "1024e0 1Ki BinarySI"),
    ("1000Ki", "1024000", "1000Ki", "1024000e0  BinarySI"),
    ("1023", "1023", "1023", "1023e0 1023 DecimalSI"),
    ("1024", "1024", "1024", "1024e0 1024 DecimalSI"),
    ("9Ei", "9223372036854775807", "9223372036854775807", "slow false [9223372036854775807] 0  BinarySI"),
    ("-1", "-1", "-1", "-1e0 -1 DecimalSI"),
    ("-1.5Gi", "-1610612736", "-1536Mi", "slow true [1610612736000000000] 9  BinarySI"),
    ("+5", "5", "+5", "5e0 +5 DecimalSI"),
    ("1.5e3", "1500", "1500", "15e2  DecimalExponent"),
    ("007", "7", "007", "7e0 007 DecimalSI"),
    ("0Gi", "0", "0", "0e0  BinarySI"),
    ("0.0", "0", "0", "0e-1  DecimalSI"),
    ("1000", "1000", "1k", "1000e0  DecimalSI"),
    ("1m", "0.001", "1m", "1e-3 1m DecimalSI"),
    ("1u", "0.000001", "1u", "1e-6 1u DecimalSI"),
    (
        "123456789012345678901",
        "123456789012345678901",
        "123456789012345678901",
        "slow false [14083847773602697728 6692605942] 9  DecimalSI",
    ),
    ("1.5Ki", "1536", "1536", "slow false [1536000000000] 9  BinarySI"),
    ("512", "512", "512", "512e0 512 DecimalSI"),
    ("0.001Ki", "1.024", "1024m", "slow false [1024000000] 9  BinarySI"),
    ("3.3Ki", "3379.2", "3379200m", "slow false [3379200000000] 9  BinarySI"),
    ("10E", "10000000000000000000", "10E", "10e18 10E DecimalSI"),
    ("1e-3", "0.001", "1e-3", "1e-3 1e-3 DecimalExponent"),
    ("5e-10", "0.000000001", "1e-9", "slow false [1] 9  DecimalExponent"),
];

/// The dump with what every one of them has in common taken away.
fn reduced(dump: &str) -> String {
    let slow = dump.contains("unscaled");
    let rest = dump
        .replace("{i:(resource.int64Amount){value:(int64)", "")
        .replace(" scale:(resource.Scale)", "e")
        .replace("} d:(resource.infDecAmount){Dec:(*inf.Dec)<nil>} s:(string)", " ")
        .replace("} s:(string)", " ")
        .replace(" Format:(resource.Format)", " ")
        .replace("} d:(resource.infDecAmount){Dec:(*inf.Dec){unscaled:(big.Int){neg:(bool)", "slow ")
        .replace(" abs:(big.nat)", " ")
        .replace("} scale:(inf.Scale)", " ");
    let rest = rest.strip_suffix('}').unwrap().to_owned();
    if slow { rest.replace("0e0slow", "slow").replace("} ", " ") } else { rest }
}

#[test]
fn quantities_are_read_and_written_as_go_does() {
    for (text, value, written, dump) in VECTORS {
        let quantity = GoQuantity::parse(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(quantity.decimal(), value, "value of {text}");
        assert_eq!(quantity.to_text(), written, "text of {text}");
        assert_eq!(reduced(&quantity.dump()), dump, "dump of {text}");
        assert_eq!(quantity.is_zero(), value == "0", "{text}");
    }
}

#[test]
fn text_that_is_no_quantity_has_no_value() {
    for text in
        ["", "+", "-", ".", ".Gi", "abc", "1x", "1 Gi", "1GiB", "--1", "1e", "1e1000", "Gi", "0x10", "1.2.3"]
    {
        assert_eq!(decimal(text), None, "{text:?}");
    }
}

#[test]
fn equal_values_have_one_text() {
    for (a, b) in
        [("1000m", "1"), ("1024Mi", "1Gi"), ("0.5", "500m"), ("1e3", "1k"), ("1.50", "1500m"), ("0", "0Gi")]
    {
        assert_eq!(decimal(a), decimal(b), "{a} and {b}");
    }
    assert_ne!(decimal("1M"), decimal("1Mi"));
    assert_ne!(decimal("1n"), decimal("2n"), "nothing is lost below a thousandth");
}

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
        assert_eq!(GoQuantity::parse(text).map(|quantity| quantity.value()), Some(value), "{text}");
    }
}

#[test]
fn cores_and_bytes_are_rounded_up() {
    for (text, places, whole) in [
        ("30m", 3, 30.0),
        ("30", 3, 30_000.0),
        ("1n", 3, 1.0),
        ("0.0301", 3, 31.0),
        ("1Ki", 0, 1024.0),
        ("1500m", 0, 2.0),
        ("0", 3, 0.0),
        ("-1500m", 0, -1.0),
        ("-2k", 0, -2000.0),
    ] {
        assert_eq!(GoQuantity::parse(text).map(|quantity| quantity.ceil(places)), Some(whole), "{text}");
    }
}

#[test]
fn other_texts_are_no_quantities() {
    for text in
        ["", "m", ".", "1x", "1 Mi", "1mi", "1.2.3", "--1", "1e", "1e1.5", "NaN", "1-", "9e99", "0.+1"]
    {
        assert_eq!(GoQuantity::parse(text), None, "{text}");
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn what_is_written_has_the_same_value(
        text in "[+-]?[0-9]{1,12}(\\.[0-9]{0,12})?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|e-?[0-9])?",
    ) {
        let quantity = GoQuantity::parse(&text).unwrap();
        let again = GoQuantity::parse(&quantity.to_text()).unwrap();
        prop_assert_eq!(again.decimal(), quantity.decimal());
        prop_assert_eq!(again.to_text(), quantity.to_text());
    }

    #[test]
    fn no_text_panics(text in ".{0,10}") {
        let _ = GoQuantity::parse(&text).map(|quantity| (quantity.decimal(), quantity.to_text(),
            quantity.dump()));
    }
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

proptest! {
    #[test]
    fn printed_quantities_are_the_numbers_that_they_came_from(number in -1_000_000_000_000_i64..1_000_000_000_000) {
        let (thousandths, whole) = (format!("{number}m"), number.to_string());
        prop_assert!(are_equal(&format_milli(number), &thousandths));
        prop_assert!(are_equal(&format_binary(number), &whole));
    }
}

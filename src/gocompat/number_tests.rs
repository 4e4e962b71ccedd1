// SPDX-License-Identifier: Apache-2.0
use super::number::{parse_bool, parse_float, parse_int};

/// Stands for any NaN.
const NAN: u64 = f64::NAN.to_bits();

/// What Go 1.26 answers: the bits of the double, or the error's text.
const FLOATS: &[(&str, Result<u64, &str>)] = &[
    ("", Err("strconv.ParseFloat: parsing \"\": invalid syntax")),
    ("0", Ok(0x0)),
    ("1", Ok(0x3ff0_0000_0000_0000)),
    ("-1.5", Ok(0xbff8_0000_0000_0000)),
    ("+2", Ok(0x4000_0000_0000_0000)),
    ("1e3", Ok(0x408f_4000_0000_0000)),
    ("1E-3", Ok(0x3f50_624d_d2f1_a9fc)),
    (".5", Ok(0x3fe0_0000_0000_0000)),
    ("5.", Ok(0x4014_0000_0000_0000)),
    (".", Err("strconv.ParseFloat: parsing \".\": invalid syntax")),
    ("e5", Err("strconv.ParseFloat: parsing \"e5\": invalid syntax")),
    ("1e", Err("strconv.ParseFloat: parsing \"1e\": invalid syntax")),
    ("1e+", Err("strconv.ParseFloat: parsing \"1e+\": invalid syntax")),
    ("inf", Ok(0x7ff0_0000_0000_0000)),
    ("-Inf", Ok(0xfff0_0000_0000_0000)),
    ("+INFINITY", Ok(0x7ff0_0000_0000_0000)),
    ("infinit", Err("strconv.ParseFloat: parsing \"infinit\": invalid syntax")),
    ("infx", Err("strconv.ParseFloat: parsing \"infx\": invalid syntax")),
    ("nan", Ok(NAN)),
    ("NaN", Ok(NAN)),
    ("+nan", Err("strconv.ParseFloat: parsing \"+nan\": invalid syntax")),
    ("-nan", Err("strconv.ParseFloat: parsing \"-nan\": invalid syntax")),
    ("1_0", Ok(0x4024_0000_0000_0000)),
    ("1_23.50_0_0e+1_2", Ok(0x42dc_14a5_684e_0000)),
    ("1__0", Err("strconv.ParseFloat: parsing \"1__0\": invalid syntax")),
    ("_1", Err("strconv.ParseFloat: parsing \"_1\": invalid syntax")),
    ("1_", Err("strconv.ParseFloat: parsing \"1_\": invalid syntax")),
    ("0x1p4", Ok(0x4030_0000_0000_0000)),
    ("0X1.8P1", Ok(0x4008_0000_0000_0000)),
    ("0x1", Err("strconv.ParseFloat: parsing \"0x1\": invalid syntax")),
    ("0x", Err("strconv.ParseFloat: parsing \"0x\": invalid syntax")),
    ("0xp1", Err("strconv.ParseFloat: parsing \"0xp1\": invalid syntax")),
    ("0x1p-1074", Ok(0x1)),
    ("0x1p-1075", Ok(0x0)),
    ("0x1.8p-1075", Ok(0x1)),
    ("0x1p-1076", Ok(0x0)),
    ("0x1p1023", Ok(0x7fe0_0000_0000_0000)),
    ("0x1p1024", Err("strconv.ParseFloat: parsing \"0x1p1024\": value out of range")),
    ("0x1.fffffffffffffp1023", Ok(0x7fef_ffff_ffff_ffff)),
    (
        "0x1.fffffffffffff8p1023",
        Err("strconv.ParseFloat: parsing \"0x1.fffffffffffff8p1023\": value out of range"),
    ),
    ("0x1.fffffffffffff7fffffp1023", Ok(0x7fef_ffff_ffff_ffff)),
    ("0x_1_2.3_4_5p+1_2", Ok(0x40f2_3450_0000_0000)),
    ("0x1.00000000000008p0", Ok(0x3ff0_0000_0000_0000)),
    ("0x1.000000000000081p0", Ok(0x3ff0_0000_0000_0001)),
    ("0x1.000000000000180000000000000000000p0", Ok(0x3ff0_0000_0000_0002)),
    ("0x123456789abcdef012345p0", Ok(0x44f2_3456_789a_bcdf)),
    ("0x123456789abcdef0123450000p0", Ok(0x45f2_3456_789a_bcdf)),
    ("0x.1p4", Ok(0x3ff0_0000_0000_0000)),
    ("0x1.p1", Ok(0x4000_0000_0000_0000)),
    ("1e400", Err("strconv.ParseFloat: parsing \"1e400\": value out of range")),
    ("-1e400", Err("strconv.ParseFloat: parsing \"-1e400\": value out of range")),
    ("1e-400", Ok(0x0)),
    (
        "1e99999999999999999999",
        Err("strconv.ParseFloat: parsing \"1e99999999999999999999\": value out of range"),
    ),
    ("100m", Err("strconv.ParseFloat: parsing \"100m\": invalid syntax")),
    ("1Gi", Err("strconv.ParseFloat: parsing \"1Gi\": invalid syntax")),
    (" 1", Err("strconv.ParseFloat: parsing \" 1\": invalid syntax")),
    ("1 ", Err("strconv.ParseFloat: parsing \"1 \": invalid syntax")),
    ("1.2.3", Err("strconv.ParseFloat: parsing \"1.2.3\": invalid syntax")),
    ("0b1", Err("strconv.ParseFloat: parsing \"0b1\": invalid syntax")),
    ("0o7", Err("strconv.ParseFloat: parsing \"0o7\": invalid syntax")),
    ("0x1p99999999999", Err("strconv.ParseFloat: parsing \"0x1p99999999999\": value out of range")),
    ("0x0p99999999", Ok(0x0)),
    ("-0", Ok(0x8000_0000_0000_0000)),
    ("1e-99999999999", Ok(0x0)),
    ("0x1p", Err("strconv.ParseFloat: parsing \"0x1p\": invalid syntax")),
    ("1,5", Err("strconv.ParseFloat: parsing \"1,5\": invalid syntax")),
    ("٣", Err("strconv.ParseFloat: parsing \"٣\": invalid syntax")),
    ("1e309", Err("strconv.ParseFloat: parsing \"1e309\": value out of range")),
    (
        "1.7976931348623159e308",
        Err("strconv.ParseFloat: parsing \"1.7976931348623159e308\": value out of range"),
    ),
    ("4.9e-324", Ok(0x1)),
    ("2.4e-324", Ok(0x0)),
    ("0x0.0000000000000000000000000001p0", Ok(0x38f0_0000_0000_0000)),
    ("0x00000000000000000000000001p0", Ok(0x3ff0_0000_0000_0000)),
];

const INTEGERS: &[(&str, Result<i64, &str>)] = &[
    ("", Err("strconv.ParseInt: parsing \"\": invalid syntax")),
    ("0", Ok(0)),
    ("-0", Ok(0)),
    ("7", Ok(7)),
    ("007", Ok(7)),
    ("0o17", Ok(15)),
    ("0O17", Ok(15)),
    ("0x1F", Ok(31)),
    ("0XfF", Ok(255)),
    ("0b101", Ok(5)),
    ("08", Err("strconv.ParseInt: parsing \"08\": invalid syntax")),
    ("0x", Err("strconv.ParseInt: parsing \"0x\": invalid syntax")),
    ("0b", Err("strconv.ParseInt: parsing \"0b\": invalid syntax")),
    ("0o", Err("strconv.ParseInt: parsing \"0o\": invalid syntax")),
    ("1_000", Ok(1_000)),
    ("_1", Err("strconv.ParseInt: parsing \"_1\": invalid syntax")),
    ("1_", Err("strconv.ParseInt: parsing \"1_\": invalid syntax")),
    ("1__0", Err("strconv.ParseInt: parsing \"1__0\": invalid syntax")),
    ("0x_1", Ok(1)),
    ("0_7", Ok(7)),
    ("0_", Err("strconv.ParseInt: parsing \"0_\": invalid syntax")),
    ("+5", Ok(5)),
    ("-5", Ok(-5)),
    ("+", Err("strconv.ParseInt: parsing \"+\": invalid syntax")),
    ("-", Err("strconv.ParseInt: parsing \"-\": invalid syntax")),
    ("--1", Err("strconv.ParseInt: parsing \"--1\": invalid syntax")),
    ("9223372036854775807", Ok(9_223_372_036_854_775_807)),
    ("9223372036854775808", Err("strconv.ParseInt: parsing \"9223372036854775808\": value out of range")),
    ("-9223372036854775808", Ok(-9_223_372_036_854_775_808)),
    ("-9223372036854775809", Err("strconv.ParseInt: parsing \"-9223372036854775809\": value out of range")),
    ("18446744073709551616", Err("strconv.ParseInt: parsing \"18446744073709551616\": value out of range")),
    (
        "99999999999999999999999",
        Err("strconv.ParseInt: parsing \"99999999999999999999999\": value out of range"),
    ),
    ("0xg", Err("strconv.ParseInt: parsing \"0xg\": invalid syntax")),
    (" 1", Err("strconv.ParseInt: parsing \" 1\": invalid syntax")),
    ("1.0", Err("strconv.ParseInt: parsing \"1.0\": invalid syntax")),
    ("1e3", Err("strconv.ParseInt: parsing \"1e3\": invalid syntax")),
    ("0b2", Err("strconv.ParseInt: parsing \"0b2\": invalid syntax")),
    ("00", Ok(0)),
    ("99999999999999999999x", Err("strconv.ParseInt: parsing \"99999999999999999999x\": value out of range")),
];

#[test]
fn floats_are_parsed_as_go_parses_them() {
    for (text, want) in FLOATS {
        let got = parse_float(text).map(f64::to_bits).map_err(|error| error.to_string());
        assert_eq!(got, (*want).map_err(str::to_owned), "{text}");
    }
}

#[test]
fn integers_are_parsed_as_go_parses_them() {
    for (text, want) in INTEGERS {
        let got = parse_int(text).map_err(|error| error.to_string());
        assert_eq!(got, (*want).map_err(str::to_owned), "{text}");
    }
}

#[test]
fn booleans_are_parsed_as_go_parses_them() {
    for text in ["1", "t", "T", "TRUE", "true", "True"] {
        assert_eq!(parse_bool(text), Ok(true));
    }
    for text in ["0", "f", "F", "FALSE", "false", "False"] {
        assert_eq!(parse_bool(text), Ok(false));
    }
    for text in ["", "yes", "tRUE", " true"] {
        let want = format!("strconv.ParseBool: parsing {text:?}: invalid syntax");
        assert_eq!(parse_bool(text).map_err(|error| error.to_string()), Err(want));
    }
}

proptest::proptest! {
    #[test]
    fn printed_doubles_parse_to_themselves(value in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL) {
        proptest::prop_assert_eq!(parse_float(&format!("{value:e}")), Ok(value));
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in "[-+._0-9a-fxpXPinfty ]{0,40}") {
        let _: Result<_, _> = parse_float(&text);
        let _: Result<_, _> = parse_int(&text);
    }
}

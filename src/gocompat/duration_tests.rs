// SPDX-License-Identifier: Apache-2.0
use jiff::SignedDuration;

use super::duration::{format_duration, parse_duration};

/// What Go 1.26 answers: nanoseconds and the printed form, or the error's text.
const PARSED: &[(&str, Result<(i64, &str), &str>)] = &[
    ("", Err("time: invalid duration \"\"")),
    ("0", Ok((0, "0s"))),
    ("-0", Ok((0, "0s"))),
    ("+0", Ok((0, "0s"))),
    ("00", Err("time: missing unit in duration \"00\"")),
    ("1", Err("time: missing unit in duration \"1\"")),
    ("300", Err("time: missing unit in duration \"300\"")),
    ("1h15m30.5s", Ok((4_530_500_000_000, "1h15m30.5s"))),
    ("-1.5h", Ok((-5_400_000_000_000, "-1h30m0s"))),
    ("+5s", Ok((5_000_000_000, "5s"))),
    ("1.s", Ok((1_000_000_000, "1s"))),
    (".5s", Ok((500_000_000, "500ms"))),
    (".s", Err("time: invalid duration \".s\"")),
    ("-.s", Err("time: invalid duration \"-.s\"")),
    ("1µs", Ok((1_000, "1µs"))),
    ("1μs", Ok((1_000, "1µs"))),
    ("1us", Ok((1_000, "1µs"))),
    ("1ns", Ok((1, "1ns"))),
    ("1d", Err("time: unknown unit \"d\" in duration \"1d\"")),
    ("1h 2m", Err("time: unknown unit \"h \" in duration \"1h 2m\"")),
    ("0.100000000000000000000h", Ok((360_000_000_000, "6m0s"))),
    ("0.3333333333333333333h", Ok((1_200_000_000_000, "20m0s"))),
    ("9223372036854775807ns", Ok((9_223_372_036_854_775_807, "2562047h47m16.854775807s"))),
    ("9223372036854775808ns", Err("time: invalid duration \"9223372036854775808ns\"")),
    ("-9223372036854775808ns", Ok((-9_223_372_036_854_775_808, "-2562047h47m16.854775808s"))),
    ("-9223372036854775809ns", Err("time: invalid duration \"-9223372036854775809ns\"")),
    ("9223372036.854775808s", Err("time: invalid duration \"9223372036.854775808s\"")),
    ("2562047h47m16.854775807s", Ok((9_223_372_036_854_775_807, "2562047h47m16.854775807s"))),
    ("2562048h", Err("time: invalid duration \"2562048h\"")),
    ("9223372036854775810ns", Err("time: invalid duration \"9223372036854775810ns\"")),
    ("1\"x", Err("time: unknown unit \"\\\"x\" in duration \"1\\\"x\"")),
    ("é", Err("time: invalid duration \"\\xc3\\xa9\"")),
    ("1mm", Err("time: unknown unit \"mm\" in duration \"1mm\"")),
    ("1.5.5s", Err("time: missing unit in duration \"1.5.5s\"")),
    ("1s-2s", Err("time: unknown unit \"s-\" in duration \"1s-2s\"")),
    ("9007199254.740993ms", Ok((9_007_199_254_740_993, "2501h59m59.254740993s"))),
    ("0.830103483285477580700h", Ok((2_988_372_539_827, "49m48.372539827s"))),
    ("3000000h", Err("time: invalid duration \"3000000h\"")),
    ("0s0s", Ok((0, "0s"))),
    ("1h-", Err("time: unknown unit \"h-\" in duration \"1h-\"")),
    (" 1s", Err("time: invalid duration \" 1s\"")),
    ("1S", Err("time: unknown unit \"S\" in duration \"1S\"")),
    ("--1s", Err("time: invalid duration \"--1s\"")),
    ("922337203685477580700s", Err("time: invalid duration \"922337203685477580700s\"")),
];

const PRINTED: &[(i64, &str)] = &[
    (0, "0s"),
    (1, "1ns"),
    (-1, "-1ns"),
    (999, "999ns"),
    (1_000, "1µs"),
    (1_500, "1.5µs"),
    (1_001, "1.001µs"),
    (999_999, "999.999µs"),
    (1_000_000, "1ms"),
    (1_500_000, "1.5ms"),
    (999_999_999, "999.999999ms"),
    (1_000_000_000, "1s"),
    (1_500_000_000, "1.5s"),
    (59_999_999_999, "59.999999999s"),
    (60_000_000_000, "1m0s"),
    (61_000_000_000, "1m1s"),
    (3_600_000_000_000, "1h0m0s"),
    (3_661_000_000_001, "1h1m1.000000001s"),
    (9_223_372_036_854_775_807, "2562047h47m16.854775807s"),
    (-9_223_372_036_854_775_808, "-2562047h47m16.854775808s"),
    (300_000_000_000, "5m0s"),
    (15_000_000_000, "15s"),
    (-90_000_000_000, "-1m30s"),
];

#[test]
fn durations_are_parsed_as_go_parses_them() {
    for (text, want) in PARSED {
        let got = parse_duration(text);
        match want {
            Ok((nanos, printed)) => {
                assert_eq!(got, Ok(SignedDuration::from_nanos(*nanos)), "{text}");
                assert_eq!(format_duration(SignedDuration::from_nanos(*nanos)), *printed, "{text}");
            }
            Err(message) => assert_eq!(got.map_err(|error| error.to_string()), Err((*message).to_owned())),
        }
    }
}

#[test]
fn durations_are_printed_as_go_prints_them() {
    for (nanos, want) in PRINTED {
        assert_eq!(format_duration(SignedDuration::from_nanos(*nanos)), *want);
    }
    assert_eq!(format_duration(SignedDuration::MAX), "2562047h47m16.854775807s");
    assert_eq!(format_duration(SignedDuration::MIN), "-2562047h47m16.854775808s");
}

proptest::proptest! {
    #[test]
    fn printed_durations_parse_to_themselves(nanos: i64) {
        let duration = SignedDuration::from_nanos(nanos);
        proptest::prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[-+.0-9a-zµ ]{0,24}") {
        let _: Result<_, _> = parse_duration(&text);
    }
}

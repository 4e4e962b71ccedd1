// SPDX-License-Identifier: Apache-2.0
use jiff::SignedDuration;

use super::go_flags::{AnyFlag, Flag, FlagError, FlagValue, Given, Parsed, ValueError, parse};

static SWITCH: Flag<bool> = Flag::new("switch", "false", "");
static TEXT: Flag<String> = Flag::new("text", "none", "");
static COUNT: Flag<i64> = Flag::new("count", "7", "");
static SIZE: Flag<u64> = Flag::new("size", "1", "");
static RATE: Flag<f64> = Flag::new("rate", "1.5", "");
static WAIT: Flag<SignedDuration> = Flag::new("wait", "15s", "");
static ALL: &[&dyn AnyFlag] = &[&SWITCH, &TEXT, &COUNT, &SIZE, &RATE, &WAIT];

fn arguments(line: &[&str]) -> Vec<String> {
    line.iter().map(|&argument| argument.to_owned()).collect()
}

fn given(line: &[&str]) -> Given {
    match parse(ALL, &arguments(line)) {
        Ok(Parsed::Given(given)) => given,
        other => panic!("{line:?} gave {other:?}"),
    }
}

fn refused(line: &[&str]) -> String {
    parse(ALL, &arguments(line)).unwrap_err().to_string()
}

#[test]
fn one_dash_and_two_are_the_same() {
    for line in [["-count=4"], ["--count=4"]] {
        assert_eq!(given(&line).get(&COUNT), 4);
    }
    for line in [["-count", "4"], ["--count", "4"]] {
        assert_eq!(given(&line).get(&COUNT), 4);
    }
}

#[test]
fn absent_flags_have_their_defaults() {
    let given = given(&[]);
    assert!(!given.get(&SWITCH));
    assert_eq!(given.get(&TEXT), "none");
    assert_eq!(given.get(&WAIT), SignedDuration::from_secs(15));
    assert_eq!(given.given(&TEXT), None);
}

#[test]
fn booleans_take_every_spelling_of_go_behind_an_equals_sign() {
    for value in ["1", "t", "T", "true", "TRUE", "True"] {
        assert!(given(&[&format!("--switch={value}")]).get(&SWITCH), "{value}");
    }
    for value in ["0", "f", "F", "false", "FALSE", "False"] {
        assert!(!given(&["--switch", &format!("--switch={value}")]).get(&SWITCH), "{value}");
    }
    assert!(given(&["-switch"]).get(&SWITCH), "bare");
    for value in ["", "yes", "on", "tRUE", "2"] {
        let want = format!("invalid boolean value {value:?} for -switch: parse error");
        assert_eq!(refused(&[&format!("-switch={value}")]), want);
    }
}

#[test]
fn a_boolean_does_not_take_the_next_argument() {
    let given = given(&["--switch", "true", "--count=4"]);
    assert!(given.get(&SWITCH));
    assert_eq!(given.get(&COUNT), 7, "parsing has stopped");
    assert_eq!(given.ignored, ["true", "--count=4"]);
}

#[test]
fn parsing_stops_at_the_first_argument_that_is_no_flag() {
    let table: &[(&[&str], &[&str])] = &[
        (&["word", "--count=4"], &["word", "--count=4"]),
        (&["-", "--count=4"], &["-", "--count=4"]),
        (&["", "--count=4"], &["", "--count=4"]),
        (&["--", "--count=4"], &["--count=4"]),
        (&["--"], &[]),
        (&["-text", "--", "--count=4"], &[]),
    ];
    for (line, ignored) in table {
        assert_eq!(given(line).ignored, *ignored, "{line:?}");
    }
    assert_eq!(given(&["-text", "--", "--count=4"]).get(&TEXT), "--", "a value may look like anything");
}

#[test]
fn last_value_wins_and_all_are_kept() {
    let given = given(&["--text=a", "-text", "b", "--text="]);
    assert_eq!(given.get(&TEXT), "");
    assert_eq!(given.all(&TEXT), ["a", "b", ""]);
    assert_eq!(given.named("text"), ["a", "b", ""]);
}

#[test]
fn value_goes_on_behind_a_second_equals_sign() {
    assert_eq!(given(&["--text=a=b"]).get(&TEXT), "a=b");
}

#[test]
fn malformed_lines_are_refused_in_the_words_of_go() {
    let table: &[(&[&str], &str)] = &[
        (&["--no-such-flag"], "flag provided but not defined: -no-such-flag"),
        (&["-no-such-flag=4"], "flag provided but not defined: -no-such-flag"),
        (&["---count=4"], "bad flag syntax: ---count=4"),
        (&["-=4"], "bad flag syntax: -=4"),
        (&["--=4"], "bad flag syntax: --=4"),
        (&["--count"], "flag needs an argument: -count"),
        (&["--count="], "invalid value \"\" for flag -count: parse error"),
        (&["--count=four"], "invalid value \"four\" for flag -count: parse error"),
        (&["--count", "4.5"], "invalid value \"4.5\" for flag -count: parse error"),
        (
            &["--count=9223372036854775808"],
            "invalid value \"9223372036854775808\" for flag -count: value out of range",
        ),
        (&["--size=-1"], "invalid value \"-1\" for flag -size: parse error"),
        (&["--rate=fast"], "invalid value \"fast\" for flag -rate: parse error"),
        (&["--rate=1e999"], "invalid value \"1e999\" for flag -rate: value out of range"),
        (&["--wait=15"], "invalid value \"15\" for flag -wait: parse error"),
        (&["--wait=15 s"], "invalid value \"15 s\" for flag -wait: parse error"),
    ];
    for (line, want) in table {
        assert_eq!(refused(line), *want, "{line:?}");
    }
}

#[test]
fn values_follow_the_syntax_of_go() {
    let counts = [
        ("10", 10),
        ("0x10", 16),
        ("1_000", 1000),
        ("0b11", 3),
        ("0o17", 15),
        ("017", 15),
        ("-3", -3),
        ("+3", 3),
    ];
    for (text, want) in counts {
        assert_eq!(given(&[&format!("--count={text}")]).get(&COUNT), want, "{text}");
    }
    for (text, want) in [("100", 100.0), ("1e2", 100.0), ("-1", -1.0), (".5", 0.5)] {
        assert_eq!(
            given(&[&format!("--rate={text}")]).get(&RATE).total_cmp(&want),
            std::cmp::Ordering::Equal,
            "{text}"
        );
    }
    let waits =
        [("15s", 15_000), ("1m30s", 90_000), ("500ms", 500), ("1h", 3_600_000), ("0", 0), ("-2s", -2000)];
    for (text, millis) in waits {
        let want = SignedDuration::from_millis(millis);
        assert_eq!(given(&["--wait", text]).get(&WAIT), want, "{text}");
    }
}

#[test]
fn help_is_help_in_every_spelling_unless_something_before_it_is_wrong() {
    for line in
        [&["-h"][..], &["--h"], &["-help"], &["--help"], &["-help=x"], &["--count=4", "-h", "--no-such-flag"]]
    {
        assert_eq!(parse(ALL, &arguments(line)), Ok(Parsed::Help), "{line:?}");
    }
    let error = parse(ALL, &arguments(&["--no-such-flag", "-h"])).unwrap_err();
    assert_eq!(error, FlagError::Unknown("no-such-flag".into()));
    assert_eq!(given(&["--", "-h"]).ignored, ["-h"]);
}

#[test]
fn same_value_in_other_words_is_the_same() {
    assert!(SWITCH.same("1", "true"));
    assert!(COUNT.same("0x10", "16"));
    assert!(!COUNT.same("1", "2"));
    assert_eq!(<u64 as FlagValue>::parse("-1"), Err(ValueError::Parse));
}

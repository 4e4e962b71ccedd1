// SPDX-License-Identifier: Apache-2.0

use tracing::Level;

use super::format::{Field, Line, Value, json, text};

fn line<'a>(level: Level, message: &'a str, fields: &'a [Field]) -> Line<'a> {
    let at = "2026-11-24T08:09:10.000123+01:00[Europe/Berlin]".parse().unwrap();
    Line { level, at, pid: 1234, file: "src/cluster/writer.rs", row: 42, message, fields }
}

fn said(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn header_is_the_one_of_klog() {
    let have = text(&line(Level::INFO, "starting manager", &[]), false);
    assert_eq!(have, "I1124 08:09:10.000123    1234 writer.rs:42] \"starting manager\"\n");
}

#[test]
fn debug_and_trace_are_informational() {
    let letters = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE]
        .map(|level| text(&line(level, "x", &[]), false).chars().next().unwrap());
    assert_eq!(letters, ['E', 'W', 'I', 'I', 'I']);
}

#[test]
fn long_process_ids_are_not_cut() {
    let long = Line { pid: 123_456_789, ..line(Level::INFO, "x", &[]) };
    assert_eq!(text(&long, false), "I1124 08:09:10.000123 123456789 writer.rs:42] \"x\"\n");
}

#[test]
fn strings_are_quoted_and_numbers_are_not() {
    let fields = [
        ("holder", said("pod-0_ab")),
        ("worker count", Value::Uint(1)),
        ("delta", Value::Int(-3)),
        ("ratio", Value::Float(0.5)),
        ("ok", Value::Bool(true)),
    ];
    let have = text(&line(Level::INFO, "m", &fields), true);
    assert_eq!(have, "\"m\" holder=\"pod-0_ab\" worker count=1 delta=-3 ratio=0.5 ok=true\n");
}

#[test]
fn quotes_as_go_does() {
    let table = [
        ("it's \"q\" \\", r#""it's \"q\" \\""#),
        ("tab\tbell\u{7}nul\0", r#""tab\tbell\anul\x00""#),
        ("grüße 日本", "\"grüße 日本\""),
        ("zero\u{200b}width", r#""zero\u200bwidth""#),
    ];
    for (raw, want) in table {
        let have = text(&line(Level::INFO, "m", &[("k", said(raw))]), true);
        assert_eq!(have, format!("\"m\" k={want}\n"));
    }
}

#[test]
fn values_of_several_lines_are_indented() {
    let have = text(&line(Level::ERROR, "m", &[("stack", said("a\nb")), ("k", said("v"))]), true);
    assert_eq!(have, "\"m\" stack=<\n\ta\n\tb\n > k=\"v\"\n");
}

#[test]
fn a_message_never_breaks_the_line() {
    let have = text(&line(Level::INFO, "a\nb", &[]), true);
    assert_eq!(have, "\"a\\nb\"\n");
}

#[test]
fn json_has_the_same_facts() {
    let fields = [("controller", said("kv-cache-controller")), ("attempt", Value::Uint(3))];
    let have: serde_json::Value = serde_json::from_str(&json(&line(Level::WARN, "failed", &fields))).unwrap();
    assert_eq!(
        have,
        serde_json::json!({
            "ts": "2026-11-24T07:09:10.000123Z", "level": "warn", "pid": 1234, "caller": "writer.rs:42",
            "msg": "failed", "controller": "kv-cache-controller", "attempt": 3,
        })
    );
}

#[test]
fn a_field_cannot_replace_a_fact_of_the_json_line() {
    let have = json(&line(Level::INFO, "m", &[("level", said("x"))]));
    assert!(have.contains(r#""level":"info""#) && have.contains(r#""field.level":"x""#), "{have}");
}

#[test]
fn json_of_an_infinite_number_is_null() {
    let have = json(&line(Level::INFO, "m", &[("x", Value::Float(f64::INFINITY))]));
    assert!(have.contains(r#""x":null"#), "{have}");
}

// SPDX-License-Identifier: Apache-2.0

use proptest::prelude::*;

use super::exposition::{Families, NoValue, NotText, Scanner};

fn scan(body: &str, wanted: &[&str]) -> Families {
    let mut scanner = Scanner::new(wanted.iter().copied());
    scanner.feed(body.as_bytes()).unwrap();
    scanner.finish()
}

const VLLM: &str = "\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine=\"0\",model_name=\"a \\\"quoted\\\\ {name}\\\" # 1\"} 3.0
vllm:num_requests_running{engine=\"1\",model_name=\"b\"} 4.0
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{model_name=\"b\"} 1.5e+03 1712345678901
# TYPE vllm:e2e_request_latency_seconds histogram
vllm:e2e_request_latency_seconds_bucket{le=\"+Inf\"} 4
vllm:e2e_request_latency_seconds_sum 2.25
vllm:e2e_request_latency_seconds_count 4
";

#[test]
fn pod_counts_with_the_first_series_and_an_endpoint_with_the_sum() {
    let families = scan(VLLM, &["vllm:num_requests_running"]);
    assert_eq!(families.first("vllm:num_requests_running"), Ok(3.0));
    assert_eq!(families.sum("vllm:num_requests_running"), Ok(7.0));
}

#[test]
fn counter_is_its_raw_total_and_a_timestamp_is_skipped() {
    assert_eq!(scan(VLLM, &["vllm:prompt_tokens_total"]).first("vllm:prompt_tokens_total"), Ok(1500.0));
}

#[test]
fn histogram_has_no_value() {
    let name = "vllm:e2e_request_latency_seconds";
    assert_eq!(scan(VLLM, &[name]).first(name), Err(NoValue::WrongKind));
}

#[test]
fn missing_family_is_unknown_and_not_zero() {
    let families = scan(VLLM, &["absent"]);
    assert_eq!(families.first("absent"), Err(NoValue::Missing));
    assert!(families.covers("absent") && !families.covers("vllm:prompt_tokens_total"));
}

#[test]
fn lines_are_read_as_the_format_says_or_not_at_all() {
    for (line, first, why) in [
        ("m 1", Ok(1.0), "plain"),
        ("  m\t1  ", Ok(1.0), "blanks"),
        ("m{} 1", Ok(1.0), "empty labels"),
        ("m {a=\"b\",} 1", Ok(1.0), "blank and trailing comma"),
        ("m{a = \"b\" , c=\"}\"} 1 -5", Ok(1.0), "blanks in labels, negative timestamp"),
        ("m{a=\"\\\\\"} 2", Ok(2.0), "escaped backslash before the quote"),
        ("m_total 5 # {trace=\"x\"} 1.0", Err(NoValue::Missing), "another name"),
        ("m 5 # {trace=\"x\"} 1.0", Ok(5.0), "exemplar"),
        ("m 1.5 1712.345", Ok(1.5), "timestamp of OpenMetrics"),
        ("m +Inf", Err(NoValue::NotFinite), "infinite"),
        ("m NaN", Err(NoValue::NotFinite), "not a number"),
        ("m", Err(NoValue::Malformed), "no value"),
        ("m{a=\"b} 1", Err(NoValue::Malformed), "open quote"),
        ("m{a=b} 1", Err(NoValue::Malformed), "unquoted"),
        ("m{a=\"b\" c=\"d\"} 1", Err(NoValue::Malformed), "no comma"),
        ("m 1 2 3", Err(NoValue::Malformed), "too much"),
        ("m one", Err(NoValue::Malformed), "no number"),
        ("# TYPE m summary\nm{quantile=\"0.5\"} 1", Err(NoValue::WrongKind), "summary"),
        ("# TYPE m untyped\nm 1", Ok(1.0), "untyped"),
        ("# TYPE m unknown\nm 1", Ok(1.0), "unknown"),
        ("# TYPE m info\nm 1", Err(NoValue::WrongKind), "info"),
        ("# TYPE m gauge", Err(NoValue::Missing), "no series"),
        ("#\n# \n#TYPE m histogram\nm 1\n# EOF", Err(NoValue::WrongKind), "comment without a blank"),
        ("m NaN\nm 1", Err(NoValue::NotFinite), "the first series counts, not the first good one"),
        ("m 1\r\n", Ok(1.0), "line ends of other systems"),
    ] {
        assert_eq!(scan(line, &["m"]).first("m"), first, "{why}: {line}");
    }
}

#[test]
fn sum_is_unknown_when_one_series_is() {
    for (body, sum) in [
        ("m{a=\"1\"} 1\nm{a=\"2\"} 2.5\n", Ok(3.5)),
        ("m{a=\"1\"} 1\nm{a=\"2\"} NaN\n", Err(NoValue::NotFinite)),
        ("m{a=\"1\"} 1\nm{a=\"2\" 2\n", Err(NoValue::Malformed)),
        ("m 1e308\nm 1e308\n", Err(NoValue::NotFinite)),
    ] {
        assert_eq!(scan(body, &["m"]).sum("m"), sum, "{body}");
    }
}

#[test]
fn malformed_line_of_another_family_spoils_nothing() {
    let body = "other{a=\"b 3\nm 1\n}{}{\n# TYPE\n# TYPE other\nother\n";
    assert_eq!(scan(body, &["m"]).first("m"), Ok(1.0));
}

#[test]
fn counter_of_openmetrics_is_found_under_both_names() {
    let body = "# TYPE served counter\nserved_total 5\nserved_created 1\n# EOF\n";
    assert_eq!(scan(body, &["served"]).first("served"), Ok(5.0));
    assert_eq!(scan(body, &["served_total"]).first("served_total"), Ok(5.0));
}

#[test]
fn overlong_line_is_skipped_whole() {
    let long = "x".repeat(200 << 10);
    let body = format!("other{{a=\"{long}\"}} 1\nm{{a=\"{long}\"}} 2\nn 3\n");
    let families = scan(&body, &["m", "n"]);
    assert_eq!(families.first("m"), Err(NoValue::Malformed));
    assert_eq!(families.first("n"), Ok(3.0));
    // The same in pieces: what is held stays bounded.
    let mut scanner = Scanner::new(["m", "n"]);
    for piece in body.as_bytes().chunks(1000) {
        scanner.feed(piece).unwrap();
    }
    assert_eq!(scanner.finish(), families);
}

#[test]
fn binary_body_is_refused() {
    assert_eq!(Scanner::new(["m"]).feed(b"\x1f\x8b\x08\x00"), Err(NotText));
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_neither_panic_nor_matter(
        bytes in proptest::collection::vec(any::<u8>().prop_map(|byte| byte.max(1)), 0..400),
        size in 1_usize..50,
    ) {
        let mut whole = Scanner::new(["m"]);
        prop_assert!(whole.feed(&bytes).is_ok());
        let mut pieces = Scanner::new(["m"]);
        for piece in bytes.chunks(size) {
            prop_assert!(pieces.feed(piece).is_ok());
        }
        // Debug texts: NaN differs from itself.
        prop_assert_eq!(format!("{:?}", whole.finish()), format!("{:?}", pieces.finish()));
    }

    #[test]
    fn garbage_around_a_family_never_changes_it(
        before in "[^\u{0}]{0,80}", after in "[^\u{0}]{0,80}", value in -1e9_f64..1e9, label in "[^\u{0}\n]{0,20}",
    ) {
        let escaped = label.replace('\\', "\\\\").replace('"', "\\\"");
        let clean = |text: &str| text.replace("wanted", "w");
        let body = format!("{}\nwanted{{a=\"{escaped}\"}} {value}\n{}", clean(&before), clean(&after));
        prop_assert_eq!(scan(&body, &["wanted"]).first("wanted"), Ok(value));
    }

    #[test]
    fn near_misses_of_the_format_never_panic(line in "m[{}=\"\\\\a, \t#0-9.+-]{0,40}") {
        let families = scan(&line, &["m"]);
        prop_assert!(families.first("m").map_or(true, f64::is_finite));
    }
}

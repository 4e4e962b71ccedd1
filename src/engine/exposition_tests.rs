// SPDX-License-Identifier: Apache-2.0

use proptest::prelude::*;

use crate::validation::target_metric::TargetMetric;

use super::exposition::{Combine, Families, NoValue, NotText, Query, Scanner};

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

fn number(body: &str, query: &str, combine: Combine) -> Result<f64, NoValue> {
    let TargetMetric { name: family, matchers } = TargetMetric::parse(query).unwrap();
    let query = Query { family, matchers };
    let mut scanner = Scanner::new([&query]);
    scanner.feed(body.as_bytes()).unwrap();
    scanner.finish().number(&query, combine)
}

#[test]
fn all_series_of_a_family_count() {
    let families = scan(VLLM, &["vllm:num_requests_running"]);
    let query = "vllm:num_requests_running".into();
    assert_eq!(families.number(&query, Combine::Count), Ok(7.0));
    assert_eq!(families.number(&query, Combine::Ratio), Ok(3.5));
    assert_eq!(families.sum("vllm:num_requests_running"), Ok(7.0));
}

// scenario: hardening 27
#[test]
fn series_that_say_the_same_thing_count_once() {
    let of = |labels: &[&str]| -> String {
        let line = |(at, labels): (usize, &&str)| format!("m{{{labels}}} {}\n", at + 1);
        labels.iter().enumerate().map(line).collect()
    };
    let quoted = |labels: &[&str]| of(labels).replace('\'', "\"");
    for (series, count, ratio, why) in [
        (&["engine='0'", "engine='1'"][..], 3.0, 1.5, "two engines"),
        (&["tp_rank='0'", "tp_rank='1'", "tp_rank='2'"], 3.0, 3.0, "replicated work: the largest"),
        (
            &["dp_rank='0',tp_rank='0'", "dp_rank='0',tp_rank='1'", "dp_rank='1',tp_rank='0'"],
            5.0,
            2.5,
            "both",
        ),
        (&["tp_rank='1',dp_rank='0'", "dp_rank='0',tp_rank='0'"], 2.0, 2.0, "labels in another order"),
        (&["pp_rank='0'", "pp_rank='1'"], 2.0, 2.0, "pipeline"),
        (&["cp_rank='0'", "cp_rank='1'"], 2.0, 2.0, "context"),
        (&["moe_ep_rank='0'", "moe_ep_rank='1'"], 2.0, 2.0, "experts"),
        (&["pid='7'", "pid='8'"], 3.0, 1.5, "two workers"),
        (&["pid='7',tp_rank='0'", "pid='8',tp_rank='1'"], 2.0, 2.0, "processes of ranks"),
        (&["pid='7',dp_rank='0'", "pid='8',dp_rank='1'"], 3.0, 1.5, "a process for each rank"),
        (&["model='a'", "model='b'", "model='c'", "model='d'"], 10.0, 2.5, "four models"),
    ] {
        let body = quoted(series);
        assert_eq!(number(&body, "m", Combine::Count), Ok(count), "{why}: {body}");
        assert_eq!(number(&body, "m", Combine::Ratio), Ok(ratio), "{why}: {body}");
        let backwards: Vec<&str> = body.lines().rev().collect();
        assert_eq!(number(&backwards.join("\n"), "m", Combine::Count), Ok(count), "{why}: {backwards:?}");
    }
}

#[test]
fn what_lies_between_nothing_and_one_is_averaged() {
    for name in [
        "vllm:gpu_cache_usage_perc",
        "cache_ratio",
        "trtllm_kv_cache_utilization",
        "sglang:cache_hit_rate",
        "spec_accept_rate",
        "sglang:token_usage",
        "sglang:swa_token_usage",
        "token_usage",
    ] {
        assert_eq!(Combine::of(name), Combine::Ratio, "{name}");
    }
    for name in
        ["vllm:num_requests_running", "gpu_usage", "usage", "tokens_used", "percentile", "max_token_usages"]
    {
        assert_eq!(Combine::of(name), Combine::Count, "{name}");
    }
}

// scenario: hardening 28
#[test]
fn a_selector_chooses_among_the_series() {
    let body = "m{engine=\"0\",model=\"a\"} 1\nm{engine=\"1\",model=\"a\"} 2\nm{engine=\"2\",model=\"b c\"} 4\nm 8\n";
    for (query, value) in [
        ("m", Ok(15.0)),
        ("m{engine=\"1\"}", Ok(2.0)),
        ("m{model=\"a\"}", Ok(3.0)),
        ("m{engine=~\"0|2\"}", Ok(5.0)),
        ("m{model=\"b c\"}", Ok(4.0)),
        ("m{model!=\"a\"}", Ok(12.0)),
        ("m{model=\"\"}", Ok(8.0)),
        ("m{model=\"x\"}", Err(NoValue::Missing)),
    ] {
        assert_eq!(number(body, query, Combine::Count), value, "{query}");
    }
}

#[test]
fn series_that_nobody_could_hold_are_no_number() {
    let lines: Vec<String> = (0..5000).map(|id| format!("m{{id=\"{id}\"}} 1")).collect();
    let body = lines.join("\n");
    assert_eq!(number(&body, "m", Combine::Count), Err(NoValue::TooMany));
    assert_eq!(number(&body, "m{id=\"4999\"}", Combine::Count), Ok(1.0));
}

#[test]
fn counter_is_its_raw_total_and_a_timestamp_is_skipped() {
    assert_eq!(
        scan(VLLM, &["vllm:prompt_tokens_total"]).number(&"vllm:prompt_tokens_total".into(), Combine::Count),
        Ok(1500.0)
    );
}

#[test]
fn histogram_has_no_value() {
    let name = "vllm:e2e_request_latency_seconds";
    assert_eq!(scan(VLLM, &[name]).number(&name.into(), Combine::Count), Err(NoValue::WrongKind));
}

#[test]
fn missing_family_is_unknown_and_not_zero() {
    let families = scan(VLLM, &["absent"]);
    assert_eq!(families.number(&"absent".into(), Combine::Count), Err(NoValue::Missing));
    assert_eq!(families.sum("vllm:prompt_tokens_total"), Err(NoValue::Missing), "not asked for");
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
        ("m NaN\nm 1", Err(NoValue::NotFinite), "all series count, not the good ones"),
        ("m 1\r\n", Ok(1.0), "line ends of other systems"),
    ] {
        assert_eq!(scan(line, &["m"]).number(&"m".into(), Combine::Count), first, "{why}: {line}");
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
    assert_eq!(scan(body, &["m"]).number(&"m".into(), Combine::Count), Ok(1.0));
}

#[test]
fn counter_of_openmetrics_is_found_under_both_names() {
    let body = "# TYPE served counter\nserved_total 5\nserved_created 1\n# EOF\n";
    assert_eq!(scan(body, &["served"]).number(&"served".into(), Combine::Count), Ok(5.0));
    assert_eq!(scan(body, &["served_total"]).number(&"served_total".into(), Combine::Count), Ok(5.0));
}

#[test]
fn overlong_line_is_skipped_whole() {
    let long = "x".repeat(200 << 10);
    let body = format!("other{{a=\"{long}\"}} 1\nm{{a=\"{long}\"}} 2\nn 3\n");
    let families = scan(&body, &["m", "n"]);
    assert_eq!(families.number(&"m".into(), Combine::Count), Err(NoValue::Malformed));
    assert_eq!(families.number(&"n".into(), Combine::Count), Ok(3.0));
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
        prop_assert_eq!(scan(&body, &["wanted"]).number(&"wanted".into(), Combine::Count), Ok(value));
    }

    #[test]
    fn near_misses_of_the_format_never_panic(line in "m[{}=\"\\\\a, \t#0-9.+-]{0,40}") {
        let families = scan(&line, &["m"]);
        prop_assert!(families.number(&"m".into(), Combine::Count).map_or(true, f64::is_finite));
    }
}

#[test]
fn a_total_over_priorities_counts_without_its_parts() {
    let parts = ["q{priority=\"1\"} 3\n", "q{priority=\"\",rank=\"0\"} 5\n", "q{priority=\"2\"} 2\n"];
    for order in [[0, 1, 2], [1, 2, 0], [2, 0, 1]] {
        let mut scanner = Scanner::new(["q"]);
        for part in order {
            scanner.feed(parts[part].as_bytes()).unwrap();
        }
        assert_eq!(scanner.finish().number(&"q".into(), Combine::Count), Ok(5.0), "{order:?}");
    }
    let mut scanner = Scanner::new(["q"]);
    scanner.feed(parts[0].as_bytes()).unwrap();
    scanner.feed(parts[2].as_bytes()).unwrap();
    assert_eq!(scanner.finish().number(&"q".into(), Combine::Count), Ok(5.0), "parts without a total");
}

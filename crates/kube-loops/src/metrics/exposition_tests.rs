// SPDX-License-Identifier: Apache-2.0

use super::Metrics;

fn lines(metrics: &Metrics, start: &str) -> Vec<String> {
    metrics.render().lines().filter(|line| line.contains(start)).map(str::to_owned).collect()
}

#[test]
fn bounds_of_the_work_queue_are_printed_as_in_go() {
    let metrics = Metrics::new();
    let bounds: Vec<f64> = std::iter::successors(Some(1e-8), |bound| Some(bound * 10.0)).take(12).collect();
    let family = metrics.histogram("q_seconds", "Help.", &["name"], &bounds).unwrap();
    family.with_label_values(&["a"]).observe(0.5);
    let want = [
        "# HELP q_seconds Help.",
        "# TYPE q_seconds histogram",
        r#"q_seconds_bucket{name="a",le="1e-08"} 0"#,
        r#"q_seconds_bucket{name="a",le="1e-07"} 0"#,
        r#"q_seconds_bucket{name="a",le="1e-06"} 0"#,
        r#"q_seconds_bucket{name="a",le="9.999999999999999e-06"} 0"#,
        r#"q_seconds_bucket{name="a",le="9.999999999999999e-05"} 0"#,
        r#"q_seconds_bucket{name="a",le="0.001"} 0"#,
        r#"q_seconds_bucket{name="a",le="0.01"} 0"#,
        r#"q_seconds_bucket{name="a",le="0.1"} 0"#,
        r#"q_seconds_bucket{name="a",le="1"} 1"#,
        r#"q_seconds_bucket{name="a",le="10"} 1"#,
        r#"q_seconds_bucket{name="a",le="100"} 1"#,
        r#"q_seconds_bucket{name="a",le="1000"} 1"#,
        r#"q_seconds_bucket{name="a",le="+Inf"} 1"#,
        r#"q_seconds_sum{name="a"} 0.5"#,
        r#"q_seconds_count{name="a"} 1"#,
    ];
    assert_eq!(lines(&metrics, "q_seconds"), want);
}

#[test]
fn numbers_are_printed_as_in_go() {
    let table = [
        (0.0, "0"),
        (-1.0, "-1"),
        (123_456.0, "123456"),
        (999_999.5, "999999.5"),
        (1_000_000.0, "1e+06"),
        (123_456_789.0, "1.23456789e+08"),
        (18_446_744_073_709_551_615.0, "1.8446744073709552e+19"),
        (0.0001, "0.0001"),
        (0.000_012, "1.2e-05"),
        (1e100, "1e+100"),
        (f64::NAN, "NaN"),
        (f64::NEG_INFINITY, "-Inf"),
    ];
    let metrics = Metrics::new();
    let gauge = metrics.gauge("g", "Help.", &[]).unwrap().with_label_values::<&str>(&[]);
    for (value, want) in table {
        gauge.set(value);
        assert_eq!(lines(&metrics, "g ").last().unwrap(), &format!("g {want}"));
    }
}

#[test]
fn labels_and_help_are_escaped() {
    let metrics = Metrics::new();
    let family = metrics.int_gauge("g", "two\nlines \\ \"q\"", &["l"]).unwrap();
    family.with_label_values(&["a\"b\\c\nd"]).set(1);
    assert_eq!(
        lines(&metrics, "g"),
        [r#"# HELP g two\nlines \\ "q""#, "# TYPE g gauge", r#"g{l="a\"b\\c\nd"} 1"#]
    );
}

#[test]
fn names_get_no_suffix() {
    let metrics = Metrics::new();
    metrics.int_counter("adds", "Help.", &[]).unwrap().with_label_values::<&str>(&[]).inc();
    assert_eq!(lines(&metrics, "adds"), ["# HELP adds Help.", "# TYPE adds counter", "adds 1"]);
}

// SPDX-License-Identifier: Apache-2.0
//! Prometheus' text format 0.0.4, byte for byte as a Go process prints it. Pure.
//!
//! The encoder of the metrics crate writes `0.00000001` where Go writes `1e-08`. Bucket bounds are label
//! values, so that would be another series for every dashboard.

use std::fmt::Write as _;

use prometheus::proto::{Metric, MetricFamily, MetricType};

/// All families, in the given order.
pub(super) fn encode(families: &[MetricFamily]) -> String {
    let mut out = String::new();
    for family in families {
        let kind = match family.get_field_type() {
            MetricType::COUNTER => "counter",
            MetricType::GAUGE => "gauge",
            MetricType::HISTOGRAM => "histogram",
            // Never registered by `Metrics`.
            MetricType::SUMMARY | MetricType::UNTYPED => continue,
        };
        let name = family.name();
        // Writing to a String does not fail.
        writeln!(out, "# HELP {name} {}", escape(family.help(), false)).ok();
        writeln!(out, "# TYPE {name} {kind}").ok();
        for metric in family.get_metric() {
            match family.get_field_type() {
                MetricType::COUNTER => sample(&mut out, name, metric, None, metric.get_counter().get_value()),
                MetricType::GAUGE => sample(&mut out, name, metric, None, metric.get_gauge().get_value()),
                MetricType::HISTOGRAM => histogram(&mut out, name, metric),
                MetricType::SUMMARY | MetricType::UNTYPED => {}
            }
        }
    }
    out
}

fn histogram(out: &mut String, name: &str, metric: &Metric) {
    let histogram = metric.get_histogram();
    let buckets = format!("{name}_bucket");
    for bucket in histogram.get_bucket() {
        if bucket.upper_bound() != f64::INFINITY {
            sample(out, &buckets, metric, Some(bucket.upper_bound()), count(bucket.cumulative_count()));
        }
    }
    sample(out, &buckets, metric, Some(f64::INFINITY), count(histogram.get_sample_count()));
    sample(out, &format!("{name}_sum"), metric, None, histogram.get_sample_sum());
    sample(out, &format!("{name}_count"), metric, None, count(histogram.get_sample_count()));
}

fn sample(out: &mut String, name: &str, metric: &Metric, le: Option<f64>, value: f64) {
    labelled(out, name, metric, le);
    out.push_str(&go_float(value));
    out.push('\n');
}

#[expect(clippy::cast_precision_loss, reason = "a count beyond 2^53 may lose its last digits, as in Go")]
fn count(value: u64) -> f64 {
    value as f64
}

fn labelled(out: &mut String, name: &str, metric: &Metric, le: Option<f64>) {
    out.push_str(name);
    let mut separator = '{';
    for label in metric.get_label() {
        write!(out, "{separator}{}=\"{}\"", label.name(), escape(label.value(), true)).ok();
        separator = ',';
    }
    if let Some(le) = le {
        write!(out, "{separator}le=\"{}\"", go_float(le)).ok();
        separator = ',';
    }
    if separator == ',' {
        out.push('}');
    }
    out.push(' ');
}

fn escape(text: &str, quotes: bool) -> String {
    let escaped = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quotes { escaped.replace('"', "\\\"") } else { escaped }
}

/// Go's `strconv.FormatFloat(value, 'g', -1, 64)`: the shortest digits that read back as the same number,
/// with an exponent of at least two digits below 1e-4 and from 1e6 on. Counts are printed so, too.
fn go_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let Ok(exponent) = exponent.parse::<i32>() else { return scientific };
    if (-4..6).contains(&exponent) {
        return value.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

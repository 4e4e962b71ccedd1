// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use prometheus::{Encoder, Registry, TextEncoder};

use super::{
    controller::LoopSpec,
    metrics::{PassResult, RuntimeMetrics},
};

const SPEC: LoopSpec = LoopSpec {
    label: "roleset-controller",
    event_source: "roleset-controller",
    workers: 1,
    period: None,
    deadline: None,
    backoff_cap: Duration::from_secs(1000),
    rules: &[],
};

fn text(registry: &Registry) -> String {
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn every_series_of_a_loop_exists_at_zero_before_its_first_pass() {
    let registry = Registry::new();
    RuntimeMetrics::register(&registry).unwrap().start_at_zero(&SPEC, 3);
    let text = text(&registry);
    let one = r#"controller="roleset-controller""#;
    let both = r#"controller="roleset-controller",name="roleset-controller""#;
    for line in [
        format!("controller_runtime_reconcile_total{{{one},result=\"success\"}} 0"),
        format!("controller_runtime_reconcile_total{{{one},result=\"error\"}} 0"),
        format!("controller_runtime_reconcile_total{{{one},result=\"requeue\"}} 0"),
        format!("controller_runtime_reconcile_total{{{one},result=\"requeue_after\"}} 0"),
        format!("controller_runtime_reconcile_errors_total{{{one}}} 0"),
        format!("controller_runtime_terminal_reconcile_errors_total{{{one}}} 0"),
        format!("controller_runtime_reconcile_panics_total{{{one}}} 0"),
        format!("controller_runtime_reconcile_time_seconds_count{{{one}}} 0"),
        format!("controller_runtime_max_concurrent_reconciles{{{one}}} 3"),
        format!("controller_runtime_active_workers{{{one}}} 0"),
        format!("workqueue_depth{{{both}}} 0"),
        format!("workqueue_adds_total{{{both}}} 0"),
        format!("workqueue_retries_total{{{both}}} 0"),
        format!("workqueue_queue_duration_seconds_count{{{both}}} 0"),
        format!("workqueue_work_duration_seconds_count{{{both}}} 0"),
        format!("workqueue_unfinished_work_seconds{{{both}}} 0"),
        format!("workqueue_longest_running_processor_seconds{{{both}}} 0"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}

#[test]
fn buckets_are_those_of_a_go_manager() {
    let registry = Registry::new();
    RuntimeMetrics::register(&registry).unwrap().start_at_zero(&SPEC, 1);
    let text = text(&registry);
    let buckets = |family: &str| -> Vec<String> {
        let of_family = text.lines().filter(|line| line.starts_with(&format!("{family}_bucket")));
        of_family
            .map(|line| line.split("le=\"").nth(1).unwrap().split('"').next().unwrap().to_owned())
            .collect()
    };
    let passes = "0.005 0.01 0.025 0.05 0.1 0.15 0.2 0.25 0.3 0.35 0.4 0.45 0.5 0.6 0.7 0.8 0.9 1 1.25 1.5 1.75 2 \
                  2.5 3 3.5 4 4.5 5 6 7 8 9 10 15 20 25 30 40 50 60 +Inf";
    assert_eq!(buckets("controller_runtime_reconcile_time_seconds").join(" "), passes);
    let queue: Vec<f64> =
        buckets("workqueue_queue_duration_seconds")[..12].iter().map(|b| b.parse().unwrap()).collect();
    assert_eq!(queue, [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0]);
    assert_eq!(buckets("workqueue_work_duration_seconds").len(), 13);
}

#[test]
fn an_error_is_counted_twice_and_a_requeue_once() {
    let registry = Registry::new();
    let metrics = RuntimeMetrics::register(&registry).unwrap().of(&SPEC);
    metrics.pass_ended(PassResult::Error, Duration::from_millis(3));
    metrics.pass_ended(PassResult::Requeue, Duration::from_millis(3));
    let text = text(&registry);
    let one = r#"controller="roleset-controller""#;
    assert!(text.contains(&format!("reconcile_total{{{one},result=\"error\"}} 1")));
    assert!(text.contains(&format!("reconcile_total{{{one},result=\"requeue\"}} 1")));
    assert!(text.contains(&format!("reconcile_errors_total{{{one}}} 1")));
    assert!(text.contains(&format!("reconcile_time_seconds_count{{{one}}} 2")));
}

#[test]
fn families_cannot_be_registered_twice() {
    let registry = Registry::new();
    RuntimeMetrics::register(&registry).unwrap();
    assert!(RuntimeMetrics::register(&registry).is_err());
}

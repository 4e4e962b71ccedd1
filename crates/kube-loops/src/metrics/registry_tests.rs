// SPDX-License-Identifier: Apache-2.0

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{Metrics, MetricsError};

#[test]
fn registering_a_family_twice_returns_the_first() {
    let metrics = Metrics::new();
    metrics.int_counter("a_total", "Help.", &["x"]).unwrap().with_label_values(&["1"]).inc();
    let again = metrics.clone().int_counter("a_total", "Help.", &["x"]).unwrap();
    again.with_label_values(&["1"]).inc();
    assert!(metrics.render().contains("a_total{x=\"1\"} 2\n"));
}

#[test]
fn a_family_with_another_shape_is_a_conflict() {
    let metrics = Metrics::new();
    metrics.histogram("a", "Help.", &["x"], &[1.0]).unwrap();
    let conflicts = [
        metrics.histogram("a", "Help.", &["x"], &[2.0]).err(),
        metrics.histogram("a", "Help.", &["y"], &[1.0]).err(),
        metrics.histogram("a", "Other.", &["x"], &[1.0]).err(),
        metrics.gauge("a", "Help.", &["x"]).err(),
    ];
    for conflict in conflicts {
        assert!(matches!(conflict, Some(MetricsError::Conflict { .. })), "{conflict:?}");
    }
}

#[test]
fn names_that_prometheus_forbids_are_refused() {
    let metrics = Metrics::new();
    assert!(matches!(metrics.gauge("a b", "Help.", &[]), Err(MetricsError::Create { .. })));
    assert!(matches!(metrics.gauge("a", "Help.", &["b-c"]), Err(MetricsError::Create { .. })));
}

#[test]
fn hooks_run_before_each_rendering_and_may_use_the_registry() {
    let metrics = Metrics::new();
    let runs = Arc::new(AtomicUsize::new(0));
    let hook = {
        let (metrics, runs) = (metrics.clone(), Arc::clone(&runs));
        move || {
            runs.fetch_add(1, Ordering::Relaxed);
            metrics.int_gauge("g", "Help.", &[]).unwrap().with_label_values::<&str>(&[]).set(7);
            metrics.on_render(Box::new(|| ()));
        }
    };
    metrics.on_render(Box::new(hook));
    assert!(metrics.render().contains("g 7\n"));
    metrics.render();
    assert_eq!(runs.load(Ordering::Relaxed), 2);
}

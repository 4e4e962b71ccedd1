// SPDX-License-Identifier: Apache-2.0

use kube_loops::{metrics::Metrics, runtime::reconciler::Key};

use super::{
    metrics::{AutoscalerMetrics, TermGauge},
    state::Unknown,
    steps::Gauge,
};

const STABLE: Gauge = Gauge::Set { algorithm: "kpa", reason: "stable", value: 3 };
const ABOVE: Gauge = Gauge::Set { algorithm: "kpa", reason: "kpa above target", value: 5 };

fn series(metrics: &Metrics) -> Vec<String> {
    let text = metrics.render();
    let lines = text.lines().filter(|line| line.starts_with("aibrix_autoscaler_scale_action{"));
    lines.map(str::to_owned).collect()
}

#[test]
fn autoscaler_has_one_series_which_goes_with_it() {
    let metrics = Metrics::new();
    let gauge = TermGauge::new(&AutoscalerMetrics::register(&metrics).unwrap());
    let key = Key::new("ns", "pa");
    for value in [3, 4] {
        gauge.show(&key, &Gauge::Set { algorithm: "kpa", reason: "stable", value }, &Unknown::default());
        gauge.show(&key, &Gauge::Keep, &Unknown::default());
    }
    let series_of = |reason: &str, value: i32| {
        let labels = format!("algorithm=\"kpa\",name=\"pa\",namespace=\"ns\",reason=\"{reason}\"");
        format!("aibrix_autoscaler_scale_action{{{labels}}} {value}")
    };
    assert_eq!(series(&metrics), [series_of("stable", 4)]);
    gauge.show(&key, &ABOVE, &Unknown::default());
    assert_eq!(series(&metrics), [series_of("kpa above target", 5)]);
    gauge.show(&key, &Gauge::Remove, &Unknown::default());
    assert!(series(&metrics).is_empty());
    gauge.show(&key, &STABLE, &Unknown::default());
    gauge.remove(&key);
    assert!(series(&metrics).is_empty());
}

#[test]
fn series_go_with_the_term() {
    let metrics = Metrics::new();
    let gauge = TermGauge::new(&AutoscalerMetrics::register(&metrics).unwrap());
    gauge.show(&Key::new("ns", "a"), &STABLE, &Unknown::default());
    gauge.show(&Key::new("ns", "b"), &ABOVE, &Unknown::default());
    assert_eq!(series(&metrics).len(), 2);
    drop(gauge);
    assert!(series(&metrics).is_empty());
}

// scenario: hardening 52
#[test]
fn what_could_not_be_measured_is_counted_for_each_autoscaler() {
    let metrics = Metrics::new();
    let gauge = TermGauge::new(&AutoscalerMetrics::register(&metrics).unwrap());
    let key = Key::new("ns", "pa");
    let value = |family: &str| {
        let start = format!("podautoscaler_unknown_{family}{{name=\"pa\",namespace=\"ns\"}} ");
        metrics.render().lines().find_map(|line| line.strip_prefix(start.as_str()).map(str::to_owned))
    };
    assert_eq!((value("pods"), value("sources")), (None, None));
    let unknown = Unknown { pods: 3, sources: vec!["a: down".to_owned()], ..Unknown::default() };
    gauge.show(&key, &STABLE, &unknown);
    assert_eq!((value("pods").as_deref(), value("sources").as_deref()), (Some("3"), Some("1")));
    gauge.show(&key, &Gauge::Keep, &Unknown::default());
    assert_eq!((value("pods").as_deref(), value("sources").as_deref()), (Some("0"), Some("0")));
    gauge.show(&key, &Gauge::Remove, &Unknown::default());
    assert_eq!((value("pods"), value("sources")), (None, None));
}

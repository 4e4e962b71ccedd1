// SPDX-License-Identifier: Apache-2.0

use kube_loops::{metrics::Metrics, runtime::reconciler::Key};

use super::{
    metrics::{ScaleActions, TermGauge},
    steps::Gauge,
};

const STABLE: Gauge = Gauge::Set { algorithm: "kpa", reason: "stable", value: 3 };
const ABOVE: Gauge = Gauge::Set { algorithm: "kpa", reason: "kpa above target", value: 5 };

fn series(metrics: &Metrics) -> Vec<String> {
    metrics.render().lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn autoscaler_has_one_series_which_goes_with_it() {
    let metrics = Metrics::new();
    let gauge = TermGauge::new(&ScaleActions::register(&metrics).unwrap());
    let key = Key::new("ns", "pa");
    for value in [3, 4] {
        gauge.show(&key, &Gauge::Set { algorithm: "kpa", reason: "stable", value });
        gauge.show(&key, &Gauge::Keep);
    }
    let series_of = |reason: &str, value: i32| {
        let labels = format!("algorithm=\"kpa\",name=\"pa\",namespace=\"ns\",reason=\"{reason}\"");
        format!("aibrix_autoscaler_scale_action{{{labels}}} {value}")
    };
    assert_eq!(series(&metrics), [series_of("stable", 4)]);
    gauge.show(&key, &ABOVE);
    assert_eq!(series(&metrics), [series_of("kpa above target", 5)]);
    gauge.show(&key, &Gauge::Remove);
    assert!(series(&metrics).is_empty());
    gauge.show(&key, &STABLE);
    gauge.remove(&key);
    assert!(series(&metrics).is_empty());
}

#[test]
fn series_go_with_the_term() {
    let metrics = Metrics::new();
    let gauge = TermGauge::new(&ScaleActions::register(&metrics).unwrap());
    gauge.show(&Key::new("ns", "a"), &STABLE);
    gauge.show(&Key::new("ns", "b"), &ABOVE);
    assert_eq!(series(&metrics).len(), 2);
    drop(gauge);
    assert!(series(&metrics).is_empty());
}

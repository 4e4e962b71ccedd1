// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::annotations::{Parameters, parse_parameters};
use crate::api::autoscaling::PodAutoscaler;

fn parse(annotations: &[(&str, &str)]) -> Parameters {
    let mut pa: PodAutoscaler =
        PodAutoscaler::new("pa", crate::api::autoscaling::PodAutoscalerSpec::default());
    let entry = |(key, value): &(&str, &str)| {
        let key = if key.contains('/') { (*key).to_owned() } else { format!("autoscaling.aibrix.ai/{key}") };
        (key, (*value).to_owned())
    };
    pa.metadata.annotations = Some(annotations.iter().map(entry).collect::<BTreeMap<_, _>>());
    parse_parameters(&pa)
}

#[test]
fn defaults_apply_without_annotations() {
    let parameters = parse(&[]);
    let limits = parameters.limits;
    assert_eq!(
        (limits.up_rate, limits.down_rate, limits.up_tolerance, limits.down_tolerance),
        (2.0, 2.0, 0.1, 0.1)
    );
    assert_eq!(parameters.panic_threshold, 2.0);
    assert_eq!(parameters.cooldown.up, SignedDuration::ZERO);
    assert_eq!(parameters.cooldown.down, SignedDuration::from_secs(300));
    assert!(parameters.warnings.is_empty());
}

// scenario: pod-autoscaler 38
#[test]
fn a_bad_value_falls_back_alone_and_is_named() {
    let parameters = parse(&[
        ("max-scale-up-rate", "fast"),
        ("max-scale-down-rate", "4"),
        ("scale-up-tolerance", "0x1p-2"),
        ("scale-down-cooldown-window", "10m"),
        ("scale-up-cooldown-window", "30"),
    ]);
    assert_eq!((parameters.limits.up_rate, parameters.limits.down_rate), (2.0, 4.0));
    assert_eq!(parameters.limits.up_tolerance, 0.25);
    assert_eq!(parameters.cooldown.down, SignedDuration::from_mins(10));
    assert_eq!(parameters.cooldown.up, SignedDuration::ZERO);
    assert_eq!(
        parameters.warnings,
        [
            "annotation autoscaling.aibrix.ai/max-scale-up-rate: \"fast\" is not a number of at least 1; using 2",
            "annotation autoscaling.aibrix.ai/scale-up-cooldown-window: \"30\" is not a duration of at least 0s; using 0s",
        ]
    );
}

#[test]
fn values_outside_their_range_fall_back() {
    for (key, values) in [
        ("max-scale-up-rate", ["0.5", "inf", "nan"]),
        ("max-scale-down-rate", ["0", "-2", "+Inf"]),
        ("scale-up-tolerance", ["-0.1", "inf", "NaN"]),
        ("scale-down-tolerance", ["1.5", "-0.1", "nan"]),
        ("panic-threshold", ["0", "-1", "inf"]),
        ("scale-up-cooldown-window", ["-1s", "1d", ""]),
        ("scale-down-cooldown-window", ["300", "-5m", "x"]),
        ("scale-to-zero", ["yes", "2", ""]),
    ] {
        for value in values {
            let parameters = parse(&[(key, value)]);
            assert_eq!(parameters.warnings.len(), 1, "{key}: {value}");
            assert_eq!(Parameters { warnings: Vec::new(), ..parameters }, parse(&[]), "{key}: {value}");
        }
    }
    assert!(
        parse(&[("scale-down-tolerance", "1"), ("max-scale-up-rate", "1"), ("scale-to-zero", "T")])
            .warnings
            .is_empty()
    );
}

#[test]
fn older_keys_count_where_the_new_ones_are_absent() {
    let old = [
        ("up-fluctuation-tolerance", "0.3"),
        ("down-fluctuation-tolerance", "0.4"),
        ("kpa.autoscaling.aibrix.ai/scale-down-delay", "30m"),
        ("kpa.autoscaling.aibrix.ai/panic-threshold", "200"),
    ];
    let parameters = parse(&old);
    assert_eq!((parameters.limits.up_tolerance, parameters.limits.down_tolerance), (0.3, 0.4));
    assert_eq!(parameters.cooldown.down, SignedDuration::from_mins(30));
    assert_eq!(parameters.panic_threshold, 2.0);
    let both = parse(
        &[old.as_slice(), &[("scale-up-tolerance", "0.5"), ("scale-down-cooldown-window", "1m")]].concat(),
    );
    assert_eq!((both.limits.up_tolerance, both.limits.down_tolerance), (0.5, 0.4));
    assert_eq!(both.cooldown.down, SignedDuration::from_mins(1));
}

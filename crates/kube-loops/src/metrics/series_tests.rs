// SPDX-License-Identifier: Apache-2.0

use super::{Metrics, SeriesFamily};

fn shown(metrics: &Metrics) -> Vec<String> {
    metrics.render().lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn series_vanishes_with_its_owner() {
    let metrics = Metrics::new();
    let family = SeriesFamily::new(metrics.gauge("ready", "Help.", &["namespace", "name"]).unwrap());
    let a = family.series(&["ns", "a"]).unwrap();
    let b = family.series(&["ns", "b"]).unwrap();
    a.set(1.0);
    b.set(2.0);
    assert_eq!(
        shown(&metrics),
        [r#"ready{name="a",namespace="ns"} 1"#, r#"ready{name="b",namespace="ns"} 2"#]
    );
    drop(a);
    assert_eq!(shown(&metrics), [r#"ready{name="b",namespace="ns"} 2"#]);
    drop(b);
    assert_eq!(metrics.render(), "");
}

#[test]
fn handle_of_an_old_term_does_not_remove_the_series_of_the_next() {
    let metrics = Metrics::new();
    let family = SeriesFamily::new(metrics.gauge("ready", "Help.", &["name"]).unwrap());
    let old = family.series(&["a"]).unwrap();
    let new = family.clone().series(&["a"]).unwrap();
    new.set(3.0);
    drop(old);
    assert_eq!(shown(&metrics), [r#"ready{name="a"} 3"#]);
}

#[test]
fn a_series_starts_at_zero_again() {
    let metrics = Metrics::new();
    let family = SeriesFamily::new(metrics.int_counter("n_total", "Help.", &["name"]).unwrap());
    family.series(&["a"]).unwrap().inc();
    let _again = family.series(&["a"]).unwrap();
    assert_eq!(shown(&metrics), [r#"n_total{name="a"} 0"#]);
}

#[test]
fn wrong_number_of_labels_is_an_error() {
    let metrics = Metrics::new();
    let family = SeriesFamily::new(metrics.gauge("ready", "Help.", &["name"]).unwrap());
    assert!(family.series(&[]).is_err());
    assert!(family.series(&["a", "b"]).is_err());
    assert_eq!(metrics.render(), "");
}

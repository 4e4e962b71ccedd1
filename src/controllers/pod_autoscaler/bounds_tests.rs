// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use serde_json::{Value, json};

use super::bounds::{Bounds, resolve};
use crate::api::autoscaling::PodAutoscaler;
use kube_fenced_election::clock::Timestamp;

/// Base bounds 1 to 10.
fn spec(schedules: Value) -> PodAutoscaler {
    serde_json::from_value(json!({"metadata": {"name": "pa"}, "spec": {
        "scaleTargetRef": {"kind": "Deployment", "name": "web"},
        "maxReplicas": 10, "scalingStrategy": "KPA", "schedules": schedules,
    }}))
    .unwrap()
}

fn window(zone: &str, start: &str, end: &str) -> Value {
    json!({"name": format!("w{}", &start[..2]), "timezone": zone, "startTime": start, "endTime": end, "minReplicas": 3})
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn minutes(minutes: u64) -> Option<Duration> {
    Some(Duration::from_secs(minutes * 60))
}

// scenario: pod-autoscaler 47
#[test]
fn a_schedule_is_active_on_its_days_in_its_zone() {
    let spec = spec(json!([{
        "name": "work", "timezone": "Asia/Shanghai", "daysOfWeek": ["Mon", "Tue", "Wed"],
        "startTime": "09:00", "endTime": "18:00", "minReplicas": 3, "maxReplicas": 12,
    }]));
    let (bounds, _) = resolve(&spec, at("2026-08-03T02:00:00Z"));
    assert_eq!(bounds, Bounds { min: 3, max: 12, active: Some("work".into()), has_explicit_min: true });
    let (bounds, _) = resolve(&spec, at("2026-08-03T10:00:00Z"));
    assert_eq!(bounds, Bounds { min: 1, max: 10, active: None, has_explicit_min: false });
    let (bounds, _) = resolve(&spec, at("2026-08-06T02:00:00Z"));
    assert_eq!(bounds.active, None, "a Thursday");
}

// scenario: pod-autoscaler 47
#[test]
fn the_start_belongs_to_a_window_and_the_end_does_not() {
    let spec = spec(json!([window("UTC", "09:00", "10:00")]));
    for (time, active) in [("08:59:59", false), ("09:00:00", true), ("09:59:59.9", true), ("10:00:00", false)]
    {
        let (bounds, _) = resolve(&spec, at(&format!("2026-11-24T{time}Z")));
        assert_eq!(bounds.active.is_some(), active, "{time}");
    }
}

// scenario: pod-autoscaler 47
#[test]
fn the_next_transition_is_the_earliest_start_or_end() {
    let day = spec(json!([window("UTC", "09:00", "18:00")]));
    let from = |time: &str| resolve(&day, at(&format!("2026-11-24T{time}Z"))).1;
    assert_eq!(from("08:30:00"), minutes(30));
    assert_eq!(from("09:30:00"), minutes(8 * 60 + 30));
    assert_eq!(from("09:00:00"), minutes(9 * 60), "strictly after now");
    assert_eq!(from("18:00:00"), minutes(15 * 60), "tomorrow");
    assert_eq!(from("08:59:59.5"), Some(Duration::from_millis(500)));
    assert_eq!(resolve(&spec(Value::Null), at("2026-11-24T08:00:00Z")).1, None);
    let mut weekly = window("UTC", "09:00", "10:00");
    weekly["daysOfWeek"] = json!(["Tue"]);
    let (_, next) = resolve(&spec(json!([weekly])), at("2026-11-24T10:00:00Z"));
    assert_eq!(next, minutes(7 * 24 * 60 - 60), "in a week");
}

#[test]
fn transitions_follow_the_wall_clock_on_days_on_which_it_is_changed() {
    // Berlin: 02:00 → 03:00 on 2026-03-29, 03:00 → 02:00 on 2026-10-25.
    let day = spec(json!([window("Europe/Berlin", "09:00", "18:00")]));
    assert_eq!(resolve(&day, at("2026-03-28T23:00:00Z")).1, minutes(8 * 60), "midnight to 9:00 is 8 hours");
    assert_eq!(resolve(&day, at("2026-10-24T22:00:00Z")).1, minutes(10 * 60), "midnight to 9:00 is 10 hours");
    let gap = spec(json!([window("Europe/Berlin", "02:30", "18:00")]));
    assert_eq!(resolve(&gap, at("2026-03-29T00:00:00Z")).1, minutes(90), "2:30 does not exist");
}

#[test]
fn only_an_explicit_lower_bound_of_the_active_schedule_wakes_a_target() {
    let only_max = json!([{"name": "a", "startTime": "00:00", "endTime": "23:59", "maxReplicas": 7}]);
    let (bounds, _) = resolve(&spec(only_max), at("2026-11-24T08:00:00Z"));
    assert_eq!(bounds, Bounds { min: 1, max: 7, active: Some("a".into()), has_explicit_min: false });
}

#[test]
fn invalid_schedules_leave_the_base_bounds() {
    let (bounds, next) = resolve(&spec(json!([])), at("2026-11-24T08:00:00Z"));
    assert_eq!((bounds.min, bounds.max, bounds.active, next), (1, 10, None, None));
}

// scenario: hardening 34
#[test]
fn windows_that_touch_leave_no_hole() {
    let named = |name: &str, zone: &str, days: &[&str], start: &str, end: &str| json!({"name": name, "timezone": zone, "daysOfWeek": days, "startTime": start, "endTime": end, "maxReplicas": 1});
    let weekend = spec(json!([named("weekend", "Asia/Kolkata", &["Sat", "Sun"], "00:00", "23:59")]));
    // Friday 18:30 UTC is midnight there.
    for (time, active) in [
        ("2026-11-27T18:29:59Z", false),
        ("2026-11-27T18:30:00Z", true),
        ("2026-11-28T18:29:30Z", true),
        ("2026-11-28T18:30:00Z", true),
        ("2026-11-29T18:29:59Z", true),
        ("2026-11-29T18:30:00Z", false),
    ] {
        assert_eq!(resolve(&weekend, at(time)).0.active.is_some(), active, "{time}");
    }
    let two = spec(json!([
        named("a", "UTC", &["Mon"], "22:00", "23:59"),
        named("b", "UTC", &["Tue"], "00:00", "06:00"),
    ]));
    for (time, active) in [("23:59:59", "a"), ("23:58:59", "a")] {
        let (bounds, next) = resolve(&two, at(&format!("2026-11-23T{time}Z")));
        assert_eq!(bounds.active.as_deref(), Some(active), "{time}");
        assert!(next <= minutes(2), "midnight is a transition: {next:?}");
    }
    assert_eq!(resolve(&two, at("2026-11-24T00:00:00Z")).0.active.as_deref(), Some("b"));
}

// scenario: hardening 34
#[test]
fn a_night_belongs_to_the_day_on_which_it_starts() {
    let mut night = spec(json!([{
        "name": "night", "timezone": "Europe/Berlin", "daysOfWeek": ["Sat"], "startTime": "22:00", "endTime": "06:00",
        "minReplicas": 3,
    }]));
    assert_eq!(resolve(&night, at("2026-10-24T21:00:00Z")).0.active, None, "invalid without the annotation");
    let key = "autoscaling.aibrix.ai/overnight-schedules".to_owned();
    night.metadata.annotations = Some([(key, "true".to_owned())].into());
    // The clock is set back in this night, and forward in that of 2026-03-28.
    for (time, active) in [
        ("2026-10-24T19:59:59Z", false),
        ("2026-10-24T20:00:00Z", true),
        ("2026-10-24T22:00:00Z", true),
        ("2026-10-25T04:59:59Z", true),
        ("2026-10-25T05:00:00Z", false),
        ("2026-03-28T21:00:00Z", true),
        ("2026-03-29T03:59:59Z", true),
        ("2026-03-29T04:00:00Z", false),
        ("2026-10-23T22:00:00Z", false),
    ] {
        assert_eq!(resolve(&night, at(time)).0.active.is_some(), active, "{time}");
    }
    assert_eq!(
        resolve(&night, at("2026-10-24T20:00:00Z")).1,
        minutes(2 * 60),
        "midnight, where the spans touch"
    );
}

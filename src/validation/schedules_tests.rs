// SPDX-License-Identifier: Apache-2.0
use serde_json::{Value, json};

use super::schedules::parse_schedules;
use crate::api::autoscaling::PodAutoscaler;

/// Base bounds 1 to 10.
fn autoscaler(schedules: &Value) -> PodAutoscaler {
    serde_json::from_value(json!({"metadata": {"name": "pa"}, "spec": {
        "scaleTargetRef": {"kind": "Deployment", "name": "web"},
        "maxReplicas": 10, "scalingStrategy": "KPA", "schedules": schedules,
    }}))
    .unwrap()
}

fn problem(schedules: Value) -> Result<(), String> {
    parse_schedules(&autoscaler(&schedules)).map(|_| ()).map_err(|error| error.to_string())
}

fn problem_overnight(schedules: Value) -> Result<(), String> {
    let mut pa = autoscaler(&schedules);
    let key = "autoscaling.aibrix.ai/overnight-schedules".to_owned();
    pa.metadata.annotations = Some([(key, "true".to_owned())].into());
    parse_schedules(&pa).map(|_| ()).map_err(|error| error.to_string())
}

/// A valid window with some members replaced.
fn window(changes: Value) -> Value {
    let mut window = json!({"name": "day", "startTime": "09:00", "endTime": "18:00", "minReplicas": 2});
    for (key, value) in changes.as_object().unwrap() {
        window[key] = value.clone();
    }
    window
}

// scenario: pod-autoscaler 3
#[test]
fn wrong_schedules_are_refused_in_these_words() {
    for (schedules, message) in [
        (json!([]), "schedules must not be empty"),
        (json!([window(json!({"name": ""}))]), "schedules[0]: name is required"),
        (
            json!([window(json!({"name": "Bad_Name"}))]),
            "schedules[0]: name must use Kubernetes DNS label style",
        ),
        (json!([window(json!({"name": "-a"}))]), "schedules[0]: name must use Kubernetes DNS label style"),
        (
            json!([window(json!({"timezone": "Mars/Olympus"}))]),
            "schedules[0]: timezone: unknown time zone Mars/Olympus",
        ),
        (json!([window(json!({"daysOfWeek": []}))]), "schedules[0]: daysOfWeek must not be empty"),
        (
            json!([window(json!({"daysOfWeek": ["Monday"]}))]),
            "schedules[0]: daysOfWeek: unsupported weekday \"Monday\"",
        ),
        (json!([window(json!({"startTime": "9:00"}))]), "schedules[0]: startTime: must use HH:MM"),
        (json!([window(json!({"startTime": "24:00"}))]), "schedules[0]: startTime: must use HH:MM"),
        (json!([window(json!({"startTime": "+9:00"}))]), "schedules[0]: startTime: must use HH:MM"),
        (json!([window(json!({"endTime": "18:00:00"}))]), "schedules[0]: endTime: must use HH:MM"),
        (json!([window(json!({"endTime": "18:60"}))]), "schedules[0]: endTime: must use HH:MM"),
        (
            json!([window(json!({"startTime": "18:00", "endTime": "09:00"}))]),
            "schedules[0]: startTime must be earlier than endTime",
        ),
        (
            json!([window(json!({"minReplicas": null}))]),
            "schedules[0]: at least one of minReplicas or maxReplicas must be set",
        ),
        (
            json!([window(json!({"minReplicas": -1}))]),
            "schedules[0]: effective minReplicas must be non-negative",
        ),
        (json!([window(json!({"maxReplicas": 0}))]), "schedules[0]: effective maxReplicas must be positive"),
        (
            json!([window(json!({"minReplicas": 11}))]),
            "schedules[0]: effective minReplicas must not be greater than effective maxReplicas",
        ),
        (
            json!([window(json!({})), window(json!({"startTime": "18:00", "endTime": "19:00"}))]),
            "schedules[1].name: duplicate name \"day\"",
        ),
        (
            json!([
                window(json!({})),
                window(json!({"name": "late", "startTime": "17:59", "endTime": "19:00"}))
            ]),
            "schedules[1]: overlaps schedule \"day\"",
        ),
        (
            json!([window(json!({})), window(json!({"name": "b", "timezone": "Etc/UTC"}))]),
            "schedules[1].timezone: mixed timezone values are not supported",
        ),
    ] {
        assert_eq!(problem(schedules), Err(message.to_owned()));
    }
}

// scenario: pod-autoscaler 3
#[test]
fn windows_may_touch_and_share_hours_on_different_days() {
    let touching =
        json!([window(json!({})), window(json!({"name": "late", "startTime": "18:00", "endTime": "23:59"}))]);
    assert_eq!(problem(touching), Ok(()));
    let days = json!([
        window(json!({"daysOfWeek": ["mon", "MON", "Tue"]})),
        window(json!({"name": "b", "daysOfWeek": ["Wed"], "timezone": "UTC"})),
    ]);
    assert_eq!(problem(days), Ok(()));
    assert_eq!(problem(json!([window(json!({"timezone": "Asia/Shanghai"}))])), Ok(()));
    assert_eq!(problem(Value::Null), Ok(()));
}

#[test]
fn the_first_error_of_the_list_wins_and_overlaps_come_last() {
    let schedules = json!([window(json!({})), window(json!({"name": "b"})), window(json!({"name": "B"}))]);
    let message = "schedules[2]: name must use Kubernetes DNS label style";
    assert_eq!(problem(schedules), Err(message.to_owned()));
}

// scenario: hardening 50
#[test]
fn zones_are_written_as_the_database_has_them() {
    for (zone, meant) in [
        ("europe/prague", ", is Europe/Prague meant?"),
        ("Europe/Prag", ", is Europe/Prague meant?"),
        ("Local", ", is UTC meant?"),
        ("Asia/Shanghay", ", is Asia/Shanghai meant?"),
        ("Mars/Olympus", ""),
    ] {
        let message = format!("schedules[0]: timezone: unknown time zone {zone}{meant}");
        assert_eq!(problem(json!([window(json!({"timezone": zone}))])), Err(message));
    }
    for zone in ["UTC", "Etc/UTC", "Europe/Prague", "America/Argentina/Buenos_Aires", "Asia/Calcutta"] {
        assert_eq!(problem(json!([window(json!({"timezone": zone}))])), Ok(()), "{zone}");
    }
}

// scenario: hardening 34
#[test]
fn nights_are_windows_where_the_object_says_so() {
    let night = || window(json!({"startTime": "22:00", "endTime": "06:00", "daysOfWeek": ["Sun"]}));
    let earlier = "schedules[0]: startTime must be earlier than endTime";
    assert_eq!(problem(json!([night()])), Err(earlier.to_owned()));
    assert_eq!(problem_overnight(json!([night()])), Ok(()));
    let monday = |start: &str| {
        window(json!({"name": "b", "startTime": start, "endTime": "23:59", "daysOfWeek": ["Mon"]}))
    };
    let overlap = Err("schedules[1]: overlaps schedule \"day\"".to_owned());
    assert_eq!(problem_overnight(json!([night(), monday("05:59")])), overlap, "it ends on Monday");
    assert_eq!(problem_overnight(json!([night(), monday("06:00")])), Ok(()));
}

#[test]
fn of_several_overlaps_the_first_in_the_list_is_named() {
    let hour = |name: &str, start: &str, end: &str| {
        window(json!({"name": name, "startTime": start, "endTime": end}))
    };
    let schedules = json!([
        hour("a", "10:00", "12:00"),
        hour("b", "08:00", "09:00"),
        hour("c", "08:30", "11:00"),
        hour("d", "08:00", "20:00"),
    ]);
    assert_eq!(problem(schedules), Err("schedules[2]: overlaps schedule \"a\"".to_owned()));
}

// scenario: hardening 14
#[test]
fn more_schedules_than_anybody_needs_are_refused_before_they_are_compared() {
    let many = |count: usize| {
        let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
        let each = (0..count).map(|i| {
            let (name, days) = (format!("w{i}"), [days[i % 7]]);
            window(json!({"name": name, "startTime": "00:00", "endTime": "00:01", "daysOfWeek": days}))
        });
        Value::Array(each.collect())
    };
    assert_eq!(problem(many(7)), Ok(()));
    let message = "schedules: 10000 are too many, at most 64";
    assert_eq!(problem(many(10_000)), Err(message.to_owned()));
}

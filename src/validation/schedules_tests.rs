// SPDX-License-Identifier: Apache-2.0
use serde_json::{Value, json};

use super::schedules::parse_schedules;
use crate::api::autoscaling::PodAutoscalerSpec;

/// Base bounds 1 to 10.
fn problem(schedules: Value) -> Result<(), String> {
    let spec: PodAutoscalerSpec = serde_json::from_value(json!({
        "scaleTargetRef": {"kind": "Deployment", "name": "web"},
        "maxReplicas": 10, "scalingStrategy": "KPA", "schedules": schedules,
    }))
    .unwrap();
    parse_schedules(&spec).map(|_| ()).map_err(|error| error.to_string())
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

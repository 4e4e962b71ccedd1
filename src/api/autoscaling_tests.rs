// SPDX-License-Identifier: Apache-2.0
use serde_json::json;

use super::autoscaling::{PodAutoscaler, PodAutoscalerStatus, ScheduledBounds};

#[test]
fn words_that_validation_would_refuse_still_parse() {
    let pa: PodAutoscaler = serde_json::from_value(json!({
        "metadata": {"name": "a"},
        "spec": {
            "scaleTargetRef": {"name": "web"}, "maxReplicas": -3, "scalingStrategy": "XPA", "unknown": {},
            "metricsSources": [{"metricSourceType": "dream", "targetMetric": "", "targetValue": "x"}],
        },
    }))
    .unwrap();
    assert_eq!(pa.spec.scaling_strategy, "XPA");
    assert_eq!(pa.spec.metrics_sources[0].metric_source_type, "dream");
}

#[test]
fn zeros_are_left_out_of_the_status_but_not_of_its_bounds() {
    let status =
        PodAutoscalerStatus { scheduled_bounds: Some(ScheduledBounds::default()), ..Default::default() };
    let bounds = json!({"effectiveMinReplicas": 0, "effectiveMaxReplicas": 0});
    assert_eq!(serde_json::to_value(status).unwrap(), json!({"scheduledBounds": bounds}));
}

#[test]
fn an_empty_message_is_written() {
    let text = json!({"conditions": [{
        "type": "Ready", "status": "True", "reason": "AsExpected", "message": "",
        "lastTransitionTime": "2026-11-24T08:00:00Z",
    }]});
    let status: PodAutoscalerStatus = serde_json::from_value(text.clone()).unwrap();
    assert_eq!(serde_json::to_value(status).unwrap(), text);
}

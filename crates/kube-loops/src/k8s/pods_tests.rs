// SPDX-License-Identifier: Apache-2.0
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::pods::{is_ready, is_running, is_terminating, usable_ip};

fn pod(phase: &str, ip: &str, leaving: bool) -> Pod {
    let mut pod = json!({"metadata": {}, "status": {"phase": phase, "podIP": ip}});
    if leaving {
        pod["metadata"]["deletionTimestamp"] = json!("2026-11-24T08:00:00Z");
    }
    serde_json::from_value(pod).unwrap()
}

#[test]
fn only_a_running_pod_with_an_address_that_stays_is_usable() {
    for (phase, ip, leaving, want) in [
        ("Running", "10.0.0.1", false, Some("10.0.0.1")),
        ("Running", "", false, None),
        ("Running", "10.0.0.1", true, None),
        ("Pending", "10.0.0.1", false, None),
        ("Succeeded", "10.0.0.1", false, None),
    ] {
        assert_eq!(usable_ip(&pod(phase, ip, leaving)), want, "{phase} {ip} {leaving}");
    }
    assert_eq!(usable_ip(&Pod::default()), None);
    assert!(is_running(&pod("Running", "", false)) && is_terminating(&pod("Running", "", true)));
}

#[test]
fn readiness_is_the_ready_condition() {
    let of = |status: &str| {
        let status = json!({"conditions": [{"type": "Ready", "status": status}]});
        is_ready(&serde_json::from_value(json!({"metadata": {}, "status": status})).unwrap())
    };
    assert!(of("True") && !of("False") && !of("Unknown") && !is_ready(&Pod::default()));
}

// SPDX-License-Identifier: Apache-2.0
//! Constants of the controller: names, periods, permissions.

use std::time::Duration;

use crate::api::autoscaling;
use kube_loops::runtime::controller::{Card, Kind, LoopSpec, Rule};

/// Time between two decisions of an autoscaler, and between two rounds of measurements.
pub(crate) const SYNC_PERIOD: Duration = Duration::from_secs(10);

/// Name in `--controllers`.
pub(super) const NAME: &str = "pod-autoscaler-controller";

/// Constants of the controller.
pub(crate) static CARD: Card = Card {
    name: NAME,
    required_kinds: &[Kind {
        group: autoscaling::GROUP,
        version: autoscaling::VERSION,
        kind: autoscaling::POD_AUTOSCALER,
        plural: "podautoscalers",
    }],
    loops: &[LOOP],
};

/// Constants of its only loop.
pub(super) const LOOP: LoopSpec = LoopSpec {
    label: "podautoscaler",
    event_source: "PodAutoscaler",
    workers: 4,
    period: Some(SYNC_PERIOD),
    deadline: Some(Duration::from_secs(10)),
    backoff_cap: Duration::from_secs(1000),
    rules: RULES,
};

const RULES: &[Rule] = &[
    Rule::new("autoscaling.aibrix.ai", &["podautoscalers/status"], &["get", "update", "patch"]),
    // The HorizontalPodAutoscaler's owner reference blocks the deletion of its owner.
    Rule::new("autoscaling.aibrix.ai", &["podautoscalers/finalizers"], &["update"]),
    Rule::new("autoscaling", &["horizontalpodautoscalers"], &["create", "update", "patch", "delete"]),
    Rule::new("apps", &["deployments", "statefulsets"], SCALE),
    // Targets that are not watched: read when a pass needs them.
    Rule::new("apps", &["replicasets"], &["get", "list", "watch", "update", "patch"]),
    Rule::new("orchestration.aibrix.ai", &["stormservices", "rayclusterfleets"], SCALE),
    Rule::new("metrics.k8s.io", &["pods"], &["get", "list"]),
    Rule::new("custom.metrics.k8s.io", &["*"], &["get", "list"]),
    Rule::new("external.metrics.k8s.io", &["*"], &["get", "list"]),
];

const SCALE: &[&str] = &["update", "patch"];

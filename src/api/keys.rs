// SPDX-License-Identifier: Apache-2.0
//! Every label, annotation and name that users, dashboards or other programs can see.

/// Label of a pod: the engine that serves in it (`vllm`, `sglang`, `trtllm`, `xllm`); absent: `vllm`.
pub const ENGINE_LABEL: &str = "model.aibrix.ai/engine";

/// Label of the pods of a StormService: its name.
pub const STORM_SERVICE_NAME_LABEL: &str = "storm-service-name";
/// Label of the pods of a StormService: their role.
pub const ROLE_NAME_LABEL: &str = "role-name";
/// Label of the pods of a grouped role: their place in the group; `0` is the one that serves.
pub const POD_GROUP_INDEX_LABEL: &str = "stormservice.orchestration.aibrix.ai/pod-group-index";
/// Label of the pods of a Ray cluster: `head` or `worker`.
pub const RAY_NODE_TYPE_LABEL: &str = "ray.io/node-type";

/// Group of AIBrix's workload kinds.
pub const ORCHESTRATION_GROUP: &str = "orchestration.aibrix.ai";

/// Annotations that are never copied to generated objects.
pub const LAST_APPLIED_ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Annotations of a PodAutoscaler.
pub mod pod_autoscaler {
    /// Largest factor by which one step may scale up: finite, at least 1, default 2.
    pub const MAX_SCALE_UP_RATE: &str = "autoscaling.aibrix.ai/max-scale-up-rate";
    /// Largest divisor by which one step may scale down: finite, at least 1, default 2.
    pub const MAX_SCALE_DOWN_RATE: &str = "autoscaling.aibrix.ai/max-scale-down-rate";
    /// Relative excess that is ignored: finite, at least 0, default 0.1.
    pub const SCALE_UP_TOLERANCE: &str = "autoscaling.aibrix.ai/scale-up-tolerance";
    /// Relative shortfall that is ignored: 0 to 1, default 0.1.
    pub const SCALE_DOWN_TOLERANCE: &str = "autoscaling.aibrix.ai/scale-down-tolerance";
    /// Panic mean over stable mean from which KPA panics: finite, above 0, default 2.
    pub const PANIC_THRESHOLD: &str = "autoscaling.aibrix.ai/panic-threshold";
    /// Stabilisation of scaling up: a Go duration, at least 0, default 0s.
    pub const SCALE_UP_COOLDOWN_WINDOW: &str = "autoscaling.aibrix.ai/scale-up-cooldown-window";
    /// Stabilisation of scaling down: a Go duration, at least 0, default 300s.
    pub const SCALE_DOWN_COOLDOWN_WINDOW: &str = "autoscaling.aibrix.ai/scale-down-cooldown-window";
    /// A Go boolean without effect: `minReplicas: 0` alone allows zero.
    pub const SCALE_TO_ZERO: &str = "autoscaling.aibrix.ai/scale-to-zero";
    /// `replica`: whole copies of a StormService are scaled; anything else: the replicas of one role.
    pub const STORM_SERVICE_MODE: &str = "autoscaling.aibrix.ai/storm-service-mode";
    /// Older name of [`SCALE_UP_TOLERANCE`], which wins.
    pub const LEGACY_UP_TOLERANCE: &str = "autoscaling.aibrix.ai/up-fluctuation-tolerance";
    /// Older name of [`SCALE_DOWN_TOLERANCE`], which wins.
    pub const LEGACY_DOWN_TOLERANCE: &str = "autoscaling.aibrix.ai/down-fluctuation-tolerance";
    /// Older name of [`SCALE_DOWN_COOLDOWN_WINDOW`], which wins.
    pub const LEGACY_SCALE_DOWN_DELAY: &str = "kpa.autoscaling.aibrix.ai/scale-down-delay";
}

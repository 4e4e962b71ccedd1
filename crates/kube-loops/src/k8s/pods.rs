// SPDX-License-Identifier: Apache-2.0
//! Questions about pods.

use k8s_openapi::api::core::v1::Pod;

/// Whether the pod is being deleted.
pub fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether the pod's containers run: phase Running and not being deleted. Says nothing about readiness.
pub fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !is_terminating(pod) && phase == Some("Running")
}

/// The address under which a running pod can be asked over the network; `None`: it cannot (yet, any more).
pub fn usable_ip(pod: &Pod) -> Option<&str> {
    let ip = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
    ip.filter(|ip| is_running(pod) && !ip.is_empty())
}

/// Whether the pod's condition `Ready` is true.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

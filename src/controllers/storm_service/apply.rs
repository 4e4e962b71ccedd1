// SPDX-License-Identifier: Apache-2.0
//! Pods as the loops address them, and how they open and close our readiness gate.

use kube::core::ApiResource;
use kube_fenced_election::clock::Timestamp;
use kube_loops::{
    cluster::{
        error::WriteError,
        writer::{Change, Guard, Target, Writer},
    },
    runtime::{children::ChildRef, controller::Kind},
};
use serde_json::{Value, json};

use crate::api::keys::storm_service::IN_PLACE_READY;

const POD: Kind = Kind { group: "", version: "v1", kind: "Pod", plural: "pods" };

/// How pods are served.
pub(super) fn pod_resource() -> ApiResource {
    POD.resource()
}

/// The pod, for a write.
fn target(pod: &ChildRef) -> Target {
    Target { resource: pod_resource(), namespace: Some(pod.namespace.clone()), name: pod.name.clone() }
}

/// Sets the condition of our readiness gate, and others with it. Answers with the version of the pod.
pub(super) async fn set_gate(
    writer: &Writer,
    pod: &ChildRef,
    status: &str,
    others: &[Value],
    now: Timestamp,
) -> Result<String, WriteError> {
    let gate = json!({"type": IN_PLACE_READY, "status": status, "lastTransitionTime": now.to_string()});
    let conditions: Vec<&Value> = std::iter::once(&gate).chain(others).collect();
    let change = Change::Strategic(json!({"status": {"conditions": conditions}}));
    let guard = Guard { uid: Some(&pod.uid), version: &pod.version };
    let patched = writer.patch(&target(pod), "status", change, guard).await?;
    Ok(patched.metadata.resource_version.unwrap_or_default())
}

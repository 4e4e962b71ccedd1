// SPDX-License-Identifier: Apache-2.0
//! Pods as the loops address them.

use kube::core::ApiResource;
use kube_loops::runtime::controller::Kind;

const POD: Kind = Kind { group: "", version: "v1", kind: "Pod", plural: "pods" };

/// How pods are served.
pub(super) fn resource() -> ApiResource {
    POD.resource()
}

// SPDX-License-Identifier: Apache-2.0
//! The seven controllers and their Leases, and what the probe loops need that stand in for some of them.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use serde_json::json;

use super::{ControlPlane, install::NAMESPACE, objects};

/// The seven names of `--controllers`, those that probe loops do not play first.
pub(crate) const CONTROLLERS: [&str; 7] = [
    "pod-autoscaler-controller",
    "model-adapter-controller",
    "model-route-controller",
    "model-claim-controller",
    "distributed-inference-controller",
    "kv-cache-controller",
    "stormservice-controller",
];

/// Those that probe loops play.
pub(crate) use aibrix_controller_manager::testkit::probe::PLAYED;

/// The default Lease of a controller.
pub(crate) fn default_lease(controller: &str) -> String {
    format!("aibrix-{controller}")
}

/// The default Leases of all controllers.
pub(crate) fn default_leases() -> Vec<String> {
    CONTROLLERS.iter().map(|it| default_lease(it)).collect()
}

/// Lets the manager's ServiceAccount read and write ConfigMaps: the probe loops do, no shipped loop does.
pub(crate) async fn allow_probes(plane: &ControlPlane) {
    let client = plane.client().await;
    let rbac = "rbac.authorization.k8s.io";
    let role = json!({
        "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRole", "metadata": {"name": "probe-loops"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"],
                   "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"]}],
    });
    let binding = json!({
        "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": "probe-loops"},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "probe-loops"},
        "subjects": [{"kind": "ServiceAccount", "name": "aibrix-controller-manager", "namespace": NAMESPACE}],
    });
    objects::create(&client, &role).await;
    objects::create(&client, &binding).await;
}

/// The count of a controller's probe loop; 0 before its first.
///
/// # Errors
/// It cannot be read, or is no number.
pub(crate) async fn probe_count(client: &Client, controller: &str) -> Result<u64, String> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let map = maps.get_opt(&format!("probe-{controller}")).await.map_err(|error| error.to_string())?;
    let count = map.and_then(|map| map.data?.get("count").cloned());
    count.map_or(Ok(0), |text| text.parse().map_err(|_| format!("not a count: {text}")))
}

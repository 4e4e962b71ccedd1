// SPDX-License-Identifier: Apache-2.0
//! Constants of the controller: names, kinds, permissions.

use std::time::Duration;

use kube::core::ApiResource;

use crate::api::keys::model_route::{GATEWAY_NAME, GATEWAY_NAMESPACE};
use kube_loops::runtime::controller::{Card, Kind, LoopSpec, Rule};

/// Name in `--controllers`.
pub(super) const NAME: &str = "model-route-controller";

/// Group of the Gateway API.
pub(super) const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
const HTTP_ROUTE: Kind =
    Kind { group: GATEWAY_GROUP, version: "v1", kind: "HTTPRoute", plural: "httproutes" };
/// In the version that every release of the Gateway API serves.
const REFERENCE_GRANT: Kind =
    Kind { group: GATEWAY_GROUP, version: "v1beta1", kind: "ReferenceGrant", plural: "referencegrants" };

/// Constants of the controller.
pub(crate) static CARD: Card =
    Card { name: NAME, required_kinds: &[HTTP_ROUTE, REFERENCE_GRANT], loops: &[LOOP] };

/// Constants of its only loop.
pub(super) const LOOP: LoopSpec = LoopSpec {
    label: NAME,
    event_source: NAME,
    workers: 4,
    period: None,
    deadline: Some(Duration::from_secs(30)),
    backoff_cap: Duration::from_mins(5),
    rules: &[Rule::new(
        GATEWAY_GROUP,
        &["httproutes", "referencegrants"],
        &["create", "update", "patch", "delete"],
    )],
};

/// What the process is told about routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRouteSettings {
    /// Request time-out of routes.
    pub request_timeout: Duration,
    /// Gateway that routes attach to.
    pub gateway_name: String,
    /// Namespace of the Gateway and of the routes.
    pub gateway_namespace: String,
}

impl Default for ModelRouteSettings {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_mins(2),
            gateway_name: GATEWAY_NAME.to_owned(),
            gateway_namespace: GATEWAY_NAMESPACE.to_owned(),
        }
    }
}

/// How HTTPRoutes are reached.
pub(super) fn http_routes() -> ApiResource {
    resource_of(&HTTP_ROUTE)
}

/// How objects of kind ReferenceGrant are reached.
pub(super) fn reference_grants() -> ApiResource {
    resource_of(&REFERENCE_GRANT)
}

/// How a kind is reached.
pub(super) fn resource_of(kind: &Kind) -> ApiResource {
    ApiResource {
        group: kind.group.to_owned(),
        version: kind.version.to_owned(),
        api_version: format!("{}/{}", kind.group, kind.version),
        kind: kind.kind.to_owned(),
        plural: kind.plural.to_owned(),
    }
}

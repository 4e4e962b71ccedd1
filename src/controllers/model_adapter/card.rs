// SPDX-License-Identifier: Apache-2.0
//! Constants of the controller: names, periods, permissions.

use std::time::Duration;

use crate::api::model;
use kube_loops::runtime::controller::{Card, Kind, LoopSpec, Rule};

/// Time between two looks at what an engine has loaded, and between two passes without a cause.
pub(super) const PERIOD: Duration = Duration::from_secs(10);

/// Name in `--controllers`.
pub(super) const NAME: &str = "model-adapter-controller";

/// Constants of the controller.
pub(crate) static CARD: Card = Card {
    name: NAME,
    required_kinds: &[Kind {
        group: model::GROUP,
        version: model::VERSION,
        kind: model::MODEL_ADAPTER,
        plural: "modeladapters",
    }],
    loops: &[LOOP],
};

/// Constants of its only loop. Passes never wait for engines, only for the API server.
pub(super) const LOOP: LoopSpec = LoopSpec {
    label: NAME,
    event_source: NAME,
    workers: 8,
    period: Some(PERIOD),
    deadline: Some(Duration::from_secs(30)),
    backoff_cap: Duration::from_secs(1000),
    rules: RULES,
};

const RULES: &[Rule] = &[
    Rule::new("model.aibrix.ai", &["modeladapters"], &["update", "patch"]),
    Rule::new("model.aibrix.ai", &["modeladapters/status"], &["get", "update", "patch"]),
    // The owner references of Service and EndpointSlice block the deletion of their owner.
    Rule::new("model.aibrix.ai", &["modeladapters/finalizers"], &["update"]),
    Rule::new("", &["services"], CHILD),
    Rule::new("discovery.k8s.io", &["endpointslices"], CHILD),
    // Read by name when an adapter with credentials is loaded, in any namespace; never listed or watched.
    Rule::new("", &["secrets"], &["get"]),
];

const CHILD: &[&str] = &["create", "update", "patch", "delete"];

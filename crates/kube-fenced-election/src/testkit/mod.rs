// SPDX-License-Identifier: Apache-2.0
//! For tests: the Leases of an API server in memory.

use std::sync::Arc;

use crate::Names;

pub mod lease_store;

/// The names with which tests write Leases.
pub fn names() -> Arc<Names> {
    Arc::new(Names {
        application: "aibrix".to_owned(),
        manager: "aibrix-controller-manager".to_owned(),
        annotation_domain: "leaders.aibrix.ai".to_owned(),
        own_lease_advice: |controller| format!("--leader-election-id={controller}=aibrix-{controller}"),
    })
}

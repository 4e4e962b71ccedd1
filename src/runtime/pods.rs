// SPDX-License-Identifier: Apache-2.0
//! The one watch of all pods, shared by every loop that reads pods: a second one with other facts would cost
//! as much memory again.

use kube::core::ApiResource;

use crate::k8s::pod_facts::{PodFacts, WirePod};

use super::watches::{Store, Stored, WatchSpec, Watches};

impl Stored for PodFacts {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> &str {
        &self.version
    }
}

/// All pods, reduced.
pub fn store(watches: &Watches) -> Store<PodFacts> {
    let resource = ApiResource {
        group: String::new(),
        version: "v1".to_owned(),
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        plural: "pods".to_owned(),
    };
    watches.store(WatchSpec::<WirePod>::all_of(resource).keeping(|pod, _| PodFacts::of(pod)))
}

// SPDX-License-Identifier: Apache-2.0

use kube::core::ApiResource;

use crate::controllers::pod_autoscaler::targets::ScaleTarget;

use super::own_writes::OwnWrites;

#[test]
fn store_is_behind_until_it_shows_our_last_write() {
    let resource = ApiResource::erase::<k8s_openapi::api::apps::v1::Deployment>(&());
    let target = ScaleTarget { resource, namespace: "ns".to_owned(), name: "web".to_owned() };
    let mut writes = OwnWrites::default();
    assert!(writes.shown("deployments.apps", "ns", "web", "5"));
    writes.wrote(&target, "100");
    assert!(!writes.shown("deployments.apps", "ns", "web", "99"));
    assert!(writes.shown("deployments.apps", "ns", "other", "5"));
    assert!(writes.shown("deployments.apps", "ns", "web", "101"));
    // Settled: what is asked later needs no comparison.
    assert!(writes.shown("deployments.apps", "ns", "web", "5"));
    writes.wrote(&target, "200");
    writes.forget("deployments.apps", "ns", "web");
    assert!(writes.shown("deployments.apps", "ns", "web", "150"));
}

// SPDX-License-Identifier: Apache-2.0
//! Control planes with a running manager, which tests share.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, mpsc},
    time::Duration,
};

use aibrix_controller_manager::testkit::metrics_api::{MetricsApi, Values};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, ListParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::support::{ControlPlane, Options, eventually, manager::Manager, objects, passes::LOG_PASSES};

use super::scene::{api, plural};

/// Sync period of the managers of shared worlds.
pub(super) const PERIOD: Duration = Duration::from_secs(2);
/// Arguments of a manager with nothing but the pod autoscaler, and the shipped period.
pub(super) const ALONE: [&str; 2] = ["--controllers=pod-autoscaler-controller", "--disable-webhook"];
/// The same with [`PERIOD`], and with each pass in the log.
pub(super) const QUICK: [&str; 4] = [ALONE[0], ALONE[1], "--sync-period=2s", LOG_PASSES];
/// Bound for what one sync does, on a machine that has other things to do.
pub(super) const SYNC: Duration = Duration::from_secs(8);
/// Bound for what takes a moment.
pub(super) const SOON: Duration = Duration::from_mins(1);
/// An address at which nothing but the fakes of a test answers.
pub(super) const ENDPOINT: &str = "10.244.251.1";

/// A control plane with a manager and the metrics APIs.
pub(super) struct World {
    pub(super) plane: ControlPlane,
    pub(super) manager: Manager,
    /// What the metrics APIs say.
    pub(super) values: Arc<Values>,
}

/// The world without kube-controller-manager: nobody but the tests makes pods or acts on autoscalers.
pub(super) async fn bare() -> &'static World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    WORLD.get_or_init(|| World::start(Options::bare(), Ipv4Addr::new(10, 244, 250, 1))).await
}

/// The world with kube-controller-manager and kwok.
pub(super) async fn full() -> &'static World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    WORLD.get_or_init(|| World::start(Options::full(), Ipv4Addr::new(10, 244, 250, 2))).await
}

impl World {
    async fn start(options: Options, address: Ipv4Addr) -> Self {
        let plane = plane(options).await;
        let values = metrics_apis(&plane, address).await;
        let manager = Manager::start(&plane, &QUICK).await;
        manager.wait_ready().await;
        Self { plane, manager, values }
    }
}

/// A control plane with the manager installed, and kinds of targets that no shipped manifest brings.
pub(super) async fn plane(options: Options) -> ControlPlane {
    let plane = ControlPlane::start(options).await;
    plane.install_manager().await;
    let client = plane.client().await;
    for (group, kind) in [("orchestration.aibrix.ai", "RayClusterFleet"), ("example.org", "Widget")] {
        objects::create(&client, &crd(group, kind)).await;
        let version = if group == "example.org" { "v1" } else { "v1alpha1" };
        eventually(SOON, &format!("{kind} is served"), async || {
            let api = api(&client, &format!("{group}/{version}"), kind, "default");
            api.list(&ListParams::default()).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
    }
    plane
}

/// A kind whose objects may have anything in them.
pub(super) fn crd(group: &str, kind: &str) -> Value {
    let (plural, version) = (plural(kind), if group == "example.org" { "v1" } else { "v1alpha1" });
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
            "versions": [{
                "name": version, "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": open, "status": open}}},
            }],
        },
    })
}

/// Serves the metrics APIs to the API server's aggregator, for as long as the process runs.
async fn metrics_apis(plane: &ControlPlane, address: Ipv4Addr) -> Arc<Values> {
    let (tell, told) = mpsc::channel();
    // On a runtime of its own: that of the test that came first ends with it.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let api = MetricsApi::start(SocketAddr::from((address, 9443)), true).await.expect("listen");
            tell.send(Arc::clone(&api.values)).expect("somebody listens");
            std::future::pending::<()>().await;
        });
    });
    let values = told.recv_timeout(SOON).expect("the metrics APIs are up");
    let client = plane.client().await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "metrics", "namespace": "default"},
        "spec": {"ports": [{"port": 443, "targetPort": 9443, "protocol": "TCP"}]},
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "metrics", "namespace": "default",
            "labels": {"kubernetes.io/service-name": "metrics", "endpointslice.kubernetes.io/managed-by": "test"}},
        "endpoints": [{"addresses": [address.to_string()], "conditions": {"ready": true}}],
        "ports": [{"port": 9443, "protocol": "TCP", "name": ""}],
    });
    objects::create(&client, &service).await;
    objects::create(&client, &slice).await;
    for service in MetricsApi::api_services("default", "metrics", 443) {
        objects::create(&client, &service).await;
        let name = service["metadata"]["name"].as_str().expect("a name").to_owned();
        let services = Api::<DynamicObject>::all_with(
            client.clone(),
            &ApiResource::from_gvk(&GroupVersionKind::gvk("apiregistration.k8s.io", "v1", "APIService")),
        );
        eventually(SOON, &format!("{name} is available"), async || {
            let seen = services.get(&name).await.map_err(|error| error.to_string())?;
            let condition = &seen.data["status"]["conditions"];
            let up = condition
                .as_array()
                .is_some_and(|all| all.iter().any(|it| it["type"] == "Available" && it["status"] == "True"));
            if up { Ok(()) } else { Err(condition.to_string()) }
        })
        .await;
    }
    values
}

// SPDX-License-Identifier: Apache-2.0
//! A control plane with the overlay `webhook-only` and its two replicas, which tests share. No controller
//! runs, so nothing but webhooks changes the objects of a test.

use std::{path::Path, time::Duration};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    core::Status,
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::support::{
    ControlPlane, Options,
    authority::{Authority, SERVICE},
    eventually,
    install::NAMESPACE,
    kubelet::Kubelet,
    manager::{Launch, Manager, Ports},
    objects,
    tools::repository,
};

/// Bound for what takes a moment.
pub(super) const SOON: Duration = Duration::from_mins(1);
const DEPLOYMENT: &str = "aibrix-webhook-controller-manager";

pub(super) struct World {
    pub(super) plane: ControlPlane,
    pub(super) managers: Vec<Manager>,
    pub(super) authority: Authority,
}

/// The world.
pub(super) async fn world() -> &'static World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    WORLD.get_or_init(World::start).await
}

impl World {
    async fn start() -> Self {
        let plane = plane(Options::full()).await;
        let client = plane.client().await;
        let authority = Authority::new();
        let folder = plane.dir().join("webhook-certs");
        authority.write_certificate(&folder);
        let mut managers = Vec::new();
        for (name, address) in pods(&client).await {
            managers.push(launch(&plane, &client, &folder, &name, &address).await.start());
        }
        for manager in &managers {
            manager.wait_ready().await;
        }
        authority.publish(&client).await;
        wait_called(&plane).await;
        Self { plane, managers, authority }
    }
}

/// Waits until the API server calls the webhooks: it takes a moment to see configurations and endpoints.
pub(super) async fn wait_called(plane: &ControlPlane) {
    let client = plane.client().await;
    let cache = json!({
        "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "KVCache",
        "metadata": {"name": "asked", "namespace": "default"}, "spec": {},
    });
    let typed = serde_json::from_value(cache.clone()).expect("an object");
    let params = PostParams { dry_run: true, ..PostParams::default() };
    let api = objects::api_of(&client, &cache).await;
    eventually(SOON, "the API server calls the webhooks", async || {
        let stored = api.create(&params, &typed).await.map_err(|error| error.to_string())?;
        if stored.annotations().is_empty() { Err(why_not_called(plane)) } else { Ok(()) }
    })
    .await;
}

/// A failure of a webhook that lets everything in is found in the API server's log only.
fn why_not_called(plane: &ControlPlane) -> String {
    let log = std::fs::read_to_string(plane.dir().join("kube-apiserver.log")).unwrap_or_default();
    let last = log.lines().rev().find(|line| line.contains("alling webhook"));
    last.map_or_else(|| "they are not asked".to_owned(), |line| format!("they are not asked: {line}"))
}

/// A control plane with the overlay and the kinds that it judges; no manager runs.
pub(super) async fn plane(options: Options) -> ControlPlane {
    let plane = ControlPlane::start(options).await;
    let client = plane.client().await;
    objects::create(&client, &objects::namespace(NAMESPACE)).await;
    let golden = repository().join("tests/golden");
    plane.apply(&golden.join("kv_cache_crd.yaml")).await;
    plane.apply_crds(&repository().join("deploy/crds")).await;
    let later = plane.new_path("stormservices.yaml");
    std::fs::write(&later, later_storm_services().to_string()).expect("write");
    plane.apply_crds(&later).await;
    plane.apply_kustomization(&repository().join("deploy/kustomize/overlays/webhook-only")).await;
    plane
}

/// The shipped definition of StormServices, but that pod specs take fields which nobody knows yet.
fn later_storm_services() -> Value {
    let shipped = repository().join("deploy/crds/orchestration.aibrix.ai_stormservices.yaml");
    let shipped = std::fs::read_to_string(shipped).expect("the shipped definition");
    let mut crd: Value = serde_yaml_ng::from_str(&shipped).expect("YAML");
    let place = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/template/properties/spec\
                 /properties/roles/items/properties/template/properties/spec";
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    *crd.pointer_mut(place).expect("the schema of pod specs") = open;
    crd
}

/// Names and addresses of the pods of the overlay's Deployment.
async fn pods(client: &Client) -> Vec<(String, String)> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    eventually(SOON, "two pods have addresses", async || {
        let list = pods.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let ours = list.iter().filter(|pod| pod.name_any().starts_with(DEPLOYMENT));
        let found: Vec<_> =
            ours.filter_map(|pod| Some((pod.name_any(), pod.status.as_ref()?.pod_ip.clone()?))).collect();
        if found.len() == 2 { Ok(found) } else { Err(format!("{found:?}")) }
    })
    .await
}

/// Gives the Service an endpoint where nothing makes any, and returns its address.
pub(super) async fn endpoint(client: &Client) -> String {
    let address = Kubelet::next_address();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": format!("{SERVICE}-test"), "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": SERVICE, "endpointslice.kubernetes.io/managed-by": "test"}},
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
        "ports": [{"port": 9443, "protocol": "TCP", "name": ""}],
    });
    objects::create(client, &slice).await;
    address
}

/// The manager of such a pod, with the shipped arguments, but for its certificates.
pub(super) async fn launch(
    plane: &ControlPlane,
    client: &Client,
    folder: &Path,
    name: &str,
    address: &str,
) -> Launch {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let deployment = deployments.get(DEPLOYMENT).await.expect("the Deployment is installed");
    let pod = deployment.spec.and_then(|spec| spec.template.spec).expect("a pod template");
    let mut args = pod.containers.into_iter().next().and_then(|it| it.args).expect("arguments");
    args.push("--manage-webhook-certs=false".to_owned());
    args.push(format!("--webhook-cert-dir={}", folder.display()));
    Launch {
        kubeconfig: plane.kubeconfig_for_service_account(NAMESPACE, DEPLOYMENT).await,
        pod_name: name.to_owned(),
        args,
        env: Vec::new(),
        binary: None,
        network: None,
        log: plane.new_path(&format!("{name}.log")),
        address: address.to_owned(),
        ports: Some(Ports::SHIPPED),
    }
}

/// A namespace of a test, with what it does there.
pub(super) struct Scene {
    pub(super) client: Client,
    pub(super) ns: String,
}

impl Scene {
    pub(super) async fn new(prefix: &str) -> Self {
        let world = world().await;
        Self { client: world.plane.client().await, ns: world.plane.namespace(prefix).await }
    }

    /// Creates the object, which must be accepted, and returns it as stored.
    pub(super) async fn accepts(&self, object: &Value) -> Value {
        json!(objects::create(&self.client, object).await)
    }

    /// Tries to create the object, which must be refused, and returns the refusal.
    pub(super) async fn rejects(&self, object: &Value) -> Status {
        match objects::try_create(&self.client, object).await {
            Err(kube::Error::Api(status)) => *status,
            Err(error) => panic!("create {object}: {error}"),
            Ok(stored) => panic!("accepted: {}", json!(stored)),
        }
    }

    /// Merges `patch` into the object, which must be accepted, and returns it as stored.
    pub(super) async fn changes(&self, object: &Value, patch: &Value) -> Value {
        json!(objects::patch(&self.client, object, patch).await)
    }

    /// Tries to merge `patch` into the object, which must be refused.
    pub(super) async fn rejects_change(&self, object: &Value, patch: &Value) -> Status {
        rejects_change(&self.client, object, patch).await
    }
}

/// Tries to merge `patch` into the object, which must be refused, and returns the refusal.
pub(super) async fn rejects_change(client: &Client, object: &Value, patch: &Value) -> Status {
    let name = object["metadata"]["name"].as_str().expect("a name");
    let api = objects::api_of(client, object).await;
    match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Err(kube::Error::Api(status)) => *status,
        Err(error) => panic!("change {name}: {error}"),
        Ok(stored) => panic!("accepted: {}", json!(stored)),
    }
}

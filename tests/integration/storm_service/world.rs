// SPDX-License-Identifier: Apache-2.0
//! A control plane with a running manager, and a namespace of one test.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams},
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::support::{
    ControlPlane, Options, eventually,
    install::NAMESPACE,
    kubelet::Kubelet,
    manager::{Launch, Manager},
    objects,
    passes::LOG_PASSES,
    tools::repository,
};

/// Arguments of a manager with nothing but these loops.
pub(super) const ALONE: [&str; 2] = ["--controllers=stormservice-controller", "--disable-webhook"];
/// Bound for what takes a moment.
pub(super) const SOON: Duration = Duration::from_mins(1);
/// `apiVersion` of the kinds.
pub(super) const API_VERSION: &str = "orchestration.aibrix.ai/v1alpha1";
/// Prefix of most keys.
pub(super) const PREFIX: &str = "stormservice.orchestration.aibrix.ai";

/// A control plane with a manager.
pub(super) struct World {
    pub(super) plane: ControlPlane,
    _manager: Manager,
}

/// The world that tests share, each in a namespace of its own.
pub(super) async fn world() -> &'static World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    WORLD
        .get_or_init(async || {
            let plane = plane().await;
            let manager = start(&plane).await;
            manager.wait_ready().await;
            World { plane, _manager: manager }
        })
        .await
}

/// A control plane on which everything is installed and nothing runs.
pub(super) async fn plane() -> ControlPlane {
    let plane = ControlPlane::start(Options::bare()).await;
    objects::create(&plane.client().await, &objects::namespace(NAMESPACE)).await;
    plane.apply_crds(&repository().join("deploy/crds")).await;
    let overlay = "deploy/kustomize/overlays/standalone/stormservice-controller";
    plane.apply_kustomization(&repository().join(overlay)).await;
    plane
}

/// Starts a manager under the account of the standalone kustomization.
pub(super) async fn start(plane: &ControlPlane) -> Manager {
    let mut launch = Launch::new(plane, &ALONE).await;
    launch.args.push(LOG_PASSES.to_owned());
    launch.kubeconfig = plane.kubeconfig_for_service_account(NAMESPACE, "aibrix-controller-manager").await;
    launch.start()
}

/// A namespace.
pub(super) struct Scene {
    pub(super) client: Client,
    pub(super) ns: String,
    pub(super) kubelet: Kubelet,
}

impl Scene {
    /// A namespace of the shared world.
    pub(super) async fn new(prefix: &str) -> Self {
        Self::on(&world().await.plane, prefix).await
    }

    /// A namespace of a control plane of the test's own.
    pub(super) async fn on(plane: &ControlPlane, prefix: &str) -> Self {
        let (client, ns) = (plane.client().await, plane.namespace(prefix).await);
        let kubelet = Kubelet::new(client.clone(), &ns);
        Self { client, ns, kubelet }
    }

    /// An object of a kind of these.
    pub(super) fn object(&self, kind: &str, name: &str, spec: &Value) -> Value {
        json!({
            "apiVersion": API_VERSION, "kind": kind,
            "metadata": {"name": name, "namespace": self.ns}, "spec": spec,
        })
    }

    /// A RoleSet of these roles.
    pub(super) fn role_set(&self, name: &str, strategy: &str, roles: &[Value]) -> Value {
        self.object("RoleSet", name, &json!({"updateStrategy": strategy, "roles": roles}))
    }

    /// Creates it.
    pub(super) async fn create(&self, object: &Value) -> DynamicObject {
        objects::create(&self.client, object).await
    }

    /// Merges into it.
    pub(super) async fn patch(&self, object: &Value, patch: &Value) {
        objects::patch(&self.client, object, patch).await;
    }

    /// Pods with this label, by name.
    pub(super) async fn pods(&self, label: &str, value: &str) -> BTreeMap<String, Pod> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &self.ns);
        let listed =
            api.list(&ListParams::default().labels(&format!("{label}={value}"))).await.expect("list");
        listed.into_iter().map(|pod| (pod.name_any(), pod)).collect()
    }

    /// Waits until the pods with this label are as wanted, and returns them.
    pub(super) async fn until_pods(
        &self,
        (label, value): (&str, &str),
        what: &str,
        holds: impl Fn(&BTreeMap<String, Pod>) -> bool,
    ) -> BTreeMap<String, Pod> {
        eventually(SOON, what, async || {
            let pods = self.pods(label, value).await;
            let seen: Vec<String> = pods.values().map(brief).collect();
            if holds(&pods) { Ok(pods) } else { Err(seen.join("\n")) }
        })
        .await
    }

    /// Waits until the object is as wanted.
    pub(super) async fn until(&self, object: &Value, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        eventually(SOON, what, async || {
            let seen = objects::get(&self.client, object).await.ok_or("it is not there")?;
            if holds(&seen) { Ok(seen) } else { Err(format!("{}", seen["status"])) }
        })
        .await
    }

    /// Waits until the object is gone.
    pub(super) async fn until_gone(&self, object: &Value) {
        eventually(SOON, "it is gone", async || match objects::get(&self.client, object).await {
            None => Ok(()),
            Some(seen) => Err(seen["metadata"].to_string()),
        })
        .await;
    }

    /// Makes pods ready as they come, until the object is as wanted.
    pub(super) async fn ready_until(
        &self,
        object: &Value,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        eventually(SOON, what, async || {
            self.kubelet.ready_all().await;
            let seen = objects::get(&self.client, object).await.ok_or("it is not there")?;
            if holds(&seen) { Ok(seen) } else { Err(seen["status"].to_string()) }
        })
        .await
    }

    /// `type reason: message` of the events about an object, oldest first.
    pub(super) async fn events(&self, name: &str) -> Vec<String> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.ns);
        let listed = api.list(&ListParams::default()).await.expect("list events");
        let about = listed.into_iter().filter(|event| event.involved_object.name.as_deref() == Some(name));
        about
            .map(|event| {
                let text = |it: Option<String>| it.unwrap_or_default();
                format!("{} {}: {}", text(event.type_), text(event.reason), text(event.message))
            })
            .collect()
    }

    /// Waits for an event that begins like this.
    pub(super) async fn until_event(&self, name: &str, start: &str) -> String {
        eventually(SOON, start, async || {
            let events = self.events(name).await;
            events.iter().find(|event| event.starts_with(start)).cloned().ok_or_else(|| events.join("\n"))
        })
        .await
    }
}

/// A role of this name, number of replicas and image.
pub(super) fn role(name: &str, replicas: u32, image: &str) -> Value {
    json!({
        "name": name, "replicas": replicas,
        "template": {"spec": {"containers": [{"name": "main", "image": image, "env": [{"name": "A", "value": "1"}]}]}},
    })
}

/// With more members.
pub(super) fn with(mut object: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().expect("members") {
        object[key] = value.clone();
    }
    object
}

/// The counts of a role in the status of a RoleSet: replicas, ready, not ready, updated, updated and ready.
pub(super) fn counts(role_set: &Value, role: &str) -> Option<[i64; 5]> {
    let roles = role_set["status"]["roles"].as_array()?;
    let role = roles.iter().find(|it| it["name"] == role)?;
    let fields = ["replicas", "readyReplicas", "notReadyReplicas", "updatedReplicas", "updatedReadyReplicas"];
    Some(fields.map(|field| role[field].as_i64().unwrap_or(0)))
}

/// Status and reason of a condition, `True/Ready`; empty when it is absent.
pub(super) fn said(object: &Value, kind: &str) -> String {
    let conditions = object["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|it| it["type"] == kind);
    found.map_or_else(String::new, |it| {
        let text = |field: &str| it[field].as_str().unwrap_or_default().to_owned();
        format!("{}/{}", text("status"), text("reason"))
    })
}

/// A label; empty when it is absent.
pub(super) fn label(pod: &Pod, key: &str) -> String {
    pod.labels().get(key).cloned().unwrap_or_else(|| "(none)".to_owned())
}

/// The image of the first container.
pub(super) fn image(pod: &Pod) -> String {
    let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    container.and_then(|container| container.image.clone()).unwrap_or_default()
}

fn brief(pod: &Pod) -> String {
    format!("{} {} {}", pod.name_any(), image(pod), label(pod, "role-template-hash"))
}

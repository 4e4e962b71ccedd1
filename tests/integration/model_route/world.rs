// SPDX-License-Identifier: Apache-2.0
//! Control planes with a running manager, and what tests read off routes.

use std::time::Duration;

use k8s_openapi::api::core::v1::Event;
use kube::{Api, Client, api::ListParams};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::support::{
    ControlPlane, Options, eventually,
    install::NAMESPACE,
    manager::{Launch, Manager},
    objects,
    tools::repository,
};

/// The Lease of the controller.
pub(super) const LEASE: &str = "aibrix-model-route-controller";
/// Arguments of a manager with nothing but the model routes.
pub(super) const ALONE: [&str; 2] = ["--controllers=model-route-controller", "--disable-webhook"];
/// Bound for what takes a moment.
pub(super) const SOON: Duration = Duration::from_mins(1);
/// The annotation by which the manager knows its routes.
pub(super) const MARKER: &str = "model.aibrix.ai/route-spec-hash";

/// A control plane with a manager.
pub(super) struct World {
    pub(super) plane: ControlPlane,
    _manager: Manager,
}

/// The world that tests share, each in namespaces of its own.
pub(super) async fn world() -> &'static World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    WORLD
        .get_or_init(async || {
            let plane = plane().await;
            for kind in ["RayClusterFleet", "LeaderWorkerSet"] {
                install(&plane, kind).await;
            }
            let manager = start(&plane, &[]).await;
            manager.wait_ready().await;
            World { plane, _manager: manager }
        })
        .await
}

/// A control plane with everything shipped, the standalone kustomization included, and the Gateway API.
pub(super) async fn plane() -> ControlPlane {
    let plane = ControlPlane::start(Options::bare()).await;
    plane.install_without_storm_services().await;
    plane.apply_kustomization(&standalone()).await;
    plane
}

/// The kustomization of the model routes alone.
pub(super) fn standalone() -> std::path::PathBuf {
    repository().join("deploy/kustomize/overlays/standalone/model-route-controller")
}

/// Starts a manager under the account of the standalone kustomization, with these variables besides.
pub(super) async fn start(plane: &ControlPlane, env: &[(&str, &str)]) -> Manager {
    let account = "aibrix-model-route-controller-manager";
    let mut launch = Launch::new(plane, &ALONE).await;
    launch.kubeconfig = plane.kubeconfig_for_service_account(NAMESPACE, account).await;
    launch.env = env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    launch.start()
}

/// API version and plural of a kind of workloads.
fn served_as(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "Deployment" => ("apps/v1", "deployments"),
        "ModelAdapter" => ("model.aibrix.ai/v1alpha1", "modeladapters"),
        "RayClusterFleet" => ("orchestration.aibrix.ai/v1alpha1", "rayclusterfleets"),
        "LeaderWorkerSet" => ("leaderworkerset.x-k8s.io/v1", "leaderworkersets"),
        other => panic!("no kind of workloads: {other}"),
    }
}

/// The CRD of a kind that nothing shipped brings, with an open schema.
pub(super) fn crd(kind: &str) -> Value {
    let (api_version, plural) = served_as(kind);
    let (group, version) = api_version.split_once('/').expect("a group");
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
            "versions": [
                {"name": version, "served": true, "storage": true, "schema": {"openAPIV3Schema": open}},
                // Where objects can be reached while the other version is not served.
                {"name": "v1alpha0", "served": true, "storage": false, "schema": {"openAPIV3Schema": open}},
            ],
        },
    })
}

/// Installs that CRD and waits until it is served.
pub(super) async fn install(plane: &ControlPlane, kind: &str) {
    let client = plane.client().await;
    objects::create(&client, &crd(kind)).await;
    until_served(&client, kind, true).await;
}

/// Waits until a kind of workloads is served, or is not.
pub(super) async fn until_served(client: &Client, kind: &str, want: bool) {
    let (api_version, plural) = served_as(kind);
    let path = format!("/apis/{api_version}/{plural}");
    eventually(SOON, &format!("{kind} is served: {want}"), async || {
        let request = http::Request::get(&path).body(Vec::new()).expect("a request");
        let served = client.request::<Value>(request).await.is_ok();
        if served == want { Ok(()) } else { Err(served.to_string()) }
    })
    .await;
}

/// A workload of this kind without any model.
pub(super) fn workload(kind: &str, ns: &str, name: &str) -> Value {
    match kind {
        "Deployment" => objects::deployment(ns, name, 0),
        _ => json!({
            "apiVersion": served_as(kind).0, "kind": kind, "metadata": {"namespace": ns, "name": name, "labels": {}},
            "spec": if kind == "ModelAdapter" {
                json!({"artifactURL": "s3://bucket/lora", "podSelector": {}})
            } else {
                json!({})
            },
        }),
    }
}

/// A Deployment with this label of the model, on port 8000.
pub(super) fn deployment(ns: &str, name: &str, model: &str) -> Value {
    labelled(workload("Deployment", ns, name), model)
}

/// The workload with this label of the model, on port 8000.
pub(super) fn labelled(mut workload: Value, model: &str) -> Value {
    workload["metadata"]["labels"]["model.aibrix.ai/name"] = json!(model);
    workload["metadata"]["labels"]["model.aibrix.ai/port"] = json!("8000");
    workload
}

/// An annotation more.
pub(super) fn annotated(mut object: Value, key: &str, value: &str) -> Value {
    object["metadata"]["annotations"][key] = json!(value);
    object
}

/// Names an HTTPRoute.
pub(super) fn route(name: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": NAMESPACE},
    })
}

/// Names the ReferenceGrant of a namespace.
pub(super) fn grant(ns: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
        "metadata": {"name": format!("aibrix-system-reserved-referencegrant-in-{ns}"), "namespace": ns},
    })
}

/// A route that a user wrote by hand, of the shape that AIBrix generates, to the Service `mine`.
pub(super) fn hand_written(name: &str, model: &str, ns: &str) -> Value {
    let mut object = route(name);
    object["spec"] = json!({
        "parentRefs": [{"name": "aibrix-eg", "namespace": NAMESPACE}],
        "rules": [{
            "matches": [{
                "path": {"type": "PathPrefix", "value": "/v1/completions"},
                "headers": [{"type": "Exact", "name": "model", "value": model}],
            }],
            "backendRefs": [{"name": "mine", "namespace": ns, "port": 80}],
        }],
    });
    object
}

/// Waits until `object` is there, as `holds` wants it.
pub(super) async fn until(
    client: &Client,
    object: &Value,
    what: &str,
    holds: impl Fn(&Value) -> bool,
) -> Value {
    eventually(SOON, what, async || {
        let seen = objects::get(client, object).await.ok_or("it is not there")?;
        if holds(&seen) { Ok(seen) } else { Err(seen.to_string()) }
    })
    .await
}

/// Waits until `object` is there.
pub(super) async fn until_there(client: &Client, object: &Value) -> Value {
    let name = object["metadata"]["name"].to_string();
    until(client, object, &format!("{name} is there"), |_| true).await
}

/// Waits until `object` is not there.
pub(super) async fn until_gone(client: &Client, object: &Value) {
    let name = object["metadata"]["name"].to_string();
    eventually(SOON, &format!("{name} is gone"), async || match objects::get(client, object).await {
        None => Ok(()),
        Some(seen) => Err(seen.to_string()),
    })
    .await;
}

/// The objects keep uid and version while the manager works on what came later; absent ones stay absent.
pub(super) async fn stay(plane: &ControlPlane, objects: &[&Value]) {
    let client = plane.client().await;
    let look = async || {
        let mut seen = Vec::new();
        for object in objects {
            seen.push(objects::get(&client, object).await.map(|it| it["metadata"].clone()));
        }
        seen
    };
    let before = look().await;
    work_on_what_comes_later(plane).await;
    let now = look().await;
    assert_eq!(now, before, "nobody writes them");
}

/// Workloads of a new namespace come, one after the other, and get their routes: by then the manager has worked on
/// all that came earlier.
async fn work_on_what_comes_later(plane: &ControlPlane) {
    let (client, ns) = (plane.client().await, plane.namespace("later").await);
    for n in 0..3 {
        let model = format!("{ns}-{n}");
        objects::create(&client, &deployment(&ns, &format!("web-{n}"), &model)).await;
        until_there(&client, &route(&format!("{model}-router"))).await;
    }
}

/// Paths of a route, in order.
pub(super) fn paths(route: &Value) -> Vec<String> {
    let matches = route["spec"]["rules"][0]["matches"].as_array().expect("matches");
    matches.iter().map(|it| it["path"]["value"].as_str().expect("a path").to_owned()).collect()
}

/// Namespace, Service and port that a route leads to.
pub(super) fn backend(route: &Value) -> (String, String, i64) {
    let backend = &route["spec"]["rules"][0]["backendRefs"][0];
    let text = |key: &str| backend[key].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"), backend["port"].as_i64().unwrap_or_default())
}

/// The warnings about a workload, as `reason: message`.
pub(super) async fn warnings(client: &Client, workload: &Value) -> Result<Vec<String>, String> {
    let text = |place: &str| workload["metadata"][place].as_str().unwrap_or_default().to_owned();
    let events: Api<Event> = Api::namespaced(client.clone(), &text("namespace"));
    let kind = workload["kind"].as_str().unwrap_or_default();
    let fields = format!("involvedObject.kind={kind},involvedObject.name={}", text("name"));
    let list =
        events.list(&ListParams::default().fields(&fields)).await.map_err(|error| error.to_string())?;
    let said = |it: Event| {
        assert_eq!(it.type_.as_deref(), Some("Warning"));
        assert_eq!(it.source.and_then(|it| it.component).as_deref(), Some("model-route-controller"));
        format!("{}: {}", it.reason.unwrap_or_default(), it.message.unwrap_or_default())
    };
    Ok(list.items.into_iter().map(said).collect())
}

/// Waits for a warning about a workload that contains `text`, and counts it: it comes once.
pub(super) async fn until_warned(client: &Client, workload: &Value, text: &str) {
    eventually(SOON, &format!("a warning {text:?}"), async || {
        let warnings = warnings(client, workload).await?;
        let told =
            warnings.iter().filter(|it| it.starts_with("InvalidRouteConfig: ") && it.contains(text)).count();
        if told == 1 { Ok(()) } else { Err(format!("{warnings:?}")) }
    })
    .await;
}

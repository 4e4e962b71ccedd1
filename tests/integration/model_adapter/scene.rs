// SPDX-License-Identifier: Apache-2.0
//! A namespace of one test with pods whose engines load adapters, and what tests read off objects.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

pub(super) use aibrix_controller_manager::testkit::fake_engine::Call;
use aibrix_controller_manager::testkit::fake_engine::{Entry, FakeEngine, LoraEngine, Pods, Refusal};
use k8s_openapi::api::core::v1::Event;
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams},
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::support::{
    ControlPlane, eventually,
    history::History,
    kubelet::{Kubelet, conditions, running},
    manager::Manager,
    objects,
    passes::Passes,
};

use super::world::SOON;

/// Ports of engines and of sidecars.
pub(super) const ENGINE: u16 = 8000;
pub(super) const SIDECAR: u16 = 8080;

/// A namespace with engines of its own.
pub(super) struct Scene {
    pub(super) client: Client,
    pub(super) ns: String,
    /// What the engines do, and what they were asked.
    pub(super) engines: Arc<Pods>,
    servers: Mutex<BTreeMap<SocketAddr, FakeEngine>>,
    pub(super) kubelet: Kubelet,
}

impl Scene {
    /// A namespace of `plane`.
    pub(super) async fn new(plane: &ControlPlane, prefix: &str) -> Self {
        let client = plane.client().await;
        let ns = plane.namespace(prefix).await;
        let kubelet = Kubelet::new(client.clone(), &ns);
        Self { client, ns, engines: Arc::default(), servers: Mutex::default(), kubelet }
    }

    /// A pod with the label `app: web` that has been ready for a minute, and its healthy engine.
    pub(super) async fn pod(&self, name: &str) -> IpAddr {
        self.pod_like(name, LoraEngine::default()).await
    }

    /// The same with this engine.
    pub(super) async fn pod_like(&self, name: &str, like: LoraEngine) -> IpAddr {
        self.make(&self.bare_pod(name), like, &json!({})).await
    }

    /// Several healthy pods.
    pub(super) async fn pods<const N: usize>(&self, names: [&str; N]) -> [IpAddr; N] {
        let mut all = Vec::new();
        for name in names {
            all.push(self.pod(name).await);
        }
        all.try_into().expect("as many")
    }

    /// The object of [`Scene::pod`].
    pub(super) fn bare_pod(&self, name: &str) -> Value {
        let mut pod = objects::pod(&self.ns, name);
        pod["metadata"]["labels"] = json!({"app": "web"});
        pod
    }

    /// Creates `pod` with an engine behind its address, then sets its status: [`running`], with `status`
    /// merged over it.
    pub(super) async fn make(&self, pod: &Value, like: LoraEngine, status: &Value) -> IpAddr {
        objects::create(&self.client, pod).await;
        let address: IpAddr = Kubelet::next_address().parse().expect("an address");
        self.engines.engine(Some(address), like);
        self.serve(address).await;
        let mut all = running(address, Duration::from_mins(1));
        merge(&mut all, status);
        self.kubelet.patch(name_of(pod), &all).await;
        address
    }

    /// The engine of a pod and its sidecar are up.
    pub(super) async fn serve(&self, address: IpAddr) {
        for port in [ENGINE, SIDECAR] {
            self.serve_at(SocketAddr::from((address, port))).await;
        }
    }

    /// The engine of a pod is up.
    pub(super) async fn serve_at(&self, place: SocketAddr) {
        let server = FakeEngine::start_with(place, Arc::clone(&self.engines), false).await;
        self.servers.lock().insert(place, server.expect("start an engine"));
    }

    /// Nobody listens at a pod's address any more.
    pub(super) async fn stop(&self, address: IpAddr) {
        self.servers.lock().retain(|place, _| place.ip() != address);
        eventually(SOON, "its port is closed", async || {
            match tokio::net::TcpStream::connect((address, ENGINE)).await {
                Ok(_) => Err("somebody listens".to_owned()),
                Err(_) => Ok(()),
            }
        })
        .await;
    }

    /// A ModelAdapter on all pods with `app: web`.
    pub(super) fn adapter(&self, name: &str) -> Value {
        json!({
            "apiVersion": "model.aibrix.ai/v1alpha1",
            "kind": "ModelAdapter",
            "metadata": {"name": name, "namespace": self.ns},
            "spec": {
                "baseModel": "base-model",
                "podSelector": {"matchLabels": {"app": "web"}},
                "artifactURL": format!("/models/{name}"),
            },
        })
    }

    /// A ModelAdapter on one of them.
    pub(super) fn single(&self, name: &str) -> Value {
        let mut it = self.adapter(name);
        it["spec"]["replicas"] = json!(1);
        it
    }

    /// Creates an object.
    pub(super) async fn create(&self, object: &Value) {
        objects::create(&self.client, object).await;
    }

    /// Creates an adapter and waits until it runs on exactly these pods, in whatever order.
    pub(super) async fn run(&self, adapter: &Value, on: &[&str]) -> Value {
        self.create(adapter).await;
        self.until_on(adapter, on, SOON).await
    }

    /// Waits until an adapter runs, ready, on exactly these pods.
    pub(super) async fn until_on(&self, adapter: &Value, on: &[&str], within: Duration) -> Value {
        let on: BTreeSet<String> = on.iter().map(|&name| name.to_owned()).collect();
        self.until(adapter, within, &format!("it runs on {on:?}"), |seen| {
            let is: BTreeSet<String> = instances(seen).into_iter().collect();
            phase(seen) == "Running" && said(seen, "Ready") == "True/ModelAdapterAvailable" && is == on
        })
        .await
    }

    /// Merges `patch` into an object.
    pub(super) async fn patch(&self, object: &Value, patch: &Value) {
        objects::patch(&self.client, object, patch).await;
    }

    /// Deletes an object; it may have finalizers.
    pub(super) async fn delete(&self, object: &Value) {
        objects::delete(&self.client, object).await;
    }

    /// Deletes a pod for good.
    pub(super) async fn delete_pod(&self, name: &str) {
        self.kubelet.gone(name).await;
    }

    /// The pod is on its way out: it has a deletion timestamp and is still ready.
    pub(super) async fn terminate(&self, name: &str) {
        let pod = self.bare_pod(name);
        self.patch(&pod, &json!({"metadata": {"finalizers": ["example.com/linger"]}})).await;
        self.delete(&pod).await;
    }

    /// The pod has been ready for that long, or is not ready.
    pub(super) async fn set_ready(&self, name: &str, ready: bool, since: Duration) {
        self.kubelet.patch(name, &json!({"conditions": conditions(ready, since)})).await;
    }

    /// Touches an adapter, twice, and each time waits until a pass for it has ended: the second began after this
    /// call. Yields the adapter as it was stored when it was touched last.
    pub(super) async fn looked_at_again(&self, manager: &Manager, adapter: &Value) -> Value {
        let passes = Passes::of(manager, &self.ns, name_of(adapter));
        let mut stored = Value::Null;
        for touched in 0..2 {
            let ended = passes.ended();
            let patch =
                json!({"metadata": {"annotations": {"example.com/touched": format!("{ended}-{touched}")}}});
            let patched = objects::patch(&self.client, adapter, &patch).await;
            stored = serde_json::to_value(patched).expect("JSON");
            passes.until(ended + 1).await;
        }
        stored
    }

    /// Reads an object; `None`: it is not there.
    pub(super) async fn get(&self, object: &Value) -> Option<Value> {
        objects::get(&self.client, object).await
    }

    /// Waits until `object` is as `holds` wants it.
    pub(super) async fn until(
        &self,
        object: &Value,
        within: Duration,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        eventually(within, what, async || {
            let seen = self.get(object).await.ok_or("it is not there")?;
            if holds(&seen) { Ok(seen) } else { Err(brief(&seen)) }
        })
        .await
    }

    /// Waits until a condition of `object` has this status and reason, `True/Reason`.
    pub(super) async fn until_said(&self, object: &Value, kind: &str, said: &str, within: Duration) -> Value {
        self.until(object, within, &format!("{kind} is {said}"), |seen| self::said(seen, kind) == said).await
    }

    /// Waits until an object is gone.
    pub(super) async fn until_gone(&self, object: &Value, within: Duration) {
        eventually(within, "it is gone", async || match self.get(object).await {
            None => Ok(()),
            Some(seen) => Err(seen["metadata"].to_string()),
        })
        .await;
    }

    /// What [`Scene::get`] and the like need to know of an object.
    pub(super) fn named(&self, api_version: &str, kind: &str, name: &str) -> Value {
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": self.ns}})
    }

    /// The Service of an adapter.
    pub(super) fn service(&self, name: &str) -> Value {
        self.named("v1", "Service", name)
    }

    /// The EndpointSlice of an adapter.
    pub(super) fn slice(&self, name: &str) -> Value {
        self.named("discovery.k8s.io/v1", "EndpointSlice", name)
    }

    /// Waits until the EndpointSlice `name` holds these addresses, in whatever order.
    pub(super) async fn until_endpoints(&self, name: &str, want: &[IpAddr], within: Duration) -> Value {
        let want: BTreeSet<String> = want.iter().map(IpAddr::to_string).collect();
        self.until(&self.slice(name), within, &format!("the endpoints are {want:?}"), |seen| {
            let is = endpoints(seen);
            is.len() == want.len() && is.into_iter().collect::<BTreeSet<_>>() == want
        })
        .await
    }

    /// Records all versions of an adapter from now on.
    pub(super) async fn watch(&self, adapter: &Value) -> History {
        History::of(objects::api_of(&self.client, adapter).await, name_of(adapter)).await
    }

    /// Events about the ModelAdapter `name`, as `Warning Reason: message`.
    pub(super) async fn events(&self, name: &str) -> Vec<String> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.ns);
        let fields = format!("involvedObject.kind=ModelAdapter,involvedObject.name={name}");
        let list = api.list(&ListParams::default().fields(&fields)).await.expect("list events");
        let text = |it: Event| {
            let (kind, reason) = (it.type_.unwrap_or_default(), it.reason.unwrap_or_default());
            format!("{kind} {reason}: {}", it.message.unwrap_or_default())
        };
        list.items.into_iter().map(text).collect()
    }

    /// Waits for an event about the ModelAdapter `name` that starts with `text`.
    pub(super) async fn until_event(&self, name: &str, text: &str) -> String {
        eventually(SOON, &format!("an event {text:?} about {name}"), async || {
            let events = self.events(name).await;
            events.iter().find(|event| event.starts_with(text)).cloned().ok_or_else(|| format!("{events:?}"))
        })
        .await
    }

    /// Creates or replaces a Secret.
    pub(super) async fn secret(&self, name: &str, data: &Value) {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "stringData": data,
                            "metadata": {"name": name, "namespace": self.ns}});
        let api = objects::api_of(&self.client, &secret).await;
        let applied = api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&secret)).await;
        drop(applied.expect("apply a Secret"));
    }

    /// The engine of a pod refuses `call` from now on.
    pub(super) fn refuse(&self, pod: IpAddr, call: Call, status: u16, body: &str) {
        let refusal = Refusal { status, body: body.to_owned(), times: None };
        self.engines.change(pod, |engine| drop(engine.like.refuses.insert(call, refusal)));
    }

    /// The engine of a pod does what it is asked again.
    pub(super) fn accept(&self, pod: IpAddr) {
        self.engines.change(pod, |engine| {
            engine.like.refuses.clear();
            engine.like.silent.clear();
        });
    }

    /// The engine of a pod takes `call` and never answers.
    pub(super) fn silence(&self, pod: IpAddr, call: Call) {
        self.engines.change(pod, |engine| engine.like.silent.extend([call]));
    }

    /// What a pod was asked: the list, loads or unloads.
    pub(super) fn asked(&self, pod: IpAddr, call: Call) -> Vec<Entry> {
        self.engines.journal.of(pod).into_iter().filter(|entry| call_of(entry) == Some(call)).collect()
    }

    /// How often a pod was asked that.
    pub(super) fn count(&self, pod: IpAddr, call: Call) -> usize {
        self.asked(pod, call).len()
    }

    /// Waits until a pod was asked that so often.
    pub(super) async fn until_asked(&self, pod: IpAddr, call: Call, times: usize, within: Duration) {
        eventually(within, &format!("{pod} is asked {call:?} {times} times"), async || {
            let seen = self.count(pod, call);
            if seen >= times { Ok(()) } else { Err(format!("{seen} times")) }
        })
        .await;
    }
}

/// What a request asks for, whatever the dialect.
pub(super) fn call_of(entry: &Entry) -> Option<Call> {
    match entry.path.as_str() {
        "/v1/models" => Some(Call::Models),
        "/v1/load_lora_adapter" | "/load_lora_adapter" | "/v1/lora_adapter/load" => Some(Call::Load),
        "/v1/unload_lora_adapter" | "/unload_lora_adapter" | "/v1/lora_adapter/unload" => Some(Call::Unload),
        _ => None,
    }
}

fn merge(into: &mut Value, patch: &Value) {
    for (key, value) in patch.as_object().expect("an object") {
        into[key] = value.clone();
    }
}

/// What a failed test shows of an object.
pub(super) fn brief(object: &Value) -> String {
    let mut shown = object.clone();
    if let Some(metadata) = shown["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    shown.to_string()
}

/// `metadata.name`.
pub(super) fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().expect("a name")
}

/// `resourceVersion`.
pub(super) fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
}

/// `status.phase`; empty when absent.
pub(super) fn phase(object: &Value) -> String {
    object["status"]["phase"].as_str().unwrap_or_default().to_owned()
}

/// `status.instances`.
pub(super) fn instances(object: &Value) -> Vec<String> {
    let all = object["status"]["instances"].as_array().into_iter().flatten();
    all.map(|name| name.as_str().unwrap_or_default().to_owned()).collect()
}

/// `candidates`, `desiredReplicas`, `readyReplicas`; absent is 0.
pub(super) fn counts(object: &Value) -> (i64, i64, i64) {
    let count = |field: &str| object["status"][field].as_i64().unwrap_or(0);
    (count("candidates"), count("desiredReplicas"), count("readyReplicas"))
}

/// A condition.
pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|it| it["type"] == kind)
}

/// Status and reason of a condition, `True/Reason`; empty when it is absent.
pub(super) fn said(object: &Value, kind: &str) -> String {
    let text = |it: &Value| {
        format!("{}/{}", it["status"].as_str().unwrap_or_default(), it["reason"].as_str().unwrap_or_default())
    };
    condition(object, kind).map(text).unwrap_or_default()
}

/// Status, reason and message of a condition, `True/Reason: message`; empty when it is absent.
pub(super) fn told(object: &Value, kind: &str) -> String {
    condition(object, kind)
        .map(|_| format!("{}: {}", said(object, kind), message(object, kind)))
        .unwrap_or_default()
}

/// The message of a condition; empty when it is absent.
pub(super) fn message(object: &Value, kind: &str) -> String {
    condition(object, kind).and_then(|it| it["message"].as_str()).unwrap_or_default().to_owned()
}

/// The finalizers.
pub(super) fn finalizers(object: &Value) -> Vec<String> {
    let all = object["metadata"]["finalizers"].as_array().into_iter().flatten();
    all.map(|name| name.as_str().unwrap_or_default().to_owned()).collect()
}

/// All addresses of an EndpointSlice.
pub(super) fn endpoints(slice: &Value) -> Vec<String> {
    let all = slice["endpoints"].as_array().into_iter().flatten();
    let addresses = all.flat_map(|it| it["addresses"].as_array().into_iter().flatten());
    addresses.map(|it| it.as_str().unwrap_or_default().to_owned()).collect()
}

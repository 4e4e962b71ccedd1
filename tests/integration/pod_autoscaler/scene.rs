// SPDX-License-Identifier: Apache-2.0
//! A namespace of one test, with an engine of its own, and what tests read off objects.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use aibrix_controller_manager::testkit::fake_engine::{Engine, FakeEngine, Load, Page};
use k8s_openapi::api::core::v1::Event;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

use crate::support::{
    ControlPlane, eventually, history::History, kubelet::Kubelet, manager::Manager, objects, passes::Passes,
    ports::free_port, wait,
};

use super::world::{ENDPOINT, SOON};

/// A namespace with an engine of its own.
pub(super) struct Scene {
    pub(super) client: Client,
    pub(super) ns: String,
    /// Answers on its port at the addresses of all pods, and at [`ENDPOINT`].
    pub(super) engine: FakeEngine,
    kubelet: Kubelet,
}

impl Scene {
    /// A namespace of `plane`.
    pub(super) async fn new(plane: &ControlPlane, prefix: &str) -> Self {
        let client = plane.client().await;
        let ns = plane.namespace(prefix).await;
        let engine = FakeEngine::start(SocketAddr::from((Ipv4Addr::UNSPECIFIED, free_port()))).await;
        let kubelet = Kubelet::new(client.clone(), &ns);
        Self { client, ns, engine: engine.expect("start an engine"), kubelet }
    }

    /// A PodAutoscaler on the Deployment of the same name, 1 to 10 replicas; `target` is the wanted number of
    /// running requests in each pod.
    pub(super) fn autoscaler(&self, name: &str, strategy: &str, target: &str) -> Value {
        let mut it = objects::pod_autoscaler(&self.ns, name, strategy);
        let source = &mut it["spec"]["metricsSources"][0];
        source["port"] = json!(self.engine.port());
        source["targetMetric"] = json!("num_requests_running");
        source["targetValue"] = json!(target);
        it
    }

    /// The same with one number for the whole target, which the endpoint says at `/<name>`.
    pub(super) fn by_endpoint(&self, name: &str, strategy: &str, target: &str) -> Value {
        let mut it = self.autoscaler(name, strategy, target);
        it["spec"]["metricsSources"] = json!([self.endpoint(name, target)]);
        it
    }

    /// A source that is read at `path` of the endpoint.
    pub(super) fn endpoint(&self, path: &str, target: &str) -> Value {
        json!({
            "metricSourceType": "external", "protocolType": "http",
            "endpoint": format!("{ENDPOINT}:{}", self.engine.port()), "path": path,
            "targetMetric": "load", "targetValue": target,
        })
    }

    /// What the endpoint says at `path`.
    pub(super) fn say(&self, path: &str, value: impl std::fmt::Display) {
        let page = Page::ok(format!("# TYPE load gauge\nload {value}\n"));
        self.engine.pods.set(None, path, page);
    }

    /// Creates an object.
    pub(super) async fn create(&self, object: &Value) {
        let (api, object) = (api_of(&self.client, object), dynamic(object));
        let created = api.create(&PostParams::default(), &object).await;
        drop(created.unwrap_or_else(|error| panic!("create {object:?}: {error}")));
    }

    /// Creates the Deployment `name`, without pods.
    pub(super) async fn deployment(&self, name: &str, replicas: u32) {
        self.create(&objects::deployment(&self.ns, name, replicas)).await;
    }

    /// Creates pods of the Deployment `name` that run and are ready; answers with their addresses.
    pub(super) async fn pods(&self, name: &str, count: usize) -> Vec<IpAddr> {
        self.pods_more(name, 0, count).await
    }

    /// The same where there are `from` pods, up to `to`.
    pub(super) async fn pods_more(&self, name: &str, from: usize, to: usize) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        for n in from..to {
            addresses.push(self.pod(&format!("{name}-{n}"), &json!({"app": name})).await);
        }
        addresses
    }

    /// Creates a pod that runs and is ready.
    pub(super) async fn pod(&self, name: &str, labels: &Value) -> IpAddr {
        let mut pod = objects::pod(&self.ns, name);
        pod["metadata"]["labels"] = labels.clone();
        self.create(&pod).await;
        self.kubelet.ready(name).await.parse().expect("an address")
    }

    /// The pod has ended.
    pub(super) async fn finish(&self, name: &str) {
        self.kubelet.failed(name, "Evicted").await;
    }

    /// The engine of a pod has that many running requests.
    pub(super) fn load(&self, pod: IpAddr, running: f64) {
        self.engine.pods.load(Some(pod), &Load::of(Engine::Vllm).with("num_requests_running", running));
    }

    /// Merges `patch` into an object.
    pub(super) async fn patch(&self, object: &Value, patch: &Value) -> Value {
        let api = api_of(&self.client, object);
        let patched = api.patch(name_of(object), &PatchParams::default(), &Patch::Merge(patch)).await;
        let patched = patched.unwrap_or_else(|error| panic!("patch with {patch}: {error}"));
        serde_json::to_value(patched).expect("JSON")
    }

    /// Replaces what stands at `place` of an object, and nothing around it.
    pub(super) async fn replace(&self, object: &Value, place: &str, value: &Value) {
        let patch = json!([{"op": "replace", "path": place, "value": value}]);
        let patch = Patch::Json::<()>(serde_json::from_value(patch).expect("a patch"));
        let patched =
            api_of(&self.client, object).patch(name_of(object), &PatchParams::default(), &patch).await;
        drop(patched.unwrap_or_else(|error| panic!("replace {place}: {error}")));
    }

    /// Writes the status of an object, as its controller would.
    pub(super) async fn set_status(&self, object: &Value, status: &Value) {
        let (api, patch) = (api_of(&self.client, object), json!({"status": status}));
        let patched = api.patch_status(name_of(object), &PatchParams::default(), &Patch::Merge(patch)).await;
        drop(patched.unwrap_or_else(|error| panic!("status {status}: {error}")));
    }

    /// Deletes an object.
    pub(super) async fn delete(&self, object: &Value) {
        objects::delete(&self.client, object).await;
    }

    /// Reads an object; `None`: it is not there.
    pub(super) async fn get(&self, object: &Value) -> Result<Option<Value>, String> {
        let found = api_of(&self.client, object).get_opt(name_of(object)).await;
        let found = found.map_err(|error| error.to_string())?;
        Ok(found.map(|object| serde_json::to_value(object).expect("JSON")))
    }

    /// Records all versions of an object from now on.
    pub(super) async fn watch(&self, object: &Value) -> History {
        History::of(api_of(&self.client, object), name_of(object)).await
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
            let seen = self.get(object).await?.ok_or("it is not there")?;
            if holds(&seen) { Ok(seen) } else { Err(brief(&seen)) }
        })
        .await
    }

    /// Waits until a condition of `object` has this status and reason, `True/AsExpected`.
    pub(super) async fn until_said(&self, object: &Value, kind: &str, said: &str, within: Duration) -> Value {
        self.until(object, within, &format!("{kind} is {said}"), |seen| self::said(seen, kind) == said).await
    }

    /// A HorizontalPodAutoscaler by name.
    pub(super) fn hpa(&self, name: &str) -> Value {
        self.named("autoscaling/v2", "HorizontalPodAutoscaler", name)
    }

    /// What [`Scene::get`] and the like need to know of an object.
    pub(super) fn named(&self, api_version: &str, kind: &str, name: &str) -> Value {
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": self.ns}})
    }

    /// `spec.replicas` of the Deployment `name`.
    pub(super) async fn replicas(&self, name: &str) -> Result<i64, String> {
        let seen = self.get(&self.named("apps/v1", "Deployment", name)).await?.ok_or("no such Deployment")?;
        seen["spec"]["replicas"].as_i64().ok_or_else(|| "no replicas".to_owned())
    }

    /// Waits until the Deployment `name` has that many replicas.
    pub(super) async fn until_replicas(&self, name: &str, want: i64, within: Duration) {
        eventually(within, &format!("{name} has {want} replicas"), async || {
            let seen = self.replicas(name).await?;
            if seen == want { Ok(()) } else { Err(seen.to_string()) }
        })
        .await;
    }

    /// The passes of a manager for the PodAutoscaler `name`: one each period.
    pub(super) fn passes<'a>(&self, manager: &'a Manager, name: &str) -> Passes<'a> {
        Passes::of(manager, &self.ns, name)
    }

    /// The Deployment `name` keeps that many replicas for so many passes.
    pub(super) async fn keeps_replicas(&self, name: &str, want: i64, passes: &Passes<'_>, count: usize) {
        let what = format!("{name} keeps {want} replicas");
        let look = async || {
            let seen = self.replicas(name).await?;
            if seen == want { Ok(()) } else { Err(seen.to_string()) }
        };
        passes.hold(count, &what, look).await;
    }

    /// Records the replicas of the Deployment `name` from now on.
    pub(super) async fn record(&self, name: &str) -> Steps {
        let deployment = self.named("apps/v1", "Deployment", name);
        let from = wait::instant();
        Steps { history: History::of(api_of(&self.client, &deployment), name).await, from }
    }

    /// Events about the PodAutoscaler `name`, as `Warning FailedGetScale: message`.
    pub(super) async fn events(&self, name: &str) -> Result<Vec<String>, String> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.ns);
        let fields = format!("involvedObject.kind=PodAutoscaler,involvedObject.name={name}");
        let list =
            api.list(&ListParams::default().fields(&fields)).await.map_err(|error| error.to_string())?;
        let text = |it: Event| {
            let (kind, reason) = (it.type_.unwrap_or_default(), it.reason.unwrap_or_default());
            assert_eq!(it.source.and_then(|source| source.component).as_deref(), Some("PodAutoscaler"));
            format!("{kind} {reason}: {}", it.message.unwrap_or_default())
        };
        Ok(list.items.into_iter().map(text).collect())
    }

    /// Waits for an event about the PodAutoscaler `name` that starts with `text`.
    pub(super) async fn until_event(&self, name: &str, text: &str) -> String {
        eventually(SOON, &format!("an event {text:?} about {name}"), async || {
            let events = self.events(name).await?;
            let found = events.iter().find(|event| event.starts_with(text)).cloned();
            found.ok_or_else(|| format!("{events:?}"))
        })
        .await
    }

    /// The series of the gauge of decisions that are about the PodAutoscaler `name`: labels and value.
    pub(super) async fn gauge(&self, manager: &Manager, name: &str) -> Vec<String> {
        let start = "aibrix_autoscaler_scale_action{algorithm=";
        let about = [format!("name=\"{name}\""), format!("namespace=\"{}\"", self.ns)];
        let metrics = manager.metrics().await.expect("metrics");
        let ours = metrics.lines().filter(|line| line.starts_with(start));
        ours.filter(|line| about.iter().all(|it| line.contains(it))).map(str::to_owned).collect()
    }

    /// The object's version stays the same for so many passes.
    pub(super) async fn stays(&self, object: &Value, passes: &Passes<'_>, count: usize) {
        let first = version(&self.get(object).await.expect("read").expect("it is there"));
        let look = async || {
            let seen = self.get(object).await?.ok_or("gone")?;
            if version(&seen) == first { Ok(()) } else { Err(brief(&seen)) }
        };
        passes.hold(count, "nobody writes the object", look).await;
    }
}

/// The replicas of a Deployment as they change: none is missed, however busy the machine is.
pub(super) struct Steps {
    history: History,
    from: wait::Instant,
}

impl Steps {
    /// The steps until there are `last` replicas, and when each came, counted from the recording's start.
    pub(super) async fn until(&self, last: i64, within: Duration) -> Vec<(Duration, i64)> {
        eventually(within, &format!("{last} replicas"), async || {
            let mut steps: Vec<(Duration, i64)> = Vec::new();
            for (at, seen) in self.history.timed(0).await {
                let count = seen["spec"]["replicas"].as_i64().unwrap_or_default();
                if steps.last().is_none_or(|(_, before)| *before != count) {
                    steps.push((at - self.from, count));
                }
                if count == last {
                    return Ok(steps);
                }
            }
            Err(format!("{steps:?}"))
        })
        .await
    }
}

/// What a failed test shows of an object.
fn brief(object: &Value) -> String {
    format!("spec {} status {}", object["spec"], object["status"])
}

/// `resourceVersion`.
pub(super) fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
}

/// A condition.
pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|it| it["type"] == kind)
}

/// Status and reason of a condition, `True/AsExpected`; empty when it is absent.
pub(super) fn said(object: &Value, kind: &str) -> String {
    let text = |it: &Value| {
        format!("{}/{}", it["status"].as_str().unwrap_or_default(), it["reason"].as_str().unwrap_or_default())
    };
    condition(object, kind).map(text).unwrap_or_default()
}

/// `desiredScale` and `actualScale`; unset is 0.
pub(super) fn scale(object: &Value) -> (i64, i64) {
    let count = |field: &str| object["status"][field].as_i64().unwrap_or(0);
    (count("desiredScale"), count("actualScale"))
}

/// A schedule that is active now and for hours to come.
pub(super) fn all_day(bounds: &Value) -> Value {
    // In a zone where it is not about midnight.
    let hour = wait::now().strftime("%H").to_string();
    let zone = if ("06".."18").contains(&hour.as_str()) { "UTC" } else { "Etc/GMT+12" };
    let mut it = json!({"name": "all-day", "timezone": zone, "startTime": "00:00", "endTime": "23:59"});
    for (key, value) in bounds.as_object().expect("bounds") {
        it[key] = value.clone();
    }
    it
}

/// The API of an object without asking for discovery.
pub(super) fn api_of(client: &Client, object: &Value) -> Api<DynamicObject> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    api(client, text("/apiVersion"), text("/kind"), text("/metadata/namespace"))
}

/// The API of a kind in a namespace without asking for discovery.
pub(super) fn api(client: &Client, api_version: &str, kind: &str, ns: &str) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let gvk = GroupVersionKind::gvk(group, version, kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, &plural(kind));
    Api::namespaced_with(client.clone(), ns, &resource)
}

/// As these tests' kinds are all named.
pub(super) fn plural(kind: &str) -> String {
    format!("{}s", kind.to_lowercase())
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().expect("a name")
}

fn dynamic(object: &Value) -> DynamicObject {
    serde_json::from_value(object.clone()).expect("an object")
}

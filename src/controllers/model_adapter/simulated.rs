// SPDX-License-Identifier: Apache-2.0
//! The cluster of planner tests: adapters, pods, engines and children that do what plans say, in simulated time.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, LazyLock},
    time::Duration,
};

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::{
    api::model::{ModelAdapter, ModelAdapterStatus},
    engine::models::ListedModel,
    k8s::pod_facts::PodFacts,
};
use kube_fenced_election::clock::{Clock, Instant, SystemClock, Timestamp};
use kube_loops::{
    cluster::events::EventDraft,
    runtime::{children::ChildRef, reconciler::Key, requests::runner::RequestBook as _},
};

use super::{
    apply::Report,
    calls::{Call, Ended, Models, Order, Origin, What},
    candidates::{AdapterContext, candidates, count_models},
    load_retry::LoadFailure,
    load_tracker::LoadTracker,
    plan::{ensure_finalizer, initial_status},
    policies::Measured,
    reservations::Reservations,
    settings::ModelAdapterSettings,
    snapshot::{ChildSeen, Listed, PodSeen, ServiceContent, SliceContent, Snapshot},
    source::Source,
    state::State,
    steps::{Plan, Step},
};

pub(super) use super::simulated_passes::World;

/// What an engine does.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "any of these goes with any other")]
pub(super) struct Engine {
    pub(super) models: BTreeMap<String, String>,
    /// Refuses every load in these words.
    pub(super) refuses: Option<(LoadFailure, String)>,
    /// Cannot be asked.
    pub(super) unreachable: bool,
    /// Loads do not come to an end.
    pub(super) slow: bool,
    /// Says that it has loaded, and has not.
    pub(super) lies: bool,
    /// Keeps only so many adapters: the last ones that were loaded.
    pub(super) keeps: Option<usize>,
    /// The order in which they were loaded.
    pub(super) order: Vec<String>,
    /// Every other list lacks the adapters.
    pub(super) flickers: bool,
    pub(super) lists: usize,
    /// Lists no adapters.
    pub(super) unlisted: bool,
}

impl Engine {
    fn load(&mut self, name: String, url: String) {
        self.order.retain(|it| *it != name);
        self.order.push(name.clone());
        self.models.insert(name, url);
        while self.keeps.is_some_and(|keeps| self.models.len() > keeps) {
            self.models.remove(&self.order.remove(0));
        }
    }
}

/// One adapter, as stored.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) adapter: ModelAdapter,
    pub(super) service: ChildSeen<ServiceContent>,
    pub(super) slice: ChildSeen<SliceContent>,
    /// Statuses in the order in which they were written.
    pub(super) history: Vec<ModelAdapterStatus>,
}

/// All but what passes remember. [`World`] runs passes over it.
#[derive(Default)]
pub(super) struct Cluster {
    pub(super) adapters: BTreeMap<String, Stored>,
    pub(super) pods: Vec<PodFacts>,
    pub(super) engines: HashMap<String, Engine>,
    pub(super) measured: HashMap<String, Measured>,
    pub(super) settings: ModelAdapterSettings,
    pub(super) tracker: LoadTracker,
    pub(super) reservations: Reservations,
    pub(super) events: Vec<EventDraft>,
    /// Changes of engines: pod, what, source.
    pub(super) calls: Vec<(String, &'static str, String)>,
    /// Status and metadata writes.
    pub(super) writes: usize,
    pub(super) draw: u64,
    pub(super) passed: Duration,
    /// Pods that could not be asked for their version of an adapter, which was another one, when the new one was
    /// recorded: a later term cannot tell.
    pub(super) untold: BTreeSet<String>,
    /// Pods on which this term has loaded an adapter.
    loaded: BTreeSet<String>,
    /// Pods like those of `untold`, of which the present term still knows.
    passed_over: BTreeSet<String>,
    /// Loads that slow engines hold.
    held: Vec<(u64, Arc<Order>)>,
    /// A status that is sent gets no answer.
    pub(super) mute: bool,
    /// The plan of the last round.
    pub(super) planned: Plan,
}

static BEGIN: LazyLock<Instant> = LazyLock::new(|| SystemClock.instant());
pub(super) const START: &str = "2026-06-01T12:00:00Z";

impl Cluster {
    pub(super) fn now(&self) -> Timestamp {
        let start: Timestamp = START.parse().unwrap();
        start + SignedDuration::try_from(self.passed).unwrap()
    }

    pub(super) fn instant(&self) -> Instant {
        *BEGIN + self.passed
    }

    /// A pod that has been ready for this many seconds, with an engine of its own.
    pub(super) fn pod(&mut self, name: &str, ready_for: i64, labels: &Value) {
        let number = self.pods.len() + 1;
        let since = self.now() - SignedDuration::from_secs(ready_for);
        self.pods.push(PodFacts::for_test(&json!({
            "metadata": {"name": name, "namespace": "ns", "uid": format!("{name}-{number}"), "labels": labels},
            "spec": {}, "status": {"phase": "Running", "podIP": format!("10.0.{}.{}", number / 250, number % 250 + 1),
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": since.to_string()}]},
        })));
        self.engines.insert(name.to_owned(), Engine::default());
    }

    /// Pods `a`, `b`, … of the application `base` that have long been ready.
    pub(super) fn pods(&mut self, names: &[&str]) {
        for name in names {
            self.pod(name, 3600, &json!({"app": "base"}));
        }
    }

    pub(super) fn change_pod(&mut self, name: &str, change: impl FnOnce(&mut PodFacts)) {
        change(self.pods.iter_mut().find(|pod| *pod.name == *name).unwrap());
    }

    pub(super) fn engine(&mut self, name: &str) -> &mut Engine {
        self.engines.get_mut(name).unwrap()
    }

    pub(super) fn adapter(&mut self, name: &str, spec: &Value) {
        let mut object = json!({
            "apiVersion": "model.aibrix.ai/v1alpha1", "kind": "ModelAdapter",
            "metadata": {"name": name, "namespace": "ns", "uid": format!("uid-{name}"), "generation": 1},
            "spec": {"artifactURL": format!("s3://loras/{name}"), "podSelector": {"matchLabels": {"app": "base"}}},
        });
        json_patch::merge(&mut object["spec"], spec);
        let stored = Stored {
            adapter: serde_json::from_value(object).unwrap(),
            service: ChildSeen::Absent,
            slice: ChildSeen::Absent,
            history: Vec::new(),
        };
        self.adapters.insert(name.to_owned(), stored);
    }

    pub(super) fn edit(&mut self, name: &str, edit: impl FnOnce(&mut ModelAdapter)) {
        let adapter = &mut self.adapters.get_mut(name).unwrap().adapter;
        edit(adapter);
        adapter.metadata.generation = adapter.metadata.generation.map(|it| it + 1);
    }

    /// Begins a new term: what is under way is lost.
    pub(super) fn take_over(&mut self) {
        (self.tracker, self.reservations) = (LoadTracker::default(), Reservations::default());
        self.held.clear();
        self.loaded.clear();
        self.untold.append(&mut self.passed_over);
    }

    pub(super) fn status(&self, name: &str) -> ModelAdapterStatus {
        self.adapters[name].adapter.status.clone().unwrap_or_default()
    }

    pub(super) fn phases(&self, name: &str) -> Vec<&str> {
        let mut phases: Vec<&str> = self.adapters[name].history.iter().map(|it| it.phase.as_str()).collect();
        phases.dedup();
        phases
    }

    /// Status, reason and message of a condition.
    pub(super) fn condition(&self, name: &str, kind: &str) -> Option<(String, String, String)> {
        let status = self.status(name);
        let found = status.conditions.iter().find(|condition| condition.type_ == kind)?;
        Some((found.status.clone(), found.reason.clone(), found.message.clone()))
    }

    pub(super) fn reasons(&self) -> Vec<&str> {
        self.events.iter().map(|event| event.reason.as_str()).collect()
    }

    /// What a pass that remembers this would see now.
    pub(super) fn look(&mut self, name: &str, state: &State) -> Snapshot {
        let key = Key::new("ns", name);
        let now = self.instant();
        let stored = self.adapters[name].clone();
        let namespace_pods: Vec<Arc<PodFacts>> = self.pods.iter().cloned().map(Arc::new).collect();
        let about = AdapterContext { key: &key, adapter: &stored.adapter, state, settings: &self.settings };
        let (mut pods, outside) = candidates(about, &namespace_pods, &mut self.tracker, now);
        let others: Vec<Arc<ModelAdapter>> =
            self.adapters.values().map(|stored| Arc::new(stored.adapter.clone())).collect();
        count_models(&key, &mut pods, &others, &self.reservations, now);
        for pod in &mut pods {
            pod.measured = self.measured.get(pod.name()).copied();
        }
        Snapshot {
            reservations: self.reservations.changes(),
            policy: self.settings.policy,
            pods,
            outside,
            chosen: self.reservations.chosen(&key, now).map(Box::from),
            metrics_error: None,
            draw: self.draw,
            service: stored.service,
            slice: stored.slice,
            caught_up: true,
            adapter: Arc::new(stored.adapter),
        }
    }

    pub(super) fn prepare(&mut self, name: &str, now: Timestamp) -> Option<Arc<ModelAdapter>> {
        let adapter = &mut self.adapters.get_mut(name)?.adapter;
        if let Some(mark) = ensure_finalizer(adapter, &Source::of(adapter).hash) {
            let meta = &mut adapter.metadata;
            meta.finalizers.get_or_insert_default().push("adapter.model.aibrix.ai/finalizer".into());
            let annotations = meta.annotations.get_or_insert_default();
            annotations
                .extend(mark.hash.map(|hash| ("adapter.model.aibrix.ai/loaded-spec-hash".into(), hash)));
            self.writes += 1;
            self.tracker.begin(&Key::new("ns", name), &meta.uid.clone().unwrap_or_default());
        }
        if let Some(status) = initial_status(adapter, now) {
            self.store(name, status);
        }
        Some(Arc::new(self.adapters[name].adapter.clone()))
    }

    pub(super) fn store(&mut self, name: &str, status: ModelAdapterStatus) {
        let stored = self.adapters.get_mut(name).unwrap();
        stored.history.push(status.clone());
        self.reservations.stored(&Key::new("ns", name), &status);
        stored.adapter.status = Some(status);
        self.writes += 1;
    }

    pub(super) fn carry_out(&mut self, name: &str, seen: &Snapshot, step: Step, report: &mut Report) {
        let stored = self.adapters.get_mut(name).unwrap();
        let ours = |uid: &str| ChildRef {
            namespace: "ns".to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            version: "1".to_owned(),
        };
        match step {
            Step::Load { pod, source, reload } => self.order(name, &pod, What::Load { source, reload }),
            Step::Unload { pod } => self.order(name, &pod, What::Unload),
            Step::RecordHash { hash } => {
                let url = &stored.adapter.spec.artifact_url;
                let is_other = |pod: &str| {
                    let loaded = self.engines.get(pod).and_then(|engine| engine.models.get(name));
                    loaded.is_some_and(|loaded| loaded != url)
                };
                let said = |pod: &&PodSeen| matches!(pod.engine.listed, Listed::Known(_));
                let asked: BTreeSet<&str> = seen.pods.iter().filter(said).map(PodSeen::name).collect();
                let unasked = self.engines.keys().filter(|pod| !asked.contains(pod.as_str()));
                for pod in unasked.filter(|pod| is_other(pod)) {
                    // Of an engine that it loaded, a term knows the version without asking; the next one does not.
                    let known = self.loaded.contains(pod);
                    if known { &mut self.passed_over } else { &mut self.untold }.insert(pod.clone());
                }
                let annotations = stored.adapter.metadata.annotations.get_or_insert_default();
                annotations.insert("adapter.model.aibrix.ai/loaded-spec-hash".into(), hash.to_string());
                report.adapter = Some(Arc::new(stored.adapter.clone()));
                self.writes += 1;
            }
            Step::CreateService(service) => {
                let label = |key: &str| service.metadata.labels.as_ref()?.get(key).cloned();
                let content = Box::new(ServiceContent {
                    name_label: label("adapter.model.aibrix.ai/name"),
                    model_label: label("model.aibrix.ai/name"),
                    model_annotation: None,
                    ports: service.spec.clone().unwrap().ports.unwrap(),
                });
                stored.service = ChildSeen::Ours { child: ours("service"), leaving: false, content };
                self.writes += 1;
            }
            Step::CreateSlice(slice) => {
                let content = Box::new(SliceContent {
                    service_label: slice.metadata.labels.unwrap().remove("kubernetes.io/service-name"),
                    address_type: slice.address_type,
                    endpoints: slice.endpoints,
                    ports: slice.ports.unwrap(),
                });
                stored.slice = ChildSeen::Ours { child: ours("slice"), leaving: false, content };
                self.writes += 1;
            }
            Step::PatchSlice { patch, .. } => {
                let ChildSeen::Ours { content, .. } = &mut stored.slice else { panic!("no slice of ours") };
                if let Some(endpoints) = patch.get("endpoints") {
                    content.endpoints = serde_json::from_value(endpoints.clone()).unwrap();
                }
                if let Some(ports) = patch.get("ports") {
                    content.ports = serde_json::from_value(ports.clone()).unwrap();
                }
                self.writes += 1;
            }
            Step::DeleteSlice { .. } => {
                stored.slice = ChildSeen::Absent;
                self.writes += 1;
            }
            Step::PatchService { .. } => self.writes += 1,
            Step::Release => {
                self.adapters.remove(name);
                self.tracker.forget(&Key::new("ns", name));
                self.reservations.forget(&Key::new("ns", name));
                report.released = true;
            }
        }
    }

    fn order(&mut self, name: &str, pod: &super::steps::PodTarget, what: What) {
        let metadata = &self.adapters[name].adapter.metadata;
        let order = Order {
            key: Key::new("ns", name),
            uid: metadata.uid.clone().unwrap().into(),
            generation: metadata.generation,
            origin: Origin { pod: pod.facts.uid.clone(), endpoint: pod.endpoint.clone() },
            ready_since: pod.facts.ready_since,
            what,
        };
        self.tracker.order(order, self.instant());
    }

    /// Makes the calls that are due. Returns the adapters to which that is news.
    pub(super) fn call_engines(&mut self) -> BTreeSet<String> {
        let mut news = BTreeSet::new();
        while let Some(job) = self.tracker.next(self.instant()) {
            let keys = match job.request {
                Call::List(origin) => {
                    let models = match self.engine_of(&origin.pod) {
                        Some(engine) if !engine.unreachable => {
                            let adapter = |(id, root): (&String, &String)| ListedModel {
                                id: id.clone(),
                                is_adapter: true,
                                root: Some(root.clone()),
                            };
                            let base = ListedModel { id: "base".to_owned(), ..ListedModel::default() };
                            engine.lists += 1;
                            let hides = engine.unlisted || (engine.flickers && engine.lists % 2 == 0);
                            let adapters = engine.models.iter().filter(|_| !hides).map(adapter);
                            Models::Known(std::iter::once(base).chain(adapters).collect())
                        }
                        _ => Models::Unknown {
                            error: "failed to get models: connection refused".into(),
                            silent: false,
                        },
                    };
                    self.tracker.listed(job.number, &origin, models, self.instant())
                }
                Call::Change(order) => {
                    let is_slow = self.engine_of(&order.origin.pod).is_some_and(|engine| engine.slow);
                    if is_slow && matches!(order.what, What::Load { .. }) {
                        self.held.push((job.number, order));
                        continue;
                    }
                    self.change(job.number, &order)
                }
            };
            news.extend(keys.into_iter().map(|key| key.name));
        }
        news
    }

    /// Lets the loads that slow engines hold come to their end.
    pub(super) fn release_held(&mut self) -> BTreeSet<String> {
        let held = std::mem::take(&mut self.held);
        let ends = held.into_iter().flat_map(|(number, order)| self.change(number, &order));
        ends.map(|key| key.name).collect()
    }

    fn engine_of(&mut self, uid: &str) -> Option<&mut Engine> {
        let pod = self.pods.iter().find(|pod| *pod.uid == *uid)?;
        self.engines.get_mut(&*pod.name)
    }

    fn change(&mut self, number: u64, order: &Arc<Order>) -> Vec<Key> {
        let pod = self.pods.iter().find(|pod| pod.uid == order.origin.pod).map(|pod| pod.name.to_string());
        let pod = pod.unwrap_or_default();
        let name = order.key.name.clone();
        let ended = match self.engines.get_mut(&pod) {
            None => refused(LoadFailure::Transient, "connection refused", false),
            Some(engine) if engine.unreachable => {
                refused(LoadFailure::Transient, "connection refused", false)
            }
            Some(engine) => match &order.what {
                What::Unload => {
                    self.calls.push((pod, "unload", String::new()));
                    engine.models.remove(&name);
                    Ended::Well
                }
                What::Load { source, reload } => {
                    if *reload {
                        self.calls.push((pod.clone(), "unload", String::new()));
                        engine.models.remove(&name);
                    }
                    self.calls.push((pod.clone(), "load", source.url.clone()));
                    match &engine.refuses {
                        Some((kind, text)) => refused(*kind, text, true),
                        None if engine.models.contains_key(&name) => {
                            Ended::Already { error: "already loaded".to_owned() }
                        }
                        None if engine.lies => Ended::Well,
                        None => {
                            engine.load(name, source.url.clone());
                            self.loaded.insert(pod);
                            Ended::Well
                        }
                    }
                }
            },
        };
        self.tracker.changed(number, order, &ended, self.instant())
    }

    /// Lets time pass in which nobody does anything.
    pub(super) fn sleep(&mut self, seconds: u64) {
        self.passed += Duration::from_secs(seconds);
    }
}

fn refused(kind: LoadFailure, text: &str, answered: bool) -> Ended {
    Ended::Badly { kind, error: text.to_owned(), answered }
}

// SPDX-License-Identifier: Apache-2.0
//! `ModelAdapters` that come and go, on engines whose pods die: work for the model adapter and the model route.
//!
//! Every request to the API server may fail here, since faults are what a campaign is about: what could not be
//! done is done at the next turn.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use aibrix_controller_manager::testkit::fake_engine::{Entry, FakeEngine, LoraEngine, Pods};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use kube_fenced_election::clock::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::support::{
    kubelet::{Kubelet, running},
    objects,
    wait::now,
};

/// Pods that adapters are loaded on.
const ENGINES: usize = 3;
/// Adapters that exist at a time.
const ADAPTERS: usize = 6;
/// An engine's pod dies each so many turns.
const DEATH: usize = 12;
/// Where engines listen.
const PORT: u16 = 8000;
/// The label of the engines' pods.
const LABEL: &str = "campaign/adapters";

/// Adapters and the pods with their engines.
pub(crate) struct Adapters {
    api: Api<DynamicObject>,
    pods: Api<Pod>,
    /// What the engines do, and what they were asked.
    engines: Arc<Pods>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    alive: BTreeMap<String, Engine>,
    /// Pods that were made so far.
    made: usize,
    /// Adapters that are wanted; those of them that are still to be made, and others that are to go.
    wanted: BTreeSet<String>,
    unmade: BTreeSet<String>,
    unwanted: BTreeSet<String>,
    deaths: BTreeMap<IpAddr, Timestamp>,
}

struct Engine {
    address: IpAddr,
    _server: FakeEngine,
    /// Its pod is stored and says that it is ready.
    ready: bool,
    /// Its pod is to be deleted.
    dying: bool,
}

/// What engines were asked and what became of them: for the judgement.
#[derive(Debug, Clone, Default)]
pub(crate) struct Engines {
    /// All requests.
    pub(crate) journal: Vec<Entry>,
    /// When the pods began to die that did.
    pub(crate) deaths: BTreeMap<IpAddr, Timestamp>,
}

impl Adapters {
    /// Makes the first engines in `namespace`.
    pub(crate) async fn start(client: &Client, namespace: &str) -> Self {
        let api = objects::api(client, "model.aibrix.ai/v1alpha1", "ModelAdapter", Some(namespace)).await;
        let pods = Api::namespaced(client.clone(), namespace);
        let it = Self { api, pods, engines: Arc::default(), state: Mutex::default() };
        it.make_engines().await;
        it
    }

    /// One more adapter and one less, and from time to time another pod.
    pub(crate) async fn turn(&self, n: usize) {
        {
            let mut state = self.state.lock();
            state.wanted.insert(name(n));
            state.unmade.insert(name(n));
            if let Some(old) = n.checked_sub(ADAPTERS).map(name) {
                state.wanted.remove(&old);
                state.unmade.remove(&old);
                state.unwanted.insert(old);
            }
            if n % DEATH == DEATH - 1 {
                state.doom_oldest();
            }
        }
        self.catch_up().await;
    }

    async fn catch_up(&self) {
        self.kill_doomed().await;
        self.make_engines().await;
        self.make_adapters().await;
        self.delete_adapters().await;
    }

    /// Whether every adapter that should run does, on engines that have it, and nothing else is loaded.
    ///
    /// # Errors
    /// It is not so, in words.
    pub(crate) async fn is_done(&self) -> Result<(), String> {
        self.catch_up().await;
        let list = self.api.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let there: BTreeSet<String> = list.iter().map(ResourceExt::name_any).collect();
        let state = self.state.lock();
        if there != state.wanted {
            return Err(format!("the adapters are {there:?}, wanted are {:?}", state.wanted));
        }
        let mut said: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for it in &list {
            let (name, status) = (it.name_any(), &it.data["status"]);
            let on: Vec<&str> =
                status["instances"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if status["phase"] != "Running" || on.len() != wanted_on(&name) {
                return Err(format!("{name} is {}, on {on:?}", status["phase"]));
            }
            for pod in on {
                let engine = state.alive.keys().find(|it| *it == pod);
                let engine = engine.ok_or_else(|| format!("{name} is said to be on {pod}, which is dead"))?;
                said.entry(engine).or_default().insert(name.clone());
            }
        }
        for (pod, engine) in &state.alive {
            let has: BTreeSet<String> = self.engines.loaded(engine.address).into_keys().collect();
            let should = said.remove(pod.as_str()).unwrap_or_default();
            if has != should {
                return Err(format!("{pod} has loaded {has:?}, by the adapters' statuses {should:?}"));
            }
        }
        Ok(())
    }

    /// What the engines were asked so far.
    pub(crate) fn engines(&self) -> Engines {
        Engines { journal: self.engines.journal.entries(), deaths: self.state.lock().deaths.clone() }
    }

    async fn kill_doomed(&self) {
        let doomed: Vec<String> = {
            let state = self.state.lock();
            state.alive.iter().filter(|(_, it)| it.dying).map(|(name, _)| name.clone()).collect()
        };
        for name in doomed {
            match self.pods.delete(&name, &DeleteParams::default().grace_period(0)).await {
                Err(kube::Error::Api(status)) if status.code != 404 => {}
                Ok(_) | Err(kube::Error::Api(_)) => drop(self.state.lock().alive.remove(&name)),
                Err(_) => {}
            }
        }
    }

    async fn make_engines(&self) {
        while self.state.lock().alive.len() < ENGINES {
            let address: IpAddr = Kubelet::next_address().parse().expect("an address");
            self.engines.engine(Some(address), LoraEngine::default());
            let place = SocketAddr::from((address, PORT));
            let server = FakeEngine::start_with(place, Arc::clone(&self.engines), false).await;
            let engine =
                Engine { address, _server: server.expect("start an engine"), ready: false, dying: false };
            let mut state = self.state.lock();
            let name = format!("engine-{}", state.made);
            state.made += 1;
            state.alive.insert(name, engine);
        }
        let missing: Vec<(String, IpAddr)> = {
            let state = self.state.lock();
            let missing = state.alive.iter().filter(|(_, it)| !it.ready);
            missing.map(|(name, it)| (name.clone(), it.address)).collect()
        };
        for (name, address) in missing {
            let mut pod = objects::pod(self.pods.namespace().unwrap_or_default(), &name);
            pod["metadata"]["labels"] = json!({LABEL: "yes"});
            let pod: Pod = serde_json::from_value(pod).expect("a pod");
            // It may be there already: the answer to an earlier attempt was lost.
            drop(self.pods.create(&PostParams::default(), &pod).await);
            let patch = Patch::Merge(json!({"status": running(address, Duration::from_mins(1))}));
            if self.pods.patch_status(&name, &PatchParams::default(), &patch).await.is_ok()
                && let Some(engine) = self.state.lock().alive.get_mut(&name)
            {
                engine.ready = true;
            }
        }
    }

    async fn make_adapters(&self) {
        let unmade = self.state.lock().unmade.clone();
        for name in unmade {
            let replicas = (wanted_on(&name) == 1).then_some(1);
            let adapter = json!({
                "apiVersion": "model.aibrix.ai/v1alpha1", "kind": "ModelAdapter",
                "metadata": {"name": name},
                "spec": {"baseModel": "base-model", "podSelector": {"matchLabels": {LABEL: "yes"}},
                         "replicas": replicas, "artifactURL": format!("/models/{name}")},
            });
            let adapter: DynamicObject = serde_json::from_value(adapter).expect("an adapter");
            match self.api.create(&PostParams::default(), &adapter).await {
                Err(kube::Error::Api(status)) if status.code != 409 => {}
                Ok(_) | Err(kube::Error::Api(_)) => drop(self.state.lock().unmade.remove(&name)),
                Err(_) => {}
            }
        }
    }

    async fn delete_adapters(&self) {
        let unwanted = self.state.lock().unwanted.clone();
        for name in unwanted {
            // Asked again until it is known to be gone.
            let answer = self.api.delete(&name, &DeleteParams::default()).await;
            if matches!(answer, Err(kube::Error::Api(status)) if status.code == 404) {
                self.state.lock().unwanted.remove(&name);
            }
        }
    }
}

impl State {
    fn doom_oldest(&mut self) {
        let ready = self.alive.iter_mut().filter(|(_, it)| it.ready && !it.dying);
        // `engine-9` is older than `engine-10`.
        if let Some((_, oldest)) = ready.min_by_key(|(name, _)| (name.len(), (*name).clone())) {
            oldest.dying = true;
            // From here on the API server may know.
            self.deaths.insert(oldest.address, now());
        }
    }
}

fn name(n: usize) -> String {
    format!("{}-{n}", if n.is_multiple_of(2) { "one" } else { "all" })
}

/// On how many pods an adapter of that name is wanted.
fn wanted_on(name: &str) -> usize {
    if is_single(name) { 1 } else { ENGINES }
}

/// Whether an adapter of that name is wanted on one pod only.
pub(crate) fn is_single(name: &str) -> bool {
    name.starts_with("one-")
}

// SPDX-License-Identifier: Apache-2.0
//! Reads for a pass: stores, and what is known of engines. A pass waits for neither: in steady state it sends
//! no request.

pub(super) mod engines;
pub(super) mod runner;
pub(super) mod stores;

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

use crate::{
    api::{
        keys::{
            DEFAULT_ENGINE_PORT, ENGINE_LABEL,
            model_adapter::{DEBUG_PORT, SIDECAR_PORT},
        },
        model::ModelAdapter,
    },
    clock::{Instant, SharedClock},
    engine::endpoint::{Dialect, Endpoint, Token, TokenError},
    k8s::pod_facts::PodFacts,
    runtime::{
        expectations::{Expectations, Seen},
        reconciler::Key,
        watches::{Stored, version},
    },
};

use self::{
    runner::Calls,
    stores::{Child, Stores},
};
use super::{
    ledger::{Asked, Origin},
    memory::Memory,
    placement::Measured,
    placements::Placements,
    plan::selector_of,
    settings::ModelAdapterSettings,
    snapshot::{ChildSeen, EngineSeen, PodSeen, Snapshot},
    source::token_of,
    status::stored_choice,
    triggers::is_usable,
};

/// How long a store may lag behind our own writes before it is believed.
const LAG: Duration = Duration::from_secs(30);
/// Names of the children in [`Expectations`].
pub(super) const SERVICE: &str = "Service";
pub(super) const SLICE: &str = "EndpointSlice";

/// What a term reads with, and what it has to know to read right.
pub(super) struct Reads {
    /// From memory.
    pub(super) stores: Stores,
    /// From engines.
    pub(super) calls: Arc<Calls>,
    /// Own writes to children that the stores do not show yet.
    pub(super) expected: Mutex<Expectations>,
    settings: ModelAdapterSettings,
    /// ModelAdapters as we wrote them last, until the store shows it.
    written: Mutex<HashMap<Key, Arc<ModelAdapter>>>,
    clock: SharedClock,
}

impl Reads {
    /// Reads of a new term.
    pub(super) fn new(
        stores: Stores,
        calls: Arc<Calls>,
        settings: ModelAdapterSettings,
        clock: SharedClock,
    ) -> Self {
        let (expected, written) = (Mutex::new(Expectations::new(LAG)), Mutex::default());
        Self { stores, calls, expected, settings, written, clock }
    }

    /// The object, in its newest version known here; `None`: it is gone.
    pub(super) fn adapter(&self, key: &Key) -> Option<Arc<ModelAdapter>> {
        let shown = self.stores.adapters.get_key(key);
        let mut written = self.written.lock();
        let Some(shown) = shown else {
            written.remove(key);
            return None;
        };
        let Some(ours) = written.get(key) else { return Some(shown) };
        if ours.metadata.uid == shown.metadata.uid && version::before(shown.version(), ours.version()) {
            return Some(Arc::clone(ours));
        }
        written.remove(key);
        Some(shown)
    }

    /// We wrote the object: this is what is stored now. A pass that follows at once must not start from less.
    pub(super) fn wrote(&self, key: &Key, adapter: &Arc<ModelAdapter>) {
        self.written.lock().insert(key.clone(), Arc::clone(adapter));
    }

    /// The facts for one pass. `placements` stay locked until a pod that is chosen on them is reserved.
    pub(super) fn observe(
        &self,
        key: &Key,
        adapter: Arc<ModelAdapter>,
        memory: &Memory,
        placements: &Placements,
    ) -> Snapshot {
        let now = self.clock.instant();
        let near = self.stores.pods.list_in(&key.namespace);
        let uid = adapter.metadata.uid.clone().unwrap_or_default();
        let (mut pods, mut outside) = self.pods(key, &adapter, memory, &near, now);
        let status = adapter.status.clone().unwrap_or_default();
        let unplaced = !pods.iter().any(|pod| status.instances.iter().any(|name| *name == *pod.facts.name));
        if adapter.spec.replicas.is_some() && unplaced {
            self.count_models(key, &mut pods, placements, now);
        }
        pods.sort_by(|a, b| a.facts.name.cmp(&b.facts.name));
        outside.sort_by(|a, b| a.facts.name.cmp(&b.facts.name));
        let service = self.stores.services.get_key(key);
        let slice = self.stores.slices.get_key(key);
        let seen = [
            service.as_deref().map(|child| shown(child, SERVICE)),
            slice.as_deref().map(|child| shown(child, SLICE)),
        ];
        let caught_up = self.expected.lock().caught_up(&uid, seen.into_iter().flatten(), now);
        Snapshot {
            policy: self.settings.policy,
            pods,
            outside,
            chosen: placements.chosen(key, now).map(Box::from),
            draw: rand::random(),
            service: service.map_or(ChildSeen::Absent, |child| child.seen_by(&uid)),
            slice: slice.map_or(ChildSeen::Absent, |child| child.seen_by(&uid)),
            caught_up,
            adapter,
        }
    }

    /// Pods that may host the adapter now, and others that matter to it.
    fn pods(
        &self,
        key: &Key,
        adapter: &ModelAdapter,
        memory: &Memory,
        near: &[Arc<PodFacts>],
        now: Instant,
    ) -> (Vec<PodSeen>, Vec<PodSeen>) {
        let selector = selector_of(adapter).ok();
        let uid = adapter.metadata.uid.as_deref().unwrap_or_default();
        let token = token_of(adapter);
        let status = adapter.status.clone().unwrap_or_default();
        let choice = stored_choice(&status);
        let mut ledger = self.calls.ledger.lock();
        let mut known: BTreeSet<Box<str>> = ledger.touched(key, uid).into_iter().collect();
        known.extend(memory.dropped.keys().chain(&memory.dismissed).cloned());
        let (mut pods, mut outside) = (Vec::new(), Vec::new());
        for facts in near {
            let selected = selector.as_ref().is_some_and(|selector| selector.matches(&facts.labels));
            let usable = selected && is_usable(facts);
            let matters = || {
                known.contains(&facts.uid)
                    || choice == Some(&*facts.name)
                    || status.instances.iter().any(|name| **name == *facts.name)
            };
            if !usable && !matters() {
                continue;
            }
            let endpoint = endpoint_of(facts, &self.settings, &token);
            let asked = Asked {
                key,
                uid,
                generation: adapter.metadata.generation,
                pod: &facts.uid,
                ready_since: facts.ready_since,
                endpoint: endpoint.as_ref().ok(),
            };
            let engine: EngineSeen = ledger.seen(asked, now);
            let port = facts.engine_port().unwrap_or(DEFAULT_ENGINE_PORT);
            let facts = Arc::clone(facts);
            let measured = Some(Measured::Missing);
            let seen = PodSeen { facts, selected, endpoint, port, models: 0, measured, engine };
            if usable { pods.push(seen) } else { outside.push(seen) }
        }
        ledger.retain(key, |pod| near.iter().any(|facts| *facts.uid == *pod));
        (pods, outside)
    }

    /// Counts models of pods: base model, claims, other adapters by their status, and placements under way.
    fn count_models(&self, key: &Key, pods: &mut [PodSeen], placements: &Placements, now: Instant) {
        let others = self.stores.adapters.list_in(&key.namespace);
        let mut models: HashMap<&str, BTreeSet<&str>> = HashMap::new();
        for facts in pods.iter().map(|pod| &pod.facts) {
            let own = facts.claimed_models.iter().map(|model| &**model).chain(facts.base_model());
            models.insert(&facts.name, own.collect());
        }
        let mut hosts = |adapter, pod| {
            if let Some(models) = models.get_mut(pod)
                && adapter != key.name
            {
                models.insert(adapter);
            }
        };
        for other in &others {
            let name = other.metadata.name.as_deref().unwrap_or_default();
            let instances = other.status.iter().flat_map(|status| &status.instances);
            instances.for_each(|pod| hosts(name, pod.as_str()));
        }
        placements.assumed_in(&key.namespace, now).for_each(|(adapter, pod)| hosts(adapter, pod));
        let counts: HashMap<Box<str>, usize> =
            models.iter().map(|(pod, models)| (Box::from(*pod), models.len())).collect();
        for pod in pods {
            pod.models = counts.get(&pod.facts.name).copied().unwrap_or(0);
        }
    }

    /// From now on the lists of exactly these pods are kept fresh for the adapter.
    pub(super) fn watch(&self, key: &Key, seen: &Snapshot, wanted: &[Box<str>]) {
        let origin = |uid: &Box<str>| {
            let pod = seen.pods.iter().find(|pod| pod.facts.uid == *uid)?;
            Some(Origin { pod: uid.clone(), endpoint: pod.endpoint.clone().ok()? })
        };
        let origins: Vec<Origin> = wanted.iter().filter_map(origin).collect();
        self.calls.ledger.lock().watch(key, origins, self.clock.instant());
        self.calls.look();
    }

    /// The object is gone.
    pub(super) fn forget(&self, key: &Key) {
        self.calls.forget(key);
        let gone = self.written.lock().remove(key);
        if let Some(uid) = gone.and_then(|adapter| adapter.metadata.uid.clone()) {
            self.expected.lock().forget(&uid);
        }
    }
}

/// A child as [`Expectations`] want to see it.
fn shown<'a, C: Send + Sync + 'static>(child: &'a Child<C>, name: &'a str) -> Seen<'a> {
    Seen { name, uid: child.uid(), version: child.version(), leaving: child.is_leaving() }
}

/// Where the adapters of a pod are managed.
fn endpoint_of(
    pod: &PodFacts,
    settings: &ModelAdapterSettings,
    token: &Result<Option<Token>, TokenError>,
) -> Result<Endpoint, String> {
    let token = token.clone().map_err(|error| error.to_string())?;
    let ip = pod.ip.ok_or("the pod has no IP address")?;
    let sidecar = settings.runtime_sidecar && pod.has_sidecar;
    let engine = Dialect::of_engine(pod.labels.get(ENGINE_LABEL).map(String::as_str));
    let (port, dialect) = if sidecar {
        (SIDECAR_PORT, Dialect::Sidecar)
    } else {
        (pod.engine_port().unwrap_or(DEFAULT_ENGINE_PORT), engine)
    };
    if settings.debug_mode {
        return Ok(Endpoint { host: "localhost".to_owned(), port: DEBUG_PORT, dialect, token });
    }
    let host = match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => ip.to_string(),
    };
    Ok(Endpoint { host, port, dialect, token })
}

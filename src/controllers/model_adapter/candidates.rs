// SPDX-License-Identifier: Apache-2.0
//! From the pods of a namespace to those that matter to one adapter, with what is known of it there. Pure.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    api::{
        keys::{
            DEFAULT_ENGINE_PORT, ENGINE_LABEL,
            model_adapter::{DEBUG_PORT, SIDECAR_PORT},
        },
        model::{ModelAdapter, ModelAdapterStatus},
    },
    engine::endpoint::{Dialect, Endpoint, Token, TokenError},
    k8s::pod_facts::PodFacts,
    validation::artifact_url::engine_path,
};
use kube_fenced_election::clock::Instant;
use kube_loops::runtime::reconciler::Key;

use super::{
    load_tracker::{Asked, LoadTracker},
    plan::{selector_of, stored_hash},
    reservations::Reservations,
    settings::ModelAdapterSettings,
    snapshot::PodSeen,
    source::token_of,
    state::State,
    status::{stored_choice, was_unlisted},
    triggers::is_usable,
};

/// The adapter that pods are looked for, and what is known of it.
#[derive(Clone, Copy)]
pub(super) struct AdapterContext<'a> {
    /// Its key.
    pub(super) key: &'a Key,
    /// The adapter.
    pub(super) adapter: &'a ModelAdapter,
    /// What is remembered of it.
    pub(super) state: &'a State,
    /// How pods are called.
    pub(super) settings: &'a ModelAdapterSettings,
}

/// Pods that an adapter has to do with, whether or not its selector matches them.
pub(super) struct Known {
    /// Their uids, as far as this term called them or does not want them any more.
    pub(super) uids: BTreeSet<Box<str>>,
    /// Their names, as far as the status has them.
    pub(super) names: BTreeSet<String>,
}

impl Known {
    /// Those of one adapter.
    pub(super) fn to(about: AdapterContext<'_>, tracker: &LoadTracker) -> Self {
        let AdapterContext { key, adapter, state, .. } = about;
        let uid = adapter.metadata.uid.as_deref().unwrap_or_default();
        let mut uids: BTreeSet<Box<str>> = tracker.affected(key, uid).into_iter().collect();
        uids.extend(state.unwanted.keys().chain(&state.unload_requested).cloned());
        let status = adapter.status.as_ref();
        let chosen = status.and_then(stored_choice).map(str::to_owned);
        let names = status.into_iter().flat_map(|status| status.instances.iter().cloned()).chain(chosen);
        Self { uids, names: names.collect() }
    }

    fn has(&self, facts: &PodFacts) -> bool {
        self.uids.contains(&facts.uid) || self.names.contains(&*facts.name)
    }
}

/// Pods that may host the adapter now, and others that host it or had to do with it; both by name.
/// `namespace_pods`: the pods of its namespace that it selects or [knows](Known), and possibly others.
pub(super) fn candidates(
    about: AdapterContext<'_>,
    namespace_pods: &[Arc<PodFacts>],
    tracker: &mut LoadTracker,
    now: Instant,
) -> (Vec<PodSeen>, Vec<PodSeen>) {
    let AdapterContext { key, adapter, settings, .. } = about;
    let selector = selector_of(adapter).ok();
    let uid = adapter.metadata.uid.as_deref().unwrap_or_default();
    let token = token_of(adapter);
    let known = Known::to(about, tracker);
    let none = ModelAdapterStatus::default();
    let status = adapter.status.as_ref().unwrap_or(&none);
    // Where something of ours is recorded, an earlier term has loaded it, from wherever the engine says.
    let is_new = stored_hash(adapter).is_none() || tracker.is_new(key, uid);
    let root = is_new.then(|| engine_path(&adapter.spec.artifact_url).ok()).flatten();
    let (mut pods, mut outside) = (Vec::new(), Vec::new());
    for facts in namespace_pods {
        let selected = selector.as_ref().is_some_and(|selector| selector.matches(&facts.labels));
        let usable = selected && is_usable(facts);
        if !usable && !known.has(facts) {
            continue;
        }
        let endpoint = endpoint_of(facts, settings, &token);
        let is_instance = status.instances.iter().any(|name| *name == *facts.name);
        let asked = Asked {
            key,
            uid,
            generation: adapter.metadata.generation,
            pod: &facts.uid,
            ready_since: facts.ready_since,
            endpoint: endpoint.as_ref().ok(),
            root: root.filter(|_| !is_instance),
            vouched: is_instance
                && facts.ready_since.is_some_and(|since| was_unlisted(status, &facts.name, since)),
        };
        let engine = tracker.seen(asked, now);
        let port = facts.engine_port().unwrap_or(DEFAULT_ENGINE_PORT);
        let facts = Arc::clone(facts);
        let seen = PodSeen { facts, selected, endpoint, port, models: 0, measured: None, engine };
        if usable { pods.push(seen) } else { outside.push(seen) }
    }
    tracker.retain(key, |pod| namespace_pods.iter().any(|facts| *facts.uid == *pod));
    pods.sort_by(|a, b| a.facts.name.cmp(&b.facts.name));
    outside.sort_by(|a, b| a.facts.name.cmp(&b.facts.name));
    (pods, outside)
}

/// Counts models of pods: base model, claims, other adapters by their status, and reservations under way.
/// `others`: the adapters of the namespace.
pub(super) fn count_models(
    key: &Key,
    pods: &mut [PodSeen],
    others: &[Arc<ModelAdapter>],
    reservations: &Reservations,
    now: Instant,
) {
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
    for other in others {
        let name = other.metadata.name.as_deref().unwrap_or_default();
        let instances = other.status.iter().flat_map(|status| &status.instances);
        instances.for_each(|pod| hosts(name, pod.as_str()));
    }
    reservations.assumed_in(&key.namespace, now).for_each(|(adapter, pod)| hosts(adapter, pod));
    let counts: HashMap<Box<str>, usize> =
        models.iter().map(|(pod, models)| (Box::from(*pod), models.len())).collect();
    for pod in pods {
        pod.models = counts.get(&pod.facts.name).copied().unwrap_or(0);
    }
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
        (SIDECAR_PORT, engine.behind_sidecar())
    } else {
        (pod.engine_port().unwrap_or(DEFAULT_ENGINE_PORT), engine)
    };
    if settings.debug_mode {
        return Ok(Endpoint { host: "localhost".to_owned(), port: DEBUG_PORT, dialect, token });
    }
    Ok(Endpoint { host: ip.to_string(), port, dialect, token })
}

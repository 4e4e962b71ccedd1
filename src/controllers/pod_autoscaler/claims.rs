// SPDX-License-Identifier: Apache-2.0
//! Who may drive which target: at most one PodAutoscaler for each.
//!
//! A claim is sticky: it is given up only when its holder goes, becomes invalid or wants another target.
//! A free target goes to the first in order of those who want it, not to the first whose pass happens to
//! run: no `MultiPodAutoscalerConflict` condition first, then the older one, then by name. So a restart
//! of the controller, or passes at the same time, end with the same holder.

use std::{collections::BTreeMap, sync::Arc};

use crate::api::autoscaling::PodAutoscaler;
use kube_fenced_election::clock::Timestamp;
use kube_loops::{
    k8s::{conditions, owner::group_of},
    runtime::reconciler::Key,
};

use super::{
    snapshot::{Claim, Scope, scope},
    status::CONFLICT,
    targets,
};

/// All claims of one term. Guard it with one lock: [`Claims::settle`] decides and reserves in one step.
#[derive(Debug, Default)]
pub(super) struct Claims {
    held: BTreeMap<Key, Wanted>,
    waiting: BTreeMap<Key, Wanted>,
}

/// A target that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// As messages name it.
    text: String,
    group: String,
    kind: String,
    namespace: String,
    name: String,
    /// A role of each copy of a StormService; `None`: the whole target.
    role: Option<String>,
}

/// Answer of [`Claims::settle`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settled {
    /// Whether the object may act.
    pub(super) claim: Claim,
    /// Objects that wait for a target which has become free: queue them.
    pub(super) wake: Vec<Key>,
}

impl Wanted {
    /// The target that `pa` asks for; `None` when its spec is invalid or it is being deleted.
    fn by(pa: &PodAutoscaler) -> Option<Self> {
        if matches!(scope(pa), Scope::Leaving | Scope::Invalid) {
            return None;
        }
        let target = &pa.spec.scale_target_ref;
        let namespace = pa.metadata.namespace.clone().unwrap_or_default();
        let mut text = format!("{}.{}/{namespace}/{}", target.api_version, target.kind, target.name);
        let is_service =
            target.api_version == "orchestration.aibrix.ai/v1alpha1" && target.kind == "StormService";
        if let Some(role) = targets::role_of(pa).filter(|_| is_service) {
            text = format!("{text}/{role}");
        }
        Some(Self {
            text,
            group: group_of(&target.api_version).to_owned(),
            kind: target.kind.clone(),
            namespace,
            name: target.name.clone(),
            role: targets::pooled_role(pa).map(str::to_owned),
        })
    }

    fn overlaps(&self, other: &Self) -> bool {
        let roles_meet = match (&self.role, &other.role) {
            (Some(one), Some(another)) => one == another,
            _ => true,
        };
        roles_meet
            && (&self.namespace, &self.name, &self.kind, &self.group)
                == (&other.namespace, &other.name, &other.kind, &other.group)
    }
}

impl Claims {
    /// Decides whether `pa` may act and reserves its target. `rivals`: all PodAutoscalers that may ask for the same
    /// target, and possibly others.
    pub(super) fn settle(&mut self, pa: &PodAutoscaler, rivals: &[Arc<PodAutoscaler>]) -> Settled {
        let key = key_of(pa);
        let Some(wanted) = Wanted::by(pa) else {
            return Settled { claim: Claim::Unwanted, wake: self.forget(&key) };
        };
        self.waiting.remove(&key);
        if self.held.get(&key) == Some(&wanted) {
            return Settled { claim: Claim::Held, wake: Vec::new() };
        }
        let freed = self.held.remove(&key);
        if self.holder_of(&wanted).is_none() {
            self.prefer_rivals(pa, &wanted, rivals);
        }
        let claim = if let Some(by) = self.holder_of(&wanted).cloned() {
            self.waiting.insert(key, wanted.clone());
            Claim::Taken { target: wanted.text, by }
        } else {
            self.held.insert(key, wanted);
            Claim::Held
        };
        let wake = freed.map(|freed| self.waiting_for(&freed)).unwrap_or_default();
        Settled { claim, wake }
    }

    /// Drops the claim of an object that is gone; answers who waits for its target.
    pub(super) fn forget(&mut self, key: &Key) -> Vec<Key> {
        self.waiting.remove(key);
        self.held.remove(key).map(|freed| self.waiting_for(&freed)).unwrap_or_default()
    }

    /// Gives the free target to whoever comes before `pa` in order and does not hold anything yet.
    fn prefer_rivals(&mut self, pa: &PodAutoscaler, wanted: &Wanted, all: &[Arc<PodAutoscaler>]) {
        let own_rank = rank(pa);
        let asks_for_it = |rival: &&Arc<PodAutoscaler>| {
            let target = &rival.spec.scale_target_ref;
            target.name == wanted.name
                && target.kind == wanted.kind
                && rival.metadata.namespace.as_deref().unwrap_or("") == wanted.namespace
        };
        let mut rivals: Vec<_> =
            all.iter().filter(asks_for_it).filter(|rival| rank(rival) < own_rank).collect();
        rivals.sort_by(|a, b| rank(a).cmp(&rank(b)));
        for rival in rivals {
            let key = key_of(rival);
            let Some(theirs) = Wanted::by(rival).filter(|theirs| theirs.overlaps(wanted)) else { continue };
            if !self.held.contains_key(&key) && self.holder_of(&theirs).is_none() {
                self.waiting.remove(&key);
                self.held.insert(key, theirs);
            }
        }
    }

    fn holder_of(&self, wanted: &Wanted) -> Option<&Key> {
        self.held.iter().find(|(_, held)| held.overlaps(wanted)).map(|(key, _)| key)
    }

    fn waiting_for(&self, freed: &Wanted) -> Vec<Key> {
        self.waiting.iter().filter(|(_, wanted)| wanted.overlaps(freed)).map(|(key, _)| key.clone()).collect()
    }
}

fn key_of(pa: &PodAutoscaler) -> Key {
    let namespace = pa.metadata.namespace.clone().unwrap_or_default();
    Key::new(namespace, pa.metadata.name.clone().unwrap_or_default())
}

/// The smaller one wins. An object without creation time (none that is stored) comes first.
fn rank(pa: &PodAutoscaler) -> (bool, Option<Timestamp>, &str) {
    let conditions = pa.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let lost_before = conditions::find(conditions, CONFLICT).is_some();
    let created = pa.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (lost_before, created, pa.metadata.name.as_deref().unwrap_or(""))
}

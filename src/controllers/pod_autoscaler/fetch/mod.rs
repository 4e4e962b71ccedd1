// SPDX-License-Identifier: Apache-2.0
//! Reads for a pass: stores, the few live reads, and the measurements that others took.
//!
//! In steady state a pass sends no request: all that it needs is in the stores and in the cache of metrics.

pub(super) mod live;
mod measure;
pub(super) mod own_writes;
pub(super) mod samples;
pub(super) mod stores;

#[cfg(test)]
mod fetch_tests;
#[cfg(test)]
mod live_tests;
#[cfg(test)]
mod measure_tests;
#[cfg(test)]
mod own_writes_tests;
#[cfg(test)]
mod stores_tests;

use std::sync::Arc;

use parking_lot::Mutex;

use crate::api::autoscaling::PodAutoscaler;
use kube_loops::{
    cluster::error::{Cause, ObjectRef, ReadError},
    k8s::owner::group_of,
    runtime::{
        children::{Child, Parent},
        own_objects::OwnObjects,
        reconciler::Key,
        requests::runner::Requests,
        watches::Stored as _,
    },
};

use self::{
    live::{Live, LiveError, TargetRead},
    own_writes::OwnWrites,
    samples::MetricsCache,
    stores::{BY_TARGET, Stores},
};
use super::{
    claims::Claims,
    hpa,
    snapshot::{Claim, HpaSeen, Samples, Scope, Snapshot, TargetSeen, scope},
    targets::{self, Form, Target},
};

/// What a term reads with, and what it has to know to read right.
pub(super) struct Reads {
    /// The PodAutoscalers.
    pub(super) own: OwnObjects<PodAutoscaler>,
    /// From memory.
    pub(super) stores: Stores,
    /// From the API server.
    pub(super) live: Live,
    /// Measurements.
    pub(super) metrics: Arc<Requests<MetricsCache>>,
    /// Who may drive which target.
    pub(super) claims: Mutex<Claims>,
    /// Own writes to targets that their stores do not show yet.
    pub(super) own_writes: Mutex<OwnWrites>,
}

/// An object whose claim is settled.
#[derive(Debug)]
pub(super) struct Admitted {
    /// The object.
    pub(super) pa: Arc<PodAutoscaler>,
    /// Whether it may act on its target.
    pub(super) claim: Claim,
}

impl Reads {
    /// Reads of a new term.
    pub(super) fn new(stores: Stores, live: Live, metrics: Arc<Requests<MetricsCache>>) -> Self {
        Self {
            own: OwnObjects::new(stores.autoscalers.clone()),
            stores,
            live,
            metrics,
            claims: Mutex::default(),
            own_writes: Mutex::default(),
        }
    }

    /// Settles the claim of an object. `None`: it is gone. The keys are those of others that wait for a
    /// target which has become free: queue them.
    pub(super) fn admit(&self, key: &Key) -> (Option<Admitted>, Vec<Key>) {
        let Some(pa) = self.own.get(key) else { return (None, self.claims.lock().forget(key)) };
        let target = &pa.spec.scale_target_ref.name;
        let rivals = self.stores.autoscalers.by_index_in(&key.namespace, &BY_TARGET, target);
        let settled = self.claims.lock().settle(&pa, &rivals);
        (Some(Admitted { pa, claim: settled.claim }), settled.wake)
    }

    /// The facts for one pass.
    pub(super) async fn observe(&self, key: &Key, admitted: Admitted) -> Snapshot {
        let Admitted { pa, claim } = admitted;
        let (hpa, caught_up) = self.hpa(&pa);
        let measures = scope(&pa) == Scope::Metrics && claim == Claim::Held;
        // Of an invalid one, too: its status counts what there is.
        let is_read = measures || (scope(&pa) == Scope::Invalid && names_target(&pa));
        let target = if is_read { Some(self.target(&pa, key).await) } else { None };
        let samples = match &target {
            Some(TargetSeen::Found(target)) if measures => self.samples(&pa, key, target),
            Some(TargetSeen::Found(_) | TargetSeen::Unreadable(_)) | None => Samples::default(),
        };
        Snapshot { pa, claim, hpa, target, samples, caught_up }
    }

    /// Drops what is known for an autoscaler that is gone.
    pub(super) fn forget(&self, key: &Key) {
        self.metrics.with(|metrics, _| metrics.forget(key));
        self.own.forget(key);
    }

    fn hpa(&self, pa: &PodAutoscaler) -> (HpaSeen, bool) {
        let parent = Parent::of(pa);
        let seen = match self.stores.hpas.named(parent, &hpa::name_for(pa)) {
            Child::Absent => HpaSeen::Absent,
            Child::Ours(hpa) | Child::Terminating(hpa) => HpaSeen::Ours(Box::new((*hpa).clone())),
            Child::Orphan(hpa) => HpaSeen::Orphan(Box::new((*hpa).clone())),
            Child::Foreign(_) => HpaSeen::Foreign,
        };
        (seen, self.stores.hpas.caught_up(parent))
    }

    async fn target(&self, pa: &PodAutoscaler, key: &Key) -> TargetSeen {
        match self.target_object(pa, key).await {
            Ok(TargetRead { resource, form, json, other_writer }) => {
                let target = targets::read_target(pa, resource, form, &json);
                TargetSeen::Found(Box::new(Target { other_writer, ..target }))
            }
            Err(error) => TargetSeen::Unreadable(error.to_string()),
        }
    }

    async fn target_object(&self, pa: &PodAutoscaler, key: &Key) -> Result<TargetRead, LiveError> {
        let wanted = &pa.spec.scale_target_ref;
        let group = group_of(&wanted.api_version);
        let watched = self.stores.targets_of(group, &wanted.kind).filter(|kind| kind.store.has_synced());
        let Some(kind) = watched else {
            let api_version = &wanted.api_version;
            return self.live.any_kind(api_version, &wanted.kind, &key.namespace, &wanted.name).await;
        };
        let plural = format!("{}.{}", kind.resource.plural, kind.resource.group);
        let found = kind.store.get(&key.namespace, &wanted.name).filter(|object| {
            self.own_writes.lock().shown(&plural, &key.namespace, &wanted.name, object.version())
        });
        if let Some(found) = found {
            let (resource, form) = (kind.resource.clone(), Form::Object);
            let (json, other_writer) = (found.whole(), found.other_writer.clone());
            return Ok(TargetRead { resource, form, json, other_writer });
        }
        let read = self.live.one(&kind.resource, &key.namespace, &wanted.name).await;
        if read.is_err() {
            self.own_writes.lock().forget(&plural, &key.namespace, &wanted.name);
        }
        Ok(TargetRead::live(kind.resource.clone(), Form::Object, read?))
    }

    fn samples(&self, pa: &PodAutoscaler, key: &Key, target: &Target) -> Samples {
        let (Ok(selection), Ok(_)) = (&target.pods, &target.replicas) else { return Samples::default() };
        let pods = self.stores.pods.select(&key.namespace, selection.selector());
        let wanted = measure::wanted_by(pa, selection, &pods);
        self.metrics.with(|metrics, now| metrics.ask(key, &measure::subject_of(pa), wanted, now))
    }
}

/// Whether the target is named, and in the namespace of the object.
fn names_target(pa: &PodAutoscaler) -> bool {
    let target = &pa.spec.scale_target_ref;
    let home = pa.metadata.namespace.as_deref().unwrap_or_default();
    let at_home = target.namespace.is_empty() || target.namespace == home;
    at_home && !target.name.is_empty() && !target.kind.is_empty()
}

/// What the API server said to a failed read, for statuses and events: stable, without what was asked.
fn said(error: &kube::Error) -> String {
    match ReadError::new(
        ObjectRef { kind: String::new(), namespace: String::new(), name: String::new() },
        error,
    )
    .cause
    {
        Cause::Answer { message, .. } => message,
        cause @ (Cause::Timeout(_) | Cause::Transport(_)) => cause.to_string(),
    }
}

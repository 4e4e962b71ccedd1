// SPDX-License-Identifier: Apache-2.0
//! A pass of a PodSet in the cluster in memory.

use std::{collections::BTreeSet, sync::Arc};

use kube_loops::runtime::children::Child;
use serde_json::{Value, json};

use crate::{api::orchestration::PodSet, k8s::pod_facts::PodFacts};

use super::{
    super::world::Change,
    plan::{Plan, Step, plan, stamp, status_after},
    snapshot::{Member, Snapshot},
};

/// What a pass does and stores.
pub(in crate::controllers::storm_service) struct Outcome {
    pub(in crate::controllers::storm_service) steps: Vec<Change>,
    pub(in crate::controllers::storm_service) status: Value,
    pub(in crate::controllers::storm_service) finalized: bool,
    pub(in crate::controllers::storm_service) told: Vec<String>,
}

/// One pass. Everything is known.
pub(in crate::controllers::storm_service) fn pass(set: &Arc<PodSet>, pods: Vec<Child<PodFacts>>) -> Outcome {
    let seen = Snapshot {
        pod_set: Arc::clone(set),
        members: pods.into_iter().filter_map(Member::of).collect(),
        adoptable: Vec::new(),
        taken: Vec::new(),
        caught_up: true,
        groups: Vec::new(),
    };
    let Plan { steps, events, warnings, finalized, .. } = plan(&seen);
    let (mut deleted, mut created, mut changes) = (BTreeSet::new(), 0, Vec::new());
    for step in steps {
        match step {
            Step::Delete(pod) => {
                deleted.insert(pod.name.clone());
                changes.push(Change::DeletePod(pod));
            }
            Step::Create(_, pod) => {
                created += 1;
                changes.push(Change::CreatePod(pod));
            }
            Step::Stamp(pod, digest) => changes.push(Change::PatchPod(pod, stamp(&digest))),
            Step::OpenGate(pod) => changes.push(Change::SetGate(pod, true)),
            Step::Adopt(_) => {}
        }
    }
    let texts = events.into_iter().chain(warnings);
    Outcome {
        steps: changes,
        status: json!(status_after(&seen, &deleted, created)),
        finalized,
        told: texts.map(|event| format!("{}: {}", event.reason, event.message)).collect(),
    }
}

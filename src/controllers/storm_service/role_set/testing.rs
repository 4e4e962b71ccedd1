// SPDX-License-Identifier: Apache-2.0
//! A pass of a RoleSet in the cluster in memory.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    super::world::{Change, World},
    fetch::spec_written,
    member::Member,
    plan::plan,
    snapshot::{Live, Snapshot},
    status::status_with,
    steps::{InPlace, Plan, Step},
};

/// What a pass does, tells and stores.
pub(in crate::controllers::storm_service) struct Outcome {
    pub(in crate::controllers::storm_service) steps: Vec<Change>,
    pub(in crate::controllers::storm_service) told: Vec<String>,
    pub(in crate::controllers::storm_service) status: Option<Value>,
}

/// What a pass sees. Everything is known, and live reads show the stores.
pub(super) fn seen(world: &World, draw: u64) -> Snapshot {
    let pods = world.pods_of("role-set").into_iter().filter_map(Member::of_pod);
    let sets = world.sets_of().into_iter().filter_map(Member::of_set);
    let objects = world.pods.values().chain(world.sets.values());
    let uid = |it: &Value| it["metadata"]["uid"].as_str().unwrap_or("").to_owned();
    let live = Live {
        members: objects.map(|it| (uid(it), it.clone())).collect(),
        spec_written: spec_written(&world.role_set().metadata),
    };
    Snapshot {
        members: pods.chain(sets).collect(),
        grouped: world.grouped(),
        orphan_pods: Vec::new(),
        orphan_sets: Vec::new(),
        taken: BTreeSet::new(),
        refused: BTreeSet::new(),
        caught_up: true,
        live: Some(live),
        groups: Vec::new(),
        draw,
        role_set: world.role_set(),
    }
}

/// One pass.
pub(in crate::controllers::storm_service) fn pass(world: &World, draw: u64) -> Outcome {
    pass_of(&seen(world, draw), world)
}

/// One pass that sees this.
pub(super) fn pass_of(seen: &Snapshot, world: &World) -> Outcome {
    let Plan { steps, roles, notices, errors, .. } = plan(seen);
    let mut told: Vec<String> = notices
        .into_iter()
        .map(|notice| format!("{}: {}", notice.text.reason, notice.text.message))
        .collect();
    let mut changes = Vec::new();
    for step in steps {
        match step {
            Step::CreatePod(pod) => changes.push(Change::CreatePod(pod)),
            Step::CreateSet(set) => changes.push(Change::CreateSet(set)),
            Step::DeletePod(pod) => changes.push(Change::DeletePod(pod)),
            Step::DeleteSet(set) => changes.push(Change::DeleteSet(set)),
            Step::PatchPod(pod, patch) => changes.push(Change::PatchPod(pod, patch)),
            Step::PatchSet(set, patch) => changes.push(Change::PatchSet(set, patch)),
            Step::PatchSelf(patch) => changes.push(Change::PatchSelf(patch)),
            Step::UpdateInPlace(InPlace { pod, gated, patch, event }) => {
                told.push(format!("{}: {}", event.reason, event.message));
                changes.extend(gated.then(|| Change::SetGate(pod.clone(), false)));
                changes.push(Change::SetImages(pod, patch));
            }
            Step::Complete { pod, gated, patch, event } => {
                told.push(format!("{}: {}", event.reason, event.message));
                changes.extend(gated.then(|| Change::SetGate(pod.clone(), true)));
                changes.push(Change::PatchPod(pod, patch));
            }
            Step::OpenGate(pod) => changes.push(Change::SetGate(pod, true)),
            Step::AdoptPod(_) | Step::AdoptSet(_) => {}
        }
    }
    let status = roles.map(|roles| json!(status_with(&seen.role_set, roles, &errors, world.now())));
    Outcome { steps: changes, told, status }
}

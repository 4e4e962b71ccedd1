// SPDX-License-Identifier: Apache-2.0
//! Carries out the steps of a plan. What fails keeps nothing else back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::FutureExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{ResourceExt, core::DynamicObject};
use kube_fenced_election::clock::Timestamp;
use kube_loops::{
    cluster::{
        error::WriteError,
        events::EventText,
        finalizers,
        writer::{Change, Deletion, Guard, Target, Writer},
    },
    rollout::controller_ref::{adoption_patch, controller_reference},
    runtime::{
        children::{ChildRef, Parent},
        steps::{StepOutcome, StepReport},
    },
};
use serde_json::{Value, json};

use crate::api::{
    keys::{ROLE_NAME_LABEL, storm_service::ROLE_SET_FINALIZER},
    orchestration::{API_VERSION, RoleSet},
};

use super::{
    super::{apply::set_gate, batches},
    KIND,
    fetch::{ROLE_SET, Reads},
    snapshot::Snapshot,
    steps::{InPlace, Plan, Step},
};

/// How the steps went.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Outcomes, and the error that is retried first.
    pub(super) steps: StepReport,
    /// How many of the outcomes are about `PodGroups`: they come first.
    groups: usize,
    /// What has happened.
    pub(super) events: Vec<EventText>,
    /// Names that something else has.
    pub(super) taken: BTreeSet<String>,
    /// Names of roles of which a replica could not be made.
    pub(super) refused: BTreeSet<String>,
    /// The RoleSet as a write of its metadata left it.
    pub(super) role_set: Option<Arc<RoleSet>>,
    /// The finalizer is gone.
    pub(super) released: bool,
}

impl Report {
    /// What went wrong, in the words of the condition.
    pub(super) fn errors(&self) -> Vec<String> {
        let failed = self.steps.outcomes.iter().enumerate().filter_map(|(place, outcome)| match outcome {
            StepOutcome::Failed(why) if place < self.groups => Some(format!("sync pod group error {why}")),
            StepOutcome::Failed(why) => Some(format!("sync pod error {why}")),
            StepOutcome::Done | StepOutcome::Overtaken | StepOutcome::InVain => None,
        });
        let mut seen = BTreeSet::new();
        failed.filter(|error| seen.insert(error.clone())).collect()
    }

    /// Notes how a creation ended. Names of replicas are left out of what is told: of those without an index they are
    /// other ones in each attempt, and the replicas of a role are refused for the same reason.
    fn note_created<A>(
        &mut self,
        attempt: &'static str,
        object: &DynamicObject,
        answer: Result<A, WriteError>,
    ) {
        let name = object.name_any();
        match &answer {
            Err(WriteError::AlreadyExists { .. }) => drop(self.taken.insert(name.clone())),
            // Everything here goes, and the RoleSet with it.
            Err(WriteError::NotFound { message, .. }) if message.contains("being terminated") => {
                self.steps.outcomes.push(StepOutcome::Overtaken);
                return;
            }
            Err(error) if error.is_news() => drop(self.refused.insert(role_of(object.labels()).to_owned())),
            Ok(_) | Err(_) => {}
        }
        self.steps.note(attempt, answer);
        if let (Some(StepOutcome::Failed(why)), Some((stem, _))) =
            (self.steps.outcomes.last_mut(), name.rsplit_once('-'))
        {
            *why = why.replace(&name, &format!("{stem}-"));
        }
    }
}

fn role_of(labels: &BTreeMap<String, String>) -> &str {
    labels.get(ROLE_NAME_LABEL).map_or("", String::as_str)
}

impl Reads {
    /// Makes the changes.
    pub(super) async fn apply(
        &self,
        writer: &Writer,
        seen: &Snapshot,
        plan: &Plan,
        report: &mut Report,
        now: Timestamp,
    ) {
        let parent = Parent::of(&*seen.role_set);
        self.groups.apply(writer, parent, &plan.groups.steps, &mut report.steps).await;
        report.groups = report.steps.outcomes.len();
        for step in &plan.steps {
            self.one(writer, seen, step, report, now).await;
        }
        self.create(writer, parent, plan, report).await;
        self.delete(writer, seen, plan, report).await;
        if plan.finalized && report.steps.error.is_none() {
            let target = target(&seen.role_set);
            let released =
                finalizers::remove(writer, &target, &seen.role_set.metadata, ROLE_SET_FINALIZER).await;
            report.released = report.steps.note("remove the finalizer of the RoleSet", released);
        }
    }

    /// Everything but creations and deletions.
    async fn one(&self, writer: &Writer, seen: &Snapshot, step: &Step, report: &mut Report, now: Timestamp) {
        let parent = Parent::of(&*seen.role_set);
        match step {
            Step::AdoptPod(pod) => {
                let adopted = self.pods.patch(writer, parent, pod, adoption(seen, pod)).await;
                report.steps.note("adopt the pod", adopted);
            }
            Step::AdoptSet(set) => {
                let adopted = self.sets.patch(writer, parent, set, adoption(seen, set)).await;
                report.steps.note("adopt the PodSet", adopted);
            }
            Step::PatchPod(pod, patch) => {
                let patched = self.pods.patch(writer, parent, pod, Change::Merge(patch.clone())).await;
                report.steps.note("patch the pod", patched);
            }
            Step::PatchSet(set, patch) => {
                let patched = self.sets.patch(writer, parent, set, Change::Merge(patch.clone())).await;
                report.steps.note("patch the PodSet", patched);
            }
            Step::PatchSelf(patch) => self.patch_self(writer, seen, patch, report).await,
            Step::OpenGate(pod) => {
                let opened = set_gate(writer, pod, "True", &[], now).await;
                report.steps.note("open the readiness gate of the pod", opened);
            }
            Step::UpdateInPlace(update) => {
                let updated = self.update_in_place(writer, parent, update, now).await;
                if report.steps.note("give the pod new images", updated) {
                    report.events.push(update.event.clone());
                }
            }
            Step::Complete { pod, gated, patch, event } => {
                let completed = self.complete(writer, parent, (pod, *gated, patch), now).await;
                if report.steps.note("complete the update of the pod", completed) {
                    report.events.push(event.clone());
                }
            }
            Step::CreatePod(_) | Step::CreateSet(_) | Step::DeletePod(_) | Step::DeleteSet(_) => {}
        }
    }

    async fn patch_self(&self, writer: &Writer, seen: &Snapshot, patch: &Value, report: &mut Report) {
        let version = seen.role_set.metadata.resource_version.as_deref().unwrap_or_default();
        let guard = Guard { uid: seen.role_set.metadata.uid.as_deref(), version };
        let patched = writer
            .patch_as::<RoleSet>(&target(&seen.role_set), "", Change::Merge(patch.clone()), guard)
            .await
            .map(|role_set| report.role_set = Some(self.own.wrote(role_set)));
        report.steps.note("patch the RoleSet", patched);
    }

    /// The gate is closed first, so that nothing sends requests to a container that is about to end.
    async fn update_in_place(
        &self,
        writer: &Writer,
        parent: Parent<'_>,
        update: &InPlace,
        now: Timestamp,
    ) -> Result<(), WriteError> {
        let mut pod = update.pod.clone();
        if update.gated {
            let ready = json!({"type": "Ready", "status": "False", "lastTransitionTime": now.to_string()});
            pod.version = set_gate(writer, &pod, "False", &[ready], now).await?;
        }
        self.pods.patch(writer, parent, &pod, Change::Strategic(update.patch.clone())).await.map(drop)
    }

    async fn complete(
        &self,
        writer: &Writer,
        parent: Parent<'_>,
        (pod, gated, patch): (&ChildRef, bool, &Value),
        now: Timestamp,
    ) -> Result<(), WriteError> {
        let mut pod = pod.clone();
        if gated {
            pod.version = set_gate(writer, &pod, "True", &[], now).await?;
        }
        self.pods.patch(writer, parent, &pod, Change::Merge(patch.clone())).await.map(drop)
    }

    async fn create(&self, writer: &Writer, parent: Parent<'_>, plan: &Plan, report: &mut Report) {
        let objects = |wanted: fn(&Step) -> Option<&Value>| {
            let objects = plan.steps.iter().filter_map(wanted);
            objects.filter_map(|it| serde_json::from_value(it.clone()).ok()).collect::<Vec<DynamicObject>>()
        };
        let pods = objects(|step| if let Step::CreatePod(pod) = step { Some(pod) } else { None });
        for pods in pods.chunk_by(of_one_role) {
            let creations = pods.iter().map(|pod| self.pods.create(writer, parent, pod).boxed()).collect();
            let answers = batches::in_batches(creations, batches::PODS).await;
            for (pod, answer) in pods.iter().zip(answers) {
                report.note_created("create the pod", pod, answer);
            }
        }
        let sets = objects(|step| if let Step::CreateSet(set) = step { Some(set) } else { None });
        for sets in sets.chunk_by(of_one_role) {
            let creations = sets.iter().map(|set| self.sets.create(writer, parent, set).boxed()).collect();
            let answers = batches::in_batches(creations, batches::PODS).await;
            for (set, answer) in sets.iter().zip(answers) {
                report.note_created("create the PodSet", set, answer);
            }
        }
    }

    async fn delete(&self, writer: &Writer, seen: &Snapshot, plan: &Plan, report: &mut Report) {
        let parent = Parent::of(&*seen.role_set);
        let roles: BTreeMap<&str, &str> =
            seen.members.iter().map(|member| (member.uid(), member.role())).collect();
        let mut deletions: BTreeMap<Option<&&str>, Vec<_>> = BTreeMap::new();
        for step in &plan.steps {
            let (doomed, deletion) = if let Step::DeletePod(pod) = step {
                (pod, self.pods.delete(writer, parent, pod, Deletion::default()).boxed())
            } else if let Step::DeleteSet(set) = step {
                (set, self.sets.delete(writer, parent, set, Deletion::default()).boxed())
            } else {
                continue;
            };
            deletions.entry(roles.get(doomed.uid.as_str())).or_default().push(deletion);
        }
        for of_role in deletions.into_values() {
            for answer in batches::in_batches(of_role, batches::PODS).await {
                report.steps.note("delete the replica", answer);
            }
        }
    }
}

/// Batches are those of one role: what one cannot do keeps no other one back.
fn of_one_role(one: &DynamicObject, other: &DynamicObject) -> bool {
    role_of(one.labels()) == role_of(other.labels())
}

/// The patch that makes an object ours.
fn adoption(seen: &Snapshot, object: &ChildRef) -> Change {
    let uid = seen.role_set.metadata.uid.as_deref().unwrap_or_default();
    let owner = controller_reference(API_VERSION, KIND, &seen.role_set.name_any(), uid);
    let meta = ObjectMeta {
        uid: Some(object.uid.clone()),
        resource_version: Some(object.version.clone()),
        ..ObjectMeta::default()
    };
    Change::Merge(adoption_patch(&meta, &owner))
}

/// The RoleSet, for a write.
pub(super) fn target(role_set: &RoleSet) -> Target {
    Target { resource: ROLE_SET.resource(), namespace: role_set.namespace(), name: role_set.name_any() }
}

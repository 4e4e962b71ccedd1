// SPDX-License-Identifier: Apache-2.0
//! Carries out the steps of a plan.

use futures::FutureExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt, core::DynamicObject};
use kube_loops::{
    cluster::{
        error::WriteError,
        events::EventText,
        finalizers,
        writer::{Change, Deletion, Target, Writer},
    },
    runtime::{
        children::{Child, Parent},
        steps::StepReport,
    },
};
use serde_json::json;

use crate::api::{keys::storm_service::FINALIZER, orchestration::StormService};

use super::{
    super::batches,
    fetch::{Reads, STORM_SERVICE},
    snapshot::Snapshot,
    steps::{Plan, Step},
};

/// How the steps went.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Outcomes, and the error that is retried first.
    pub(super) steps: StepReport,
    /// Why RoleSets could not be made, moved or deleted.
    pub(super) failure: Option<String>,
    /// What has happened.
    pub(super) events: Vec<EventText>,
    /// The collision count to go on with.
    pub(super) collisions: Option<u32>,
    /// The finalizer is gone.
    pub(super) released: bool,
}

impl Reads {
    /// Makes the changes.
    pub(super) async fn apply(&self, writer: &Writer, seen: &Snapshot, plan: &Plan, report: &mut Report) {
        let parent = Parent::of(&*seen.service);
        for step in &plan.steps {
            self.one(writer, parent, step, report).await;
        }
        self.change_sets(writer, parent, plan, report).await;
        if plan.finalized && report.steps.error.is_none() {
            let target = target(&seen.service);
            let released = finalizers::remove(writer, &target, &seen.service.metadata, FINALIZER).await;
            report.released = report.steps.note("remove the finalizer of the StormService", released);
        }
    }

    /// Everything but changes of RoleSets.
    async fn one(&self, writer: &Writer, parent: Parent<'_>, step: &Step, report: &mut Report) {
        match step {
            Step::Record(revision) => {
                let recorded = self.revisions.create(writer, parent, &**revision).await;
                report.collisions = match &recorded {
                    Ok(_) => Some(revision.collisions),
                    Err(WriteError::AlreadyExists { object }) => {
                        // One of ours that is not shown yet is found by what it records.
                        match self.revisions.named(parent, &object.name) {
                            Child::Absent | Child::Ours(_) => None,
                            Child::Terminating(_) | Child::Orphan(_) | Child::Foreign(_) => {
                                Some(revision.next_collisions)
                            }
                        }
                    }
                    Err(_) => None,
                };
                report.steps.note("record the template", recorded);
            }
            Step::Renumber(revision, number) => {
                let patch = Change::Merge(json!({"revision": number}));
                let renumbered = self.revisions.patch(writer, parent, revision, patch).await;
                report.steps.note("number the recorded template anew", renumbered);
            }
            Step::Forget(revision) => {
                let gone = self.revisions.delete(writer, parent, revision, Deletion::background()).await;
                report.steps.note("delete the recorded template", gone);
            }
            Step::CreateHeadless(service, event) => {
                let Ok(service) = serde_json::from_value::<DynamicObject>(service.clone()) else { return };
                let created = self.headless.create(writer, parent, &service).await;
                if report.steps.note("create the headless Service", created) {
                    report.events.push(event.clone());
                }
            }
            Step::PatchHeadless(service, patch, event) => {
                let patched =
                    self.headless.patch(writer, parent, service, Change::Merge(patch.clone())).await;
                if report.steps.note("patch the headless Service", patched) {
                    report.events.push(event.clone());
                }
            }
            Step::DeleteHeadless(service) => {
                let gone = self.headless.delete(writer, parent, service, Deletion::background()).await;
                report.steps.note("delete the headless Service", gone);
            }
            Step::Create(_) | Step::Move(..) | Step::Delete(_) => {}
        }
    }

    /// RoleSets, side by side in batches that grow.
    async fn change_sets(&self, writer: &Writer, parent: Parent<'_>, plan: &Plan, report: &mut Report) {
        let objects: Vec<DynamicObject> = plan
            .steps
            .iter()
            .filter_map(|step| if let Step::Create(set) = step { Some(set) } else { None })
            .filter_map(|set| serde_json::from_value(set.clone()).ok())
            .collect();
        let creations =
            objects.iter().map(|it| self.sets.create(writer, parent, it).map(|it| it.map(drop)).boxed());
        let created = batches::in_batches(creations.collect(), batches::ROLE_SETS).await;
        let moved = plan.steps.iter().filter_map(|step| {
            let Step::Move(set, patch) = step else { return None };
            let patched = self.sets.patch(writer, parent, set, Change::Merge(patch.clone()));
            Some(patched.map(|it| it.map(drop)).boxed())
        });
        let moved = batches::in_batches(moved.collect(), batches::ROLE_SETS).await;
        let deleted = plan.steps.iter().filter_map(|step| {
            let Step::Delete(set) = step else { return None };
            Some(self.sets.delete(writer, parent, set, Deletion::background()).boxed())
        });
        let deleted = batches::in_batches(deleted.collect(), batches::ROLE_SETS).await;
        for (answer, set) in created.into_iter().zip(&objects) {
            report.changed("create the RoleSet", answer, set.meta());
        }
        let none = ObjectMeta::default();
        for (attempt, answers) in [("edit the RoleSet", moved), ("delete the RoleSet", deleted)] {
            for answer in answers {
                report.changed(attempt, answer, &none);
            }
        }
    }
}

impl Report {
    /// Notes how a change of a RoleSet went. The first failure is told without the name that was drawn for a new
    /// RoleSet, which is another one at the next attempt.
    pub(super) fn changed(
        &mut self,
        attempt: &'static str,
        answer: Result<(), WriteError>,
        drawn: &ObjectMeta,
    ) {
        if let Err(error) = &answer
            && error.is_news()
            && self.failure.is_none()
        {
            let text = error.to_string();
            self.failure = Some(match (&drawn.name, &drawn.generate_name) {
                (Some(name), Some(prefix)) => text.replace(name, &format!("{prefix}*")),
                _ => text,
            });
        }
        self.steps.note(attempt, answer);
    }
}

/// The StormService, for a write.
pub(super) fn target(service: &StormService) -> Target {
    Target { resource: STORM_SERVICE.resource(), namespace: service.namespace(), name: service.name_any() }
}

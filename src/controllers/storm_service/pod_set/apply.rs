// SPDX-License-Identifier: Apache-2.0
//! Carries out the steps of a plan.

use std::collections::BTreeSet;

use futures::FutureExt;
use kube::ResourceExt;
use kube::core::DynamicObject;
use kube_fenced_election::clock::Timestamp;
use kube_loops::{
    cluster::{
        error::WriteError,
        finalizers,
        writer::{Change, Deletion, Target, Writer},
    },
    rollout::controller_ref::{adoption_patch, controller_reference},
    runtime::{
        children::{ChildRef, Parent},
        steps::StepReport,
    },
};

use crate::api::{
    keys::storm_service::POD_SET_FINALIZER,
    orchestration::{API_VERSION, PodSet},
};

use super::{
    super::{apply::set_gate, batches},
    KIND,
    fetch::Reads,
    plan::{Plan, Step, stamp},
    resource,
    snapshot::Snapshot,
};

/// How the steps went.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Errors.
    pub(super) steps: StepReport,
    /// Names of pods that were deleted.
    pub(super) deleted: BTreeSet<String>,
    /// How many pods were made.
    pub(super) created: usize,
    /// The `PodSet` may go, and our finalizer is gone.
    pub(super) released: bool,
}

impl Reads {
    /// Makes the changes. What fails keeps nothing else back.
    pub(super) async fn apply(
        &self,
        writer: &Writer,
        seen: &Snapshot,
        plan: &Plan,
        report: &mut Report,
        now: Timestamp,
    ) {
        let parent = Parent::of(&*seen.pod_set);
        self.groups.apply(writer, parent, &plan.groups.steps, &mut report.steps).await;
        for step in &plan.steps {
            match step {
                Step::Adopt(pod) => {
                    let adopted = self.adopt(writer, &seen.pod_set, pod, seen).await;
                    report.steps.note("adopt the pod", adopted);
                }
                Step::Stamp(pod, digest) => {
                    let stamped = self.pods.patch(writer, parent, pod, Change::Merge(stamp(digest))).await;
                    report.steps.note("note the template of the pod", stamped);
                }
                Step::OpenGate(pod) => {
                    let opened = set_gate(writer, pod, "True", &[], now).await;
                    report.steps.note("open the readiness gate of the pod", opened);
                }
                Step::Delete(_) | Step::Create(..) => {}
            }
        }
        self.delete(writer, parent, plan, report).await;
        self.create(writer, parent, plan, report).await;
        if plan.finalized && report.steps.error.is_none() {
            let target = target(&seen.pod_set);
            let released =
                finalizers::remove(writer, &target, &seen.pod_set.metadata, POD_SET_FINALIZER).await;
            report.released = report.steps.note("remove the finalizer of the PodSet", released);
        }
    }

    async fn adopt(
        &self,
        writer: &Writer,
        pod_set: &PodSet,
        pod: &ChildRef,
        seen: &Snapshot,
    ) -> Result<(), WriteError> {
        let owner = controller_reference(
            API_VERSION,
            KIND,
            &pod_set.name_any(),
            pod_set.metadata.uid.as_deref().unwrap_or_default(),
        );
        let meta = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
            uid: Some(pod.uid.clone()),
            resource_version: Some(pod.version.clone()),
            ..Default::default()
        };
        let patch = Change::Merge(adoption_patch(&meta, &owner));
        self.pods.patch(writer, Parent::of(&*seen.pod_set), pod, patch).await.map(drop)
    }

    async fn delete(&self, writer: &Writer, parent: Parent<'_>, plan: &Plan, report: &mut Report) {
        let doomed: Vec<&ChildRef> = plan
            .steps
            .iter()
            .filter_map(|step| if let Step::Delete(pod) = step { Some(pod) } else { None })
            .collect();
        let deletions =
            doomed.iter().map(|pod| self.pods.delete(writer, parent, pod, Deletion::default()).boxed());
        let answers = batches::in_batches(deletions.collect(), batches::PODS).await;
        for (pod, answer) in doomed.iter().zip(answers) {
            if report.steps.note("delete the pod", answer) {
                report.deleted.insert(pod.name.clone());
            }
        }
    }

    async fn create(&self, writer: &Writer, parent: Parent<'_>, plan: &Plan, report: &mut Report) {
        let wanted = plan.steps.iter().filter_map(|step| {
            let Step::Create(_, pod) = step else { return None };
            serde_json::from_value::<DynamicObject>(pod.clone()).ok()
        });
        let wanted: Vec<DynamicObject> = wanted.collect();
        let creations = wanted.iter().map(|pod| self.pods.create(writer, parent, pod).boxed());
        for answer in batches::in_batches(creations.collect(), batches::PODS).await {
            report.created += usize::from(report.steps.note("create the pod", answer));
        }
    }
}

/// The `PodSet`, for a write.
pub(super) fn target(pod_set: &PodSet) -> Target {
    Target { resource: resource(), namespace: pod_set.namespace(), name: pod_set.name_any() }
}

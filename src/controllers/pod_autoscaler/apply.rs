// SPDX-License-Identifier: Apache-2.0
//! Carries out the steps of a plan. Every step is tried: a generated HorizontalPodAutoscaler that cannot
//! be deleted must not keep the target from being scaled.

use std::sync::Arc;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::core::DynamicObject;
use tracing::info;

use crate::api::autoscaling::PodAutoscaler;
use kube_loops::{
    cluster::{
        error::{ObjectRef, WriteError},
        writer::{Change, Deletion, Target, Writer},
    },
    runtime::{children::Parent, steps::StepReport, watches::Stored as _},
};

use super::{
    fetch::Reads,
    steps::Step,
    targets::{Found, ScaleTarget, ScaleWrite, as_count},
};

/// How often a role is looked for again after its place in the list has changed under the patch.
const RELOCATIONS: usize = 5;

/// What a term knows of its writes.
pub(super) struct Writes {
    reads: Arc<Reads>,
}

impl Writes {
    /// Tells `reads` what its stores will show.
    pub(super) fn new(reads: Arc<Reads>) -> Self {
        Self { reads }
    }

    /// Tries every step for `pa`.
    pub(super) async fn apply(
        &self,
        writer: &Writer,
        pa: &PodAutoscaler,
        steps: &[Step],
        report: &mut StepReport,
    ) {
        let (hpas, parent) = (&self.reads.stores.hpas, Parent::of(pa));
        for step in steps {
            let (attempt, result) = match step {
                Step::CreateHpa(hpa) => {
                    let created = hpas.create(writer, parent, &**hpa).await;
                    ("create the HorizontalPodAutoscaler", created.map(drop))
                }
                Step::PatchHpa { child, patch, .. } => {
                    let patched = hpas.patch(writer, parent, child, Change::Merge(patch.clone())).await;
                    let is_same = |hpa: &HorizontalPodAutoscaler| hpa.version() == child.version;
                    if patched.as_deref().is_ok_and(is_same) {
                        report.note_in_vain();
                        continue;
                    }
                    ("patch the HorizontalPodAutoscaler", patched.map(drop))
                }
                Step::DeleteHpa { child } => {
                    let deleted = hpas.delete(writer, parent, child, Deletion::background()).await;
                    ("delete the HorizontalPodAutoscaler", deleted)
                }
                Step::Scale { target, write, found, to, .. } => {
                    let scaled = self.scale(writer, target, write.clone(), found, *to).await;
                    if matches!(scaled, Ok(false)) {
                        report.note_in_vain();
                        continue;
                    }
                    ("scale the target", scaled.map(drop))
                }
            };
            report.note(attempt, result);
        }
    }

    /// Whether the target has the new size then: admission may have changed what was written.
    async fn scale(
        &self,
        writer: &Writer,
        scaled: &ScaleTarget,
        mut write: ScaleWrite,
        found: &Found,
        to: i32,
    ) -> Result<bool, WriteError> {
        let ScaleTarget { resource, namespace, name } = scaled;
        let (resource, name) = (resource.clone(), name.clone());
        let target = Target { resource, namespace: Some(namespace.clone()), name };
        let mut tries = 0..RELOCATIONS;
        loop {
            let written: Result<DynamicObject, _> = match serde_json::from_value(write.patch(found, to)) {
                Ok(patch) if write == ScaleWrite::Scale => writer.json_patch_scale(&target, patch).await,
                Ok(patch) => writer.json_patch(&target, patch).await,
                Err(error) => Err(unreadable(scaled, &error)),
            };
            match written {
                Ok(object) => {
                    let version = object.metadata.resource_version.as_deref().unwrap_or_default();
                    self.reads.own_writes.lock().wrote(scaled, version);
                    let stored = object.data.pointer(&write.place()).and_then(as_count);
                    if (!version.is_empty() && version == found.version)
                        || stored.is_some_and(|it| it != write.share_of(to))
                    {
                        return Ok(false);
                    }
                    info!(child_kind = target.resource.kind, child = target.name, replicas = to, "scaled");
                    return Ok(true);
                }
                Err(error @ WriteError::Conflict { .. })
                    if matches!(write, ScaleWrite::Role { .. }) && tries.next().is_some() =>
                {
                    write = self.relocated(scaled, &write, error).await?;
                }
                Err(error @ WriteError::Forbidden { .. }) if write == ScaleWrite::Scale => {
                    let is_usual = self.reads.live.counts_in_spec(
                        &target.resource,
                        namespace,
                        &target.name,
                        found.count,
                    );
                    if !is_usual.await {
                        return Err(error);
                    }
                    self.reads.live.forbid_scale(&target.resource);
                    write = ScaleWrite::Replicas;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Where the replicas stand now. Read live: the store showed the place that has turned out wrong.
    async fn relocated(
        &self,
        target: &ScaleTarget,
        write: &ScaleWrite,
        error: WriteError,
    ) -> Result<ScaleWrite, WriteError> {
        let object = self.reads.live.one(&target.resource, &target.namespace, &target.name).await;
        let Ok(object) = object else { return Err(error) };
        match write.relocated(&object) {
            Ok(moved) if moved != *write => Ok(moved),
            // It is where the test did not find it: something else was wrong.
            Ok(_) | Err(_) => Err(error),
        }
    }
}

/// A plan's patch is a constant shape with a number in it; that it is no patch would be a defect.
fn unreadable(scaled: &ScaleTarget, error: &serde_json::Error) -> WriteError {
    debug_assert!(false, "{error}");
    let (kind, namespace) = (scaled.resource.kind.clone(), scaled.namespace.clone());
    let object = ObjectRef { kind, namespace, name: scaled.name.clone() };
    WriteError::Invalid { object, message: error.to_string() }
}

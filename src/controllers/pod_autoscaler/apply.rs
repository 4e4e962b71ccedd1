// SPDX-License-Identifier: Apache-2.0
//! Carries out the steps of a plan. Every step is tried: a generated HorizontalPodAutoscaler that cannot
//! be deleted must not keep the target from being scaled.

use std::sync::Arc;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::core::ApiResource;
use serde_json::Value;
use tracing::info;

use crate::api::autoscaling::PodAutoscaler;
use kube_fenced_election::clock::SharedClock;
use kube_loops::cluster::{
    error::{ObjectRef, WriteError},
    writer::{Target, Writer},
};

use super::{
    error::Error,
    fetch::Reads,
    steps::Step,
    targets::{ScalePatch, ScaleTarget, ScaleWrite},
};

/// How often a role is looked for again after its place in the list has changed under the patch.
const RELOCATIONS: usize = 5;

/// What a term knows of its writes.
pub(super) struct Writes {
    reads: Arc<Reads>,
    clock: SharedClock,
}

/// How the steps of a plan went.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// For each step, in order, what the status has to say about it; `None`: nothing went wrong.
    pub(super) failures: Vec<Option<String>>,
    /// The error that is retried first, for the queue; of equals the first.
    pub(super) error: Option<Error>,
}

impl Writes {
    /// Tells `reads` what its stores will show.
    pub(super) fn new(reads: Arc<Reads>, clock: SharedClock) -> Self {
        Self { reads, clock }
    }

    /// Tries every step for `pa`.
    pub(super) async fn apply(
        &self,
        writer: &Writer,
        pa: &PodAutoscaler,
        steps: &[Step],
        report: &mut Report,
    ) {
        let owner = pa.metadata.uid.as_deref().unwrap_or_default();
        for step in steps {
            let (attempt, result) = match step {
                Step::CreateHpa(hpa) => {
                    ("create the HorizontalPodAutoscaler", self.create(writer, owner, hpa).await)
                }
                Step::PatchHpa { namespace, name, patch } => (
                    "patch the HorizontalPodAutoscaler",
                    self.patch(writer, owner, namespace, name, patch).await,
                ),
                Step::DeleteHpa { namespace, name, uid } => (
                    "delete the HorizontalPodAutoscaler",
                    self.delete(writer, owner, namespace, name, uid).await,
                ),
                Step::Scale { target, write, to, .. } => {
                    ("scale the target", self.scale(writer, target, write.clone(), *to).await)
                }
            };
            let error = result.err();
            report.failures.push(error.as_ref().filter(|error| error.is_news()).map(ToString::to_string));
            if let Some(source) = error {
                let error = Error::Step { attempt, source };
                if report.error.as_ref().is_none_or(|first| error.comes_back_before(first)) {
                    report.error = Some(error);
                }
            }
        }
    }

    async fn create(
        &self,
        writer: &Writer,
        owner: &str,
        hpa: &HorizontalPodAutoscaler,
    ) -> Result<(), WriteError> {
        let name = hpa.metadata.name.as_deref().unwrap_or_default();
        // Before the call: the store may show the object before the answer is here.
        self.reads.stores.expected.lock().creating(owner, name, self.clock.instant());
        let created = writer.create(hpa).await;
        let mut expected = self.reads.stores.expected.lock();
        match created {
            Ok(created) => {
                let uid = created.metadata.uid.unwrap_or_default();
                expected.created(owner, name, &uid, self.clock.instant());
                drop(expected);
                info!(child_kind = "HorizontalPodAutoscaler", child = name, "created");
                Ok(())
            }
            Err(error) => {
                // Unanswered, it may exist all the same.
                if !matches!(error, WriteError::Other { .. }) {
                    expected.create_failed(owner, name);
                }
                Err(error)
            }
        }
    }

    async fn patch(
        &self,
        writer: &Writer,
        owner: &str,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<(), WriteError> {
        // The patch carries the version that it was computed for.
        let patched = writer.merge_patch(&hpa(namespace, name), patch, None).await?;
        let uid = patched.metadata.uid.as_deref().unwrap_or_default();
        let version = patched.metadata.resource_version.as_deref().unwrap_or_default();
        self.reads.stores.expected.lock().wrote(owner, uid, version, self.clock.instant());
        info!(child_kind = "HorizontalPodAutoscaler", child = name, "patched");
        Ok(())
    }

    async fn delete(
        &self,
        writer: &Writer,
        owner: &str,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<(), WriteError> {
        self.reads.stores.expected.lock().deleting(owner, uid, self.clock.instant());
        let deleted = writer.delete(&hpa(namespace, name), uid).await;
        match deleted {
            Ok(()) => info!(child_kind = "HorizontalPodAutoscaler", child = name, "deleted"),
            Err(_) => self.reads.stores.expected.lock().delete_failed(owner, uid),
        }
        deleted
    }

    async fn scale(
        &self,
        writer: &Writer,
        scaled: &ScaleTarget,
        mut write: ScaleWrite,
        to: i32,
    ) -> Result<(), WriteError> {
        let ScaleTarget { resource, namespace, name } = scaled;
        let (resource, name) = (resource.clone(), name.clone());
        let target = Target { resource, namespace: Some(namespace.clone()), name };
        let mut tries = 0..RELOCATIONS;
        loop {
            let written = match write.patch(to) {
                ScalePatch::Merge(patch) => writer.merge_patch(&target, &patch, None).await,
                ScalePatch::Json(patch) => match serde_json::from_value(patch) {
                    Ok(patch) => writer.json_patch(&target, patch).await,
                    Err(error) => Err(unreadable(scaled, &error)),
                },
            };
            match written {
                Ok(object) => {
                    let version = object.metadata.resource_version.as_deref().unwrap_or_default();
                    self.reads.own_writes.lock().wrote(scaled, version);
                    info!(child_kind = target.resource.kind, child = target.name, replicas = to, "scaled");
                    return Ok(());
                }
                Err(error @ WriteError::Conflict { .. }) if tries.next().is_some() => {
                    write = self.relocated(scaled, &write, error).await?;
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

fn hpa(namespace: &str, name: &str) -> Target {
    let resource = ApiResource::erase::<HorizontalPodAutoscaler>(&());
    Target { resource, namespace: Some(namespace.to_owned()), name: name.to_owned() }
}

/// A plan's patch is a constant shape with a number in it; that it is no patch would be a defect.
fn unreadable(scaled: &ScaleTarget, error: &serde_json::Error) -> WriteError {
    debug_assert!(false, "{error}");
    let (kind, namespace) = (scaled.resource.kind.clone(), scaled.namespace.clone());
    let object = ObjectRef { kind, namespace, name: scaled.name.clone() };
    WriteError::Invalid { object, message: error.to_string() }
}

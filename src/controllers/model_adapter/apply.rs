// SPDX-License-Identifier: Apache-2.0
//! Carries out the steps of a plan. Calls to engines are ordered here and made elsewhere.

use std::sync::Arc;

use json_patch::{AddOperation, PatchOperation, jsonptr::PointerBuf};
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::core::ApiResource;
use serde_json::json;
use tracing::info;

use crate::api::{
    keys::model_adapter::{FINALIZER, LOADED_SPEC_HASH},
    model::ModelAdapter,
};
use kube_loops::{
    cluster::{
        dry_run::NotedStep,
        error::WriteError,
        finalizers,
        writer::{Change, Deletion, Guard, Target, Writer},
    },
    k8s::conditions::Stated,
    runtime::{
        children::Parent,
        reconciler::Key,
        steps::{StepError, StepReport},
    },
};

use super::{
    calls::{Order, Origin, What},
    fetch::Reads,
    plan::FinalizerPatch,
    status,
    steps::{PodTarget, Step},
};

/// What a term knows of its writes.
pub(super) struct Writes {
    reads: Arc<Reads>,
}

/// How the steps of a plan went.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// The object as stored now, if a step changed it.
    pub(super) adapter: Option<Arc<ModelAdapter>>,
    /// What the status has to say about the children; `None`: nothing went wrong.
    pub(super) failed: Option<Stated>,
    /// The API server will not have the Service as it is.
    pub(super) refused: bool,
    /// The object was let go.
    pub(super) released: bool,
    /// The steps themselves.
    pub(super) steps: StepReport,
}

impl Writes {
    /// Tells `reads` what its stores will show.
    pub(super) fn new(reads: Arc<Reads>) -> Self {
        Self { reads }
    }

    /// Stores what has to be stored before anything is loaded. Answers with the object as stored now.
    ///
    /// # Errors
    /// [`StepError`].
    pub(super) async fn mark(
        &self,
        writer: &Writer,
        adapter: &Arc<ModelAdapter>,
        mark: &FinalizerPatch,
    ) -> Result<Arc<ModelAdapter>, StepError> {
        let Some(mut patch) = finalizers::addition(&adapter.metadata, FINALIZER) else {
            return Ok(Arc::clone(adapter));
        };
        if let Some(hash) = &mark.hash {
            patch.0.push(annotation(&adapter.metadata, hash));
        }
        let stored = writer.json_patch(&target_of(adapter), patch).await;
        let stored = stored.map_err(|source| StepError::new("add the finalizer", source))?;
        Ok(self.reads.own.wrote(stored))
    }

    /// Tries every step for `adapter`; what cannot be published is no reason not to load.
    pub(super) async fn apply(
        &self,
        writer: &Writer,
        key: &Key,
        adapter: &ModelAdapter,
        steps: &[Step],
        report: &mut Report,
    ) {
        for step in steps {
            // Without a Service there is nothing that an EndpointSlice belongs to.
            if matches!(step, Step::CreateSlice(_)) && report.failed.is_some() {
                continue;
            }
            let (attempt, result) = self.step(writer, key, adapter, step, report).await;
            if let Err(error) = &result {
                let news = error.is_news();
                match step {
                    Step::CreateService(_) | Step::PatchService { .. } => {
                        let name = status::full_name(adapter);
                        report.failed = news.then(|| status::service_failed(&name, &error.to_string()));
                        // What the API server will not have as it is, the status says and time decides; no retry helps.
                        if matches!(error, WriteError::Invalid { .. }) {
                            report.refused = true;
                            continue;
                        }
                    }
                    Step::CreateSlice(_) | Step::PatchSlice { .. } | Step::DeleteSlice { .. } if news => {
                        report.failed.get_or_insert_with(status::slice_failed);
                    }
                    Step::Load { .. }
                    | Step::Unload { .. }
                    | Step::RecordHash { .. }
                    | Step::CreateSlice(_)
                    | Step::PatchSlice { .. }
                    | Step::DeleteSlice { .. }
                    | Step::Release => {}
                }
            }
            report.steps.note(attempt, result);
        }
    }

    async fn step(
        &self,
        writer: &Writer,
        key: &Key,
        adapter: &ModelAdapter,
        step: &Step,
        report: &mut Report,
    ) -> (&'static str, Result<(), WriteError>) {
        let (services, slices) = (&self.reads.stores.services, &self.reads.stores.slices);
        let parent = Parent::of(adapter);
        match step {
            Step::Load { pod, source, reload } => {
                info!(step = "load", pod = %pod.facts.name, reload, "Loading adapter");
                let what = What::Load { source: Arc::clone(source), reload: *reload };
                self.order(writer, key, adapter, pod, what);
                ("load the adapter", Ok(()))
            }
            Step::Unload { pod } => {
                info!(step = "unload", pod = %pod.facts.name, "Unloading adapter");
                self.order(writer, key, adapter, pod, What::Unload);
                ("unload the adapter", Ok(()))
            }
            Step::RecordHash { hash } => {
                let stored = self.record(writer, adapter, hash).await;
                let kept = stored.map(|stored| report.adapter = Some(self.reads.own.wrote(stored)));
                ("record what is loaded", kept)
            }
            Step::CreateService(service) => {
                ("create the Service", services.create(writer, parent, &**service).await.map(drop))
            }
            Step::CreateSlice(slice) => {
                ("create the EndpointSlice", slices.create(writer, parent, &**slice).await.map(drop))
            }
            Step::PatchService { child, patch } => {
                let patched = services.patch(writer, parent, child, Change::Merge(patch.clone())).await;
                ("patch the Service", patched.map(drop))
            }
            Step::PatchSlice { child, patch } => {
                let patched = slices.patch(writer, parent, child, Change::Merge(patch.clone())).await;
                ("patch the EndpointSlice", patched.map(drop))
            }
            Step::DeleteSlice { child } => {
                let deleted = slices.delete(writer, parent, child, Deletion::background()).await;
                ("delete the EndpointSlice", deleted)
            }
            Step::Release => {
                let target = target_of(adapter);
                let removed = finalizers::remove(writer, &target, &adapter.metadata, FINALIZER).await;
                report.released = removed.is_ok();
                ("remove the finalizer", removed.map(drop))
            }
        }
    }

    fn order(&self, writer: &Writer, key: &Key, adapter: &ModelAdapter, pod: &PodTarget, what: What) {
        if writer.notes_instead(|| noted(key, pod, &what)) {
            return;
        }
        let order = Order {
            key: key.clone(),
            uid: adapter.metadata.uid.as_deref().unwrap_or_default().into(),
            generation: adapter.metadata.generation,
            origin: Origin { pod: pod.facts.uid.clone(), endpoint: pod.endpoint.clone() },
            ready_since: pod.facts.ready_since,
            what,
        };
        self.reads.calls.with(|tracker, now| tracker.order(order, now.instant));
    }

    async fn record(
        &self,
        writer: &Writer,
        adapter: &ModelAdapter,
        hash: &str,
    ) -> Result<ModelAdapter, WriteError> {
        let patch = json!({"metadata": {"annotations": {LOADED_SPEC_HASH: hash}}});
        let ObjectMeta { uid, resource_version: version, .. } = &adapter.metadata;
        let guard = Guard { uid: uid.as_deref(), version: version.as_deref().unwrap_or_default() };
        writer.patch_as(&target_of(adapter), "", Change::Merge(patch), guard).await
    }
}

fn target_of(adapter: &ModelAdapter) -> Target {
    Target {
        resource: ApiResource::erase::<ModelAdapter>(&()),
        namespace: adapter.metadata.namespace.clone(),
        name: adapter.metadata.name.clone().unwrap_or_default(),
    }
}

/// A call to an engine as a dry run tells it.
fn noted(key: &Key, pod: &PodTarget, what: &What) -> NotedStep {
    let resource = ApiResource::erase::<Pod>(&());
    let target =
        Target { resource, namespace: Some(key.namespace.clone()), name: pod.facts.name.to_string() };
    let (verb, content) = match what {
        What::Load { source, reload } => {
            ("load", json!({"model": key.name, "artifactURL": source.url, "reload": reload}))
        }
        What::Unload => ("unload", json!({"model": key.name})),
    };
    NotedStep { verb, target, content }
}

fn annotation(meta: &ObjectMeta, hash: &str) -> PatchOperation {
    let (path, value) = match &meta.annotations {
        Some(_) => (vec!["metadata", "annotations", LOADED_SPEC_HASH], json!(hash)),
        None => (vec!["metadata", "annotations"], json!({LOADED_SPEC_HASH: hash})),
    };
    PatchOperation::Add(AddOperation { path: PointerBuf::from_tokens(path), value })
}

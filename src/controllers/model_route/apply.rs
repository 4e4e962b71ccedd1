// SPDX-License-Identifier: Apache-2.0
//! Carries out the steps of a plan, in order; the first that fails ends it.

use kube::core::ApiResource;
use tracing::info;

use kube_loops::cluster::{
    error::WriteError,
    writer::{Target, Writer},
};

use super::{http_routes, plan::Step, reference_grants};

/// How the steps went.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Steps that are done.
    pub(super) done: usize,
    /// What was tried then, and why it failed.
    pub(super) failed: Option<Failed>,
}

/// What was tried, and why it failed.
pub(super) type Failed = (&'static str, WriteError);

/// Makes the changes. `gateway`: namespace of the routes.
pub(super) async fn apply(steps: &[Step], gateway: &str, writer: &Writer, report: &mut Report) {
    for step in steps {
        match change(step, gateway, writer).await {
            Ok(()) => report.done += 1,
            Err(failed) => {
                report.failed = Some(failed);
                return;
            }
        }
    }
}

async fn change(step: &Step, gateway: &str, writer: &Writer) -> Result<(), Failed> {
    match step {
        Step::CreateRoute(object) => {
            let created = writer.create_dynamic(&http_routes(), object).await;
            created.map_err(|error| ("create the HTTPRoute", error))?;
            info!(child_kind = "HTTPRoute", "created");
        }
        Step::PatchRoute { name, version, patch } => {
            let route = target(http_routes(), gateway, name);
            let patched = writer.merge_patch(&route, patch, Some(version)).await;
            patched.map_err(|error| ("patch the HTTPRoute", error))?;
            info!(child_kind = "HTTPRoute", "patched");
        }
        Step::DeleteRoute { name, uid } => {
            let deleted = writer.delete(&target(http_routes(), gateway, name), uid).await;
            deleted.map_err(|error| ("delete the HTTPRoute", error))?;
            info!(child_kind = "HTTPRoute", "deleted");
        }
        Step::CreateGrant(object) => {
            let created = writer.create_dynamic(&reference_grants(), object).await;
            created.map_err(|error| ("create the ReferenceGrant", error))?;
            info!(child_kind = "ReferenceGrant", "created");
        }
        Step::DeleteGrant { namespace, name, uid } => {
            let deleted = writer.delete(&target(reference_grants(), namespace, name), uid).await;
            deleted.map_err(|error| ("delete the ReferenceGrant", error))?;
            info!(child_kind = "ReferenceGrant", child = name, "deleted");
        }
    }
    Ok(())
}

fn target(resource: ApiResource, namespace: &str, name: &str) -> Target {
    Target { resource, namespace: Some(namespace.to_owned()), name: name.to_owned() }
}

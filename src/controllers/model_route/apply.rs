// SPDX-License-Identifier: Apache-2.0
//! Carries out the steps of a plan, in order; the first that fails ends it.

use kube_loops::{
    cluster::writer::{Target, Writer},
    runtime::{controller::Kind, steps::StepReport},
};

use super::{HTTP_ROUTE, REFERENCE_GRANT, plan::Step};

/// Makes the changes. `gateway`: namespace of the routes.
pub(super) async fn apply(steps: &[Step], gateway: &str, writer: &Writer, report: &mut StepReport) {
    for step in steps {
        let done = match step {
            Step::CreateRoute(object) => report
                .note("create the HTTPRoute", writer.create_dynamic(&HTTP_ROUTE.resource(), object).await),
            Step::PatchRoute { name, version, patch } => {
                let route = target(&HTTP_ROUTE, gateway, name);
                report.note("patch the HTTPRoute", writer.merge_patch(&route, patch, version).await)
            }
            Step::DeleteRoute { name, uid } => {
                let route = target(&HTTP_ROUTE, gateway, name);
                report.note("delete the HTTPRoute", writer.delete(&route, uid).await)
            }
            Step::DeleteLeft { namespace, name, uid } => {
                let route = target(&HTTP_ROUTE, namespace, name);
                report.note("delete the HTTPRoute of a former gateway", writer.delete(&route, uid).await)
            }
            Step::CreateGrant(object) => {
                let created = writer.create_dynamic(&REFERENCE_GRANT.resource(), object).await;
                report.note("create the ReferenceGrant", created)
            }
            Step::PatchGrant { namespace, name, version, patch } => {
                let grant = target(&REFERENCE_GRANT, namespace, name);
                report.note("patch the ReferenceGrant", writer.merge_patch(&grant, patch, version).await)
            }
            Step::DeleteGrant { namespace, name, uid } => {
                let grant = target(&REFERENCE_GRANT, namespace, name);
                report.note("delete the ReferenceGrant", writer.delete(&grant, uid).await)
            }
        };
        if !done {
            return;
        }
    }
}

fn target(kind: &Kind, namespace: &str, name: &str) -> Target {
    Target { resource: kind.resource(), namespace: Some(namespace.to_owned()), name: name.to_owned() }
}

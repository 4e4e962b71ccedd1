// SPDX-License-Identifier: Apache-2.0
//! Reviews of Deployments: one that asks for it gets the runtime sidecar, every other passes untouched.
//!
//! The webhook has no selector, so every Deployment of the cluster comes by. DIFFERS: AIBrix takes away
//! every field that its own types do not know; here only what injection adds is ever named.

use json_patch::{Patch, jsonptr::PointerBuf};
use serde_json::Value;

use crate::api::keys::sidecar;

use super::{
    parts::Parts,
    review::{AdmissionResponse, Operation, Request},
    sidecar_injection::{POD, Sidecar, annotation, injection},
};

/// Path that the API server calls to fill in defaults.
pub(crate) const MUTATING_PATH: &str = "/mutate-apps-v1-deployment";
/// Path that it calls to validate.
pub(crate) const VALIDATING_PATH: &str = "/validate-apps-v1-deployment";

/// All that is read of a Deployment.
static PARTS: Parts = Parts::Members(&[
    (
        "metadata",
        Parts::Members(&[(
            "annotations",
            Parts::Members(&[
                (sidecar::INJECTION, Parts::All),
                (sidecar::IMAGE, Parts::All),
                (sidecar::ENGINE, Parts::All),
            ]),
        )]),
    ),
    ("spec", Parts::Members(&[("template", Parts::Members(&[("spec", POD)]))])),
]);

/// Injects where the annotation of the Deployment itself is exactly `true`.
pub(crate) fn mutate(request: &Request) -> AdmissionResponse {
    match request.operation {
        Operation::Create | Operation::Update => {}
        Operation::Delete | Operation::Connect => return AdmissionResponse::Allow,
    }
    let deployment: Value = match request.object_of("apps", "v1", "Deployment", &PARTS) {
        Ok(deployment) => deployment,
        Err(response) => return response,
    };
    if annotation(&deployment, sidecar::INJECTION) != Some("true") {
        return AdmissionResponse::Allow;
    }
    let path = PointerBuf::from_tokens(["spec", "template", "spec"]);
    let Some(pod) = deployment.pointer(path.as_str()) else { return AdmissionResponse::Allow };
    let wanted = Sidecar::from_annotations(
        annotation(&deployment, sidecar::IMAGE),
        annotation(&deployment, sidecar::ENGINE),
    );
    AdmissionResponse::Patch(Patch(injection(&path, pod, wanted)))
}

/// Accepts everything. The path exists because installed configurations call it.
pub(crate) fn validate(_: &Request) -> AdmissionResponse {
    AdmissionResponse::Allow
}

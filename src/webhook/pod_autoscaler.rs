// SPDX-License-Identifier: Apache-2.0
//! Reviews of PodAutoscalers: nothing is filled in, and what cannot work is refused.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use crate::{
    api::autoscaling::{GROUP, POD_AUTOSCALER, PodAutoscaler, PodAutoscalerSpec, VERSION},
    validation::pod_autoscaler::field_errors,
};

use super::{
    parts::Parts,
    review::{AdmissionResponse, Operation, Request},
};

/// Path that the API server calls to fill in defaults.
pub(crate) const MUTATING_PATH: &str = "/mutate-autoscaling-aibrix-ai-v1alpha1-podautoscaler";
/// Path that it calls to validate.
pub(crate) const VALIDATING_PATH: &str = "/validate-autoscaling-aibrix-ai-v1alpha1-podautoscaler";

/// All that is read of a PodAutoscaler.
static PARTS: Parts = Parts::Members(&[
    (
        "metadata",
        Parts::Members(&[("name", Parts::All), ("namespace", Parts::All), ("annotations", Parts::All)]),
    ),
    ("spec", Parts::All),
]);

/// What is judged. The schema does not require a spec, the type does: an empty one has errors that help.
#[derive(Deserialize)]
struct Submitted {
    #[serde(default)]
    metadata: ObjectMeta,
    spec: Option<PodAutoscalerSpec>,
}

/// Changes nothing: defaults are applied where they are used, so that they can change with the manager.
pub(crate) fn mutate(_: &Request) -> AdmissionResponse {
    AdmissionResponse::Allow
}

/// Judges the new object of a creation or change; all errors at once.
pub(crate) fn validate(request: &Request) -> AdmissionResponse {
    match request.operation {
        Operation::Create | Operation::Update => {}
        Operation::Delete | Operation::Connect => return AdmissionResponse::Allow,
    }
    let Submitted { metadata, spec } = match request.object_of(GROUP, VERSION, POD_AUTOSCALER, &PARTS) {
        Ok(submitted) => submitted,
        Err(response) => return response,
    };
    let pa = PodAutoscaler { metadata, spec: spec.unwrap_or_default(), status: None };
    let name = pa.metadata.name.as_deref().unwrap_or(&request.name);
    AdmissionResponse::invalid_unless_empty(GROUP, POD_AUTOSCALER, name, &field_errors(&pa))
}

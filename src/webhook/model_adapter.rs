// SPDX-License-Identifier: Apache-2.0
//! Reviews of ModelAdapters: nothing is filled in, and a URL that no engine could load is refused at creation.

use serde::Deserialize;

use crate::{
    api::model::{GROUP, MODEL_ADAPTER, ModelAdapterSpec, VERSION},
    validation::{field_error::aggregate_message, model_adapter::field_errors},
};

use super::{
    parts::Parts,
    review::{AdmissionResponse, Operation, Request},
};

/// Path that the API server calls to fill in defaults.
pub(crate) const MUTATING_PATH: &str = "/mutate-model-aibrix-ai-v1alpha1-modeladapter";
/// Path that it calls to validate.
pub(crate) const VALIDATING_PATH: &str = "/validate-model-aibrix-ai-v1alpha1-modeladapter";

/// All that is read of a ModelAdapter.
static PARTS: Parts = Parts::Members(&[("spec", Parts::All)]);

#[derive(Deserialize)]
struct Submitted {
    spec: ModelAdapterSpec,
}

/// Changes nothing.
pub(crate) fn mutate(_: &Request) -> AdmissionResponse {
    AdmissionResponse::Allow
}

/// Judges a creation. A change passes: an object that got in while the webhook was down must stay editable.
pub(crate) fn validate(request: &Request) -> AdmissionResponse {
    match request.operation {
        Operation::Create => {}
        Operation::Update | Operation::Delete | Operation::Connect => return AdmissionResponse::Allow,
    }
    let Submitted { spec } = match request.object_of(GROUP, VERSION, MODEL_ADAPTER, &PARTS) {
        Ok(submitted) => submitted,
        Err(response) => return response,
    };
    let errors = field_errors(&spec);
    if errors.is_empty() {
        AdmissionResponse::Allow
    } else {
        AdmissionResponse::Deny(aggregate_message(&errors))
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Reviews of KVCaches: two annotations are filled in, and an unknown backend is refused. They need no type
//! of ours and no controller.
//!
//! DIFFERS: AIBrix answers with the whole object as its types see it, which loses zeros and adds a list of
//! ports that the schema then refuses. Here nothing but the annotations is ever named.

use serde_json::{Value, json};

use crate::{
    api::keys::{
        ORCHESTRATION_GROUP,
        kv_cache::{BACKEND, BACKENDS, MODE},
    },
    validation::kv_cache::backend_error,
};

use super::{
    json_patch::patch_between,
    parts::Parts,
    review::{AdmissionResponse, Operation, Request},
    sidecar_injection::annotation,
};

/// Path that the API server calls to fill in defaults.
pub(crate) const MUTATING_PATH: &str = "/mutate-orchestration-aibrix-ai-v1alpha1-kvcache";
/// Path that it calls to validate.
pub(crate) const VALIDATING_PATH: &str = "/validate-orchestration-aibrix-ai-v1alpha1-kvcache";

const VERSION: &str = "v1alpha1";
const KIND: &str = "KVCache";
/// All that is read of a KVCache.
static PARTS: Parts = Parts::Members(&[(
    "metadata",
    Parts::Members(&[("annotations", Parts::Members(&[(BACKEND, Parts::All), (MODE, Parts::All)]))]),
)]);

/// Fills in the annotations for backend and mode.
pub(crate) fn mutate(request: &Request) -> AdmissionResponse {
    match request.operation {
        Operation::Create | Operation::Update => {}
        Operation::Delete | Operation::Connect => return AdmissionResponse::Allow,
    }
    let cache: Value = match request.object_of(ORCHESTRATION_GROUP, VERSION, KIND, &PARTS) {
        Ok(cache) => cache,
        Err(response) => return response,
    };
    let [backend, ..] = BACKENDS;
    let mut filled = cache.clone();
    // COMPAT: a backend's name as the mode makes no sense, and AIBrix's tests ask for it.
    for key in [BACKEND, MODE] {
        if annotation(&cache, key).is_none_or(str::is_empty) {
            set_annotation(&mut filled, key, backend);
        }
    }
    AdmissionResponse::Patch(patch_between(&cache, &filled))
}

/// Refuses a backend that does not exist. A change passes unless it chooses such a backend: an object that
/// has one already must stay editable.
pub(crate) fn validate(request: &Request) -> AdmissionResponse {
    match request.operation {
        Operation::Create | Operation::Update => {}
        Operation::Delete | Operation::Connect => return AdmissionResponse::Allow,
    }
    let cache: Value = match request.object_of(ORCHESTRATION_GROUP, VERSION, KIND, &PARTS) {
        Ok(cache) => cache,
        Err(response) => return response,
    };
    let chosen = annotation(&cache, BACKEND);
    let old = match request.old_object(&PARTS) {
        Ok(old) => old,
        Err(response) => return response,
    };
    if request.operation == Operation::Update && annotation(&old, BACKEND) == chosen {
        return AdmissionResponse::Allow;
    }
    chosen.and_then(backend_error).map_or(AdmissionResponse::Allow, AdmissionResponse::Deny)
}

/// Sets an annotation of an object whose metadata may lack them; does nothing to other shapes.
fn set_annotation(object: &mut Value, key: &str, value: &str) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let annotations = metadata.entry("annotations").or_insert(Value::Null);
    if annotations.is_null() {
        *annotations = json!({});
    }
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert(key.to_owned(), json!(value));
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Reviews of StormServices: the runtime sidecar for those that ask for it, and specs that cannot work are
//! refused. They need no type of ours and no controller.

use json_patch::{Patch, jsonptr::PointerBuf};
use serde_json::Value;

use crate::{
    api::keys::{ORCHESTRATION_GROUP, sidecar},
    validation::{
        field_error::{FieldError, aggregate_message},
        storm_service::{creation_errors, scale_error, update_errors, update_warnings},
    },
};

use super::{
    StoredKind,
    parts::Parts,
    review::{AdmissionResponse, Operation, Request, Stored},
    sidecar_injection::{MOST, POD, Sidecar, annotation, injection},
};

/// Path that the API server calls to fill in defaults.
pub(crate) const MUTATING_PATH: &str = "/mutate-orchestration-aibrix-ai-v1alpha1-stormservice";
/// Path that it calls to validate.
pub(crate) const VALIDATING_PATH: &str = "/validate-orchestration-aibrix-ai-v1alpha1-stormservice";

/// Path that it calls to validate a change of `/scale`.
pub(crate) const SCALE_PATH: &str = "/validate-orchestration-aibrix-ai-v1alpha1-stormservice-scale";

const VERSION: &str = "v1alpha1";
const KIND: &str = "StormService";
/// Of which the object is read for a review of its `/scale`.
pub(super) const STORED: StoredKind =
    StoredKind { group: ORCHESTRATION_GROUP, version: VERSION, kind: KIND, plural: "stormservices" };
/// All that is read of a Scale.
static SCALE: Parts = Parts::Members(&[("spec", Parts::Members(&[("replicas", Parts::All)]))]);
/// All that is read of a StormService.
static PARTS: Parts = Parts::Members(&[
    (
        "metadata",
        Parts::Members(&[
            ("name", Parts::All),
            ("deletionTimestamp", Parts::All),
            (
                "annotations",
                Parts::Members(&[(sidecar::INJECTION, Parts::All), (sidecar::IMAGE, Parts::All)]),
            ),
        ]),
    ),
    (
        "spec",
        Parts::Members(&[
            (
                "template",
                Parts::Members(&[
                    (
                        "metadata",
                        Parts::Members(&[("annotations", Parts::Members(&[(sidecar::ENGINE, Parts::All)]))]),
                    ),
                    ("spec", Parts::Members(&[("roles", Parts::Each(&ROLE))])),
                ]),
            ),
            ("updateStrategy", Parts::Members(&[("maxUnavailable", Parts::All), ("maxSurge", Parts::All)])),
            ("replicas", Parts::All),
            ("mode", Parts::All),
        ]),
    ),
]);
static ROLE: Parts = Parts::Members(&[
    ("name", Parts::All),
    ("podGroupSize", Parts::All),
    ("template", Parts::Members(&[("spec", POD)])),
]);

/// Injects into every role where the annotation of the StormService is anything but `false`.
pub(crate) fn mutate(request: &Request) -> AdmissionResponse {
    match request.operation {
        Operation::Create | Operation::Update => {}
        Operation::Delete | Operation::Connect => return AdmissionResponse::Allow,
    }
    let service: Value = match request.object_of(ORCHESTRATION_GROUP, VERSION, KIND, &PARTS) {
        Ok(service) => service,
        Err(response) => return response,
    };
    // DIFFERS: AIBrix injects for `false` as well.
    if annotation(&service, sidecar::INJECTION).is_none_or(|value| value.eq_ignore_ascii_case("false")) {
        return AdmissionResponse::Allow;
    }
    let Some(template) = service.pointer("/spec/template") else { return AdmissionResponse::Allow };
    let wanted = Sidecar::from_annotations(
        annotation(&service, sidecar::IMAGE),
        annotation(template, sidecar::ENGINE),
    );
    let roles = template.pointer("/spec/roles").and_then(Value::as_array).filter(|roles| roles.len() <= MOST);
    let mut operations = Vec::new();
    for (place, role) in roles.into_iter().flatten().enumerate() {
        if let Some(pod) = role.pointer("/template/spec") {
            let place = place.to_string();
            let path = ["spec", "template", "spec", "roles", &place, "template", "spec"];
            operations.extend(injection(&PointerBuf::from_tokens(path), pod, wanted));
        }
    }
    AdmissionResponse::Patch(Patch(operations))
}

/// Judges the new object of a creation, and what a change makes worse.
pub(crate) fn validate(request: &Request) -> AdmissionResponse {
    let judge = match request.operation {
        Operation::Create => creation,
        Operation::Update => update,
        Operation::Delete | Operation::Connect => return AdmissionResponse::Allow,
    };
    match request.object_of::<Value>(ORCHESTRATION_GROUP, VERSION, KIND, &PARTS) {
        Ok(service) => judge(request, &service),
        Err(response) => response,
    }
}

fn creation(request: &Request, service: &Value) -> AdmissionResponse {
    let name = service.pointer("/metadata/name").and_then(Value::as_str).unwrap_or(&request.name);
    refuse(&creation_errors(name, service)).unwrap_or(AdmissionResponse::Allow)
}

/// Judges a change of the replicas by `/scale`. What cannot be known lets it pass, with a warning.
pub(crate) fn validate_scale(request: &Request) -> AdmissionResponse {
    let scale: Value = match request.object_of("autoscaling", "v1", "Scale", &SCALE) {
        Ok(scale) => scale,
        Err(response) => return response,
    };
    let wanted = scale.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(0);
    let unknown = |reason: &str| {
        let name = &request.name;
        AdmissionResponse::Warn(vec![format!(
            "whether StormService {name} may have {wanted} replicas is not known: {reason}"
        )])
    };
    match &request.stored {
        Stored::Found(service) => scale_error(service, wanted)
            .map_or(AdmissionResponse::Allow, |error| AdmissionResponse::Deny(aggregate_message(&[error]))),
        Stored::NotFound => unknown("it was not found"),
        Stored::Unknown { reason } => unknown(reason),
        Stored::NotRead => unknown("it was not read"),
    }
}

fn update(request: &Request, service: &Value) -> AdmissionResponse {
    match request.old_object(&PARTS) {
        Ok(old) => refuse(&update_errors(&old, service))
            .unwrap_or_else(|| AdmissionResponse::Warn(update_warnings(service))),
        Err(response) => response,
    }
}

fn refuse(errors: &[FieldError]) -> Option<AdmissionResponse> {
    (!errors.is_empty()).then(|| AdmissionResponse::Deny(aggregate_message(errors)))
}

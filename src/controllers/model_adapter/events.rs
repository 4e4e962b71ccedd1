// SPDX-License-Identifier: Apache-2.0
//! Events on ModelAdapters. Pure.

use k8s_openapi::api::core::v1::ObjectReference;

use crate::{
    api::model::{API_VERSION, MODEL_ADAPTER, ModelAdapter},
    cluster::events::{EventDraft, Severity},
    runtime::watches::Malformed,
};

use super::steps;

/// Reason of the event on an object that cannot be parsed.
const MALFORMED: &str = "MalformedObject";

/// The event that `draft` describes, on `adapter`.
pub(super) fn about(adapter: &ModelAdapter, draft: steps::EventDraft) -> EventDraft {
    let metadata = &adapter.metadata;
    let regarding = ObjectReference {
        api_version: Some(API_VERSION.to_owned()),
        kind: Some(MODEL_ADAPTER.to_owned()),
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone(),
        uid: metadata.uid.clone(),
        resource_version: metadata.resource_version.clone(),
        field_path: None,
    };
    let severity = if draft.warning { Severity::Warning } else { Severity::Normal };
    EventDraft { severity, reason: draft.reason.to_owned(), message: draft.message, regarding }
}

/// The event on an object that is skipped because it cannot be parsed.
pub(super) fn about_malformed(object: &Malformed) -> EventDraft {
    let regarding = ObjectReference {
        api_version: Some(object.api_version.to_string()),
        kind: Some(object.kind.to_string()),
        namespace: Some(object.namespace.clone()),
        name: Some(object.name.clone()),
        uid: Some(object.uid.clone()),
        resource_version: Some(object.version.clone()),
        field_path: None,
    };
    let message = format!("the object is skipped until it is corrected: {}", object.error);
    EventDraft { severity: Severity::Warning, reason: MALFORMED.to_owned(), message, regarding }
}

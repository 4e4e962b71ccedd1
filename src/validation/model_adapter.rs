// SPDX-License-Identifier: Apache-2.0
//! The spec of a ModelAdapter, as admission sees it at creation.
//!
//! The controller does not repeat this: with the webhook switched off, any text is a URL, such as a bare
//! `org/repo`. What the schema refuses (a missing selector, replicas other than 1) never gets here.

use crate::{
    api::model::ModelAdapterSpec,
    gocompat::{quote::quote, url::check_request_uri},
};
use kube_loops::k8s::text;

use super::{
    artifact_url::{SUPPORTED, is_supported, redacted},
    field_error::FieldError,
};

const URL_FIELD: &str = "spec.artifactURL";
/// Longest URL that a message repeats, in bytes.
const SHOWN_URL_BYTES: usize = 1024;

/// Everything that admission refuses, in the order in which it is reported. No text holds credentials.
pub(crate) fn field_errors(spec: &ModelAdapterSpec) -> Vec<FieldError> {
    let url = spec.artifact_url.as_str();
    let shown = text::cut(&redacted(url), SHOWN_URL_BYTES);
    let mut errors = Vec::new();
    if let Err(error) = check_request_uri(url) {
        let detail = if shown == url {
            format!("artifactURL is invalid: parse {}: {error}", quote(url))
        } else {
            // The error may quote a part of what is hidden: a visible defect is reported, another is not.
            let visible =
                check_request_uri(&shown).err().map_or_else(String::new, |error| format!(": {error}"));
            format!("artifactURL is invalid: parse {}{visible}", quote(&shown))
        };
        errors.push(FieldError::invalid(URL_FIELD, shown.as_str(), detail));
    }
    if let Some(replicas) = spec.replicas.filter(|replicas| *replicas <= 0) {
        errors.push(FieldError::invalid("spec.replicas", replicas, "replicas must be greater than 0"));
    }
    if !is_supported(url) {
        let supported = SUPPORTED.join(" ");
        let detail = format!("unsupported schema {}, supported schemas are [{supported}]", quote(&shown));
        errors.push(FieldError::invalid(URL_FIELD, shown.as_str(), detail));
    }
    errors
}

// SPDX-License-Identifier: Apache-2.0
//! Field errors in the words of Kubernetes.

use std::fmt;

use serde_json::Value;

use crate::gocompat::quote::quote;

/// One reason to refuse an object.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// Path of the field, such as `spec.metricsSources[1].port`.
    pub field: String,
    /// What kind of error.
    pub kind: FieldErrorKind,
    /// Details, may be empty.
    pub detail: String,
}

/// Kinds of field errors, with the value that is wrong where the text shows it.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldErrorKind {
    /// A value is missing.
    Required,
    /// A value is not allowed here.
    Forbidden,
    /// The value is wrong.
    Invalid(Value),
    /// The value is not one of a closed set.
    NotSupported(Value),
}

impl FieldError {
    /// A missing value.
    pub fn required(field: impl Into<String>, detail: &str) -> Self {
        Self { field: field.into(), kind: FieldErrorKind::Required, detail: detail.to_owned() }
    }

    /// A value that is not allowed here.
    pub fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self { field: field.into(), kind: FieldErrorKind::Forbidden, detail: detail.to_owned() }
    }

    /// A wrong value.
    pub fn invalid(field: impl Into<String>, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), kind: FieldErrorKind::Invalid(value.into()), detail: detail.into() }
    }

    /// A value outside a closed set.
    pub fn not_supported(field: impl Into<String>, value: impl Into<Value>, supported: &[&str]) -> Self {
        let supported = supported.iter().map(|value| quote(value)).collect::<Vec<_>>().join(", ");
        Self {
            field: field.into(),
            kind: FieldErrorKind::NotSupported(value.into()),
            detail: format!("supported values: {supported}"),
        }
    }

    /// The machine-readable type of a cause.
    pub fn cause_type(&self) -> &'static str {
        match self.kind {
            FieldErrorKind::Required => "FieldValueRequired",
            FieldErrorKind::Forbidden => "FieldValueForbidden",
            FieldErrorKind::Invalid(_) => "FieldValueInvalid",
            FieldErrorKind::NotSupported(_) => "FieldValueNotSupported",
        }
    }

    /// The text without the path.
    pub fn body(&self) -> String {
        let mut text = match &self.kind {
            FieldErrorKind::Required => "Required value".to_owned(),
            FieldErrorKind::Forbidden => "Forbidden".to_owned(),
            FieldErrorKind::Invalid(value) => format!("Invalid value: {}", print(value)),
            FieldErrorKind::NotSupported(value) => format!("Unsupported value: {}", print(value)),
        };
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

fn print(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), quote)
}

/// Several errors in one text: one as it is, several in brackets, repetitions dropped; empty without any.
pub(crate) fn aggregate_message(errors: &[FieldError]) -> String {
    let mut texts: Vec<String> = Vec::with_capacity(errors.len());
    for text in errors.iter().map(FieldError::to_string) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}

/// The message of an `Invalid` answer (422) for an object, with all errors as [`aggregate_message`] puts
/// them. `kind` is qualified, such as `PodAutoscaler.autoscaling.aibrix.ai`.
pub(crate) fn invalid_message(kind: &str, name: &str, errors: &[FieldError]) -> String {
    let name = quote(name);
    match aggregate_message(errors) {
        none if none.is_empty() => format!("{kind} {name} is invalid"),
        errors => format!("{kind} {name} is invalid: {errors}"),
    }
}

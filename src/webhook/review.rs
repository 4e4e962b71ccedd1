// SPDX-License-Identifier: Apache-2.0
//! The `AdmissionReview`: its request is parsed, its response is written.
//!
//! Every review gets an answer with HTTP status 200, also one that cannot be read: what went wrong stands in
//! the answer, where the API server looks for it. Objects stay text until a handler reads its [`Parts`] of them.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use json_patch::Patch;
use k8s_openapi::{
    ByteString,
    apimachinery::pkg::apis::meta::v1::{Status, StatusCause, StatusDetails},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json, value::RawValue};

use crate::validation::field_error::{FieldError, invalid_message};
use kube_loops::k8s::text;

use super::parts::{self, Parts};

/// Longest review that is read, in bytes.
pub(crate) const MAX_REVIEW_BYTES: usize = 7 << 20;

const GROUP: &str = "admission.k8s.io/";
const DEFAULT_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";
/// Longest text of a parser that is passed on, in bytes.
const PARSER_TEXT_BYTES: usize = 512;

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// It is created.
    Create,
    /// It is changed.
    Update,
    /// It is deleted.
    Delete,
    /// A connection to one of its subresources is opened.
    Connect,
}

/// Group, version and kind of the object of a review.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Kind {
    /// Group; empty: the core group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Kind.
    #[expect(clippy::struct_field_names, reason = "it is what the API calls it")]
    pub kind: String,
}

/// What the API server asks.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Ties the answer to the question.
    pub uid: String,
    /// What kind of object it is about, in the version that the webhook is registered for.
    #[serde(default)]
    pub kind: Kind,
    /// Name of the object; empty when the API server still has to generate it.
    #[serde(default)]
    pub name: String,
    /// Namespace of the object; empty: it is in none.
    #[serde(default)]
    pub namespace: String,
    /// What is done to it.
    pub operation: Operation,
    /// The object as it will be, as it was sent; none when it is deleted.
    #[serde(default)]
    object: Option<Box<RawValue>>,
    /// The object as it was; none when it is created.
    #[serde(default)]
    old_object: Option<Box<RawValue>>,
    /// The object as the API server has it, where the hook asks for it.
    #[serde(skip)]
    pub stored: Stored,
}

/// What is known of a stored object.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Stored {
    /// It was not asked for.
    #[default]
    NotRead,
    /// The object.
    Found(Value),
    /// There is none.
    NotFound,
    /// It could not be read.
    Unknown {
        /// Why, for people.
        reason: String,
    },
}

/// The answer of a handler.
#[derive(Debug, Clone, PartialEq)]
pub enum AdmissionResponse {
    /// Let it pass as it is.
    Allow,
    /// Let it pass with these changes; without any it is the same as [`AdmissionResponse::Allow`].
    Patch(Patch),
    /// Let it pass as it is, with these warnings for the user.
    Warn(Vec<String>),
    /// Refuse it with 403 `Forbidden` and this message.
    Deny(String),
    /// Refuse it with this status.
    DenyWithStatus(Box<Status>),
    /// The review could not be handled.
    Errored {
        /// Code as of HTTP.
        code: i32,
        /// Message for the user.
        message: String,
    },
}

impl AdmissionResponse {
    /// A review that is not what the handler was registered for (400).
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::Errored { code: 400, message: message.into() }
    }

    /// Refuses an object with 422 `Invalid` and a cause for each error; without errors, lets it pass.
    pub fn invalid_unless_empty(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        if errors.is_empty() {
            return Self::Allow;
        }
        let cause = |error: &FieldError| StatusCause {
            field: Some(error.field.clone()),
            message: Some(error.body()),
            reason: Some(error.cause_type().to_owned()),
        };
        let details = StatusDetails {
            group: Some(group.to_owned()),
            kind: Some(kind.to_owned()),
            name: Some(name.to_owned()),
            causes: Some(errors.iter().map(cause).collect()),
            ..StatusDetails::default()
        };
        Self::DenyWithStatus(Box::new(Status {
            status: Some("Failure".to_owned()),
            code: Some(422),
            reason: Some("Invalid".to_owned()),
            message: Some(invalid_message(&format!("{kind}.{group}"), name, errors)),
            details: Some(details),
            ..Status::default()
        }))
    }
}

impl Request {
    /// These parts of the object, after checking that it is of the kind that the caller handles.
    ///
    /// # Errors
    /// A response with code 400 for another kind, for no object and for one that does not parse or is too large.
    pub(super) fn object_of<K: DeserializeOwned>(
        &self,
        group: &str,
        version: &str,
        kind: &str,
        parts: &'static Parts,
    ) -> Result<K, AdmissionResponse> {
        let given = &self.kind;
        if (given.group.as_str(), given.version.as_str(), given.kind.as_str()) != (group, version, kind) {
            let given = format!("{}/{}, Kind={}", given.group, given.version, given.kind);
            let given = text::cut(&given, PARSER_TEXT_BYTES);
            let message = format!("unexpected object {given:?}, expected \"{group}/{version}, Kind={kind}\"");
            return Err(AdmissionResponse::bad_request(message));
        }
        let Some(object) = &self.object else {
            return Err(AdmissionResponse::bad_request("there is no content to decode"));
        };
        let read = parts::read(object, parts).and_then(K::deserialize);
        read.map_err(|error| AdmissionResponse::bad_request(parser_text(&error)))
    }

    /// These parts of the object as it was; null when it is created.
    ///
    /// # Errors
    /// A response with code 400 when it is too large.
    pub(super) fn old_object(&self, parts: &'static Parts) -> Result<Value, AdmissionResponse> {
        let old = self.old_object.as_ref().map_or(Ok(Value::Null), |old| parts::read(old, parts));
        old.map_err(|error| AdmissionResponse::bad_request(parser_text(&error)))
    }
}

/// A review that cannot be parsed, with what is known of it.
#[derive(Debug, Clone, PartialEq)]
struct InvalidReview {
    version: String,
    uid: String,
    code: i32,
    message: String,
}

impl InvalidReview {
    fn new(code: i32, message: impl Into<String>) -> Self {
        Self { version: DEFAULT_VERSION.to_owned(), uid: String::new(), code, message: message.into() }
    }
}

/// The answer to a review that the caller could not read to its end.
pub(crate) fn unread_response(code: i32, message: &str) -> Vec<u8> {
    let InvalidReview { version, uid, code, message } = InvalidReview::new(code, message);
    admission_review(&version, &response_value(&uid, AdmissionResponse::Errored { code, message }))
}

/// The body of a POST, as a review.
#[derive(Debug)]
pub(crate) struct Review(Result<(String, Request), InvalidReview>);

impl Review {
    /// Reads it. The caller stops reading a body that is longer than [`MAX_REVIEW_BYTES`] and passes on what it has,
    /// at least one byte more than that.
    pub(crate) fn parse(content_type: Option<&str>, body: &[u8]) -> Self {
        Self(parse_review(content_type, body))
    }

    /// What is asked; `None`: it cannot be read, which [`Self::answer`] will say.
    pub(crate) fn request_mut(&mut self) -> Option<&mut Request> {
        self.0.as_mut().ok().map(|(_, request)| request)
    }

    /// Asks `handler`, and writes the answer. A handler that panics answers 500.
    pub(crate) fn answer(self, handler: impl FnOnce(&Request) -> AdmissionResponse) -> Vec<u8> {
        let (version, uid, response) = match self.0 {
            Ok((version, request)) => {
                let response = catch_unwind(AssertUnwindSafe(|| handler(&request)));
                (version, request.uid, response.unwrap_or_else(|panic| panicked(panic.as_ref())))
            }
            Err(InvalidReview { version, uid, code, message }) => {
                (version, uid, AdmissionResponse::Errored { code, message })
            }
        };
        admission_review(&version, &response_value(&uid, response))
    }
}

#[cfg(test)]
/// [`Review::parse`] and [`Review::answer`] at once.
pub(super) fn answer(
    content_type: Option<&str>,
    body: &[u8],
    handler: impl FnOnce(&Request) -> AdmissionResponse,
) -> Vec<u8> {
    Review::parse(content_type, body).answer(handler)
}

fn admission_review(version: &str, response: &Value) -> Vec<u8> {
    json!({"apiVersion": version, "kind": KIND, "response": response}).to_string().into_bytes()
}

/// The version of the review, and the question.
fn parse_review(content_type: Option<&str>, body: &[u8]) -> Result<(String, Request), InvalidReview> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Envelope<'a> {
        #[serde(default)]
        api_version: String,
        #[serde(default)]
        kind: String,
        #[serde(borrow, default)]
        request: Option<&'a RawValue>,
    }
    static UID: Parts = Parts::Members(&[("uid", Parts::Members(&[]))]);
    if body.is_empty() {
        return Err(InvalidReview::new(400, "request body is empty"));
    }
    if body.len() > MAX_REVIEW_BYTES {
        let message = format!("request entity is too large: limit is {MAX_REVIEW_BYTES} bytes");
        return Err(InvalidReview::new(413, message));
    }
    let given = content_type.unwrap_or("");
    let media_type = given.split(';').next().unwrap_or(given).trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        let given = text::cut(given, PARSER_TEXT_BYTES);
        return Err(InvalidReview::new(400, format!("contentType={given}, expected application/json")));
    }
    let envelope: Envelope<'_> =
        serde_json::from_slice(body).map_err(|error| InvalidReview::new(400, parser_text(&error)))?;
    let version = match (envelope.api_version.as_str(), envelope.kind.as_str()) {
        ("", "") => DEFAULT_VERSION.to_owned(),
        (version, KIND) if version.starts_with(GROUP) => envelope.api_version,
        (version, kind) => {
            let given = text::cut(&format!("{version}, Kind={kind}"), PARSER_TEXT_BYTES);
            return Err(InvalidReview::new(400, format!("unexpected review {given:?}")));
        }
    };
    let request = envelope.request.map_or("null", RawValue::get);
    serde_json::from_str(request).map(|request| (version.clone(), request)).map_err(|error| {
        let known = envelope.request.and_then(|request| parts::read(request, &UID).ok()).unwrap_or_default();
        let uid = known.get("uid").and_then(Value::as_str).unwrap_or_default().to_owned();
        InvalidReview { version, uid, code: 400, message: parser_text(&error) }
    })
}

/// What the parser says may repeat any part of the body.
fn parser_text(error: &serde_json::Error) -> String {
    text::cut(&error.to_string(), PARSER_TEXT_BYTES)
}

fn panicked(panic: &(dyn Any + Send)) -> AdmissionResponse {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown");
    AdmissionResponse::Errored { code: 500, message: format!("panic: {text} [recovered]") }
}

fn response_value(uid: &str, response: AdmissionResponse) -> Value {
    let allowed = json!({"uid": uid, "allowed": true, "status": {"code": 200}});
    let refused = |status: Value| json!({"uid": uid, "allowed": false, "status": status});
    match response {
        AdmissionResponse::Allow => allowed,
        AdmissionResponse::Patch(patch) if patch.is_empty() => allowed,
        AdmissionResponse::Patch(patch) => match serde_json::to_vec(&patch) {
            Ok(patch) => json!({
                "uid": uid, "allowed": true, "status": {"code": 200},
                "patchType": "JSONPatch", "patch": ByteString(patch),
            }),
            Err(error) => refused(json!({"code": 500, "message": error.to_string()})),
        },
        AdmissionResponse::Warn(warnings) if warnings.is_empty() => allowed,
        AdmissionResponse::Warn(warnings) => {
            json!({"uid": uid, "allowed": true, "status": {"code": 200}, "warnings": warnings})
        }
        AdmissionResponse::Deny(message) => {
            refused(json!({"code": 403, "reason": "Forbidden", "message": message}))
        }
        AdmissionResponse::DenyWithStatus(status) => refused(json!(status)),
        AdmissionResponse::Errored { code, message } => refused(json!({"code": code, "message": message})),
    }
}

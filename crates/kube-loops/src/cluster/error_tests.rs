// SPDX-License-Identifier: Apache-2.0

use kube::core::Status;
use serde_json::json;

use super::error::{Cause, ObjectRef, ReadError, WriteError};

fn object() -> ObjectRef {
    ObjectRef { kind: "Pod".into(), namespace: "ns".into(), name: "web".into() }
}

fn api_error(code: u16, reason: &str, message: &str) -> kube::Error {
    kube::Error::Api(Status::failure(message, reason).with_code(code).boxed())
}

fn write_error(code: u16, reason: &str, message: &str) -> WriteError {
    WriteError::new(object(), "create", &api_error(code, reason, message))
}

#[test]
fn things_read_like_names() {
    let table = [
        (object(), "Pod ns/web"),
        (ObjectRef { name: String::new(), ..object() }, "Pod in namespace ns"),
        (ObjectRef { namespace: String::new(), ..object() }, "Pod web"),
        (ObjectRef { namespace: String::new(), name: String::new(), ..object() }, "Pod"),
    ];
    for (object, want) in table {
        assert_eq!(object.to_string(), want);
    }
}

#[test]
fn answers_are_sorted_by_what_to_do() {
    let table = [
        (409, "Conflict", "Conflict"),
        (409, "AlreadyExists", "AlreadyExists"),
        (404, "NotFound", "NotFound"),
        (403, "Forbidden", "Forbidden"),
        (422, "Invalid", "Invalid"),
        (400, "BadRequest", "Invalid"),
        (413, "RequestEntityTooLarge", "Invalid"),
        (429, "TooManyRequests", "Other"),
        (401, "Unauthorized", "Other"),
        (500, "InternalError", "Other"),
        (503, "ServiceUnavailable", "Other"),
        (504, "Timeout", "Other"),
    ];
    for (code, reason, want) in table {
        let error = format!("{:?}", write_error(code, reason, "m"));
        assert!(error.starts_with(&format!("{want} ")), "{code} {reason}: {error}");
    }
}

#[test]
fn a_missing_permission_says_what_to_grant_and_a_quota_does_not() {
    let message = r#"pods is forbidden: User "sa" cannot create resource "pods" in the namespace "ns""#;
    let error = write_error(403, "Forbidden", message).to_string();
    assert_eq!(
        error,
        format!("not allowed to create Pod ns/web; grant it to the manager's ServiceAccount: {message}")
    );
    let error = write_error(403, "Forbidden", "exceeded quota: pods=10").to_string();
    assert_eq!(error, "not allowed to create Pod ns/web: exceeded quota: pods=10");
}

#[test]
fn a_namespace_that_goes_away_counts_as_gone() {
    let status: Status = serde_json::from_value(json!({
        "status": "Failure", "code": 403, "reason": "Forbidden", "message": "being terminated",
        "details": {"causes": [{"reason": "NamespaceTerminating", "message": "m", "field": "metadata.namespace"}]},
    }))
    .unwrap();
    let error = WriteError::new(object(), "create", &kube::Error::Api(status.boxed()));
    assert!(matches!(error, WriteError::NotFound { .. }), "{error:?}");
}

#[test]
fn a_patch_that_did_not_apply_is_a_conflict() {
    let message = "the server rejected our request due to an error in our request";
    let error = write_error(422, "Invalid", message);
    assert!(matches!(error, WriteError::Conflict { .. }), "{error:?}");
}

#[test]
fn answers_that_cannot_be_understood_are_trouble() {
    let malformed = kube::Error::SerdeError(serde_json::from_str::<u8>("x").unwrap_err());
    let error = ReadError::new(object(), &malformed);
    assert!(matches!(error.cause, Cause::Transport(_)), "{error:?}");
}

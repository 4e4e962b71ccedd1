// SPDX-License-Identifier: Apache-2.0
use serde_json::{Value, json};

use super::{
    json_patch::patch_between,
    parts::Parts,
    review::{AdmissionResponse, MAX_REVIEW_BYTES, Operation, Request, answer},
};
use crate::validation::field_error::FieldError;

const JSON: Option<&str> = Some("application/json");

fn review() -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u-1", "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
            "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
            "name": "web", "namespace": "ns", "operation": "CREATE", "userInfo": {"username": "me"},
            "object": {"metadata": {"name": "web"}}, "oldObject": null, "dryRun": null, "options": null,
        },
    })
}

fn ask(review: &Value, handler: impl FnOnce(&Request) -> AdmissionResponse) -> Value {
    serde_json::from_slice(&answer(JSON, review.to_string().as_bytes(), handler)).unwrap()
}

fn unasked(_: &Request) -> AdmissionResponse {
    panic!("a review that cannot be read reached the handler")
}

/// Code and message of a review that was not judged, whose answer carries `uid`.
fn failure(content_type: Option<&str>, body: &[u8], uid: &str) -> (i64, String) {
    let answer: Value = serde_json::from_slice(&answer(content_type, body, unasked)).unwrap();
    assert_eq!(answer["kind"], "AdmissionReview");
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    let response = &answer["response"];
    assert_eq!((&response["allowed"], &response["uid"]), (&json!(false), &json!(uid)));
    let status = &response["status"];
    (status["code"].as_i64().unwrap(), status["message"].as_str().unwrap().to_owned())
}

#[test]
fn the_answer_carries_the_uid_and_the_version_of_the_question() {
    let want = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": {"uid": "u-1", "allowed": true, "status": {"code": 200}},
    });
    assert_eq!(ask(&review(), |_| AdmissionResponse::Allow), want);
    let mut older = review();
    older["apiVersion"] = json!("admission.k8s.io/v1beta1");
    assert_eq!(ask(&older, |_| AdmissionResponse::Allow)["apiVersion"], "admission.k8s.io/v1beta1");
    let request = &review()["request"];
    assert_eq!(ask(&json!({"request": request}), |_| AdmissionResponse::Allow), want);
}

#[test]
fn the_handler_sees_what_is_done_to_which_object() {
    ask(&review(), |request| {
        assert_eq!(request.operation, Operation::Create);
        assert_eq!((request.name.as_str(), request.kind.kind.as_str()), ("web", "Deployment"));
        let object = request.object_of::<Value>("apps", "v1", "Deployment", &Parts::All);
        assert_eq!(object, Ok(json!({"metadata": {"name": "web"}})));
        assert_eq!(request.old_object(&Parts::All), Ok(Value::Null));
        AdmissionResponse::Allow
    });
}

#[test]
fn a_change_is_a_patch_and_no_change_is_none() {
    let object = review()["request"]["object"].clone();
    let mut changed = object.clone();
    changed["metadata"]["labels"] = json!({"a": "b"});
    let got = ask(&review(), |_| AdmissionResponse::Patch(patch_between(&object, &changed)));
    let patch = json!([{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]);
    let encoded = serde_json::to_value(k8s_openapi::ByteString(patch.to_string().into_bytes())).unwrap();
    let response = json!({
        "uid": "u-1", "allowed": true, "status": {"code": 200}, "patchType": "JSONPatch", "patch": encoded,
    });
    assert_eq!(got["response"], response);

    let got = ask(&review(), |_| AdmissionResponse::Patch(patch_between(&object, &object)));
    assert_eq!(got["response"], json!({"uid": "u-1", "allowed": true, "status": {"code": 200}}));
}

#[test]
fn a_refusal_is_403_forbidden_with_its_message() {
    let got = ask(&review(), |_| AdmissionResponse::Deny("no".into()));
    let status = json!({"code": 403, "reason": "Forbidden", "message": "no"});
    assert_eq!(got["response"], json!({"uid": "u-1", "allowed": false, "status": status}));
}

#[test]
fn an_invalid_object_is_422_with_a_cause_for_each_error() {
    let errors = [
        FieldError::required("spec.a", "must be set"),
        FieldError::invalid("spec.b", -1, "must be positive"),
    ];
    let got =
        ask(&review(), |_| AdmissionResponse::invalid_unless_empty("example.com", "Thing", "x", &errors));
    let status = &got["response"]["status"];
    assert_eq!((&status["status"], &status["code"]), (&json!("Failure"), &json!(422)));
    assert_eq!(status["reason"], "Invalid");
    let message = r#"Thing.example.com "x" is invalid: [spec.a: Required value: must be set, spec.b: Invalid value: -1: must be positive]"#;
    assert_eq!(status["message"], message);
    let details = json!({
        "group": "example.com", "kind": "Thing", "name": "x",
        "causes": [
            {"field": "spec.a", "reason": "FieldValueRequired", "message": "Required value: must be set"},
            {"field": "spec.b", "reason": "FieldValueInvalid", "message": "Invalid value: -1: must be positive"},
        ],
    });
    assert_eq!(status["details"], details);
    assert_eq!(
        AdmissionResponse::invalid_unless_empty("example.com", "Thing", "x", &[]),
        AdmissionResponse::Allow
    );
}

#[test]
fn a_handler_that_panics_answers_500() {
    let got = ask(&review(), |_| panic!("no {}", 7));
    let status = json!({"code": 500, "message": "panic: no 7 [recovered]"});
    assert_eq!(got["response"], json!({"uid": "u-1", "allowed": false, "status": status}));
}

#[test]
fn a_body_of_seven_mebibytes_is_read_and_one_byte_more_is_413() {
    let text = review().to_string();
    let padded = format!("{text}{}", " ".repeat(MAX_REVIEW_BYTES - text.len()));
    let got: Value =
        serde_json::from_slice(&answer(JSON, padded.as_bytes(), |_| AdmissionResponse::Allow)).unwrap();
    assert_eq!(got["response"]["allowed"], true);
    let (code, message) = failure(JSON, format!("{padded} ").as_bytes(), "");
    assert_eq!((code, message.as_str()), (413, "request entity is too large: limit is 7340032 bytes"));
}

#[test]
fn another_content_type_is_400() {
    let body = review().to_string();
    for (given, want) in [
        (None, "contentType=, expected application/json"),
        (Some("text/plain"), "contentType=text/plain, expected application/json"),
        (Some("application/jsonx"), "contentType=application/jsonx, expected application/json"),
    ] {
        assert_eq!(failure(given, body.as_bytes(), ""), (400, want.to_owned()));
    }
    for given in ["application/json; charset=utf-8", "Application/JSON"] {
        let answer: Value =
            serde_json::from_slice(&answer(Some(given), body.as_bytes(), |_| AdmissionResponse::Allow))
                .unwrap();
        assert_eq!(answer["response"]["allowed"], true, "{given}");
    }
}

#[test]
fn what_is_no_review_is_400() {
    assert_eq!(failure(JSON, b"", ""), (400, "request body is empty".to_owned()));
    let nested = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in [
        "x",
        "{",
        "[]",
        "null",
        "1",
        "\"\"",
        "{}",
        r#"{"request": null}"#,
        r#"{"request": []}"#,
        "\u{0}",
        r#"{"apiVersion": "v1", "kind": "Pod", "request": {"uid": "u", "operation": "CREATE"}}"#,
        r#"{"apiVersion": "admission.k8s.io/v1", "kind": "Other", "request": {"uid": "u"}}"#,
        &nested,
    ] {
        let (code, message) = failure(JSON, body.as_bytes(), "");
        assert_eq!(code, 400, "{body:.80}");
        assert!(!message.is_empty() && message.len() <= 1024, "{message}");
    }
    assert_eq!(failure(JSON, &[b'"', 0xff, b'"'], "").0, 400);
}

#[test]
fn a_review_that_is_only_partly_readable_still_gets_its_uid_back() {
    for (field, value) in [("operation", json!("BREW")), ("operation", Value::Null), ("name", json!(1))] {
        let mut review = review();
        review["request"][field] = value;
        assert_eq!(failure(JSON, review.to_string().as_bytes(), "u-1").0, 400, "{field}");
    }
}

#[test]
fn another_kind_or_no_object_is_400() {
    let object = |review: &Value| {
        ask(review, |request| match request.object_of::<Value>("apps", "v1", "Deployment", &Parts::All) {
            Ok(_) => AdmissionResponse::Allow,
            Err(response) => response,
        })["response"]["status"]
            .clone()
    };
    assert_eq!(object(&review()), json!({"code": 200}));
    let mut other = review();
    other["request"]["kind"]["version"] = json!("v2");
    let message = r#"unexpected object "apps/v2, Kind=Deployment", expected "apps/v1, Kind=Deployment""#;
    assert_eq!(object(&other), json!({"code": 400, "message": message}));
    let mut empty = review();
    empty["request"]["object"] = Value::Null;
    assert_eq!(object(&empty), json!({"code": 400, "message": "there is no content to decode"}));
}

#[test]
fn warnings_come_with_an_object_that_passes() {
    let answer = ask(&review(), |_| AdmissionResponse::Warn(vec!["take care".to_owned()]));
    assert_eq!(answer["response"]["allowed"], true);
    assert_eq!(answer["response"]["warnings"], json!(["take care"]));
    assert_eq!(
        ask(&review(), |_| AdmissionResponse::Warn(Vec::new())),
        ask(&review(), |_| AdmissionResponse::Allow)
    );
}

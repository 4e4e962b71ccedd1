// SPDX-License-Identifier: Apache-2.0
use serde_json::json;

use super::field_error::{FieldError, invalid_message};

#[test]
fn errors_read_as_kubernetes_prints_them() {
    for (error, text) in [
        (
            FieldError::invalid("spec.minReplicas", -1, "must not be negative"),
            "spec.minReplicas: Invalid value: -1: must not be negative",
        ),
        (
            FieldError::required("spec.scaleTargetRef.name", "must be set"),
            "spec.scaleTargetRef.name: Required value: must be set",
        ),
        (FieldError::forbidden("spec.a", "no"), "spec.a: Forbidden: no"),
        (FieldError::invalid("spec.a", "x\"y", "bad"), r#"spec.a: Invalid value: "x\"y": bad"#),
        (FieldError::invalid("spec.a", json!([{"b": 1}]), ""), r#"spec.a: Invalid value: [{"b":1}]"#),
        (FieldError::invalid("spec.a", json!(null), "bad"), "spec.a: Invalid value: null: bad"),
        (
            FieldError::not_supported("spec.scalingStrategy", "XPA", &["HPA", "KPA", "APA"]),
            r#"spec.scalingStrategy: Unsupported value: "XPA": supported values: "HPA", "KPA", "APA""#,
        ),
    ] {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn several_errors_stand_in_brackets_and_none_twice() {
    let a = FieldError::required("spec.a", "");
    let b = FieldError::required("spec.b", "must be set");
    let of = |errors: &[FieldError]| invalid_message("Kind.group", "n", errors);
    assert_eq!(of(&[]), r#"Kind.group "n" is invalid"#);
    assert_eq!(of(std::slice::from_ref(&a)), r#"Kind.group "n" is invalid: spec.a: Required value"#);
    let several =
        r#"Kind.group "n" is invalid: [spec.a: Required value, spec.b: Required value: must be set]"#;
    assert_eq!(of(&[a.clone(), b, a]), several);
}

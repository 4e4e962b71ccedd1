// SPDX-License-Identifier: Apache-2.0
use serde_json::{Value, json};

use super::{
    field_error::FieldError,
    storm_service::{creation_errors, update_errors, update_warnings},
};

fn role(name: &str) -> Value {
    json!({"name": name, "replicas": 1, "template": {"spec": {"containers": []}}})
}

fn grouped(name: &str, size: i32) -> Value {
    let mut role = role(name);
    role["podGroupSize"] = json!(size);
    role
}

fn service(roles: &[Value]) -> Value {
    json!({"metadata": {"name": "web"}, "spec": {"template": {"spec": {"roles": roles}}}})
}

fn texts(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(FieldError::to_string).collect()
}

fn refused(name: &str, service: &Value) -> Vec<String> {
    texts(&creation_errors(name, service))
}

/// A valid object whose amounts are these.
fn with_amounts(unavailable: &Value, surge: &Value) -> Value {
    let mut service = service(&[role("prefill")]);
    service["spec"]["updateStrategy"] = json!({"maxUnavailable": unavailable, "maxSurge": surge});
    service
}

// scenario: storm-service 43
#[test]
fn names_leave_room_for_what_is_made_of_them() {
    let name = |length: usize| "n".repeat(length);
    let table = [
        ("a name of 64", 64, vec![], false),
        ("a name of 63", 63, vec![role("r")], true),
        ("50 + 20 in a group", 50, vec![grouped(&name(20), 2)], false),
        ("12 + 11 in a group", 12, vec![grouped(&name(11), 2)], true),
        ("the longer of two roles counts", 30, vec![grouped(&name(5), 2), grouped(&name(35), 2)], false),
        ("50 + 20 without a group", 50, vec![role(&name(20))], true),
        ("30 + 5 + 35 without groups", 30, vec![role(&name(5)), role(&name(35))], true),
        ("a group of one is none", 50, vec![grouped(&name(20), 1)], true),
        ("27 in all", 16, vec![grouped(&name(11), 2)], true),
        ("28 in all", 17, vec![grouped(&name(11), 2)], false),
    ];
    for (label, length, roles, accepted) in table {
        assert_eq!(refused(&name(length), &service(&roles)).is_empty(), accepted, "{label}");
    }
}

#[test]
fn messages_about_long_names_say_what_to_do() {
    let [long] = &refused(&"n".repeat(64), &service(&[]))[..] else { panic!("one error") };
    assert!(long.contains("StormService name must be no more than 63 characters"), "{long}");
    let [estimate] = &refused(&"n".repeat(30), &service(&[grouped(&"r".repeat(35), 2)]))[..] else {
        panic!("one error")
    };
    for part in ["30 characters", "35 characters", "about 101", "shorter"] {
        assert!(estimate.contains(part), "{estimate} names {part}");
    }
}

#[test]
fn a_creation_without_a_role_set_is_refused_with_its_path() {
    let empty = [
        json!({}),
        json!({"spec": null}),
        json!({"spec": {"template": {}}}),
        json!({"spec": {"template": {"spec": null}}}),
    ];
    for service in empty {
        let [error] = &refused("web", &service)[..] else { panic!("one error for {service}") };
        assert!(error.starts_with("spec.template.spec: Required value"), "{error}");
    }
}

#[test]
fn names_that_fail_later_are_refused_at_creation() {
    for name in ["1web", "web.example", "-web"] {
        let [error] = &refused(name, &service(&[role("r")]))[..] else { panic!("one error for {name}") };
        assert!(error.starts_with("metadata.name: Invalid value"), "{error}");
    }
    for name in ["web", "w", "web-1", ""] {
        assert_eq!(refused(name, &service(&[role("r")])), Vec::<String>::new(), "{name:?}");
    }
    let bad_roles = [
        ("", "spec.template.spec.roles[1].name: Required value"),
        ("decode", "another role has this name"),
        ("Prefill", "lower-case"),
        ("a_b", "lower-case"),
        (&"r".repeat(45), "no more than 44 characters"),
    ];
    for (name, part) in bad_roles {
        let [error] = &refused("web", &service(&[role("decode"), role(name)]))[..] else {
            panic!("one error for {name}")
        };
        assert!(error.contains(part) && error.contains("roles[1].name"), "{error}");
    }
    assert_eq!(refused("web", &service(&[role(&"r".repeat(44)), role("9")])), Vec::<String>::new());
}

#[test]
fn amounts_of_a_rolling_update_are_numbers_or_percentages() {
    let good = [json!(null), json!(0), json!(7), json!("0%"), json!("25%"), json!("250%")];
    for amount in &good {
        assert_eq!(refused("web", &with_amounts(amount, amount)), Vec::<String>::new(), "{amount}");
    }
    let bad = [
        json!("abc"),
        json!("5"),
        json!("-5%"),
        json!(-1),
        json!("%"),
        json!(""),
        json!(1.5),
        json!(true),
        json!("99999999999%"),
    ];
    for amount in &bad {
        let errors = refused("web", &with_amounts(&json!(1), amount));
        let [error] = &errors[..] else { panic!("one error for {amount}: {errors:?}") };
        assert!(error.starts_with("spec.updateStrategy.maxSurge: Invalid value"), "{error}");
        let errors = refused("web", &with_amounts(amount, &json!(1)));
        assert!(errors[0].starts_with("spec.updateStrategy.maxUnavailable: Invalid value"), "{errors:?}");
    }
}

#[test]
fn a_change_is_refused_only_for_what_it_makes_worse() {
    let (bad, good) = (with_amounts(&json!("abc"), &json!(0)), with_amounts(&json!(1), &json!(0)));
    assert_eq!(texts(&update_errors(&bad, &bad)), Vec::<String>::new(), "it was so before");
    assert_eq!(update_errors(&good, &bad).len(), 1);
    assert_eq!(update_errors(&bad, &good), []);

    let (full, empty) =
        (service(&[role("r")]), json!({"metadata": {"name": "web"}, "spec": {"template": {}}}));
    assert_eq!(update_errors(&full, &empty).len(), 1, "the template was taken away");
    assert_eq!(update_errors(&empty, &empty), []);
    let mut leaving = empty.clone();
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(update_errors(&full, &leaving), [], "nothing may hold a deletion");
    assert_eq!(update_errors(&json!(null), &good), [], "a review without the old object");
}

#[test]
fn a_change_of_an_object_with_bad_names_is_warned_of() {
    let mut service = service(&[role("A")]);
    service["metadata"]["name"] = json!("1web");
    let warnings = update_warnings(&service);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[0].starts_with("metadata.name") && warnings[1].contains("roles[0].name"),
        "{warnings:?}"
    );
    service["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(update_warnings(&service), Vec::<String>::new());
}

#[test]
fn shapes_that_the_schema_refuses_are_no_reason_to_panic() {
    let strange = [
        json!(null),
        json!([]),
        json!("text"),
        json!({"spec": {"template": {"spec": {"roles": {"a": 1}}}}}),
        json!({"spec": {"template": {"spec": {"roles": [null, 1, {"name": 3, "podGroupSize": "x"}]}}}}),
        json!({"spec": {"updateStrategy": [], "template": {"spec": 1}}}),
    ];
    for service in &strange {
        drop((creation_errors("web", service), update_warnings(service)));
        for other in &strange {
            drop(update_errors(service, other));
        }
    }
}

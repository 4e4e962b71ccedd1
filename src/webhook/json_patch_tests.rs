// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;
use serde_json::{Value, json};

use super::json_patch::patch_between;

fn operations(before: &Value, after: &Value) -> Value {
    serde_json::to_value(patch_between(before, after)).unwrap()
}

#[test]
fn an_object_that_did_not_change_gets_no_patch() {
    let object = json!({"spec": {"containers": [{"name": "a", "future": {"x": 1.5}}]}, "status": null});
    assert_eq!(operations(&object, &object), json!([]));
}

#[test]
fn only_paths_that_differ_are_named() {
    let before = json!({"metadata": {"labels": {"a/b": "1", "c~d": "2"}}, "spec": {"x": 1, "y": [], "z": 0}});
    let after = json!({"metadata": {"labels": {"a/b": "3"}}, "spec": {"x": 1, "y": {}, "z": 0, "new": null}});
    let want = json!([
        {"op": "replace", "path": "/metadata/labels/a~1b", "value": "3"},
        {"op": "remove", "path": "/metadata/labels/c~0d"},
        {"op": "replace", "path": "/spec/y", "value": {}},
        {"op": "add", "path": "/spec/new", "value": null},
    ]);
    assert_eq!(operations(&before, &after), want);
}

#[test]
fn a_parent_that_was_missing_is_added_with_its_child() {
    let want = json!([{"op": "add", "path": "/metadata", "value": {"labels": {"a": "b"}}}]);
    assert_eq!(operations(&json!({}), &json!({"metadata": {"labels": {"a": "b"}}})), want);
}

#[test]
fn one_element_more_or_less_is_one_operation() {
    for (before, after, want) in [
        (json!([1, 2]), json!([0, 1, 2]), json!([{"op": "add", "path": "/0", "value": 0}])),
        (json!([1, 2]), json!([1, 2, 3]), json!([{"op": "add", "path": "/2", "value": 3}])),
        (json!([1, 2]), json!([1, 9, 2]), json!([{"op": "add", "path": "/1", "value": 9}])),
        (json!([1, 2, 3]), json!([1, 3]), json!([{"op": "remove", "path": "/1"}])),
        (json!([1, 1]), json!([1]), json!([{"op": "remove", "path": "/1"}])),
        (
            json!([1, 2, 3]),
            json!([1]),
            json!([{"op": "remove", "path": "/2"}, {"op": "remove", "path": "/1"}]),
        ),
        (
            json!([{"a": 1, "b": 2}]),
            json!([{"a": 1, "b": 3}]),
            json!([{"op": "replace", "path": "/0/b", "value": 3}]),
        ),
    ] {
        assert_eq!(operations(&before, &after), want, "{before} to {after}");
    }
}

#[test]
fn an_object_of_another_type_is_replaced_as_a_whole() {
    assert_eq!(operations(&json!({}), &json!([])), json!([{"op": "replace", "path": "", "value": []}]));
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3).prop_map(Value::from),
        "[a/~]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[ab/~]{0,2}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_patch_turns_one_object_into_the_other(before in value(), after in value()) {
        let patch = patch_between(&before, &after);
        let mut patched = before.clone();
        json_patch::patch(&mut patched, &patch).unwrap();
        prop_assert_eq!(patched, after);
    }
}

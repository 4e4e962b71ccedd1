// SPDX-License-Identifier: Apache-2.0
//! The smallest patch that turns the object of a review into what a handler made of it.

use json_patch::{
    AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation, jsonptr::PointerBuf,
};
use serde_json::{Map, Value};

/// The operations that turn `before` into `after`; empty when they are equal.
///
/// Only paths that differ are named. Elements that a list has in common at its start and end are left alone,
/// so one that was put in or taken out is one operation; between those, elements are compared by position.
pub(crate) fn patch_between(before: &Value, after: &Value) -> Patch {
    Patch(operations_between(&PointerBuf::new(), before, after))
}

/// The same for a part of an object, which stands at `path`.
pub(crate) fn operations_between(path: &PointerBuf, before: &Value, after: &Value) -> Vec<PatchOperation> {
    let mut operations = Vec::new();
    compare(path, before, after, &mut operations);
    operations
}

fn compare(path: &PointerBuf, before: &Value, after: &Value, operations: &mut Vec<PatchOperation>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Value::Object(before), Value::Object(after)) => compare_objects(path, before, after, operations),
        (Value::Array(before), Value::Array(after)) => compare_lists(path, before, after, operations),
        (_, after) => operations
            .push(PatchOperation::Replace(ReplaceOperation { path: path.clone(), value: after.clone() })),
    }
}

fn compare_objects(
    path: &PointerBuf,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    operations: &mut Vec<PatchOperation>,
) {
    for (key, old) in before {
        let path = path.with_trailing_token(key.as_str());
        match after.get(key) {
            Some(new) => compare(&path, old, new, operations),
            None => operations.push(PatchOperation::Remove(RemoveOperation { path })),
        }
    }
    for (key, value) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
        let path = path.with_trailing_token(key.as_str());
        operations.push(PatchOperation::Add(AddOperation { path, value: value.clone() }));
    }
}

fn compare_lists(path: &PointerBuf, before: &[Value], after: &[Value], operations: &mut Vec<PatchOperation>) {
    let start = before.iter().zip(after).take_while(|(old, new)| old == new).count();
    let (before, after) = (before.get(start..).unwrap_or_default(), after.get(start..).unwrap_or_default());
    let end = before.iter().rev().zip(after.iter().rev()).take_while(|(old, new)| old == new).count();
    let before = before.get(..before.len() - end).unwrap_or_default();
    let after = after.get(..after.len() - end).unwrap_or_default();

    for (place, (old, new)) in before.iter().zip(after).enumerate() {
        compare(&path.with_trailing_token(start + place), old, new, operations);
    }
    // From behind: an index stays true until it is used.
    for place in (after.len()..before.len()).rev() {
        let path = path.with_trailing_token(start + place);
        operations.push(PatchOperation::Remove(RemoveOperation { path }));
    }
    for (place, value) in after.iter().enumerate().skip(before.len()) {
        let path = path.with_trailing_token(start + place);
        operations.push(PatchOperation::Add(AddOperation { path, value: value.clone() }));
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Members of JSON values by path, whatever users wrote. Pure.

use serde_json::{Map, Value};

/// The member at this path, to be read; `Null`: something on the way is absent or no object.
pub(super) fn at<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(value, |value, name| value.get(*name).unwrap_or(&Value::Null))
}

/// The member at this path, to be written: what is absent or no object on the way becomes an empty one.
pub(super) fn at_mut<'a>(value: &'a mut Value, path: &[&str]) -> &'a mut Value {
    path.iter().fold(value, |value, name| member_mut(value, name))
}

fn member_mut<'a>(value: &'a mut Value, name: &str) -> &'a mut Value {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    &mut value[name]
}

/// Writes the member at this path: [`at_mut`].
pub(super) fn put(value: &mut Value, path: &[&str], member: impl Into<Value>) {
    *at_mut(value, path) = member.into();
}

/// The elements of the list at this path; none where there is no list.
pub(super) fn list<'a>(value: &'a Value, path: &[&str]) -> impl Iterator<Item = &'a Value> + use<'a> {
    at(value, path).as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_object_is_read_as_absent_and_written_over() {
        let mut pod = json!({"metadata": {"labels": "text"}, "spec": null});
        assert_eq!(at(&pod, &["metadata", "labels", "app"]), &Value::Null);
        assert_eq!(list(&pod, &["spec", "containers"]).count(), 0);
        put(&mut pod, &["metadata", "labels", "app"], "llm");
        put(&mut pod, &["spec", "hostname"], "a");
        assert_eq!(pod, json!({"metadata": {"labels": {"app": "llm"}}, "spec": {"hostname": "a"}}));
        at_mut(&mut pod, &["metadata"]);
        assert_eq!(at(&pod, &["metadata", "labels"]), &json!({"app": "llm"}));
    }
}

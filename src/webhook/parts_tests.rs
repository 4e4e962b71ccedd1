// SPDX-License-Identifier: Apache-2.0
use serde_json::{Value, json, value::to_raw_value};

use super::parts::{MOST_VALUES, Parts, read};

static PARTS: Parts =
    Parts::Members(&[("all", Parts::All), ("list", Parts::Each(&Parts::Members(&[("name", Parts::All)])))]);

fn kept(object: &Value) -> Value {
    read(&to_raw_value(object).unwrap(), &PARTS).unwrap()
}

#[test]
fn only_what_is_asked_for_is_kept() {
    let all = json!({"a": [1, -2, 0.5, true, null, "x", {"b": []}], "é\n": {}});
    let object = json!({"all": all, "other": [[]], "list": [{"name": "a", "image": "b"}, {}, 1, [2]]});
    assert_eq!(kept(&object), json!({"all": all, "list": [{"name": "a"}, {}, 1, []]}));
    for other in [json!({"all": 7, "list": {"name": "a"}}), json!({"list": null}), json!([1]), json!("text")]
    {
        let shape = match &other {
            Value::Array(_) => json!([]),
            it if it["list"].is_object() => json!({"all": 7, "list": {}}),
            it => it.clone(),
        };
        assert_eq!(kept(&other), shape);
    }
}

#[test]
fn what_is_skipped_may_be_of_any_size_and_what_is_kept_may_not() {
    let text = |part: &str, count: usize| {
        let text = format!(r#"{{"{part}": [{}]}}"#, vec!["[]"; count].join(","));
        serde_json::from_str::<Box<serde_json::value::RawValue>>(&text).unwrap()
    };
    assert_eq!(read(&text("other", 2 * MOST_VALUES), &PARTS).unwrap(), json!({}));
    // The object and the list count, too.
    read(&text("all", MOST_VALUES - 2), &PARTS).unwrap();
    for part in ["all", "list"] {
        let error = read(&text(part, MOST_VALUES - 1), &PARTS).unwrap_err();
        assert!(error.to_string().starts_with("more than 100000 values"), "{error}");
    }
    let deep = format!(r#"{{"all": {}{}, "other": 1}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let deep = serde_json::from_str::<Box<serde_json::value::RawValue>>(&deep).unwrap();
    assert!(read(&deep, &PARTS).unwrap_err().to_string().starts_with("recursion limit exceeded"));
}

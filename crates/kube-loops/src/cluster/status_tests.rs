// SPDX-License-Identifier: Apache-2.0

use serde_json::{Value, json};

use super::status::same;

#[test]
fn statuses_are_compared_as_a_reader_sees_them() {
    let table: [(Value, Value, bool, &str); 13] = [
        (json!({"a": 1}), json!({"a": 1}), true, "equal"),
        (json!({"a": 1}), json!({"a": 2}), false, "another number"),
        (json!({"a": 1}), json!({}), false, "a field less"),
        (json!({}), json!({"a": 1}), false, "a field more"),
        (json!({"a": null}), json!({}), true, "null is absent"),
        (json!({"a": []}), json!({}), false, "an empty list is not absent"),
        (json!({"t": "2026-11-24T12:00:00Z"}), json!({"t": "2026-11-24T12:00:00.9Z"}), true, "same second"),
        (json!({"t": "2026-11-24T12:00:00Z"}), json!({"t": "2026-11-24T12:00:01Z"}), false, "next second"),
        (
            json!({"t": "2026-11-24T12:00:00Z"}),
            json!({"t": "2026-11-24T13:00:00+01:00"}),
            true,
            "another zone",
        ),
        (json!({"t": "20"}), json!({"t": "20.0"}), false, "numbers in strings are text"),
        (json!([1, 2]), json!([2, 1]), false, "order counts"),
        (json!([{"t": null}]), json!([{}]), true, "within lists"),
        (json!([1]), json!([1, 2]), false, "longer list"),
    ];
    for (have, want, equal, why) in table {
        assert_eq!(same(&have, &want), equal, "{why}");
        assert_eq!(same(&want, &have), equal, "{why}, turned around");
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Whether a status has to be written. Pure.

use serde::Serialize;
use serde_json::Value;

use kube_fenced_election::clock::Timestamp;

/// Whether two statuses are the same to a reader of the API: compared as JSON, with times compared at one
/// second (stored times have no fraction) and with an explicit null as good as an absent field.
///
/// What cannot be written as JSON is different from everything, so that its write reports the fault.
pub fn same<T: Serialize>(have: &T, want: &T) -> bool {
    match (serde_json::to_value(have), serde_json::to_value(want)) {
        (Ok(have), Ok(want)) => same_value(&have, &want),
        _ => false,
    }
}

fn same_value(have: &Value, want: &Value) -> bool {
    match (have, want) {
        (Value::Object(have), Value::Object(want)) => {
            let covers = |one: &serde_json::Map<String, Value>, other: &serde_json::Map<String, Value>| {
                one.iter().all(|(key, value)| same_value(value, other.get(key).unwrap_or(&Value::Null)))
            };
            covers(have, want) && covers(want, have)
        }
        (Value::Array(have), Value::Array(want)) => {
            have.len() == want.len() && have.iter().zip(want).all(|(have, want)| same_value(have, want))
        }
        (Value::String(have), Value::String(want)) => have == want || is_same_second(have, want),
        _ => have == want,
    }
}

fn is_same_second(have: &str, want: &str) -> bool {
    let second = |text: &str| text.parse::<Timestamp>().ok().map(Timestamp::as_second);
    // Only what looks like a stored time: a bare date or a time without a zone is text.
    let looks_stored = |text: &str| text.len() >= 20 && text.as_bytes().get(10) == Some(&b'T');
    looks_stored(have) && looks_stored(want) && second(have).is_some_and(|have| Some(have) == second(want))
}

// SPDX-License-Identifier: Apache-2.0
//! The hash of what a child object was made from.
//!
//! A controller that builds a workload from a few inputs, and must not restart it when the controller
//! itself is exchanged, stamps the object with a hash of the inputs instead of comparing what it would
//! build today. The algorithm can therefore never change: null, `{}` and `[]` are left out (elements of
//! lists never are), quantities become their value, everything else counts as it stands.

use serde_json::{Map, Value};

use super::{
    canonical::is_empty,
    hashes::{sha256_prefix, sorted_json},
    quantity::decimal,
};

/// Hexadecimal digits of an input hash.
const DIGITS: usize = 16;

/// The first 16 hexadecimal digits of SHA-256 over [`canonical_inputs`].
pub fn input_hash(inputs: &Value) -> String {
    sha256_prefix(&canonical_inputs(inputs), DIGITS)
}

/// The text that is hashed: [`sorted_json`] of the inputs, less members that are null, `{}` or `[]` (once
/// their own members are left out) and less `value: ""` of a variable. Quantities (every member of
/// `limits`, `requests` and `overhead`, `sizeLimit`, `divisor`) are decimal text in base units.
pub fn canonical_inputs(inputs: &Value) -> String {
    sorted_json(&reduced(inputs, false))
}

fn reduced(value: &Value, of_variable: bool) -> Value {
    match value {
        Value::Object(members) => Value::Object(members_of(members, of_variable)),
        Value::Array(elements) => elements.iter().map(|element| reduced(element, of_variable)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn members_of(members: &Map<String, Value>, of_variable: bool) -> Map<String, Value> {
    let mut kept = Map::new();
    for (name, value) in members {
        let value = match (name.as_str(), value) {
            ("limits" | "requests" | "overhead", Value::Object(amounts)) => {
                amounts.iter().map(|(name, amount)| (name.clone(), quantity(amount))).collect()
            }
            ("sizeLimit" | "divisor", amount) => quantity(amount),
            (name, value) => reduced(value, name == "env"),
        };
        let is_empty_variable = of_variable && name == "value" && value.as_str() == Some("");
        if !value.is_null() && !is_empty(&value) && !is_empty_variable {
            kept.insert(name.clone(), value);
        }
    }
    kept
}

fn quantity(value: &Value) -> Value {
    let number = super::canonical::quantity_text(value).and_then(|text| decimal(&text));
    number.map_or_else(|| value.clone(), Value::String)
}

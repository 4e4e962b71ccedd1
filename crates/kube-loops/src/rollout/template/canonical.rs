// SPDX-License-Identifier: Apache-2.0
//! One form for all templates that mean the same.
//!
//! Stored templates differ in how they were written: by a user, with `false` and `""` spelled out; by a
//! program in Go, which adds `{}` and `null` and rewrites quantities. A rollout that such a difference
//! starts restarts every model, so templates are compared in a canonical form:
//!
//! | Member | Canonical |
//! |---|---|
//! | null, `$patch` at the top, creation time | absent |
//! | false, 0, `""` of a field that is no pointer; its default | absent |
//! | `[]`, `{}` of a map, `{}` of a struct that is no pointer (after its own members) | absent |
//! | zero or `{}` of a pointer | kept: `automountServiceAccountToken: false`, `emptyDir: {}` differ from absent |
//! | quantity | its value in base units, as text: `1000m` and `1` alike |
//! | values of maps, scalar elements of lists | as they stand: `{k: ""}` differs from absent |
//! | members that the types do not know | as they stand |
//!
//! That is exactly when two templates are equal to a program that reads them into structs and compares nil
//! and empty alike. Applying the defaults of the served CRD, and dropping what it does not know, comes
//! before: a newer CRD adds members to one side only.

use serde_json::{Map, Value};

use super::{
    layout::{Field, Layout, Shape},
    quantity::{GoQuantity, decimal},
};

/// How much a `{}` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leniency {
    /// As in the table of this page.
    Exact,
    /// A `{}` of a pointer is absent, too, but for selectors: `labelSelector: {}` and `namespaceSelector:
    /// {}` select everything, absent ones nothing. Only to recognise what somebody else wrote.
    Lenient,
}

/// The canonical form of a value of this type; null where nothing is left.
pub fn canonical(value: &Value, layout: &Layout, go_type: &'static str, leniency: Leniency) -> Value {
    let reducer = Reducer { layout, leniency };
    let top = match value {
        Value::Object(members) if members.contains_key("$patch") => {
            let rest = members.iter().filter(|(name, _)| *name != "$patch");
            &Value::Object(rest.map(|(name, value)| (name.clone(), value.clone())).collect())
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => value,
    };
    reducer.reduce(top, go_type).unwrap_or(Value::Null)
}

/// Whether two values of this type mean the same.
pub fn are_equal(a: &Value, b: &Value, layout: &Layout, go_type: &'static str, leniency: Leniency) -> bool {
    canonical(a, layout, go_type, leniency) == canonical(b, layout, go_type, leniency)
}

struct Reducer<'a> {
    layout: &'a Layout,
    leniency: Leniency,
}

impl Reducer<'_> {
    /// `None`: as good as absent.
    fn reduce(&self, value: &Value, go_type: &'static str) -> Option<Value> {
        match (self.layout.shape(go_type), value) {
            (_, Value::Null) | (Shape::Time, _) => None,
            (Shape::Pointer(target), value) => Some(self.kept(value, target)),
            (Shape::Quantity, value) => {
                let zero = quantity_text(value)
                    .and_then(|text| GoQuantity::parse(&text))
                    .is_some_and(|q| q.is_zero());
                (!zero).then(|| self.kept(value, go_type))
            }
            (Shape::List(_) | Shape::Map(_) | Shape::Struct(_), Value::Array(_) | Value::Object(_)) => {
                Some(self.kept(value, go_type)).filter(|value| !is_empty(value))
            }
            (_, value) => (!is_zero(value)).then(|| value.clone()),
        }
    }

    /// The canonical form of a value that counts even if it is zero or empty: the target of a pointer, an
    /// element of a list, a value of a map.
    fn kept(&self, value: &Value, go_type: &'static str) -> Value {
        match (self.layout.shape(go_type), value) {
            (Shape::Struct(fields), Value::Object(members)) => Value::Object(self.members(fields, members)),
            (Shape::List(element), Value::Array(elements)) => {
                elements.iter().map(|value| self.kept(value, element)).collect()
            }
            (Shape::Map(element), Value::Object(members)) => {
                let present = members.iter().filter(|(_, value)| !value.is_null());
                Value::Object(present.map(|(key, value)| (key.clone(), self.kept(value, element))).collect())
            }
            (Shape::Quantity, value) => {
                let number = quantity_text(value).and_then(|text| decimal(&text));
                number.map_or_else(|| value.clone(), Value::String)
            }
            (_, value) => value.clone(),
        }
    }

    fn members(&self, fields: &[Field], members: &Map<String, Value>) -> Map<String, Value> {
        let known = self.layout.members(fields);
        let mut reduced = Map::new();
        for (name, value) in members {
            let kept = match known.iter().find(|(known, _)| known == name) {
                Some((name, field)) => self.member(name, field, value),
                None => Some(value.clone()).filter(|value| !value.is_null()),
            };
            if let Some(value) = kept {
                reduced.insert(name.clone(), value);
            }
        }
        reduced
    }

    fn member(&self, name: &str, field: &Field, value: &Value) -> Option<Value> {
        let reduced = self.reduce(value, field.go_type)?;
        let is_default = field.default.is_some_and(|default| reduced.as_str() == Some(default));
        let selects = matches!(name, "labelSelector" | "namespaceSelector");
        let dropped = self.leniency == Leniency::Lenient && is_empty(&reduced) && !selects;
        (!is_default && !dropped).then_some(reduced)
    }
}

/// A quantity may be written as a number.
pub(super) fn quantity_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(elements) => elements.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

pub(super) fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Bool(true) | Value::Array(_) | Value::Object(_) => false,
    }
}

// SPDX-License-Identifier: Apache-2.0
//! What a program in Go writes of a template that it has read into structs, byte for byte.
//!
//! Revisions that such a program wrote, and those that it shall recognise after a downgrade, have this
//! form: compact, the members of every object sorted by bytes, `<`, `>`, `&` and the two Unicode line
//! separators escaped, structs written although empty, zero values of other fields left out unless they are
//! pointers, quantities in their canonical text. It matters beyond beauty: the API server compares the data
//! of a `ControllerRevision` byte by byte and refuses a patch of one that was created with unescaped
//! characters.
//!
//! Members that the types do not know are written as they stand, where Go would lose them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    canonical::{is_empty, is_zero, quantity_text},
    layout::{Field, Layout, Shape},
    quantity::GoQuantity,
};

/// The JSON of a struct of this type.
pub fn go_json(value: &Value, layout: &Layout, go_type: &'static str) -> String {
    Writer { layout }.element(value, go_type)
}

/// The data of a `ControllerRevision` that holds a template: `{"spec":{"template":<T>}}`, where `<T>` also
/// says `"$patch":"replace"`, so that it can be applied as a patch.
pub fn revision_data(template: &Value, layout: &Layout, go_type: &'static str) -> String {
    let mut marked = match template {
        Value::Object(members) => members.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    };
    marked.insert("$patch".to_owned(), Value::from("replace"));
    let template = go_json(&Value::Object(marked), layout, go_type);
    format!(r#"{{"spec":{{"template":{template}}}}}"#)
}

struct Writer<'a> {
    layout: &'a Layout,
}

impl Writer<'_> {
    /// A field of a struct; `None` where Go leaves it out.
    fn field(&self, value: Option<&Value>, field: &Field) -> Option<String> {
        let value = value.unwrap_or(&Value::Null);
        let written = match self.layout.shape(field.go_type) {
            Shape::Struct(_) | Shape::Quantity | Shape::IntOrString | Shape::Time => true,
            Shape::Pointer(_) => !value.is_null(),
            Shape::List(_) | Shape::Map(_) => !value.is_null() && !is_empty(value),
            Shape::Bool | Shape::Integer | Shape::Text => !is_zero(value),
        };
        (written || field.always).then(|| self.element(value, field.go_type))
    }

    /// A value that is written whatever it is.
    fn element(&self, value: &Value, go_type: &'static str) -> String {
        match (self.layout.shape(go_type), value) {
            (Shape::Struct(fields), Value::Object(members)) => self.members(fields, members),
            (Shape::Struct(fields), Value::Null) => self.members(fields, &Map::new()),
            (Shape::Pointer(target), value) if !value.is_null() => self.element(value, target),
            (Shape::List(element), Value::Array(elements)) => {
                let elements: Vec<_> = elements.iter().map(|value| self.element(value, element)).collect();
                format!("[{}]", elements.join(","))
            }
            (Shape::Map(element), Value::Object(members)) => {
                object(members.iter().map(|(key, value)| (key.as_str(), self.element(value, element))))
            }
            (Shape::Quantity, Value::Null) => r#""0""#.to_owned(),
            (Shape::Quantity, value) => {
                let quantity = quantity_text(value).and_then(|text| GoQuantity::parse(&text));
                quantity.map_or_else(|| raw(value), |quantity| escaped(&quantity.to_text()))
            }
            (Shape::IntOrString | Shape::Integer, Value::Null) => "0".to_owned(),
            (Shape::Bool, Value::Null) => "false".to_owned(),
            (Shape::Text, Value::Null) => r#""""#.to_owned(),
            (_, value) => raw(value),
        }
    }

    fn members(&self, fields: &[Field], members: &Map<String, Value>) -> String {
        let known = self.layout.members(fields);
        let written =
            known.iter().filter_map(|(name, field)| Some((*name, self.field(members.get(*name), field)?)));
        let is_known = |name: &str| known.iter().any(|(known, _)| *known == name);
        let unknown = members.iter().filter(|(name, _)| !is_known(name));
        object(written.chain(unknown.map(|(name, value)| (name.as_str(), raw(value)))))
    }
}

fn object<'a>(members: impl Iterator<Item = (&'a str, String)>) -> String {
    let sorted: BTreeMap<&[u8], String> =
        members.map(|(name, value)| (name.as_bytes(), format!("{}:{value}", escaped(name)))).collect();
    format!("{{{}}}", sorted.into_values().collect::<Vec<_>>().join(","))
}

/// A value without a type.
fn raw(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => escaped(text),
        Value::Array(elements) => format!("[{}]", elements.iter().map(raw).collect::<Vec<_>>().join(",")),
        Value::Object(members) => object(members.iter().map(|(name, value)| (name.as_str(), raw(value)))),
    }
}

fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    let mut escaped = String::with_capacity(quoted.len());
    for character in quoted.chars() {
        match character {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            other => escaped.push(other),
        }
    }
    escaped
}

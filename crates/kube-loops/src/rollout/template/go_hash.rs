// SPDX-License-Identifier: Apache-2.0
//! The hash of a pod template that programs in Go take of the struct in their memory.
//!
//! It is FNV-1a over a textual dump that names every field and type, so it depends on the types of the
//! release that the program was built with, on how the template was written (`1` and `1000m`, absent and
//! empty differ), and not on members that the types do not know. Whoever takes over from such a program
//! recognises the pods that it made by this hash, where it can be computed.
//!
//! ```text
//! dump   (v1.PodTemplateSpec){ObjectMeta:(v1.ObjectMeta){Name:(string) …} Spec:(v1.PodSpec){…}}
//!        a field: Name:(type)value      nil: <nil>      a list: [a b]      a map: map[k:v k:v], sorted
//!        list elements, map keys and values and targets of pointers carry no type; text is raw
//! hash   FNV-1a of it in decimal, each digit in the alphabet of names
//! ```

use serde_json::{Map, Value};

use super::{
    canonical::quantity_text,
    hashes::{fnv1a, safe_encode, short_safe_encode},
    layout::{Field, Layout, POD_TEMPLATE, Shape},
    quantity::GoQuantity,
};

/// The two forms in which a template's hash stands in labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoTemplateHash {
    /// Six characters.
    pub short: String,
    /// All of it, as a rule 8 to 10 characters: the form of older releases.
    pub full: String,
}

impl GoTemplateHash {
    /// Whether a label says this hash in either form.
    pub fn is(&self, label: &str) -> bool {
        label == self.short || label == self.full
    }
}

/// The hash of a pod template as it is stored. `None` for one that Go could not read into its structs, and
/// for the few values of which the dump is not known (times).
pub fn go_template_hash(template: &Value, layout: &Layout) -> Option<GoTemplateHash> {
    let number = fnv1a(go_dump(template, layout)?.as_bytes());
    Some(GoTemplateHash { short: short_safe_encode(number), full: safe_encode(number) })
}

/// The dump of a pod template.
pub fn go_dump(template: &Value, layout: &Layout) -> Option<String> {
    let mut text = format!("({POD_TEMPLATE})");
    Dumper { layout }.value(template, POD_TEMPLATE, &mut text)?;
    Some(text)
}

struct Dumper<'a> {
    layout: &'a Layout,
}

impl Dumper<'_> {
    fn value(&self, value: &Value, go_type: &'static str, text: &mut String) -> Option<()> {
        match (self.layout.shape(go_type), value) {
            (Shape::Struct(fields), Value::Object(members)) => self.fields(fields, members, text)?,
            (Shape::Struct(fields), Value::Null) => self.fields(fields, &Map::new(), text)?,
            (Shape::Pointer(_) | Shape::List(_) | Shape::Map(_), Value::Null) => text.push_str("<nil>"),
            (Shape::Pointer(target), value) => self.value(value, target, text)?,
            (Shape::List(element), Value::Array(elements)) => {
                text.push('[');
                for (position, value) in elements.iter().enumerate() {
                    if position > 0 {
                        text.push(' ');
                    }
                    self.value(value, element, text)?;
                }
                text.push(']');
            }
            (Shape::Map(element), Value::Object(members)) => {
                let mut members: Vec<_> = members.iter().collect();
                members.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
                text.push_str("map[");
                for (position, (key, value)) in members.into_iter().enumerate() {
                    if position > 0 {
                        text.push(' ');
                    }
                    text.push_str(key);
                    text.push(':');
                    self.value(value, element, text)?;
                }
                text.push(']');
            }
            (Shape::Quantity, value) => text.push_str(&dumped_quantity(value)?),
            (Shape::IntOrString, value) => text.push_str(&dumped_int_or_string(value)?),
            (Shape::Time, Value::Null) => {
                text.push_str("{Time:(time.Time){wall:(uint64)0 ext:(int64)0 loc:(*time.Location)<nil>}}");
            }
            (Shape::Bool, Value::Null) => text.push_str("false"),
            (Shape::Integer, Value::Null) => text.push('0'),
            (Shape::Text, Value::Null) => {}
            (Shape::Bool, Value::Bool(flag)) => text.push_str(if *flag { "true" } else { "false" }),
            (Shape::Integer, Value::Number(number)) => text.push_str(&number.as_i64()?.to_string()),
            (Shape::Text, Value::String(value)) => text.push_str(value),
            _ => return None,
        }
        Some(())
    }

    fn fields(&self, fields: &[Field], members: &Map<String, Value>, text: &mut String) -> Option<()> {
        text.push('{');
        for (position, field) in fields.iter().enumerate() {
            if position > 0 {
                text.push(' ');
            }
            text.extend([field.go_name, ":(", field.go_type, ")"]);
            match (field.json_name, self.layout.shape(field.go_type)) {
                (None, Shape::Struct(embedded)) => self.fields(embedded, members, text)?,
                (None, _) => return None,
                (Some(name), _) => {
                    self.value(members.get(name).unwrap_or(&Value::Null), field.go_type, text)?;
                }
            }
        }
        text.push('}');
        Some(())
    }
}

fn dumped_quantity(value: &Value) -> Option<String> {
    if value.is_null() {
        return Some(
            "{i:(resource.int64Amount){value:(int64)0 scale:(resource.Scale)0} \
             d:(resource.infDecAmount){Dec:(*inf.Dec)<nil>} s:(string) Format:(resource.Format)}"
                .to_owned(),
        );
    }
    Some(GoQuantity::parse(&quantity_text(value)?)?.dump())
}

fn dumped_int_or_string(value: &Value) -> Option<String> {
    let (kind, number, text) = match value {
        Value::Null => (0, 0, ""),
        Value::Number(number) => (0, number.as_i64()?, ""),
        Value::String(text) => (1, 0, text.as_str()),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    Some(format!("{{Type:(intstr.Type){kind} IntVal:(int32){number} StrVal:(string){text}}}"))
}

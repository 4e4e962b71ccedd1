// SPDX-License-Identifier: Apache-2.0
//! Whether a live object is what a template asks for, with whatever servers, webhooks and other controllers
//! added.
//!
//! A pod that another program made carries no digest of its template. It counts as made from a template if
//! everything that the template says is also said by the pod. That is lenient on purpose: live pods have
//! defaults, injected sidecars and rewritten probes, and a wrong "different" restarts a model.
//!
//! | Part of the template | Found in the live object |
//! |---|---|
//! | object | each member; further ones are ignored |
//! | quantity, int-or-string | equal by value: `1000m` and `1`, `8000` and `"8000"` |
//! | other scalar, list of scalars | equal |
//! | container of any sort, variable, volume | in its namesake; further ones are ignored |
//! | container port, volume mount | in that of the same port and protocol, of the same mount path |
//! | element of another list of objects | in some element, in the same order |

use serde_json::{Map, Value};

use super::{
    canonical::quantity_text,
    layout::{Field, Layout, Shape},
    quantity::are_equal,
};

/// What is not compared.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ignored<'a> {
    /// Members of the object itself, of its metadata or of its spec by path: `spec.hostname`,
    /// `metadata.name`.
    pub paths: &'a [&'a str],
    /// Keys of labels and annotations.
    pub keys: &'a [&'a str],
    /// Names of environment variables.
    pub variables: &'a [&'a str],
    /// The images of `containers` (those of init containers are compared): an update in place changes them.
    pub images: bool,
}

/// The path of the first thing that a canonical template asks for and the live object has not, such as
/// `spec.containers[engine].image`; `None`: the object is what the template asks for.
pub fn first_difference(
    template: &Value,
    live: &Value,
    layout: &Layout,
    go_type: &'static str,
    ignored: Ignored<'_>,
) -> Option<String> {
    Comparison { layout, ignored }.value(template, live, go_type, "")
}

struct Comparison<'a> {
    layout: &'a Layout,
    ignored: Ignored<'a>,
}

impl Comparison<'_> {
    fn value(&self, wanted: &Value, live: &Value, go_type: &'static str, path: &str) -> Option<String> {
        let differs = |equal: bool| (!equal).then(|| path.to_owned());
        match (self.layout.shape(go_type), wanted, live) {
            (Shape::Pointer(target), _, _) => self.value(wanted, live, target, path),
            (Shape::Struct(fields), Value::Object(wanted), Value::Object(live)) => {
                self.members(wanted, live, Some(fields), path)
            }
            (Shape::Map(element), Value::Object(wanted), Value::Object(live)) => {
                self.entries(wanted, live, element, path)
            }
            (Shape::List(element), Value::Array(wanted), Value::Array(live)) => {
                self.elements(wanted, live, Some(element), path)
            }
            (Shape::Quantity, _, _) => differs(wanted == live || same_quantity(wanted, live)),
            (Shape::IntOrString, _, _) => {
                differs(text_of(wanted).is_some() && text_of(wanted) == text_of(live))
            }
            (_, Value::Object(wanted), Value::Object(live)) => self.members(wanted, live, None, path),
            (_, Value::Array(wanted), Value::Array(live)) => self.elements(wanted, live, None, path),
            _ => differs(wanted == live),
        }
    }

    /// Members of an object; without fields, of one whose type is not known.
    fn members(
        &self,
        wanted: &Map<String, Value>,
        live: &Map<String, Value>,
        fields: Option<&[Field]>,
        path: &str,
    ) -> Option<String> {
        let known = fields.map(|fields| self.layout.members(fields)).unwrap_or_default();
        wanted.iter().find_map(|(name, wanted)| {
            let path = joined(path, name);
            let skipped = self.ignored.paths.contains(&path.as_str()) || self.is_ignored_image(&path);
            if skipped {
                return None;
            }
            let go_type =
                known.iter().find(|(known, _)| known == name).map_or("", |(_, field)| field.go_type);
            self.value(wanted, live.get(name).unwrap_or(&Value::Null), go_type, &path)
        })
    }

    /// Entries of a map. Only labels and annotations of the object itself have ignored keys.
    fn entries(
        &self,
        wanted: &Map<String, Value>,
        live: &Map<String, Value>,
        element: &'static str,
        path: &str,
    ) -> Option<String> {
        let marks = matches!(path, "metadata.labels" | "metadata.annotations");
        let compared = wanted.iter().filter(|(key, _)| !(marks && self.ignored.keys.contains(&key.as_str())));
        compared.into_iter().find_map(|(key, wanted)| {
            let path = format!("{path}[{key}]");
            self.value(wanted, live.get(key).unwrap_or(&Value::Null), element, &path)
        })
    }

    fn elements(
        &self,
        wanted: &[Value],
        live: &[Value],
        element: Option<&'static str>,
        path: &str,
    ) -> Option<String> {
        if !wanted.iter().all(Value::is_object) {
            return (wanted != live).then(|| path.to_owned());
        }
        let go_type = element.unwrap_or("");
        if let Some(key_of) = list_key(path) {
            return wanted.iter().find_map(|wanted| {
                let key = key_of(wanted);
                let variable = last_of(path) == "env" && self.ignored.variables.contains(&key.as_str());
                if variable {
                    return None;
                }
                let path = format!("{path}[{key}]");
                let namesake = live.iter().find(|live| key_of(live) == key);
                namesake.map_or_else(|| Some(path.clone()), |live| self.value(wanted, live, go_type, &path))
            });
        }
        let mut rest = live.iter();
        wanted.iter().enumerate().find_map(|(position, wanted)| {
            let path = format!("{path}[{position}]");
            let found = rest.any(|live| self.value(wanted, live, go_type, &path).is_none());
            (!found).then_some(path)
        })
    }

    fn is_ignored_image(&self, path: &str) -> bool {
        let container = path.strip_prefix("spec.containers[").and_then(|rest| rest.strip_suffix("].image"));
        self.ignored.images && container.is_some_and(|name| !name.contains(']'))
    }
}

/// What tells the elements of a list apart, for the lists in which servers keep entries by a key.
fn list_key(path: &str) -> Option<fn(&Value) -> String> {
    match last_of(path) {
        "containers" | "initContainers" | "ephemeralContainers" | "env" | "volumes" => {
            Some(|value| value.get("name").and_then(text_of).unwrap_or_default())
        }
        "volumeMounts" => Some(|value| value.get("mountPath").and_then(text_of).unwrap_or_default()),
        "ports" => Some(|value| {
            let protocol = value.get("protocol").and_then(text_of).unwrap_or_else(|| "TCP".to_owned());
            format!("{}/{protocol}", value.get("containerPort").and_then(text_of).unwrap_or_default())
        }),
        _ => None,
    }
}

fn last_of(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn same_quantity(wanted: &Value, live: &Value) -> bool {
    matches!((quantity_text(wanted), quantity_text(live)), (Some(wanted), Some(live)) if are_equal(&wanted, &live))
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

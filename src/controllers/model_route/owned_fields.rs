// SPDX-License-Identifier: Apache-2.0
//! Raw edits of a stored spec: what we want goes in, what we know and do not want goes out, and everything else
//! stays as it is: the API server's defaults, and fields of other channels and versions that we do not know.
//! Pure.

use serde_json::{Map, Value, json};

/// What is known of one kind of object inside a spec.
struct Shape {
    fields: &'static [Field],
    /// Pointer to what tells the elements of a list apart; empty: their place.
    identity: &'static str,
}

/// A field of the standard channel.
struct Field {
    name: &'static str,
    /// What the API server writes there when nobody does.
    default: Option<Default>,
    /// The object, or the objects of the list, that it holds.
    inner: Option<&'static Shape>,
}

enum Default {
    Text(&'static str),
    Number(i64),
}

const fn plain(name: &'static str) -> Field {
    Field { name, default: None, inner: None }
}

const fn defaulted(name: &'static str, text: &'static str) -> Field {
    Field { name, default: Some(Default::Text(text)), inner: None }
}

const fn holding(name: &'static str, inner: &'static Shape) -> Field {
    Field { name, default: None, inner: Some(inner) }
}

static SPEC: Shape = Shape {
    fields: &[holding("parentRefs", &PARENT), plain("hostnames"), holding("rules", &RULE)],
    identity: "",
};
static PARENT: Shape = Shape {
    fields: &[
        defaulted("group", "gateway.networking.k8s.io"),
        defaulted("kind", "Gateway"),
        plain("name"),
        plain("namespace"),
        plain("port"),
        plain("sectionName"),
    ],
    identity: "/name",
};
static RULE: Shape = Shape {
    fields: &[
        plain("name"),
        holding("matches", &MATCH),
        plain("filters"),
        holding("backendRefs", &BACKEND),
        holding("timeouts", &TIMEOUTS),
    ],
    identity: "",
};
static MATCH: Shape = Shape {
    fields: &[holding("path", &PATH), holding("headers", &HEADER), plain("queryParams"), plain("method")],
    identity: "/path/value",
};
static PATH: Shape = Shape { fields: &[defaulted("type", "PathPrefix"), plain("value")], identity: "" };
static HEADER: Shape =
    Shape { fields: &[defaulted("type", "Exact"), plain("name"), plain("value")], identity: "/name" };
static BACKEND: Shape = Shape {
    fields: &[
        defaulted("group", ""),
        defaulted("kind", "Service"),
        plain("name"),
        plain("namespace"),
        plain("port"),
        Field { name: "weight", default: Some(Default::Number(1)), inner: None },
        plain("filters"),
    ],
    identity: "",
};
static TIMEOUTS: Shape = Shape { fields: &[plain("request"), plain("backendRequest")], identity: "" };

/// The stored spec of an HTTPRoute edited to be what is wanted. Equal to `have`: nothing is to be done.
pub(super) fn merge_owned(have: &Value, want: &Value) -> Value {
    merge(Some(have), want, &SPEC)
}

/// A merge patch that turns the spec `have` into `merged`, which came from it.
pub(super) fn patch_between(have: &Value, merged: &Value) -> Value {
    let nothing = Map::new();
    let (have, merged) = (have.as_object().unwrap_or(&nothing), merged.as_object().unwrap_or(&nothing));
    let changed = merged.iter().filter(|(key, value)| have.get(*key) != Some(value));
    let mut patch: Map<String, Value> = changed.map(|(key, value)| (key.clone(), value.clone())).collect();
    let gone = have.keys().filter(|key| !merged.contains_key(*key));
    patch.extend(gone.map(|key| (key.clone(), Value::Null)));
    Value::Object(patch)
}

fn merge(have: Option<&Value>, want: &Value, shape: &Shape) -> Value {
    match want {
        Value::Array(wanted) => {
            let have = have.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let pairs = wanted.iter().enumerate();
            pairs.map(|(place, want)| merge(counterpart(have, place, want, shape), want, shape)).collect()
        }
        Value::Object(wanted) => merge_object(have.and_then(Value::as_object), wanted, shape),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => want.clone(),
    }
}

fn merge_object(have: Option<&Map<String, Value>>, want: &Map<String, Value>, shape: &Shape) -> Value {
    let mut result = have.cloned().unwrap_or_default();
    for field in shape.fields {
        let stored = have.and_then(|have| have.get(field.name));
        if let Some(wanted) = want.get(field.name) {
            let value = field.inner.map_or_else(|| wanted.clone(), |inner| merge(stored, wanted, inner));
            result.insert(field.name.to_owned(), value);
        } else if stored.is_some_and(|stored| !field.is_default(stored)) {
            result.remove(field.name);
        }
    }
    Value::Object(result)
}

/// The element of a stored list that stands for the wanted one.
fn counterpart<'a>(have: &'a [Value], place: usize, want: &Value, shape: &Shape) -> Option<&'a Value> {
    let same =
        |it: &&Value| shape.identity.is_empty() || it.pointer(shape.identity) == want.pointer(shape.identity);
    let here = have.get(place).filter(same);
    if shape.identity.is_empty() { here } else { here.or_else(|| have.iter().find(same)) }
}

impl Field {
    fn is_default(&self, stored: &Value) -> bool {
        match &self.default {
            None => false,
            Some(Default::Text(text)) => stored == text,
            Some(Default::Number(number)) => *stored == json!(number),
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Parts of an object whose text anybody may have sent: only what a handler reads is kept, everything else is skipped
//! over, and what is kept is never more than [`MOST_VALUES`] values, whatever the text.

use std::{cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value, value::RawValue};

/// Most values that are kept of one object; a list or an object counts as one, and so does each of its members.
pub(crate) const MOST_VALUES: usize = 100_000;

/// What is kept of a value. Of one that has another shape, whether it is a list or an object.
#[derive(Debug)]
pub(crate) enum Parts {
    /// All of it.
    All,
    /// These members of an object.
    Members(&'static [(&'static str, Self)]),
    /// This much of each element of a list.
    Each(&'static Self),
}

/// Reads these parts of a JSON text.
///
/// # Errors
/// It has more than [`MOST_VALUES`] of them.
pub(crate) fn read(text: &RawValue, parts: &'static Parts) -> serde_json::Result<Value> {
    let left = Cell::new(MOST_VALUES);
    Reader { parts, left: &left }.deserialize(&mut serde_json::Deserializer::from_str(text.get()))
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    parts: &'static Parts,
    /// How many more values may be kept.
    left: &'a Cell<usize>,
}

impl Reader<'_> {
    fn of(self, parts: &'static Parts) -> Self {
        Self { parts, ..self }
    }

    fn member(self, key: &str) -> Option<Self> {
        match self.parts {
            Parts::All => Some(self),
            Parts::Members(members) => {
                members.iter().find(|(name, _)| *name == key).map(|(_, it)| self.of(it))
            }
            Parts::Each(_) => None,
        }
    }

    fn element(self) -> Option<Self> {
        match self.parts {
            Parts::All => Some(self),
            Parts::Each(parts) => Some(self.of(parts)),
            Parts::Members(_) => None,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.ok_or_else(|| D::Error::custom(format!("more than {MOST_VALUES} values")))?);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut kept = Vec::new();
        if let Some(element) = self.element() {
            while let Some(value) = list.next_element_seed(element)? {
                kept.push(value);
            }
        } else {
            while list.next_element::<IgnoredAny>()?.is_some() {}
        }
        Ok(Value::Array(kept))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut kept = Map::new();
        while let Some(key) = object.next_key::<String>()? {
            match self.member(&key) {
                Some(member) => drop(kept.insert(key, object.next_value_seed(member)?)),
                None => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Value::Object(kept))
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Merge patches (RFC 7396) between two values. Pure.

use serde_json::{Map, Value};

/// The merge patch that makes `wanted` of `have`: members that are gone go by name, objects are patched inside, all else
/// is replaced. Empty: nothing differs.
pub(super) fn merge_between(have: &Map<String, Value>, wanted: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = Map::new();
    for (key, wanted) in wanted {
        match (have.get(key), wanted) {
            (Some(have), wanted) if have == wanted => {}
            (Some(Value::Object(have)), Value::Object(wanted)) => {
                patch.insert(key.clone(), Value::Object(merge_between(have, wanted)));
            }
            (_, wanted) => {
                patch.insert(key.clone(), wanted.clone());
            }
        }
    }
    let gone = have.keys().filter(|key| !wanted.contains_key(*key));
    patch.extend(gone.map(|key| (key.clone(), Value::Null)));
    patch
}

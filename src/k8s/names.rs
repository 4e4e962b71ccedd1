// SPDX-License-Identifier: Apache-2.0
//! Names that several programs derive alike.

use kube_loops::{
    k8s::names::{LONGEST_NAME, is_dns1123_subdomain},
    rollout::template::hashes::sha256_prefix,
};

const ROUTE_SUFFIX: &str = "-router";
/// Hexadecimal digits of a hash in a derived name.
const HASH_DIGITS: usize = 12;

/// Name of the HTTPRoute of a model, which the gateway derives too, byte for byte: `<model>-router` where that
/// is a name, else a readable rest of the model with a hash of it.
pub(crate) fn route_name_for(model: &str) -> String {
    let plain = format!("{model}{ROUTE_SUFFIX}");
    if is_dns1123_subdomain(&plain) {
        return plain;
    }
    let readable = readable(model);
    let room = LONGEST_NAME - "-".len() - HASH_DIGITS - ROUTE_SUFFIX.len();
    let base = readable.get(..room).map_or(readable.as_str(), |cut| cut.trim_matches('-'));
    let base = if base.is_empty() { "model" } else { base };
    format!("{base}-{}{ROUTE_SUFFIX}", sha256_prefix(model, HASH_DIGITS))
}

/// Name of the ReferenceGrant that lets the gateway's routes lead to the Services of a namespace.
pub(crate) fn reference_grant_name_for(namespace: &str) -> String {
    format!("aibrix-system-reserved-referencegrant-in-{namespace}")
}

/// Lower-case letters and digits, everything else as single dashes between them.
fn readable(text: &str) -> String {
    let mut readable = String::with_capacity(text.len());
    // One character per character, as Go lowers: the rest of a longer mapping is dropped.
    for c in text.chars().filter_map(|c| c.to_lowercase().next()) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            readable.push(c);
        } else if !readable.is_empty() && !readable.ends_with('-') {
            readable.push('-');
        }
    }
    if readable.ends_with('-') {
        readable.pop();
    }
    readable
}

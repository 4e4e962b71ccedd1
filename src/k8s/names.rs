// SPDX-License-Identifier: Apache-2.0
//! Names: what the API server takes, and those that several programs derive alike.

use ring::digest;

/// Longest name of an object, in bytes.
const LONGEST_NAME: usize = 253;
const ROUTE_SUFFIX: &str = "-router";
/// Hexadecimal digits of a hash in a derived name.
const HASH_DIGITS: usize = 12;

/// Whether the API server takes `name` as the name of a Lease, Secret or most other objects.
pub fn is_dns1123_subdomain(name: &str) -> bool {
    name.len() <= LONGEST_NAME && name.split('.').all(is_label_of_any_length)
}

/// Whether the API server takes `name` as the name of a namespace.
pub fn is_dns1123_label(name: &str) -> bool {
    name.len() <= 63 && is_label_of_any_length(name)
}

/// Whether the API server takes `name` as the name of a Service: a DNS label that starts with a letter.
pub fn is_service_name(name: &str) -> bool {
    is_dns1123_label(name) && name.starts_with(|c: char| c.is_ascii_lowercase())
}

fn is_label_of_any_length(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
}

/// Whether `key` can be the key of a label: a name of at most 63 characters, behind an optional DNS prefix
/// and a slash.
pub fn is_label_key(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let dns = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let prefix_fits =
        prefix.is_none_or(|prefix| !prefix.is_empty() && prefix.len() <= 253 && prefix.chars().all(dns));
    prefix_fits && !name.is_empty() && is_label_value(name)
}

/// Whether `value` can be the value of a label: empty, or at most 63 letters, digits, dashes, underscores and
/// dots with a letter or digit at both ends.
pub fn is_label_value(value: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let end = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    value.len() <= 63
        && value.chars().all(inner)
        && end(value.chars().next())
        && end(value.chars().next_back())
}

/// Name of the HTTPRoute of a model, which the gateway derives too, byte for byte: `<model>-router` where that
/// is a name, else a readable rest of the model with a hash of it.
pub fn route_name_for(model: &str) -> String {
    let plain = format!("{model}{ROUTE_SUFFIX}");
    if is_dns1123_subdomain(&plain) {
        return plain;
    }
    let readable = readable(model);
    let room = LONGEST_NAME - "-".len() - HASH_DIGITS - ROUTE_SUFFIX.len();
    let base = readable.get(..room).map_or(readable.as_str(), |cut| cut.trim_matches('-'));
    let base = if base.is_empty() { "model" } else { base };
    format!("{base}-{}{ROUTE_SUFFIX}", short_hash(model))
}

/// Name of the ReferenceGrant that lets the gateway's routes lead to the Services of a namespace.
pub fn reference_grant_name_for(namespace: &str) -> String {
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

/// The first [`HASH_DIGITS`] of the SHA-256.
fn short_hash(text: &str) -> String {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    let start = hash.as_ref().iter().take(HASH_DIGITS / 2);
    let number = start.fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    format!("{number:0HASH_DIGITS$x}")
}

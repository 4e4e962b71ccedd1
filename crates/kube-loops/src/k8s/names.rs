// SPDX-License-Identifier: Apache-2.0
//! Names and labels that the API server takes.

/// Longest name of an object, in bytes.
pub const LONGEST_NAME: usize = 253;

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

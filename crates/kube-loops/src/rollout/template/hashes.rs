// SPDX-License-Identifier: Apache-2.0
//! Digests and short hashes of templates, and the text that they are taken of.

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};
use serde_json::Value;

/// Characters of generated names: no vowels, nothing that looks like another character.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// Characters of a short hash.
const SHORT: usize = 6;
const FNV_OFFSET: u32 = 2_166_136_261;
const FNV_PRIME: u32 = 16_777_619;

/// JSON without blanks, the members of every object sorted by the bytes of their names, text escaped only
/// where JSON demands it. Stored digests are taken of it, so it never changes.
pub fn sorted_json(value: &Value) -> String {
    let mut text = String::new();
    write_sorted(value, &mut text);
    text
}

fn write_sorted(value: &Value, text: &mut String) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&value.to_string());
        }
        Value::Array(elements) => {
            text.push('[');
            for (position, element) in elements.iter().enumerate() {
                if position > 0 {
                    text.push(',');
                }
                write_sorted(element, text);
            }
            text.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
            text.push('{');
            for (position, (name, value)) in members.into_iter().enumerate() {
                if position > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write_sorted(value, text);
            }
            text.push('}');
        }
    }
}

/// SHA-256 of [`sorted_json`], 64 hexadecimal digits. Give it a canonical form, so that equal templates have
/// equal digests.
pub fn template_digest(canonical: &Value) -> String {
    hex(&sha256(sorted_json(canonical).as_bytes()))
}

/// Six characters of `bcdfghjklmnpqrstvwxz2456789`, for names: they stand for the canonical form and for the
/// number of collisions that were met under earlier names. Never contains a dash.
///
/// ```text
/// h = first 8 bytes of SHA-256(sorted_json, then 0x00 and the decimal count if there is one), big-endian
/// character i = alphabet[⌊h / 27^i⌋ mod 27]
/// ```
pub fn name_hash(canonical: &Value, collision_count: Option<u32>) -> String {
    let mut text = sorted_json(canonical);
    if let Some(count) = collision_count {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "\0{count}");
    }
    let start = sha256(text.as_bytes()).into_iter().take(8);
    let mut number = start.fold(0_u64, |number, byte| (number << 8) | u64::from(byte));
    let mut hash = String::with_capacity(SHORT);
    for _ in 0..SHORT {
        let place = usize::try_from(number % 27).unwrap_or(0);
        hash.push(ALPHABET.get(place).map_or('b', |byte| char::from(*byte)));
        number /= 27;
    }
    hash
}

/// The text of a number in the alphabet of generated names, as `rand.SafeEncodeString` of Kubernetes makes
/// it of the decimal digits: `0 1 2 3 4 5 6 7 8 9` → `4 5 6 7 8 9 b c d f`. Up to 10 characters.
pub fn safe_encode(number: u32) -> String {
    let place = |digit: char| usize::try_from(u32::from(digit)).unwrap_or(0) % ALPHABET.len();
    number
        .to_string()
        .chars()
        .filter_map(|digit| ALPHABET.get(place(digit)))
        .map(|byte| char::from(*byte))
        .collect()
}

/// [`safe_encode`] cut to six characters, or filled up to them with `0` in front.
pub fn short_safe_encode(number: u32) -> String {
    let mut text = safe_encode(number);
    text.truncate(SHORT);
    format!("{text:0>SHORT$}")
}

/// The hash in the name of a `ControllerRevision`: FNV-1 over the data and the decimal number of
/// collisions, encoded in six characters. FNV-1 ends with xor of the last byte and only six leading digits
/// are kept, so the next collision count often gives the same hash.
pub fn revision_hash(data: &[u8], collision_count: u32) -> String {
    let collisions = collision_count.to_string();
    short_safe_encode(fnv1(data.iter().chain(collisions.as_bytes())))
}

/// FNV-1, 32 bits: multiply, then xor.
pub fn fnv1<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> u32 {
    bytes.into_iter().fold(FNV_OFFSET, |hash, byte| hash.wrapping_mul(FNV_PRIME) ^ u32::from(*byte))
}

/// FNV-1a, 32 bits: xor, then multiply.
pub fn fnv1a<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> u32 {
    bytes.into_iter().fold(FNV_OFFSET, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(FNV_PRIME))
}

/// The first `digits` hexadecimal digits (at most 64) of the SHA-256 of a text.
pub fn sha256_prefix(text: &str, digits: usize) -> String {
    let mut hash = hex(&sha256(text.as_bytes()));
    hash.truncate(digits);
    hash
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

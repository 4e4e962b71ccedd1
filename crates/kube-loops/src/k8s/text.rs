// SPDX-License-Identifier: Apache-2.0
//! Text from outside, made safe for statuses and events.

/// Longest message of an event that the API server takes, in bytes.
pub const EVENT_MESSAGE_BYTES: usize = 1024;

/// `text` cut to at most `bytes` bytes, on a character boundary, with `...` at the end when it was cut
/// (and there is room for it).
pub fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let mark = if bytes >= 3 { "..." } else { "" };
    let end = text.floor_char_boundary(bytes - mark.len());
    format!("{}{mark}", text.get(..end).unwrap_or(""))
}

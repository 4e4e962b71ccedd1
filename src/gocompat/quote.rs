// SPDX-License-Identifier: Apache-2.0
//! Go's double-quoted strings (`strconv.Quote`, the verb `%q`).

/// `text` in double quotes, escaped as Go's `strconv.Quote` does.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        push_escaped(&mut quoted, c);
    }
    quoted.push('"');
    quoted
}

fn push_escaped(out: &mut String, c: char) {
    match c {
        '"' | '\\' => {
            out.push('\\');
            out.push(c);
        }
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        c if is_printable(c) => out.push(c),
        c => {
            let code = u32::from(c);
            let escaped = match code {
                ..0x80 => format!("\\x{code:02x}"),
                0x80..0x1_0000 => format!("\\u{code:04x}"),
                _ => format!("\\U{code:08x}"),
            };
            out.push_str(&escaped);
        }
    }
}

/// Go's `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII space.
fn is_printable(c: char) -> bool {
    if c == ' ' || c == '\'' {
        return true;
    }
    if c.is_control() || c.is_whitespace() {
        return false;
    }
    // The standard library keeps what is printable as it is; a combining mark only behind another character.
    let pair: String = ['a', c].into_iter().collect();
    pair.escape_debug().count() == 2
}

// SPDX-License-Identifier: Apache-2.0
//! A log line as klog prints it, and as one line of JSON. Pure.

use std::fmt::Write as _;

use jiff::Zoned;
use tracing::Level;

/// A field's value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Int(i64),
    Uint(u64),
    Float(f64),
    Bool(bool),
}

/// Name and value of a field.
pub(super) type Field = (&'static str, Value);

/// Everything that a line shows.
#[derive(Debug, Clone)]
pub(super) struct Line<'a> {
    pub(super) level: Level,
    /// In the zone that the line is printed in.
    pub(super) at: Zoned,
    pub(super) pid: u32,
    /// Source file; only its last part is printed.
    pub(super) file: &'a str,
    pub(super) row: u32,
    pub(super) message: &'a str,
    /// In the order in which they are printed.
    pub(super) fields: &'a [Field],
}

/// `I1124 18:59:20.123456    1234 file.rs:12] "message" key="value"` and a line break;
/// without the header when `skip_headers`.
pub(super) fn text(line: &Line<'_>, skip_headers: bool) -> String {
    let mut out = String::with_capacity(160);
    if !skip_headers {
        out.push(severity(line.level));
        // Writing to a String does not fail.
        write!(
            out,
            "{} {:>7} {}:{}] ",
            line.at.strftime("%m%d %H:%M:%S.%6f"),
            line.pid,
            base(line.file),
            line.row
        )
        .ok();
    }
    quote(&mut out, line.message);
    for (name, value) in line.fields {
        out.push(' ');
        out.push_str(name);
        text_value(&mut out, value);
    }
    out.push('\n');
    out
}

/// One JSON object and a line break: `ts` (RFC 3339, UTC), `level`, `pid`, `caller`, `msg`, then the fields.
/// A field that has one of these names is prefixed with `field.`.
pub(super) fn json(line: &Line<'_>) -> String {
    let mut object = serde_json::Map::new();
    let level = match line.level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        _ => "trace",
    };
    object.insert("ts".into(), format!("{:.6}", line.at.timestamp()).into());
    object.insert("level".into(), level.into());
    object.insert("pid".into(), line.pid.into());
    object.insert("caller".into(), format!("{}:{}", base(line.file), line.row).into());
    object.insert("msg".into(), line.message.into());
    for (name, value) in line.fields {
        let value = match value {
            Value::Text(text) => text.as_str().into(),
            Value::Int(number) => (*number).into(),
            Value::Uint(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::Bool(truth) => (*truth).into(),
        };
        let taken = ["ts", "level", "pid", "caller", "msg"].contains(name);
        let name = if taken { format!("field.{name}") } else { (*name).to_owned() };
        object.insert(name, value);
    }
    format!("{}\n", serde_json::Value::Object(object))
}

fn severity(level: Level) -> char {
    match level {
        Level::ERROR => 'E',
        Level::WARN => 'W',
        _ => 'I',
    }
}

fn base(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

fn text_value(out: &mut String, value: &Value) {
    match value {
        Value::Text(text) if text.contains('\n') => {
            // Several lines are shown as they are, indented, as klog does.
            out.push_str("=<\n");
            for part in text.split('\n') {
                out.push('\t');
                out.push_str(part);
                out.push('\n');
            }
            out.push_str(" >");
        }
        Value::Text(text) => {
            out.push('=');
            quote(out, text);
        }
        Value::Int(number) => {
            write!(out, "={number}").ok();
        }
        Value::Uint(number) => {
            write!(out, "={number}").ok();
        }
        Value::Float(number) => {
            write!(out, "={number}").ok();
        }
        Value::Bool(truth) => {
            write!(out, "={truth}").ok();
        }
    }
}

/// Go's `strconv.Quote`.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\'' => out.push('\''),
            c if c.escape_debug().len() == 1 => out.push(c),
            c => {
                let code = u32::from(c);
                match code {
                    ..0x80 => write!(out, "\\x{code:02x}"),
                    0x80..0x1_0000 => write!(out, "\\u{code:04x}"),
                    0x1_0000.. => write!(out, "\\U{code:08x}"),
                }
                .ok();
            }
        }
    }
    out.push('"');
}

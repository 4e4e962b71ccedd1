// SPDX-License-Identifier: Apache-2.0
//! Go's durations: `time.ParseDuration` and `Duration.String`.
//!
//! A Go duration is a signed 64-bit count of nanoseconds, a bit more than 292 years either way.

use jiff::SignedDuration;

/// 2⁶³: one more than the largest count of nanoseconds, and the size of the smallest.
const LIMIT: u64 = 1 << 63;

/// Why a text is no duration, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseDurationError {
    /// Not a sequence of numbers with units, or out of range.
    #[error("time: invalid duration {}", quote(.0))]
    Invalid(String),
    /// A number without a unit, such as `300`.
    #[error("time: missing unit in duration {}", quote(.0))]
    MissingUnit(String),
    /// A unit that Go does not know, such as `d`.
    #[error("time: unknown unit {} in duration {}", quote(unit), quote(text))]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The whole text.
        text: String,
    },
}

/// Parses a signed sequence of decimal numbers with units (`ns us µs μs ms s m h`), such as `1h15m30.5s`;
/// the bare `0` needs no unit.
///
/// # Errors
/// The three cases of [`ParseDurationError`], with Go's text.
pub(crate) fn parse_duration(text: &str) -> Result<SignedDuration, ParseDurationError> {
    let invalid = || ParseDurationError::Invalid(text.to_owned());
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..).unwrap_or("")),
        Some(b'+') => (false, text.get(1..).unwrap_or("")),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (part, after) = parse_part(text, rest)?;
        total = total.checked_add(part).filter(|sum| *sum <= LIMIT).ok_or_else(invalid)?;
        rest = after;
    }
    let nanos = match (negative, i64::try_from(total)) {
        (true, Ok(nanos)) => -nanos,
        (false, Ok(nanos)) => nanos,
        (true, Err(_)) => i64::MIN,
        (false, Err(_)) => return Err(invalid()),
    };
    Ok(SignedDuration::from_nanos(nanos))
}

/// One number with its unit in nanoseconds, and what follows it.
fn parse_part<'a>(text: &str, rest: &'a str) -> Result<(u64, &'a str), ParseDurationError> {
    let invalid = || ParseDurationError::Invalid(text.to_owned());
    let (whole_digits, mut after) = split_digits(rest);
    let whole = parse_whole(whole_digits).ok_or_else(invalid)?;
    let mut fraction = (0, 1.0);
    let mut fraction_digits = "";
    if let Some(behind_dot) = after.strip_prefix('.') {
        (fraction_digits, after) = split_digits(behind_dot);
        fraction = parse_fraction(fraction_digits);
    }
    if whole_digits.is_empty() && fraction_digits.is_empty() {
        return Err(invalid());
    }
    let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
    let (unit, after) = after.split_at(end);
    if unit.is_empty() {
        return Err(ParseDurationError::MissingUnit(text.to_owned()));
    }
    let unit = unit_nanos(unit)
        .ok_or_else(|| ParseDurationError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() })?;
    let whole = whole.checked_mul(unit).filter(|nanos| *nanos <= LIMIT).ok_or_else(invalid)?;
    let part = whole.checked_add(fraction_nanos(fraction, unit)).filter(|nanos| *nanos <= LIMIT);
    Ok((part.ok_or_else(invalid)?, after))
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// `None` when the number exceeds 2⁶³.
fn parse_whole(digits: &str) -> Option<u64> {
    if digits.is_empty() {
        return Some(0);
    }
    digits.parse::<u64>().ok().filter(|number| *number <= LIMIT)
}

/// The digits behind the point as numerator and power of ten; digits that do not fit are dropped.
fn parse_fraction(digits: &str) -> (u64, f64) {
    let mut numerator: u64 = 0;
    let mut scale = 1.0;
    for digit in digits.bytes().map(|byte| u64::from(byte.saturating_sub(b'0'))) {
        if numerator > (LIMIT - 1) / 10 {
            break;
        }
        let next = numerator * 10 + digit;
        if next > LIMIT {
            break;
        }
        numerator = next;
        scale *= 10.0;
    }
    (numerator, scale)
}

/// In doubles and in Go's order: the result is below one unit, at most 3.6·10¹² ns.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "the same conversions as Go's, so the same rounding"
)]
fn fraction_nanos((numerator, scale): (u64, f64), unit: u64) -> u64 {
    (numerator as f64 * (unit as f64 / scale)) as u64
}

fn unit_nanos(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// The duration as Go prints it, such as `1h0m0s`, `1.5s`, `300ms`, `0s`. Beyond Go's range: its bounds.
pub(crate) fn format_duration(duration: SignedDuration) -> String {
    let nanos = duration.as_nanos().clamp(i128::from(i64::MIN), i128::from(i64::MAX));
    let sign = if nanos < 0 { "-" } else { "" };
    let size = u64::try_from(nanos.unsigned_abs()).unwrap_or(LIMIT);
    if size == 0 {
        return "0s".to_owned();
    }
    if size < 1_000_000_000 {
        let (unit, digits, name) = match size {
            ..1_000 => (1, 0, "ns"),
            1_000..1_000_000 => (1_000, 3, "µs"),
            _ => (1_000_000, 6, "ms"),
        };
        return format!("{sign}{}{name}", decimal(size / unit, size % unit, digits));
    }
    let seconds = size / 1_000_000_000;
    let mut text = decimal(seconds % 60, size % 1_000_000_000, 9) + "s";
    if seconds >= 60 {
        text = format!("{}m{text}", seconds / 60 % 60);
    }
    if seconds >= 3600 {
        text = format!("{}h{text}", seconds / 3600);
    }
    format!("{sign}{text}")
}

/// `whole.fraction` with the fraction's trailing zeros cut, without a point when nothing is left.
fn decimal(whole: u64, fraction: u64, digits: usize) -> String {
    if fraction == 0 {
        return whole.to_string();
    }
    let fraction = format!("{fraction:0digits$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

/// The quoting of package `time`: every byte outside printable ASCII in hexadecimal.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => {
                quoted.push('\\');
                quoted.push(char::from(byte));
            }
            b' '..=b'\x7f' => quoted.push(char::from(byte)),
            _ => quoted.extend(format!("\\x{byte:02x}").chars()),
        }
    }
    quoted.push('"');
    quoted
}

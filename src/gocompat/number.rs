// SPDX-License-Identifier: Apache-2.0
//! Go's numbers and booleans: `strconv.ParseFloat`, `ParseInt` with base 0, `ParseBool`.

use super::quote::quote;

/// Why a text is no number, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseNumberError {
    /// Not the syntax of Go.
    #[error("strconv.{function}: parsing {}: invalid syntax", quote(text))]
    Syntax {
        /// Go's function.
        function: &'static str,
        /// The text.
        text: String,
    },
    /// A number, but too large for its type.
    #[error("strconv.{function}: parsing {}: value out of range", quote(text))]
    Range {
        /// Go's function.
        function: &'static str,
        /// The text.
        text: String,
    },
}

fn syntax(function: &'static str, text: &str) -> ParseNumberError {
    ParseNumberError::Syntax { function, text: text.to_owned() }
}

fn range(function: &'static str, text: &str) -> ParseNumberError {
    ParseNumberError::Range { function, text: text.to_owned() }
}

/// Parses a decimal or hexadecimal floating-point literal, `inf`, `infinity` (signed) or `nan` (not
/// signed) in any case. Underscores may separate digits.
///
/// # Errors
/// [`ParseNumberError::Syntax`], or [`ParseNumberError::Range`] for a literal beyond the largest double
/// (a tiny one becomes 0).
pub(crate) fn parse_float(text: &str) -> Result<f64, ParseNumberError> {
    const FUNCTION: &str = "ParseFloat";
    if let Some(special) = parse_special(text) {
        return Ok(special);
    }
    let literal = scan_float(text).ok_or_else(|| syntax(FUNCTION, text))?;
    let value = match literal {
        Literal::Decimal => {
            let digits: String = text.chars().filter(|c| *c != '_').collect();
            digits.parse::<f64>().map_err(|_| syntax(FUNCTION, text))?
        }
        Literal::Hex { mantissa, exponent, truncated, negative } => {
            let size = hex_float(mantissa, exponent, truncated);
            if negative { -size } else { size }
        }
    };
    if value.is_infinite() { Err(range(FUNCTION, text)) } else { Ok(value) }
}

fn parse_special(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "inf" | "infinity" | "+inf" | "+infinity" => Some(f64::INFINITY),
        "-inf" | "-infinity" => Some(f64::NEG_INFINITY),
        "nan" => Some(f64::NAN),
        _ => None,
    }
}

enum Literal {
    /// Well-formed; its value is left to the standard library.
    Decimal,
    /// `mantissa · 2^exponent`, `truncated` when digits that are not zero were dropped.
    Hex { mantissa: u64, exponent: i64, truncated: bool, negative: bool },
}

/// Checks the syntax of the whole text; `None` when it is no literal.
fn scan_float(text: &str) -> Option<Literal> {
    let (negative, unsigned) = split_sign(text);
    let hex_digits = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X"));
    let hex = hex_digits.is_some_and(|digits| !digits.is_empty());
    let body = if hex { hex_digits.unwrap_or("") } else { unsigned };

    let mut seen = Mantissa::default();
    let mut bytes = body.bytes().peekable();
    while let Some(byte) = bytes.peek().copied() {
        match byte {
            b'_' => {}
            b'.' if !seen.dot => seen.dot = true,
            _ => match char::from(byte).to_digit(if hex { 16 } else { 10 }) {
                Some(digit) => seen.push(u64::from(digit)),
                None => break,
            },
        }
        bytes.next();
    }
    if !seen.digits {
        return None;
    }
    let mark = if hex { b'p' } else { b'e' };
    let exponent = match bytes.next() {
        None if hex => return None, // hexadecimal needs an exponent
        None => 0,
        Some(byte) if byte.to_ascii_lowercase() == mark => scan_exponent(bytes)?,
        Some(_) => return None,
    };
    if text.contains('_') && !are_underscores_fine(text) {
        return None;
    }
    if !hex {
        return Some(Literal::Decimal);
    }
    let exponent = seen.exponent.saturating_mul(4).saturating_add(exponent);
    Some(Literal::Hex { mantissa: seen.value, exponent, truncated: seen.truncated, negative })
}

/// The first 15 hexadecimal digits (60 bits: more than a double keeps), and where the point is.
#[derive(Default)]
struct Mantissa {
    value: u64,
    /// Power of the base by which `value` has to be multiplied.
    exponent: i64,
    truncated: bool,
    dot: bool,
    digits: bool,
}

impl Mantissa {
    fn push(&mut self, digit: u64) {
        self.digits = true;
        if self.value >> 60 == 0 {
            self.value = self.value << 4 | digit;
            if self.dot {
                self.exponent -= 1;
            }
        } else {
            self.truncated |= digit != 0;
            if !self.dot {
                self.exponent += 1;
            }
        }
    }
}

/// Sign and digits to the end of the text; values beyond any double are cut.
fn scan_exponent(mut bytes: std::iter::Peekable<std::str::Bytes<'_>>) -> Option<i64> {
    let negative = bytes.peek() == Some(&b'-');
    if negative || bytes.peek() == Some(&b'+') {
        bytes.next();
    }
    if !bytes.peek().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let mut exponent: i64 = 0;
    for byte in bytes {
        match byte {
            b'0'..=b'9' if exponent < 10_000 => exponent = exponent * 10 + i64::from(byte - b'0'),
            b'0'..=b'9' | b'_' => {}
            _ => return None,
        }
    }
    Some(if negative { -exponent } else { exponent })
}

/// `mantissa · 2^exponent`, rounded to even, infinite when too large.
fn hex_float(mantissa: u64, exponent: i64, truncated: bool) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    // Two bits below the 53 that are kept decide the rounding; the lowest is sticky.
    let shift = i64::from(mantissa.leading_zeros()) - 9;
    let mut exponent = exponent.saturating_sub(shift);
    let mut bits = if shift >= 0 { mantissa << shift } else { shift_sticky(mantissa, shift.unsigned_abs()) };
    bits |= u64::from(truncated);
    // The smallest exponent of the lowest kept bit is −1074.
    if exponent < -1076 {
        bits = shift_sticky(bits, (-1076_i64).saturating_sub(exponent).unsigned_abs());
        exponent = -1076;
    }
    let mut kept = bits >> 2;
    let rounding = bits & 3 | kept & 1;
    if rounding == 3 {
        kept += 1;
    }
    exponent += 2;
    if kept >> 53 != 0 {
        kept >>= 1;
        exponent += 1;
    }
    if exponent > 971 {
        return f64::INFINITY;
    }
    if kept >> 52 == 0 {
        return f64::from_bits(kept); // subnormal: its exponent is −1074 by now
    }
    let biased = u64::try_from(exponent + 1075).unwrap_or(0);
    f64::from_bits(biased << 52 | kept & ((1 << 52) - 1))
}

/// Shifts right; any bit that falls out sets the lowest one.
fn shift_sticky(bits: u64, by: u64) -> u64 {
    let by = u32::try_from(by).unwrap_or(u32::MAX);
    match bits.checked_shr(by) {
        Some(kept) => kept | u64::from(kept << by != bits),
        None => u64::from(bits != 0),
    }
}

/// Go's rule: an underscore stands between two digits, or between a base prefix and a digit.
fn are_underscores_fine(text: &str) -> bool {
    let (_, unsigned) = split_sign(text);
    let bytes = unsigned.as_bytes();
    let prefix = match (bytes.first(), bytes.get(1).map(u8::to_ascii_lowercase)) {
        (Some(b'0'), Some(letter @ (b'b' | b'o' | b'x'))) => Some(letter),
        _ => None,
    };
    let hex = prefix == Some(b'x');
    let mut digit_before = prefix.is_some();
    let mut underscore_before = false;
    for byte in bytes.iter().skip(if prefix.is_some() { 2 } else { 0 }) {
        if byte.is_ascii_digit() || hex && byte.is_ascii_hexdigit() {
            (digit_before, underscore_before) = (true, false);
        } else if *byte == b'_' {
            if !digit_before {
                return false;
            }
            (digit_before, underscore_before) = (false, true);
        } else {
            if underscore_before {
                return false;
            }
            (digit_before, underscore_before) = (false, false);
        }
    }
    !underscore_before
}

fn split_sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// Parses an integer with an optional sign and the base of its prefix: `0x`, `0o` or `0`, `0b`, else
/// decimal. Underscores may separate digits.
///
/// # Errors
/// [`ParseNumberError::Syntax`], or [`ParseNumberError::Range`] outside 64 bits.
pub(crate) fn parse_int(text: &str) -> Result<i64, ParseNumberError> {
    const FUNCTION: &str = "ParseInt";
    let (negative, unsigned) = split_sign(text);
    if unsigned.is_empty() {
        return Err(syntax(FUNCTION, text));
    }
    let second = unsigned.as_bytes().get(1).map(u8::to_ascii_lowercase);
    let (base, digits) = match (unsigned.starts_with('0'), second) {
        (true, Some(b'b')) if unsigned.len() > 2 => (2, unsigned.get(2..)),
        (true, Some(b'o')) if unsigned.len() > 2 => (8, unsigned.get(2..)),
        (true, Some(b'x')) if unsigned.len() > 2 => (16, unsigned.get(2..)),
        (true, _) => (8, unsigned.get(1..)),
        (false, _) => (10, Some(unsigned)),
    };
    let mut size: u64 = 0;
    for c in digits.unwrap_or("").chars().filter(|c| *c != '_') {
        let digit = c.to_digit(base).ok_or_else(|| syntax(FUNCTION, text))?;
        size = size
            .checked_mul(u64::from(base))
            .and_then(|size| size.checked_add(u64::from(digit)))
            .ok_or_else(|| range(FUNCTION, text))?;
    }
    if unsigned.contains('_') && !are_underscores_fine(unsigned) {
        return Err(syntax(FUNCTION, text));
    }
    let value = if negative { 0_i64.checked_sub_unsigned(size) } else { 0_i64.checked_add_unsigned(size) };
    value.ok_or_else(|| range(FUNCTION, text))
}

/// Parses `1 t T TRUE true True` and `0 f F FALSE false False`.
///
/// # Errors
/// [`ParseNumberError::Syntax`] for everything else.
pub(crate) fn parse_bool(text: &str) -> Result<bool, ParseNumberError> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(syntax("ParseBool", text)),
    }
}

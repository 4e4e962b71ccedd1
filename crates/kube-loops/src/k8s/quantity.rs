// SPDX-License-Identifier: Apache-2.0
//! Kubernetes quantities: `1500m`, `1.5`, `128Mi`, `2e3`.

/// Why a text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a number with one of the known suffixes.
    #[error("{0:?} is not a quantity")]
    Syntax(String),
    /// Larger than any quantity that means something.
    #[error("{0:?} is too large for a quantity")]
    Range(String),
}

/// A number, exactly: `digits · 10^ten · 2^two`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Exact {
    digits: i128,
    ten: i32,
    two: u32,
}

/// The value as the nearest double.
///
/// # Errors
/// [`QuantityError`].
pub fn parse_quantity(text: &str) -> Result<f64, QuantityError> {
    let Exact { digits, ten, two } = parse(text)?;
    // Scaling by a power of two is exact, so only the decimal part rounds.
    let decimal: f64 = format!("{digits}e{ten}").parse().map_err(|_| syntax(text))?;
    let value = decimal * 2_f64.powi(i32::try_from(two).unwrap_or(0));
    if value.is_finite() { Ok(value) } else { Err(QuantityError::Range(text.to_owned())) }
}

/// The value in thousandths, rounded up as Kubernetes does for CPU.
///
/// # Errors
/// [`QuantityError`].
pub fn parse_milli(text: &str) -> Result<i64, QuantityError> {
    let exact = parse(text)?;
    scaled_up(Exact { ten: exact.ten + 3, ..exact }).ok_or_else(|| QuantityError::Range(text.to_owned()))
}

/// The value in whole units, rounded up as Kubernetes does for memory.
///
/// # Errors
/// [`QuantityError`].
pub fn parse_whole(text: &str) -> Result<i64, QuantityError> {
    scaled_up(parse(text)?).ok_or_else(|| QuantityError::Range(text.to_owned()))
}

/// Whether two quantities are the same number. Text that is no quantity equals only itself.
pub fn are_equal(a: &str, b: &str) -> bool {
    match (parse_milli(a), parse_milli(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

/// Thousandths in the canonical decimal form: the largest suffix that leaves an integer, `500m`, `1`, `2k`.
pub fn format_milli(milli: i64) -> String {
    const SUFFIXES: [&str; 8] = ["m", "", "k", "M", "G", "T", "P", "E"];
    let mut number = milli;
    let mut rank = 0;
    while number != 0 && number % 1000 == 0 && rank + 1 < SUFFIXES.len() {
        number /= 1000;
        rank += 1;
    }
    if number == 0 {
        return "0".to_owned();
    }
    format!("{number}{}", SUFFIXES.get(rank).unwrap_or(&""))
}

/// Whole units in the canonical binary form: the largest suffix that leaves an integer, `128Mi`, `1000`.
pub fn format_binary(value: i64) -> String {
    const SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let mut number = value;
    let mut rank = 0;
    while number != 0 && number % 1024 == 0 && rank + 1 < SUFFIXES.len() {
        number /= 1024;
        rank += 1;
    }
    format!("{number}{}", SUFFIXES.get(rank).unwrap_or(&""))
}

fn syntax(text: &str) -> QuantityError {
    QuantityError::Syntax(text.to_owned())
}

fn parse(text: &str) -> Result<Exact, QuantityError> {
    let range = || QuantityError::Range(text.to_owned());
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return Err(syntax(text));
    }
    let fraction = fraction.trim_end_matches('0');
    let mut digits: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()).map(|byte| i128::from(byte.saturating_sub(b'0'))) {
        digits = digits.checked_mul(10).and_then(|digits| digits.checked_add(digit)).ok_or_else(range)?;
    }
    let (ten, two) = suffix_of(suffix).ok_or_else(|| syntax(text))?;
    let places = i32::try_from(fraction.len()).map_err(|_| range())?;
    Ok(Exact { digits: if negative { -digits } else { digits }, ten: ten - places, two })
}

/// Powers of ten and of two.
fn suffix_of(suffix: &str) -> Option<(i32, u32)> {
    Some(match suffix {
        "" => (0, 0),
        "n" => (-9, 0),
        "u" => (-6, 0),
        "m" => (-3, 0),
        "k" => (3, 0),
        "M" => (6, 0),
        "G" => (9, 0),
        "T" => (12, 0),
        "P" => (15, 0),
        "E" => (18, 0),
        "Ki" => (0, 10),
        "Mi" => (0, 20),
        "Gi" => (0, 30),
        "Ti" => (0, 40),
        "Pi" => (0, 50),
        "Ei" => (0, 60),
        exponent => {
            let exponent: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            (exponent.clamp(-1000, 1000), 0)
        }
    })
}

/// Rounded towards positive infinity; `None` outside 64 bits.
fn scaled_up(Exact { digits, ten, two }: Exact) -> Option<i64> {
    if digits == 0 {
        return Some(0);
    }
    let binary = digits.checked_mul(1_i128.checked_shl(two)?)?;
    let power = |exponent: u32| 10_i128.checked_pow(exponent);
    let value = if ten >= 0 {
        binary.checked_mul(power(ten.unsigned_abs())?)?
    } else {
        match power(ten.unsigned_abs()) {
            Some(divisor) => binary.div_euclid(divisor) + i128::from(binary.rem_euclid(divisor) != 0),
            None => i128::from(binary > 0), // smaller than one by far
        }
    };
    i64::try_from(value).ok()
}

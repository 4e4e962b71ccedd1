// SPDX-License-Identifier: Apache-2.0
//! Quantities (`1500m`, `0.5`, `128Mi`, `1e3`) by exact value, in one text per value, and as Go keeps them.
//!
//! Go's parser has two paths. Numbers of few digits become an integer with a scale; the text is kept beside
//! it where it is already in canonical form. All others become a decimal with nine places, rounded away
//! from zero. Which path was taken is visible in a textual dump of the value, hence [`GoQuantity::dump`].

use std::fmt::Write as _;

/// Digits that Go's fast path takes at most.
const FAST_DIGITS: usize = 18;
/// Decimal places of Go's slow path, and the smallest scale of the fast one.
const PLACES: i32 = 9;
/// Exponents beyond this are no quantity that anybody means; they are refused so that no text grows without
/// bound.
const LARGEST_EXPONENT: i32 = 60;

/// A quantity as Go holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoQuantity {
    negative: bool,
    digits: u128,
    /// The value is `digits · 10^scale`.
    scale: i32,
    form: Form,
    /// The text, where Go keeps it.
    kept: Option<String>,
    fast: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Binary,
    Decimal,
    Exponent,
}

/// The value in base units without exponent or trailing zeros: `10000m` → `10`, `1Gi` → `1073741824`, `0.5`
/// → `0.5`. Two quantities are equal exactly if these texts are. `None` for text that is no quantity.
pub fn decimal(text: &str) -> Option<String> {
    GoQuantity::parse(text).map(|quantity| quantity.decimal())
}

/// Whether two texts are the same quantity. Text that is no quantity equals only itself.
pub fn are_equal(a: &str, b: &str) -> bool {
    a == b || decimal(a).is_some_and(|value| decimal(b) == Some(value))
}

impl GoQuantity {
    /// Reads a quantity, rounding as Go does (away from zero at nine decimal places). `None` for text that
    /// is no quantity (Go also takes a bare suffix for 0, which no schema lets through), or one of more
    /// than 38 digits.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest.is_empty() {
            return None;
        }
        let (whole, rest) = split_digits(rest);
        let (places, suffix) = match rest.strip_prefix('.') {
            Some(rest) => split_digits(rest),
            None => ("", rest),
        };
        if whole.is_empty() && places.is_empty() {
            return None;
        }
        let whole = whole.trim_start_matches('0');
        let whole = if whole.is_empty() { "0" } else { whole };
        let (power, form) = power_of(suffix)?;
        let parsed = Self { negative, digits: 0, scale: 0, form, kept: None, fast: true };
        if text == "0" {
            return Some(Self { kept: Some("0".to_owned()), ..parsed });
        }
        let fraction = i32::try_from(places.len()).ok()?;
        let number: u128 = format!("{whole}{places}").parse().ok()?;
        parsed.fast(text, whole, places, power).or_else(|| parsed.slow(number, fraction, power))
    }

    fn fast(&self, text: &str, whole: &str, places: &str, power: Power) -> Option<Self> {
        let shifted = format!("{whole}{places}");
        let (scale, mantissa) = match power {
            Power::Ten(exponent) => (shifted.len() <= FAST_DIGITS).then_some((exponent, 1_i64))?,
            Power::Two(exponent) => {
                // One binary digit is about 0.3 decimal ones; one decimal digit is held back.
                let taken = whole.len() + usize::try_from(exponent * 3 / 10).ok()? + 1;
                (places.is_empty() && taken <= 15).then(|| (0, 1_i64 << exponent))?
            }
        };
        let scale = scale - i32::try_from(places.len()).ok()?;
        if scale < -PLACES {
            return None;
        }
        let value: i64 = shifted.parse().ok()?;
        let digits = value.checked_mul(mantissa)?;
        let canonical = match power {
            Power::Two(_) => value & 7 != 0,
            Power::Ten(_) => scale % 3 == 0 && !shifted.ends_with("000") && !shifted.starts_with('0'),
        };
        let kept = canonical.then(|| text.to_owned());
        Some(Self { digits: digits.unsigned_abs().into(), scale, kept, ..self.clone() })
    }

    fn slow(&self, number: u128, fraction: i32, power: Power) -> Option<Self> {
        let (unrounded, scale) = match power {
            Power::Ten(exponent) => (number, exponent - fraction),
            Power::Two(exponent) => (number.checked_mul(1_u128 << exponent)?, -fraction),
        };
        let digits = if scale >= -PLACES {
            unrounded.checked_mul(power_of_ten(scale + PLACES)?)?
        } else {
            // Smaller than any representable part: rounding away from zero leaves at least one part.
            power_of_ten(-PLACES - scale)
                .map_or_else(|| u128::from(unrounded > 0), |divisor| unrounded.div_ceil(divisor))
        };
        let one = power_of_ten(PLACES)?;
        let largest = u128::from(i64::MAX.unsigned_abs());
        let binary = self.form == Form::Binary;
        if binary && digits > largest.checked_mul(one)? {
            return Some(Self { digits: largest, fast: false, ..self.clone() });
        }
        let form = if binary && digits > 0 && digits < one { Form::Decimal } else { self.form };
        Some(Self { digits, scale: -PLACES, form, fast: false, ..self.clone() })
    }

    /// Whether the value is zero.
    pub fn is_zero(&self) -> bool {
        self.digits == 0
    }

    /// See [`decimal`].
    pub fn decimal(&self) -> String {
        let (digits, scale) = stripped(self.digits, self.scale, 10);
        let mut text = digits.to_string();
        if digits != 0 && scale > 0 {
            text.extend(std::iter::repeat_n('0', usize::try_from(scale).unwrap_or(0)));
        } else if digits != 0 && scale < 0 {
            let places = usize::try_from(scale.unsigned_abs()).unwrap_or(0);
            let padded = format!("{text:0>width$}", width = places + 1);
            let (whole, fraction) = padded.split_at(padded.len() - places);
            text = format!("{whole}.{fraction}");
        }
        if self.negative && digits != 0 { format!("-{text}") } else { text }
    }

    /// The nearest floating-point number.
    pub fn value(&self) -> f64 {
        self.decimal().parse().unwrap_or(f64::NAN)
    }

    /// `⌈value · 10^places⌉`.
    #[expect(clippy::cast_precision_loss, reason = "what pods use is below 2^53 millicores and bytes")]
    pub fn ceil(&self, places: i32) -> f64 {
        let scale = self.scale.saturating_add(places);
        let size = power_of_ten(scale.saturating_abs()).unwrap_or(u128::MAX);
        match (scale < 0, self.negative) {
            (false, false) => self.digits.saturating_mul(size) as f64,
            (false, true) => -(self.digits.saturating_mul(size) as f64),
            (true, false) => self.digits.div_ceil(size) as f64,
            (true, true) => -((self.digits / size) as f64),
        }
    }

    /// The canonical text that Go writes: `1000m` → `1`, `0.5` → `500m`, `1024Mi` → `1Gi`.
    pub fn to_text(&self) -> String {
        if let Some(kept) = &self.kept {
            return kept.clone();
        }
        if self.digits == 0 {
            return "0".to_owned();
        }
        let sign = if self.negative { "-" } else { "" };
        let units = power_of_ten(self.scale.abs()).and_then(|power| {
            if self.scale < 0 {
                self.digits.is_multiple_of(power).then(|| self.digits / power)
            } else {
                self.digits.checked_mul(power)
            }
        });
        if let (Form::Binary, Some(units)) = (self.form, units)
            && units >= 1024
        {
            const SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
            let (number, rank) = stripped(units, 0, 1024);
            let suffix = usize::try_from(rank).ok().and_then(|rank| SUFFIXES.get(rank)).unwrap_or(&"");
            return format!("{sign}{number}{suffix}");
        }
        let (mut number, mut exponent) = stripped(self.digits, self.scale, 10);
        while exponent.rem_euclid(3) != 0 {
            number = number.saturating_mul(10);
            exponent -= 1;
        }
        let suffix = match self.form {
            Form::Exponent if exponent == 0 => String::new(),
            Form::Exponent => format!("e{exponent}"),
            Form::Binary | Form::Decimal => decimal_suffix(exponent).to_owned(),
        };
        format!("{sign}{number}{suffix}")
    }

    /// The value as Go's textual dump shows it, without its own type.
    pub fn dump(&self) -> String {
        let mut dump = String::new();
        let signed = if self.negative && self.digits != 0 { "-" } else { "" };
        let (value, scale) =
            if self.fast { (format!("{signed}{}", self.digits), self.scale) } else { ("0".into(), 0) };
        let text = self.kept.as_deref().unwrap_or("");
        let form = match self.form {
            Form::Binary => "BinarySI",
            Form::Decimal => "DecimalSI",
            Form::Exponent => "DecimalExponent",
        };
        let slow = if self.fast {
            "<nil>".to_owned()
        } else {
            let (low, high) = (self.digits & u128::from(u64::MAX), self.digits >> 64);
            let words = if high == 0 { low.to_string() } else { format!("{low} {high}") };
            let negative = self.negative;
            let places = -self.scale;
            format!(
                "{{unscaled:(big.Int){{neg:(bool){negative} abs:(big.nat)[{words}]}} \
                 scale:(inf.Scale){places}}}"
            )
        };
        // Writing to a String cannot fail.
        let _infallible = write!(
            dump,
            "{{i:(resource.int64Amount){{value:(int64){value} scale:(resource.Scale){scale}}} \
             d:(resource.infDecAmount){{Dec:(*inf.Dec){slow}}} s:(string){text} \
             Format:(resource.Format){form}}}"
        );
        dump
    }
}

#[derive(Debug, Clone, Copy)]
enum Power {
    Ten(i32),
    Two(i32),
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn power_of_ten(exponent: i32) -> Option<u128> {
    10_u128.checked_pow(u32::try_from(exponent).ok()?)
}

/// Moves all factors of `base` from the number into the exponent.
fn stripped(mut number: u128, mut exponent: i32, base: u128) -> (u128, i32) {
    while number >= base && number.is_multiple_of(base) {
        number /= base;
        exponent += 1;
    }
    (number, exponent)
}

fn power_of(suffix: &str) -> Option<(Power, Form)> {
    const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if let Some(rank) = BINARY.iter().position(|known| *known == suffix) {
        return Some((Power::Two(i32::try_from(rank + 1).ok()? * 10), Form::Binary));
    }
    if let Some(exponent) =
        (-3_i32..=6).map(|rank| rank * 3).find(|exponent| decimal_suffix(*exponent) == suffix)
    {
        return Some((Power::Ten(exponent), Form::Decimal));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    (exponent.abs() <= LARGEST_EXPONENT).then_some((Power::Ten(exponent), Form::Exponent))
}

fn decimal_suffix(exponent: i32) -> &'static str {
    match exponent {
        -9 => "n",
        -6 => "u",
        -3 => "m",
        3 => "k",
        6 => "M",
        9 => "G",
        12 => "T",
        15 => "P",
        18 => "E",
        _ => "",
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

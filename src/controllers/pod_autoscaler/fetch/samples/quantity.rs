// SPDX-License-Identifier: Apache-2.0
//! Kubernetes quantities (`250m`, `1.5Gi`, `1e3`), exactly.

/// A quantity as a fraction of whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quantity {
    numerator: i128,
    /// At least 1.
    denominator: i128,
}

impl Quantity {
    /// Reads a quantity; `None` when the text is none, or is too large or too fine to be one of a pod.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let split = text.find(|character: char| !matches!(character, '0'..='9' | '.' | '+' | '-'));
        let (number, suffix) = text.split_at(split.unwrap_or(text.len()));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
        let finer = power(10, u32::try_from(fraction.len()).ok()?)?;
        let (times, over) = multiplier(suffix)?;
        let numerator = digits.checked_mul(times)?;
        let denominator = finer.checked_mul(over)?;
        // Room for `ceil(1000)`.
        numerator.checked_mul(1000).map(|_| Self { numerator, denominator })
    }

    /// The nearest floating-point number.
    #[expect(clippy::cast_precision_loss, reason = "both parts of a real quantity are below 2^53")]
    pub(super) fn value(self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }

    /// `⌈value · parts⌉`, with `parts` 1 or 1000.
    #[expect(clippy::cast_precision_loss, reason = "usage of a pod is below 2^53 millicores and bytes")]
    pub(super) fn ceil(self, parts: u16) -> f64 {
        let scaled = self.numerator.saturating_mul(i128::from(parts));
        let whole = scaled.div_euclid(self.denominator);
        let rest = i128::from(scaled.rem_euclid(self.denominator) > 0);
        whole.saturating_add(rest) as f64
    }
}

/// What a suffix multiplies with, as a fraction.
fn multiplier(suffix: &str) -> Option<(i128, i128)> {
    if let Some(exponent) = suffix.strip_prefix(['e', 'E']).filter(|exponent| !exponent.is_empty()) {
        if exponent == "i" {
            return power(1024, 6).map(|times| (times, 1));
        }
        let exponent: i32 = exponent.parse().ok()?;
        let size = power(10, exponent.unsigned_abs())?;
        return Some(if exponent < 0 { (1, size) } else { (size, 1) });
    }
    let (base, up, down) = match suffix {
        "" => (10, 0, 0),
        "n" => (10, 0, 9),
        "u" => (10, 0, 6),
        "m" => (10, 0, 3),
        "k" => (10, 3, 0),
        "M" => (10, 6, 0),
        "G" => (10, 9, 0),
        "T" => (10, 12, 0),
        "P" => (10, 15, 0),
        "E" => (10, 18, 0),
        "Ki" => (1024, 1, 0),
        "Mi" => (1024, 2, 0),
        "Gi" => (1024, 3, 0),
        "Ti" => (1024, 4, 0),
        "Pi" => (1024, 5, 0),
        _ => return None,
    };
    Some((power(base, up)?, power(base, down)?))
}

fn power(base: i128, exponent: u32) -> Option<i128> {
    base.checked_pow(exponent)
}

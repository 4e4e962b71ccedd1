// SPDX-License-Identifier: Apache-2.0
//! Amounts that users give as a number or as a percentage of the replicas.
//!
//! The arithmetic is that of Kubernetes' `GetScaledValueFromIntOrPercent`: an integer counts as it is,
//! `"p%"` of `total` is `p · total / 100`, rounded as the caller says. A surge is rounded up and an
//! unavailability down, so that a rollout may do more than it was allowed to interrupt; a disruption budget
//! is rounded up.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Where a fraction goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Towards zero: `maxUnavailable`.
    Down,
    /// Away from zero: `maxSurge`, disruption budgets.
    Up,
}

/// An amount that can be used: never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// This many.
    Count(u32),
    /// This many of a hundred. More than 100 is allowed.
    Percent(u32),
}

/// Whether `"3"` is taken for `3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotedIntegers {
    /// As Kubernetes: text is a percentage or an error.
    Refuse,
    /// Templating often quotes numbers; a Ray fleet takes them for what they mean.
    Accept,
}

/// Why a value is no amount. Callers say so in an event and treat the value as their rules say (as a rule,
/// as absent).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Text that is not `<integer>%`.
    #[error("invalid value {0:?}: neither an integer nor a percentage")]
    Malformed(String),
    /// Less than nothing.
    #[error("invalid value {0:?}: it must not be negative")]
    Negative(String),
}

impl Amount {
    /// The amount that a user wrote.
    ///
    /// Text is `<integer>%`, where the integer may have a sign and leading zeros, as Go's `strconv.Atoi`
    /// reads it (`+5%` and `010%` are 5 and 10), within 32 bits.
    ///
    /// # Errors
    /// [`AmountError::Malformed`] for other text, [`AmountError::Negative`] for a value below zero.
    pub fn parse(value: &IntOrString, quoted: QuotedIntegers) -> Result<Self, AmountError> {
        match value {
            IntOrString::Int(number) => {
                u32::try_from(*number).map(Self::Count).map_err(|_| AmountError::Negative(number.to_string()))
            }
            IntOrString::String(text) => {
                let (digits, amount): (&str, fn(u32) -> Self) = match text.strip_suffix('%') {
                    Some(digits) => (digits, Self::Percent),
                    None if quoted == QuotedIntegers::Accept => (text, Self::Count),
                    None => return Err(AmountError::Malformed(text.clone())),
                };
                let number: i32 = digits.parse().map_err(|_| AmountError::Malformed(text.clone()))?;
                u32::try_from(number).map(amount).map_err(|_| AmountError::Negative(text.clone()))
            }
        }
    }

    /// What the amount is of `total`.
    ///
    /// ```text
    /// Count(c)   → c                    whatever the total is
    /// Percent(p) → ⌈p · total / 100⌉ or ⌊p · total / 100⌋
    /// ```
    pub fn of(self, total: usize, rounding: Rounding) -> usize {
        match self {
            Self::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Self::Percent(percent) => {
                let hundredfold = usize::try_from(percent).unwrap_or(usize::MAX).saturating_mul(total);
                match rounding {
                    Rounding::Down => hundredfold / 100,
                    Rounding::Up => hundredfold.div_ceil(100),
                }
            }
        }
    }
}

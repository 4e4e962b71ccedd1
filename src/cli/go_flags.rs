// SPDX-License-Identifier: Apache-2.0
//! Command lines in the style of Go's `flag` package, pure.
//!
//! Existing manifests were written for a Go program, so its rules are kept to the letter: one dash or two,
//! a boolean takes a value only behind `=`, parsing stops at the first argument that is not a flag, and of
//! a flag that is given twice the last one counts. What follows the stop is reported, not guessed at.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use jiff::SignedDuration;

use crate::gocompat::{
    duration::parse_duration,
    number::{ParseNumberError, parse_bool, parse_float, parse_int},
    quote::quote,
};

/// Why a text is no value of a flag, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not of the flag's type.
    #[error("parse error")]
    Parse,
    /// A number beyond the type.
    #[error("value out of range")]
    Range,
    /// Not `pattern=N,…`.
    #[error("syntax error: expect comma-separated list of filename=N")]
    Vmodule,
    /// A level below 0 in `-vmodule`.
    #[error("negative value for vmodule level")]
    NegativeLevel,
    /// Not `file.go:N`.
    #[error("syntax error: expect file.go:234")]
    Location,
}

impl From<ParseNumberError> for ValueError {
    fn from(error: ParseNumberError) -> Self {
        match error {
            ParseNumberError::Syntax { .. } => Self::Parse,
            ParseNumberError::Range { .. } => Self::Range,
        }
    }
}

/// A type that flags can have.
pub trait FlagValue: Sized + Default {
    /// Whether a bare flag means true, and a value needs `=`.
    const IS_BOOL: bool = false;
    /// What the usage text calls the value; empty for booleans.
    const TYPE_NAME: &'static str;
    /// The default that the usage text leaves out, because it says nothing.
    const ZERO: &'static str = "";

    /// Parses what stands behind `=` or in the next argument.
    ///
    /// # Errors
    /// The text is no such value.
    fn parse(text: &str) -> Result<Self, ValueError>;
}

impl FlagValue for bool {
    const IS_BOOL: bool = true;
    const TYPE_NAME: &'static str = "";
    const ZERO: &'static str = "false";

    fn parse(text: &str) -> Result<Self, ValueError> {
        Ok(parse_bool(text)?)
    }
}

impl FlagValue for String {
    const TYPE_NAME: &'static str = "string";

    fn parse(text: &str) -> Result<Self, ValueError> {
        Ok(text.to_owned())
    }
}

impl FlagValue for i64 {
    const TYPE_NAME: &'static str = "int";
    const ZERO: &'static str = "0";

    fn parse(text: &str) -> Result<Self, ValueError> {
        Ok(parse_int(text)?)
    }
}

impl FlagValue for u64 {
    const TYPE_NAME: &'static str = "uint";
    const ZERO: &'static str = "0";

    fn parse(text: &str) -> Result<Self, ValueError> {
        parse_int(text)?.try_into().map_err(|_| ValueError::Parse)
    }
}

impl FlagValue for f64 {
    const TYPE_NAME: &'static str = "float";
    const ZERO: &'static str = "0";

    fn parse(text: &str) -> Result<Self, ValueError> {
        Ok(parse_float(text)?)
    }
}

impl FlagValue for SignedDuration {
    const TYPE_NAME: &'static str = "duration";
    const ZERO: &'static str = "0s";

    fn parse(text: &str) -> Result<Self, ValueError> {
        parse_duration(text).map_err(|_| ValueError::Parse)
    }
}

/// One flag: its name without dashes, its default as it would be written, and its line in the usage text.
#[derive(Debug)]
pub struct Flag<T> {
    /// Name without dashes.
    pub name: &'static str,
    /// Value when the flag is absent, as a user would write it.
    pub default: &'static str,
    /// Meaning, for the usage text. Empty: the flag is not shown.
    pub usage: &'static str,
    value: PhantomData<fn() -> T>,
}

impl<T> Flag<T> {
    /// A flag.
    pub const fn new(name: &'static str, default: &'static str, usage: &'static str) -> Self {
        Self { name, default, usage, value: PhantomData }
    }
}

/// A flag whatever its type.
pub trait AnyFlag: Sync + fmt::Debug {
    /// Name without dashes.
    fn name(&self) -> &'static str;
    /// Value when absent.
    fn default_text(&self) -> &'static str;
    /// Meaning; empty: not shown.
    fn usage(&self) -> &'static str;
    /// Whether a bare flag means true.
    fn is_bool(&self) -> bool;
    /// What the usage text calls the value.
    fn type_name(&self) -> &'static str;
    /// The default that the usage text leaves out.
    fn zero(&self) -> &'static str;
    /// Whether `text` is a value of the flag.
    ///
    /// # Errors
    /// It is not.
    fn check(&self, text: &str) -> Result<(), ValueError>;
    /// Whether two texts are the same value, such as `1` and `true`.
    fn same(&self, one: &str, other: &str) -> bool;
}

impl<T: FlagValue + PartialEq + fmt::Debug> AnyFlag for Flag<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn default_text(&self) -> &'static str {
        self.default
    }

    fn usage(&self) -> &'static str {
        self.usage
    }

    fn is_bool(&self) -> bool {
        T::IS_BOOL
    }

    fn type_name(&self) -> &'static str {
        T::TYPE_NAME
    }

    fn zero(&self) -> &'static str {
        T::ZERO
    }

    fn check(&self, text: &str) -> Result<(), ValueError> {
        T::parse(text).map(|_| ())
    }

    fn same(&self, one: &str, other: &str) -> bool {
        T::parse(one) == T::parse(other)
    }
}

/// Why a command line was refused: message and usage on stderr, exit code 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FlagError {
    /// Dashes without a name, three dashes, `-=x`.
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    /// No flag has this name.
    #[error("flag provided but not defined: -{0}")]
    Unknown(String),
    /// The last argument is a flag that needs a value.
    #[error("flag needs an argument: -{0}")]
    NeedsArgument(&'static str),
    /// A boolean with a value that is none.
    #[error("invalid boolean value {} for -{name}: {cause}", quote(value))]
    Boolean {
        /// The flag.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        cause: ValueError,
    },
    /// A value that is not of the flag's type.
    #[error("invalid value {} for flag -{name}: {cause}", quote(value))]
    Value {
        /// The flag.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        cause: ValueError,
    },
}

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// The usage text, exit code 0.
    Help,
    /// To go on with these values.
    Given(Given),
}

/// The values of a command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Given {
    values: BTreeMap<&'static str, Vec<String>>,
    /// Arguments behind the first one that is not a flag, that one included, or behind `--`.
    pub ignored: Vec<String>,
}

impl Given {
    /// The last value of a flag, else its default.
    pub(crate) fn get<T: FlagValue>(&self, flag: &Flag<T>) -> T {
        // Values were checked when they were parsed, and a test parses every default.
        let last = self.all(flag).last().and_then(|text| T::parse(text).ok());
        last.unwrap_or_else(|| T::parse(flag.default).unwrap_or_default())
    }

    /// The last value of a flag if it was given at all.
    pub(crate) fn given<T: FlagValue>(&self, flag: &Flag<T>) -> Option<T> {
        self.all(flag).last().and_then(|text| T::parse(text).ok())
    }

    /// Every value of a flag as written, in order.
    pub(crate) fn all<T>(&self, flag: &Flag<T>) -> &[String] {
        self.values.get(flag.name).map_or(&[], Vec::as_slice)
    }

    /// Every value of the flag with this name as written, in order.
    pub(crate) fn named(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }
}

/// Parses arguments (without the program's name) by the rules of Go's `flag` package.
///
/// # Errors
/// The first argument that breaks a rule. What stands before it has no effect either.
pub(crate) fn parse(flags: &[&'static dyn AnyFlag], arguments: &[String]) -> Result<Parsed, FlagError> {
    let mut given = Given::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.as_slice().first() {
        let Some(named) = argument.strip_prefix('-').filter(|named| !named.is_empty()) else { break };
        rest.next();
        if named == "-" {
            break;
        }
        let named = named.strip_prefix('-').unwrap_or(named);
        if named.starts_with(['-', '=']) {
            return Err(FlagError::Syntax(argument.clone()));
        }
        let (name, value) = match named.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (named, None),
        };
        let Some(flag) = flags.iter().find(|flag| flag.name() == name) else {
            if matches!(name, "h" | "help") {
                return Ok(Parsed::Help);
            }
            return Err(FlagError::Unknown(name.to_owned()));
        };
        let value = match value {
            Some(value) => value,
            None if flag.is_bool() => "true".to_owned(),
            None => rest.next().cloned().ok_or_else(|| FlagError::NeedsArgument(flag.name()))?,
        };
        flag.check(&value).map_err(|cause| refused(*flag, &value, cause))?;
        given.values.entry(flag.name()).or_default().push(value);
    }
    given.ignored = rest.cloned().collect();
    Ok(Parsed::Given(given))
}

fn refused(flag: &dyn AnyFlag, value: &str, cause: ValueError) -> FlagError {
    let (name, value) = (flag.name(), value.to_owned());
    if flag.is_bool() {
        return FlagError::Boolean { name, value, cause };
    }
    FlagError::Value { name, value, cause }
}

// SPDX-License-Identifier: Apache-2.0
//! Prometheus text (0.0.4, and `OpenMetrics` as far as the two agree): the wanted families, and nothing else.
//!
//! Tolerant on purpose: a malformed line of a family that nobody asked for is not looked at, a last
//! line without its line feed counts, types may be missing. DIFFERS: AIBrix loses the whole body to one
//! malformed line. Strict where a number would be wrong: a malformed line of a wanted family makes that
//! family unusable.

use std::{borrow::Cow, collections::BTreeMap};

/// Longest line that is looked at, in bytes; real lines have a few hundred.
const LONGEST_LINE: usize = 64 << 10;

/// Type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// No type given, or `untyped`, or `unknown`: read as a gauge.
    Untyped,
    /// Buckets: has no value of its own.
    Histogram,
    /// Quantiles: has no value of its own.
    Summary,
    /// A type of `OpenMetrics` that has no value of its own.
    Other,
}

impl Kind {
    fn parse(word: &str) -> Self {
        match word {
            "counter" => Self::Counter,
            "gauge" => Self::Gauge,
            "" | "untyped" | "unknown" => Self::Untyped,
            "histogram" => Self::Histogram,
            "summary" => Self::Summary,
            _ => Self::Other,
        }
    }

    /// Whether a sample of this type is a number to scale on.
    pub(crate) fn has_value(self) -> bool {
        matches!(self, Self::Counter | Self::Gauge | Self::Untyped)
    }
}

/// Why a family has no number. A missing number is never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoValue {
    /// The body has no such family, or the family has no series.
    #[error("not found")]
    Missing,
    /// Its type has no single value.
    #[error("not a counter or gauge")]
    WrongKind,
    /// `NaN` or infinite.
    #[error("not a finite number")]
    NotFinite,
    /// A line of the family could not be read.
    #[error("malformed")]
    Malformed,
}

/// The series of one family in a body.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Family {
    kind: Option<Kind>,
    /// Value of the first series; `None` while there is none; `Err` when its line is malformed.
    first: Option<Result<f64, NoValue>>,
    /// Sum over all series; `Err` when any line is malformed.
    sum: Result<f64, NoValue>,
}

impl Family {
    const EMPTY: Self = Self { kind: None, first: None, sum: Ok(0.0) };

    fn add(&mut self, value: Option<f64>) {
        let value = value.ok_or(NoValue::Malformed);
        self.first.get_or_insert(value);
        self.sum = self.sum.and_then(|sum| value.map(|value| sum + value));
    }

    fn number(&self, value: Result<f64, NoValue>) -> Result<f64, NoValue> {
        if !self.kind.unwrap_or(Kind::Untyped).has_value() {
            return Err(NoValue::WrongKind);
        }
        if self.first.is_none() {
            return Err(NoValue::Missing);
        }
        value.and_then(|value| if value.is_finite() { Ok(value) } else { Err(NoValue::NotFinite) })
    }

    /// Value of the first series, whatever its labels: the rule for pods.
    ///
    /// # Errors
    /// [`NoValue`]: unknown, not zero.
    pub(crate) fn first(&self) -> Result<f64, NoValue> {
        self.number(self.first.unwrap_or(Err(NoValue::Missing)))
    }

    /// Sum over all series: the rule for endpoints that report a whole service.
    ///
    /// # Errors
    /// [`NoValue`]: unknown, not zero. One series without a number makes the sum unknown.
    pub(crate) fn sum(&self) -> Result<f64, NoValue> {
        self.number(self.sum)
    }
}

/// The wanted families of one body.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Families(BTreeMap<Box<str>, Option<Family>>);

impl Families {
    /// The family `name`; `None` when the body lacks it (or nobody wanted it: see [`Self::covers`]).
    pub(crate) fn get(&self, name: &str) -> Option<&Family> {
        self.0.get(name).and_then(Option::as_ref)
    }

    /// Whether `name` was among the wanted families.
    pub(crate) fn covers(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// [`Family::first`] of `name`.
    ///
    /// # Errors
    /// [`NoValue`], `Missing` when the body lacks the family.
    pub(crate) fn first(&self, name: &str) -> Result<f64, NoValue> {
        self.get(name).ok_or(NoValue::Missing)?.first()
    }

    /// [`Family::sum`] of `name`.
    ///
    /// # Errors
    /// [`NoValue`], `Missing` when the body lacks the family.
    pub(crate) fn sum(&self, name: &str) -> Result<f64, NoValue> {
        self.get(name).ok_or(NoValue::Missing)?.sum()
    }
}

/// The body is not text: it has a NUL byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not text")]
pub(crate) struct NotText;

/// Reads a body piece by piece; holds at most one line that a piece ended in.
#[derive(Debug)]
pub(crate) struct Scanner {
    families: Families,
    /// Start of a line whose end has not come yet.
    pending: Vec<u8>,
    /// The line under way is longer than [`LONGEST_LINE`]; its rest is thrown away.
    overlong: bool,
}

impl Scanner {
    /// A scanner that keeps the `wanted` families.
    pub(crate) fn new<'a>(wanted: impl IntoIterator<Item = &'a str>) -> Self {
        let families = wanted.into_iter().map(|name| (name.into(), None)).collect();
        Self { families: Families(families), pending: Vec::new(), overlong: false }
    }

    /// Takes the next piece of the body. Pieces may end anywhere.
    ///
    /// # Errors
    /// [`NotText`]: give the body up.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Result<(), NotText> {
        if piece.contains(&0) {
            return Err(NotText);
        }
        let mut lines = piece.split(|byte| *byte == b'\n');
        // `split` yields at least one item; the last one has no line feed yet.
        let Some(mut line) = lines.next() else { return Ok(()) };
        for next in lines {
            self.end_line(line);
            line = next;
        }
        self.hold(line);
        Ok(())
    }

    /// The families, after the last piece.
    pub(crate) fn finish(mut self) -> Families {
        self.end_line(b"");
        self.families
    }

    fn hold(&mut self, part: &[u8]) {
        if self.overlong {
            return;
        }
        let room = LONGEST_LINE.saturating_sub(self.pending.len());
        self.overlong = part.len() > room;
        self.pending.extend_from_slice(part.get(..room).unwrap_or(part));
    }

    fn end_line(&mut self, rest: &[u8]) {
        if self.pending.is_empty() && rest.len() <= LONGEST_LINE {
            self.line(rest, true);
            return;
        }
        self.hold(rest);
        let mut pending = std::mem::take(&mut self.pending);
        let complete = !std::mem::take(&mut self.overlong);
        self.line(&pending, complete);
        pending.clear();
        self.pending = pending;
    }

    fn line(&mut self, line: &[u8], complete: bool) {
        let line = line.trim_ascii();
        if let Some(comment) = line.strip_prefix(b"#") {
            self.comment(comment);
            return;
        }
        let end = line.iter().position(|byte| matches!(byte, b'{' | b' ' | b'\t')).unwrap_or(line.len());
        let (name, rest) = line.split_at(end);
        let Ok(name) = std::str::from_utf8(name) else { return };
        let Some(family) = self.family_of_sample(name) else { return };
        // Bytes that are no UTF-8 can only be within label values, which are not kept.
        let value = if complete { value_of(&String::from_utf8_lossy(rest)) } else { None };
        family.get_or_insert(Family::EMPTY).add(value);
    }

    /// The wanted family that a sample called `name` belongs to.
    fn family_of_sample(&mut self, name: &str) -> Option<&mut Option<Family>> {
        // OpenMetrics calls the counter `x` and its sample `x_total`.
        let short = name.strip_suffix("_total").filter(|short| {
            self.families.get(short).is_some_and(|family| family.kind == Some(Kind::Counter))
        });
        if self.families.covers(name) {
            return self.families.0.get_mut(name);
        }
        self.families.0.get_mut(short?)
    }

    /// `# TYPE <name> <type>`; all other comments mean nothing.
    fn comment(&mut self, comment: &[u8]) {
        let comment = String::from_utf8_lossy(comment);
        let Cow::Borrowed(comment) = comment else { return };
        let mut words = comment.split_ascii_whitespace();
        if words.next() != Some("TYPE") {
            return;
        }
        let (Some(name), Some(kind)) = (words.next(), words.next()) else { return };
        let long = format!("{name}_total");
        let counter = kind == "counter" && !self.families.covers(name) && self.families.covers(&long);
        let name = if counter { long.as_str() } else { name };
        if let Some(family) = self.families.0.get_mut(name) {
            family.get_or_insert(Family::EMPTY).kind.get_or_insert_with(|| Kind::parse(kind));
        }
    }
}

/// The value of `[{labels}] value [timestamp] [# exemplar]`; `None` when malformed.
fn value_of(rest: &str) -> Option<f64> {
    let rest = rest.trim_start();
    let rest = match rest.strip_prefix('{') {
        Some(labels) => after_labels(labels)?,
        None => rest,
    };
    let (rest, exemplar) = rest.split_once('#').map_or((rest, false), |(rest, _)| (rest, true));
    let mut words = rest.split_ascii_whitespace();
    let value = words.next()?.parse().ok()?;
    let timestamp_fine = words.next().is_none_or(|word| word.parse::<f64>().is_ok());
    let over = words.next().is_none() || exemplar;
    (timestamp_fine && over).then_some(value)
}

/// What follows `name="value",…}`; `None` when the labels are malformed.
fn after_labels(mut text: &str) -> Option<&str> {
    loop {
        text = text.trim_start();
        if let Some(rest) = text.strip_prefix('}') {
            return Some(rest);
        }
        let (name, rest) = text.split_once('=')?;
        let name = name.trim_end();
        if name.is_empty() || name.contains(['{', '}', '"', ',', ' ', '\t']) {
            return None;
        }
        text = after_quoted(rest.trim_start().strip_prefix('"')?)?.trim_start();
        if let Some(rest) = text.strip_prefix(',') {
            text = rest;
        } else if !text.starts_with('}') {
            return None;
        }
    }
}

/// What follows the closing quote; a backslash takes the next character with it.
fn after_quoted(text: &str) -> Option<&str> {
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return text.get(at + 1..),
            '\\' => {
                characters.next()?;
            }
            _ => {}
        }
    }
    None
}

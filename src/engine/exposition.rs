// SPDX-License-Identifier: Apache-2.0
//! Prometheus text (0.0.4, and `OpenMetrics` as far as the two agree): the wanted families, and nothing else.
//!
//! Tolerant on purpose: a malformed line of a family that nobody asked for is not looked at, a last
//! line without its line feed counts, types may be missing. DIFFERS: AIBrix loses the whole body to one
//! malformed line. Strict where a number would be wrong: a malformed line of a wanted family makes that
//! family unusable.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use crate::validation::target_metric::{CompiledMatchers, Matchers};

/// Longest line that is looked at, in bytes; real lines have a few hundred.
const LONGEST_LINE: usize = 64 << 10;
/// Most series of a query that say different things.
const MOST_SERIES: usize = 4096;

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
    /// More series than anybody looks at.
    #[error("more than {MOST_SERIES} series")]
    TooMany,
}

/// Which series of which family are wanted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Query {
    /// Name of the family.
    pub family: String,
    /// Which of its series count.
    pub matchers: Matchers,
}

/// How the series of a family become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Combine {
    /// They add up, whatever their labels: the rule for endpoints that report a whole service.
    Sum,
    /// Things that are counted: they add up, those that say the same thing once. The rule for pods.
    Count,
    /// Parts of one: their mean, of those that say the same thing once. The rule for pods.
    Ratio,
}

/// The series of one query in a body.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Series {
    /// By labels, without those that tell apart who says the same thing: the largest value.
    distinct: BTreeMap<Box<str>, f64>,
    /// Sum over all.
    sum: f64,
    /// They are totals over priorities, beside which each priority has a series, too, that does not count.
    totals: bool,
    /// Why there is no number.
    error: Option<NoValue>,
}

impl From<&str> for Query {
    /// All series of this family.
    fn from(family: &str) -> Self {
        Self { family: family.to_owned(), matchers: Matchers::default() }
    }
}

impl From<&Query> for Query {
    fn from(query: &Query) -> Self {
        query.clone()
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.family, self.matchers)
    }
}

impl Combine {
    /// The rule for the values that pods report under this name: what lies between 0 and 1 is averaged.
    pub(crate) fn of(name: &str) -> Self {
        let is_ratio =
            ["_perc", "_ratio", "_utilization", "hit_rate", "accept_rate", "_token_usage", ":token_usage"]
                .iter()
                .any(|end| name.ends_with(end));
        if is_ratio || name == "token_usage" { Self::Ratio } else { Self::Count }
    }
}

impl Series {
    const EMPTY: Self =
        Self { distinct: BTreeMap::new(), sum: 0.0, totals: false, error: Some(NoValue::Missing) };

    fn add(&mut self, labels: &[(&str, Cow<'_, str>)], value: f64) {
        let priority = labels.iter().find(|(label, _)| *label == "priority");
        match priority.map(|(_, priority)| priority.is_empty()) {
            Some(true) if !self.totals => *self = Self { totals: true, ..Self::EMPTY },
            Some(false) if self.totals => return,
            _ => {}
        }
        if self.error == Some(NoValue::Missing) {
            self.error = None;
        }
        self.sum += value;
        if !value.is_finite() {
            self.fail(NoValue::NotFinite);
        }
        let key = distinct_by(labels);
        if self.distinct.len() >= MOST_SERIES && !self.distinct.contains_key(&*key) {
            self.fail(NoValue::TooMany);
            return;
        }
        let known = self.distinct.entry(key.into()).or_insert(value);
        *known = known.max(value);
    }

    fn fail(&mut self, why: NoValue) {
        match self.error {
            None | Some(NoValue::Missing) => self.error = Some(why),
            Some(_) => {}
        }
    }

    /// One number.
    ///
    /// # Errors
    /// [`NoValue`]: unknown, not zero. One series without a number makes all unknown.
    fn number(&self, combine: Combine) -> Result<f64, NoValue> {
        if let Some(why) = self.error {
            return Err(why);
        }
        let sum = || self.distinct.values().sum::<f64>();
        let number = match combine {
            Combine::Sum => self.sum,
            Combine::Count => sum(),
            Combine::Ratio => sum() / f64::from(u32::try_from(self.distinct.len()).unwrap_or(u32::MAX)),
        };
        if number.is_finite() { Ok(number) } else { Err(NoValue::NotFinite) }
    }
}

/// What tells apart series that say different things. Ranks of replicated work say the same thing; a process belongs
/// to its rank, and is another worker where there are no ranks.
fn distinct_by(labels: &[(&str, Cow<'_, str>)]) -> String {
    const REPLICATED: [&str; 4] = ["tp_rank", "pp_rank", "cp_rank", "moe_ep_rank"];
    let has_ranks = labels.iter().any(|(label, _)| label.ends_with("_rank"));
    let repeats = |label: &str| REPLICATED.contains(&label) || (has_ranks && label == "pid");
    let mut labels: Vec<_> = labels.iter().filter(|(label, _)| !repeats(label)).collect();
    labels.sort_unstable();
    let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}={value:?}")).collect();
    labels.join(",")
}

/// The wanted series of one body.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Families(BTreeMap<Box<str>, Family>);

#[derive(Debug, Clone, PartialEq, Default)]
struct Family {
    kind: Option<Kind>,
    wanted: BTreeMap<Matchers, Series>,
}

impl Families {
    /// One number for a query.
    ///
    /// # Errors
    /// [`NoValue`]: unknown, not zero; `Missing` when the body has none of these series, or nobody wanted them.
    pub(crate) fn number(&self, query: &Query, combine: Combine) -> Result<f64, NoValue> {
        let family = self.0.get(&*query.family).ok_or(NoValue::Missing)?;
        if !family.kind.unwrap_or(Kind::Untyped).has_value() {
            return Err(NoValue::WrongKind);
        }
        family.wanted.get(&query.matchers).ok_or(NoValue::Missing)?.number(combine)
    }

    /// The sum over all series of a family.
    ///
    /// # Errors
    /// As [`Self::number`].
    pub(crate) fn sum(&self, family: &str) -> Result<f64, NoValue> {
        self.number(&family.into(), Combine::Sum)
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
    matchers: BTreeMap<Matchers, CompiledMatchers>,
    /// Start of a line whose end has not come yet.
    pending: Vec<u8>,
    /// The line under way is longer than [`LONGEST_LINE`]; its rest is thrown away.
    overlong: bool,
}

impl Scanner {
    /// A scanner that keeps the `wanted` series.
    pub(crate) fn new<Q: Into<Query>>(wanted: impl IntoIterator<Item = Q>) -> Self {
        let (mut families, mut matchers) = (Families::default(), BTreeMap::new());
        for query in wanted {
            let query: Query = query.into();
            if !query.matchers.is_empty() && !matchers.contains_key(&query.matchers) {
                matchers.insert(query.matchers.clone(), query.matchers.compile());
            }
            let family = families.0.entry(query.family.into()).or_default();
            family.wanted.insert(query.matchers, Series::EMPTY);
        }
        Self { families, matchers, pending: Vec::new(), overlong: false }
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
        let Some(name) = self.family_of_sample(name) else { return };
        let Some(family) = self.families.0.get_mut(&*name) else { return };
        // Bytes that are no UTF-8 can only be within label values, which matter to nobody then.
        let rest = String::from_utf8_lossy(rest);
        let sample = if complete { sample(&rest) } else { None };
        for (matchers, series) in &mut family.wanted {
            let Some((labels, value)) = &sample else {
                series.fail(NoValue::Malformed);
                continue;
            };
            let value_of =
                |label: &str| labels.iter().find(|(it, _)| *it == label).map_or("", |(_, value)| value);
            if self.matchers.get(matchers).is_none_or(|matchers| matchers.matches(value_of)) {
                series.add(labels, *value);
            }
        }
    }

    /// The wanted family that a sample called `name` belongs to.
    fn family_of_sample(&self, name: &str) -> Option<Box<str>> {
        // OpenMetrics calls the counter `x` and its sample `x_total`.
        let known = |name: &str| self.families.0.get_key_value(name);
        let short = name.strip_suffix("_total").and_then(known);
        let short = short.filter(|(_, family)| family.kind == Some(Kind::Counter));
        known(name).or(short).map(|(name, _)| name.clone())
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
        let is_wanted = |name: &str| self.families.0.contains_key(name);
        let counter = kind == "counter" && !is_wanted(name) && is_wanted(&long);
        let name = if counter { long.as_str() } else { name };
        if let Some(family) = self.families.0.get_mut(name) {
            family.kind.get_or_insert_with(|| Kind::parse(kind));
        }
    }
}

/// Labels in the order in which they are written.
type Labels<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// Labels and value of `[{labels}] value [timestamp] [# exemplar]`; `None` when malformed.
fn sample(rest: &str) -> Option<(Labels<'_>, f64)> {
    let rest = rest.trim_start();
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let (rest, exemplar) = rest.split_once('#').map_or((rest, false), |(rest, _)| (rest, true));
    let mut words = rest.split_ascii_whitespace();
    let value = words.next()?.parse().ok()?;
    let timestamp_fine = words.next().is_none_or(|word| word.parse::<f64>().is_ok());
    let over = words.next().is_none() || exemplar;
    (timestamp_fine && over).then_some((labels, value))
}

/// Reads `name="value",…}`, and returns what follows; `None` when malformed.
fn labels(mut text: &str) -> Option<(Labels<'_>, &str)> {
    let mut labels = Vec::new();
    loop {
        text = text.trim_start();
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once('=')?;
        let name = name.trim_end();
        if name.is_empty() || name.contains(['{', '}', '"', ',', ' ', '\t']) {
            return None;
        }
        let (value, rest) = quoted(rest.trim_start().strip_prefix('"')?)?;
        labels.push((name, value));
        text = rest.trim_start();
        if let Some(rest) = text.strip_prefix(',') {
            text = rest;
        } else if !text.starts_with('}') {
            return None;
        }
    }
}

/// What stands before the closing quote, and what follows it; a backslash takes the next character with it.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut value = Cow::Borrowed("");
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                let whole = if value.is_empty() { Cow::Borrowed(text.get(..at)?) } else { value };
                return Some((whole, text.get(at + 1..)?));
            }
            '\\' => {
                let (_, next) = characters.next()?;
                if value.is_empty() {
                    value = Cow::Owned(text.get(..at)?.to_owned());
                }
                value.to_mut().push(if next == 'n' { '\n' } else { next });
            }
            _ if !value.is_empty() => value.to_mut().push(character),
            _ => {}
        }
    }
    None
}

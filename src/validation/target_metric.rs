// SPDX-License-Identifier: Apache-2.0
//! `targetMetric` of a metric source: the name of a metric, or `name{label="value",…}` to choose among its series.
//!
//! The name is everything before `{`. Labels are compared with `=` and `!=`, on pages of pods and endpoints also with
//! `=~` and `!~`, which match the whole value; a series without the label has the empty value. Keys may be quoted.

use std::{fmt, iter::Peekable, str::CharIndices};

use kube_loops::k8s::names::{is_label_key, is_label_value};
use regex::Regex;

/// Largest compiled expression in bytes: it is made for each read.
const LARGEST_EXPRESSION: usize = 64 << 10;

/// A metric, and which of its series count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetMetric {
    /// Name.
    pub name: String,
    /// Those that all of these let through.
    pub matchers: Matchers,
}

/// Conditions on labels, all of which must hold. Printed as they are written.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Matchers(Vec<Matcher>);

/// A condition on one label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Matcher {
    /// Label.
    pub label: String,
    /// Comparison.
    pub operator: Operator,
    /// What it is compared with.
    pub value: String,
}

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Operator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Matches,
    /// `!~`
    MatchesNot,
}

/// What is wrong with a `targetMetric`, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at character {at}")]
pub(crate) struct SyntaxError {
    /// Number of the character, from 1.
    pub at: usize,
    /// In words.
    pub what: String,
}

/// Matchers ready for use.
#[derive(Debug)]
pub(crate) struct CompiledMatchers(Vec<(Matcher, Option<Regex>)>);

impl TargetMetric {
    /// Reads what a user wrote.
    ///
    /// # Errors
    /// [`SyntaxError`].
    pub(crate) fn parse(text: &str) -> Result<Self, SyntaxError> {
        let Some((name, _)) = text.split_once('{') else {
            return Ok(Self { name: text.to_owned(), matchers: Matchers::default() });
        };
        let mut parser = Parser { text, rest: text.char_indices().peekable() };
        if name.trim().is_empty() {
            return Err(parser.error("expected the name of a metric"));
        }
        while parser.rest.next_if(|(_, next)| *next != '{').is_some() {}
        parser.take('{');
        let mut matchers = parser.matchers()?;
        matchers.sort();
        matchers.dedup();
        Ok(Self { name: name.trim_end().to_owned(), matchers: Matchers(matchers) })
    }

    /// The label selector for a request to a metrics API; `None`: all series.
    ///
    /// # Errors
    /// [`SyntaxError`]: such an API knows `=` and `!=` only, with keys and values of labels.
    pub(crate) fn api_matchers(text: &str) -> Result<Matchers, SyntaxError> {
        let Self { name, matchers } = Self::parse(text)?;
        for Matcher { label, operator, value } in &matchers.0 {
            let what = match operator {
                Operator::Matches | Operator::MatchesNot => {
                    format!("{operator} is not possible for a metrics API, which knows = and !=")
                }
                _ if !is_label_key(label) => format!("{label:?} is not a valid label key"),
                _ if !is_label_value(value) => format!("{value:?} is not a valid label value"),
                Operator::Equal | Operator::NotEqual => continue,
            };
            // Labels are looked for behind the name; one that is found twice is wrong twice.
            let from = text.find('{').unwrap_or(name.len());
            let found = text.get(from..).and_then(|rest| rest.find(label.as_str())).unwrap_or(0);
            let before = text.get(..from + found).unwrap_or_default();
            return Err(SyntaxError { at: before.chars().count() + 1, what });
        }
        Ok(matchers)
    }
}

impl Matchers {
    /// Whether every series counts.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Matcher> {
        self.0.iter()
    }

    /// As Kubernetes writes label selectors. Only [`TargetMetric::api_matchers`] can be written so.
    pub(crate) fn label_selector(&self) -> String {
        let each = self.0.iter().map(|it| format!("{}{}{}", it.label, it.operator, it.value));
        each.collect::<Vec<_>>().join(",")
    }

    /// Ready for use. An expression that [`TargetMetric::parse`] has not seen and that is none matches nothing.
    pub(crate) fn compile(&self) -> CompiledMatchers {
        let each = self.0.iter().map(|matcher| (matcher.clone(), expression(&matcher.value).ok()));
        CompiledMatchers(each.collect())
    }
}

impl CompiledMatchers {
    /// Whether a series counts. `value_of`: the value of a label, empty if the series has none.
    pub(crate) fn matches<'a>(&self, value_of: impl Fn(&str) -> &'a str) -> bool {
        self.0.iter().all(|(matcher, expression)| {
            let value = value_of(&matcher.label);
            let is_match = || expression.as_ref().is_some_and(|expression| expression.is_match(value));
            match matcher.operator {
                Operator::Equal => value == matcher.value,
                Operator::NotEqual => value != matcher.value,
                Operator::Matches => is_match(),
                Operator::MatchesNot => !is_match(),
            }
        })
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Matches => "=~",
            Self::MatchesNot => "!~",
        })
    }
}

impl fmt::Display for Matchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, Matcher { label, operator, value }) in self.0.iter().enumerate() {
            f.write_str(if position == 0 { "{" } else { "," })?;
            write!(f, "{label}{operator}{value:?}")?;
        }
        f.write_str(if self.is_empty() { "" } else { "}" })
    }
}

fn expression(text: &str) -> Result<Regex, regex::Error> {
    regex::RegexBuilder::new(&format!("^(?:{text})$")).size_limit(LARGEST_EXPRESSION).build()
}

struct Parser<'a> {
    text: &'a str,
    rest: Peekable<CharIndices<'a>>,
}

impl Parser<'_> {
    /// Everything behind the brace.
    fn matchers(&mut self) -> Result<Vec<Matcher>, SyntaxError> {
        let mut matchers = Vec::new();
        loop {
            self.blanks();
            if self.take('}') {
                break;
            }
            matchers.push(self.matcher()?);
            self.blanks();
            if !self.take(',') && self.rest.peek().is_none_or(|(_, next)| *next != '}') {
                return Err(self.error("expected , or }"));
            }
        }
        self.blanks();
        match self.rest.peek() {
            None => Ok(matchers),
            Some(_) => Err(self.error("expected nothing more")),
        }
    }

    fn matcher(&mut self) -> Result<Matcher, SyntaxError> {
        let quoted = self.rest.peek().is_some_and(|(_, next)| *next == '"');
        let label = if quoted { self.quoted()? } else { self.word() };
        if label.is_empty() {
            return Err(self.error("expected a label"));
        }
        self.blanks();
        let operator = self.operator()?;
        self.blanks();
        let start = self.at();
        let value = self.quoted()?;
        if matches!(operator, Operator::Matches | Operator::MatchesNot) && expression(&value).is_err() {
            let what = format!("{value:?} is not a regular expression of at most 64 KiB");
            return Err(SyntaxError { at: start, what });
        }
        Ok(Matcher { label, operator, value })
    }

    fn operator(&mut self) -> Result<Operator, SyntaxError> {
        if self.take('=') {
            return Ok(if self.take('~') { Operator::Matches } else { Operator::Equal });
        }
        if self.take('!') {
            if self.take('=') {
                return Ok(Operator::NotEqual);
            }
            if self.take('~') {
                return Ok(Operator::MatchesNot);
            }
        }
        Err(self.error("expected =, !=, =~ or !~"))
    }

    /// A label without quotes.
    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some((_, next)) =
            self.rest.next_if(|(_, next)| next.is_ascii_alphanumeric() || *next == '_')
        {
            word.push(next);
        }
        word
    }

    fn quoted(&mut self) -> Result<String, SyntaxError> {
        if !self.take('"') {
            return Err(self.error("expected a quoted text"));
        }
        let mut text = String::new();
        loop {
            match self.rest.next() {
                None => return Err(self.error("expected a closing quote")),
                Some((_, '"')) => return Ok(text),
                // A backslash of an expression is written twice, as everywhere in Prometheus.
                Some((_, '\\')) => match self.rest.next_if(|(_, next)| matches!(next, '\\' | '"' | 'n')) {
                    None => return Err(self.error(r#"expected \\, \" or \n"#)),
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, next)) => text.push(next),
                },
                Some((_, next)) => text.push(next),
            }
        }
    }

    fn blanks(&mut self) {
        while self.rest.next_if(|(_, next)| next.is_whitespace()).is_some() {}
    }

    fn take(&mut self, wanted: char) -> bool {
        self.rest.next_if(|(_, next)| *next == wanted).is_some()
    }

    /// Number of the next character.
    fn at(&mut self) -> usize {
        let byte = self.rest.peek().map_or(self.text.len(), |(byte, _)| *byte);
        self.text.get(..byte).unwrap_or_default().chars().count() + 1
    }

    fn error(&mut self, what: &str) -> SyntaxError {
        SyntaxError { at: self.at(), what: what.to_owned() }
    }
}

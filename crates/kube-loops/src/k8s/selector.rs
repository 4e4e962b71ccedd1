// SPDX-License-Identifier: Apache-2.0
//! Label selectors: the text syntax, the structured form, and matching.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;

use super::names::{is_label_key, is_label_value};

/// Requirements that all have to hold. Without any it matches everything: callers refuse that with
/// [`Selector::is_empty`] where it would be dangerous.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

/// Why something is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// The text does not follow the syntax.
    #[error("unable to parse requirement: {0}")]
    Syntax(String),
    /// A key or value that no label can have.
    #[error("invalid label {part} {text:?}")]
    Label {
        /// `key` or `value`.
        part: &'static str,
        /// The text.
        text: String,
    },
    /// An operator of `matchExpressions` that does not exist, or has too many or too few values.
    #[error("{0:?} is not a valid label selector operator with these values")]
    Operator(String),
    /// Neither a label selector nor a map of labels.
    #[error("the selector is neither a label selector nor a map of labels")]
    Shape,
}

impl Selector {
    /// Parses the text syntax, set-based requirements included: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>3`.
    ///
    /// # Errors
    /// [`SelectorError::Syntax`] or [`SelectorError::Label`].
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut tokens = tokens(text).into_iter().peekable();
        let mut requirements = Vec::new();
        if tokens.peek().is_none() {
            return Ok(Self::default());
        }
        loop {
            requirements.push(parse_requirement(&mut tokens)?);
            match tokens.next() {
                None => return Ok(Self { requirements }),
                Some(Token::Mark(',')) => {}
                Some(other) => return Err(unexpected(Some(&other), "',' or the end")),
            }
        }
    }

    /// Equality with every label of the map.
    pub fn of_labels<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let equals = |(key, value): (&str, &str)| Requirement {
            key: key.to_owned(),
            operator: Operator::In,
            values: BTreeSet::from([value.to_owned()]),
        };
        Self { requirements: labels.into_iter().map(equals).collect() }
    }

    /// The structured form of the API.
    ///
    /// # Errors
    /// [`SelectorError::Operator`] or [`SelectorError::Label`].
    pub fn of_label_selector(selector: &LabelSelector) -> Result<Self, SelectorError> {
        let labels = selector.match_labels.iter().flatten();
        let mut built = Self::of_labels(labels.map(|(key, value)| (key.as_str(), value.as_str())));
        for expression in selector.match_expressions.iter().flatten() {
            let values: BTreeSet<String> = expression.values.iter().flatten().cloned().collect();
            let operator = match (expression.operator.as_str(), values.is_empty()) {
                ("In", false) => Operator::In,
                ("NotIn", false) => Operator::NotIn,
                ("Exists", true) => Operator::Exists,
                ("DoesNotExist", true) => Operator::DoesNotExist,
                _ => return Err(SelectorError::Operator(expression.operator.clone())),
            };
            built.requirements.push(Requirement { key: expression.key.clone(), operator, values });
        }
        built.requirements.iter().try_for_each(check)?;
        Ok(built)
    }

    /// What stands in `spec.selector` of an unknown kind: a label selector, or a plain map of labels as
    /// older kinds have it.
    ///
    /// # Errors
    /// [`SelectorError::Shape`], [`SelectorError::Operator`] or [`SelectorError::Label`].
    pub fn of_json(selector: &Value) -> Result<Self, SelectorError> {
        let object = selector.as_object().ok_or(SelectorError::Shape)?;
        let plain: Option<BTreeMap<&str, &str>> =
            object.iter().map(|(key, value)| value.as_str().map(|value| (key.as_str(), value))).collect();
        if let Some(labels) = plain {
            let built = Self::of_labels(labels);
            built.requirements.iter().try_for_each(check)?;
            return Ok(built);
        }
        if object.keys().any(|key| key != "matchLabels" && key != "matchExpressions") {
            return Err(SelectorError::Shape);
        }
        let selector: LabelSelector =
            serde_json::from_value(selector.clone()).map_err(|_| SelectorError::Shape)?;
        Self::of_label_selector(&selector)
    }

    /// This selector with one more label that has to be equal.
    #[must_use]
    pub fn and_label(mut self, key: &str, value: &str) -> Self {
        self.requirements.extend(Self::of_labels([(key, value)]).requirements);
        self
    }

    /// Whether it has no requirement and so matches everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Labels that must have one of these values, with the values.
    pub fn values(&self) -> impl Iterator<Item = (&str, &BTreeSet<String>)> {
        let wanted = self.requirements.iter().filter(|requirement| requirement.operator == Operator::In);
        wanted.map(|requirement| (requirement.key.as_str(), &requirement.values))
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|requirement| requirement.holds(labels))
    }
}

impl Requirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => self.compares(value, |have, bound| have > bound),
            Operator::LessThan => self.compares(value, |have, bound| have < bound),
        }
    }

    fn compares(&self, value: Option<&String>, compare: fn(i64, i64) -> bool) -> bool {
        let have = value.and_then(|value| value.parse::<i64>().ok());
        let bound = self.values.first().and_then(|value| value.parse::<i64>().ok());
        have.zip(bound).is_some_and(|(have, bound)| compare(have, bound))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Requirement { key, operator, values }) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            let list = values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
            match operator {
                Operator::In if values.len() == 1 => write!(f, "{key}={list}")?,
                Operator::In => write!(f, "{key} in ({list})")?,
                Operator::NotIn if values.len() == 1 => write!(f, "{key}!={list}")?,
                Operator::NotIn => write!(f, "{key} notin ({list})")?,
                Operator::Exists => f.write_str(key)?,
                Operator::DoesNotExist => write!(f, "!{key}")?,
                Operator::GreaterThan => write!(f, "{key}>{list}")?,
                Operator::LessThan => write!(f, "{key}<{list}")?,
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Mark(char),
    /// `==` and `!=`.
    DoubleMark(&'static str),
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => {}
            '=' | '!' if chars.peek() == Some(&'=') => {
                chars.next();
                tokens.push(Token::DoubleMark(if c == '=' { "==" } else { "!=" }));
            }
            '(' | ')' | ',' | '=' | '!' | '<' | '>' => tokens.push(Token::Mark(c)),
            _ => {
                let mut word = String::from(c);
                while let Some(c) = chars.next_if(|c| !" \t\r\n(),=!<>".contains(*c)) {
                    word.push(c);
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    tokens
}

type Tokens = std::iter::Peekable<std::vec::IntoIter<Token>>;

fn parse_requirement(tokens: &mut Tokens) -> Result<Requirement, SelectorError> {
    let absent = tokens.next_if_eq(&Token::Mark('!')).is_some();
    let key = match tokens.next() {
        Some(Token::Word(key)) => key,
        other => return Err(unexpected(other.as_ref(), "a label key")),
    };
    let requirement = |operator, values| Requirement { key: key.clone(), operator, values };
    let ends = matches!(tokens.peek(), None | Some(Token::Mark(',')));
    let parsed = if absent {
        requirement(Operator::DoesNotExist, BTreeSet::new())
    } else if ends {
        requirement(Operator::Exists, BTreeSet::new())
    } else {
        match tokens.next() {
            Some(Token::Mark('=') | Token::DoubleMark("==")) => requirement(Operator::In, one_value(tokens)),
            Some(Token::DoubleMark(_)) => requirement(Operator::NotIn, one_value(tokens)),
            Some(Token::Mark('>')) => requirement(Operator::GreaterThan, number(one_value(tokens))?),
            Some(Token::Mark('<')) => requirement(Operator::LessThan, number(one_value(tokens))?),
            Some(Token::Word(word)) if word == "in" => requirement(Operator::In, value_set(tokens)?),
            Some(Token::Word(word)) if word == "notin" => requirement(Operator::NotIn, value_set(tokens)?),
            other => return Err(unexpected(other.as_ref(), "an operator")),
        }
    };
    check(&parsed)?;
    Ok(parsed)
}

/// The value behind an equals sign; nothing there means the empty value.
fn one_value(tokens: &mut Tokens) -> BTreeSet<String> {
    let word = match tokens.next_if(|token| matches!(token, Token::Word(_))) {
        Some(Token::Word(word)) => word,
        _ => String::new(),
    };
    BTreeSet::from([word])
}

fn number(values: BTreeSet<String>) -> Result<BTreeSet<String>, SelectorError> {
    match values.iter().find(|value| value.parse::<i64>().is_err()) {
        Some(value) => Err(SelectorError::Syntax(format!("{value:?} is not an integer"))),
        None => Ok(values),
    }
}

fn value_set(tokens: &mut Tokens) -> Result<BTreeSet<String>, SelectorError> {
    match tokens.next() {
        Some(Token::Mark('(')) => {}
        other => return Err(unexpected(other.as_ref(), "'('")),
    }
    let mut values = BTreeSet::new();
    loop {
        values.extend(one_value(tokens));
        match tokens.next() {
            Some(Token::Mark(',')) => {}
            Some(Token::Mark(')')) => return Ok(values),
            other => return Err(unexpected(other.as_ref(), "',' or ')'")),
        }
    }
}

fn unexpected(found: Option<&Token>, wanted: &str) -> SelectorError {
    let found = match found {
        None => "the end".to_owned(),
        Some(Token::Word(word)) => format!("{word:?}"),
        Some(Token::Mark(mark)) => format!("{mark:?}"),
        Some(Token::DoubleMark(mark)) => format!("{mark:?}"),
    };
    SelectorError::Syntax(format!("found {found}, expected {wanted}"))
}

fn check(requirement: &Requirement) -> Result<(), SelectorError> {
    if !is_label_key(&requirement.key) {
        return Err(SelectorError::Label { part: "key", text: requirement.key.clone() });
    }
    match requirement.values.iter().find(|value| !is_label_value(value)) {
        Some(value) => Err(SelectorError::Label { part: "value", text: value.clone() }),
        None => Ok(()),
    }
}

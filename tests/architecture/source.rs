// SPDX-License-Identifier: Apache-2.0
//! A Rust source reduced to what the rules look at: identifiers and punctuation with their lines, string
//! literals apart, comments gone. Not a parser: enough to read paths reliably.

use std::fmt;

/// A rule that a line breaks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    pub(crate) path: String,
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) reason: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.reason)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// An identifier or keyword.
    Word(String),
    /// The content of a string literal.
    Text(String),
    /// `::`
    Path,
    /// Any other single character.
    Mark(char),
}

/// One file.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Relative to the package, such as `src/k8s/owner.rs`.
    pub(crate) path: String,
    pub(crate) lines: Vec<String>,
    /// With the line on which each starts.
    pub(crate) tokens: Vec<(usize, Token)>,
    /// Compiled for tests only, by its name or because its parent says so.
    pub(crate) is_test: bool,
}

/// A path such as `crate::k8s::owner`, absolute, with the line on which its last segment stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mention {
    pub(crate) line: usize,
    /// Without the leading `crate`; from the crate's name on in one of our libraries.
    pub(crate) segments: Vec<String>,
}

impl Source {
    pub(crate) fn new(path: impl Into<String>, text: &str) -> Self {
        let path = path.into();
        let is_test = path.ends_with("_tests.rs") || path.ends_with("/tests.rs");
        Self { path, lines: text.lines().map(Into::into).collect(), tokens: scan(text), is_test }
    }

    pub(crate) fn violation(&self, line: usize, reason: impl Into<String>) -> Violation {
        Violation { path: self.path.clone(), line, reason: reason.into() }
    }

    /// The path below `src/`, behind the crate's name in one of our libraries: `k8s/names.rs`,
    /// `kube_loops/k8s/owner.rs`; `None` for what stands in no `src/`.
    pub(crate) fn inner(&self) -> Option<String> {
        if let Some(inner) = self.path.strip_prefix("src/") {
            return Some(inner.to_owned());
        }
        let (library, inner) = self.path.strip_prefix("crates/")?.split_once("/src/")?;
        Some(format!("{}/{inner}", library.replace('-', "_")))
    }

    /// Below which module the file stands: `["k8s", "names"]` for `src/k8s/names.rs`, and
    /// `["kube_loops", "k8s", "owner"]` for `crates/kube-loops/src/k8s/owner.rs`.
    pub(crate) fn module(&self) -> Vec<String> {
        let inner = self.inner().unwrap_or_else(|| self.path.clone());
        let mut segments: Vec<String> = inner.trim_end_matches(".rs").split('/').map(Into::into).collect();
        if matches!(segments.last().map(String::as_str), Some("mod" | "lib" | "main"))
            && self.path != "src/main.rs"
        {
            segments.pop();
        }
        segments
    }

    /// What `crate` stands for: the name of one of our libraries, nothing for the package itself.
    fn root(&self) -> Vec<String> {
        let library = self.path.strip_prefix("crates/").and_then(|rest| rest.split('/').next());
        library.map(|name| name.replace('-', "_")).into_iter().collect()
    }

    /// Modules below this one that stand under `#[cfg(test)]`, by name.
    fn test_modules(&self) -> impl Iterator<Item = &str> {
        let is = |at: usize, want: &str| self.word(at) == Some(want);
        (0..self.tokens.len())
            .filter(move |at| is(*at, "cfg") && is(at + 2, "test") && is(at + 5, "mod"))
            .filter_map(|at| self.word(at + 6))
    }

    pub(crate) fn word(&self, at: usize) -> Option<&str> {
        match self.tokens.get(at) {
            Some((_, Token::Word(word))) => Some(word),
            _ => None,
        }
    }

    pub(crate) fn is_path(&self, at: usize) -> bool {
        matches!(self.tokens.get(at), Some((_, Token::Path)))
    }

    /// Whether the token before `at` makes it the continuation of a path or a field or method.
    pub(crate) fn is_continued(&self, at: usize) -> bool {
        at > 0 && matches!(self.tokens.get(at - 1), Some((_, Token::Path | Token::Mark('.'))))
    }

    /// Every path into our own crates, however it is spelt: from `crate`, `super`, `self`, or by a crate's name.
    pub(crate) fn mentions(&self) -> Vec<Mention> {
        let mut found = Vec::new();
        for at in 0..self.tokens.len() {
            let Some(word) = self.word(at) else { continue };
            if self.is_continued(at) || !self.is_path(at + 1) {
                continue;
            }
            let here = self.module();
            match word {
                "crate" => self.tree(at + 1, &self.root(), &mut found),
                "aibrix_controller_manager" => self.tree(at + 1, &[], &mut found),
                "kube_fenced_election" | "kube_loops" => self.tree(at + 1, &[word.to_owned()], &mut found),
                "self" => self.tree(at + 1, &here, &mut found),
                "super" => {
                    let (mut base, mut next) = (here, at);
                    while self.word(next) == Some("super") && self.is_path(next + 1) {
                        base.pop();
                        next += 2;
                    }
                    self.tree(next - 1, &base, &mut found);
                }
                _ => {}
            }
        }
        found
    }

    /// Reads a path or use-tree from the `::` at `at`.
    fn tree(&self, at: usize, base: &[String], found: &mut Vec<Mention>) {
        let mut segments = base.to_vec();
        let mut next = at;
        while self.is_path(next) {
            match self.tokens.get(next + 1) {
                Some((_, Token::Word(word))) => segments.push(word.clone()),
                Some((_, Token::Mark('{'))) => return self.group(next + 1, &segments, found),
                _ => break,
            }
            next += 2;
        }
        let line = self.tokens.get(next.saturating_sub(1)).map_or(0, |(line, _)| *line);
        found.push(Mention { line, segments });
    }

    /// Reads the members of a braced use-list whose `{` stands at `open`.
    fn group(&self, open: usize, base: &[String], found: &mut Vec<Mention>) {
        let (mut depth, mut next, mut starts) = (0_usize, open, false);
        while let Some((line, token)) = self.tokens.get(next) {
            match token {
                Token::Mark('{') => {
                    depth += 1;
                    starts = depth == 1;
                }
                Token::Mark('}') => {
                    depth -= 1;
                    if depth == 0 {
                        return;
                    }
                }
                Token::Mark(',') => starts = depth == 1,
                Token::Word(word) if starts => {
                    starts = false;
                    let mut member = base.to_vec();
                    if word != "self" {
                        member.push(word.clone());
                    }
                    if self.is_path(next + 1) {
                        self.tree(next + 1, &member, found);
                    } else {
                        found.push(Mention { line: *line, segments: member });
                    }
                }
                Token::Word(_) | Token::Text(_) | Token::Path | Token::Mark(_) => {}
            }
            next += 1;
        }
    }
}

/// Marks what `#[cfg(test)] mod name;` declares, with everything below: tests may name anything.
pub(crate) fn mark_tests(sources: &mut [Source]) {
    let declared: Vec<Vec<String>> = sources
        .iter()
        .flat_map(|source| {
            let parent = source.module();
            source.test_modules().map(move |name| [parent.clone(), vec![name.to_owned()]].concat())
        })
        .collect();
    for source in sources {
        let module = source.module();
        source.is_test |= declared.iter().any(|test| module.starts_with(test));
    }
}

/// Splits a source into tokens.
fn scan(text: &str) -> Vec<(usize, Token)> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    let get = |at: usize| chars.get(at).copied().unwrap_or('\0');
    while at < chars.len() {
        let start = at;
        match get(at) {
            '/' if get(at + 1) == '/' => {
                while at < chars.len() && get(at) != '\n' {
                    at += 1;
                }
            }
            '/' if get(at + 1) == '*' => at = end_of_comment(&chars, at),
            '"' => at = end_of_string(&chars, at + 1, None),
            'r' | 'b' | 'c' if let Some((open, hashes)) = string_prefix(&chars, at) => {
                at = end_of_string(&chars, open + 1, hashes);
            }
            '\'' => at = end_of_quote(&chars, at),
            ':' if get(at + 1) == ':' => {
                tokens.push((line, Token::Path));
                at += 2;
            }
            first if first.is_alphabetic() || first == '_' => {
                while get(at).is_alphanumeric() || get(at) == '_' {
                    at += 1;
                }
                tokens.push((line, Token::Word(chars[start..at].iter().collect())));
            }
            other => {
                if !other.is_whitespace() {
                    tokens.push((line, Token::Mark(other)));
                }
                at += 1;
            }
        }
        let slice = &chars[start..at.min(chars.len())];
        if let Some(open) = slice.iter().position(|c| *c == '"')
            && slice.len() > 1
            && !matches!(slice[0], '/' | '\'')
        {
            let inner: String = slice[open + 1..].iter().collect();
            tokens.push((line, Token::Text(inner.trim_end_matches(['"', '#']).into())));
        }
        line += slice.iter().filter(|c| **c == '\n').count();
    }
    tokens
}

/// For `r"`, `r#"`, `b"`, `br#"`, `c"` …: where the quote stands, and how many hashes close a raw string.
fn string_prefix(chars: &[char], at: usize) -> Option<(usize, Option<usize>)> {
    let mut next = at;
    if matches!(chars.get(next), Some('b' | 'c')) {
        next += 1;
    }
    let raw = chars.get(next) == Some(&'r');
    if raw {
        next += 1;
    }
    let first_hash = next;
    while raw && chars.get(next) == Some(&'#') {
        next += 1;
    }
    (chars.get(next) == Some(&'"')).then(|| (next, raw.then_some(next - first_hash)))
}

fn end_of_string(chars: &[char], mut at: usize, raw_hashes: Option<usize>) -> usize {
    while at < chars.len() {
        match (chars[at], raw_hashes) {
            ('\\', None) => at += 1,
            ('"', None) => return at + 1,
            ('"', Some(hashes)) if (1..=hashes).all(|step| chars.get(at + step) == Some(&'#')) => {
                return at + 1 + hashes;
            }
            _ => {}
        }
        at += 1;
    }
    at
}

fn end_of_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                at += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}

/// A character literal or a lifetime.
fn end_of_quote(chars: &[char], at: usize) -> usize {
    if chars.get(at + 1) == Some(&'\\') {
        let mut next = at + 3;
        while next < chars.len() && chars[next] != '\'' {
            next += 1;
        }
        return next + 1;
    }
    if chars.get(at + 2) == Some(&'\'') { at + 3 } else { at + 1 }
}

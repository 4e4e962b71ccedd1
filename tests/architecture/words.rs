// SPDX-License-Identifier: Apache-2.0
//! What may be named where, and what files look like.

use crate::{
    rules::{
        AMBIENT, AMBIENT_WORDS, CONTROLLERS, EMPTY_NAMES, FRAME, HOMES, IMPURE_CRATES,
        IMPURE_CRATES_IN_LAYERS, IMPURE_WORDS, IMPURE_WORDS_IN_LAYERS, KINDS, LICENCE_LINE, MAX_LINES,
        MAX_MAIN_LINES, PURE_FILES, PURE_MODULES, WAITING_FILES, WRITE_METHODS, WRITE_PARAMETERS, WRITERS,
    },
    source::{Source, Token, Violation},
};

/// The path below `src/`, for production code only.
fn production(source: &Source) -> Option<String> {
    source.inner().filter(|_| !source.is_test)
}

fn stands_in(inner: &str, places: &[&str]) -> bool {
    places.iter().any(|place| inner == *place || (place.ends_with('/') && inner.starts_with(place)))
}

/// Whether the word at `at` is the root of a path into that crate.
fn names_crate(source: &Source, at: usize, name: &str) -> bool {
    let imported = at > 0 && source.word(at - 1) == Some("use");
    source.word(at) == Some(name) && !source.is_continued(at) && (imported || source.is_path(at + 1))
}

/// Foreign crates outside their home.
pub(crate) fn check_homes(sources: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for source in sources {
        let Some(inner) = &production(source) else { continue };
        for (name, places, why) in HOMES {
            if stands_in(inner, places) {
                continue;
            }
            for (at, (line, _)) in source.tokens.iter().enumerate() {
                if names_crate(source, at, name) {
                    let reason = format!("`{name}` belongs to {}: {why}", places.join(", "));
                    found.push(source.violation(*line, reason));
                }
            }
        }
    }
    found
}

/// Waiting, logging, clients, locks and randomness in code that only computes.
pub(crate) fn check_purity(sources: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for source in sources {
        let Some(inner) = &production(source) else { continue };
        let layer = PURE_MODULES.iter().any(|module| inner.starts_with(module));
        let in_loop = inner.starts_with("controllers/");
        let file = in_loop && is_one_of(inner, PURE_FILES);
        let waits = !in_loop || inner == "controllers/mod.rs" || is_one_of(inner, WAITING_FILES);
        for (at, (line, token)) in source.tokens.iter().enumerate() {
            let Token::Word(word) = token else { continue };
            let mut ban = |why: &str| found.push(source.violation(*line, format!("`{word}`: {why}")));
            let banned_word = |list: &[(&str, &'static str)]| {
                list.iter().find(|(banned, _)| word == banned).map(|(_, why)| *why)
            };
            let banned_crate = |list: &[(&str, &'static str)]| {
                list.iter().find(|(banned, _)| names_crate(source, at, banned)).map(|(_, why)| *why)
            };
            if layer || file {
                banned_word(IMPURE_WORDS)
                    .or_else(|| banned_crate(IMPURE_CRATES))
                    .into_iter()
                    .for_each(&mut ban);
                if word == "kube" && source.is_path(at + 1) && names_client(source, at + 2) {
                    ban("pure code has no client");
                }
            } else if !waits && banned_word(IMPURE_WORDS).is_some() {
                ban("only mod.rs, fetch, apply and reconcile of a loop may wait");
            }
            if layer {
                let banned =
                    banned_word(IMPURE_WORDS_IN_LAYERS).or_else(|| banned_crate(IMPURE_CRATES_IN_LAYERS));
                banned.into_iter().for_each(&mut ban);
            }
        }
    }
    found
}

fn names_client(source: &Source, at: usize) -> bool {
    matches!(source.word(at), Some("Client" | "Api" | "client" | "runtime"))
}

/// Whether a path below `controllers/` is one of the named files, or stands in one of the named folders.
fn is_one_of(inner: &str, names: &[&str]) -> bool {
    let file = inner.rsplit('/').next().unwrap_or(inner);
    names.iter().any(
        |name| {
            if name.ends_with('/') { inner.contains(&format!("/{name}")) } else { file == *name }
        },
    )
}

/// Time, tasks, environment and the right to write, taken from the air.
pub(crate) fn check_ambient(sources: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for source in sources {
        let Some(inner) = &production(source) else { continue };
        for (at, (line, token)) in source.tokens.iter().enumerate() {
            let Token::Word(word) = token else { continue };
            for (path, places, why) in AMBIENT {
                let (owner, function) = path.split_once("::").unwrap_or((path, ""));
                let matches =
                    word == owner && source.is_path(at + 1) && source.word(at + 2) == Some(function);
                if matches && !stands_in(inner, places) {
                    found.push(source.violation(*line, format!("`{path}`: {why}")));
                }
            }
            for (name, places, why) in AMBIENT_WORDS {
                if word == name && !stands_in(inner, places) {
                    found.push(source.violation(*line, format!("`{name}`: {why}")));
                }
            }
        }
    }
    found
}

/// Kinds and controllers of ours, as types or in strings, in what must work for any.
pub(crate) fn check_frame(sources: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for source in sources {
        let Some(inner) = &production(source) else { continue };
        if !FRAME.iter().any(|module| inner.starts_with(&format!("{module}/"))) {
            continue;
        }
        for (line, token) in &source.tokens {
            let named = match token {
                Token::Word(word) => KINDS.iter().find(|kind| word.starts_with(**kind)),
                Token::Text(text) => KINDS.iter().chain(CONTROLLERS).find(|name| text.contains(**name)),
                Token::Path | Token::Mark(_) => None,
            };
            if let Some(name) = named {
                let reason = format!("`{name}`: this module works for any kind and any controller");
                found.push(source.violation(*line, reason));
            }
        }
    }
    found
}

/// Calls of `kube::Api` that change something.
pub(crate) fn check_writes(sources: &[Source]) -> Vec<Violation> {
    const WHY: &str = "changes go through `cluster::Writer`, which carries the term's fence";
    let mut found = Vec::new();
    for source in sources {
        let Some(inner) = &production(source) else { continue };
        if stands_in(inner, WRITERS) {
            continue;
        }
        let holds_api = (0..source.tokens.len()).any(|at| {
            source.word(at) == Some("Api")
                && matches!(source.tokens.get(at + 1), Some((_, Token::Path | Token::Mark('<'))))
        });
        for (at, (line, token)) in source.tokens.iter().enumerate() {
            let Token::Word(word) = token else { continue };
            let called = at > 0
                && matches!(source.tokens.get(at - 1), Some((_, Token::Mark('.'))))
                && matches!(source.tokens.get(at + 1), Some((_, Token::Mark('('))));
            if WRITE_PARAMETERS.contains(&word.as_str()) {
                found.push(source.violation(*line, format!("`{word}`: {WHY}")));
            } else if holds_api && called && WRITE_METHODS.contains(&word.as_str()) {
                found.push(source.violation(*line, format!("`.{word}(` beside a `kube::Api`: {WHY}")));
            }
        }
    }
    found
}

/// Licence line, size, name, and a page on every folder.
pub(crate) fn check_files(sources: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for source in sources {
        if source.lines.first().map(String::as_str) != Some(LICENCE_LINE) {
            found.push(source.violation(1, format!("the first line must be `{LICENCE_LINE}`")));
        }
        let limit = if source.path == "src/main.rs" { MAX_MAIN_LINES } else { MAX_LINES };
        if source.lines.len() > limit {
            let reason =
                format!("{} lines: at most {limit}; split it by what it decides", source.lines.len());
            found.push(source.violation(limit + 1, reason));
        }
        let empty = source.path.trim_end_matches(".rs").split('/').find(|part| EMPTY_NAMES.contains(part));
        if let Some(name) = empty {
            let reason = format!("`{name}` does not say what belongs inside: name it after what it holds");
            found.push(source.violation(1, reason));
        }
        let folder = source.path.ends_with("/mod.rs");
        if folder && !source.lines.iter().take(2).any(|line| line.starts_with("//! ")) {
            found.push(source.violation(2, "a folder's mod.rs opens with its page (`//!`)"));
        }
    }
    found
}

/// Planners are what most tests test.
pub(crate) fn check_plans(sources: &[Source]) -> Vec<Violation> {
    sources
        .iter()
        .filter(|source| source.path.ends_with("/plan.rs"))
        .filter(|source| {
            let tests = source.path.replace("/plan.rs", "/plan_tests.rs");
            !sources.iter().any(|other| other.path == tests)
        })
        .map(|source| source.violation(1, "a plan.rs has a plan_tests.rs beside it"))
        .collect()
}

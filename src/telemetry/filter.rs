// SPDX-License-Identifier: Apache-2.0
//! Which events are printed: klog's `-v` and `-vmodule` over tracing's levels. Pure.
//!
//! | Event | Shown |
//! |---|---|
//! | error, warn, info of ours | always |
//! | debug of ours | from `-v=4` |
//! | trace of ours | from `-v=6` |
//! | warn, error of a library | always |
//! | info, debug of a library | from `-v=8` |
//! | trace of a library | from `-v=10` |
//! | watcher of `kube_runtime` | from `-v=4`: the runtime reports the same failures itself |
//! | `kube_client::client` | never: it prints whole answers, which may hold Secrets |
//!
//! `-vmodule=pattern=N,…` sets the verbosity of the files whose name matches, first match wins. A
//! pattern is matched against the file name without `.rs` and against the last part of the module
//! path (so that a `mod.rs` can be named); one with `::` against the whole module path, one with `/`
//! against the whole file path without `.rs`. `*` stands for any text, `?` for one character.

use tracing::{Level, level_filters::LevelFilter};

use super::klog::LogError;

/// The crates of this product.
const OURS: [&str; 3] = ["aibrix_controller_manager", "kube_fenced_election", "kube_loops"];

/// The settings of `-v` and `-vmodule`, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter {
    verbosity: i32,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    pattern: String,
    verbosity: i32,
}

/// Where an event comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) level: Level,
    pub(super) target: &'a str,
    pub(super) module: &'a str,
    pub(super) file: &'a str,
}

impl Filter {
    /// Reads `vmodule` as klog does: comma-separated `pattern=N`, empty items ignored.
    pub(super) fn parse(verbosity: i32, vmodule: &str) -> Result<Self, LogError> {
        let item = |text: &str| {
            let bad = || LogError::VModule { item: text.to_owned() };
            let (pattern, number) = text.split_once('=').ok_or_else(bad)?;
            let verbosity = number.parse::<i32>().ok().filter(|n| *n >= 0).ok_or_else(bad)?;
            if pattern.is_empty() {
                return Err(bad());
            }
            Ok(Rule { pattern: pattern.strip_suffix(".rs").unwrap_or(pattern).to_owned(), verbosity })
        };
        let items = vmodule.split(',').map(str::trim).filter(|text| !text.is_empty());
        Ok(Self { verbosity, rules: items.map(item).collect::<Result<_, _>>()? })
    }

    /// Whether an event of this origin is printed.
    pub(super) fn shows(&self, origin: Origin<'_>) -> bool {
        let needed = if is_within(origin.target, "kube_client::client") {
            return false;
        } else if OURS.iter().any(|ours| is_within(origin.target, ours)) {
            match origin.level {
                Level::TRACE => 6,
                Level::DEBUG => 4,
                _ => return true,
            }
        } else if is_within(origin.target, "kube_runtime") && origin.level <= Level::WARN {
            4
        } else {
            match origin.level {
                Level::TRACE => 10,
                Level::DEBUG | Level::INFO => 8,
                _ => return true,
            }
        };
        self.verbosity_for(origin) >= needed
    }

    /// The most detailed level that can be shown at all.
    pub(super) fn max_level(&self) -> LevelFilter {
        let most = self.rules.iter().map(|rule| rule.verbosity).fold(self.verbosity, i32::max);
        match most {
            ..4 => LevelFilter::INFO,
            4..6 => LevelFilter::DEBUG,
            6.. => LevelFilter::TRACE,
        }
    }

    fn verbosity_for(&self, origin: Origin<'_>) -> i32 {
        let path = origin.file.strip_suffix(".rs").unwrap_or(origin.file);
        let stem = path.rsplit('/').next().unwrap_or(path);
        let module = origin.module.rsplit("::").next().unwrap_or(origin.module);
        let matches = |pattern: &str| {
            if pattern.contains("::") {
                glob(pattern, origin.module)
            } else if pattern.contains('/') {
                glob(pattern, path)
            } else {
                glob(pattern, stem) || glob(pattern, module)
            }
        };
        let rule = self.rules.iter().find(|rule| matches(&rule.pattern));
        rule.map_or(self.verbosity, |rule| rule.verbosity)
    }
}

fn is_within(target: &str, module: &str) -> bool {
    target.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// `*` and `?` only. Linear in practice: on a mismatch it returns to the last star.
fn glob(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let (before, rest) = (pattern.clone(), text.clone());
        match (pattern.next(), text.next()) {
            (Some('*'), _) => {
                text = rest;
                retry = Some((pattern.clone(), text.clone()));
            }
            (None, None) => return true,
            (Some(want), Some(have)) if want == '?' || want == have => {}
            _ => {
                // One more character for the last star.
                let Some((after_star, mut skipped)) = retry else { return false };
                if skipped.next().is_none() {
                    return before.as_str().chars().all(|c| c == '*') && rest.as_str().is_empty();
                }
                (pattern, text) = (after_star.clone(), skipped.clone());
                retry = Some((after_star, skipped));
            }
        }
    }
}

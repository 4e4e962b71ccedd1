// SPDX-License-Identifier: Apache-2.0
//! Makes the answers of engines fit for messages: without the secrets of the request, in bounds, as text.
//!
//! Engines and sidecars repeat in their errors what they were sent. Hidden is what the caller knows to be
//! secret, plain or as JSON would escape it, whole or line by line.

use crate::validation::artifact_url::redacted;
use kube_loops::k8s::text;

const HIDDEN: &str = "xxxxx";
/// Shorter values are hardly secret, and hiding each of their occurrences would make texts unreadable.
const SHORTEST_SECRET: usize = 4;
/// Longest secret that is waited for, in bytes.
const LONGEST_SECRET: usize = 64 << 10;

/// What is to be hidden.
#[derive(Default)]
pub(super) struct Redactor {
    /// What to look for, and what to show.
    replaced: Vec<(String, String)>,
}

impl Redactor {
    /// Hides a secret.
    pub(super) fn secret(&mut self, value: &str) {
        let lines = value.lines().map(str::trim).filter(|line| line.len() < value.len());
        for part in std::iter::once(value).chain(lines) {
            if part.len() >= SHORTEST_SECRET {
                self.replace(part, HIDDEN);
            }
        }
    }

    /// Hides what an artifact URL holds besides the place.
    pub(super) fn url(&mut self, url: &str) {
        let shown = redacted(url);
        if shown == url {
            return;
        }
        self.replace(url, &shown);
        if let (Some((_, url)), Some((_, shown))) = (url.split_once("://"), shown.split_once("://")) {
            self.replace(url, shown);
        }
    }

    /// The longest text to look for, in bytes.
    pub(super) fn longest(&self) -> usize {
        let longest = self.replaced.iter().map(|(text, _)| text.len()).max();
        longest.unwrap_or(0).min(LONGEST_SECRET)
    }

    /// The text without secrets and control characters, at most `bytes` long.
    pub(super) fn apply(&self, body: &[u8], bytes: usize) -> String {
        let mut said = String::from_utf8_lossy(body).into_owned();
        let mut replaced: Vec<_> = self.replaced.iter().collect();
        // The longest first: one secret may hold another.
        replaced.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        for (text, shown) in replaced {
            if said.contains(text) {
                said = said.replace(text, shown);
            }
        }
        let plain =
            |c: char| if c.is_control() && c != '\n' && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
        text::cut(&said.chars().map(plain).collect::<String>(), bytes)
    }

    fn replace(&mut self, text: &str, shown: &str) {
        self.replaced.push((text.to_owned(), shown.to_owned()));
        let quoted = serde_json::Value::from(text).to_string();
        let escaped = quoted.trim_matches('"');
        if escaped != text && !escaped.is_empty() {
            self.replaced.push((escaped.to_owned(), shown.to_owned()));
        }
    }
}

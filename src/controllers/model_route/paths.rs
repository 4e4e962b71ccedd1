// SPDX-License-Identifier: Apache-2.0
//! The paths that a route matches: those of every engine, and what the workload's annotation adds. One bad path
//! would make the API server refuse the whole route, so it is left out.

use std::collections::BTreeSet;

/// Paths of every route, in their order.
pub(crate) const DEFAULT_PATHS: [&str; 11] = [
    "/v1/completions",
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/embeddings",
    "/v1/rerank",
    "/v1/classify",
    "/generate",
    "/generatevideo",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
];

/// Matches that one rule of a route may have.
pub(crate) const MAX_PATHS: usize = 64;
/// Longest path, in bytes.
pub(crate) const MAX_PATH_BYTES: usize = 1024;

/// Paths of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paths {
    /// What the route matches: the default paths, then the others in the order of the annotation.
    pub matched: Vec<String>,
    /// What the annotation asks for and no route can match, as far as it is not a repetition.
    pub refused: Vec<String>,
}

/// The paths for the annotation of a workload, a comma-separated list; empty: the default ones. Spaces are
/// dropped everywhere, as are empty entries and repetitions.
pub(crate) fn paths_for(annotation: &str) -> Paths {
    let mut matched: Vec<String> = DEFAULT_PATHS.map(str::to_owned).into();
    let mut refused: Vec<String> = Vec::new();
    // An annotation has room for a hundred thousand entries.
    let mut seen: BTreeSet<String> = matched.iter().cloned().collect();
    for entry in annotation.split(',') {
        let path = entry.replace(' ', "");
        if path.is_empty() || !seen.insert(path.clone()) {
            continue;
        }
        let fits = matched.len() < MAX_PATHS && is_prefix(&path);
        if fits { matched.push(path) } else { refused.push(path) }
    }
    Paths { matched, refused }
}

/// Whether the API server takes the path as one that requests begin with.
fn is_prefix(path: &str) -> bool {
    let contains_none = ["//", "/./", "/../", "%2f", "%2F", "#"].iter().all(|part| !path.contains(part));
    path.len() <= MAX_PATH_BYTES
        && path.starts_with('/')
        && contains_none
        && !path.ends_with("/..")
        && !path.ends_with("/.")
        && is_uri_path(path.as_bytes())
}

/// Characters of a path as of RFC 3986, and whole percent-escapes.
fn is_uri_path(mut path: &[u8]) -> bool {
    while let Some((first, rest)) = path.split_first() {
        path = match first {
            b'%' if rest.len() >= 2 && rest.iter().take(2).all(u8::is_ascii_hexdigit) => {
                rest.get(2..).unwrap_or_default()
            }
            byte if byte.is_ascii_alphanumeric() || b"-/._~!$&'()*+,;=:@".contains(byte) => rest,
            _ => return false,
        };
    }
    true
}

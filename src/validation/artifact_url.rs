// SPDX-License-Identifier: Apache-2.0
//! Where the weights of a LoRA are: which URLs admission takes, what engines and the runtime sidecar are told,
//! and what people may see of one.

use std::borrow::Cow;

/// How an artifact URL has to begin, in this case.
pub(crate) const SUPPORTED: [&str; 6] = ["s3://", "gcs://", "tos://", "huggingface://", "hf://", "/"];

const HUB: &str = "huggingface://";
const HUB_SHORT: &str = "hf://";
const HIDDEN: &str = "xxxxx";

/// Why an artifact URL cannot be handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ArtifactUrlError {
    /// Nothing follows the scheme.
    #[error("the artifact URL names no repository")]
    NoRepository,
    /// What follows the scheme of the hub would be a path of the engine's file system.
    #[error("the artifact URL names a path where a repository is expected")]
    Path,
}

/// The source as the runtime sidecar takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SidecarSource<'a> {
    /// To be downloaded.
    Url(Cow<'a, str>),
    /// There already, in the file system of the engine; the sidecar hands the path on.
    Path(&'a str),
}

/// Whether admission takes the scheme.
pub(crate) fn is_supported(url: &str) -> bool {
    SUPPORTED.iter().any(|start| url.starts_with(start))
}

/// What an engine is told without a sidecar: the repository for a URL of the hub, without anything from the
/// first `?` or `#`; every other URL or path unchanged.
///
/// # Errors
/// [`ArtifactUrlError`] for a URL of the hub without a repository.
pub(crate) fn engine_path(url: &str) -> Result<&str, ArtifactUrlError> {
    // Literally, not through a URL parser: repositories are case-sensitive, hosts are not.
    let Some(repository) = url.strip_prefix(HUB).or_else(|| url.strip_prefix(HUB_SHORT)) else {
        return Ok(url);
    };
    let repository = repository.split(['?', '#']).next().unwrap_or(repository);
    if repository.is_empty() {
        return Err(ArtifactUrlError::NoRepository);
    }
    if repository.starts_with('/') || repository.split('/').any(|part| part == "." || part == "..") {
        return Err(ArtifactUrlError::Path);
    }
    Ok(repository)
}

/// The source as the sidecar takes it: it knows the hub under its long scheme only, and no paths.
pub(crate) fn sidecar_source(url: &str) -> SidecarSource<'_> {
    if url.starts_with('/') {
        return SidecarSource::Path(url);
    }
    match url.strip_prefix(HUB_SHORT) {
        Some(repository) => SidecarSource::Url(Cow::Owned(format!("{HUB}{repository}"))),
        None => SidecarSource::Url(Cow::Borrowed(url)),
    }
}

/// The URL for messages: what may be a user name, a password or a signature is replaced. Everything before
/// an `@` in the authority is hidden; with a colon before it also behind the authority, because passwords
/// hold slashes; and so is the query.
pub(crate) fn redacted(url: &str) -> Cow<'_, str> {
    let (place, query) = match url.split_once('?') {
        Some((place, query)) if !query.is_empty() => (place, true),
        Some(_) | None => (url, false),
    };
    let start = place.find("://").map_or(0, |at| at + "://".len());
    let (scheme, rest) = place.split_at(start);
    let authority = rest.split('/').next().unwrap_or(rest);
    let secret = authority.rfind('@').or_else(|| {
        let at = rest.rfind('@')?;
        rest.get(..at).is_some_and(|before| before.contains(':')).then_some(at)
    });
    // A password may hold a question mark, too.
    let secret_in_query = query
        && secret.is_none()
        && rest.contains(':')
        && url.get(place.len()..).is_some_and(|q| q.contains('@'));
    match (secret, query) {
        (None, false) => Cow::Borrowed(url),
        _ if secret_in_query => Cow::Owned(format!("{scheme}{HIDDEN}")),
        (secret, query) => {
            let shown = secret.and_then(|at| rest.get(at..)).unwrap_or(rest);
            let hidden = if secret.is_some() { HIDDEN } else { "" };
            let query = if query { format!("?{HIDDEN}") } else { String::new() };
            Cow::Owned(format!("{scheme}{hidden}{shown}{query}"))
        }
    }
}

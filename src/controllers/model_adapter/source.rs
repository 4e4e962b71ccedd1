// SPDX-License-Identifier: Apache-2.0
//! What is loaded from where: the parts of a spec that an engine gets to know, and their hash. Pure.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde_json::json;

use crate::{
    api::{keys::model_adapter::API_KEY, model::ModelAdapter},
    engine::endpoint::{Token, TokenError},
};
use kube_loops::rollout::template::hashes::sha256_prefix;

/// Hexadecimal digits of the hash that are kept: enough to tell any two versions of a spec apart.
const HASH_DIGITS: usize = 24;

/// What an engine is asked to load. Printed without URL and settings.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// Name of the adapter.
    pub(super) name: String,
    /// Namespace of the Secret.
    pub(super) namespace: String,
    /// `spec.artifactURL`.
    pub(super) url: String,
    /// Secret with credentials; `None`: the spec names none.
    pub(super) secret: Option<String>,
    /// `spec.additionalConfig`.
    pub(super) additional: Option<BTreeMap<String, String>>,
    /// Hash of all this.
    pub(super) hash: Arc<str>,
}

impl Source {
    /// What the spec asks for.
    pub(super) fn of(adapter: &ModelAdapter) -> Self {
        let spec = &adapter.spec;
        let secret = spec.credentials_secret_ref.as_ref().map(|secret| secret.name.clone());
        Self {
            name: adapter.metadata.name.clone().unwrap_or_default(),
            namespace: adapter.metadata.namespace.clone().unwrap_or_default(),
            url: spec.artifact_url.clone(),
            secret: secret.filter(|name| !name.is_empty()),
            additional: spec.additional_config.clone(),
            hash: hash_of(adapter),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).field("hash", &self.hash).finish_non_exhaustive()
    }
}

/// The bearer token of every call; `None`: the spec has none.
///
/// # Errors
/// [`TokenError`]: no header can hold it.
pub(super) fn token_of(adapter: &ModelAdapter) -> Result<Option<Token>, TokenError> {
    let key = adapter.spec.additional_config.as_ref().and_then(|config| config.get(API_KEY));
    key.map(|key| Token::new(key)).transpose()
}

/// Hash of (artifact URL, Secret, settings), as hexadecimal digits.
fn hash_of(adapter: &ModelAdapter) -> Arc<str> {
    let spec = &adapter.spec;
    let secret = spec.credentials_secret_ref.as_ref().map(|secret| &secret.name);
    let text = json!([spec.artifact_url, secret, spec.additional_config]).to_string();
    sha256_prefix(&text, HASH_DIGITS).into()
}

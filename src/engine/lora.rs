// SPDX-License-Identifier: Apache-2.0
//! Loading and unloading adapters: the APIs of vLLM and `SGLang`, which differ in their paths only.
//!
//! | | load | unload |
//! |---|---|---|
//! | vLLM | `POST /v1/load_lora_adapter` | `POST /v1/unload_lora_adapter` |
//! | SGLang | `POST /load_lora_adapter` | `POST /unload_lora_adapter` |
//!
//! The runtime sidecar has a file of its own.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;

use crate::validation::artifact_url::engine_path;
use kube_fenced_election::fence::Fence;

use super::{
    call::{Call, CallError, EngineRequest},
    endpoint::{Dialect, Endpoint},
    http::EngineClient,
    runtime_sidecar,
};

/// Longest time for unloading.
pub(crate) const UNLOAD_TIME: Duration = Duration::from_secs(10);

/// What to load under which name. Credentials and settings are printed nowhere.
///
/// A sidecar downloads the artifact; an engine gets [`engine_path`] of its URL, and neither credentials nor settings.
#[derive(Clone, Copy)]
pub(crate) struct Load<'a> {
    /// Name of the adapter.
    pub name: &'a str,
    /// `spec.artifactURL`.
    pub url: &'a str,
    /// What the Secret holds; `None`: no Secret is named.
    pub credentials: Option<&'a BTreeMap<String, String>>,
    /// `spec.additionalConfig`; `None`: absent.
    pub additional: Option<&'a BTreeMap<String, String>>,
}

impl fmt::Debug for Load<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Load").field("name", &self.name).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
pub(super) struct PathBody<'a> {
    pub(super) lora_name: &'a str,
    pub(super) lora_path: &'a str,
}

#[derive(Serialize)]
struct NameBody<'a> {
    lora_name: &'a str,
}

impl EngineClient {
    /// Loads an adapter, which may take as long as `timeout`. Returns when the engine says that it serves it.
    ///
    /// # Errors
    /// [`CallError`]. After `Timeout`, `Transport` and `Fenced` the engine may still be loading: only its
    /// list of models tells.
    pub(crate) async fn load_lora(
        &self,
        fence: &Fence,
        endpoint: &Endpoint,
        load: &Load<'_>,
        timeout: Duration,
    ) -> Result<(), CallError> {
        let body = match endpoint.dialect {
            Dialect::Vllm | Dialect::Sglang => direct_body(load)?,
            Dialect::Sidecar | Dialect::SglangSidecar => runtime_sidecar::load_body(load),
        };
        let path = endpoint.dialect.load_path();
        let exchange = EngineRequest::new(Call::Load, endpoint, path, timeout)?.redacting(|redactor| {
            redactor.url(load.url);
            let secrets = load.credentials.iter().chain(&load.additional).flat_map(|map| map.values());
            secrets.for_each(|value| redactor.secret(value));
        });
        exchange.change(self, fence, body).await
    }

    /// Unloads an adapter.
    ///
    /// # Errors
    /// [`CallError`]. `Status` is also what engines answer for an adapter that is not loaded.
    pub(crate) async fn unload_lora(
        &self,
        fence: &Fence,
        endpoint: &Endpoint,
        name: &str,
    ) -> Result<(), CallError> {
        let body = match endpoint.dialect {
            Dialect::Vllm | Dialect::Sglang => json(&NameBody { lora_name: name }),
            Dialect::Sidecar | Dialect::SglangSidecar => runtime_sidecar::unload_body(name),
        };
        let path = endpoint.dialect.unload_path();
        EngineRequest::new(Call::Unload, endpoint, path, UNLOAD_TIME)?.change(self, fence, body).await
    }
}

fn direct_body(load: &Load<'_>) -> Result<Vec<u8>, CallError> {
    Ok(json(&PathBody { lora_name: load.name, lora_path: engine_path(load.url)? }))
}

/// Texts and maps of texts always have a JSON form.
pub(super) fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}

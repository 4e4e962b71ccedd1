// SPDX-License-Identifier: Apache-2.0
//! The API of AIBrix's runtime sidecar, which forbids fields that it does not know.
//!
//! `POST /v1/lora_adapter/load` takes an artifact to download, or a path that it hands on to the engine;
//! `POST /v1/lora_adapter/unload` also removes what was downloaded. Nulls are never sent.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::validation::artifact_url::{SidecarSource, sidecar_source};

use super::lora::{Load, PathBody, json};

#[derive(Serialize)]
struct ArtifactBody<'a> {
    lora_name: &'a str,
    artifact_url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_config: Option<&'a BTreeMap<String, String>>,
}

#[derive(Serialize)]
struct UnloadBody<'a> {
    lora_name: &'a str,
    cleanup_local: bool,
}

/// Paths go straight on: the sidecar would not download them.
pub(super) fn load_body(load: &Load<'_>) -> Vec<u8> {
    let Load { name: lora_name, url, credentials, additional: additional_config } = *load;
    match sidecar_source(url) {
        SidecarSource::Path(lora_path) => json(&PathBody { lora_name, lora_path }),
        SidecarSource::Url(artifact_url) => {
            json(&ArtifactBody { lora_name, artifact_url: &artifact_url, credentials, additional_config })
        }
    }
}

pub(super) fn unload_body(lora_name: &str) -> Vec<u8> {
    json(&UnloadBody { lora_name, cleanup_local: true })
}

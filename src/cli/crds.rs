// SPDX-License-Identifier: Apache-2.0
//! The sub-command `crds`: `CustomResourceDefinition`s as YAML documents.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// Why CRDs could not be printed.
#[derive(Debug, thiserror::Error)]
#[error("could not print the CRD {name}")]
pub(crate) struct PrintError {
    /// Name of the CRD.
    pub name: String,
    /// What the encoder says.
    #[source]
    pub source: serde_yaml_ng::Error,
}

/// The documents in the given order, each behind a line `---`, ready for `kubectl apply --server-side -f -`.
///
/// # Errors
/// A definition that cannot be encoded: a defect of ours.
pub(crate) fn documents(definitions: &[CustomResourceDefinition]) -> Result<String, PrintError> {
    let mut text = String::new();
    for definition in definitions {
        let yaml = serde_yaml_ng::to_string(definition).map_err(|source| PrintError {
            name: definition.metadata.name.clone().unwrap_or_default(),
            source,
        })?;
        text.push_str("---\n");
        text.push_str(&yaml);
    }
    Ok(text)
}

// SPDX-License-Identifier: Apache-2.0
//! The model that a workload, pod or ModelAdapter serves, and where: read alike by the loop that publishes an
//! adapter and the one that routes to it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::keys::{DEFAULT_ENGINE_PORT, MODEL_NAME, MODEL_PORT_LABEL, model_route};

/// A port label that is no port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("label {MODEL_PORT_LABEL}={text:?} is not a port from 1 to 65535")]
pub(crate) struct InvalidPort {
    /// What the label says.
    pub text: String,
}

/// The name of the model: the label if it says something, else the annotation, which may hold slashes; `None`:
/// the object serves no model.
pub(crate) fn model_name_of(meta: &ObjectMeta) -> Option<&str> {
    value(meta.labels.as_ref(), MODEL_NAME).or_else(|| value(meta.annotations.as_ref(), MODEL_NAME))
}

/// The Service behind the model's route: named by an annotation, else after the model.
pub(crate) fn backend_service_of<'a>(meta: &'a ObjectMeta, model: &'a str) -> &'a str {
    value(meta.annotations.as_ref(), model_route::SERVICE_NAME).unwrap_or(model)
}

/// The port that the label names; `None`: there is no label.
///
/// # Errors
/// [`InvalidPort`]: callers fall back to [`DEFAULT_ENGINE_PORT`] and may say so.
pub(crate) fn port_label_of(meta: &ObjectMeta) -> Result<Option<u16>, InvalidPort> {
    let Some(text) = meta.labels.as_ref().and_then(|labels| labels.get(MODEL_PORT_LABEL)) else {
        return Ok(None);
    };
    let port = text.parse::<i32>().ok().and_then(|port| u16::try_from(port).ok());
    port.filter(|port| *port > 0).map(Some).ok_or_else(|| InvalidPort { text: text.clone() })
}

/// The port that the label names, else [`DEFAULT_ENGINE_PORT`].
pub(crate) fn engine_port_of(meta: &ObjectMeta) -> u16 {
    port_label_of(meta).ok().flatten().unwrap_or(DEFAULT_ENGINE_PORT)
}

fn value<'a>(map: Option<&'a BTreeMap<String, String>>, key: &str) -> Option<&'a str> {
    map?.get(key).map(String::as_str).filter(|value| !value.is_empty())
}

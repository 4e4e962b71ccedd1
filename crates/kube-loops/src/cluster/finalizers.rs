// SPDX-License-Identifier: Apache-2.0
//! Adds and removes one finalizer without touching those of others: a JSON patch that applies only to
//! the object as it was read.

use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, TestOperation, jsonptr::PointerBuf};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::{
    error::WriteError,
    writer::{Target, Writer},
};

/// Removes `finalizer` from the target, which `meta` was read from. `None`: it is not there, or the object
/// is gone.
///
/// # Errors
/// [`WriteError::Conflict`]: the object has changed since. Others: see [`WriteError`].
pub async fn remove(
    writer: &Writer,
    target: &Target,
    meta: &ObjectMeta,
    finalizer: &str,
) -> Result<Option<DynamicObject>, WriteError> {
    let Some(patch) = removal(meta, finalizer) else { return Ok(None) };
    match writer.json_patch(target, patch).await {
        Ok(object) => Ok(Some(object)),
        Err(WriteError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The patch that adds `finalizer` to the object which `meta` was read from; `None`: it has it already.
pub fn addition(meta: &ObjectMeta, finalizer: &str) -> Option<Patch> {
    let present = meta.finalizers.as_deref().unwrap_or_default();
    if present.iter().any(|it| it == finalizer) {
        return None;
    }
    let add = if present.is_empty() {
        AddOperation { path: path(&["finalizers"]), value: json!([finalizer]) }
    } else {
        AddOperation { path: path(&["finalizers", "-"]), value: finalizer.into() }
    };
    Some(Patch(vec![unchanged(meta), PatchOperation::Add(add)]))
}

/// The patch of [`remove`]; `None`: the finalizer is not there.
pub fn removal(meta: &ObjectMeta, finalizer: &str) -> Option<Patch> {
    let present = meta.finalizers.as_deref().unwrap_or_default();
    let mut operations = vec![unchanged(meta)];
    // From the back: a removal moves what stands behind it.
    for (index, _) in present.iter().enumerate().rev().filter(|(_, it)| *it == finalizer) {
        let path = path(&["finalizers", &index.to_string()]);
        operations.push(PatchOperation::Test(TestOperation { path: path.clone(), value: finalizer.into() }));
        operations.push(PatchOperation::Remove(RemoveOperation { path }));
    }
    (operations.len() > 1).then_some(Patch(operations))
}

fn unchanged(meta: &ObjectMeta) -> PatchOperation {
    let value = meta.resource_version.clone().map_or(Value::Null, Value::String);
    PatchOperation::Test(TestOperation { path: path(&["resourceVersion"]), value })
}

fn path(parts: &[&str]) -> PointerBuf {
    PointerBuf::from_tokens(std::iter::once("metadata").chain(parts.iter().copied()))
}

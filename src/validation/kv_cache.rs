// SPDX-License-Identifier: Apache-2.0
//! The backend of a KVCache, as admission sees it. Nothing else is judged there: objects without images or
//! with an empty metadata store are accepted, and the controller says what they lack.

use crate::api::keys::kv_cache::BACKENDS;
use kube_loops::k8s::text;

/// Longest value that a message repeats, in bytes.
const SHOWN_BYTES: usize = 256;

/// Why this value of the annotation is refused; an empty one is the same as none.
pub(crate) fn backend_error(backend: &str) -> Option<String> {
    if backend.is_empty() || BACKENDS.contains(&backend) {
        return None;
    }
    let (shown, supported) = (text::cut(backend, SHOWN_BYTES), BACKENDS.join(", "));
    Some(format!("invalid backend \"{shown}\" specified, supported backends are: {supported}"))
}

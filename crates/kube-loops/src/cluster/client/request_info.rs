// SPDX-License-Identifier: Apache-2.0
//! Resource and verb of a request to the API server, from method and path. Pure.

use http::{Method, Uri};

/// `group/version/resource` of a request, the group empty for the core group; the whole path for what is
/// no resource.
pub(super) fn resource_of(uri: &Uri) -> String {
    let path = uri.path();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return path.to_owned(),
    };
    let resource = match rest {
        ["namespaces", _, resource, ..] if !matches!(*resource, "status" | "finalize") => resource,
        [resource, ..] => resource,
        [] => return path.to_owned(),
    };
    format!("{group}/{version}/{resource}")
}

/// Whether the request may change something. Everything but reads may.
pub(super) fn is_write(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether the request opens a watch.
pub(super) fn is_watch(uri: &Uri) -> bool {
    let truthy = |value: &str| matches!(value, "true" | "1" | "");
    let pairs = uri.query().unwrap_or_default().split('&');
    pairs.filter_map(|pair| pair.split_once('=')).any(|(key, value)| key == "watch" && truthy(value))
}

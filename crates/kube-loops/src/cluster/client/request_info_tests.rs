// SPDX-License-Identifier: Apache-2.0
use http::Method;

use super::request_info::{is_watch, is_write, resource_of};

#[test]
fn a_request_is_counted_with_its_kind_whatever_the_namespace_or_subresource() {
    for (path, kind) in [
        ("/api/v1/pods?limit=500", "/v1/pods"),
        ("/api/v1/namespaces/prod/pods/web-0", "/v1/pods"),
        ("/api/v1/namespaces/prod/pods/web-0/status", "/v1/pods"),
        ("/api/v1/namespaces/prod", "/v1/namespaces"),
        ("/api/v1/namespaces/prod/status", "/v1/namespaces"),
        ("/apis/apps/v1/namespaces/prod/deployments/web/scale", "apps/v1/deployments"),
        ("/apis/apps/v1", "/apis/apps/v1"),
        ("/version", "/version"),
    ] {
        assert_eq!(resource_of(&path.parse().expect("a path")), kind, "{path}");
    }
}

#[test]
fn only_reads_change_nothing() {
    assert!(!is_write(&Method::GET) && !is_write(&Method::HEAD));
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        assert!(is_write(&method), "{method}");
    }
}

#[test]
fn a_watch_is_told_from_a_list() {
    let is_watch = |text: &str| is_watch(&text.parse().expect("a path"));
    assert!(is_watch("/api/v1/pods?&watch=true&timeoutSeconds=290"));
    assert!(is_watch("/api/v1/pods?watch=1"));
    assert!(!is_watch("/api/v1/pods?watch=false"));
    assert!(!is_watch("/api/v1/pods?labelSelector=watch"));
    assert!(!is_watch("/api/v1/namespaces/watch/pods"));
}

// SPDX-License-Identifier: Apache-2.0
use super::names::{is_dns1123_label, is_dns1123_subdomain, is_label_key, is_label_value, is_service_name};

#[test]
fn names_are_those_that_the_api_server_takes() {
    for good in ["a", "a-b", "a.b", "0", "example-kv-cache-controller", &"a".repeat(253)] {
        assert!(is_dns1123_subdomain(good), "{good}");
    }
    for bad in ["", "A", "a_b", "-a", "a-", "a..b", ".a", "a.", "a/b", "ä", &"a".repeat(254)] {
        assert!(!is_dns1123_subdomain(bad), "{bad}");
    }
    assert!(is_dns1123_label(&"a".repeat(63)));
    assert!(!is_dns1123_label(&"a".repeat(64)));
    assert!(!is_dns1123_label("a.b"));
    assert!(is_service_name("a-1") && !is_service_name("1a") && !is_service_name("a.b"));
}

#[test]
fn labels_are_those_that_the_api_server_takes() {
    for good in ["", "a", "A.b_c-0", &"a".repeat(63)] {
        assert!(is_label_value(good), "{good}");
    }
    for bad in ["-a", "a-", "a/b", "ä", "a b", &"a".repeat(64)] {
        assert!(!is_label_value(bad), "{bad}");
    }
    assert!(is_label_key("example.com/name") && is_label_key("app"));
    assert!(!is_label_key("") && !is_label_key("a/") && !is_label_key("/a") && !is_label_key("a/b/c"));
}

// SPDX-License-Identifier: Apache-2.0
use super::names::{
    is_dns1123_label, is_dns1123_subdomain, is_label_key, is_label_value, is_service_name,
    reference_grant_name_for, route_name_for,
};

#[test]
fn names_are_those_that_the_api_server_takes() {
    for good in ["a", "a-b", "a.b", "0", "aibrix-kv-cache-controller", &"a".repeat(253)] {
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
    assert!(is_label_key("model.aibrix.ai/name") && is_label_key("app"));
    assert!(!is_label_key("") && !is_label_key("a/") && !is_label_key("/a") && !is_label_key("a/b/c"));
}

// scenario: model-adapter-and-router 56
#[test]
fn routes_have_the_names_that_the_gateway_looks_for() {
    let a = |count: usize| "a".repeat(count);
    for (model, want) in [
        ("llama2-7b", "llama2-7b-router"),
        ("qwen2.5-7b", "qwen2.5-7b-router"),
        ("foo-", "foo--router"),
        ("/models/mock", "models-mock-46c4aacefda4-router"),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen-qwen2-5-7b-instruct-0311af13fabf-router"),
        ("Llama_2", "llama-2-eb54e5f8e5e5-router"),
        ("MODEL", "model-c8b6c094bbbd-router"),
        ("///", "model-732c4e971163-router"),
        ("-foo", "foo-04bac3c81959-router"),
        ("foo.", "foo-0bda519dc053-router"),
        (&a(246), &format!("{}-router", a(246))),
        (&a(247), &format!("{}-d1c97f05a04d-router", a(233))),
    ] {
        assert_eq!(route_name_for(model), want, "{model}");
    }
    let long = route_name_for(&"model/".repeat(100));
    assert_eq!(long.len(), 253);
    assert!(long.ends_with("-440e2ebae5be-router"), "{long}");
}

#[test]
fn letters_are_lowered_one_by_one() {
    assert!(route_name_for("\u{130}x").starts_with("ix-"), "no dot is combined with the i");
    assert!(route_name_for("\u{212a}").starts_with("k-"), "the Kelvin sign is a k");
    assert!(route_name_for("日本").starts_with("model-"));
}

#[test]
fn every_model_has_a_route_with_a_valid_name() {
    for model in ["", "\0", "..", "-", "é", "a\nb", &".".repeat(5000), &"Ä".repeat(300), &"-a".repeat(200)]
    {
        let name = route_name_for(model);
        assert!(is_dns1123_subdomain(&name), "{model:?}: {name}");
    }
}

#[test]
fn a_grant_is_named_after_its_namespace() {
    let want = "aibrix-system-reserved-referencegrant-in-default";
    assert_eq!(reference_grant_name_for("default"), want);
}

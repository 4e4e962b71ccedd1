// SPDX-License-Identifier: Apache-2.0
use kube_loops::k8s::names::is_dns1123_subdomain;

use super::names::{reference_grant_name_for, route_name_for};

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

// SPDX-License-Identifier: Apache-2.0
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::{
    bundle::{self, Known, Names},
    testing::pairs,
    x509::{self, Fingerprint},
};

fn names() -> Names {
    Names { namespace: "aibrix-system".to_owned(), service: "aibrix-webhook-service".to_owned() }
}

fn pem(text: &str) -> Value {
    serde_json::to_value(ByteString(text.as_bytes().to_vec())).unwrap()
}

fn print_of(pem: &str) -> Fingerprint {
    Fingerprint::of(&x509::certificates(pem.as_bytes())[0])
}

fn configuration() -> Value {
    let service = |name: &str, namespace: &str| json!({"name": name, "namespace": namespace, "path": "/x"});
    json!({
        "kind": "ValidatingWebhookConfiguration",
        "webhooks": [
            {"name": "ours", "clientConfig": {
                "service": service("aibrix-webhook-service", "aibrix-system"), "caBundle": pem(&pairs().ca.certificate),
            }, "timeoutSeconds": 5, "unknownField": {"kept": true}},
            {"name": "other-service", "clientConfig": {
                "service": service("other", "aibrix-system"), "caBundle": pem(&pairs().other_ca.certificate)}},
            {"name": "other-namespace", "clientConfig": {
                "service": service("aibrix-webhook-service", "other"),
                "caBundle": pem(&pairs().other_ca.certificate)}},
            {"name": "empty", "clientConfig": {"service": service("other", "other")}},
            {"name": "url", "clientConfig": {"url": "https://example.com", "caBundle": pem("")}},
            {"name": "garbage", "clientConfig": {
                "service": service("aibrix-webhook-service", "aibrix-system"), "caBundle": pem("garbage")}},
            {"name": "without-client"},
        ],
    })
}

#[test]
fn entries_are_ours_by_service_or_because_they_are_empty() {
    let mut known = Known::new();
    let entries = bundle::read(&configuration(), &names(), &mut known);
    let ours: Vec<bool> = entries.iter().map(|entry| entry.ours).collect();
    assert_eq!(ours, [true, false, false, true, true, true, true]);
    let foul: Vec<bool> = entries.iter().map(|entry| entry.foul).collect();
    assert_eq!(foul, [false, false, false, false, false, true, false]);
    assert!(entries[0].holds(print_of(&pairs().ca.certificate)));
    assert!(entries[1].follows(Some(print_of(&pairs().other_ca.certificate))), "it holds that CA already");
    assert!(!entries[1].follows(Some(print_of(&pairs().ca.certificate))));
    assert_eq!(known.len(), 2);
}

#[test]
fn only_the_named_entries_change_and_only_their_bundle() {
    let mut known = Known::new();
    let mut written = configuration();
    bundle::read(&written, &names(), &mut known);
    let want = vec![print_of(&pairs().ca.certificate), print_of(&pairs().other_ca.certificate)];
    assert!(bundle::write(&mut written, &[0, 3, 6].map(|at| (at, want.clone())).into(), &known));
    let both = format!("{}{}", pairs().ca.certificate, pairs().other_ca.certificate);
    let mut expected = configuration();
    expected["webhooks"][0]["clientConfig"]["caBundle"] = pem(&both);
    expected["webhooks"][3]["clientConfig"]["caBundle"] = pem(&both);
    assert_eq!(written, expected);
    assert!(
        !bundle::write(&mut written, &[(0, want.clone()), (3, want)].into(), &known),
        "a second time nothing differs"
    );
}

#[test]
fn single_ca_is_published_byte_for_byte_as_it_stands_in_the_secret() {
    let mut known = Known::new();
    let mut written = configuration();
    bundle::read(&written, &names(), &mut known);
    bundle::write(&mut written, &[(3, vec![print_of(&pairs().ca.certificate)])].into(), &known);
    assert_eq!(written["webhooks"][3]["clientConfig"]["caBundle"], pem(&pairs().ca.certificate));
}

#[test]
fn configuration_of_another_shape_has_no_entries() {
    for odd in [json!(null), json!({"webhooks": "x"}), json!({"webhooks": [7]}), json!([])] {
        let entries = bundle::read(&odd, &names(), &mut Known::new());
        assert!(entries.len() <= 1, "{odd}");
        assert!(!bundle::write(&mut odd.clone(), &[(0, Vec::new())].into(), &Known::new()), "{odd}");
    }
}

#[test]
fn name_in_the_certificate_is_that_of_the_service() {
    assert_eq!(names().dns_name(), "aibrix-webhook-service.aibrix-system.svc");
}

// SPDX-License-Identifier: Apache-2.0
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::served_model::{backend_service_of, engine_port_of, model_name_of, port_label_of};

fn meta(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> ObjectMeta {
    let map = |pairs: &[(&str, &str)]| {
        Some(pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect())
    };
    ObjectMeta { labels: map(labels), annotations: map(annotations), ..Default::default() }
}

const NAME: &str = "model.aibrix.ai/name";

#[test]
fn the_label_names_the_model_and_else_the_annotation() {
    let annotation = [(NAME, "/models/mock")];
    assert_eq!(model_name_of(&meta(&[(NAME, "llama")], &annotation)), Some("llama"));
    assert_eq!(model_name_of(&meta(&[(NAME, "")], &annotation)), Some("/models/mock"));
    assert_eq!(model_name_of(&meta(&[], &annotation)), Some("/models/mock"));
    assert_eq!(model_name_of(&meta(&[], &[(NAME, "")])), None);
    assert_eq!(model_name_of(&ObjectMeta::default()), None);
}

#[test]
fn a_route_leads_to_the_service_of_the_annotation_or_of_the_model() {
    let key = "model.aibrix.ai/service-name";
    assert_eq!(backend_service_of(&meta(&[], &[(key, "svc")]), "m"), "svc");
    assert_eq!(backend_service_of(&meta(&[], &[(key, "")]), "m"), "m");
    assert_eq!(backend_service_of(&meta(&[(key, "svc")], &[]), "m"), "m");
}

#[test]
fn a_port_that_is_none_becomes_the_default() {
    let key = "model.aibrix.ai/port";
    for (text, want) in [("8000", 8000), ("1", 1), ("65535", 65535), ("+80", 80), ("080", 80)] {
        assert_eq!(engine_port_of(&meta(&[(key, text)], &[])), want, "{text}");
    }
    for text in ["", "abc", "70000", "0", "-1", "8_0", "0x50", "99999999999", " 80", "٨٠"] {
        let meta = meta(&[(key, text)], &[]);
        assert!(port_label_of(&meta).is_err_and(|error| error.text == text), "{text}");
        assert_eq!(engine_port_of(&meta), 8000, "{text}");
    }
    assert_eq!(port_label_of(&ObjectMeta::default()), Ok(None));
    assert_eq!(engine_port_of(&meta(&[], &[(key, "80")])), 8000, "annotations are not asked");
}

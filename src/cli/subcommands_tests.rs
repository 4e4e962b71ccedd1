// SPDX-License-Identifier: Apache-2.0
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::Deserialize as _;

use super::subcommands::crd_documents;

#[test]
fn definitions_are_documents_of_their_own() {
    let definition = |name: &str| {
        let mut made = CustomResourceDefinition::default();
        made.metadata.name = Some(name.to_owned());
        made
    };
    let text = crd_documents(&[definition("a.example.com"), definition("b.example.com")]).unwrap();
    assert!(text.starts_with("---\n") && text.ends_with('\n'));
    let names: Vec<_> = serde_yaml_ng::Deserializer::from_str(&text)
        .map(|document| serde_yaml_ng::Value::deserialize(document).unwrap())
        .map(|value| {
            assert_eq!(value["kind"], "CustomResourceDefinition");
            assert_eq!(value["apiVersion"], "apiextensions.k8s.io/v1");
            value["metadata"]["name"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(names, ["a.example.com", "b.example.com"]);
}

#[test]
fn nothing_is_an_empty_text() {
    assert_eq!(crd_documents(&[]).unwrap(), "");
}

// SPDX-License-Identifier: Apache-2.0
use super::crds;

#[test]
fn published_schemas_neither_default_nor_allow_null() {
    for crd in crds() {
        let text = serde_json::to_string(&crd).unwrap();
        assert!(!text.contains("\"nullable\"") && !text.contains("\"default\""), "{text}");
    }
}

/// Prints the definitions; how `deploy/crds` is regenerated while the program itself cannot run.
#[test]
#[ignore = "prints, proves nothing"]
fn print_definitions() {
    for crd in crds() {
        let text = serde_yaml_ng::to_string(&crd).unwrap();
        std::fs::write(format!("target-{}.yaml", crd.metadata.name.unwrap()), text).unwrap();
    }
}

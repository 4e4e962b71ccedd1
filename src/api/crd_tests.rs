// SPDX-License-Identifier: Apache-2.0
use super::crds;

#[test]
fn published_schemas_neither_default_nor_allow_null() {
    for crd in crds() {
        let text = serde_json::to_string(&crd).unwrap();
        assert!(!text.contains("\"nullable\"") && !text.contains("\"default\""), "{text}");
    }
}

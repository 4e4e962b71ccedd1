// SPDX-License-Identifier: Apache-2.0
//! `deploy/crds` is what `api/` generates, and what installed objects need.

use std::{collections::BTreeMap, process::Command};

use aibrix_controller_manager::internals::crds;
use serde_json::Value;

use crate::manifests::{documents, read, root};

const HOW_TO_CHANGE: &str = "
The definitions in deploy/crds are generated from the Rust types. To change one:
 1. Change the type in src/api; a new field is optional, or stored objects would become invalid.
 2. Run `cargo run --quiet -- crds` and look at the difference to deploy/crds: is it only what you meant?
 3. Replace the file in deploy/crds by that document of the output; never edit it by hand.
 4. Run this test again: it also compares with the definitions that users have installed, where the tool
    for that is at hand (`crd-compat`).
 5. Add the field to the kind's sample in deploy/samples if users should know it, and to its validation.
 6. Write a line under Compatibility in CHANGELOG.md: users apply CRDs by hand before they upgrade.
";

/// Name of the definition → file name and content.
fn shipped() -> BTreeMap<String, (String, Value)> {
    let folder = root().join("deploy/crds");
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let file = entry.expect("readable").file_name().to_string_lossy().into_owned();
        for document in documents(&read(&format!("deploy/crds/{file}"))) {
            let name = document["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            assert!(found.insert(name, (file.clone(), document)).is_none(), "{file}: defined twice");
        }
    }
    found
}

#[test]
fn the_shipped_definitions_are_the_generated_ones() {
    let generated: BTreeMap<String, Value> = crds()
        .iter()
        .map(|crd| {
            let value = serde_json::to_value(crd).expect("a definition is JSON");
            (crd.metadata.name.clone().unwrap_or_default(), value)
        })
        .collect();
    let shipped = shipped();
    assert_eq!(
        shipped.keys().collect::<Vec<_>>(),
        generated.keys().collect::<Vec<_>>(),
        "kinds in deploy/crds (left) and in src/api (right)\n{HOW_TO_CHANGE}"
    );
    for (name, (file, content)) in &shipped {
        let differences = differences("", content, &generated[name]);
        assert!(differences.is_empty(), "deploy/crds/{file}:\n{}\n{HOW_TO_CHANGE}", differences.join("\n"));
    }
}

/// Paths at which two values differ: a whole schema in an assertion helps nobody.
fn differences(path: &str, shipped: &Value, generated: &Value) -> Vec<String> {
    if shipped == generated {
        return Vec::new();
    }
    if let (Some(left), Some(right)) = (shipped.as_object(), generated.as_object()) {
        let keys: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
        return keys
            .into_iter()
            .flat_map(|key| {
                let value =
                    |object: &serde_json::Map<String, Value>| object.get(key).cloned().unwrap_or_default();
                differences(&format!("{path}.{key}"), &value(left), &value(right))
            })
            .collect();
    }
    if let (Some(left), Some(right)) = (shipped.as_array(), generated.as_array())
        && left.len() == right.len()
    {
        let pairs = left.iter().zip(right).enumerate();
        return pairs.flat_map(|(at, (l, r))| differences(&format!("{path}[{at}]"), l, r)).collect();
    }
    vec![format!("  {path}: shipped {shipped}, generated {generated}")]
}

#[test]
fn a_difference_is_named_by_its_path() {
    let (left, right) =
        (serde_json::json!({"a": {"b": 1, "c": 2}}), serde_json::json!({"a": {"b": 1, "c": 3}}));
    assert_eq!(differences("", &left, &right), ["  .a.c: shipped 2, generated 3"]);
}

#[test]
fn files_are_named_after_group_and_plural() {
    for (name, (file, content)) in shipped() {
        let group = content["spec"]["group"].as_str().unwrap_or_default().to_owned();
        let plural = content["spec"]["names"]["plural"].as_str().unwrap_or_default().to_owned();
        assert_eq!(file, format!("{group}_{plural}.yaml"));
        assert_eq!(name, format!("{plural}.{group}"));
    }
}

/// Stored objects and manifests of AIBrix must stay valid. The comparison with AIBrix's definitions is a
/// tool beside the repository; where it is absent, the test above still pins what we ship.
#[test]
fn the_definitions_are_compatible_with_those_that_users_have_installed() {
    let tool = root().join("../shared/tools/crd-compat");
    if !tool.exists() {
        return;
    }
    for crd in crds() {
        let kind = crd.spec.names.kind;
        let output = Command::new(&tool)
            .arg(root().join("deploy/crds"))
            .args(["--kind", &kind])
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", tool.display()));
        assert!(
            output.status.success(),
            "{kind}:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn users_find_a_role_and_a_sample_for_each_shipped_kind() {
    let roles = crate::manifests::render("base");
    for (name, (_, content)) in shipped() {
        let (plural, group) = name.split_once('.').expect("plural.group");
        let short = group.split('.').next().unwrap_or_default();
        let singular = content["spec"]["names"]["singular"].as_str().unwrap_or_default();
        for role in ["editor", "viewer"] {
            let role = crate::manifests::object(
                &roles,
                "ClusterRole",
                &format!("aibrix-{short}-{singular}-{role}-role"),
            );
            assert_eq!(role["rules"][0]["resources"], serde_json::json!([plural]));
        }
        let samples = std::fs::read_dir(root().join("deploy/samples")).expect("deploy/samples exists");
        let found = samples.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with(singular));
        assert!(found, "no deploy/samples/{singular}_*.yaml");
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Object names are contract: scripts wait for them, `kubectl apply` over an AIBrix install updates them.

use crate::manifests::{KUSTOMIZATIONS, read, render};

/// Sections of the golden file: a line `# <kustomization>`, then `Kind namespace/name` lines.
fn golden(kustomization: &str) -> Vec<String> {
    let text = read("tests/golden/rendered_names.txt");
    let header = format!("## {kustomization}");
    let lines = text.lines().skip_while(|line| *line != header).skip(1);
    let mut names: Vec<String> = lines
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| !line.is_empty())
        .map(Into::into)
        .collect();
    names.sort();
    names
}

fn rendered(kustomization: &str) -> Vec<String> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let mut names: Vec<String> = render(kustomization)
        .iter()
        .map(|object| {
            let (kind, meta) = (text(&object["kind"]), &object["metadata"]);
            let namespace = text(&meta["namespace"]);
            let separator = if namespace.is_empty() { "" } else { "/" };
            format!("{kind} {namespace}{separator}{}", text(&meta["name"]))
        })
        .collect();
    names.sort();
    names
}

#[test]
fn rendered_objects_have_the_promised_names() {
    for kustomization in KUSTOMIZATIONS {
        let want = golden(kustomization);
        assert!(!want.is_empty(), "tests/golden/rendered_names.txt has no section {kustomization}");
        assert_eq!(rendered(kustomization), want, "{kustomization}");
    }
}

#[test]
fn bindings_name_roles_and_accounts_that_are_shipped_with_them() {
    for kustomization in KUSTOMIZATIONS {
        let names = rendered(kustomization);
        let objects = render(kustomization);
        let bindings = objects
            .iter()
            .filter(|object| object["kind"].as_str().is_some_and(|kind| kind.ends_with("RoleBinding")));
        for binding in bindings {
            let role = &binding["roleRef"];
            let end = role["name"].as_str().unwrap_or_default();
            let found = names.iter().any(|name| {
                name.starts_with(role["kind"].as_str().unwrap_or_default()) && name.ends_with(end)
            });
            assert!(found, "{kustomization}: {role}");
            let subject = &binding["subjects"][0];
            let account = format!(
                "ServiceAccount {}/{}",
                subject["namespace"].as_str().unwrap_or_default(),
                subject["name"].as_str().unwrap_or_default()
            );
            assert!(names.contains(&account), "{kustomization}: {account}");
        }
    }
}

#[test]
fn one_entry_under_images_changes_the_image() {
    // Users replace the placeholder `controller` in the base and the standalone overlays, and
    // `aibrix/controller-manager` in the release overlay.
    for (file, placeholder) in [
        ("base", "controller"),
        ("overlays/standalone/pod-autoscaler-controller", "controller"),
        ("overlays/standalone/model-route-controller", "controller"),
        ("overlays/standalone/model-adapter-controller", "controller"),
        ("overlays/standalone/stormservice-controller", "controller"),
        ("overlays/release", "aibrix/controller-manager"),
    ] {
        let text = read(&format!("deploy/kustomize/{file}/kustomization.yaml"));
        assert!(text.contains(&format!("  - name: {placeholder}\n")), "{file}");
    }
    for kustomization in KUSTOMIZATIONS {
        let deployment = crate::manifests::deployment(&render(kustomization));
        let image = deployment["spec"]["template"]["spec"]["containers"][0]["image"].clone();
        let image = image.as_str().unwrap_or_default();
        assert!(image.starts_with("aibrix/controller-manager:rust-"), "{kustomization}: {image}");
    }
}

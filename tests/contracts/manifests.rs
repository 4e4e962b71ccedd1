// SPDX-License-Identifier: Apache-2.0
//! The shipped manifests, rendered as a user renders them.

use std::{
    collections::HashMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, OnceLock},
};

use serde_json::Value;

/// All kustomizations that a user applies, as folders below `deploy/kustomize`.
pub(crate) const KUSTOMIZATIONS: &[&str] = &[
    "base",
    "overlays/release",
    "overlays/dev",
    "overlays/namespaced",
    "overlays/webhook-only",
    "overlays/standalone/pod-autoscaler-controller",
    "overlays/standalone/model-route-controller",
    "overlays/standalone/model-adapter-controller",
    "overlays/standalone/stormservice-controller",
];

/// Controllers with a kustomization of their own, which renames by a prefix.
pub(crate) const STANDALONE: &[(&str, &str)] = &[
    ("pod-autoscaler-controller", "aibrix-autoscaling-"),
    ("model-route-controller", "aibrix-model-route-"),
    ("model-adapter-controller", "aibrix-lora-"),
    ("stormservice-controller", "aibrix-"),
];

/// The kustomization of one controller alone.
pub(crate) fn standalone(controller: &str) -> String {
    format!("overlays/standalone/{controller}")
}

/// Kustomizations with the prefixes that they rename by: the full one and those of one controller alone.
pub(crate) fn prefixes() -> Vec<(String, &'static str)> {
    let alone = STANDALONE.iter().map(|(controller, prefix)| (standalone(controller), *prefix));
    [("base".to_owned(), "aibrix-")].into_iter().chain(alone).collect()
}

/// How many controllers the Deployment of a kustomization runs.
pub(crate) fn controllers_in(kustomization: &str) -> usize {
    match kustomization {
        "overlays/webhook-only" => 0,
        standalone if standalone.contains("standalone") => 1,
        _ => 7,
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Content of a file of the package.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The documents of a YAML file as JSON; empty ones are left out.
pub(crate) fn documents(yaml: &str) -> Vec<Value> {
    serde_yaml_ng::Deserializer::from_str(yaml)
        .map(|document| {
            <Value as serde::Deserialize>::deserialize(document)
                .unwrap_or_else(|error| panic!("not YAML: {error}\n{yaml}"))
        })
        .filter(|value| !value.is_null())
        .collect()
}

/// The objects of a kustomization.
pub(crate) fn render(kustomization: &str) -> Vec<Value> {
    static RENDERED: OnceLock<Mutex<HashMap<String, Vec<Value>>>> = OnceLock::new();
    let mut rendered =
        RENDERED.get_or_init(Mutex::default).lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    rendered
        .entry(kustomization.to_owned())
        .or_insert_with(|| documents(&kustomize(&root().join("deploy/kustomize").join(kustomization))))
        .clone()
}

pub(crate) fn kustomize(folder: &Path) -> String {
    let kubectl = kubectl().unwrap_or_else(|why| {
        panic!("{why}\nThe manifests cannot be rendered: run `make tools`, or set KUBECTL to a kubectl.")
    });
    let output = Command::new(&kubectl)
        .arg("kustomize")
        .arg(folder)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", kubectl.display()));
    assert!(
        output.status.success(),
        "kubectl kustomize {}: {}",
        folder.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("kustomize prints text")
}

/// `KUBECTL`, else the one in the folder of the development tools.
fn kubectl() -> Result<PathBuf, String> {
    #[expect(clippy::disallowed_methods, reason = "tests are told where their tools are")]
    if let Ok(named) = std::env::var("KUBECTL") {
        return Ok(named.into());
    }
    let output = Command::new("sh")
        .arg(root().join("dev/tools.sh"))
        .arg("--where")
        .output()
        .map_err(|error| format!("dev/tools.sh: {error}"))?;
    if !output.status.success() {
        let mut why = String::from("KUBECTL is not set, and dev/tools.sh finds no tools");
        _ = write!(why, ": {}", String::from_utf8_lossy(&output.stderr).trim());
        return Err(why);
    }
    Ok(Path::new(String::from_utf8_lossy(&output.stdout).trim()).join("kubectl"))
}

/// The one object of that kind and name.
pub(crate) fn object(objects: &[Value], kind: &str, name: &str) -> Value {
    let found: Vec<_> = objects
        .iter()
        .filter(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .collect();
    match found.as_slice() {
        [object] => (*object).clone(),
        found => panic!("{} objects {kind}/{name}", found.len()),
    }
}

/// The one Deployment.
pub(crate) fn deployment(objects: &[Value]) -> Value {
    let found: Vec<_> = objects.iter().filter(|object| object["kind"] == "Deployment").collect();
    match found.as_slice() {
        [object] => (*object).clone(),
        found => panic!("{} Deployments", found.len()),
    }
}

/// Arguments of the manager's container.
pub(crate) fn args(objects: &[Value]) -> Vec<String> {
    let args = deployment(objects)["spec"]["template"]["spec"]["containers"][0]["args"].clone();
    serde_json::from_value(args).expect("args are strings")
}

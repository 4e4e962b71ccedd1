// SPDX-License-Identifier: Apache-2.0
//! Puts the runtime sidecar into a pod spec, and takes nothing out of it.
//!
//! A field of a newer Kubernetes is neither named nor moved. A pod spec of an
//! unexpected shape is left to the API server, which says what is wrong with it.

use json_patch::{AddOperation, PatchOperation, jsonptr::PointerBuf};
use serde_json::{Value, json};

use crate::api::keys::{
    model_adapter::{SIDECAR_CONTAINER, SIDECAR_PORT},
    sidecar,
};

use super::{json_patch::operations_between, parts::Parts};

/// The engine of a pod whose images say nothing.
const UNKNOWN_ENGINE: &str = "unknown";

/// Most containers that a pod may have for one to be put beside them, and roles that a StormService may have: more are
/// no workload.
pub(super) const MOST: usize = 1000;

/// All that is read of a pod spec.
pub(super) const POD: Parts = Parts::Members(&[
    (
        "containers",
        Parts::Each(&Parts::Members(&[
            ("name", Parts::All),
            ("image", Parts::All),
            ("volumeMounts", Parts::Each(&Parts::Members(&[("mountPath", Parts::All)]))),
        ])),
    ),
    ("volumes", Parts::Each(&Parts::All)),
]);

/// What is injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sidecar<'a> {
    /// Its image.
    pub image: &'a str,
    /// The engine beside it; `None`: inferred from the images of the pod.
    pub engine: Option<&'a str>,
}

impl<'a> Sidecar<'a> {
    /// From the annotations that may ask for something special; empty ones ask for nothing.
    pub(crate) fn from_annotations(image: Option<&'a str>, engine: Option<&'a str>) -> Self {
        let image = image.filter(|image| !image.is_empty()).unwrap_or(sidecar::DEFAULT_IMAGE);
        Self { image, engine: engine.filter(|engine| !engine.is_empty()) }
    }
}

/// The annotation `key` of an object, if it is there and a text.
pub(crate) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(key)?.as_str()
}

/// The operations that put the sidecar into `pod`, which stands at `path`. None when it is there already,
/// and when there is no container to put it beside.
pub(crate) fn injection(path: &PointerBuf, pod: &Value, wanted: Sidecar<'_>) -> Vec<PatchOperation> {
    let containers = pod.get("containers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let there = containers.iter().any(|it| it.get("name").and_then(Value::as_str) == Some(SIDECAR_CONTAINER));
    if containers.is_empty() || containers.len() > MOST || there || !containers.iter().all(Value::is_object) {
        return Vec::new();
    }
    let engine = wanted.engine.unwrap_or_else(|| engine_of(containers));
    let mut operations = operations_between(path, pod, &with_storage(pod));
    // Last, so that the places of the other containers are still those of `pod` before it.
    let mut first = path.clone();
    first.push_back("containers");
    first.push_back(0);
    operations
        .push(PatchOperation::Add(AddOperation { path: first, value: container(wanted.image, engine) }));
    operations
}

/// What the images of a pod say about its engine; the first container that says anything counts.
fn engine_of(containers: &[Value]) -> &'static str {
    let images = containers.iter().filter_map(|container| container.get("image")?.as_str());
    images.map(str::to_lowercase).find_map(|image| engine_in(&image)).unwrap_or(UNKNOWN_ENGINE)
}

fn engine_in(image: &str) -> Option<&'static str> {
    let has = |part| image.contains(part);
    Some(match () {
        () if has("vllm") => "vllm",
        () if has("sglang") => "sglang",
        () if has("text-generation-inference") || has("tgi") => "tgi",
        () if has("triton") => "triton",
        () if has("llama") && has("cpp") => "llamacpp",
        () => return None,
    })
}

/// The pod spec with the shared volume, mounted into every container.
fn with_storage(pod: &Value) -> Value {
    let mut pod = pod.clone();
    let Some(spec) = pod.as_object_mut() else { return pod };
    if let Some(volumes) = list_in(spec.entry("volumes").or_insert(Value::Null)) {
        let ours = |volume: &&mut Value| volume.get("name").and_then(Value::as_str) == Some(sidecar::VOLUME);
        match volumes.iter_mut().find(ours) {
            Some(volume) if volume.get("emptyDir").is_some_and(|source| !source.is_null()) => {}
            Some(volume) => *volume = volume_of_ours(),
            None => volumes.push(volume_of_ours()),
        }
    }
    let containers = spec.get_mut("containers").and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
        let mounts = container.entry("volumeMounts").or_insert(Value::Null);
        if let Some(mounts) = list_in(mounts)
            && !mounts.iter().any(is_at_our_path)
        {
            mounts.push(mount());
        }
    }
    pod
}

/// The list in `value`, which may be missing; `None` when it is something else.
fn list_in(value: &mut Value) -> Option<&mut Vec<Value>> {
    if value.is_null() {
        *value = Value::Array(Vec::new());
    }
    value.as_array_mut()
}

/// DIFFERS: AIBrix adds a second mount at a path that another volume has taken, and the pod is refused.
fn is_at_our_path(mount: &Value) -> bool {
    let path = mount.get("mountPath").and_then(Value::as_str);
    path.is_some_and(|path| path.trim_end_matches('/') == sidecar::MOUNT_PATH)
}

fn volume_of_ours() -> Value {
    json!({"name": sidecar::VOLUME, "emptyDir": {}})
}

fn mount() -> Value {
    json!({"name": sidecar::VOLUME, "mountPath": sidecar::MOUNT_PATH})
}

/// Exactly AIBrix's: its tests compare the stored object.
fn container(image: &str, engine: &str) -> Value {
    let probe = |path: &str, delay: u8, period: u8| {
        json!({
            "httpGet": {"path": path, "port": SIDECAR_PORT, "scheme": "HTTP"},
            "initialDelaySeconds": delay, "periodSeconds": period,
        })
    };
    json!({
        "name": SIDECAR_CONTAINER,
        "image": image,
        "command": ["aibrix_runtime", "--port", SIDECAR_PORT.to_string()],
        "env": [
            {"name": "INFERENCE_ENGINE", "value": engine},
            {"name": "INFERENCE_ENGINE_ENDPOINT", "value": "http://localhost:8000"},
        ],
        "ports": [{"name": "metrics", "containerPort": SIDECAR_PORT, "protocol": "TCP"}],
        "livenessProbe": probe("/healthz", 3, 2),
        "readinessProbe": probe("/ready", 5, 10),
        "resources": {
            "requests": {"cpu": "100m", "memory": "256Mi"},
            "limits": {"cpu": "500m", "memory": "512Mi"},
        },
        "volumeMounts": [mount()],
    })
}

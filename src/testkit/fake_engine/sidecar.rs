// SPDX-License-Identifier: Apache-2.0
//! The runtime sidecar in front of an engine: forbids unknown fields and nulls, knows few URL schemes, and
//! answers 500 to whatever goes wrong behind it.

use serde_json::{Map, Value, json};

use kube_fenced_election::clock::Instant;

use super::lora::{Reply, Running, fields};

/// Its path for loads.
pub(super) const LOAD: &str = "/v1/lora_adapter/load";
/// Its path for unloads.
pub(super) const UNLOAD: &str = "/v1/lora_adapter/unload";

const LOAD_FIELDS: [&str; 6] =
    ["lora_name", "artifact_url", "credentials_secret", "credentials", "additional_config", "local_dir"];
const SCHEMES: [&str; 6] = ["s3://", "gcs://", "tos://", "huggingface://", "http://", "https://"];
const LONGEST_NAME: usize = 100;

pub(super) fn load(engine: &mut Running, body: &Map<String, Value>, now: Instant) -> Reply {
    if let Ok([name, path]) = fields(body, ["lora_name", "lora_path"]) {
        return match named(&name) {
            Ok(()) => engine.load(&name, &path, now),
            Err(refusal) => refusal,
        };
    }
    if let Some(refusal) = stranger(body, &LOAD_FIELDS) {
        return refusal;
    }
    let text = |field: &str| body.get(field).and_then(Value::as_str);
    let (Some(name), Some(url)) = (text("lora_name"), text("artifact_url")) else {
        return unprocessable("lora_name and artifact_url are required");
    };
    for field in ["credentials", "additional_config"] {
        let texts = |value: &Value| value.as_object().is_some_and(|map| map.values().all(Value::is_string));
        if body.get(field).is_some_and(|value| !texts(value)) {
            return unprocessable(&format!("{field} is no map of texts"));
        }
    }
    if let Err(refusal) = named(name) {
        return refusal;
    }
    if !SCHEMES.iter().any(|scheme| url.starts_with(scheme)) {
        return failed(&format!("Unsupported artifact URL: {url}"));
    }
    let reply = engine.load(name, url, now);
    if !matches!(reply.status, 200 | 201) {
        return failed(&reply.body.to_string());
    }
    Reply { body: json!({"status": "success", "message": format!("Loaded {name}")}), ..reply }
}

pub(super) fn unload(engine: &mut Running, body: &Map<String, Value>, now: Instant) -> Reply {
    if let Some(refusal) = stranger(body, &["lora_name", "cleanup_local", "lora_int_id"]) {
        return refusal;
    }
    let Some(name) = body.get("lora_name").and_then(Value::as_str) else {
        return unprocessable("lora_name is required");
    };
    if body.get("cleanup_local").is_some_and(|value| !value.is_boolean()) {
        return unprocessable("cleanup_local is no boolean");
    }
    // Whatever the engine said.
    let effect = engine.unload(name, now).effect;
    Reply { effect, ..Reply::of(200, json!({"status": "success"})) }
}

fn named(name: &str) -> Result<(), Reply> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let good = !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(fits);
    if good {
        Ok(())
    } else {
        Err(unprocessable("lora_name holds other characters than letters, digits, - and _"))
    }
}

fn stranger(body: &Map<String, Value>, known: &[&str]) -> Option<Reply> {
    let unknown = body.keys().find(|key| !known.contains(&key.as_str()));
    if let Some(field) = unknown {
        return Some(unprocessable(&format!("extra field not permitted: {field}")));
    }
    let null = body.iter().find(|(_, value)| value.is_null());
    null.map(|(field, _)| unprocessable(&format!("{field} is null")))
}

fn unprocessable(detail: &str) -> Reply {
    Reply::of(422, json!({"detail": detail}))
}

fn failed(error: &str) -> Reply {
    Reply::of(500, json!({"error": error}))
}

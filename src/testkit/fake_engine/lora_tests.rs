// SPDX-License-Identifier: Apache-2.0

use std::{collections::BTreeMap, time::Duration};

use http::Method;
use serde_json::{Value, json};

use kube_fenced_election::clock::{Clock, Instant, SystemClock};

use super::{
    journal::Effect,
    lora::{Ask, Call, LoraEngine, Refusal, Reply, Running},
};

fn post(engine: &mut Running, path: &str, body: &Value, now: Instant) -> Reply {
    let body = body.to_string();
    let ask = Ask {
        method: &Method::POST,
        path,
        authorization: None,
        content_type: Some("application/json"),
        body: body.as_bytes(),
    };
    engine.answer(&ask, now)
}

fn models(engine: &mut Running, authorization: Option<&str>, now: Instant) -> (u16, Vec<String>) {
    let ask = Ask { method: &Method::GET, path: "/v1/models", authorization, content_type: None, body: b"" };
    let reply = engine.answer(&ask, now);
    let ids = reply.body["data"].as_array().into_iter().flatten();
    (reply.status, ids.map(|model| model["id"].as_str().unwrap().to_owned()).collect())
}

fn adapter(name: &str) -> Value {
    json!({"lora_name": name, "lora_path": "/m"})
}

#[test]
fn engine_is_strict_about_what_it_is_told() {
    let now = SystemClock.instant();
    let mut engine = Running::new(LoraEngine { max_loras: 2, ..LoraEngine::default() });
    engine.like.missing.insert("/none".to_owned());
    let load = "/v1/load_lora_adapter";
    for (body, status) in [
        (adapter("a"), 200),
        (adapter("a"), 400),
        (json!({"lora_name": "b", "lora_path": "/none"}), 404),
        (json!({"lora_name": "b", "lora_path": "/m", "more": 1}), 400),
        (json!({"lora_name": "b"}), 400),
        (adapter("b"), 200),
        (adapter("c"), 400),
    ] {
        assert_eq!(post(&mut engine, load, &body, now).status, status, "{body}");
    }
    assert_eq!(models(&mut engine, None, now), (200, vec!["base".into(), "a".into(), "b".into()]));
    assert_eq!(post(&mut engine, "/load_lora_adapter", &adapter("d"), now).status, 404);
    let gone = post(&mut engine, "/v1/unload_lora_adapter", &json!({"lora_name": "a"}), now);
    assert_eq!((gone.status, gone.effect), (200, Some(Effect::Unloaded("a".to_owned()))));
    assert_eq!(post(&mut engine, "/v1/unload_lora_adapter", &json!({"lora_name": "a"}), now).status, 400);
    engine.restart();
    assert_eq!(models(&mut engine, None, now), (200, vec!["base".into()]));
}

#[test]
fn slow_load_shows_when_it_is_done_and_is_not_begun_twice() {
    let now = SystemClock.instant();
    let mut engine = Running::new(LoraEngine { load_ms: 500, sglang: true, ..LoraEngine::default() });
    let load = post(&mut engine, "/load_lora_adapter", &adapter("a"), now);
    assert_eq!((load.status, load.delay), (200, Duration::from_millis(500)));
    assert_eq!(post(&mut engine, "/load_lora_adapter", &adapter("a"), now).status, 400);
    assert_eq!(models(&mut engine, None, now).1, ["base"]);
    assert_eq!(models(&mut engine, None, now + Duration::from_secs(1)).1, ["base", "a"]);
}

#[test]
fn faults_come_before_deeds() {
    let now = SystemClock.instant();
    let refusal = Refusal { status: 500, body: "boom".to_owned(), times: Some(1) };
    let mut engine = Running::new(LoraEngine {
        token: Some("t".to_owned()),
        refuses: BTreeMap::from([(Call::Models, refusal)]),
        ..LoraEngine::default()
    });
    assert_eq!(models(&mut engine, None, now).0, 401);
    assert_eq!(models(&mut engine, Some("Bearer t"), now).0, 500);
    assert_eq!(models(&mut engine, Some("Bearer t"), now).0, 200);
    engine.like.silent.insert(Call::Models);
    assert_eq!(models(&mut engine, Some("Bearer t"), now).0, 0);
    let mut liar = Running::new(LoraEngine { lies: true, ..LoraEngine::default() });
    let said = post(&mut liar, "/v1/load_lora_adapter", &adapter("a"), now);
    assert_eq!((said.status, said.effect), (200, None));
    assert_eq!(models(&mut liar, None, now).1, ["base"]);
}

#[test]
fn sidecar_forbids_unknown_fields_and_nulls() {
    let now = SystemClock.instant();
    let mut engine = Running::new(LoraEngine { sidecar: true, ..LoraEngine::default() });
    for (path, body, status) in [
        ("load", json!({"lora_name": "a", "artifact_url": "s3://b/k", "credentials": {"k": "v"}}), 200),
        ("load", json!({"lora_name": "b", "artifact_url": "s3://b/k", "credentials": null}), 422),
        ("load", json!({"lora_name": "b", "artifact_url": "s3://b/k", "rank": "8"}), 422),
        ("load", json!({"lora_name": "b.c", "artifact_url": "s3://b/k"}), 422),
        ("load", json!({"lora_name": "b", "artifact_url": "hf://b/k"}), 500),
        ("load", json!({"lora_name": "b", "artifact_url": "/m"}), 500),
        ("load", json!({"lora_name": "b", "lora_path": "/m"}), 200),
        ("load", json!({"lora_name": "a", "artifact_url": "s3://b/k"}), 500),
        ("unload", json!({"lora_name": "a", "cleanup_local": true}), 200),
        ("unload", json!({"lora_name": "a", "cleanup_local": true}), 200),
        ("unload", json!({"lora_name": "a", "force": true}), 422),
    ] {
        let reply = post(&mut engine, &format!("/v1/lora_adapter/{path}"), &body, now);
        assert_eq!(reply.status, status, "{path} {body}: {}", reply.body);
    }
    assert_eq!(models(&mut engine, None, now).1, ["base", "b"]);
}

#[test]
fn engine_keeps_the_adapters_that_were_loaded_last() {
    let now = SystemClock.instant();
    let mut engine = Running::new(LoraEngine { max_loras: 2, evicts: true, ..LoraEngine::default() });
    for name in ["a", "b", "c"] {
        assert_eq!(post(&mut engine, "/v1/load_lora_adapter", &adapter(name), now).status, 200);
    }
    assert_eq!(models(&mut engine, None, now).1, ["base", "b", "c"]);
}

#[test]
fn engine_lists_what_it_is_told_to_list() {
    let now = SystemClock.instant();
    let preloaded: BTreeMap<String, String> = [("sql".to_owned(), "/old/sql".to_owned())].into();
    let mut engine = Running::new(LoraEngine { preloaded, ..LoraEngine::default() });
    engine.restart();
    assert_eq!(models(&mut engine, None, now).1, ["base", "sql"]);
    engine.like.flickers = true;
    let seen = [0; 4].map(|_| models(&mut engine, None, now).1.len());
    assert_eq!(seen, [1, 2, 1, 2]);
    engine.like.unlisted = true;
    assert_eq!(models(&mut engine, None, now).1, ["base"]);
}

#[test]
fn sglang_tells_what_it_has_loaded() {
    let now = SystemClock.instant();
    let mut engine = Running::new(LoraEngine { sglang: true, ..LoraEngine::default() });
    let first = post(&mut engine, "/load_lora_adapter", &adapter("sql"), now);
    assert_eq!((first.status, &first.body["loaded_adapters"]["sql"]), (200, &json!("/m")));
    let second = post(&mut engine, "/load_lora_adapter", &adapter("sql"), now);
    assert_eq!((second.status, second.body["error_message"].as_str()), (400, Some("sql already exists")));
}

// SPDX-License-Identifier: Apache-2.0
//! What engines are told, byte for byte, and what their answers mean.

use std::time::Duration;

use aibrix_controller_manager::testkit::fake_engine::LoraEngine;
use serde_json::json;

use crate::support::wait::instant;

use super::{
    scene::{Call, ENGINE, Scene, message, phase, said},
    world::{SOON, bare},
};

// scenario: model-adapter-and-router 39
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vllm_is_told_name_and_path() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "vllm").await;
    let pod = scene.pod("web-0").await;
    for (name, url, path) in [
        ("a", "huggingface://Org/Repo-X", "Org/Repo-X"),
        ("b", "hf://Org/R", "Org/R"),
        ("c", "/m/x", "/m/x"),
        ("d", "s3://b/k", "s3://b/k"),
    ] {
        let mut it = scene.adapter(name);
        it["spec"]["artifactURL"] = json!(url);
        it["spec"]["credentialsSecretRef"] = json!({"name": "nobody-asks-for-it"});
        it["spec"]["additionalConfig"] = json!({"rank": "8"});
        scene.run(&it, &["web-0"]).await;
        let load = scene.asked(pod, Call::Load).pop().expect("a load");
        assert_eq!(
            (load.method.as_str(), load.port, load.path.as_str()),
            ("POST", ENGINE, "/v1/load_lora_adapter")
        );
        let body = format!(r#"{{"lora_name":"{name}","lora_path":"{path}"}}"#);
        assert_eq!(load.body.as_deref(), Some(body.as_str()));
        assert_eq!(load.header("content-type"), "application/json");
    }
    let lists = scene.asked(pod, Call::Models);
    assert!(!lists.is_empty());
    assert!(
        lists.iter().all(|list| list.method == "GET" && list.port == ENGINE && list.path == "/v1/models")
    );
    assert!(
        scene.engines.journal.of(pod).iter().all(|entry| entry.header("authorization").is_empty()),
        "nobody sends a token that nobody gave"
    );
}

// scenario: model-adapter-and-router 40
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engines_have_paths_of_their_own() {
    let world = bare().await;
    for (engine, sglang, load, unload) in [
        ("sglang", true, "/load_lora_adapter", "/unload_lora_adapter"),
        ("vllm", false, "/v1/load_lora_adapter", "/v1/unload_lora_adapter"),
        ("who-knows", false, "/v1/load_lora_adapter", "/v1/unload_lora_adapter"),
    ] {
        let scene = Scene::new(&world.plane, engine).await;
        let mut pod = scene.bare_pod("web-0");
        pod["metadata"]["labels"]["model.aibrix.ai/engine"] = json!(engine);
        let pod = scene.make(&pod, LoraEngine { sglang, ..LoraEngine::default() }, &json!({})).await;
        let it = scene.adapter("sql");
        scene.run(&it, &["web-0"]).await;
        scene.delete(&it).await;
        scene.until_gone(&it, SOON).await;
        let asked = |call| scene.asked(pod, call).pop().expect("a request").path;
        assert_eq!((asked(Call::Load).as_str(), asked(Call::Unload).as_str()), (load, unload), "{engine}");
        assert_eq!(asked(Call::Models), "/v1/models");
        assert!(scene.engines.loaded(pod).is_empty());
    }
}

// scenario: model-adapter-and-router 43
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_key_goes_with_every_call() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "key").await;
    let like = LoraEngine { token: Some("k".to_owned()), ..LoraEngine::default() };
    let pod = scene.pod_like("web-0", like).await;
    let without = scene.adapter("without");
    scene.create(&without).await;
    let seen = scene.until_said(&without, "Ready", "False/ModelAdapterLoadingError", SOON).await;
    assert!(
        message(&seen, "Ready").contains("failed to get models (status 401)"),
        "{}",
        message(&seen, "Ready")
    );
    assert!(scene.engines.journal.of(pod).iter().all(|entry| entry.header("authorization").is_empty()));
    scene.delete(&without).await;
    scene.until_gone(&without, SOON).await;

    scene.engines.journal.clear();
    let mut it = scene.adapter("with");
    it["spec"]["additionalConfig"] = json!({"api-key": "k"});
    scene.run(&it, &["web-0"]).await;
    scene.delete(&it).await;
    scene.until_gone(&it, SOON).await;
    for call in [Call::Models, Call::Load, Call::Unload] {
        let asked = scene.asked(pod, call);
        assert!(!asked.is_empty(), "{call:?}");
        assert!(asked.iter().all(|entry| entry.header("authorization") == "Bearer k"), "{asked:?}");
    }
    assert!(!world.manager.log().contains("Bearer"), "no header is logged");
}

// scenario: model-adapter-and-router 44
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn list_that_fails_is_no_empty_list() {
    let world = bare().await;
    for code in [401, 500] {
        let scene = Scene::new(&world.plane, "list").await;
        let pod = scene.pod("web-0").await;
        scene.refuse(pod, Call::Models, code, "no list today");
        let it = scene.adapter("sql");
        scene.create(&it).await;
        let seen = scene.until_said(&it, "Ready", "False/ModelAdapterLoadingError", SOON).await;
        let text = message(&seen, "Ready");
        assert!(text.contains(&format!("failed to get models (status {code}): no list today")), "{text}");
        assert_eq!(phase(&seen), "Failed");
        scene.until_asked(pod, Call::Models, 2, SOON).await;
        assert_eq!(scene.count(pod, Call::Load), 0, "{code}");
    }
}

// scenario: model-adapter-and-router 46
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engine_that_never_answers_delays_nobody() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "hang").await;
    let quiet = Scene::new(&world.plane, "quick").await;
    quiet.pod("web-0").await;
    let measure = async |names: [&str; 3]| {
        let mut longest = Duration::ZERO;
        for name in names {
            let from = instant();
            quiet.run(&quiet.adapter(name), &["web-0"]).await;
            longest = longest.max(from.elapsed());
        }
        longest
    };
    let before = measure(["a", "b", "c"]).await;
    let hanging = scene.pod("web-0").await;
    for call in [Call::Models, Call::Load, Call::Unload] {
        scene.silence(hanging, call);
    }
    // More than there are workers, each with a list under way.
    for n in 0..24 {
        scene.create(&scene.adapter(&format!("hang-{n}"))).await;
    }
    scene.until_asked(hanging, Call::Models, 1, SOON).await;
    let meanwhile = measure(["d", "e", "f"]).await;
    // Whoever waited for one of them would wait for its time-out; a busy machine costs less.
    assert!(meanwhile < before + Duration::from_secs(4), "{before:?} before, {meanwhile:?} meanwhile");
    // What was known stays: a pod whose list fails is kept while it is ready.
    let known = quiet.adapter("a");
    let pod = quiet.engines.engines()[0];
    quiet.silence(pod, Call::Models);
    // The first of these is not answered in time when the second comes.
    let asked = quiet.count(pod, Call::Models);
    quiet.until_asked(pod, Call::Models, asked + 2, 2 * SOON).await;
    quiet.looked_at_again(&world.manager, &known).await;
    let seen = quiet.get(&known).await.expect("it is there");
    assert!(
        said(&seen, "Ready").starts_with("True/"),
        "a silent engine keeps its adapter: {}",
        seen["status"]
    );
    assert_eq!(quiet.asked(pod, Call::Load).len(), 6);
}

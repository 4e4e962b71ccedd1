// SPDX-License-Identifier: Apache-2.0
//! Input that is wrong or meant badly, on objects that admission did not see and from engines.

use aibrix_controller_manager::testkit::fake_engine::{Fault, LoraEngine, Page};
use http::StatusCode;
use serde_json::json;

use super::{
    scene::{Call, ENGINE, Scene, counts, message, phase, said},
    sidecar::pod_with_sidecar,
    world::{SOON, bare},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn artifacts_that_are_paths_in_disguise_are_not_handed_on() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "tricks").await;
    let pod = scene.pod("web-0").await;
    for (n, url) in ["hf:///etc/passwd", "huggingface://a/../../etc", "hf://", "huggingface://?x", "hf://./a"]
        .iter()
        .enumerate()
    {
        let mut it = scene.adapter(&format!("trick-{n}"));
        it["spec"]["artifactURL"] = json!(url);
        scene.create(&it).await;
        let seen = scene.until_said(&it, "Ready", "False/ModelAdapterLoadingError", SOON).await;
        assert_eq!(phase(&seen), "Failed", "{url}");
        assert!(message(&seen, "Ready").contains("artifact URL"), "{}", message(&seen, "Ready"));
    }
    assert_eq!(scene.count(pod, Call::Load), 0);
    // What AIBrix takes without its webhook is taken: the engine decides.
    for (name, url) in [("bare", "org/repo"), ("odd", "weird://x y\u{1F600}")] {
        let mut it = scene.adapter(name);
        it["spec"]["artifactURL"] = json!(url);
        scene.run(&it, &["web-0"]).await;
        assert_eq!(scene.asked(pod, Call::Load).pop().unwrap().json()["lora_path"], url);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_in_urls_and_settings_are_told_to_nobody_else() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "told").await;
    let pod = scene.pod("web-0").await;
    let mut it = scene.adapter("sql");
    it["spec"]["artifactURL"] = json!("s3://user:pa55word@bucket/key?signature=abcdefghij");
    it["spec"]["additionalConfig"] = json!({"api-key": "kkkkkkkk", "other": "oooooooo"});
    scene.refuse(
        pod,
        Call::Load,
        500,
        "cannot read s3://user:pa55word@bucket/key?signature=abcdefghij as kkkkkkkk",
    );
    scene.create(&it).await;
    let seen = scene.until_said(&it, "Ready", "False/ModelAdapterLoadingError", SOON).await;
    scene.until_event("sql", "Warning LoadFailed: ").await;
    scene.accept(pod);
    scene.until_on(&it, &["web-0"], SOON).await;
    scene.delete(&it).await;
    scene.until_gone(&it, SOON).await;
    let metrics = world.manager.metrics().await.expect("metrics");
    let told =
        format!("{} {:?} {} {metrics}", seen["status"], scene.events("sql").await, world.manager.log());
    for secret in ["pa55word", "abcdefghij", "kkkkkkkk", "oooooooo"] {
        assert!(!told.contains(secret), "{secret} is told: {}", seen["status"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_key_cannot_carry_headers() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "inject").await;
    let pod = scene.pod("web-0").await;
    let mut it = scene.adapter("sql");
    it["spec"]["additionalConfig"] = json!({"api-key": "secret-key\r\nX-Evil: 1"});
    scene.create(&it).await;
    let seen = scene.until(&it, SOON, "it has failed", |seen| phase(seen) == "Failed").await;
    assert!(said(&seen, "Ready").starts_with("False/"), "{}", seen["status"]);
    assert!(!message(&seen, "Ready").contains("secret-key"), "{}", message(&seen, "Ready"));
    assert!(scene.engines.journal.of(pod).iter().all(|entry| entry.header("x-evil").is_empty()));
    assert_eq!(scene.count(pod, Call::Load), 0);
    // Others go on, and it can be mended or deleted.
    scene.run(&scene.adapter("other"), &["web-0"]).await;
    scene.patch(&it, &json!({"spec": {"additionalConfig": null}})).await;
    scene.until_on(&it, &["web-0"], SOON).await;
    scene.patch(&it, &json!({"spec": {"additionalConfig": {"api-key": "a\nb"}}})).await;
    scene.delete(&it).await;
    scene.until_gone(&it, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engines_that_answer_nonsense_fail_in_bounds() {
    let world = bare().await;
    let html = Page::ok("<html><body>Welcome to nginx!</body></html>");
    let moved = Page { status: StatusCode::FOUND, ..Page::ok("moved") };
    let megabytes = Page { status: StatusCode::INTERNAL_SERVER_ERROR, ..Page::fault(Fault::Endless) };
    for (name, path, page, text) in [
        ("html", "/v1/models", html, "failed to get models: "),
        ("endless", "/v1/models", Page::fault(Fault::Endless), "failed to get models: "),
        ("moved", "/v1/models", moved.clone(), "failed to get models (status 302): moved"),
        ("reset", "/v1/models", Page::fault(Fault::Reset), "failed to get models: "),
        ("moved-load", "/v1/load_lora_adapter", moved, "failed to load LoRA adapter (status 302): moved"),
        ("megabytes", "/v1/load_lora_adapter", megabytes, "failed to load LoRA adapter (status 500): "),
    ] {
        let scene = Scene::new(&world.plane, name).await;
        let pod = scene.pod("web-0").await;
        scene.engines.set(Some(pod), path, page);
        let it = scene.adapter("sql");
        scene.create(&it).await;
        let seen = scene.until_said(&it, "Ready", "False/ModelAdapterLoadingError", SOON).await;
        assert_eq!(phase(&seen), "Failed", "{name}");
        let said = message(&seen, "Ready");
        assert!(said.contains(text), "{name}: {said}");
        assert!(said.chars().count() <= 4096, "{name}");
        if path == "/v1/models" {
            assert_eq!(scene.count(pod, Call::Load), 0, "{name}: unknown is not empty");
        }
        // Mended, it is found within the retries.
        scene.engines.clear(Some(pod));
        scene.until_on(&it, &["web-0"], SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_that_are_no_ports_mean_the_usual_one() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "no-ports").await;
    let mut names = Vec::new();
    for (n, label) in ["0", "70000", "abc", "1e3", ""].iter().enumerate() {
        let name = format!("web-{n}");
        let mut pod = scene.bare_pod(&name);
        pod["metadata"]["labels"]["model.aibrix.ai/port"] = json!(label);
        scene.make(&pod, LoraEngine::default(), &json!({})).await;
        names.push(name);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    scene.run(&scene.adapter("sql"), &names).await;
    assert!(scene.engines.journal.entries().iter().all(|entry| entry.port == ENGINE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn selector_that_is_none_is_said_to_be() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "operator").await;
    let pod = scene.pod("web-0").await;
    for (name, expression) in [
        ("operator", json!({"key": "app", "operator": "Near", "values": ["web"]})),
        ("valueless", json!({"key": "app", "operator": "In"})),
    ] {
        let mut it = scene.adapter(name);
        it["spec"]["podSelector"] = json!({"matchExpressions": [expression]});
        scene.create(&it).await;
        let seen = scene.until_said(&it, "Ready", "False/ValidationFailed", SOON).await;
        assert_eq!((phase(&seen).as_str(), counts(&seen).2), ("Failed", 0));
        scene
            .patch(
                &it,
                &json!({"spec": {"podSelector": {"matchLabels": {"app": "web"}, "matchExpressions": null}}}),
            )
            .await;
        scene.until_on(&it, &["web-0"], SOON).await;
    }
    assert_eq!(scene.count(pod, Call::Load), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secret_that_is_no_text_is_an_error_of_one_adapter() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "binary").await;
    let pod = pod_with_sidecar(&scene, "web-0").await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "binary", "namespace": scene.ns},
                        "data": {"key": "/wD+"}});
    scene.create(&secret).await;
    let mut it = scene.adapter("sql");
    it["spec"]["artifactURL"] = json!("s3://bucket/key");
    it["spec"]["credentialsSecretRef"] = json!({"name": "binary"});
    scene.create(&it).await;
    // Refused, or handed on with replacement characters: but never a crash, and others go on.
    scene
        .until(&it, SOON, "something is said", |seen| matches!(phase(seen).as_str(), "Failed" | "Running"))
        .await;
    let mut other = scene.adapter("other");
    other["spec"]["artifactURL"] = json!("s3://bucket/key");
    scene.run(&other, &["web-0"]).await;
    assert!(scene.engines.loaded(pod).contains_key("other"));
    assert!(!world.manager.log().contains("panic"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adapter_with_the_name_of_the_base_model_is_warned_of() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "conflict").await;
    let mut pod = scene.bare_pod("web-0");
    pod["metadata"]["labels"]["model.aibrix.ai/name"] = json!("base");
    let pod = scene.make(&pod, LoraEngine::default(), &json!({})).await;
    scene.run(&scene.adapter("base"), &["web-0"]).await;
    assert_eq!(scene.count(pod, Call::Load), 0, "the engine lists it");
    scene.until_event("base", "Warning NameConflict: ").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stale_annotations_of_a_go_manager_are_ignored() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "stale").await;
    let pod = scene.pod("web-0").await;
    scene.engines.change(pod, |engine| engine.put_adapter("sql", "/models/sql"));
    let mut it = scene.adapter("sql");
    it["metadata"]["annotations"] = json!({
        "adapter.model.aibrix.ai/scheduled-pods": "nobody",
        "adapter.model.aibrix.ai/retry-count.web-0": "5",
        "adapter.model.aibrix.ai/last-retry-time.web-0": "2199-01-01T00:00:00Z",
    });
    scene.run(&it, &["web-0"]).await;
    // Adopted without a load, and not loaded again later either.
    scene.looked_at_again(&world.manager, &it).await;
    assert_eq!(scene.count(pod, Call::Load) + scene.count(pod, Call::Unload), 0, "it is adopted");
}

// SPDX-License-Identifier: Apache-2.0
//! Finalizers and unloading.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::wait::instant;

use super::{
    scene::{Call, Scene, finalizers, message, phase, version},
    sidecar::pod_with_sidecar,
    world::{SOON, bare},
};

// scenario: model-adapter-and-router 47
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_adapter_is_unloaded_everywhere_before_it_goes() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "delete").await;
    let direct = scene.pod("web-0").await;
    let beside = pod_with_sidecar(&scene, "web-1").await;
    let mut it = scene.adapter("sql");
    it["spec"]["artifactURL"] = json!("s3://bucket/key");
    let seen = scene.run(&it, &["web-0", "web-1"]).await;
    for child in [scene.service("sql"), scene.slice("sql")] {
        let child = scene.get(&child).await.expect("a child");
        let owners = child["metadata"]["ownerReferences"].as_array().expect("an owner").clone();
        assert_eq!(owners.len(), 1);
        assert_eq!((&owners[0]["uid"], &owners[0]["controller"]), (&seen["metadata"]["uid"], &json!(true)));
    }
    scene.delete(&it).await;
    scene.until_gone(&it, SOON).await;
    let unloads = [scene.asked(direct, Call::Unload), scene.asked(beside, Call::Unload)];
    assert_eq!(unloads.each_ref().map(Vec::len), [1, 1]);
    assert_eq!(unloads[0][0].body.as_deref(), Some(r#"{"lora_name":"sql"}"#));
    assert_eq!(unloads[1][0].body.as_deref(), Some(r#"{"lora_name":"sql","cleanup_local":true}"#));
    for pod in [direct, beside] {
        assert!(scene.engines.loaded(pod).is_empty());
    }
    // And it stays so: nobody loads what is gone, while what came later is loaded.
    let mut later = it.clone();
    later["metadata"]["name"] = json!("later");
    scene.run(&later, &["web-0", "web-1"]).await;
    for pod in [direct, beside] {
        assert_eq!(scene.engines.loaded(pod).into_keys().collect::<Vec<_>>(), ["later"]);
        assert_eq!(scene.count(pod, Call::Load), 2);
    }
}

// scenario: model-adapter-and-router 48
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletion_does_not_depend_on_engines() {
    let world = bare().await;
    for (what, code) in [("gone", 0), ("stopped", 0), ("refuses", 500), ("knows-nothing", 404)] {
        let scene = Scene::new(&world.plane, what).await;
        let pod = scene.pod("web-0").await;
        let it = scene.adapter("sql");
        scene.run(&it, &["web-0"]).await;
        match what {
            "gone" => scene.delete_pod("web-0").await,
            "stopped" => scene.stop(pod).await,
            _ => scene.refuse(pod, Call::Unload, code, "no"),
        }
        scene.delete(&it).await;
        scene.until_gone(&it, Duration::from_secs(10)).await;
        if code != 0 {
            assert!(scene.count(pod, Call::Unload) >= 1, "{what}: it was asked");
        }
    }
}

// scenario: model-adapter-and-router 49
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletion_waits_half_a_minute_at_most() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "holes").await;
    let mut pods = Vec::new();
    for n in 0..6 {
        pods.push(scene.pod(&format!("web-{n}")).await);
    }
    let it = scene.adapter("sql");
    scene.create(&it).await;
    scene.until(&it, SOON, "it runs", |seen| phase(seen) == "Running").await;
    // One swallows whatever arrives, the others take the request and say nothing.
    scene.stop(pods[0]).await;
    let _hole = BlackHole::at(pods[0]);
    for pod in &pods[1..] {
        scene.silence(*pod, Call::Unload);
        scene.silence(*pod, Call::Models);
    }
    scene.delete(&it).await;
    let from = instant();
    scene.until_gone(&it, Duration::from_secs(40)).await;
    // Thirty, and a moment. One after the other they would take sixty.
    assert!(from.elapsed() < Duration::from_secs(35), "it took {:?}", from.elapsed());
}

/// A listener whose queue is full: the kernel drops whoever wants to connect.
struct BlackHole {
    _listener: socket2::Socket,
    _queue: Vec<socket2::Socket>,
}

impl BlackHole {
    fn at(address: IpAddr) -> Self {
        let place = SocketAddr::from((address, super::scene::ENGINE));
        let new = || {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            socket.expect("a socket")
        };
        let listener = new();
        listener.set_reuse_address(true).expect("reuse the address");
        listener.bind(&place.into()).expect("bind");
        listener.listen(0).expect("listen");
        let queue = (0..4)
            .map(|_| {
                let client = new();
                client.set_nonblocking(true).expect("do not block");
                // Under way, or refused because the queue is full: both is meant.
                drop(client.connect(&place.into()));
                client
            })
            .collect();
        Self { _listener: listener, _queue: queue }
    }
}

// scenario: model-adapter-and-router 50
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adapter_without_a_selector_fails_and_can_be_deleted() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "empty").await;
    let pod = scene.pod("web-0").await;
    let mut it = scene.adapter("sample");
    it.as_object_mut().unwrap().remove("spec");
    let mut null = scene.adapter("null");
    null["spec"] = Value::Null;
    for it in [it, null] {
        scene.create(&it).await;
        let seen = scene.until_said(&it, "Ready", "False/ValidationFailed", SOON).await;
        assert_eq!(phase(&seen), "Failed");
        assert_eq!(message(&seen, "Ready"), "spec.podSelector is required");
        let touched = scene.looked_at_again(&world.manager, &it).await;
        let seen = scene.get(&it).await.expect("it is there");
        assert_eq!(version(&seen), version(&touched), "it is left alone: {}", seen["status"]);
        scene.delete(&it).await;
        scene.until_gone(&it, SOON).await;
    }
    assert_eq!(scene.engines.journal.of(pod), [], "no pod is touched");
    assert_eq!(world.manager.exit_status(), None);
    assert!(!world.manager.log().contains("panic"), "no crash loop");
}

// scenario: model-adapter-and-router 51
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_finalizers_are_kept() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "finalizers").await;
    let pod = scene.pod("web-0").await;
    let mut it = scene.adapter("sql");
    it["metadata"]["finalizers"] = json!(["example.com/first", "example.com/second"]);
    let seen = scene.run(&it, &["web-0"]).await;
    let ours = "adapter.model.aibrix.ai/finalizer".to_owned();
    let mut all = finalizers(&seen);
    all.sort();
    assert_eq!(all, [ours.clone(), "example.com/first".into(), "example.com/second".into()]);
    scene.delete(&it).await;
    let seen = scene.until(&it, SOON, "ours is gone", |seen| !finalizers(seen).contains(&ours)).await;
    assert_eq!(finalizers(&seen), ["example.com/first", "example.com/second"]);
    assert_eq!(scene.count(pod, Call::Unload), 1);
    scene.looked_at_again(&world.manager, &it).await;
    let seen = scene.get(&it).await.expect("it is there");
    assert_eq!(finalizers(&seen).len(), 2, "it is not guarded again: {}", seen["metadata"]);
    scene.patch(&it, &json!({"metadata": {"finalizers": null}})).await;
    scene.until_gone(&it, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_that_was_under_way_is_unloaded_too() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "under-way").await;
    let pod = scene.pod("web-0").await;
    scene.engines.change(pod, |engine| engine.like.load_ms = 4000);
    let it = scene.adapter("sql");
    scene.create(&it).await;
    scene.until_asked(pod, Call::Load, 1, SOON).await;
    scene.delete(&it).await;
    scene.until_gone(&it, Duration::from_secs(35)).await;
    // A load that began later takes as long: when that has ended, the engine has ended the first one, too.
    scene.run(&scene.adapter("later"), &["web-0"]).await;
    let loaded: Vec<_> = scene.engines.loaded(pod).into_keys().collect();
    assert_eq!(loaded, ["later"], "the engine does not keep what nobody knows of");
}

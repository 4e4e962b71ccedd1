// SPDX-License-Identifier: Apache-2.0
//! New images for running pods.

use kube::ResourceExt;
use serde_json::json;

use super::world::{PREFIX, Scene, image, label, role, with};

// scenario: role-set-and-pod-set 28, 34, 37
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_is_changed_in_the_running_pod() {
    let scene = Scene::new("inplace").await;
    let of = |image: &str| {
        let mut role = with(
            role("worker", 1, image),
            &json!({"updateStrategy": {"type": "InPlaceIfPossible", "maxUnavailable": 1}}),
        );
        role["template"]["spec"]["containers"][0]["readinessProbe"] = json!({"httpGet": {"port": 8000}});
        role["template"]["spec"]["volumes"] = json!([{"name": "config", "configMap": {"name": "config"}}]);
        role
    };
    let it = scene.role_set("set", "Parallel", &[of("engine:1")]);
    scene.create(&it).await;
    let selected = ("roleset-name", "set");
    let pods = scene.until_pods(selected, "a pod", |pods| pods.len() == 1).await;
    let (name, pod) = pods.into_iter().next().expect("a pod");
    let (uid, hash) = (pod.uid(), label(&pod, "role-template-hash"));
    scene.kubelet.ready(&name).await;
    let running = |id: &str, ready: bool| {
        json!({
            "conditions": crate::support::kubelet::conditions(ready, std::time::Duration::ZERO),
            "containerStatuses": [{"name": "main", "image": "engine", "imageID": id, "ready": ready, "restartCount": 0,
                "state": {"running": {}}}],
        })
    };
    scene.kubelet.patch(&name, &running("sha:1", true)).await;
    let api: kube::Api<k8s_openapi::api::core::v1::Pod> =
        kube::Api::namespaced(scene.client.clone(), &scene.ns);
    let note = kube::api::Patch::Merge(json!({"metadata": {"annotations": {"cni.example.com/ip": "1"}}}));
    api.patch(&name, &kube::api::PatchParams::default(), &note).await.expect("annotate");
    scene.until(&it, "it is ready", |seen| super::world::said(seen, "Ready").starts_with("True")).await;
    scene.patch(&it, &json!({"spec": {"roles": [of("engine:2")]}})).await;
    let target = format!("{PREFIX}/in-place-update-target-hash");
    let pods = scene
        .until_pods(selected, "it has the image", |pods| pods.values().all(|pod| image(pod) == "engine:2"))
        .await;
    let pod = &pods[&name];
    assert_eq!((pod.uid(), label(pod, "role-template-hash")), (uid.clone(), hash.clone()));
    assert!(pod.annotations().contains_key(&target), "{:?}", pod.annotations());
    assert!(pod.annotations().contains_key(&format!("{PREFIX}/in-place-update-state")));
    scene.until_event("set", "Normal InPlaceUpdateStarted: role worker pod ").await;
    scene.kubelet.patch(&name, &running("sha:1", true)).await;
    let reason = format!("{PREFIX}/in-place-update-pending-reason");
    scene
        .until_pods(selected, "the image runs not yet", |pods| {
            pods[&name].annotations().get(&reason).is_some_and(|it| it == "ImageIDUnchanged")
        })
        .await;
    scene.kubelet.patch(&name, &running("sha:2", true)).await;
    let pods = scene
        .until_pods(selected, "it is complete", |pods| label(&pods[&name], "role-template-hash") != hash)
        .await;
    assert_eq!(pods[&name].uid(), uid);
    let left: Vec<&String> =
        pods[&name].annotations().keys().filter(|key| key.contains("in-place")).collect();
    assert!(left.is_empty(), "{left:?}");
    scene.until_event("set", "Normal InPlaceUpdateCompleted: role worker pod ").await;
}

// scenario: role-set-and-pod-set 33
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_change_replaces_the_pod() {
    let scene = Scene::new("fallback").await;
    let of = |command: &str| {
        let mut role = with(
            role("worker", 1, "engine:1"),
            &json!({"updateStrategy": {"type": "InPlaceIfPossible", "maxUnavailable": 1}}),
        );
        role["template"]["spec"]["containers"][0]["command"] = json!([command]);
        role
    };
    let it = scene.role_set("set", "Parallel", &[of("a")]);
    scene.create(&it).await;
    scene.ready_until(&it, "it is ready", |seen| super::world::said(seen, "Ready").starts_with("True")).await;
    let selected = ("roleset-name", "set");
    let before = scene.pods(selected.0, selected.1).await;
    scene.patch(&it, &json!({"spec": {"roles": [of("b")]}})).await;
    scene
        .until_pods(selected, "another pod", |pods| {
            pods.len() == 1 && pods.keys().all(|name| !before.contains_key(name))
        })
        .await;
    let event = scene.until_event("set", "Normal InPlaceFallback: role worker pod ").await;
    assert!(
        event.ends_with("cannot be updated in place: non-image pod fields changed; falling back to recreate"),
        "{event}"
    );
}

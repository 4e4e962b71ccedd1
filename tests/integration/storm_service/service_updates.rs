// SPDX-License-Identifier: Apache-2.0
//! StormServices that are updated in place, and those that are as wanted.

use std::time::Duration;

use kube::ResourceExt;
use serde_json::{Value, json};

use crate::support::{history::History, kubelet::conditions, objects};

use super::{
    services::{COUNTS, service, sets, status},
    world::{API_VERSION, PREFIX, Scene, image, label, role, said, with},
};

const NAMED: (&str, &str) = ("storm-service-name", "llm");

/// A role whose pods get new images while they run.
pub(super) fn in_place(image: &str, command: &str) -> Value {
    let strategy =
        json!({"updateStrategy": {"type": "InPlaceIfPossible", "maxSurge": 0, "maxUnavailable": 1}});
    let mut role = with(role("worker", 1, image), &strategy);
    role["template"]["spec"]["containers"][0]["command"] = json!([command]);
    role
}

/// The status of a pod whose container runs what has this id.
pub(super) fn running(id: &str) -> Value {
    json!({
        "conditions": conditions(true, Duration::ZERO), "phase": "Running",
        "containerStatuses": [{"name": "main", "image": "engine", "imageID": id, "ready": true, "restartCount": 0,
            "state": {"running": {}}}],
    })
}

// scenario: storm-service 22-23
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_is_changed_in_the_running_pod_and_a_command_replaces_it() {
    let scene = Scene::new("updates").await;
    let mut it = service(&scene, "llm", Some(1), &[in_place("engine:1", "a")]);
    it["spec"]["updateStrategy"] = json!({"type": "InPlaceUpdate"});
    it["spec"]["template"]["spec"]["updateStrategy"] = json!("Parallel");
    scene.create(&it).await;
    let pods = scene.until_pods(NAMED, "a pod", |pods| pods.len() == 1).await;
    let (name, pod) = pods.into_iter().next().expect("a pod");
    scene.kubelet.patch(&name, &running("sha:1")).await;
    let settled = |seen: &Value| {
        status(seen, &COUNTS) == [1, 1, 0, 1, 1, 1]
            && said(seen, "Ready") == "True/Ready"
            && seen["status"]["observedGeneration"] == seen["metadata"]["generation"]
    };
    scene.until(&it, "it is ready", settled).await;
    let revision = format!("{PREFIX}/role-revision");
    let hash = label(&pod, "role-template-hash");
    let to = |image: &str, command: &str| json!({"spec": {"template": {"spec": {"roles": [in_place(image, command)]}}}});
    let api = objects::api(&scene.client, API_VERSION, "StormService", Some(&scene.ns)).await;
    let told = History::of(api, "llm").await;
    let mark = told.mark().await;
    scene.patch(&it, &to("engine:2", "a")).await;
    let pods = scene
        .until_pods(NAMED, "it has the image", |pods| pods.values().all(|pod| image(pod) == "engine:2"))
        .await;
    let changed = &pods[&name];
    assert_eq!((changed.uid(), label(changed, "role-template-hash")), (pod.uid(), hash.clone()));
    assert_eq!(label(changed, &revision), "1");
    let observed = |seen: &Value| seen["status"]["observedGeneration"] == seen["metadata"]["generation"];
    scene.until(&it, "the edit is told", observed).await;
    let versions = told.since(mark).await;
    let early =
        versions.iter().filter(|seen| observed(seen) && seen["status"]["updatedReplicas"].as_i64() > Some(0));
    assert_eq!(early.count(), 0, "nothing counts as updated before the new image runs");
    scene.kubelet.patch(&name, &running("sha:2")).await;
    scene.until(&it, "it is ready again", settled).await;
    let pods = scene.pods(NAMED.0, NAMED.1).await;
    assert_eq!((pods[&name].uid(), label(&pods[&name], &revision).as_str()), (pod.uid(), "2"));
    assert_ne!(label(&pods[&name], "role-template-hash"), hash);

    scene.patch(&it, &to("engine:2", "b")).await;
    let pods = scene
        .until_pods(NAMED, "another pod", |pods| {
            pods.len() == 1 && pods.values().all(|it| it.uid() != pod.uid())
        })
        .await;
    for (name, pod) in pods {
        assert_eq!(label(&pod, &revision), "3");
        scene.kubelet.patch(&name, &running("sha:2")).await;
    }
    scene.until(&it, "it is ready once more", settled).await;
}

// scenario: storm-service 35
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_over_what_is_as_wanted_write_nothing() {
    let scene = Scene::new("quiet").await;
    let mut it = service(&scene, "llm", Some(1), &[in_place("engine:1", "a && b")]);
    it["spec"]["template"]["spec"]["roles"][0]["template"]["spec"]["containers"][0]["resources"] =
        json!({"limits": {"cpu": "1000m", "memory": "1024Mi"}});
    scene.create(&it).await;
    scene.ready_until(&it, "it is ready", |seen| said(seen, "Ready") == "True/Ready").await;
    let first = sets(&scene, "llm").await.remove(0);
    let recording = async |like: &Value| {
        let api = objects::api_of(&scene.client, like).await;
        History::of(api, like["metadata"]["name"].as_str().expect("a name")).await
    };
    let of = |api_version: &str, kind: &str, name: &Value| json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": scene.ns}});
    let revision = first["metadata"]["labels"]["storm-service-revision"].clone();
    let recordings = [
        recording(&first).await,
        recording(&of("v1", "Service", &json!("llm"))).await,
        recording(&of("apps/v1", "ControllerRevision", &revision)).await,
    ];
    let own = recording(&it).await;
    let mark = own.mark().await;
    for n in 0..5 {
        scene.patch(&it, &json!({"metadata": {"annotations": {"example.com/look": n.to_string()}}})).await;
    }
    // Whatever those passes would have written comes before what this one brings about.
    scene.patch(&it, &json!({"spec": {"replicas": 2}})).await;
    scene
        .ready_until(&it, "it is scaled", |seen| {
            status(seen, &COUNTS[..2]) == [2, 2] && said(seen, "Ready") == "True/Ready"
        })
        .await;
    for recording in &recordings {
        assert_eq!(recording.all().await.len(), 1);
    }
    let times = |seen: &Value| {
        let conditions = seen["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.into_iter().find(|it| it["type"] == "Ready").map(|it| it["lastTransitionTime"].clone())
    };
    let versions = own.since(mark).await;
    let untouched: Vec<&Value> = versions.iter().filter(|seen| seen["spec"]["replicas"] == 1).collect();
    assert_eq!(untouched.len(), 5, "the annotations and nothing else");
    assert!(untouched.windows(2).all(|pair| times(pair[0]) == times(pair[1])));
}

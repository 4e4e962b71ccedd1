// SPDX-License-Identifier: Apache-2.0
//! Updates in place of pods with our readiness gate. The test keeps pods from being ready as long as a gate is closed, as
//! kubelet does.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::DynamicObject};
use serde_json::{Value, json};

use crate::support::history::History;

use super::world::{PREFIX, Scene, image, label, role, with};

fn gate() -> String {
    format!("{PREFIX}/in-place-update-ready")
}

/// Status of a condition; empty: nobody has set it.
fn condition(pod: &Value, kind: &str) -> String {
    let conditions = pod["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|it| it["type"] == kind);
    found.and_then(|it| it["status"].as_str()).unwrap_or_default().to_owned()
}

fn json_of(pod: &Pod) -> Value {
    serde_json::to_value(pod).expect("JSON")
}

/// What kubelet says: the containers are ready and run this image, and so is the pod, if its gates are open.
async fn runs(scene: &Scene, pod: &Pod, image_id: &str) {
    let seen = json_of(pod);
    let gates = seen["spec"]["readinessGates"].as_array();
    let text = |it: &Value| it["conditionType"].as_str().unwrap_or_default().to_owned();
    let open = gates.into_iter().flatten().all(|it| condition(&seen, &text(it)) == "True");
    let said =
        |kind: &str, holds: bool| json!({"type": kind, "status": if holds { "True" } else { "False" }});
    let others = seen["status"]["conditions"].as_array().into_iter().flatten();
    let others = others.filter(|it| it["type"] != "Ready" && it["type"] != "ContainersReady").cloned();
    let conditions: Vec<Value> =
        [said("ContainersReady", true), said("Ready", open)].into_iter().chain(others).collect();
    let status = json!({
        "phase": "Running", "conditions": conditions,
        "containerStatuses": [{"name": "main", "image": "engine", "imageID": image_id, "ready": true, "restartCount": 0,
            "state": {"running": {}}}],
    });
    scene.kubelet.patch(&pod.name_any(), &status).await;
}

// scenario: role-set-and-pod-set 29, 55
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gate_closes_before_an_update_and_opens_before_its_label() {
    let scene = Scene::new("gated").await;
    let of = |image: &str| {
        let mut role = with(
            role("worker", 1, image),
            &json!({"updateStrategy": {"type": "InPlaceIfPossible", "maxUnavailable": 1}}),
        );
        role["template"]["spec"]["readinessGates"] = json!([{"conditionType": gate()}]);
        role
    };
    let it = scene.role_set("set", "Parallel", &[of("engine:1")]);
    scene.create(&it).await;
    let selected = ("roleset-name", "set");
    let is = |pod: &Pod, open: &str| condition(&json_of(pod), &gate()) == open;
    let only = |pods: &std::collections::BTreeMap<String, Pod>| pods.values().next().cloned().expect("a pod");
    let pods = scene
        .until_pods(selected, "the gate is open", |pods| {
            pods.len() == 1 && pods.values().all(|pod| is(pod, "True"))
        })
        .await;
    let pod = only(&pods);
    runs(&scene, &pod, "sha:1").await;
    scene.until(&it, "it is ready", |seen| super::world::said(seen, "Ready").starts_with("True")).await;
    let api: Api<DynamicObject> =
        crate::support::objects::api(&scene.client, "v1", "Pod", Some(&scene.ns)).await;
    let history = History::of(api, &pod.name_any()).await;

    scene.patch(&it, &json!({"spec": {"roles": [of("engine:2")]}})).await;
    let pods = scene
        .until_pods(selected, "it has the image", |pods| pods.values().all(|pod| image(pod) == "engine:2"))
        .await;
    let (hash, uid) = (label(&pod, "role-template-hash"), pod.uid());
    let pod = only(&pods);
    assert!(is(&pod, "False") && condition(&json_of(&pod), "Ready") == "False");
    runs(&scene, &pod, "sha:1").await;
    let reason = format!("{PREFIX}/in-place-update-pending-reason");
    let waits = |pod: &Pod| pod.annotations().get(&reason).is_some_and(|it| it == "ImageIDUnchanged");
    let pods = scene.until_pods(selected, "the old image runs", |pods| pods.values().all(waits)).await;
    runs(&scene, &only(&pods), "sha:2").await;
    let pods = scene
        .until_pods(selected, "it is complete", |pods| label(&only(pods), "role-template-hash") != hash)
        .await;
    let pod = only(&pods);
    assert_eq!((pod.uid(), is(&pod, "True")), (uid, true));
    assert!(pod.annotations().keys().all(|key| !key.contains("in-place")), "{:?}", pod.annotations());

    let stored: Vec<Value> = history.all().await;
    let place = |what: &str, holds: &dyn Fn(&Value) -> bool| {
        stored.iter().position(holds).unwrap_or_else(|| panic!("never: {what}"))
    };
    let hash_of =
        |pod: &Value| pod["metadata"]["labels"]["role-template-hash"].as_str().unwrap_or("").to_owned();
    let image_of = |pod: &Value| pod["spec"]["containers"][0]["image"].as_str().unwrap_or("").to_owned();
    let closed = place("closed", &|pod| condition(pod, &gate()) == "False");
    let changed = place("changed", &|pod| image_of(pod) == "engine:2");
    let opened = place("opened", &|pod| image_of(pod) == "engine:2" && condition(pod, &gate()) == "True");
    let labelled = place("labelled", &|pod| hash_of(pod) != hash);
    assert!(
        closed < changed && changed < opened && opened < labelled,
        "{closed} {changed} {opened} {labelled}"
    );
    assert_eq!(condition(&stored[opened], "Ready"), "False");
    let gate_conditions = |pod: &Value| {
        let all = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|it| it["type"] == gate()).expect("the condition")
    };
    assert!(stored[opened..].iter().all(|pod| !gate_conditions(pod)["lastTransitionTime"].is_null()));
}

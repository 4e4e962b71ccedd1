// SPDX-License-Identifier: Apache-2.0
//! Topology policies of RoleSets.

use k8s_openapi::api::core::v1::{Pod, PodAffinity};
use serde_json::{Value, json};

use crate::support::objects;

use super::world::{API_VERSION, Scene, role, said, with};

/// Key and labels of the preferred and of the required terms.
fn terms(affinity: Option<&PodAffinity>) -> (Vec<Value>, Vec<Value>) {
    let json = json!(affinity);
    let list = |name: &str| json[name].as_array().cloned().unwrap_or_default();
    (
        list("preferredDuringSchedulingIgnoredDuringExecution"),
        list("requiredDuringSchedulingIgnoredDuringExecution"),
    )
}

fn of_pod(pod: &Pod) -> (Vec<Value>, Vec<Value>) {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
    terms(affinity.and_then(|affinity| affinity.pod_affinity.as_ref()))
}

// scenario: role-set-and-pod-set 49
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_is_affinity_of_new_pods_and_of_templates_of_groups() {
    let scene = Scene::new("topology").await;
    let scopes = [
        ("RoleSet", json!({"storm-service-name": "svc", "roleset-name": "roleset"})),
        ("StormService", json!({"storm-service-name": "svc"})),
        ("Role", json!({"storm-service-name": "svc", "role-name": "single"})),
    ];
    for (scope, labels) in scopes {
        for mode in [None, Some("Preferred"), Some("Required")] {
            let name = format!("{}{}", scope.to_lowercase(), mode.unwrap_or_default().to_lowercase());
            let group = with(role("group", 1, "engine:1"), &json!({"podGroupSize": 2}));
            let mut it = scene.role_set(&name, "Parallel", &[role("single", 1, "engine:1"), group]);
            it["metadata"]["labels"] = json!({"storm-service-name": "svc"});
            it["spec"]["topologyPolicy"] = json!({"scope": scope, "key": "kubernetes.io/hostname"});
            if let Some(mode) = mode {
                it["spec"]["topologyPolicy"]["mode"] = json!(mode);
            }
            scene.create(&it).await;
            let selected = ("roleset-name", name.as_str());
            let pods = scene.until_pods(selected, "all pods", |pods| pods.len() == 3).await;
            let labels_for = |role: &str| {
                let mut labels = labels.clone();
                for (key, value) in [("roleset-name", name.as_str()), ("role-name", role)] {
                    if labels[key].is_string() {
                        labels[key] = json!(value);
                    }
                }
                labels
            };
            let wanted = |role: &str| {
                let term = json!({
                    "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": labels_for(role)},
                });
                match mode {
                    Some("Required") => (Vec::new(), vec![term]),
                    _ => (vec![json!({"weight": 100, "podAffinityTerm": term})], Vec::new()),
                }
            };
            for pod in pods.values() {
                let role = super::world::label(pod, "role-name");
                assert_eq!(of_pod(pod), wanted(&role), "{name} {role}");
            }
            let sets = objects::api(&scene.client, API_VERSION, "PodSet", Some(&scene.ns)).await;
            let selected = kube::api::ListParams::default().labels(&format!("roleset-name={name}"));
            let sets = sets.list(&selected).await.expect("list").items;
            let affinity = &sets[0].data["spec"]["template"]["spec"]["affinity"]["podAffinity"];
            let affinity: PodAffinity = serde_json::from_value(affinity.clone()).expect("affinity");
            assert_eq!((sets.len(), terms(Some(&affinity))), (1, wanted("group")), "{name}");
        }
    }
}

// scenario: role-set-and-pod-set 27, 50
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_comes_later_reaches_replacements_only() {
    let scene = Scene::new("latertopology").await;
    let mut it = scene.role_set("set", "Parallel", &[role("w", 1, "engine:1")]);
    it["metadata"]["labels"] = json!({"storm-service-name": "svc"});
    scene.create(&it).await;
    scene.ready_until(&it, "it is ready", |seen| said(seen, "Ready").starts_with("True")).await;
    let selected = ("roleset-name", "set");
    let only = async || scene.pods(selected.0, selected.1).await.into_iter().next().expect("a pod");
    let warning = "Warning TopologyPolicyPendingPodReplacement: TopologyPolicy changes do not update 1 active Pod; \
                   they will use the new affinity after replacement or recreation.";
    let (first, before) = only().await;
    let policy = |mode: &str| {
        json!({
            "metadata": {"labels": {"team": mode.to_lowercase()}},
            "spec": {"topologyPolicy": {"scope": "RoleSet", "key": "kubernetes.io/hostname", "mode": mode}},
        })
    };
    scene.patch(&it, &policy("Preferred")).await;
    scene.until_event("set", warning).await;
    let (name, pod) = only().await;
    assert_eq!((name, pod.metadata.uid), (first.clone(), before.metadata.uid));
    scene.kubelet.gone(&first).await;
    let second =
        scene.until_pods(selected, "another pod", |pods| pods.len() == 1 && !pods.contains_key(&first)).await;
    let (second, pod) = second.into_iter().next().expect("a pod");
    let (preferred, required) = of_pod(&pod);
    assert_eq!((preferred.len(), required.len()), (1, 0));
    scene.ready_until(&it, "it is ready", |seen| said(seen, "Ready").starts_with("True")).await;
    scene.patch(&it, &policy("Required")).await;
    // The pass that is about the policy has begun when a later one changes the number of pods.
    let two = json!({"spec": {"roles": [role("w", 2, "engine:1")]}});
    scene.patch(&it, &two).await;
    let pods = scene.until_pods(selected, "a second pod", |pods| pods.len() == 2).await;
    for (name, pod) in &pods {
        let (preferred, required) = of_pod(pod);
        let wanted = if *name == second { (1, 0) } else { (0, 1) };
        assert_eq!((preferred.len(), required.len()), wanted, "{name}");
    }
}

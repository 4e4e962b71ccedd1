// SPDX-License-Identifier: Apache-2.0
//! PodSets: groups, alone and as replicas of a role.

use kube::ResourceExt;
use serde_json::json;

use super::world::{PREFIX, Scene, counts, image, label, role, with};

// scenario: role-set-and-pod-set 38
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_may_be_a_group_of_pods() {
    let scene = Scene::new("grouped").await;
    let mut group = with(role("prefill", 1, "engine:1"), &json!({"podGroupSize": 2}));
    group["template"]["spec"]["initContainers"] = json!([{"name": "init", "image": "init:1"}]);
    let it = scene.role_set("set", "Sequential", &[group]);
    scene.create(&it).await;
    let pods = scene.until_pods(("roleset-name", "set"), "two pods", |pods| pods.len() == 2).await;
    for (index, (name, pod)) in pods.iter().enumerate() {
        let hash = label(pod, "role-template-hash");
        assert_eq!(*name, format!("set-prefill-{hash}-0-{index}"));
        assert_eq!(label(pod, &format!("{PREFIX}/podset-name")), format!("set-prefill-{hash}-0"));
        assert_eq!(label(pod, &format!("{PREFIX}/pod-group-index")), index.to_string());
        let spec = pod.spec.as_ref().expect("a spec");
        assert_eq!(spec.hostname.as_ref(), Some(name));
        let names = |container: &k8s_openapi::api::core::v1::Container| {
            let env = container.env.clone().unwrap_or_default();
            env.into_iter().map(|it| it.name).collect::<Vec<_>>()
        };
        assert_eq!(
            names(&spec.containers[0])[..4],
            ["PODSET_NAME", "POD_GROUP_INDEX", "POD_GROUP_SIZE", "STORM_SERVICE_NAME"]
        );
        let init = &spec.init_containers.as_ref().expect("init containers")[0];
        assert_eq!(names(init), ["PODSET_NAME", "POD_GROUP_INDEX", "POD_GROUP_SIZE"]);
    }
    scene
        .ready_until(&it, "the group is ready", |seen| counts(seen, "prefill") == Some([1, 1, 0, 1, 1]))
        .await;
}

// scenario: role-set-and-pod-set 41-45
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_pod_comes_back_alone_or_with_all_others() {
    let scene = Scene::new("group").await;
    for policy in ["ReplaceUnhealthy", "Recreate"] {
        let name = policy.to_lowercase();
        let spec = json!({
            "podGroupSize": 3, "recoveryPolicy": policy, "template": role("x", 1, "engine:1")["template"],
        });
        let it = scene.object("PodSet", &name, &spec);
        scene.create(&it).await;
        let key = format!("{PREFIX}/podset-name");
        let selected = (key.as_str(), name.as_str());
        let totals = |seen: &serde_json::Value| {
            let count = |field: &str| seen["status"][field].as_i64().unwrap_or(-1);
            (
                count("totalPods"),
                count("readyPods"),
                seen["status"]["phase"].as_str().unwrap_or("").to_owned(),
            )
        };
        scene.until(&it, "three pods", |seen| totals(seen) == (3, 0, "Pending".to_owned())).await;
        scene.kubelet.ready(&format!("{name}-0")).await;
        scene.until(&it, "one is ready", |seen| totals(seen) == (3, 1, "Running".to_owned())).await;
        scene.ready_until(&it, "all are ready", |seen| totals(seen) == (3, 3, "Ready".to_owned())).await;
        let before = scene.pods(selected.0, selected.1).await;
        let lost = format!("{name}-1");
        scene.kubelet.gone(&lost).await;
        let after = scene
            .until_pods(selected, "it is back", |pods| {
                let anew = |name: &String| pods.get(name).is_some_and(|pod| pod.uid() != before[name].uid());
                pods.len() == 3 && before.keys().all(|it| anew(it) == (policy == "Recreate" || *it == lost))
            })
            .await;
        if policy == "Recreate" {
            scene.until_event(&name, "Normal RecreatingAllPods: ").await;
        }
        scene
            .ready_until(&it, "all are ready again", |seen| totals(seen) == (3, 3, "Ready".to_owned()))
            .await;
        let failed = format!("{name}-2");
        scene.kubelet.failed(&failed, "Evicted").await;
        scene
            .until_pods(selected, "the failed one is replaced", |pods| {
                let anew = |name: &String| pods.get(name).is_some_and(|pod| pod.uid() != after[name].uid());
                pods.len() == 3 && after.keys().all(|it| anew(it) == (policy == "Recreate" || *it == failed))
            })
            .await;
        scene.patch(&it, &json!({"spec": {"podGroupSize": 2}})).await;
        scene
            .until_pods(selected, "two are left", |pods| pods.len() == 2 && !pods.contains_key(&failed))
            .await;
    }
}

// scenario: role-set-and-pod-set 39-40
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_replaced_whole_and_the_kind_of_replica_changes_in_between() {
    let scene = Scene::new("regrouped").await;
    let of = |image: &str, size: u32| {
        with(
            role("worker", 1, image),
            &json!({
                "podGroupSize": size,
                "updateStrategy": {"type": "InPlaceIfPossible", "maxSurge": 1, "maxUnavailable": 1},
            }),
        )
    };
    let it = scene.role_set("set", "Parallel", &[of("engine:1", 2)]);
    scene.create(&it).await;
    scene.ready_until(&it, "it is ready", |seen| counts(seen, "worker") == Some([1, 1, 0, 1, 1])).await;
    assert!(scene.events("set").await.iter().all(|event| !event.contains("InPlaceFallback")));
    let all = ("roleset-name", "set");
    let before = scene.pods(all.0, all.1).await;
    scene.patch(&it, &json!({"spec": {"roles": [of("engine:2", 2)]}})).await;
    scene.ready_until(&it, "it is replaced", |seen| counts(seen, "worker") == Some([1, 1, 0, 1, 1])).await;
    scene
        .until_pods(all, "other pods with the new image", |pods| {
            pods.len() == 2
                && pods.iter().all(|(name, pod)| !before.contains_key(name) && image(pod) == "engine:2")
        })
        .await;
    scene.until_event("set", "Normal InPlaceFallback: role worker uses PodSet").await;
    scene.patch(&it, &json!({"spec": {"roles": [of("engine:2", 1)]}})).await;
    scene
        .until_pods(all, "a pod of its own", |pods| {
            pods.len() == 1
                && label(pods.values().next().expect("a pod"), &format!("{PREFIX}/podset-name")) == "(none)"
        })
        .await;
}

// SPDX-License-Identifier: Apache-2.0
//! RoleSets: creation, scaling, rollouts, deletion.

use kube::ResourceExt;
use serde_json::{Value, json};

use crate::support::objects;

use super::world::{PREFIX, Scene, counts, image, label, role, said, with};

fn variables(pod: &k8s_openapi::api::core::v1::Pod) -> Vec<(String, String)> {
    let container = &pod.spec.as_ref().expect("a spec").containers[0];
    let env = container.env.clone().unwrap_or_default();
    env.into_iter().map(|it| (it.name, it.value.unwrap_or_default())).collect()
}

// scenario: role-set-and-pod-set 1-2, 4-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_of_roles_are_made_with_names_labels_and_variables() {
    let scene = Scene::new("made").await;
    let mut worker = role("worker", 2, "engine:1");
    worker["template"]["spec"]["containers"][0]["env"] = json!([
        {"name": "ROLESET_NAME", "value": "x"}, {"name": "A", "value": "1"},
        {"name": "ROLE_REPLICA_INDEX", "value": "7"}, {"name": "B", "value": "2"},
    ]);
    let mut it = scene.role_set("alone", "Sequential", &[worker, role("master", 1, "engine:1")]);
    it["metadata"]["labels"] = json!({"name": "n", "previous-owner": "p", "other": "o"});
    scene.create(&it).await;
    let pods = scene.until_pods(("roleset-name", "alone"), "three pods", |pods| pods.len() == 3).await;
    for (name, pod) in &pods {
        let role = label(pod, "role-name");
        assert!(name.starts_with(&format!("alone-{role}-")), "{name}");
        assert_eq!(name.len(), format!("alone-{role}-").len() + 5, "{name}");
        let hash = label(pod, "role-template-hash");
        assert!(
            hash.len() == 6 && hash.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit()),
            "{hash}"
        );
        assert_eq!(label(pod, "storm-service-name"), "");
        assert_eq!(label(pod, "name"), "n");
        assert_eq!(label(pod, "previous-owner"), "p");
        assert_eq!(label(pod, "other"), "(none)");
        assert_eq!(label(pod, &format!("{PREFIX}/role-replica-index")), "(none)");
        assert_eq!(pod.annotations().get(&format!("{PREFIX}/roleset-index")).map(String::as_str), Some(""));
        assert_eq!(pod.spec.as_ref().and_then(|spec| spec.hostname.clone()), None);
        let owner = &pod.owner_references()[0];
        assert_eq!((owner.controller, owner.block_owner_deletion), (Some(true), Some(true)));
        let names: Vec<String> = variables(pod).into_iter().map(|(name, _)| name).collect();
        let built_in =
            ["STORM_SERVICE_NAME", "ROLESET_NAME", "ROLESET_INDEX", "ROLE_NAME", "ROLE_TEMPLATE_HASH"];
        assert_eq!(names[..5], built_in);
        assert_eq!(names[5..], *if role == "worker" { &["A", "B"][..] } else { &["A"][..] });
        assert_eq!(variables(pod)[1].1, "alone");
    }
    let seen =
        scene.ready_until(&it, "all are ready", |seen| counts(seen, "worker") == Some([2, 2, 0, 2, 2])).await;
    assert_eq!(counts(&seen, "master"), Some([1, 1, 0, 1, 1]));
    assert_eq!(said(&seen, "Ready"), "True/roleset is ready");
    assert_eq!(seen["metadata"]["finalizers"], json!(["orchestration.aibrix.ai/roleset-finalizer"]));
}

// scenario: role-set-and-pod-set 3, 15-16
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stateful_pods_have_an_index_and_keep_it() {
    let scene = Scene::new("stateful").await;
    let decode = with(role("decode", 3, "engine:1"), &json!({"stateful": true}));
    let mut it = scene.role_set("svc-0", "Sequential", &[decode]);
    it["metadata"]["labels"] = json!({"storm-service-name": "svc"});
    it["metadata"]["annotations"] = json!({
        format!("{PREFIX}/roleset-index"): "1",
        format!("{PREFIX}/role-revision.decode"): "3",
        format!("{PREFIX}/role-revision-name.decode"): "svc-abc",
    });
    scene.create(&it).await;
    let selected = ("roleset-name", "svc-0");
    let pods = scene.until_pods(selected, "three pods", |pods| pods.len() == 3).await;
    let hash = label(pods.values().next().expect("a pod"), "role-template-hash");
    for (index, (name, pod)) in pods.iter().enumerate() {
        assert_eq!(*name, format!("svc-0-decode-{hash}-{index}"));
        assert_eq!(label(pod, &format!("{PREFIX}/role-replica-index")), index.to_string());
        assert_eq!(label(pod, &format!("{PREFIX}/role-revision")), "3");
        assert_eq!(label(pod, &format!("{PREFIX}/role-revision-name")), "svc-abc");
        let spec = pod.spec.as_ref().expect("a spec");
        assert_eq!((spec.hostname.as_ref(), spec.subdomain.as_deref()), (Some(name), Some("svc")));
        assert_eq!(variables(pod)[2], ("ROLESET_INDEX".to_owned(), "1".to_owned()));
        assert_eq!(variables(pod)[5], ("ROLE_REPLICA_INDEX".to_owned(), index.to_string()));
    }
    let first = pods.values().next().and_then(ResourceExt::uid).expect("a uid");
    let scale = |count: u32| json!({"spec": {"roles": [with(role("decode", count, "engine:1"), &json!({"stateful": true}))]}});
    scene.patch(&it, &scale(1)).await;
    let left = scene.until_pods(selected, "one pod", |pods| pods.len() == 1).await;
    assert_eq!(left.values().next().and_then(ResourceExt::uid), Some(first));
    scene.patch(&it, &scale(3)).await;
    let back = scene.until_pods(selected, "three pods again", |pods| pods.len() == 3).await;
    assert_eq!(back.keys().collect::<Vec<_>>(), pods.keys().collect::<Vec<_>>());
    let name = format!("svc-0-decode-{hash}-1");
    let uid = back[&name].uid();
    scene.kubelet.failed(&name, "Evicted").await;
    scene
        .until_pods(selected, "another pod of its name", |pods| {
            pods.len() == 3 && pods.get(&name).is_some_and(|pod| pod.uid() != uid)
        })
        .await;
}

// scenario: role-set-and-pod-set 7-9, 17
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_are_scaled_and_removed() {
    let scene = Scene::new("scaled").await;
    let mut none = role("none", 0, "engine:1");
    none.as_object_mut().expect("an object").remove("replicas");
    let it = scene.role_set(
        "set",
        "Parallel",
        &[role("worker", 5, "engine:1"), none, role("gone", 1, "engine:1")],
    );
    scene.create(&it).await;
    let seen =
        scene.ready_until(&it, "all are ready", |seen| counts(seen, "worker") == Some([5, 5, 0, 5, 5])).await;
    assert_eq!(counts(&seen, "none"), Some([0, 0, 0, 0, 0]));
    scene.patch(&it, &json!({"spec": {"roles": [role("worker", 2, "engine:1")]}})).await;
    scene
        .until(&it, "two are left", |seen| {
            counts(seen, "worker") == Some([2, 2, 0, 2, 2]) && counts(seen, "gone").is_none()
        })
        .await;
    scene.until_pods(("roleset-name", "set"), "nothing of the other role", |pods| pods.len() == 2).await;
    scene.patch(&it, &json!({"spec": {"roles": null}})).await;
    scene.until_pods(("roleset-name", "set"), "nothing", std::collections::BTreeMap::is_empty).await;
    scene.until(&it, "ready", |seen| said(seen, "Ready") == "True/roleset is ready").await;
}

// scenario: role-set-and-pod-set 18, 51
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_ours_survives() {
    let scene = Scene::new("foreign").await;
    let mut foreign = objects::pod(&scene.ns, "foreign");
    foreign["metadata"]["labels"] = json!({"roleset-name": "set", "role-name": "worker"});
    foreign["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "1", "controller": true,
    }]);
    scene.create(&foreign).await;
    let group = with(role("group", 1, "engine:1"), &json!({"podGroupSize": 2}));
    let it = scene.role_set("set", "Parallel", &[role("worker", 1, "engine:1"), group]);
    scene.create(&it).await;
    let all = ("roleset-name", "set");
    scene.until_pods(all, "a pod, two of a group, and the foreign one", |pods| pods.len() == 4).await;
    scene
        .until(&it, "one is counted", |seen| counts(seen, "worker").is_some_and(|counts| counts[0] == 1))
        .await;
    objects::delete(&scene.client, &it).await;
    scene.until_gone(&it).await;
    let left = scene.pods(all.0, all.1).await;
    assert_eq!(left.keys().collect::<Vec<_>>(), ["foreign"]);
    let sets = objects::api(&scene.client, super::world::API_VERSION, "PodSet", Some(&scene.ns)).await;
    assert!(sets.list(&kube::api::ListParams::default()).await.expect("list").items.is_empty());
}

// scenario: role-set-and-pod-set 19
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_keeps_its_budgets() {
    let scene = Scene::new("rolled").await;
    let budget = json!({"updateStrategy": {"maxSurge": 1, "maxUnavailable": 1}});
    let of = |image: &str| with(role("worker", 3, image), &budget);
    let it = scene.role_set("set", "Parallel", &[of("engine:1")]);
    scene.create(&it).await;
    scene.ready_until(&it, "all are ready", |seen| said(seen, "Ready").starts_with("True")).await;
    scene.patch(&it, &json!({"spec": {"roles": [of("engine:2")]}})).await;
    let is_ready = |pod: &k8s_openapi::api::core::v1::Pod| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions.is_some_and(|it| it.iter().any(|it| it.type_ == "Ready" && it.status == "True"))
    };
    crate::support::eventually(super::world::SOON, "all have the new image", async || {
        let pods = scene.pods("roleset-name", "set").await;
        let ready = pods.values().filter(|pod| is_ready(pod)).count();
        assert!(pods.len() <= 4 && ready >= 2, "{} pods, {ready} ready", pods.len());
        let updated = pods.values().filter(|pod| image(pod) == "engine:2").count();
        if updated == 3 && pods.len() == 3 && ready == 3 {
            return Ok(());
        }
        scene.kubelet.ready_all().await;
        Err(format!("{} pods, {ready} ready, {updated} updated", pods.len()))
    })
    .await;
    scene.until(&it, "the status says so", |seen| counts(seen, "worker") == Some([3, 3, 0, 3, 3])).await;
}

// scenario: role-set-and-pod-set 21
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_are_rolled_in_their_order() {
    let scene = Scene::new("ordered").await;
    let roles = |image: &str| -> Vec<Value> {
        let ordered =
            |name, replicas, order| with(role(name, replicas, image), &json!({"upgradeOrder": order}));
        vec![ordered("decode", 2, 3), ordered("router", 1, 1), ordered("prefill", 2, 2)]
    };
    let it = scene.role_set("set", "Sequential", &roles("engine:1"));
    scene.create(&it).await;
    scene.ready_until(&it, "all are ready", |seen| said(seen, "Ready").starts_with("True")).await;
    scene.patch(&it, &json!({"spec": {"roles": roles("engine:2")}})).await;
    crate::support::eventually(super::world::SOON, "all have the new image", async || {
        let pods = scene.pods("roleset-name", "set").await;
        let of = |role: &str, wanted: &str| {
            pods.values().filter(|pod| label(pod, "role-name") == role && image(pod) == wanted).count()
        };
        assert!(of("prefill", "engine:2") == 0 || of("router", "engine:2") == 1, "prefill before router");
        assert!(of("decode", "engine:2") == 0 || of("prefill", "engine:2") == 2, "decode before prefill");
        if of("decode", "engine:2") == 2 {
            return Ok(());
        }
        scene.kubelet.ready_all().await;
        Err(format!("{} pods", pods.len()))
    })
    .await;
}

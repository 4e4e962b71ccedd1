// SPDX-License-Identifier: Apache-2.0
//! RoleSets of which something is refused: by a quota, by the API server, because a name is taken or cannot be used.

use kube::ResourceExt;
use serde_json::{Value, json};

use crate::support::{
    eventually,
    history::History,
    objects,
    wait::{instant, throughout},
};

use super::world::{API_VERSION, SOON, Scene, counts, image, label, role, said, with, world};

/// Message of a condition; empty when it is absent.
fn message(object: &Value, kind: &str) -> String {
    let conditions = object["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|it| it["type"] == kind);
    found.and_then(|it| it["message"].as_str()).unwrap_or_default().to_owned()
}

/// Creations of pods in the namespace that ended with this code.
async fn creations(scene: &Scene, code: u16) -> usize {
    let mut log = world().await.plane.audit();
    let asked = log.entries().iter().filter(|it| {
        it.verb == "create"
            && it.resource() == "pods"
            && it.is_in(&scene.ns)
            && it.code == code
            && it.caller.is_some()
    });
    asked.count()
}

async fn until_refused(scene: &Scene, code: u16, count: usize) {
    eventually(SOON, "pods are refused again and again", async || {
        let seen = creations(scene, code).await;
        if seen >= count { Ok(()) } else { Err(format!("{seen} times")) }
    })
    .await;
}

// scenario: role-set-and-pod-set 26
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_goes_on_by_itself_when_a_quota_is_lifted() {
    let scene = Scene::new("quota").await;
    let of = |image: &str| {
        with(role("worker", 3, image), &json!({"updateStrategy": {"maxSurge": 1, "maxUnavailable": 1}}))
    };
    let it = scene.role_set("set", "Parallel", &[of("engine:1")]);
    scene.create(&it).await;
    scene.ready_until(&it, "all are ready", |seen| said(seen, "Ready").starts_with("True")).await;
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few", "namespace": scene.ns},
        "spec": {"hard": {"pods": "3"}},
    });
    scene.create(&quota).await;
    // Nobody counts on this control plane but the test.
    let api = objects::api_of(&scene.client, &quota).await;
    let counted = json!({"status": {"hard": {"pods": "3"}, "used": {"pods": "3"}}});
    let merge = kube::api::Patch::Merge(&counted);
    api.patch_status("few", &kube::api::PatchParams::default(), &merge).await.expect("count");
    eventually(SOON, "the quota is at work", async || {
        match objects::try_create(&scene.client, &objects::pod(&scene.ns, "probe")).await {
            Err(kube::Error::Api(error)) if error.code == 403 => Ok(()),
            Err(error) => Err(error.to_string()),
            Ok(probe) => {
                scene.kubelet.gone(&probe.name_any()).await;
                Err("a pod was made".to_owned())
            }
        }
    })
    .await;
    let sets = objects::api(&scene.client, API_VERSION, "RoleSet", Some(&scene.ns)).await;
    let history = History::of(sets, "set").await;
    scene.patch(&it, &json!({"spec": {"roles": [of("engine:2")]}})).await;
    let failed = scene
        .until(&it, "the condition tells", |seen| said(seen, "ReplicaFailure").starts_with("True"))
        .await;
    assert_eq!(said(&failed, "ReplicaFailure"), "True/reconcile roleset error");
    let told = message(&failed, "ReplicaFailure");
    assert!(told.contains("exceeded quota: few") && told.contains("\"set-worker-\""), "{told}");
    scene.until_pods(("roleset-name", "set"), "one old pod is given up", |pods| pods.len() == 2).await;
    // The first attempts follow one another quickly, the later ones do not.
    let (from, before) = (instant(), creations(&scene, 403).await);
    until_refused(&scene, 403, before.max(8)).await;
    let mark = history.mark().await;
    until_refused(&scene, 403, before.max(8) + 3).await;
    assert!(history.since(mark).await.len() <= 1, "the status is not written for each attempt");
    assert!(from.elapsed() < SOON);
    let events = scene.events("set").await;
    let told = events.iter().filter(|it| it.starts_with("Warning ReconcileError: ")).count();
    assert_eq!(told, 1, "{events:#?}");
    assert_eq!(
        scene.pods("roleset-name", "set").await.len(),
        2,
        "no ready one is given up beyond the budget"
    );
    objects::delete(&scene.client, &quota).await;
    let done = scene
        .ready_until(&it, "it goes on by itself", |seen| counts(seen, "worker") == Some([3, 3, 0, 3, 3]))
        .await;
    let done = if said(&done, "ReplicaFailure").is_empty() {
        done
    } else {
        scene.until(&it, "no failure is left", |seen| said(seen, "ReplicaFailure").is_empty()).await
    };
    assert_eq!(said(&done, "Ready"), "True/roleset is ready");
    let pods = scene.pods("roleset-name", "set").await;
    assert!(pods.values().all(|pod| image(pod) == "engine:2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_that_is_refused_is_told_once_and_holds_no_other_role_up() {
    let scene = Scene::new("invalid").await;
    // More than one batch of creations.
    let mut bad = role("bad", 20, "engine:1");
    bad["template"]["spec"]["containers"][0]["image"] = json!("");
    let it = scene.role_set("set", "Parallel", &[bad, role("good", 2, "engine:1")]);
    scene.create(&it).await;
    scene.ready_until(&it, "the other is ready", |seen| counts(seen, "good") == Some([2, 2, 0, 2, 2])).await;
    scene.patch(&it, &json!({"metadata": {"annotations": {"touched": "1"}}})).await;
    until_refused(&scene, 422, 3 * 16).await;
    let seen = scene.until(&it, "it is told", |seen| said(seen, "ReplicaFailure").starts_with("True")).await;
    let told = message(&seen, "ReplicaFailure");
    assert!(told.contains("spec.containers[0].image") && told.len() < 500, "{told}");
    assert_eq!(said(&seen, "Ready"), "False/roleset is not ready");
    // Another role is rolled meanwhile.
    let mut bad = role("bad", 20, "engine:1");
    bad["template"]["spec"]["containers"][0]["image"] = json!("");
    scene.patch(&it, &json!({"spec": {"roles": [bad, role("good", 2, "engine:2")]}})).await;
    scene.ready_until(&it, "the other is rolled", |seen| counts(seen, "good") == Some([2, 2, 0, 2, 2])).await;
    eventually(SOON, "both are new", async || {
        scene.kubelet.ready_all().await;
        let pods = scene.pods("role-name", "good").await;
        let new = pods.values().filter(|pod| image(pod) == "engine:2").count();
        if new == 2 && pods.len() == 2 { Ok(()) } else { Err(format!("{new} of {}", pods.len())) }
    })
    .await;
    let events = scene.events("set").await;
    let told = events.iter().filter(|it| it.starts_with("Warning ReconcileError: ")).count();
    // Once for each generation at most.
    assert!((1..=2).contains(&told), "{events:#?}");
    scene
        .patch(&it, &json!({"spec": {"roles": [role("bad", 2, "engine:1"), role("good", 2, "engine:2")]}}))
        .await;
    scene
        .ready_until(&it, "all is well", |seen| {
            said(seen, "Ready").starts_with("True") && said(seen, "ReplicaFailure").is_empty()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_with_names_that_cannot_be_used_are_told_and_left_alone() {
    let scene = Scene::new("badnames").await;
    let roles = [
        role("Worker", 1, "engine:1"),
        role("a", 1, "engine:1"),
        role("a", 2, "engine:2"),
        role("", 1, "engine:1"),
    ];
    let it = scene.role_set("set", "Sequential", &roles);
    scene.create(&it).await;
    let seen = scene
        .ready_until(&it, "the first of its name is ready", |seen| {
            counts(seen, "a").is_some_and(|counts| counts[1] == 1)
        })
        .await;
    let told = message(&seen, "ReplicaFailure");
    for part in ["\"Worker\" is left alone", "\"\" is left alone", "an earlier role has the same name"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    scene.until_event("set", "Warning InvalidRole: role \"Worker\"").await;
    let pods = scene.pods("roleset-name", "set").await;
    assert_eq!(pods.len(), 1, "{:?}", pods.keys());
    scene
        .patch(&it, &json!({"spec": {"roles": [role("worker", 1, "engine:1"), role("a", 1, "engine:1")]}}))
        .await;
    let seen = scene.ready_until(&it, "all is well", |seen| said(seen, "Ready").starts_with("True")).await;
    assert_eq!(said(&seen, "ReplicaFailure"), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_whose_name_is_taken_is_told_and_made_when_the_name_is_free() {
    let scene = Scene::new("taken").await;
    let of = |count: u32| with(role("d", count, "engine:1"), &json!({"stateful": true}));
    let it = scene.role_set("set", "Sequential", &[of(1)]);
    scene.create(&it).await;
    let selected = ("roleset-name", "set");
    let pods = scene.until_pods(selected, "the first", |pods| pods.len() == 1).await;
    let hash = label(pods.values().next().expect("a pod"), "role-template-hash");
    let name = format!("set-d-{hash}-1");
    let mut foreign = objects::pod(&scene.ns, &name);
    foreign["metadata"]["labels"] = json!({"app": "else"});
    scene.create(&foreign).await;
    scene.patch(&it, &json!({"spec": {"roles": [of(3)]}})).await;
    scene
        .until_pods(selected, "the third is made", |pods| pods.contains_key(&format!("set-d-{hash}-2")))
        .await;
    scene.until_event("set", &format!("Warning NameConflict: role d: pod {name} cannot be made")).await;
    let seen = scene.until(&it, "it is told", |seen| said(seen, "ReplicaFailure").starts_with("True")).await;
    assert!(message(&seen, "ReplicaFailure").contains(&name));
    let tried = creations(&scene, 409).await;
    assert!(tried <= 2, "the name is not tried again while it is taken: {tried}");
    scene.kubelet.gone(&name).await;
    scene.until_pods(selected, "all three", |pods| pods.len() == 3).await;
    let seen = scene.ready_until(&it, "all is well", |seen| said(seen, "Ready").starts_with("True")).await;
    assert_eq!(said(&seen, "ReplicaFailure"), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_namespace_that_ends_nothing_fails() {
    let scene = Scene::new("ending").await;
    let it = scene.role_set("set", "Parallel", &[role("w", 2, "engine:1")]);
    scene.create(&it).await;
    scene.ready_until(&it, "both are ready", |seen| said(seen, "Ready").starts_with("True")).await;
    objects::delete(&scene.client, &objects::namespace(&scene.ns)).await;
    let pods = scene.pods("roleset-name", "set").await;
    scene.kubelet.gone(pods.keys().next().expect("a pod")).await;
    let seen = scene
        .until(&it, "the loss is counted", |seen| counts(seen, "w").is_some_and(|counts| counts[0] == 1))
        .await;
    until_refused(&scene, 403, 1).await;
    assert_eq!(said(&seen, "ReplicaFailure"), "");
    throughout(std::time::Duration::from_secs(2), "it is not tried again and again", async || {
        let tried = creations(&scene, 403).await;
        if tried <= 5 { Ok(()) } else { Err(format!("{tried} times")) }
    })
    .await;
    let seen = objects::get(&scene.client, &it).await.expect("it is there");
    assert_eq!(said(&seen, "ReplicaFailure"), "");
}

// SPDX-License-Identifier: Apache-2.0
//! RoleSets while leaders are killed, the watch of pods is held back, and others hold or change pods.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::support::{
    ControlPlane, eventually,
    manager::{Launch, Manager},
    objects,
    proxy::{Proxy, Rule, Treatment},
    wait::{Instant, instant, now, throughout},
};

use super::world::{ALONE, SOON, Scene, counts, image, label, plane, role, said, start, with, world};

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|it| it.iter().any(|it| it.type_ == "Ready" && it.status == "True"))
}

/// Writes of pods in the namespace by a manager: how many were granted of this verb.
fn granted(plane: &ControlPlane, scene: &Scene, verb: &str) -> usize {
    let mut log = plane.audit();
    let asked = log.entries().iter().filter(|it| {
        it.verb == verb && it.resource() == "pods" && it.is_in(&scene.ns) && it.is_ok() && it.caller.is_some()
    });
    asked.count()
}

// scenario: role-set-and-pod-set 53
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_ends_a_rollout_within_its_budgets() {
    let plane = plane().await;
    let scene = Scene::on(&plane, "killed").await;
    let mut leader: Manager = start(&plane).await;
    let of = |image: &str| {
        let pool =
            with(role("pool", 3, image), &json!({"updateStrategy": {"maxSurge": 1, "maxUnavailable": 1}}));
        let slots = with(
            role("slots", 2, image),
            &json!({"stateful": true, "updateStrategy": {"maxSurge": 1, "maxUnavailable": 0}}),
        );
        [pool, slots]
    };
    let it = scene.role_set("set", "Parallel", &of("engine:1"));
    scene.create(&it).await;
    scene.ready_until(&it, "all are ready", |seen| said(seen, "Ready").starts_with("True")).await;
    scene.patch(&it, &json!({"spec": {"roles": of("engine:2")}})).await;
    let bounded = async || {
        let pods = scene.pods("roleset-name", "set").await;
        for (role, most, least) in [("pool", 4, 2), ("slots", 3, 2)] {
            let of_role: Vec<&Pod> = pods.values().filter(|pod| label(pod, "role-name") == role).collect();
            let ready = of_role.iter().filter(|pod| is_ready(pod)).count();
            assert!(of_role.len() <= most && ready >= least, "{role}: {} pods, {ready} ready", of_role.len());
        }
        pods
    };
    eventually(SOON, "the rollout has begun", async || {
        let new = bounded().await.values().filter(|pod| image(pod) == "engine:2").count();
        if new > 0 { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    leader.sigkill();
    leader = start(&plane).await;
    let mut killed = false;
    eventually(2 * SOON, "all are new", async || {
        let pods = bounded().await;
        let new: Vec<&Pod> = pods.values().filter(|pod| image(pod) == "engine:2").collect();
        if new.len() == 5 && pods.len() == 5 && new.iter().all(|pod| is_ready(pod)) {
            return Ok(());
        }
        if !killed && new.len() >= 3 {
            killed = true;
            leader.sigkill();
            leader = start(&plane).await;
        }
        scene.kubelet.ready_all().await;
        Err(format!("{} of {}", new.len(), pods.len()))
    })
    .await;
    scene.until(&it, "the status says so", |seen| counts(seen, "pool") == Some([3, 3, 0, 3, 3])).await;
    assert!(killed);
    assert_eq!(granted(&plane, &scene, "create"), 10, "nothing was made twice");
}

// scenario: role-set-and-pod-set 54
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_pod_is_made_twice_while_the_watch_of_pods_is_held_back() {
    let plane = plane().await;
    let scene = Scene::on(&plane, "lagging").await;
    let proxy = Proxy::start(&plane).await;
    let mut launch = Launch::new(&plane, &ALONE).await;
    launch.kubeconfig = proxy.manager_kubeconfig(&plane).await;
    let manager = launch.start();
    manager.wait_ready().await;
    let first = scene.role_set("first", "Parallel", &[role("w", 1, "engine:1")]);
    scene.create(&first).await;
    scene.until_pods(("roleset-name", "first"), "it works", |pods| pods.len() == 1).await;
    proxy.rule(vec![Rule::new(&["GET", "/pods", "watch="], Treatment::HoldBody)]);
    let it = scene.role_set("set", "Parallel", &[role("w", 50, "engine:1")]);
    scene.create(&it).await;
    let made = scene.until_pods(("roleset-name", "set"), "fifty", |pods| pods.len() >= 50).await;
    assert_eq!(made.len(), 50);
    // More passes, one for each change, each of which is followed by one of another RoleSet.
    for round in 0..5 {
        scene.patch(&it, &json!({"metadata": {"annotations": {"round": round.to_string()}}})).await;
        let other = scene.role_set(&format!("other-{round}"), "Parallel", &[role("w", 1, "engine:1")]);
        scene.create(&other).await;
        let name = format!("other-{round}");
        scene.until_pods(("roleset-name", &name), "the other is made", |pods| pods.len() == 1).await;
        assert_eq!(scene.pods("roleset-name", "set").await.len(), 50);
    }
    proxy.rule(Vec::new());
    scene.ready_until(&it, "all are ready", |seen| counts(seen, "w") == Some([50, 50, 0, 50, 50])).await;
    assert_eq!((granted(&plane, &scene, "create"), granted(&plane, &scene, "delete")), (56, 0));
}

// scenario: role-set-and-pod-set 57
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_end_of_a_rollout_everything_is_written_at_once_and_nothing_more() {
    let scene = Scene::new("quiet").await;
    let of = |image: &str| {
        with(role("worker", 3, image), &json!({"updateStrategy": {"maxSurge": 1, "maxUnavailable": 1}}))
    };
    let it = scene.role_set("set", "Parallel", &[of("engine:1")]);
    scene.create(&it).await;
    scene.ready_until(&it, "all are ready", |seen| said(seen, "Ready").starts_with("True")).await;
    scene.patch(&it, &json!({"spec": {"roles": [of("engine:2")]}})).await;
    let names: Vec<String> = eventually(SOON, "the last pods are there", async || {
        let pods = scene.pods("roleset-name", "set").await;
        let late: Vec<String> =
            pods.iter().filter(|(_, pod)| !is_ready(pod)).map(|(name, _)| name.clone()).collect();
        if pods.len() == 3 && late.len() == 1 && pods.values().all(|pod| image(pod) == "engine:2") {
            return Ok(late);
        }
        // One after the other, so that there is a last one.
        let new = pods.values().filter(|pod| image(pod) == "engine:2").count();
        if let Some(name) = late.first().filter(|_| late.len() > 1 || new < 3) {
            scene.kubelet.ready(name).await;
        }
        Err(format!("{} pods, {} late", pods.len(), late.len()))
    })
    .await;
    // Whatever is left to do for the others is done.
    scene.until(&it, "two are counted", |seen| counts(seen, "worker") == Some([3, 2, 1, 3, 2])).await;
    let at_the_end = (now(), instant());
    scene.kubelet.ready(&names[0]).await;
    let seen =
        scene.until(&it, "three are counted", |seen| counts(seen, "worker") == Some([3, 3, 0, 3, 3])).await;
    edit_after(&scene, seen, at_the_end.1).await;
    let written = async || {
        let mut log = world().await.plane.audit();
        let writes = log.entries().iter().filter(|entry| {
            entry.is_in(&scene.ns)
                && entry.is_write()
                && entry.caller.is_some()
                && entry.received >= at_the_end.0
        });
        writes.map(|entry| (entry.received, entry.resource())).collect::<Vec<_>>()
    };
    throughout(Duration::from_secs(10), "nothing more is written", async || {
        let written = written().await;
        let of_status = written.iter().filter(|(_, resource)| resource == "rolesets/status").count();
        let late = written.iter().any(|(at, _)| at.duration_since(at_the_end.0).as_millis() > 1000);
        if late || of_status != 1 { Err(format!("{written:?}")) } else { Ok(()) }
    })
    .await;
}

/// A PUT of what was read, with another label, half a second after `from`, as scripts do: it gets no conflict.
async fn edit_after(scene: &Scene, mut read: Value, from: Instant) {
    tokio::time::sleep_until(from + Duration::from_millis(500)).await;
    read["metadata"]["annotations"] = json!({"edited": "yes"});
    let api = objects::api_of(&scene.client, &read).await;
    let object = serde_json::from_value(read).expect("an object");
    api.replace("set", &kube::api::PostParams::default(), &object).await.expect("no conflict");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_somebody_holds_keeps_its_name_and_nothing_else() {
    let scene = Scene::new("held").await;
    let mut held = with(role("held", 2, "engine:1"), &json!({"stateful": true}));
    held["template"]["metadata"] = json!({"finalizers": ["example.com/hold"]});
    let it = scene.role_set("set", "Parallel", &[held.clone(), role("free", 1, "engine:1")]);
    scene.create(&it).await;
    let before = scene.until_pods(("role-name", "held"), "both", |pods| pods.len() == 2).await;
    scene.ready_until(&it, "ready", |seen| said(seen, "Ready").starts_with("True")).await;
    let (name, pod) = before.into_iter().next().expect("the first");
    scene.kubelet.gone(&name).await;
    scene.until(&it, "it is not counted", |seen| counts(seen, "held").is_some_and(|it| it[0] == 1)).await;
    // Meanwhile the role grows, and another one is scaled.
    held["replicas"] = json!(3);
    scene.patch(&it, &json!({"spec": {"roles": [held, role("free", 2, "engine:1")]}})).await;
    scene.until_pods(("role-name", "held"), "a third", |pods| pods.len() == 3).await;
    scene.until_pods(("role-name", "free"), "a second", |pods| pods.len() == 2).await;
    let tried = async || {
        let mut log = world().await.plane.audit();
        let made = log.entries().iter().filter(|it| {
            it.verb == "create" && it.resource() == "pods" && it.is_in(&scene.ns) && it.caller.is_some()
        });
        made.filter(|it| it.code == 409).count()
    };
    assert_eq!(tried().await, 0, "a name that is held is not tried");
    let api: kube::Api<Pod> = kube::Api::namespaced(scene.client.clone(), &scene.ns);
    let free = kube::api::Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.patch(&name, &kube::api::PatchParams::default(), &free).await.expect("let go");
    scene
        .until_pods(("role-name", "held"), "another one of its name", |pods| {
            pods.get(&name).is_some_and(|new| new.uid() != pod.uid())
        })
        .await;
    // The RoleSet goes only when its pods are gone.
    objects::delete(&scene.client, &it).await;
    scene
        .until_pods(("role-name", "held"), "all are being deleted", |pods| {
            pods.len() == 3 && pods.values().all(|pod| pod.metadata.deletion_timestamp.is_some())
        })
        .await;
    assert!(objects::get(&scene.client, &it).await.is_some(), "it waits for its pods");
    for name in scene.pods("role-name", "held").await.keys() {
        api.patch(name, &kube::api::PatchParams::default(), &free).await.expect("let go");
    }
    scene.until_gone(&it).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_that_a_policy_of_others_changes_are_kept() {
    let scene = Scene::new("mutated").await;
    let namespaced = json!({"matchLabels": {"kubernetes.io/metadata.name": scene.ns}});
    let api = "admissionregistration.k8s.io/v1";
    let rule =
        json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]});
    let expression = "[JSONPatch{op: \"replace\", path: \"/spec/containers/0/image\", \
                      value: \"mirror.example.com/\" + object.spec.containers[0].image}, \
                      JSONPatch{op: \"add\", path: \"/metadata/labels/team\", value: \"a\"}]";
    let policy = json!({
        "apiVersion": api, "kind": "MutatingAdmissionPolicy", "metadata": {"name": scene.ns},
        "spec": {
            "matchConstraints": {"resourceRules": [rule], "namespaceSelector": namespaced},
            "failurePolicy": "Fail", "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
        },
    });
    scene.create(&policy).await;
    let binding = json!({
        "apiVersion": api, "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": scene.ns},
        "spec": {"policyName": scene.ns},
    });
    scene.create(&binding).await;
    let probe = objects::pod(&scene.ns, "probe");
    eventually(SOON, "the policy is at work", async || {
        scene.kubelet.gone("probe").await;
        let made = objects::try_create(&scene.client, &probe).await.map_err(|error| error.to_string())?;
        if made.labels().contains_key("team") { Ok(()) } else { Err("not yet".into()) }
    })
    .await;
    let of = |image: &str| {
        let in_place = json!({"updateStrategy": {"type": "InPlaceIfPossible", "maxUnavailable": 1}});
        [
            role("pool", 2, image),
            with(role("slots", 1, image), &json!({"stateful": true})),
            with(role("group", 1, image), &json!({"podGroupSize": 2})),
            with(role("in-place", 1, image), &in_place),
        ]
    };
    let it = scene.role_set("set", "Parallel", &of("engine:1"));
    scene.create(&it).await;
    let all = |seen: &Value| {
        let updated = |role: &str, count| counts(seen, role) == Some([count, count, 0, count, count]);
        updated("pool", 2) && updated("slots", 1) && updated("group", 1) && updated("in-place", 1)
    };
    scene.ready_until(&it, "all are ready and updated", all).await;
    let before: BTreeSet<Option<String>> = uids(&scene).await;
    assert_eq!(before.len(), 6);
    // A pass that is told by what it does.
    let more = json!({"name": "more", "replicas": 1, "template": role("more", 1, "engine:1")["template"]});
    let mut roles = of("engine:1").to_vec();
    roles.push(more);
    scene.patch(&it, &json!({"spec": {"roles": roles}})).await;
    scene.until_pods(("role-name", "more"), "one more", |pods| pods.len() == 1).await;
    assert!(uids(&scene).await.is_superset(&before), "nothing was replaced");
    scene.patch(&it, &json!({"spec": {"roles": of("engine:2")}})).await;
    eventually(SOON, "all are new", async || {
        scene.kubelet.ready_all().await;
        let pods = scene.pods("roleset-name", "set").await;
        let old: Vec<String> =
            pods.values().map(image).filter(|image| !image.ends_with("engine:2")).collect();
        if pods.len() == 6 && old.is_empty() { Ok(()) } else { Err(format!("{} pods: {old:?}", pods.len())) }
    })
    .await;
    scene.ready_until(&it, "all are ready and updated", all).await;
}

async fn uids(scene: &Scene) -> BTreeSet<Option<String>> {
    scene.pods("roleset-name", "set").await.values().map(ResourceExt::uid).collect()
}

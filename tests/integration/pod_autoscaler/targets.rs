// SPDX-License-Identifier: Apache-2.0
//! Kinds of targets: which number is written, and whose pods are asked.

use std::net::IpAddr;

use kube::api::ListParams;
use serde_json::{Value, json};

use super::{
    scene::{Scene, api, condition},
    world::{SOON, SYNC, bare, crd},
};
use crate::support::{eventually, install, objects};

const STORM: (&str, &str) = ("orchestration.aibrix.ai/v1alpha1", "StormService");

fn service(scene: &Scene, name: &str, replicas: i64, roles: &Value) -> Value {
    let mut it = scene.named(STORM.0, STORM.1, name);
    let mut template = json!({"spec": {"roles": roles}});
    template["metadata"] = json!({"annotations": {"note": "kept"}});
    it["spec"] = json!({"replicas": replicas, "paused": true, "selector": {}, "template": template});
    it
}

fn onto(it: &mut Value, (api_version, kind): (&str, &str), name: &str) {
    it["spec"]["scaleTargetRef"] = json!({"apiVersion": api_version, "kind": kind, "name": name});
}

// scenario: pod-autoscaler 42
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_service_the_replicas_of_one_role_are_written_and_nothing_else() {
    let scene = Scene::new(&bare().await.plane, "pool").await;
    let template = json!({"spec": {"containers": [{"name": "x", "image": "e:1", "resources": {}}]}});
    let roles = json!([
        {"name": "prefill", "replicas": 2, "template": template},
        {"name": "decode", "replicas": 1, "template": template},
    ]);
    let pool = service(&scene, "pool", 1, &roles);
    scene.create(&pool).await;
    scene.say("prefill", 10);
    let mut it = scene.by_endpoint("prefill", "APA", "10");
    onto(&mut it, STORM, "pool");
    it["spec"]["subTargetSelector"] = json!({"roleName": "prefill"});
    scene.create(&it).await;
    scene.until_said(&it, "Ready", "True/AsExpected", SOON).await;
    scene.say("prefill", 20);
    // Meanwhile somebody else goes on changing the other role.
    let count =
        |seen: &Value, role: usize| seen["spec"]["template"]["spec"]["roles"][role]["replicas"].clone();
    let mut written = 1;
    // How far it goes at once depends on how much of the window is of the old value.
    let is_more = |seen: &Value| count(seen, 0).as_i64() > Some(2);
    let seen = eventually(SOON, "there is more of prefill", async || {
        let seen = scene.get(&pool).await?.ok_or("gone")?;
        if count(&seen, 1) != written {
            return Ok(seen);
        }
        if is_more(&seen) {
            return Ok(seen);
        }
        written += 1;
        let path = "/spec/template/spec/roles/1/replicas";
        scene.replace(&pool, path, &json!(written)).await;
        Err(format!("{} and {written}", count(&seen, 0)))
    })
    .await;
    let mut want = roles.clone();
    assert!(is_more(&seen), "{seen}");
    want[0]["replicas"] = count(&seen, 0);
    want[1]["replicas"] = json!(written);
    assert_eq!(seen["spec"]["template"]["spec"]["roles"], want);
    assert_eq!((&seen["spec"]["replicas"], &seen["spec"]["paused"]), (&json!(1), &json!(true)));
    assert_eq!(seen["spec"]["template"]["metadata"]["annotations"], json!({"note": "kept"}));

    // Whole copies instead, by annotation.
    let copies = service(&scene, "copies", 2, &roles);
    scene.create(&copies).await;
    scene.say("copies", 20);
    let mut it = scene.by_endpoint("copies", "APA", "10");
    onto(&mut it, STORM, "copies");
    it["spec"]["subTargetSelector"] = json!({"roleName": "prefill"});
    it["metadata"]["annotations"] = json!({"autoscaling.aibrix.ai/storm-service-mode": "replica"});
    scene.create(&it).await;
    let seen = scene.until(&copies, SOON, "it is doubled", |seen| seen["spec"]["replicas"] == 4).await;
    assert_eq!(seen["spec"]["template"]["spec"]["roles"], roles);
}

// scenario: pod-autoscaler 43
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_pods_that_serve_are_asked() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "select").await;
    let index = "stormservice.orchestration.aibrix.ai/pod-group-index";
    let of = |service: &str, role: &str| json!({"storm-service-name": service, "role-name": role});
    let grouped = |place: &str| {
        let mut labels = of("llm", "grouped");
        labels[index] = json!(place);
        labels
    };
    let roles = json!([
        {"name": "grouped", "replicas": 1, "podGroupSize": 2}, {"name": "single", "replicas": 2},
        {"name": "none", "replicas": 1, "podGroupSize": 1},
    ]);
    scene.create(&service(&scene, "llm", 1, &roles)).await;
    let head = scene.pod("grouped-0", &grouped("0")).await;
    let tail = scene.pod("grouped-1", &grouped("1")).await;
    let singles = [
        scene.pod("single-0", &of("llm", "single")).await,
        scene.pod("single-1", &of("llm", "single")).await,
    ];
    let strange = scene.pod("strange", &of("other", "single")).await;
    for role in ["grouped", "single"] {
        let mut it = scene.autoscaler(role, "APA", "10");
        onto(&mut it, STORM, "llm");
        it["spec"]["subTargetSelector"] = json!({"roleName": role});
        scene.create(&it).await;
    }
    // A Deployment knows no groups.
    scene.deployment("web", 1).await;
    let web = scene.pod("web-0", &json!({"app": "web", index: "1"})).await;
    scene.create(&scene.autoscaler("web", "APA", "10")).await;

    let mut fleet = scene.named("orchestration.aibrix.ai/v1alpha1", "RayClusterFleet", "ray");
    fleet["spec"] = json!({"replicas": 1, "selector": {"matchLabels": {"fleet": "ray"}}});
    scene.create(&fleet).await;
    let ray = scene.pod("ray-head", &json!({"fleet": "ray", "ray.io/node-type": "head"})).await;
    let worker = scene.pod("ray-worker", &json!({"fleet": "ray", "ray.io/node-type": "worker"})).await;
    let mut it = scene.autoscaler("ray", "APA", "10");
    onto(&mut it, ("orchestration.aibrix.ai/v1alpha1", "RayClusterFleet"), "ray");
    scene.create(&it).await;

    let asked = [head, singles[0], singles[1], web, ray];
    for pod in asked.into_iter().chain([tail, strange, worker]) {
        scene.load(pod, 10.0);
    }
    // Thrice: at least two whole rounds were made since the first.
    let counts = eventually(SOON, "all that serve are asked", async || {
        let counts = scene.engine.pods.counts();
        let times = |pod: &IpAddr| counts.get(pod).map_or(0, |paths| paths.values().sum::<u64>());
        let missing: Vec<_> = asked.iter().filter(|pod| times(pod) < 3).collect();
        if missing.is_empty() { Ok(counts) } else { Err(format!("not asked: {missing:?}")) }
    })
    .await;
    for pod in [tail, strange, worker] {
        assert!(!counts.contains_key(&pod), "{pod} was asked");
    }
    // The whole service: the heads of groups and all pods of the others.
    for role in ["grouped", "single"] {
        scene.delete(&scene.named("autoscaling.aibrix.ai/v1alpha1", "PodAutoscaler", role)).await;
    }
    let mut whole = scene.autoscaler("whole", "APA", "10");
    onto(&mut whole, STORM, "llm");
    for role in ["grouped", "single"] {
        eventually(SOON, "the deleted ones are forgotten", async || {
            let gauge = scene.gauge(&world.manager, role).await;
            if gauge.is_empty() { Ok(()) } else { Err(format!("{gauge:?}")) }
        })
        .await;
    }
    scene.engine.pods.clear_counts();
    scene.create(&whole).await;
    eventually(SOON, "heads and singles are asked", async || {
        let counts = scene.engine.pods.counts();
        let all = [head, singles[0], singles[1]].iter().all(|pod| counts.contains_key(pod));
        if all && !counts.contains_key(&tail) { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
}

// scenario: pod-autoscaler 46
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_kind_with_replicas_and_a_selector_is_scaled_where_permitted() {
    let scene = Scene::new(&bare().await.plane, "kinds").await;
    let mut set = scene.named("apps/v1", "ReplicaSet", "set");
    set["spec"] = objects::deployment(&scene.ns, "set", 2)["spec"].clone();
    let mut stateful = scene.named("apps/v1", "StatefulSet", "stateful");
    stateful["spec"] = objects::deployment(&scene.ns, "stateful", 2)["spec"].clone();
    stateful["spec"]["serviceName"] = json!("stateful");
    let mut widget = scene.named("example.org/v1", "Widget", "widget");
    widget["spec"] = json!({"replicas": 2, "selector": {"matchLabels": {"app": "widget"}}, "color": "blue"});
    for target in [&set, &stateful, &widget] {
        scene.create(target).await;
        let name = target["metadata"]["name"].as_str().expect("a name");
        for pod in scene.pods(name, 2).await {
            scene.load(pod, 20.0);
        }
        let mut it = scene.autoscaler(name, "APA", "10");
        let text = |field: &str| target[field].as_str().expect("text").to_owned();
        onto(&mut it, (&text("apiVersion"), &text("kind")), name);
        scene.create(&it).await;
    }
    for target in [&set, &stateful] {
        scene.until(target, SOON, "it is doubled", |seen| seen["spec"]["replicas"] == 4).await;
    }
    let it = scene.named("autoscaling.aibrix.ai/v1alpha1", "PodAutoscaler", "widget");
    let seen = scene.until_said(&it, "AbleToScale", "False/FailedGetScale", SOON).await;
    let message =
        condition(&seen, "AbleToScale").expect("said")["message"].as_str().expect("text").to_owned();
    assert!(message.contains("forbidden"), "{message}");
    // To read is not to write.
    allow(&scene, &["get"]).await;
    scene.until_said(&it, "AbleToScale", "False/FailedUpdateScale", SOON).await;
    scene.until_event("widget", "Warning FailedRescale: ").await;
    allow(&scene, &["get", "patch"]).await;
    let seen = scene.until(&widget, 2 * SOON, "it is doubled", |seen| seen["spec"]["replicas"] == 4).await;
    assert_eq!(seen["spec"]["color"], "blue");
    scene.until_said(&it, "AbleToScale", "True/SucceededGetScale", 2 * SYNC).await;
}

// scenario: hardening 33
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_kind_keeps_at_paths_of_its_own_is_read_and_written_by_its_scale() {
    let plane = &bare().await.plane;
    let scene = Scene::new(plane, "scale").await;
    let (group, spec, label) = ("demo.example", ".spec.scale.count", ".status.labelSelector");
    serve_scaled(&scene, group, "ModelFleet", spec, label).await;
    let (leaders, hpa) = ("leaderworkerset.x-k8s.io", ".status.hpaPodSelector");
    serve_scaled(&scene, leaders, "LeaderWorkerSet", ".spec.replicas", hpa).await;

    let mut fleet = scene.named("demo.example/v1", "ModelFleet", "fleet");
    fleet["spec"] = json!({"scale": {"count": 2}, "color": "blue"});
    let mut set = scene.named("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "lws");
    set["spec"] = json!({"replicas": 2});
    let of_leader = |index: &str| json!({"leaderworkerset.sigs.k8s.io/name": "lws", "leaderworkerset.sigs.k8s.io/worker-index": index});
    let lead = "leaderworkerset.sigs.k8s.io/name=lws,leaderworkerset.sigs.k8s.io/worker-index=0";
    for (target, status) in [
        (&fleet, json!({"labelSelector": "app=fleet", "replicas": 2})),
        (&set, json!({"hpaPodSelector": lead, "replicas": 2})),
    ] {
        scene.create(target).await;
        scene.set_status(target, &status).await;
    }
    for n in 0..2 {
        let pod = scene.pod(&format!("fleet-{n}"), &json!({"app": "fleet"})).await;
        scene.load(pod, 20.0);
        let pod = scene.pod(&format!("lws-{n}"), &of_leader("0")).await;
        scene.load(pod, 20.0);
        // Workers answer, too, but nobody asks them.
        let worker = scene.pod(&format!("lws-{n}-1"), &of_leader("1")).await;
        scene.load(worker, 0.0);
    }
    for (target, name) in [(&fleet, "fleet"), (&set, "lws")] {
        let mut it = scene.autoscaler(name, "APA", "10");
        it["spec"]["maxReplicas"] = json!(4);
        let text = |field: &str| target[field].as_str().expect("text").to_owned();
        onto(&mut it, (&text("apiVersion"), &text("kind")), name);
        scene.create(&it).await;
    }
    // The shipped roles name the scale of LeaderWorkerSets.
    scene.until(&set, SOON, "it is doubled", |seen| seen["spec"]["replicas"] == 4).await;
    let it = scene.named("autoscaling.aibrix.ai/v1alpha1", "PodAutoscaler", "fleet");
    let seen = scene.until_said(&it, "AbleToScale", "False/FailedGetScale", SOON).await;
    let message = condition(&seen, "AbleToScale").expect("said")["message"].as_str().expect("text");
    assert!(message.contains("modelfleets/scale"), "{message}");
    grant(&scene, group, "modelfleets/scale", &["get", "patch"]).await;
    let seen =
        scene.until(&fleet, 2 * SOON, "it is doubled", |seen| seen["spec"]["scale"]["count"] == 4).await;
    assert_eq!(seen["spec"], json!({"scale": {"count": 4}, "color": "blue"}));
    let workers = scene.engine.pods.counts();
    assert!(workers.len() == 4, "leaders and pods of the fleet only: {workers:?}");
}

// scenario: hardening 33
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_scale_may_not_be_used_the_object_is() {
    let scene = Scene::new(&bare().await.plane, "noscale").await;
    let group = "plain.example";
    serve_scaled(&scene, group, "ModelPool", ".spec.replicas", ".status.selector").await;
    let mut pool = scene.named("plain.example/v1", "ModelPool", "pool");
    pool["spec"] = json!({"replicas": 2});
    scene.create(&pool).await;
    scene.set_status(&pool, &json!({"selector": "app=pool", "replicas": 2})).await;
    for pod in scene.pods("pool", 2).await {
        scene.load(pod, 20.0);
    }
    grant(&scene, group, "modelpools", &["get", "patch"]).await;
    let mut it = scene.autoscaler("pool", "APA", "10");
    it["spec"]["maxReplicas"] = json!(4);
    onto(&mut it, ("plain.example/v1", "ModelPool"), "pool");
    scene.create(&it).await;
    scene.until(&pool, 2 * SOON, "it is doubled", |seen| seen["spec"]["replicas"] == 4).await;
    scene.until_said(&it, "AbleToScale", "True/SucceededGetScale", SOON).await;
}

/// Serves a kind whose scale is made of these paths.
async fn serve_scaled(scene: &Scene, group: &str, kind: &str, spec: &str, selector: &str) {
    let mut it = crd(group, kind);
    it["spec"]["versions"][0]["name"] = json!("v1");
    it["spec"]["versions"][0]["subresources"]["scale"] = json!({
        "specReplicasPath": spec, "statusReplicasPath": ".status.replicas", "labelSelectorPath": selector,
    });
    objects::create(&scene.client, &it).await;
    eventually(SOON, &format!("{kind} is served"), async || {
        let api = api(&scene.client, &format!("{group}/v1"), kind, "default");
        api.list(&ListParams::default()).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

/// What an administrator grants for widgets, in place of what was granted before.
async fn allow(scene: &Scene, verbs: &[&str]) {
    grant(scene, "example.org", "widgets", verbs).await;
}

/// What an administrator grants for a resource, in place of what was granted before.
async fn grant(scene: &Scene, group: &str, resource: &str, verbs: &[&str]) {
    let rbac = "rbac.authorization.k8s.io";
    let mut role = scene.named(&format!("{rbac}/v1"), "Role", "targets");
    role["rules"] = json!([{"apiGroups": [group], "resources": [resource], "verbs": verbs}]);
    if scene.get(&role).await.expect("read").is_some() {
        scene.patch(&role, &json!({"rules": role["rules"]})).await;
        return;
    }
    scene.create(&role).await;
    let mut binding = scene.named(&format!("{rbac}/v1"), "RoleBinding", "targets");
    binding["roleRef"] = json!({"apiGroup": rbac, "kind": "Role", "name": "targets"});
    binding["subjects"] =
        json!([{"kind": "ServiceAccount", "name": install::NAME, "namespace": install::NAMESPACE}]);
    scene.create(&binding).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_that_make_no_sense_are_reported_and_left_alone() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "strange").await;
    let mut targets = Vec::new();
    for (name, api_version, kind, says) in [
        ("unknown", "example.org/v1", "Gadget", "unable to determine resource for scale target reference: "),
        ("slashes", "a/b/c", "Deployment", "invalid API version in scale target reference: "),
        ("cluster", "v1", "Node", "unable to determine resource for scale target reference: "),
        ("core", "", "Deployment", "unable to determine resource for scale target reference: "),
    ] {
        scene.say(name, 100);
        let mut it = scene.by_endpoint(name, "APA", "10");
        onto(&mut it, (api_version, kind), name);
        scene.create(&it).await;
        targets.push((it, says));
    }
    for (it, says) in &targets {
        let seen = scene.until_said(it, "AbleToScale", "False/FailedGetScale", SOON).await;
        let message =
            condition(&seen, "AbleToScale").expect("said")["message"].as_str().expect("text").to_owned();
        assert!(message.starts_with(&format!("unable to get target scaleObj: {says}")), "{message}");
    }
    // Without replicas, and without a selector.
    for (name, spec, event) in [
        (
            "countless",
            json!({"selector": {"matchLabels": {"a": "b"}}}),
            "Warning FailedGetReplicas: Error extracting replicas: the 'replicas' field was not found in the scale object",
        ),
        (
            "open",
            json!({"replicas": 2, "selector": {}}),
            "Warning FailedComputeScale: failed to compute metric-based replicas: failed to get pod selector: ",
        ),
    ] {
        let mut fleet = scene.named("orchestration.aibrix.ai/v1alpha1", "RayClusterFleet", name);
        fleet["spec"] = spec;
        scene.create(&fleet).await;
        let mut it = scene.by_endpoint(name, "APA", "10");
        onto(&mut it, ("orchestration.aibrix.ai/v1alpha1", "RayClusterFleet"), name);
        scene.create(&it).await;
        scene.until_event(name, event).await;
        scene.stays(&fleet, &scene.passes(&world.manager, name), 2).await;
    }
    let look = async || {
        let events = scene.events("unknown").await?;
        if events.len() == 1 { Ok(()) } else { Err(format!("{events:?}")) }
    };
    scene.passes(&world.manager, "unknown").hold(2, "one event for each", look).await;
}

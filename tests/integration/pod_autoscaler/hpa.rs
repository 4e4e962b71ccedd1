// SPDX-License-Identifier: Apache-2.0
//! Strategy HPA: the generated HorizontalPodAutoscaler.

use std::collections::BTreeMap;

use aibrix_controller_manager::testkit::metrics_api::PodUsage;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    scene::{Scene, all_day, api_of, condition, said, scale, version},
    world::{PERIOD, SOON, SYNC, World, bare, full},
};
use crate::support::{eventually, objects};

fn hpa_of(it: &Value, scene: &Scene) -> Value {
    scene.hpa(&format!("{}-hpa", it["metadata"]["name"].as_str().expect("a name")))
}

// scenario: pod-autoscaler 18
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_has_one_owner_and_follows_the_bounds() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "hpa").await;
    let mut it = scene.autoscaler("web", "HPA", "10");
    it["metadata"]["labels"] = json!({"team": "a"});
    it["metadata"]["annotations"] =
        json!({"note": "b", "kubectl.kubernetes.io/last-applied-configuration": "{}"});
    it["spec"]["minReplicas"] = json!(3);
    it["spec"]["maxReplicas"] = json!(7);
    scene.create(&it).await;
    let hpa = hpa_of(&it, &scene);
    let seen = scene.until(&hpa, SOON, "it exists", |_| true).await;
    let uid = scene.get(&it).await.expect("read").expect("there")["metadata"]["uid"].clone();
    assert_eq!(
        seen["metadata"]["ownerReferences"],
        json!([{"apiVersion": "autoscaling.aibrix.ai/v1alpha1", "kind": "PodAutoscaler", "name": "web",
                "uid": uid, "controller": true, "blockOwnerDeletion": true}])
    );
    assert_eq!(seen["metadata"]["labels"], json!({"team": "a"}));
    assert_eq!(seen["metadata"]["annotations"], json!({"note": "b"}));
    assert_eq!(
        seen["spec"]["scaleTargetRef"],
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"})
    );
    assert_eq!((&seen["spec"]["minReplicas"], &seen["spec"]["maxReplicas"]), (&json!(3), &json!(7)));
    for (min, max, stored) in [(2, 10, 2), (0, 10, 1)] {
        scene.patch(&it, &json!({"spec": {"minReplicas": min, "maxReplicas": max}})).await;
        scene
            .until(&hpa, SYNC, "it follows", |seen| {
                seen["spec"]["minReplicas"] == stored && seen["spec"]["maxReplicas"] == max
            })
            .await;
    }
    // By hand it is restored, whatever is done to it.
    scene.patch(&hpa, &json!({"spec": {"maxReplicas": 99}})).await;
    scene.until(&hpa, SYNC, "its bounds are restored", |seen| seen["spec"]["maxReplicas"] == 10).await;
    scene.delete(&hpa).await;
    scene.until(&hpa, SYNC, "it is made again", |_| true).await;
    scene.stays(&hpa, &scene.passes(&world.manager, "web"), 3).await;
}

// scenario: pod-autoscaler 19, 21, 22
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_and_behaviour_are_those_of_the_table() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "mapping").await;
    let source = |metric: &str, value: &str| json!({"metricSourceType": "custom", "targetMetric": metric, "targetValue": value});
    let with = |name: &str, sources: Value, annotations: Value| {
        let mut it = scene.autoscaler(name, "HPA", "10");
        it["metadata"]["annotations"] = annotations;
        it["spec"]["metricsSources"] = sources;
        it
    };
    let key = |name: &str| format!("autoscaling.aibrix.ai/{name}");
    let three = json!([source("other", "50"), source("cpu", "30"), source("memory", "128")]);
    let plain = with("plain", three, json!({}));
    let rates = json!({
        key("max-scale-up-rate"): "3", key("max-scale-down-rate"): "4",
        key("scale-up-cooldown-window"): "30s", key("scale-down-cooldown-window"): "10m",
    });
    let limited = with("limited", json!([source("other", "0.5")]), rates);
    let still = with("still", json!([source("other", "50")]), json!({key("max-scale-up-rate"): "1"}));
    for it in [&plain, &limited, &still] {
        scene.create(it).await;
    }
    let seen = scene.until(&hpa_of(&plain, &scene), SOON, "it exists", |_| true).await;
    assert_eq!(
        seen["spec"]["metrics"],
        json!([
            {"type": "Pods", "pods": {"metric": {"name": "other"}, "target": {"type": "AverageValue", "averageValue": "50"}}},
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 30}}},
            {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "128Mi"}}},
        ])
    );
    let rules = |seconds: i64, select: &str, percent: i64| {
        json!({"stabilizationWindowSeconds": seconds, "selectPolicy": select,
               "policies": [{"type": "Percent", "value": percent, "periodSeconds": 60}]})
    };
    assert_eq!(
        seen["spec"]["behavior"],
        json!({"scaleUp": rules(0, "Max", 100), "scaleDown": rules(300, "Min", 50)})
    );
    let seen = scene.until(&hpa_of(&limited, &scene), SOON, "it exists", |_| true).await;
    assert_eq!(seen["spec"]["metrics"][0]["pods"]["target"]["averageValue"], "500m");
    assert_eq!(
        seen["spec"]["behavior"],
        json!({"scaleUp": rules(30, "Max", 200), "scaleDown": rules(600, "Min", 75)})
    );
    let seen = scene.until(&hpa_of(&still, &scene), SOON, "it exists", |_| true).await;
    assert_eq!(seen["spec"]["behavior"]["scaleUp"]["selectPolicy"], "Disabled");
    for it in [&plain, &limited, &still] {
        scene.until_said(it, "AbleToScale", "True/Configured", SOON).await;
        let passes = scene.passes(&world.manager, it["metadata"]["name"].as_str().expect("a name"));
        scene.stays(&hpa_of(it, &scene), &passes, 2).await;
    }
}

// scenario: pod-autoscaler 20
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_active_schedule_sets_its_bounds() {
    let scene = Scene::new(&bare().await.plane, "scheduled").await;
    let mut it = scene.autoscaler("web", "HPA", "10");
    it["spec"]["maxReplicas"] = json!(3);
    it["spec"]["schedules"] = json!([all_day(&json!({"minReplicas": 4, "maxReplicas": 7}))]);
    scene.create(&it).await;
    scene
        .until(&hpa_of(&it, &scene), SOON, "4 to 7", |seen| {
            seen["spec"]["minReplicas"] == 4 && seen["spec"]["maxReplicas"] == 7
        })
        .await;
    let bounds = json!({"activeSchedule": "all-day", "effectiveMinReplicas": 4, "effectiveMaxReplicas": 7});
    scene.until(&it, SOON, "the status tells it", |seen| seen["status"]["scheduledBounds"] == bounds).await;
}

// scenario: pod-autoscaler 23
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_strategy_deletes_what_is_ours_and_nothing_else() {
    let scene = Scene::new(&bare().await.plane, "switch").await;
    scene.deployment("web", 1).await;
    scene.say("web", 10);
    let it = scene.autoscaler("web", "HPA", "10");
    scene.create(&it).await;
    scene.until(&hpa_of(&it, &scene), SOON, "it exists", |_| true).await;
    scene
        .patch(
            &it,
            &json!({"spec": {"scalingStrategy": "APA", "metricsSources": [scene.endpoint("web", "10")]}}),
        )
        .await;
    eventually(SYNC, "the HPA is deleted", async || {
        if scene.get(&hpa_of(&it, &scene)).await?.is_none() { Ok(()) } else { Err("it is there".to_owned()) }
    })
    .await;
    scene.until_said(&it, "AbleToScale", "True/SucceededGetScale", SYNC).await;

    let mut foreign = scene.hpa("other-hpa");
    foreign["spec"] = json!({"maxReplicas": 4, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "other"}});
    scene.create(&foreign).await;
    let before = version(&scene.get(&foreign).await.expect("read").expect("there"));
    let it = scene.autoscaler("other", "HPA", "10");
    scene.create(&it).await;
    scene.until_said(&it, "AbleToScale", "False/HPANameConflict", SOON).await;
    scene.until_event("other", "Warning HPANameConflict: ").await;
    scene.patch(&it, &json!({"spec": {"scalingStrategy": "KPA"}})).await;
    scene.until_said(&it, "AbleToScale", "False/FailedGetScale", SOON).await;
    scene.delete(&it).await;
    // One that came later acts by now.
    let later = scene.autoscaler("later", "HPA", "10");
    scene.create(&later).await;
    scene.until(&hpa_of(&later, &scene), SOON, "it exists", |_| true).await;
    assert_eq!(version(&scene.get(&foreign).await.expect("read").expect("there")), before);
}

// scenario: pod-autoscaler 24
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_status_is_shown_at_once_and_word_for_word() {
    let world = bare().await;
    let scene = Scene::new(&world.plane, "copied").await;
    let it = scene.autoscaler("web", "HPA", "10");
    scene.create(&it).await;
    let hpa = hpa_of(&it, &scene);
    scene.until(&hpa, SOON, "it exists", |_| true).await;
    let (last, since) = ("2026-11-24T10:00:00Z", "2026-11-24T09:59:58Z");
    // With a look each period alone, each write but the first would wait for one.
    let written = crate::support::wait::instant();
    let patch = async |status: &Value| {
        api_of(&scene.client, &hpa)
            .patch_status("web-hpa", &PatchParams::default(), &Patch::Merge(status))
            .await
            .expect("patch the status of the HPA");
    };
    for count in 5..10 {
        patch(&json!({"status": {"currentReplicas": count, "desiredReplicas": count}})).await;
        scene.until(&it, SYNC, "the status is copied", |seen| scale(seen) == (count, count)).await;
    }
    assert!(written.elapsed() < 4 * PERIOD, "without waiting for a tick: {:?}", written.elapsed());
    let told = |kind: &str, status: &str, reason: &str| json!({"type": kind, "status": status, "reason": reason, "message": "100%s of %d", "lastTransitionTime": since});
    let conditions = json!([
        told("AbleToScale", "True", "ReadyForNewScale"),
        told("ScalingActive", "True", "ValidMetricFound"),
        told("ScalingLimited", "False", "DesiredWithinRange"),
    ]);
    let status = json!({"status": {"currentReplicas": 2, "desiredReplicas": 3, "lastScaleTime": last, "conditions": conditions}});
    patch(&status).await;
    let seen = scene
        .until(&it, SYNC, "the status is copied", |seen| {
            scale(seen) == (3, 2) && seen["status"]["lastScaleTime"] == last
        })
        .await;
    for (kind, text) in [
        ("AbleToScale", "True/ReadyForNewScale"),
        ("ScalingActive", "True/ValidMetricFound"),
        ("ScalingLimited", "False/DesiredWithinRange"),
    ] {
        assert_eq!(said(&seen, kind), text);
        assert_eq!(condition(&seen, kind).expect("said")["message"], "100%s of %d");
    }
    assert_eq!(said(&seen, "Ready"), "False/ReconcilingScaleDiff");
    scene.stays(&it, &scene.passes(&world.manager, "web"), 3).await;
}

// scenario: pod-autoscaler 25
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_service_gets_one_and_nothing_holds_the_autoscaler_back() {
    let scene = Scene::new(&bare().await.plane, "service").await;
    let mut it = scene.autoscaler("llm", "HPA", "10");
    it["spec"]["scaleTargetRef"] =
        json!({"apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "StormService", "name": "llm"});
    scene.create(&it).await;
    let seen = scene.until(&hpa_of(&it, &scene), SOON, "it exists", |_| true).await;
    assert_eq!(seen["spec"]["scaleTargetRef"], it["spec"]["scaleTargetRef"]);
    scene.delete(&it).await;
    assert!(scene.get(&it).await.expect("read").is_none(), "it is gone at once");
}

fn usage(world: &World, ns: &str, pods: &[Pod], cpu: &str) {
    for pod in pods {
        let labels: BTreeMap<String, String> = pod.labels().clone();
        let usage = PodUsage { labels, containers: vec![(cpu.to_owned(), "64Mi".to_owned())] };
        world.values.pod(ns, &pod.name_any(), Some(usage));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_controller_acts_on_it_and_the_status_follows() {
    let world = full().await;
    let scene = Scene::new(&world.plane, "real").await;
    scene.create(&objects::deployment(&scene.ns, "web", 2)).await;
    let pods: Api<Pod> = Api::namespaced(scene.client.clone(), &scene.ns);
    let running = async |want: usize| {
        eventually(SOON, "the pods run", async || {
            let list = pods.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            let ran =
                |pod: &&Pod| pod.status.as_ref().is_some_and(|it| it.phase.as_deref() == Some("Running"));
            let up = list.iter().filter(ran).count();
            if up == want { Ok(list.items) } else { Err(format!("{up} pods run")) }
        })
        .await
    };
    let two = running(2).await;
    // Each pod requests 100m: 80 % used at a target of 40 %.
    usage(world, &scene.ns, &two, "80m");
    let mut it = scene.autoscaler("web", "HPA", "40");
    it["spec"]["metricsSources"] =
        json!([{"metricSourceType": "resource", "targetMetric": "cpu", "targetValue": "40"}]);
    scene.create(&it).await;
    scene.until_replicas("web", 4, 2 * SOON).await;
    let four = running(4).await;
    usage(world, &scene.ns, &four, "40m");
    let seen = scene
        .until(&it, 2 * SOON, "it is settled at four", |seen| {
            scale(seen) == (4, 4) && said(seen, "ScalingActive") == "True/ValidMetricFound"
        })
        .await;
    assert_eq!(condition(&seen, "AbleToScale").expect("said")["status"], "True");
    assert_eq!(said(&seen, "Ready"), "True/AsExpected");
    assert!(seen["status"]["lastScaleTime"].is_string());
    // With its autoscaler it goes: the garbage collector follows the owner, once it knows the kind: it asks for
    // new kinds every half minute.
    scene.delete(&it).await;
    eventually(4 * SOON, "the HPA is collected", async || match scene.get(&scene.hpa("web-hpa")).await? {
        None => Ok(()),
        Some(left) => Err(left.to_string()),
    })
    .await;
    // It does not come back, while another one is made.
    scene.create(&scene.autoscaler("later", "HPA", "40")).await;
    scene.until(&scene.hpa("later-hpa"), SOON, "it exists", |_| true).await;
    assert_eq!(scene.get(&scene.hpa("web-hpa")).await, Ok(None));
}

// SPDX-License-Identifier: Apache-2.0
//! Recorded templates, on a real API server, which compares them byte by byte.

use kube::{ResourceExt, api::ListParams};
use serde_json::{Value, json};

use crate::support::objects;

use super::{
    services::{COUNTS, service, sets, status},
    world::{Scene, role, said},
};

async fn recorded(scene: &Scene, name: &str) -> Vec<Value> {
    let api = objects::api(&scene.client, "apps/v1", "ControllerRevision", Some(&scene.ns)).await;
    let listed = api.list(&ListParams::default().labels(&format!("name={name}"))).await.expect("list");
    let mut all: Vec<Value> = listed.into_iter().map(|it| json!(it)).collect();
    all.sort_by_key(|it| it["revision"].as_i64());
    all
}

async fn ready(scene: &Scene, it: &Value, holds: impl Fn(&Value) -> bool) -> Value {
    scene.ready_until(it, "it is ready", |seen| said(seen, "Ready") == "True/Ready" && holds(seen)).await
}

fn observed(seen: &Value) -> bool {
    seen["status"]["observedGeneration"] == seen["metadata"]["generation"]
}

// scenario: storm-service 27
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_that_comes_back_gets_its_name_and_a_new_number_whatever_it_contains() {
    let scene = Scene::new("history").await;
    let of = |args: &str| {
        let mut role = role("only", 1, "engine:1");
        role["template"]["spec"]["containers"][0]["args"] = json!([args]);
        role
    };
    for (name, args) in [("plain", "a"), ("shell", "a && b <c >d 2>&1 \u{2028} & \"e\"")] {
        let it = service(&scene, name, Some(1), &[of(args)]);
        scene.create(&it).await;
        let first = ready(&scene, &it, observed).await["status"]["currentRevision"].clone();
        for patch in [
            json!({"spec": {"replicas": 2}}),
            json!({"spec": {"paused": true}}),
            json!({"spec": {"paused": false, "updateStrategy": {"type": "RollingUpdate", "maxUnavailable": 2}}}),
            json!({"metadata": {"labels": {"a": "b"}}}),
        ] {
            scene.patch(&it, &patch).await;
            ready(&scene, &it, observed).await;
        }
        let before = recorded(&scene, name).await;
        assert_eq!((before.len(), &before[0]["revision"]), (1, &json!(1)));
        let to = |args: &str| json!({"spec": {"template": {"spec": {"roles": [of(args)]}}}});
        scene.patch(&it, &to("other")).await;
        ready(&scene, &it, |seen| observed(seen) && seen["status"]["currentRevision"] != first).await;
        scene.patch(&it, &to(args)).await;
        ready(&scene, &it, |seen| observed(seen) && seen["status"]["currentRevision"] == first).await;
        let after = recorded(&scene, name).await;
        let numbers: Vec<&Value> = after.iter().map(|it| &it["revision"]).collect();
        assert_eq!(numbers, [2, 3]);
        assert_eq!((&after[1]["metadata"]["name"], &after[1]["data"]), (&first, &before[0]["data"]));
        let live = sets(&scene, name).await;
        assert!(live.iter().all(|set| set["metadata"]["labels"]["storm-service-revision"] == first));
    }
}

// scenario: storm-service 32
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_made_again_at_once_has_a_revision_of_its_own() {
    let scene = Scene::new("again").await;
    let it = service(&scene, "llm", Some(1), &[role("only", 1, "engine:1")]);
    scene.create(&it).await;
    ready(&scene, &it, observed).await;
    objects::delete(&scene.client, &it).await;
    scene.until_gone(&it).await;
    // The old revision is still there: garbage is collected later.
    assert_eq!(recorded(&scene, "llm").await.len(), 1);
    let uid = scene.create(&it).await.uid();
    let seen = ready(&scene, &it, observed).await;
    let all = recorded(&scene, "llm").await;
    let current =
        all.iter().find(|it| it["metadata"]["name"] == seen["status"]["currentRevision"]).expect("it");
    assert_eq!(current["metadata"]["ownerReferences"][0]["uid"], json!(uid));
    let (hash, name) =
        (&current["metadata"]["labels"]["controller.kubernetes.io/hash"], &current["metadata"]["name"]);
    assert_eq!(json!(format!("llm-{}", hash.as_str().expect("a hash"))), *name);
    assert!(seen["status"]["collisionCount"].as_i64() > Some(0));
    assert_eq!(status(&seen, &COUNTS), [1, 1, 0, 1, 1, 1]);
}

// scenario: storm-service 47
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_of_sixty_bytes_fits_all_that_is_made_of_it() {
    let scene = Scene::new("long").await;
    let name = "a".repeat(60);
    let it = service(&scene, &name, Some(1), &[role("only", 1, "engine:1")]);
    scene.create(&it).await;
    let seen = ready(&scene, &it, observed).await;
    let revision = seen["status"]["currentRevision"].as_str().expect("a revision");
    assert_eq!((revision.len(), &revision[..57]), (63, format!("{}-", "a".repeat(56)).as_str()));
    let live = sets(&scene, &name).await;
    assert_eq!(live[0]["metadata"]["generateName"], "a".repeat(58));
}

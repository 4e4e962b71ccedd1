// SPDX-License-Identifier: Apache-2.0
//! Whose RoleSets are whose, and the end of a StormService.

use std::collections::BTreeMap;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::{eventually, objects};

use super::{
    services::{COUNTS, service, sets, status},
    world::{API_VERSION, PREFIX, SOON, Scene, role, said},
};

/// Uids of RoleSets that are not being deleted, by index.
async fn uids(scene: &Scene, name: &str) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let live =
        sets(scene, name).await.into_iter().filter(|set| set["metadata"]["deletionTimestamp"].is_null());
    live.map(|set| {
        let meta = &set["metadata"];
        (text(&meta["annotations"][format!("{PREFIX}/roleset-index")]), text(&meta["uid"]))
    })
    .collect()
}

async fn ready(scene: &Scene, it: &Value, replicas: i64) -> Value {
    scene
        .ready_until(it, "all are ready", |seen| {
            status(seen, &COUNTS[..2]) == [replicas, replicas] && said(seen, "Ready") == "True/Ready"
        })
        .await
}

// scenario: storm-service 9-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_with_one_selector_keep_to_their_own_role_sets() {
    let (here, there) = (Scene::new("here").await, Scene::new("there").await);
    let all = [(&here, "one"), (&here, "two"), (&there, "one"), (&there, "all")];
    let mut made = Vec::new();
    for (scene, name) in all {
        let mut it = service(scene, name, Some(2), &[role("only", 1, "engine:1")]);
        it["spec"]["selector"] =
            if name == "all" { json!({}) } else { json!({"matchLabels": {"app": "same"}}) };
        it["spec"]["template"]["metadata"]["labels"] = json!({"app": "same"});
        scene.create(&it).await;
        made.push(it);
    }
    let mut foreign = there.role_set("foreign", "Parallel", &[role("only", 1, "engine:1")]);
    foreign["metadata"]["labels"] = json!({"app": "same", "storm-service-name": "all"});
    there.create(&foreign).await;
    for ((scene, _), it) in all.iter().zip(&made) {
        ready(scene, it, 2).await;
    }
    let others = async || {
        (
            uids(&here, "two").await,
            uids(&there, "one").await,
            objects::get(&there.client, &foreign).await.is_some(),
        )
    };
    let before = others().await;
    assert_eq!((before.0.len(), before.1.len()), (2, 2));
    for (scene, it) in [(&here, &made[0]), (&there, &made[3])] {
        objects::delete(&scene.client, it).await;
        scene.until_gone(it).await;
    }
    assert_eq!(others().await, before);
    assert_eq!(
        (uids(&here, "one").await.len(), uids(&there, "all").await.len()),
        (0, 1),
        "the foreign one stays"
    );
}

// scenario: storm-service 7, 11-12
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_role_set_is_replaced_at_its_index_and_the_number_follows_the_scale() {
    let scene = Scene::new("scale").await;
    let it = service(&scene, "llm", Some(3), &[role("only", 1, "engine:1")]);
    scene.create(&it).await;
    let revision = ready(&scene, &it, 3).await["status"]["currentRevision"].clone();
    let before = uids(&scene, "llm").await;
    let lost = sets(&scene, "llm")
        .await
        .into_iter()
        .find(|set| set["metadata"]["uid"] == json!(before["1"]))
        .expect("it");
    objects::delete(&scene.client, &lost).await;
    let after = eventually(SOON, "another one has its index", async || {
        let after = uids(&scene, "llm").await;
        if after.len() == 3 && after.get("1") != before.get("1") {
            Ok(after)
        } else {
            Err(format!("{after:?}"))
        }
    })
    .await;
    assert_eq!((&after["0"], &after["2"]), (&before["0"], &before["2"]));
    assert!(
        sets(&scene, "llm")
            .await
            .iter()
            .all(|set| set["metadata"]["labels"]["storm-service-revision"] == revision)
    );

    let api = objects::api(&scene.client, API_VERSION, "StormService", Some(&scene.ns)).await;
    let patch = Patch::Merge(json!({"spec": {"replicas": 4}}));
    api.patch_scale("llm", &PatchParams::default(), &patch).await.expect("scale");
    ready(&scene, &it, 4).await;
    let scale = api.get_scale("llm").await.expect("the scale").status.expect("a status");
    assert_eq!((scale.replicas, scale.selector.as_deref()), (4, Some("storm-service-name=llm")));

    scene.patch(&it, &json!({"spec": {"replicas": 0}})).await;
    ready(&scene, &it, 0).await;
    assert!(sets(&scene, "llm").await.is_empty());
}

// scenario: storm-service 40
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletion_needs_no_selector_and_waits_for_the_last_role_set() {
    let scene = Scene::new("deletion").await;
    let mut it = service(&scene, "llm", Some(2), &[role("only", 1, "engine:1")]);
    it["metadata"]["finalizers"] = json!(["example.com/other"]);
    scene.create(&it).await;
    ready(&scene, &it, 2).await;
    let bad = json!({"matchExpressions": [{"key": "app", "operator": "Bogus"}], "matchLabels": null});
    scene.patch(&it, &json!({"spec": {"paused": true, "selector": bad}})).await;
    let held = sets(&scene, "llm").await.remove(0);
    let own = held["metadata"]["finalizers"].as_array().expect("finalizers").clone();
    let with_hold: Vec<Value> = own.iter().cloned().chain([json!("example.com/hold")]).collect();
    scene.patch(&held, &json!({"metadata": {"finalizers": with_hold}})).await;
    objects::delete(&scene.client, &it).await;
    eventually(SOON, "one is left", async || match sets(&scene, "llm").await.len() {
        1 => Ok(()),
        count => Err(count.to_string()),
    })
    .await;
    let finalizers = |seen: &Value| seen["metadata"]["finalizers"].to_string();
    let seen = objects::get(&scene.client, &it).await.expect("it is there");
    assert!(finalizers(&seen).contains("stormservice-finalizer"), "{}", finalizers(&seen));
    scene
        .until(&held, "only the hold is left", |seen| {
            seen["metadata"]["finalizers"] == json!(["example.com/hold"])
        })
        .await;
    scene.patch(&held, &json!({"metadata": {"finalizers": null}})).await;
    let seen =
        scene.until(&it, "ours is gone", |seen| !finalizers(seen).contains("stormservice-finalizer")).await;
    assert_eq!(seen["metadata"]["finalizers"], json!(["example.com/other"]));
    scene.patch(&it, &json!({"metadata": {"finalizers": null}})).await;
    scene.until_gone(&it).await;
}

// SPDX-License-Identifier: Apache-2.0
//! A database that is restored from a backup while the manager runs.

use serde_json::{Value, json};

use crate::support::{Options, eventually, install::NAMESPACE, manager::Manager, objects, wait};

use super::{
    scene::{Scene, scale},
    world::{QUICK, SOON, plane},
};

/// Writes between the backup and its restore: far more than are made after it, so that all versions after it are lower
/// than those that the manager has seen.
const WRITES: usize = 600;

// scenario: hardening 11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restored_backup_is_followed_by_a_manager_that_goes_on() {
    let plane = plane(Options::bare()).await;
    let manager = Manager::start(&plane, &QUICK).await;
    let scene = Scene::new(&plane, "restore").await;
    for name in ["kept", "undone", "later", "after"] {
        scene.say(name, 40);
    }
    let autoscaler = |name: &str| scene.by_endpoint(name, "KPA", "10");
    let scales = async |name: &str, to: i64| {
        scene.until_replicas(name, to, SOON).await;
        scene.until(&autoscaler(name), SOON, "it says so", |seen| scale(seen) == (to, to)).await
    };
    for name in ["kept", "undone"] {
        scene.deployment(name, 2).await;
        scene.create(&autoscaler(name)).await;
        scales(name, 4).await;
    }
    let backup = plane.backup();

    // What the restore will undo: a change, a deletion, and an object with its target.
    scene.say("kept", 80);
    scales("kept", 8).await;
    scene.delete(&autoscaler("undone")).await;
    scene.deployment("later", 2).await;
    scene.create(&autoscaler("later")).await;
    let vanishing = scales("later", 4).await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "count", "namespace": NAMESPACE}});
    objects::create(&scene.client, &map).await;
    for n in 0..WRITES {
        objects::patch(&scene.client, &map, &json!({"data": {"n": n.to_string()}})).await;
    }
    plane.restore(&backup).await;
    let restored = wait::now();

    // What is there again is followed, by the same process.
    scales("kept", 8).await;
    scene.say("undone", 60);
    scales("undone", 6).await;
    // So is what comes afterwards: its versions are lower than those that the watches have shown before.
    scene.deployment("after", 2).await;
    scene.create(&autoscaler("after")).await;
    let seen = scales("after", 4).await;
    let version = |seen: &Value| -> u64 {
        seen["metadata"]["resourceVersion"].as_str().and_then(|it| it.parse().ok()).expect("a number")
    };
    assert!(version(&seen) < version(&vanishing), "the test needs more writes before the restore");
    assert_eq!(manager.exit_status(), None);

    // Nothing was done about what is gone. What a pass that began before has sent is refused.
    assert_eq!(scene.get(&autoscaler("later")).await, Ok(None));
    let mut log = plane.audit();
    let about = log
        .entries()
        .iter()
        .filter(|it| it.received > restored && it.is_write() && it.is_ok() && it.is_in(&scene.ns));
    let about: Vec<_> = about
        .filter(|it| {
            it.caller.is_some() && it.object.as_ref().is_some_and(|object| object.name.starts_with("later"))
        })
        .collect();
    assert!(about.is_empty(), "{about:?}");

    // It was said and counted, once for each kind.
    let series = "aibrix_watch_history_rewritten_total{kind=\"podautoscalers.autoscaling.aibrix.ai\"}";
    eventually(SOON, "it was counted", async || match manager.metric(series).await {
        Ok(Some(1.0)) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let log = manager.log();
    let said = log.lines().filter(|line| {
        line.contains("the API server shows an older state than before")
            && line.contains("podautoscalers.autoscaling.aibrix.ai")
    });
    let said: Vec<_> = said.collect();
    assert!(said.len() == 1 && said[0].starts_with('W'), "{said:?}");
}

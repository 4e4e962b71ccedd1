// SPDX-License-Identifier: Apache-2.0
//! A thousand autoscalers of a dead engine, and one of a living one.

use std::time::Duration;

use aibrix_controller_manager::testkit::fake_engine::{Fault, Page};
use futures::{StreamExt, stream};
use serde_json::json;

use super::{
    scene::{Scene, condition},
    world::{ALONE, SOON, plane},
};
use crate::support::{Options, eventually, manager::Manager, wait::instant};

/// The period that is shipped.
const SHIPPED: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_of_a_dead_engine_delay_the_others_by_no_more_than_a_period() {
    let plane = plane(Options::bare()).await;
    let manager = Manager::start(&plane, &ALONE).await;
    let scene = Scene::new(&plane, "crowd").await;
    scene.deployment("good", 1).await;
    let pods = scene.pods("good", 1).await;
    scene.load(pods[0], 10.0);
    let mut good = scene.autoscaler("good", "APA", "10");
    // One sample is the whole window: the count follows the load of now.
    good["spec"]["observeWindowSeconds"] = json!(1);
    good["spec"]["panicWindowSeconds"] = json!(1);
    scene.create(&good).await;
    scene.until_said(&good, "Ready", "True/AsExpected", SOON).await;

    // A hundred places of one engine that takes every connection and never answers.
    for place in 0..100 {
        scene.engine.pods.set(None, &format!("dead-{place}"), Page::fault(Fault::Hang));
    }
    let made = stream::iter(0..1000).map(async |n| {
        let name = format!("bad-{n}");
        scene.deployment(&name, 1).await;
        let mut it = scene.by_endpoint(&name, "KPA", "10");
        it["spec"]["metricsSources"] = json!([scene.endpoint(&format!("dead-{}", n % 100), "10")]);
        scene.create(&it).await;
        it
    });
    let all: Vec<_> = made.buffer_unordered(32).collect().await;
    let last = all.last().expect("a thousand");

    let react = async |load: f64, want: i64| {
        scene.load(pods[0], load);
        let from = instant();
        scene.until_replicas("good", want, 6 * SHIPPED).await;
        from.elapsed()
    };
    // While they are new, and once they are known to fail.
    let first = react(20.0, 2).await;
    scene.load(pods[0], 10.0);
    eventually(3 * SOON, "they have failed", async || {
        let seen = scene.get(last).await?.ok_or("gone")?;
        if seen["status"]["scalingHistory"][0].is_object() { Ok(()) } else { Err(seen["status"].to_string()) }
    })
    .await;
    for pod in scene.pods_more("good", 1, 2).await {
        scene.load(pod, 20.0);
    }
    let second = react(20.0, 4).await;
    // A period for a machine that has other things to do. Up to a period until the next round in any case, and a
    // period of delay. While they are new, each has a first status to be written, of which the API server gets a
    // hundred a second. Whoever waited for the dead engine would wait for three seconds a hundred times.
    let slack = SHIPPED;
    assert!(first < 3 * SHIPPED + slack, "while they are new: {first:?}");
    assert!(second < 2 * SHIPPED + slack, "once they are known: {second:?}");
    let seen = scene.get(&good).await.expect("read").expect("there");
    assert!(condition(&seen, "ScalingActive").is_some());
    assert!(manager.exit_status().is_none());
}

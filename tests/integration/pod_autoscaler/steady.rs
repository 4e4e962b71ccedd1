// SPDX-License-Identifier: Apache-2.0
//! What is asked and written while nothing changes, with the period that is shipped.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{
    scene::{Scene, said, version},
    world::{ALONE, plane},
};
use crate::support::{Options, eventually, manager::Manager, wait::instant};

const MINUTE: Duration = Duration::from_mins(1);

// scenario: pod-autoscaler 12
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_or_asked_and_each_pod_is_scraped_once_per_period() {
    let plane = plane(Options::bare()).await;
    let manager = Manager::start(&plane, &ALONE).await;
    manager.wait_ready().await;
    let scene = Scene::new(&plane, "steady").await;
    let mut all: Vec<Value> = Vec::new();
    let mut pods = Vec::new();
    for n in 0..20 {
        let name = format!("web-{n}");
        scene.deployment(&name, 2).await;
        for pod in scene.pods(&name, 2).await {
            scene.load(pod, 10.0);
            pods.push(pod);
        }
        let mut it = scene.autoscaler(&name, ["APA", "KPA", "HPA"][n % 3], "10");
        // A second source at the same place costs no second scrape.
        let mut second = it["spec"]["metricsSources"][0].clone();
        second["targetMetric"] = json!("vllm:num_requests_running");
        it["spec"]["metricsSources"].as_array_mut().expect("a list").push(second);
        scene.create(&it).await;
        all.push(it);
    }
    for it in &all {
        scene.until_said(it, "Ready", "True/AsExpected", MINUTE).await;
    }
    let versions = async || {
        let mut versions = BTreeMap::new();
        for it in &all {
            let seen = scene.get(it).await.expect("read").expect("there");
            assert_eq!(said(&seen, "Ready"), "True/AsExpected", "{seen}");
            versions.insert(seen["metadata"]["name"].to_string(), version(&seen));
        }
        versions
    };
    // Until the last event is sent.
    let mut log = plane.audit();
    eventually(MINUTE, "a second without requests", async || {
        let mark = log.mark();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let ours = log.since(mark).iter().filter(|it| it.caller.is_some() && !it.is_lease()).count();
        if ours == 0 { Ok(()) } else { Err(ours.to_string()) }
    })
    .await;

    let before = versions().await;
    let mark = log.mark();
    scene.engine.pods.clear_counts();
    // Three syncs, and a little.
    let from = instant();
    tokio::time::sleep(Duration::from_secs(33)).await;
    // Rounds that began meanwhile: one each 10 s, wherever in it this began.
    let rounds = from.elapsed().as_secs() / 10;
    let counts = scene.engine.pods.counts();
    let (health, asked): (Vec<_>, Vec<_>) = log
        .since(mark)
        .iter()
        .filter(|it| it.caller.is_some() && !it.is_lease() && it.verb != "watch")
        .map(|it| (it.verb.clone(), it.uri.clone(), it.code))
        .partition(|(_, uri, _)| uri.ends_with("limit=1"));
    assert!(asked.is_empty(), "requests in a steady state: {asked:?}");
    // Whether the API server still answers reads, of which a silent watch says nothing: every 15 s the loop's own
    // kind and a quarter of the others, so that no other kind is asked twice within a minute.
    let mut reads: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, uri, _) in &health {
        *reads.entry(uri).or_default() += 1;
    }
    let own = reads.remove("/apis/autoscaling.aibrix.ai/v1alpha1/podautoscalers?&limit=1").unwrap_or(0);
    let probes = from.elapsed().as_secs() / 15;
    assert!((probes..=probes + 1).contains(&own), "{health:?}");
    assert!(!reads.is_empty() && reads.values().all(|reads| *reads == 1), "{health:?}");
    assert_eq!(versions().await, before);
    for (n, pod) in pods.iter().enumerate() {
        let count = counts.get(pod).and_then(|paths| paths.get("/metrics")).copied().unwrap_or(0);
        // HPAs scrape nothing; 7 a minute at most is 4 in 33 s.
        let want = if n / 2 % 3 == 2 { 0..=0 } else { rounds..=rounds + 1 };
        assert!(want.contains(&count), "pod {n}: {count} scrapes");
    }
}

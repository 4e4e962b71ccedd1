// SPDX-License-Identifier: Apache-2.0
//! What a term's work owes to its Lease: no work on old data, no Lease without work, no panic that spreads.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::support::{
    eventually,
    install::NAMESPACE,
    leases::history_of,
    manager::Launch,
    objects,
    probes::PLAYED,
    proxy::{Proxy, Rule, Treatment},
    wait::now,
};

use super::{
    EXPIRY, PROBED, SOON, assert_nothing_without_lease, debug_entry, default_lease, default_leases,
    holder_of, holders, managers, plane, wait_counting, wait_held,
};

/// By then a controller that cannot work has given its Lease away.
const GAVE_WAY: Duration = Duration::from_secs(90);
/// Longer than it stands back whatever its health.
const STANDS_BACK: Duration = Duration::from_secs(75);
const ARGS: [&str; 3] = ["--probe-loops", "--disable-webhook", "--leader-election-spread=false"];

/// A parent of which the probe loop of [`PROBED`] makes children.
fn parent(name: &str, children: u32) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"probe/parent": PROBED}},
        "data": {"children": children.to_string()},
    })
}

async fn children(client: &Client, parent: &str) -> Result<usize, String> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let params = ListParams::default().labels(&format!("probe/child-of={parent}"));
    Ok(maps.list(&params).await.map_err(|error| error.to_string())?.items.len())
}

async fn wait_children(client: &Client, parent: &str, want: usize) {
    eventually(SOON, &format!("{parent} has {want} children"), async || {
        let have = children(client, parent).await?;
        if have == want { Ok(()) } else { Err(format!("{have}")) }
    })
    .await;
}

async fn tell(client: &Client, controller: &str, key: &str, value: Option<&str>) {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let patch = json!({"data": {key: value}});
    maps.patch(&format!("probe-{controller}"), &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .expect("tell the probe loop");
}

// scenario: leader-election 11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn panic_moves_the_lease_of_its_controller_and_no_other() {
    let plane = plane().await;
    let client = plane.client().await;
    let mut log = plane.audit();
    let managers = managers(&plane, 2, &["--leader-election-spread=false"]).await;
    let all: Vec<_> = managers.iter().collect();
    let before = wait_held(&client, SOON, &default_leases(), &all).await;
    let lease = default_lease(PROBED);
    let victim = holder_of(&before, &lease, &managers);
    let heir = managers.iter().find(|it| it.pod_name() != victim.pod_name()).expect("another");
    wait_counting(&client, SOON, PROBED).await;

    tell(&client, PROBED, "panic-on", Some(victim.pod_name())).await;
    let line = victim.wait_for_line(SOON, "controller ended by itself").await;
    assert!(line.starts_with('E') && line.contains(PROBED), "{line}");
    let after = wait_held(&client, Duration::from_secs(10), std::slice::from_ref(&lease), &[heir]).await;
    wait_counting(&client, SOON, PROBED).await;
    for other in default_leases().iter().filter(|it| **it != lease) {
        assert_eq!(before.get(other), after.get(other), "{other} moved");
    }
    assert!(managers.iter().all(|it| it.exit_status().is_none()), "a manager ended");
    tell(&client, PROBED, "panic-on", None).await;
    assert_nothing_without_lease(&mut log);
}

// scenario: leader-election 13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn successor_whose_watch_lags_creates_no_child_twice() {
    let plane = plane().await;
    let client = plane.client().await;
    let mut log = plane.audit();
    let proxy = Proxy::start(&plane).await;
    let args: Vec<&str> = ARGS.iter().copied().chain(["--controllers=kv-cache-controller"]).collect();
    let first = Launch::new(&plane, &args).await.start();
    let lease = default_lease(PROBED);
    wait_held(&client, SOON, std::slice::from_ref(&lease), &[&first]).await;
    objects::create(&client, &parent("old", 2)).await;
    wait_children(&client, "old", 2).await;

    let mut launch = Launch::new(&plane, &args).await;
    launch.kubeconfig = proxy.manager_kubeconfig(&plane).await;
    let second = launch.start();
    second.wait_ready().await;
    eventually(SOON, "the standby watches ConfigMaps", async || {
        let seen = proxy.seen().iter().any(|it| it.contains("/configmaps") && it.contains("watch="));
        if seen { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    // From here on the standby sees no change of ConfigMaps through its watches.
    proxy.rule(vec![Rule::new(&["/configmaps", "watch="], Treatment::HoldBody)]);
    objects::create(&client, &parent("young", 5)).await;
    wait_children(&client, "young", 5).await;
    first.sigkill();
    wait_held(&client, EXPIRY, std::slice::from_ref(&lease), &[&second]).await;
    wait_counting(&client, SOON, PROBED).await;
    // It works on, and makes no child again.
    for _ in 0..10 {
        wait_counting(&client, SOON, PROBED).await;
    }
    assert_eq!((children(&client, "old").await, children(&client, "young").await), (Ok(2), Ok(5)));
    let created = log
        .entries()
        .iter()
        .filter(|it| it.verb == "create" && it.is_ok() && it.is_by(PROBED) && !it.is_lease())
        .filter(|it| it.object.as_ref().is_some_and(|object| object.resource == "configmaps"))
        .count();
    // Seven children and the counter.
    assert_eq!(created, 8, "ConfigMaps that the controller created");
    proxy.rule(Vec::new());
    assert_nothing_without_lease(&mut log);
}

// scenario: leader-election 14
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_that_cannot_work_gives_its_leases_to_one_that_can_and_takes_none_until_it_could() {
    let plane = plane().await;
    let client = plane.client().await;
    let mut log = plane.audit();
    let proxy = Proxy::start(&plane).await;
    let three = PLAYED.first_chunk::<3>().expect("three probe loops");
    let controllers = format!("--controllers={}", three.join(","));
    let args = ["--probe-loops", "--disable-webhook", &controllers];
    let leases: Vec<_> = three.iter().map(|it| default_lease(it)).collect();
    let mut launch = Launch::new(&plane, &args).await;
    launch.kubeconfig = proxy.manager_kubeconfig(&plane).await;
    let sick = launch.start();
    wait_held(&client, SOON, &leases, &[&sick]).await;
    for controller in three {
        wait_counting(&client, SOON, controller).await;
    }
    let healthy = Launch::new(&plane, &args).await.start();
    healthy.wait_ready().await;

    // Everything but Leases hangs.
    proxy.rule(vec![
        Rule::new(&["/configmaps", "watch="], Treatment::HoldBody),
        Rule::new(&["/configmaps"], Treatment::Hang),
    ]);
    wait_held(&client, GAVE_WAY, &leases, &[&healthy]).await;
    let moved = now();
    for controller in three {
        wait_counting(&client, SOON, controller).await;
    }
    let metrics = sick.metrics().await.expect("metrics");
    let gave: Vec<_> =
        metrics.lines().filter(|it| it.starts_with("leader_election_gave_way_total{")).collect();
    assert!(
        gave.iter().any(|it| leases.iter().any(|lease| it.contains(lease)) && !it.ends_with(" 0")),
        "{gave:?}"
    );

    // It would stand again now, and spreading would give it a Lease.
    tokio::time::sleep(STANDS_BACK).await;
    for (controller, lease) in three.iter().zip(&leases) {
        let entry = debug_entry(&sick, controller).await.expect("an entry");
        assert_eq!(entry["state"], "paused", "{entry}");
        let taken = history_of(log.entries(), NAMESPACE, lease);
        let taken: Vec<_> = taken.iter().filter(|it| it.received > moved && sick.is(&it.holder)).collect();
        assert!(taken.is_empty(), "a replica whose reads hang took {lease}: {taken:?}");
    }
    proxy.rule(Vec::new());
    eventually(EXPIRY * 2, "the replica that can work again leads a controller", async || {
        let holders = holders(&client).await?;
        let leads = leases.iter().any(|lease| holders.get(lease).is_some_and(|it| sick.is(it)));
        if leads { Ok(()) } else { Err(format!("{holders:?}")) }
    })
    .await;
    assert_nothing_without_lease(&mut log);
}

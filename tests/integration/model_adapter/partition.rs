// SPDX-License-Identifier: Apache-2.0
//! A leader whose cable is pulled under write load: what its kernel still holds reaches nobody after its term.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, api::ListParams};
use serde_json::json;

use crate::{
    election::{EXPIRY, assert_nothing_without_lease, default_leases, wait_held},
    support::{
        ControlPlane, Options,
        engines::{Asked, asked_without_lease},
        eventually,
        install::NAMESPACE,
        leases::{history_of, judged},
        manager::{Launch, Manager},
        network::Network,
        objects,
        probes::{PLAYED, allow_probes},
        wait::instant,
    },
};

use super::{
    scene::{Call, Scene},
    world::{LEASE, SOON},
};

const ARGS: [&str; 5] = [
    "--probe-loops",
    "--disable-webhook",
    "--leader-election-spread=false",
    "--kube-api-qps=-1",
    "--enable-runtime-sidecar",
];
/// Longer than a Lease, and shorter than the kernel goes on trying.
const PULLED: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_deposed_leader_sent_arrives_when_its_network_is_whole_again() {
    let plane = ControlPlane::start(Options::bare().reachable()).await;
    plane.install_without_storm_services().await;
    allow_probes(&plane).await;
    let network = Network::new(&plane).await;
    let first = network.hosts(&plane, Launch::new(&plane, &ARGS).await).start();
    let client = plane.client().await;
    wait_held(&client, SOON, &default_leases(), &[&first]).await;
    let second = Manager::start(&plane, &ARGS).await;
    second.wait_ready().await;

    // Writes under way at any moment: each probe loop makes children one after the other, an engine refuses loads.
    let scene = Scene::new(&plane, "cut").await;
    let pod = scene.pod("web-0").await;
    scene.refuse(pod, Call::Load, 500, "not now");
    for n in 0..20 {
        scene.create(&scene.adapter(&format!("a-{n}"))).await;
    }
    for controller in &PLAYED {
        let parent = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("many-{controller}"), "namespace": NAMESPACE,
                         "labels": {"probe/parent": controller}},
            "data": {"children": "3000"},
        });
        objects::create(&client, &parent).await;
    }
    scene.until_asked(pod, Call::Load, 20, SOON).await;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    eventually(SOON, "children are made", async || {
        let made = maps.list_metadata(&ListParams::default().labels("probe/child-of")).await;
        let made = made.map_err(|error| error.to_string())?.items.len();
        if made > 100 { Ok(()) } else { Err(made.to_string()) }
    })
    .await;

    let from = instant();
    network.pull();
    wait_held(&client, EXPIRY, &default_leases(), &[&second]).await;
    tokio::time::sleep(PULLED.saturating_sub(from.elapsed())).await;
    network.plug_in();
    network.until_all_is_delivered(2 * SOON).await;

    let mut audit = plane.audit();
    let writes = judged(audit.entries()).len();
    assert!(writes > 200, "{writes} writes prove little");
    assert_nothing_without_lease(&mut audit);
    let asked = Asked::all(&scene.engines.journal.entries());
    let late = asked_without_lease(&asked, &history_of(audit.entries(), NAMESPACE, LEASE));
    assert!(late.is_empty() && asked.len() >= 20, "of {}: {late:#?}", asked.len());
}

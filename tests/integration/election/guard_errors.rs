// SPDX-License-Identifier: Apache-2.0
//! The upgrade guard cannot use its Lease: it is said at once, again and again, and everywhere.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    eventually,
    install::NAMESPACE,
    manager::{Launch, Manager},
    objects,
    proxy::{Proxy, Rule, Treatment},
};

use super::{EXPIRY, PROBED, SOON, debug_entry, default_leases, go_manager::LEGACY, plane, wait_held};

/// How soon it is said.
const AT_ONCE: Duration = Duration::from_secs(5);
/// It is said again after this, and a moment.
const AGAIN: Duration = Duration::from_secs(30 + 5);
const PHRASE: &str = "cannot use the lease of older managers, no controller starts";
const COUNTER: &str = "leader_election_guard_errors_total";

fn told(manager: &Manager) -> Vec<String> {
    manager.log().lines().filter(|line| line.contains(PHRASE)).map(str::to_owned).collect()
}

/// The log says it within 5 s and again, `/debug/leases`, `/readyz?verbose` and the metric say it, too.
async fn assert_said(manager: &Manager, namespace: &str, why: &str) {
    manager.wait_ready().await;
    let line = manager.wait_for_line(AT_ONCE, PHRASE).await;
    assert!(line.starts_with('E'), "an error: {line}");
    for part in [format!("{namespace}/{LEGACY}").as_str(), namespace, why] {
        assert!(line.contains(part), "{part} is not in: {line}");
    }
    let entry = debug_entry(manager, PROBED).await.expect("its entry");
    let shown = entry["lastError"].as_str().unwrap_or_default();
    assert!(shown.contains(&format!("{namespace}/{LEGACY}")) && shown.contains(why), "{entry}");
    let ready = manager.get("/readyz?verbose").await.expect("an answer");
    assert!(
        ready.body.contains(&format!("{namespace}/{LEGACY}")) && ready.body.contains(why),
        "{}",
        ready.body
    );
    let counted = manager.metric(COUNTER).await.expect("metrics").unwrap_or_default();
    assert!(counted >= 1.0, "{counted}");
    eventually(AGAIN, "it is said again", async || match told(manager).len() {
        0 | 1 => Err("once".to_owned()),
        2 | 3 => Ok(()),
        more => panic!("{more} times"),
    })
    .await;
}

// scenario: hardening 59
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespace_that_does_not_exist_is_named_until_it_appears() {
    let plane = plane().await;
    let client = plane.client().await;
    let args = ["--probe-loops", "--disable-webhook", "--leader-election-namespace=absent"];
    let mut launch = Launch::new(&plane, &args).await;
    // The roles of the manager are in namespaces that exist.
    launch.kubeconfig = plane.admin_kubeconfig().to_owned();
    let manager = launch.start();
    assert_said(&manager, "absent", "not found").await;
    objects::create(&client, &objects::namespace("absent")).await;
    eventually(Duration::from_secs(10), "it works", async || {
        let entry = debug_entry(&manager, PROBED).await?;
        if entry["state"] == "leading" && entry["lastError"].is_null() {
            Ok(())
        } else {
            Err(entry.to_string())
        }
    })
    .await;
}

// scenario: hardening 59
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guards_lease_that_is_forbidden_is_named_until_it_is_allowed() {
    let plane = plane().await;
    let client = plane.client().await;
    let released = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"namespace": NAMESPACE, "name": LEGACY},
        "spec": {"holderIdentity": "", "leaseDurationSeconds": 1},
    });
    objects::create(&client, &released).await;
    let proxy = Proxy::start(&plane).await;
    proxy.rule(vec![Rule::new(&["PATCH", "/leases/aibrix-controller-manager?"], Treatment::Refuse(403))]);
    let mut launch = Launch::new(&plane, &["--probe-loops", "--disable-webhook"]).await;
    launch.kubeconfig = proxy.manager_kubeconfig(&plane).await;
    let manager = launch.start();
    assert_said(&manager, NAMESPACE, "Failed to update lock").await;
    proxy.rule(Vec::new());
    wait_held(&client, EXPIRY.min(SOON), &default_leases(), &[&manager]).await;
    let entry = debug_entry(&manager, PROBED).await.expect("its entry");
    assert!(entry["lastError"].is_null(), "{entry}");
}

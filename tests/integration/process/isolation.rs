// SPDX-License-Identifier: Apache-2.0
//! Missing kinds and permissions of one controller leave the others alone.

use std::time::Duration;

use k8s_openapi::api::core::v1::Event;
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams},
};
use serde_json::{Value, json};

use crate::{
    election::{
        SOON, allow_probes, default_lease, default_leases, plane, wait_counting, wait_held, wait_renewed,
    },
    support::{
        ControlPlane, Options, eventually, install::NAMESPACE, leases::history_of, manager::Manager, objects,
        tools::repository, wait::now,
    },
};

const ARGS: [&str; 3] = ["--probe-loops", "--disable-webhook", "--leader-election-spread=false"];
const AUTOSCALER: &str = "pod-autoscaler-controller";

fn others() -> Vec<String> {
    default_leases().into_iter().filter(|it| *it != default_lease(AUTOSCALER)).collect()
}

/// Creates an autoscaler and waits until its status tells of a pass.
async fn wait_reconciled(client: &Client, ns: &str, within: Duration) {
    let autoscaler = objects::pod_autoscaler(ns, "seen", "APA");
    objects::create(client, &autoscaler).await;
    eventually(within, "the autoscaler is reconciled", async || {
        let seen = objects::get(client, &autoscaler).await.ok_or("gone")?;
        if seen["status"]["conditions"].is_array() { Ok(()) } else { Err(seen["status"].to_string()) }
    })
    .await;
}

/// Names the shipped combined role.
fn combined_role() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "aibrix-controller-manager-role"},
    })
}

/// The spec's example is the model-claim controller; the rule is the same for each, and the pod autoscaler
/// is the one that has CRDs in this build.
// scenario: manager-and-deployment 27
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn controller_without_its_crd_waits_alone_and_starts_when_it_comes() {
    let plane = ControlPlane::start(Options::bare()).await;
    plane.install_gateway_api().await;
    plane.apply_crds(&repository().join("deploy/crds/model.aibrix.ai_modeladapters.yaml")).await;
    plane.apply_kustomization(&repository().join("deploy/kustomize/overlays/release")).await;
    allow_probes(&plane).await;
    let client = plane.client().await;
    let manager = Manager::start(&plane, &ARGS).await;
    wait_held(&client, SOON, &others(), &[&manager]).await;
    wait_renewed(&client, &others()).await;
    let state = format!("aibrix_controller_state{{controller=\"{AUTOSCALER}\",state=\"waitingForCRD\"}}");
    assert_eq!(manager.metric(&state).await.expect("metrics"), Some(1.0));

    let installed = now();
    plane.apply_crds(&repository().join("deploy/crds")).await;
    let ns = plane.namespace("late-crd").await;
    let client = plane.client().await;
    wait_held(&client, Duration::from_secs(60), &[default_lease(AUTOSCALER)], &[&manager]).await;
    let taken = history_of(plane.audit().entries(), NAMESPACE, &default_lease(AUTOSCALER));
    assert!(taken.iter().all(|it| it.received > installed), "it did not contend before: {taken:?}");
    wait_reconciled(&client, &ns, Duration::from_secs(60)).await;
    assert!(manager.exit_status().is_none());
}

/// As above: the rule is shown on the pod autoscaler.
// scenario: manager-and-deployment 28
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn controller_that_may_not_list_its_kind_fails_alone_and_retries() {
    let plane = plane().await;
    let client = plane.client().await;
    let role = combined_role();
    let shipped = objects::get(&client, &role).await.expect("the shipped ClusterRole");
    let mut without = shipped["rules"].clone();
    for rule in without.as_array_mut().expect("rules") {
        if let Some(resources) = rule["resources"].as_array_mut() {
            resources.retain(|it| it != "podautoscalers");
        }
    }
    if let Some(rules) = without.as_array_mut() {
        rules.retain(|rule| rule["resources"].as_array().is_none_or(|it| !it.is_empty()));
    }
    objects::patch(&client, &role, &json!({"rules": without})).await;
    let manager = Manager::start(&plane, &ARGS).await;
    wait_held(&client, SOON, &others(), &[&manager]).await;
    wait_counting(&client, SOON, "stormservice-controller").await;
    eventually(Duration::from_secs(30), "the log names the kind and the cause", async || {
        let log = manager.log();
        let told = log.lines().any(|it| it.contains("podautoscalers") && it.contains("forbidden"));
        if told { Ok(()) } else { Err(log.lines().last().unwrap_or_default().to_owned()) }
    })
    .await;
    objects::patch(&client, &role, &json!({"rules": shipped["rules"]})).await;
    let ns = plane.namespace("allowed").await;
    wait_reconciled(&client, &ns, Duration::from_secs(180)).await;
    assert!(manager.exit_status().is_none());
}

/// AIBrix's roles lack `metrics.k8s.io` and `custom.metrics.k8s.io`; all else must do.
// scenario: manager-and-deployment 30
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_of_aibrix_suffice_for_all_but_the_metrics_apis() {
    let plane = plane().await;
    let client = plane.client().await;
    let role = combined_role();
    let shipped = objects::get(&client, &role).await.expect("the shipped ClusterRole");
    let rules: Vec<_> = shipped["rules"]
        .as_array()
        .expect("rules")
        .iter()
        .filter(|rule| {
            let ours = ["metrics.k8s.io", "custom.metrics.k8s.io"];
            rule["apiGroups"]
                .as_array()
                .is_none_or(|it| it.iter().all(|group| ours.iter().all(|o| group != o)))
        })
        .cloned()
        .collect();
    objects::patch(&client, &role, &json!({"rules": rules})).await;
    let mut log = plane.audit();
    let manager = Manager::start(&plane, &ARGS).await;
    wait_held(&client, SOON, &default_leases(), &[&manager]).await;
    let ns = plane.namespace("roles").await;
    objects::create(&client, &objects::deployment(&ns, "web", 5)).await;
    for strategy in ["HPA", "KPA", "APA"] {
        let mut autoscaler = objects::pod_autoscaler(&ns, &strategy.to_lowercase(), strategy);
        if strategy == "APA" {
            autoscaler["spec"]["scaleTargetRef"]["name"] = json!("web");
            autoscaler["spec"]["maxReplicas"] = json!(3);
        } else {
            autoscaler["spec"]["scaleTargetRef"]["name"] = json!(format!("other-{strategy}"));
        }
        objects::create(&client, &autoscaler).await;
    }
    let events: Api<Event> = Api::namespaced(client.clone(), &ns);
    eventually(SOON, "a rescale event", async || {
        let list = events.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let told = list.iter().any(|it| it.reason.as_deref() == Some("SuccessfulRescale"));
        if told { Ok(()) } else { Err(format!("{} events", list.items.len())) }
    })
    .await;
    let account = "system:serviceaccount:aibrix-system:aibrix-controller-manager";
    let forbidden: Vec<_> = log
        .entries()
        .iter()
        .filter(|it| it.user == account && it.code == 403)
        .map(|it| it.uri.clone())
        .collect();
    assert!(forbidden.is_empty(), "{forbidden:?}");
    let group = log
        .entries()
        .iter()
        .any(|it| it.user == account && it.object.as_ref().is_some_and(|it| it.api_group == "events.k8s.io"));
    assert!(!group, "events go to the core group");
}

// scenario: manager-and-deployment 29
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standby_writes_nothing_but_leases_that_it_wins() {
    let plane = plane().await;
    let client = plane.client().await;
    let leader = Manager::start(&plane, &ARGS).await;
    wait_held(&client, SOON, &default_leases(), &[&leader]).await;
    let standby = Manager::start(&plane, &ARGS).await;
    standby.wait_ready().await;
    let mut log = plane.audit();
    let ns = plane.namespace("standby").await;
    objects::create(&client, &objects::deployment(&ns, "web", 1)).await;
    let mut autoscaler = objects::pod_autoscaler(&ns, "web", "APA");
    autoscaler["spec"]["scaleTargetRef"]["name"] = json!("web");
    objects::create(&client, &autoscaler).await;
    // The leader has worked on it, and some times on other things.
    wait_reconciled(&client, &ns, SOON).await;
    for _ in 0..10 {
        wait_counting(&client, SOON, "stormservice-controller").await;
    }
    let name = standby.pod_name().to_owned();
    let wrote: Vec<_> = log
        .entries()
        .iter()
        .filter(|it| it.is_write() && it.caller.as_ref().is_some_and(|by| by.identity.starts_with(&name)))
        .filter(|it| it.object.as_ref().is_none_or(|it| it.resource != "leases"))
        .collect();
    assert!(wrote.is_empty(), "{wrote:?}");
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client.clone(), NAMESPACE);
    pods.delete_collection(&DeleteParams::default(), &ListParams::default())
        .await
        .expect("nothing to delete");
}

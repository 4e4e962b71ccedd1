// SPDX-License-Identifier: Apache-2.0
//! A StormService of two roles rolls to a new image under load, while an autoscaler scales one of them and the leader
//! is told to stop.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt, api::ListParams};
use serde_json::{Value, json};

use super::{
    MINUTE, NS, indent, load, say,
    support::{ControlPlane, eventually, manager::Manager, objects},
    wait_for_holder,
};
use aibrix_controller_manager::testkit::fake_engine::FakeEngine;

const LEASE: &str = "aibrix-stormservice-controller";
const API_VERSION: &str = "orchestration.aibrix.ai/v1alpha1";
/// Replicas of the role that is not scaled.
const PREFILL: usize = 2;
/// Replicas of the other one, before and after.
const DECODE: (usize, usize) = (4, 6);

fn storm_service(image: &str, decode: usize) -> Value {
    let role = |name: &str, replicas: usize| {
        json!({
            "name": name, "replicas": replicas,
            "updateStrategy": {"maxSurge": 1, "maxUnavailable": 1},
            "template": {"spec": {"containers": [{"name": "engine", "image": image}]}},
        })
    };
    json!({
        "apiVersion": API_VERSION, "kind": "StormService", "metadata": {"name": "storm", "namespace": NS},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": "storm"}},
            "updateStrategy": {"type": "InPlaceUpdate"},
            "template": {
                "metadata": {"labels": {"app": "storm"}},
                "spec": {"updateStrategy": "Parallel", "roles": [role("prefill", PREFILL), role("decode", decode)]},
            },
        },
    })
}

/// What was seen of the pods of one role, look after look.
#[derive(Debug, Default)]
struct Seen {
    /// Fewest that were ready.
    fewest: Option<usize>,
    /// Most that were there and not on their way out.
    most: usize,
}

/// Pods by role: name, image and whether it is ready; none that is on its way out.
async fn pods(client: &Client) -> Result<BTreeMap<String, Vec<(String, String, bool)>>, String> {
    let api: Api<Pod> = Api::namespaced(client.clone(), NS);
    let listed = api.list(&ListParams::default().labels("storm-service-name=storm")).await;
    let mut roles: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for pod in listed.map_err(|error| error.to_string())? {
        if pod.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let image =
            pod.spec.as_ref().and_then(|spec| spec.containers.first()?.image.clone()).unwrap_or_default();
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        let ready = conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True");
        let role = pod.labels().get("role-name").cloned().unwrap_or_default();
        roles.entry(role).or_default().push((pod.uid().unwrap_or_default(), image, ready));
    }
    Ok(roles)
}

/// Rolls, scales and hands over at the same time. Answers with the manager that was told to stop.
pub(super) async fn roll(
    plane: &ControlPlane,
    client: &Client,
    engine: &FakeEngine,
    managers: &[Manager],
) -> Result<usize> {
    say("a StormService: roles prefill (2 pods) and decode (4 pods), at most one more and one less of each");
    engine.pods.load(None, &load(10.0));
    let service = storm_service("engine:1", DECODE.0);
    objects::create(client, &service).await;
    let mut autoscaler = objects::pod_autoscaler(NS, "decode", "APA");
    autoscaler["spec"]["scaleTargetRef"] =
        json!({"apiVersion": API_VERSION, "kind": "StormService", "name": "storm"});
    autoscaler["spec"]["subTargetSelector"] = json!({"roleName": "decode"});
    autoscaler["spec"]["maxReplicas"] = json!(DECODE.1);
    objects::create(client, &autoscaler).await;
    eventually(MINUTE, "the StormService is ready", async || {
        let seen = objects::get(client, &service).await.ok_or("it is gone")?;
        let conditions = seen["status"]["conditions"].as_array();
        let ready =
            conditions.into_iter().flatten().any(|it| it["type"] == "Ready" && it["status"] == "True");
        if ready { Ok(()) } else { Err(seen["status"].to_string()) }
    })
    .await;
    let before = pods(client).await.map_err(anyhow::Error::msg)?;
    println!("{}", indent(&plane.kubectl(&["get", "stormservices,rolesets,pods", "-n", NS]).await?));
    let role_sets =
        plane.kubectl(&["get", "rolesets", "-n", NS, "-o", "jsonpath={.items[*].metadata.uid}"]).await?;

    say("a new image for both roles, twice the load for the autoscaler of decode, and SIGTERM to the leader");
    let leader = wait_for_holder(client, managers, LEASE, None).await;
    engine.pods.load(None, &load(20.0));
    for place in 0..2 {
        let path = format!("/spec/template/spec/roles/{place}/template/spec/containers/0/image");
        let change = json!([{"op": "replace", "path": path, "value": "engine:2"}]);
        plane
            .kubectl(&["patch", "stormservice", "storm", "-n", NS, "--type=json", "-p", &change.to_string()])
            .await?;
    }
    let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
    let mut uids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut told = false;
    let after = eventually(MINUTE, "all pods are new, and decode has grown", async || {
        let roles = pods(client).await?;
        for (role, pods) in &roles {
            let (ready, seen) =
                (pods.iter().filter(|pod| pod.2).count(), seen.entry(role.clone()).or_default());
            seen.fewest = Some(seen.fewest.map_or(ready, |fewest| fewest.min(ready)));
            seen.most = seen.most.max(pods.len());
            uids.entry(role.clone()).or_default().extend(pods.iter().map(|pod| pod.0.clone()));
        }
        let all: Vec<_> = roles.values().flatten().collect();
        let new = all.iter().filter(|pod| pod.1 == "engine:2").count();
        if new > 0 && !told {
            managers[leader].sigterm();
            told = true;
        }
        let done = all.len() == PREFILL + DECODE.1 && all.iter().all(|pod| pod.1 == "engine:2" && pod.2);
        if done && told { Ok(roles) } else { Err(format!("{new} of {} pods are new", all.len())) }
    })
    .await;
    engine.pods.load(None, &load(10.0));
    let heir = wait_for_holder(client, managers, LEASE, Some(&managers[leader])).await;
    println!("    {} was told to stop, {} went on", managers[leader].pod_name(), managers[heir].pod_name());
    for (role, wanted, most) in [("prefill", PREFILL, PREFILL + 1), ("decode", DECODE.0, DECODE.1 + 1)] {
        let seen = seen.get(role).context("the role was seen")?;
        let fewest = seen.fewest.unwrap_or_default();
        println!(
            "    {role}: never less than {fewest} of {wanted} ready, never more than {} pods; {} uids in all",
            seen.most,
            uids[role].len()
        );
        ensure!(fewest + 1 >= wanted && seen.most <= most, "the budgets of {role} hold");
    }
    let kept: usize = after.iter().map(|(role, pods)| kept(&before, role, pods)).sum();
    ensure!(kept == 0, "every pod was replaced");
    let still =
        plane.kubectl(&["get", "rolesets", "-n", NS, "-o", "jsonpath={.items[*].metadata.uid}"]).await?;
    ensure!(still == role_sets, "the RoleSet is the same: it was edited in place");
    println!(
        "{}",
        indent(&plane.kubectl(&["get", "stormservices,rolesets,podautoscalers,pods", "-n", NS]).await?)
    );
    Ok(leader)
}

/// How many pods of a role have been there before.
fn kept(
    before: &BTreeMap<String, Vec<(String, String, bool)>>,
    role: &str,
    pods: &[(String, String, bool)],
) -> usize {
    let old: BTreeSet<&str> = before.get(role).into_iter().flatten().map(|pod| pod.0.as_str()).collect();
    pods.iter().filter(|pod| old.contains(pod.0.as_str())).count()
}

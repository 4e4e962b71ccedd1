// SPDX-License-Identifier: Apache-2.0
//! An admission policy stamps labels onto every Lease: replicas see each other all the same.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Client, ResourceExt};
use serde_json::json;

use crate::support::{
    audit::Entry,
    eventually,
    install::NAMESPACE,
    leases, objects,
    wait::{now, throughout},
};

use super::{
    EXPIRY, PROBED, SOON, assert_nothing_without_lease, default_leases, go_manager::LEGACY, holders,
    leases_of, managers, plane, wait_counting, wait_held, wait_renewed,
};

const GROUP: &str = "aibrix-controller-manager-group";
/// A leader gives to members that it has seen for half a minute.
const SPREAD: Duration = Duration::from_mins(2);
const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// Has the API server set these labels on every Lease that is written, and waits until it does.
async fn stamp(client: &Client) {
    let api = "admissionregistration.k8s.io/v1";
    let expression = "Object{metadata: Object.metadata{labels: {\"app.kubernetes.io/managed-by\": \"platform\", \
                      \"app.kubernetes.io/component\": \"platform\"}}}";
    let rule = json!({
        "apiGroups": ["coordination.k8s.io"], "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"], "resources": ["leases"],
    });
    let policy = json!({
        "apiVersion": api, "kind": "MutatingAdmissionPolicy", "metadata": {"name": "stamp"},
        "spec": {
            "matchConstraints": {"resourceRules": [rule]}, "failurePolicy": "Fail", "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}],
        },
    });
    objects::create(client, &policy).await;
    let binding = json!({
        "apiVersion": api, "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": "stamp"},
        "spec": {"policyName": "stamp"},
    });
    objects::create(client, &binding).await;
    let probe = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"namespace": "default", "name": "stamped"},
    });
    eventually(SOON, "the policy is at work", async || {
        objects::delete(client, &probe).await;
        let made = objects::try_create(client, &probe).await.map_err(|error| error.to_string())?;
        if made.labels().contains_key("app.kubernetes.io/managed-by") {
            Ok(())
        } else {
            Err("not yet".into())
        }
    })
    .await;
}

/// Successful writes of each Lease by each process.
fn writes(entries: &[Entry]) -> BTreeMap<(String, String), u32> {
    let mut writes = BTreeMap::new();
    for entry in entries.iter().filter(|it| it.is_lease() && it.is_write() && it.is_ok()) {
        if let (Some(object), Some(caller)) = (&entry.object, &entry.caller) {
            *writes.entry((object.name.clone(), caller.identity.clone())).or_default() += 1;
        }
    }
    writes
}

async fn assert_stamped_replicas_work(from_the_start: bool) {
    let plane = plane().await;
    let client = plane.client().await;
    let mut log = plane.audit();
    if from_the_start {
        stamp(&client).await;
    }
    // The second comes later: it leads only what the first, which has to see it, gives away.
    let mut all = managers(&plane, 1, &[]).await;
    wait_held(&client, SOON, &default_leases(), &[&all[0]]).await;
    all.extend(managers(&plane, 1, &[]).await);
    let [first, second] = &all[..] else { panic!("two") };
    if !from_the_start {
        stamp(&client).await;
        wait_renewed(&client, &default_leases()).await;
    }
    let lease: Lease = leases_of(&client).get(&default_leases()[0]).await.expect("the Lease");
    assert_eq!(lease.labels().get("app.kubernetes.io/component").map(String::as_str), Some("platform"));

    eventually(SPREAD, "the first gives one away", async || {
        let holders = holders(&client).await?;
        let given = default_leases().iter().any(|it| holders.get(it).is_some_and(|holder| second.is(holder)));
        if given { Ok(()) } else { Err(format!("{holders:?}")) }
    })
    .await;

    let mark = log.mark();
    let from = now();
    throughout(
        Duration::from_secs(20),
        "the group keeps the Lease of older managers",
        async || match holders(&client).await?.get(LEGACY).map(String::as_str) {
            Some(GROUP) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
    let took: Duration = now().duration_since(from).try_into().expect("forwards");
    let most = u32::try_from(took.as_millis() / RETRY_PERIOD.as_millis()).expect("small") + 1;
    let many: Vec<_> = writes(log.since(mark)).into_iter().filter(|(_, count)| *count > most).collect();
    assert_eq!(many, [], "more than one write per Lease, process and retry period in {took:?}");
    for one in &all {
        let log = one.log();
        let told: Vec<_> = log.lines().filter(|line| line.contains("conflict")).collect();
        assert_eq!(told, [] as [&str; 0]);
    }

    // The first leaves: the Lease of older managers stays the group's, and the second works on.
    first.sigterm();
    assert_eq!(first.wait_exit(SOON).await, Some(0));
    wait_held(&client, EXPIRY, &default_leases(), &[second]).await;
    wait_counting(&client, SOON, PROBED).await;
    let claims = leases::history_of(log.entries(), NAMESPACE, LEGACY);
    let released = claims.iter().skip_while(|it| it.holder != GROUP).filter(|it| it.holder != GROUP).count();
    assert_eq!(released, 0, "released while one of two still led");
    second.sigterm();
    assert_eq!(second.wait_exit(SOON).await, Some(0));
    let claims = leases::history_of(log.entries(), NAMESPACE, LEGACY);
    assert_eq!(claims.last().map(|it| it.holder.as_str()), Some(""), "released by the last");
    assert_nothing_without_lease(&mut log);
}

// scenario: hardening 9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_see_each_other_under_a_policy_that_was_there_before_them() {
    assert_stamped_replicas_work(true).await;
}

// scenario: hardening 9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_see_each_other_under_a_policy_that_comes_while_they_run() {
    assert_stamped_replicas_work(false).await;
}

// SPDX-License-Identifier: Apache-2.0
//! What is done to replicas, the API server and Leases, and how it is undone.

use std::time::Duration;

use k8s_openapi::api::{coordination::v1::Lease, core::v1::ConfigMap, rbac::v1::RoleBinding};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    plan::Kind,
    replica::Replica,
    support::{
        ControlPlane, control_plane,
        install::{NAME, NAMESPACE},
        manager::Manager,
        probes::default_leases,
        process::Signal,
        proxy::{Rule, Treatment},
        wait::now,
    },
};

/// How much later each answer comes on a slow connection.
pub(crate) const LATENCY: Duration = Duration::from_secs(2);
/// How long a probe loop has to panic when it is told to.
const PANIC: Duration = Duration::from_millis(1500);

/// Does to a replica what `kind` says, and undoes it after `lasts`. `outage`: all replicas are hit as well, so
/// that one that is terminated cannot give its Leases away, and says so by its exit code.
///
/// # Errors
/// It did not react as it should, in words.
pub(crate) async fn replica(
    plane: &ControlPlane,
    victim: &Replica,
    kind: Kind,
    lasts: Duration,
    outage: bool,
) -> Result<(), String> {
    match kind {
        Kind::Killed => victim.with(Manager::sigkill),
        Kind::Terminated => {
            victim.with(Manager::sigterm);
            match victim.wait_exit().await {
                Ok(Some(0)) => {}
                Ok(Some(1)) if outage => {}
                other => return Err(format!("a terminated manager did not end with 0: {other:?}")),
            }
        }
        Kind::Frozen => victim.with(Manager::sigstop),
        Kind::Cut => victim.proxy.cut().await,
        Kind::HalfOpen => victim.proxy.hang().await,
        Kind::Unplugged => victim.network.pull(),
        Kind::Reset => victim.proxy.reset(Duration::ZERO).await,
        Kind::Slow => victim.proxy.slow(LATENCY).await,
        Kind::Throttled => victim.proxy.throttle(1).await,
        Kind::ClockAhead => victim.set_clock("+3600"),
        Kind::ClockBehind => victim.set_clock("-3600"),
        Kind::RenewalLost => {
            let lost = |lease: &String| {
                Rule::new(&["PATCH", &format!("/leases/{lease}?")], Treatment::Hang).times(1)
            };
            rules(victim, default_leases().iter().map(lost).collect());
        }
        Kind::LaggingWatch => rules(victim, vec![held_back(&["/configmaps"])]),
        Kind::DeadWatches => {
            let hang = Rule::new(&[], Treatment::Hang).but_for(&["/leases", "/events", "PATCH", "POST"]);
            rules(victim, vec![held_back(&[]).but_for(&["/leases"]), hang]);
        }
        other => return Err(format!("{other} hits no replica")),
    }
    tokio::time::sleep(lasts).await;
    match kind {
        Kind::Killed | Kind::Terminated => victim.restart(plane),
        Kind::Frozen => victim.with(Manager::sigcont),
        Kind::ClockAhead | Kind::ClockBehind => victim.set_clock("+0"),
        Kind::Unplugged => victim.network.plug_in(),
        Kind::LaggingWatch | Kind::DeadWatches | Kind::RenewalLost => rules(victim, Vec::new()),
        _ => victim.proxy.heal().await,
    }
    Ok(())
}

fn held_back(parts: &[&str]) -> Rule {
    let parts: Vec<&str> = parts.iter().copied().chain(["watch="]).collect();
    Rule::new(&parts, Treatment::HoldBody)
}

fn rules(victim: &Replica, rules: Vec<Rule>) {
    if let Some(http) = &victim.http {
        http.rule(rules);
    }
}

/// Tells the controller of a probe loop to panic, in that process alone.
///
/// # Errors
/// It could not be told.
pub(crate) async fn panic(client: &Client, victim: &Replica, controller: &str) -> kube::Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let name = format!("probe-{controller}");
    let pod = victim.with(|it| it.pod_name().to_owned());
    let tell = |pod: Option<String>| Patch::Merge(json!({"data": {"panic-on": pod}}));
    maps.patch(&name, &PatchParams::default(), &tell(Some(pod))).await?;
    tokio::time::sleep(PANIC).await;
    maps.patch(&name, &PatchParams::default(), &tell(None)).await.map(drop)
}

/// Does to the API server what `kind` says, and undoes it after `lasts`; returns when it serves again.
///
/// # Errors
/// It could not be done.
pub(crate) async fn api_server(
    plane: &ControlPlane,
    client: &Client,
    kind: Kind,
    lasts: Duration,
) -> kube::Result<()> {
    match kind {
        Kind::EtcdPaused => {
            plane.signal_etcd(Signal::STOP);
            tokio::time::sleep(lasts).await;
            plane.signal_etcd(Signal::CONT);
            control_plane::answers(client).await;
        }
        Kind::Forbidden => {
            let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), NAMESPACE);
            let name = format!("{NAME}-leader-election-rolebinding");
            let mut binding = bindings.get(&name).await?;
            bindings.delete(&name, &DeleteParams::default()).await?;
            tokio::time::sleep(lasts).await;
            binding.metadata.resource_version = None;
            binding.metadata.uid = None;
            binding.metadata.managed_fields = None;
            bindings.create(&PostParams::default(), &binding).await?;
        }
        _ => {
            plane.stop_apiserver();
            tokio::time::sleep(lasts).await;
            plane.restart_apiserver().await;
        }
    }
    Ok(())
}

/// Edits a Lease. `seconds` is the duration of a stranger's.
///
/// # Errors
/// The API server refused.
pub(crate) async fn lease(client: &Client, kind: Kind, name: &str, seconds: u64) -> kube::Result<()> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
    if kind == Kind::Stamped {
        let labels = json!({"app.kubernetes.io/managed-by": "stamp", "app.kubernetes.io/component": "stamp"});
        let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
        return leases.patch(name, &PatchParams::default(), &patch).await.map(drop);
    }
    let spec = match kind {
        Kind::Deleted => return leases.delete(name, &DeleteParams::default()).await.map(drop),
        Kind::Emptied => Value::Null,
        Kind::Garbage => json!({"holderIdentity": "", "leaseTransitions": i32::MAX, "acquireTime": null,
                                "renewTime": "0001-01-01T00:00:00.000000Z", "leaseDurationSeconds": null}),
        Kind::HugeDuration => json!({"leaseDurationSeconds": i32::MAX}),
        Kind::FutureRenewal => json!({"renewTime": "2199-01-01T00:00:00.000000Z"}),
        Kind::Stolen => json!({"holderIdentity": "thief_1", "leaseDurationSeconds": seconds,
                               "renewTime": format!("{:.6}", now())}),
        _ => return Ok(()),
    };
    let patch = Patch::Merge(json!({"spec": spec}));
    leases.patch(name, &PatchParams::default(), &patch).await.map(drop)
}

// SPDX-License-Identifier: Apache-2.0
//! Running the plan: the replicas, the load, and what is done to them.

use std::{collections::BTreeMap, time::Duration};

use aibrix_controller_manager::clock::Timestamp;
use futures::future::join_all;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    plan::{Fault, Hits, Kind, Round},
    replica::Replica,
    support::{
        ControlPlane, Options,
        audit::AuditLog,
        holders::holders,
        install::NAMESPACE,
        manager::Manager,
        objects,
        probes::{CONTROLLERS, allow_probes, default_leases, probe_count},
        toxiproxy::Toxiproxy,
        wait::{eventually, now, within_deadline},
    },
};

const REPLICAS: usize = 3;
/// Autoscalers, whose limits change all the time.
const AUTOSCALERS: usize = 4;
/// How long a Lease lasts that a stranger writes himself into.
const THEFT: Duration = Duration::from_secs(6);
/// Everything is as it should be this long after the last fault has ended.
const CONVERGENCE: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_mins(1);

/// What became of one fault.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    /// The fault.
    pub(crate) fault: Fault,
    /// Its beginning.
    pub(crate) from: Timestamp,
    /// When it was undone; the API server's: when it answered again.
    pub(crate) until: Timestamp,
    /// When every Lease was held again and the rest was over.
    pub(crate) settled: Timestamp,
    /// Leases that it is about, with the identities that held them when it began.
    pub(crate) leases: BTreeMap<String, String>,
}

/// All that was done, and what the campaign itself found wrong.
#[derive(Debug, Clone, Default)]
pub(crate) struct Story {
    /// The faults.
    pub(crate) done: Vec<Done>,
    /// What was not as it should be, in words.
    pub(crate) wrong: Vec<String>,
}

/// A control plane and three replicas.
pub(crate) struct Campaign {
    // Before the control plane: dropped first.
    replicas: Vec<Replica>,
    _toxiproxy: Toxiproxy,
    plane: ControlPlane,
    client: Client,
    namespace: String,
}

impl Campaign {
    /// Starts everything and waits until each Lease is held.
    pub(crate) async fn start() -> Self {
        let plane = ControlPlane::start(Options::bare()).await;
        plane.install_manager().await;
        allow_probes(&plane).await;
        let namespace = plane.namespace("load").await;
        let client = plane.client().await;
        for n in 0..AUTOSCALERS {
            objects::create(&client, &objects::deployment(&namespace, &format!("web-{n}"), 1)).await;
            objects::create(&client, &objects::pod_autoscaler(&namespace, &format!("web-{n}"), "APA")).await;
        }
        let toxiproxy = Toxiproxy::start(&plane).await;
        let mut replicas = Vec::new();
        for _ in 0..REPLICAS {
            replicas.push(Replica::start(&plane, &toxiproxy).await);
        }
        let campaign = Self { replicas, _toxiproxy: toxiproxy, plane, client, namespace };
        eventually(SOON, "every Lease is held", async || campaign.held().await.map(drop)).await;
        campaign
    }

    /// The API server's audit log, from its beginning.
    pub(crate) fn log(&self) -> AuditLog {
        self.plane.audit()
    }

    /// Runs the plan, under load, to its end.
    pub(crate) async fn run(&self, rounds: &[Round]) -> Story {
        let mut story = Story::default();
        tokio::select! {
            () = self.load() => {}
            () = self.rounds(rounds, &mut story) => {}
        }
        if let Err(seen) = within_deadline(CONVERGENCE, async || self.works().await).await {
            story.wrong.push(format!("not everything works {CONVERGENCE:?} after the last fault: {seen}"));
        }
        story
    }

    async fn rounds(&self, rounds: &[Round], story: &mut Story) {
        let all: usize = rounds.iter().map(|it| it.faults.len()).sum();
        for round in rounds {
            let names: Vec<_> = round.faults.iter().map(|it| it.kind.to_string()).collect();
            let names = names.join(" + ");
            let held = match self.held().await {
                Ok(held) => held,
                Err(seen) => {
                    story.wrong.push(format!("before {names}: {seen}"));
                    BTreeMap::new()
                }
            };
            let victims = self.victims(&round.faults, &held);
            let inflicted = round.faults.iter().zip(&victims).map(|(fault, victim)| {
                Box::pin(self.inflict(*fault, victim.map(|it| &self.replicas[it]), &held))
            });
            let mut done = Vec::new();
            for result in join_all(inflicted).await {
                match result {
                    Ok(it) => done.push(it),
                    Err(error) => story.wrong.push(format!("{names}: {error}")),
                }
            }
            if let Err(seen) = within_deadline(CONVERGENCE, async || self.held().await).await {
                story.wrong.push(format!("{names}: {CONVERGENCE:?} later {seen}"));
            }
            tokio::time::sleep(round.rest).await;
            self.look_after_processes(&names, story);
            let settled = now();
            story.done.extend(done.into_iter().map(|it| Done { settled, ..it }));
            eprintln!("faults: {:>4} of {all}  {names}", story.done.len());
        }
    }

    /// The replica that each fault hits: the holder of its Lease, or another that has not been hit yet.
    fn victims(&self, faults: &[Fault], held: &BTreeMap<String, String>) -> Vec<Option<usize>> {
        let mut hit: Vec<Option<usize>> = Vec::new();
        for fault in faults {
            let free = |n: &usize| !hit.contains(&Some(*n));
            let holder = held.get(&default_leases()[fault.lease]);
            let leads = |n: &usize| holder.is_some_and(|it| self.replicas[*n].with(|one| one.is(it)));
            let first = || (0..REPLICAS).filter(free).find(leads);
            let victim = (fault.kind.hits() == Hits::Replica)
                .then(|| first().or_else(|| (0..REPLICAS).find(free)))
                .flatten();
            hit.push(victim);
        }
        hit
    }

    /// Does it and undoes it.
    async fn inflict(
        &self,
        fault: Fault,
        victim: Option<&Replica>,
        held: &BTreeMap<String, String>,
    ) -> Result<Done, String> {
        let from = now();
        let of_victim = |holder: &str| victim.is_some_and(|it| it.with(|one| one.is(holder)));
        let name = &default_leases()[fault.lease];
        let hits = fault.kind.hits();
        let leases = held
            .iter()
            .filter(|(lease, holder)| match hits {
                Hits::Replica => of_victim(holder),
                Hits::Lease => *lease == name,
                Hits::ApiServer => true,
            })
            .map(|(lease, holder)| (lease.clone(), holder.clone()))
            .collect();
        match (hits, victim) {
            (Hits::Replica, Some(victim)) => self.strike(fault, victim).await?,
            (Hits::Replica, None) => return Err("there is no replica to hit".to_owned()),
            (Hits::ApiServer, _) => {
                self.plane.stop_apiserver();
                tokio::time::sleep(fault.lasts).await;
                self.plane.restart_apiserver().await;
            }
            (Hits::Lease, _) => self.edit(fault.kind, name).await.map_err(|error| error.to_string())?,
        }
        Ok(Done { fault, from, until: now(), settled: now(), leases })
    }

    async fn strike(&self, fault: Fault, victim: &Replica) -> Result<(), String> {
        let proxy = &victim.proxy;
        match fault.kind {
            Kind::Killed => victim.with(Manager::sigkill),
            Kind::Terminated => {
                victim.with(Manager::sigterm);
                match victim.wait_exit().await {
                    Ok(Some(0)) => {}
                    other => return Err(format!("a terminated manager did not end with 0: {other:?}")),
                }
            }
            Kind::Frozen => victim.with(Manager::sigstop),
            Kind::Cut => proxy.cut().await,
            Kind::HalfOpen => proxy.hang().await,
            Kind::Reset => proxy.reset(Duration::ZERO).await,
            Kind::Slow => proxy.slow(Duration::from_secs(2)).await,
            Kind::Throttled => proxy.throttle(1).await,
            Kind::ApiServer
            | Kind::Deleted
            | Kind::Emptied
            | Kind::Garbage
            | Kind::HugeDuration
            | Kind::FutureRenewal
            | Kind::Stolen => return Err(format!("{} hits no replica", fault.kind)),
        }
        tokio::time::sleep(fault.lasts).await;
        match fault.kind {
            Kind::Killed | Kind::Terminated => victim.restart(&self.plane),
            Kind::Frozen => victim.with(Manager::sigcont),
            Kind::Cut | Kind::HalfOpen | Kind::Reset | Kind::Slow | Kind::Throttled => proxy.heal().await,
            Kind::ApiServer
            | Kind::Deleted
            | Kind::Emptied
            | Kind::Garbage
            | Kind::HugeDuration
            | Kind::FutureRenewal
            | Kind::Stolen => {}
        }
        Ok(())
    }

    async fn edit(&self, kind: Kind, name: &str) -> kube::Result<()> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), NAMESPACE);
        let spec = match kind {
            Kind::Deleted => return leases.delete(name, &DeleteParams::default()).await.map(drop),
            Kind::Emptied => Value::Null,
            Kind::Garbage => json!({"holderIdentity": "", "leaseTransitions": i32::MAX, "acquireTime": null,
                                    "renewTime": "0001-01-01T00:00:00.000000Z", "leaseDurationSeconds": null}),
            Kind::HugeDuration => json!({"leaseDurationSeconds": i32::MAX}),
            Kind::FutureRenewal => json!({"renewTime": "2199-01-01T00:00:00.000000Z"}),
            Kind::Stolen => json!({"holderIdentity": "thief_1", "leaseDurationSeconds": THEFT.as_secs(),
                                   "renewTime": format!("{:.6}", now())}),
            Kind::Killed
            | Kind::Terminated
            | Kind::Frozen
            | Kind::Cut
            | Kind::HalfOpen
            | Kind::Reset
            | Kind::Slow
            | Kind::Throttled
            | Kind::ApiServer => return Ok(()),
        };
        let patch = Patch::Merge(json!({"spec": spec}));
        leases.patch(name, &PatchParams::default(), &patch).await.map(drop)
    }

    /// Holder of each controller's Lease.
    ///
    /// # Errors
    /// Some Lease is not held by a living replica, in words.
    async fn held(&self) -> Result<BTreeMap<String, String>, String> {
        let mut all = holders(&self.client, NAMESPACE).await.map_err(|error| error.to_string())?;
        all.retain(|name, _| default_leases().contains(name));
        let living = |holder: &String| self.replicas.iter().any(|it| it.with(|one| one.is(holder)));
        let lost: Vec<_> =
            default_leases().into_iter().filter(|name| !all.get(name).is_some_and(living)).collect();
        if lost.is_empty() { Ok(all) } else { Err(format!("{lost:?} are not held by a replica: {all:?}")) }
    }

    /// Whether every Lease is held and every controller works.
    async fn works(&self) -> Result<(), String> {
        self.held().await?;
        self.scaled().await?;
        for controller in &CONTROLLERS[1..] {
            let before = probe_count(&self.client, controller).await?;
            tokio::time::sleep(Duration::from_millis(700)).await;
            if probe_count(&self.client, controller).await? <= before {
                return Err(format!("{controller} does not count"));
            }
        }
        Ok(())
    }

    /// Whether the pod autoscaler, which is no probe loop, has followed the last limits.
    async fn scaled(&self) -> Result<(), String> {
        for name in (0..AUTOSCALERS).map(|n| format!("web-{n}")) {
            let autoscaler = objects::pod_autoscaler(&self.namespace, &name, "APA");
            let deployment = objects::deployment(&self.namespace, &name, 1);
            let autoscaler = objects::get(&self.client, &autoscaler).await.unwrap_or_default();
            let deployment = objects::get(&self.client, &deployment).await.unwrap_or_default();
            let (least, has) =
                (autoscaler["spec"]["minReplicas"].as_u64(), deployment["spec"]["replicas"].as_u64());
            if least.is_none() || has < least {
                return Err(format!("{name} has {has:?} replicas, of at least {least:?}"));
            }
        }
        Ok(())
    }

    fn look_after_processes(&self, names: &str, story: &mut Story) {
        for replica in &self.replicas {
            if let Some(status) = replica.with(Manager::exit_status) {
                let log = replica.with(Manager::log);
                let tail: Vec<_> = log.lines().rev().take(5).collect();
                story.wrong.push(format!("{names}: a manager ended by itself with {status}: {tail:?}"));
                replica.restart(&self.plane);
            }
        }
    }

    /// Limits of the autoscalers that change for ever, so that the pod autoscaler always has to scale.
    async fn load(&self) {
        let ns = self.namespace.as_str();
        let kind = objects::api(&self.client, "autoscaling.aibrix.ai/v1alpha1", "PodAutoscaler", Some(ns));
        let autoscalers: Api<DynamicObject> = kind.await;
        for n in 0_u64.. {
            for name in (0..AUTOSCALERS).map(|n| format!("web-{n}")) {
                let patch = Patch::Merge(json!({"spec": {"minReplicas": 1 + n % 5}}));
                // Fails while the API server is down; the next one will not.
                drop(autoscalers.patch(&name, &PatchParams::default(), &patch).await);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
//! Running the plan: the replicas, and what is done to them round by round.

use std::{collections::BTreeMap, path::Path, time::Duration};

use futures::future::join_all;
use kube::Client;
use kube_fenced_election::clock::Timestamp;

use crate::{
    Settings,
    adapters::Engines,
    inject,
    load::Load,
    older::Older,
    plan::{Fault, Hits, Kind, Round},
    replica::Replica,
    support::{
        ControlPlane, Options,
        audit::AuditLog,
        holders::holders,
        install::NAMESPACE,
        manager::Manager,
        probes::{CONTROLLERS, PLAYED, allow_probes, default_leases, probe_count},
        toxiproxy::Toxiproxy,
        wait::{eventually, now, within_deadline},
        write_gaps::Span,
    },
};

const REPLICAS: usize = 3;
/// The replica whose way to the API server has a proxy that knows HTTP.
const PROXIED: usize = 2;
/// Everything is as it should be this long after the last fault has ended.
pub(crate) const CONVERGENCE: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_mins(2);
/// Longer than a Lease that was given away goes without a holder.
const MOMENT: Duration = Duration::from_secs(5);

/// What became of one fault.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    /// The fault.
    pub(crate) fault: Fault,
    /// Its beginning.
    pub(crate) from: Timestamp,
    /// When it was undone; the API server's: when it answered again; an older manager's: when its claim
    /// ended.
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
    /// What must not be, in words.
    pub(crate) wrong: Vec<String>,
    /// What was not as it should be in time, in words.
    pub(crate) late: Vec<String>,
    /// When everything worked after the last fault; `None` when it never did.
    pub(crate) converged: Option<Timestamp>,
    /// Times in which the canary was starved: no gap counts in which that happened.
    pub(crate) stalls: Vec<Span>,
}

/// A control plane and three replicas.
pub(crate) struct Campaign {
    // Before the control plane: dropped first.
    replicas: Vec<Replica>,
    older: Older,
    _toxiproxy: Toxiproxy,
    plane: ControlPlane,
    client: Client,
    load: Load,
    settings: Settings,
    label: String,
}

impl Campaign {
    /// Starts everything and waits until each Lease is held and each probe loop has counted: until then there
    /// is nothing to tell it to panic with. Its lines on stderr begin with `label`.
    pub(crate) async fn start(settings: &Settings, label: String) -> Self {
        let plane = ControlPlane::start(Options::bare()).await;
        plane.install_without_storm_services().await;
        allow_probes(&plane).await;
        let client = plane.client().await;
        let load = Load::start(&client, plane.namespace("load").await).await;
        let toxiproxy = Toxiproxy::start(&plane).await;
        let mut replicas = Vec::new();
        for n in 0..REPLICAS {
            replicas.push(Replica::start(&plane, &toxiproxy, settings, n == PROXIED).await);
        }
        eventually(SOON, "every Lease is held", async || held(&client, &replicas).await.map(drop)).await;
        let (settings, older) = (settings.clone(), Older::start(&plane, settings));
        let campaign = Self { replicas, older, _toxiproxy: toxiproxy, plane, client, load, settings, label };
        eventually(SOON, "every probe loop counts", async || campaign.count().await).await;
        campaign
    }

    /// The API server's audit log, from its beginning.
    pub(crate) fn log(&self) -> AuditLog {
        self.plane.audit()
    }

    /// What the engines were asked.
    pub(crate) fn engines(&self) -> Engines {
        self.load.engines()
    }

    /// Copies audit log and the managers' logs into `folder`, for a look afterwards.
    pub(crate) fn keep(&self, folder: &Path, seed: u64) {
        std::fs::create_dir_all(folder).expect("make the folder");
        for entry in std::fs::read_dir(self.plane.dir()).expect("the plane's folder").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == "audit.log" || name.contains("manager-") {
                std::fs::copy(entry.path(), folder.join(format!("{seed}-{name}"))).expect("copy a log");
            }
        }
    }

    /// Runs the plan, under load, to its end.
    pub(crate) async fn run(&self, rounds: &[Round]) -> Story {
        let mut story = Story::default();
        tokio::select! {
            () = self.load.run(&self.client) => {}
            () = self.older.look_after(&self.plane, &self.client) => {}
            () = self.rounds(rounds, &mut story) => {}
        }
        match within_deadline(CONVERGENCE, async || self.works().await).await {
            Ok(()) => story.converged = Some(now()),
            Err(seen) => {
                story.late.push(format!("not everything works {CONVERGENCE:?} after the last fault: {seen}"));
            }
        }
        story
    }

    async fn rounds(&self, rounds: &[Round], story: &mut Story) {
        let all: usize = rounds.iter().map(|it| it.faults.len()).sum();
        for round in rounds {
            let names: Vec<_> = round.faults.iter().map(|it| it.kind.to_string()).collect();
            let names = names.join(" + ");
            // A Lease that goes to a less loaded replica has no holder for a moment.
            let held = match within_deadline(MOMENT, async || self.held().await).await {
                Ok(held) => held,
                Err(seen) => {
                    story.late.push(format!("before {names}: {seen}"));
                    BTreeMap::new()
                }
            };
            let victims = self.victims(&round.faults, &held);
            let outage = round.faults.iter().any(|it| it.kind.hits() == Hits::All);
            let claimless = outage || round.faults.iter().any(|it| it.kind.hits() == Hits::Older);
            let inflicted = round.faults.iter().zip(&victims).map(|(fault, victim)| {
                Box::pin(self.inflict(*fault, victim.map(|it| &self.replicas[it]), &held, outage))
            });
            let mut done = Vec::new();
            for result in join_all(inflicted).await {
                match result {
                    Ok(it) => done.push(it),
                    Err(error) => story.wrong.push(format!("{names}: {error}")),
                }
            }
            // The older manager may have won when no claim could be renewed, and stays for a moment.
            if claimless && let Err(seen) = self.older.at_rest(&self.client, CONVERGENCE).await {
                story.late.push(format!("{names}: {seen}"));
            }
            if let Err(seen) = within_deadline(CONVERGENCE, async || self.held().await).await {
                story.late.push(format!("{names}: {CONVERGENCE:?} later {seen}"));
            }
            tokio::time::sleep(round.rest).await;
            self.look_after_processes(&names, story);
            let settled = now();
            story.done.extend(done.into_iter().map(|it| Done { settled, ..it }));
            eprintln!("{}: {:>4} of {all}  {names}", self.label, story.done.len());
        }
    }

    /// The replica that each fault hits: the holder of its Lease, or another that has not been hit yet.
    fn victims(&self, faults: &[Fault], held: &BTreeMap<String, String>) -> Vec<Option<usize>> {
        let mut hit: Vec<Option<usize>> = Vec::new();
        let proxied = faults.iter().any(|it| it.kind.hits() == Hits::Proxied);
        for fault in faults {
            let free = |n: &usize| !(hit.contains(&Some(*n)) || proxied && *n == PROXIED);
            let holder = held.get(&default_leases()[fault.lease]);
            let leads = |n: &usize| holder.is_some_and(|it| self.replicas[*n].with(|one| one.is(it)));
            let first = || (0..REPLICAS).filter(free).find(leads);
            let victim = match fault.kind.hits() {
                Hits::Replica => first().or_else(|| (0..REPLICAS).find(free)),
                Hits::Proxied => Some(PROXIED),
                Hits::All | Hits::Lease | Hits::Older => None,
            };
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
        outage: bool,
    ) -> Result<Done, String> {
        let from = now();
        let of_victim = |holder: &str| victim.is_some_and(|it| it.with(|one| one.is(holder)));
        let name = &default_leases()[fault.lease];
        let hits = fault.kind.hits();
        let about = |lease: &str, holder: &str| match hits {
            Hits::Replica if fault.kind == Kind::Panicked => lease == name && of_victim(holder),
            Hits::Replica | Hits::Proxied => of_victim(holder),
            Hits::Lease => lease == name,
            Hits::All | Hits::Older => true,
        };
        let leases = held.iter().filter(|(lease, holder)| about(lease, holder));
        let leases = leases.map(|(lease, holder)| (lease.clone(), holder.clone())).collect();
        let words = |error: kube::Error| error.to_string();
        let mut undone = None;
        match (hits, victim) {
            (Hits::Replica, Some(victim)) if fault.kind == Kind::Panicked => {
                inject::panic(&self.client, victim, CONTROLLERS[fault.lease]).await.map_err(words)?;
            }
            (Hits::Replica | Hits::Proxied, Some(victim)) => {
                inject::replica(&self.plane, victim, fault.kind, fault.lasts, outage).await?;
            }
            (Hits::Replica | Hits::Proxied, None) => return Err("there is no replica to hit".to_owned()),
            (Hits::All, _) => {
                inject::api_server(&self.plane, &self.client, fault.kind, fault.lasts)
                    .await
                    .map_err(words)?;
            }
            (Hits::Lease, _) => {
                inject::lease(&self.client, fault.kind, name, self.settings.theft()).await.map_err(words)?;
            }
            (Hits::Older, _) => undone = Some(self.older.rule(&self.plane, &self.client, fault).await?),
        }
        Ok(Done { fault, from, until: undone.unwrap_or_else(now), settled: now(), leases })
    }

    async fn held(&self) -> Result<BTreeMap<String, String>, String> {
        held(&self.client, &self.replicas).await
    }

    /// Whether every Lease is held and every controller works.
    async fn works(&self) -> Result<(), String> {
        self.held().await?;
        self.load.is_done(&self.client).await?;
        self.count().await
    }

    /// Whether every probe loop counts.
    async fn count(&self) -> Result<(), String> {
        for controller in PLAYED.iter().copied() {
            let before = probe_count(&self.client, controller).await?;
            tokio::time::sleep(Duration::from_millis(700)).await;
            if probe_count(&self.client, controller).await? <= before {
                return Err(format!("{controller} does not count"));
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
}

/// Holder of each controller's Lease.
///
/// # Errors
/// Some Lease is not held by a living replica, in words.
async fn held(client: &Client, replicas: &[Replica]) -> Result<BTreeMap<String, String>, String> {
    let mut all = holders(client, NAMESPACE).await.map_err(|error| error.to_string())?;
    all.retain(|name, _| default_leases().contains(name));
    let living = |holder: &String| replicas.iter().any(|it| it.with(|one| one.is(holder)));
    let lost: Vec<_> =
        default_leases().into_iter().filter(|name| !all.get(name).is_some_and(living)).collect();
    if lost.is_empty() { Ok(all) } else { Err(format!("{lost:?} are not held by a replica: {all:?}")) }
}

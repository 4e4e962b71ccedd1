// SPDX-License-Identifier: Apache-2.0
//! Seven controllers on three replicas: how Leases spread, what they cost, and how long they go without a
//! leader who works.
//!
//! Probe loops stand in for controllers that are not built yet, so this measures the test build of the
//! manager beside this program, whatever `MANAGER` says. Each probe writes five times a second while it leads:
//! the first such write of a successor is its first pass.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use kube_fenced_election::clock::Timestamp;

use super::{Figure, memory, ratio, spread, subject::between};
use crate::support::{
    ControlPlane, Options,
    audit::{AuditLog, Entry},
    holders::holders,
    install::NAMESPACE,
    leases::{self, Change},
    manager::{Launch, Manager},
    objects,
    probes::{CONTROLLERS, PLAYED, allow_probes, default_lease, default_leases},
    proxy,
    toxiproxy::{Proxy, Toxiproxy},
    wait::{instant, now, within_deadline},
};

const ARGS: [&str; 2] = ["--probe-loops", "--disable-webhook"];
const NS: &str = "bench-elections";
const REPLICAS: usize = 3;
const TIME: Duration = Duration::from_mins(2);
const PATIENCE: Duration = Duration::from_secs(90);
/// How long a replica whose reads hang is watched after it gave its Leases away.
const UNHEALED: Duration = Duration::from_mins(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Asked,
    Killed,
    Cut,
}

struct Replica {
    manager: Manager,
    launch: Launch,
    way: Proxy,
}

struct Trio {
    // Before the control plane: dropped first.
    replicas: Vec<Replica>,
    /// The way of the last replica, which tells requests from each other.
    http: proxy::Proxy,
    _toxiproxy: Toxiproxy,
    log: AuditLog,
    plane: ControlPlane,
}

/// Times from the end of a leader, or from its release, until another has the Lease and until it has passed.
#[derive(Debug, Default)]
struct Times {
    leads: Vec<Duration>,
    passed: Vec<Duration>,
}

pub(crate) async fn measure() -> Result<Vec<Figure>> {
    let mut trio = Trio::start().await?;
    let mut figures = Vec::new();
    // Told at once: the rest takes long, and may fail.
    let mut note = |work: &'static str, measured: String, wanted| {
        eprintln!("bench: elections: {work}: {measured}");
        figures.push(Figure::new(work, measured, wanted));
    };
    let spread_after = seconds(trio.wait_spread().await?);
    note("three replicas started: each leads 2 or 3 of 7 controllers", spread_after, "≤ 90 s");
    note("Lease requests per minute, all in all, at rest", trio.requests().await?, "≤ 110");
    let asked = trio.rounds(End::Asked, 7).await?;
    note("SIGTERM: release → another leads", spread(&asked.leads), "");
    note("SIGTERM: release → … and has passed once", spread(&asked.passed), "p95 < 1 s");
    let killed = trio.rounds(End::Killed, 4).await?;
    note("SIGKILL: last renewal → another leads", spread(&killed.leads), "≤ 16 s");
    let cut = trio.rounds(End::Cut, 4).await?;
    note("cut off: last renewal → another leads", spread(&cut.leads), "≤ 17 s");
    let (moved, taken) = trio.give_way().await?;
    note("reads hang: from then until another leads", spread(&moved), "≤ 90 s");
    note("… Leases that the replica takes in the two minutes after", taken.to_string(), "0");
    let client = trio.plane.client().await;
    objects::create(&client, &objects::namespace(NS)).await;
    memory::create_pods(&client, NS).await?;
    let asked = trio.rounds(End::Asked, 4).await?;
    let work = "SIGTERM, 10,000 pods: release → another leads and has passed once";
    note(work, spread(&asked.passed), "≤ 3 s");
    Ok(figures)
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

impl Trio {
    async fn start() -> Result<Self> {
        let plane = ControlPlane::start(Options::bare()).await;
        plane.install_manager().await;
        allow_probes(&plane).await;
        let toxiproxy = Toxiproxy::start(&plane).await;
        let http = proxy::Proxy::start(&plane).await;
        let mut replicas = Vec::new();
        for n in 0..REPLICAS {
            let way = toxiproxy.proxy(plane.port()).await;
            let mut launch = Launch::through(&plane, way.port(), &ARGS).await;
            if n + 1 == REPLICAS {
                launch.kubeconfig = http.manager_kubeconfig(&plane).await;
            }
            replicas.push(Replica { manager: launch.start(), launch, way });
        }
        let log = plane.audit();
        Ok(Self { replicas, http, _toxiproxy: toxiproxy, log, plane })
    }

    /// Who holds each controller's Lease.
    async fn held(&self) -> Result<BTreeMap<String, String>, String> {
        let all = holders(&self.plane.client().await, NAMESPACE).await.map_err(|error| error.to_string())?;
        let living = |it: &String| self.replicas.iter().any(|one| one.manager.is(it));
        let held = all.into_iter().filter(|(name, by)| default_leases().contains(name) && living(by));
        let held: BTreeMap<_, _> = held.collect();
        if held.len() == CONTROLLERS.len() { Ok(held) } else { Err(format!("{held:?}")) }
    }

    async fn wait_spread(&mut self) -> Result<Duration> {
        let from = instant();
        let within = Duration::from_mins(5);
        let even = within_deadline(within, async || {
            let held = self.held().await?;
            let leads = |one: &Replica| held.values().filter(|by| one.manager.is(by)).count();
            let counts: Vec<usize> = self.replicas.iter().map(leads).collect();
            if counts.iter().all(|it| (2..=3).contains(it)) { Ok(()) } else { Err(format!("{counts:?}")) }
        });
        even.await.map_err(anyhow::Error::msg).context("the controllers do not spread")?;
        Ok(from.elapsed())
    }

    async fn requests(&mut self) -> Result<String> {
        // Presence is settled, and no Lease moves any more.
        tokio::time::sleep(Duration::from_secs(20)).await;
        let mark = self.log.mark();
        tokio::time::sleep(TIME).await;
        let ours = |it: &&Entry| it.caller.is_some() && it.is_lease() && it.verb != "watch";
        let count = self.log.since(mark).iter().filter(ours).count();
        Ok(ratio(count, TIME.as_secs_f64() / 60.0))
    }

    async fn rounds(&mut self, end: End, rounds: usize) -> Result<Times> {
        let mut times = Times::default();
        for round in 0..rounds {
            self.wait_spread().await?;
            // The last one has another way to the API server, which cannot be cut.
            let victim = round % (if end == End::Cut { REPLICAS - 1 } else { REPLICAS });
            self.round(end, victim, &mut times).await.with_context(|| format!("{end:?}, round {round}"))?;
        }
        Ok(times)
    }

    /// A replica, and the Leases that it holds, each with its identity.
    async fn led_by(&self, replica: usize) -> Result<(&Replica, Vec<(String, String)>)> {
        let held = self.held().await.map_err(anyhow::Error::msg)?;
        let one = self.replicas.get(replica).context("a replica")?;
        Ok((one, held.into_iter().filter(|(_, by)| one.manager.is(by)).collect()))
    }

    async fn round(&mut self, end: End, victim: usize, times: &mut Times) -> Result<()> {
        let (one, lost) = self.led_by(victim).await?;
        let from = now();
        match end {
            End::Asked => one.manager.sigterm(),
            End::Killed => one.manager.sigkill(),
            End::Cut => one.way.cut().await,
        }
        for controller in CONTROLLERS {
            let Some((lease, old)) = lost.iter().find(|(lease, _)| *lease == default_lease(controller))
            else {
                continue;
            };
            let log = &mut self.log;
            let probed = PLAYED.contains(&controller);
            let seen = within_deadline(PATIENCE, async || {
                hand_over(log.entries(), lease, old, controller, from, probed).ok_or_else(String::new)
            });
            let (leads, passed) = seen.await.ok().with_context(|| format!("nobody took {lease}"))?;
            times.leads.push(leads);
            times.passed.extend(passed);
        }
        let one = self.replicas.get_mut(victim).context("a replica")?;
        match end {
            End::Cut => one.way.heal().await,
            End::Asked | End::Killed => {
                let pod_name = format!("manager-{}", self.plane.next_number());
                let log = self.plane.new_path(&format!("{pod_name}.log"));
                one.launch = Launch { pod_name, log, ..one.launch.clone() };
                one.manager = one.launch.start();
            }
        }
        Ok(())
    }

    /// Reads and watches of the last replica hang while its Leases pass: until others lead instead, and how many
    /// Leases it takes all the same in [`UNHEALED`]. Each Lease counts by itself.
    async fn give_way(&mut self) -> Result<(Vec<Duration>, usize)> {
        self.wait_spread().await?;
        let (_, lost) = self.led_by(REPLICAS - 1).await?;
        let all_but = |rule: proxy::Rule| rule.but_for(&["/leases", "/events"]);
        let held_back = proxy::Rule::new(&["watch="], proxy::Treatment::HoldBody);
        let hang = proxy::Rule::new(&[], proxy::Treatment::Hang);
        let from = now();
        self.http.rule(vec![all_but(held_back), all_but(hang)]);
        let mut times = Vec::new();
        for (lease, old) in &lost {
            let log = &mut self.log;
            let moved = within_deadline(Duration::from_mins(3), async || {
                let taken = successor(&leases::history_of(log.entries(), NAMESPACE, lease), old, from)
                    .map(|(_, it)| it.finished);
                taken.ok_or_else(String::new)
            });
            let taken = moved.await.ok().with_context(|| format!("{lease} is not given away"))?;
            times.push(between(from, taken));
        }
        let moved = now();
        tokio::time::sleep(UNHEALED).await;
        self.http.rule(Vec::new());
        let taken = lost.first().map_or(0, |(_, sick)| {
            let all = leases::history(self.log.entries());
            let changes = all.iter().filter(|((namespace, _), _)| namespace == NAMESPACE).map(|(_, it)| it);
            changes.map(|it| terms_from(it, sick, moved)).sum()
        });
        Ok((times, taken))
    }
}

/// How often this identity becomes the holder after `from`.
fn terms_from(changes: &[Change], identity: &str, from: Timestamp) -> usize {
    let begins = |pair: &[Change; 2]| {
        let [before, after] = pair;
        after.received > from && after.holder == identity && before.holder != identity
    };
    changes.array_windows().filter(|pair| begins(pair)).count()
}

/// The first change after `from` by which somebody else than `old` holds the Lease, and the one before it.
fn successor<'a>(changes: &'a [Change], old: &str, from: Timestamp) -> Option<(&'a Change, &'a Change)> {
    let at = changes.iter().position(|it| it.received > from && !it.holder.is_empty() && it.holder != old)?;
    Some((changes.get(at.checked_sub(1)?)?, changes.get(at)?))
}

/// Times from the release, or else from the last renewal by `old`, until another holds the Lease and, for a
/// probe loop, until its first write.
fn hand_over(
    entries: &[Entry],
    lease: &str,
    old: &str,
    controller: &str,
    from: Timestamp,
    probed: bool,
) -> Option<(Duration, Option<Duration>)> {
    let changes = leases::history_of(entries, NAMESPACE, lease);
    let (before, taken) = successor(&changes, old, from)?;
    let passed = entries.iter().find(|it| {
        let by_new = it.caller.as_ref().is_some_and(|by| by.identity == taken.holder);
        by_new
            && it.is_by(controller)
            && it.received > taken.received
            && it.is_write()
            && it.is_ok()
            && !it.is_lease()
            && it.object.as_ref().is_some_and(|it| it.resource != "events")
    });
    if probed && passed.is_none() {
        return None;
    }
    let first = passed.filter(|_| probed).map(|it| between(before.received, it.finished));
    Some((between(before.received, taken.finished), first))
}

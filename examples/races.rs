// SPDX-License-Identifier: Apache-2.0
//! `make races RACES=10000`: warm candidates in processes of their own race for expired Leases on a real API
//! server, with the guard that this manager puts under the lease library, and with the bare library.
//!
//! Each process is this program, started with `candidate`: it reads a line per race, looks at the Lease, says
//! that it is ready, and tries to take it at the next line. The audit log has the last word: a Lease that
//! changed hands twice had two holders in one term.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a program for people"
)]

use std::{process::Stdio, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use kube_fenced_election::{
    LeaseClients,
    clock::{Clock, SystemClock},
    testkit::{
        names,
        parts::{AttemptEnd, GuardedLease, LeaseSnapshot, Lock, Observation, Source, Timing},
    },
};
use kube_leader_election::{LeaseLock, LeaseLockParams, LeaseLockResult};
use serde_json::json;
use support::{ControlPlane, Options, leases};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines, Stdin},
    process::{Child, ChildStdin, ChildStdout, Command},
};

#[path = "../tests/integration/support/mod.rs"]
mod support;

const NS: &str = "default";
/// What a candidate that leads says.
const WON: &str = "won";
const TTL: Duration = Duration::from_secs(15);

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["candidate", kubeconfig, rule, me] => candidate(kubeconfig, rule, me).await,
        [] => all(10_000).await,
        [races] => all(races.parse().context("how many races?")?).await,
        _ => bail!("usage: races [NUMBER]"),
    }
}

/// Two and five candidates, `races` times with the guard and a tenth of that without.
async fn all(races: usize) -> Result<()> {
    let plane = ControlPlane::start(Options::bare()).await;
    println!(
        "| Candidates, each a process | Races | Won by nobody | by one | by more (they say) | (audit log) |"
    );
    println!("|---|---:|---:|---:|---:|---:|");
    let mut twice = 0;
    for (rule, races) in [("guarded", races), ("bare", (races / 10).max(1))] {
        for candidates in [2, 5] {
            let tally = series(&plane, rule, candidates, races).await?;
            let Tally { none, one, more, audited } = tally;
            println!("| {candidates}, {rule} | {races} | {none} | {one} | {more} | {audited} |");
            if rule == "guarded" {
                twice += more + audited;
            }
        }
    }
    ensure!(twice == 0, "{twice} races with the guard were won by more than one");
    Ok(())
}

#[derive(Debug, Default)]
struct Tally {
    none: usize,
    one: usize,
    more: usize,
    audited: usize,
}

async fn series(plane: &ControlPlane, rule: &str, candidates: usize, races: usize) -> Result<Tally> {
    let client = plane.client().await;
    let leases: Api<Lease> = Api::namespaced(client, NS);
    let mut log = plane.audit();
    let mark = log.mark();
    let mut field = Vec::new();
    for n in 0..candidates {
        field.push(Racer::start(plane, rule, &format!("racer-{n}")).await?);
    }
    let mut tally = Tally::default();
    for race in 0..races {
        let name = format!("{rule}-{candidates}-{race}");
        create_expired(&leases, &name).await?;
        for answer in try_join_all(field.iter_mut().map(|it| it.ask(&name))).await? {
            ensure!(answer == "ready", "a racer says {answer:?}");
        }
        let answers = try_join_all(field.iter_mut().map(|it| it.ask("go"))).await?;
        match answers.iter().filter(|it| *it == WON).count() {
            0 => {
                tally.none += 1;
                eprintln!("races: nobody won {name}: {answers:?}");
            }
            1 => tally.one += 1,
            _ => tally.more += 1,
        }
        leases.delete(&name, &DeleteParams::default()).await?;
        if race % 1000 == 999 {
            eprintln!("races: {} of {races}, {candidates} candidates, {rule}", race + 1);
        }
    }
    let history = leases::history(log.since(mark));
    let taken =
        |changes: &Vec<leases::Change>| changes.iter().filter(|it| it.holder.starts_with("racer")).count();
    tally.audited = history.values().filter(|changes| taken(changes) > 1).count();
    Ok(tally)
}

async fn create_expired(leases: &Api<Lease>, name: &str) -> Result<()> {
    let long_ago = "2026-01-01T00:00:00.000000Z";
    let lease = json!({
        "metadata": {"name": name},
        "spec": {"holderIdentity": "gone", "leaseDurationSeconds": 1, "leaseTransitions": 0,
                 "acquireTime": long_ago, "renewTime": long_ago},
    });
    leases.create(&PostParams::default(), &serde_json::from_value(lease)?).await.context("create a Lease")?;
    Ok(())
}

/// A candidate's process, seen from here.
struct Racer {
    _process: Child,
    tell: ChildStdin,
    says: Lines<BufReader<ChildStdout>>,
}

impl Racer {
    async fn start(plane: &ControlPlane, rule: &str, me: &str) -> Result<Self> {
        let own = std::env::current_exe().context("find this program")?;
        let mut command = Command::new(own);
        command.arg("candidate").arg(plane.admin_kubeconfig()).arg(rule).arg(me);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().context("start a candidate")?;
        let tell = process.stdin.take().context("its stdin")?;
        let says = BufReader::new(process.stdout.take().context("its stdout")?).lines();
        let mut racer = Self { _process: process, tell, says };
        racer.hear().await?;
        Ok(racer)
    }

    async fn ask(&mut self, line: &str) -> Result<String> {
        self.tell.write_all(format!("{line}\n").as_bytes()).await?;
        self.hear().await
    }

    async fn hear(&mut self) -> Result<String> {
        let line = tokio::time::timeout(Duration::from_secs(30), self.says.next_line()).await;
        line.context("a candidate is silent")??.context("a candidate has ended")
    }
}

/// A candidate: the other side of [`Racer`].
async fn candidate(kubeconfig: &str, rule: &str, me: &str) -> Result<()> {
    let client = support::kubeconfig::client(kubeconfig.as_ref()).await?;
    client.apiserver_version().await?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    println!("here");
    while let Some(name) = lines.next_line().await? {
        let end = match rule {
            "guarded" => guarded(&client, &name, me, &mut lines).await?,
            _ => bare(&client, &name, me, &mut lines).await?,
        };
        println!("{end}");
    }
    Ok(())
}

async fn wait_for_go(lines: &mut Lines<BufReader<Stdin>>) -> Result<()> {
    println!("ready");
    let line = lines.next_line().await?;
    ensure!(line.as_deref() == Some("go"), "not a start: {line:?}");
    Ok(())
}

async fn guarded(
    client: &Client,
    name: &str,
    me: &str,
    lines: &mut Lines<BufReader<Stdin>>,
) -> Result<String> {
    let guarded = GuardedLease::new(&names(), NS, name, me, &Timing::default());
    let clients = LeaseClients { first: client.clone(), second: client.clone() };
    let lock = Lock::new(&clients, guarded, TTL, Arc::new(SystemClock));
    let leases: Api<Lease> = Api::namespaced(client.clone(), NS);
    let lease = leases.get(name).await?;
    // Seen 10 s ago and not renewed since: expired by observation.
    let long_ago = SystemClock.instant() - Duration::from_secs(10);
    let mut view = Observation::new(long_ago);
    view.observe(LeaseSnapshot::Present(Box::new(lease)), Source::Watch, long_ago);
    wait_for_go(lines).await?;
    Ok(match lock.try_acquire(view, false).await.end {
        AttemptEnd::Holding { .. } => WON.to_owned(),
        // On one line, for people: why a race had no winner.
        AttemptEnd::Failed(error) => format!("{error:?}").replace('\n', " "),
        AttemptEnd::HeldByOther => "held by another".to_owned(),
        AttemptEnd::LostRace => "lost".to_owned(),
    })
}

async fn bare(client: &Client, name: &str, me: &str, lines: &mut Lines<BufReader<Stdin>>) -> Result<String> {
    let params = LeaseLockParams { holder_id: me.to_owned(), lease_name: name.to_owned(), lease_ttl: TTL };
    let lock = LeaseLock::new(client.clone(), NS, params);
    wait_for_go(lines).await?;
    Ok(match lock.try_acquire_or_renew().await {
        Ok(LeaseLockResult::Acquired(_)) => WON.to_owned(),
        Ok(LeaseLockResult::NotAcquired(_)) => "lost".to_owned(),
        Err(error) => error.to_string().replace('\n', " "),
    })
}

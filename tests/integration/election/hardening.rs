// SPDX-License-Identifier: Apache-2.0
//! What adversaries of elections found: clocks that lie, a pass that never ends, a tool that labels Leases.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Client, ResourceExt, api::ListParams};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{
    ControlPlane,
    audit::Entry,
    eventually,
    install::NAMESPACE,
    leases,
    manager::{Launch, Manager},
    objects,
    probes::PLAYED,
    wait::{now, throughout},
};

use super::{
    EXPIRY, PROBED, SOON, assert_nothing_without_lease, debug_entry, default_lease, default_leases,
    edit_lease,
    go_manager::{GO_MANAGER, GoManager, LEGACY},
    holder_of, holders, leases_of, plane, probe_count, wait_counting, wait_held,
};

/// Durations that are shorter than the defaults.
pub(super) const SHORT: [&str; 3] = [
    "--leader-election-lease-duration=6s",
    "--leader-election-renew-deadline=4s",
    "--leader-election-retry-period=1s",
];
/// The lease duration in [`SHORT`].
pub(super) const SHORT_LEASE: Duration = Duration::from_secs(6);

/// No default Lease is held, and no probe loop has ever counted.
pub(super) async fn nothing_has_started(client: &Client) -> Result<(), String> {
    let holders = holders(client).await?;
    let ours: Vec<_> = default_leases().into_iter().filter(|it| holders.contains_key(it)).collect();
    let mut counts = Vec::new();
    for controller in PLAYED.iter().copied() {
        counts.push(probe_count(client, controller).await?);
    }
    if ours.is_empty() && counts.iter().all(|it| *it == 0) {
        Ok(())
    } else {
        Err(format!("held: {ours:?}, counts: {counts:?}"))
    }
}

/// Waits until a manager says in its log and its metrics that it waits for an older one.
pub(super) async fn wait_waiting(client: &Client, manager: &Manager) {
    eventually(SOON, "it says that it waits for an older manager", async || {
        let said = manager.log().contains("waiting for an older manager to stop");
        let gauge =
            manager.metric("leader_election_waiting_for_legacy").await.map_err(|it| format!("{it:#}"))?;
        if said && gauge == Some(1.0) {
            return Ok(());
        }
        Err(format!("said: {said}, gauge: {gauge:?}, started: {:?}", nothing_has_started(client).await))
    })
    .await;
}

/// Waits until what a manager writes as the present time is off by `offset` seconds.
async fn wait_skewed(client: &Client, manager: &Manager, offset: i64) {
    eventually(SOON, &format!("its wall clock is off by {offset} s"), async || {
        let list = leases_of(client).list(&ListParams::default()).await.map_err(|it| it.to_string())?;
        let own = |lease: &&Lease| {
            let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
            holder.is_some_and(|it| manager.is(it))
                && lease.name_any().starts_with("aibrix-controller-manager-")
        };
        let presence = list.iter().find(own).ok_or("it is not present")?;
        let renewed = presence.spec.as_ref().and_then(|it| it.renew_time.as_ref()).ok_or("no time")?.0;
        let off = renewed.duration_since(now()).as_secs() - offset;
        if off.abs() < 60 { Ok(()) } else { Err(format!("it wrote {renewed}, which is {off} s beside that")) }
    })
    .await;
}

/// All controllers start within 2 s of the moment at which the Go manager's claim has ended, and none before.
async fn assert_taken_when_the_claim_ended(plane: &ControlPlane, manager: &Manager, claim: Duration) {
    let client = plane.client().await;
    wait_held(&client, claim + Duration::from_secs(10), &default_leases(), &[manager]).await;
    for controller in PLAYED.iter().copied() {
        wait_counting(&client, SOON, controller).await;
    }
    let history = leases::history(plane.audit().entries());
    let changes = |name: &str| &history[&(NAMESPACE.to_owned(), name.to_owned())];
    let last = changes(LEGACY).iter().rfind(|it| it.holder == GO_MANAGER).expect("it was held");
    assert_eq!(last.duration, claim);
    for lease in default_leases() {
        let taken = changes(&lease).iter().find(|it| manager.is(&it.holder)).expect("it was taken");
        let after = taken.received.duration_since(last.received);
        let after: Duration = after.try_into().expect("after the last renewal");
        assert!(after >= claim, "{lease} {after:?} after the last renewal of an older manager");
        assert!(after <= claim + Duration::from_secs(2), "{lease} {after:?} after the last renewal");
    }
}

async fn manager_with_clock(plane: &ControlPlane, offset: &str) -> Manager {
    let args = ["--probe-loops", "--disable-webhook", "--leader-election-spread=false"];
    let manager = Launch::new(plane, &args).await.with_wall_clock(offset).start();
    manager.wait_ready().await;
    manager
}

// scenario: hardening 1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clock_that_is_an_hour_fast_takes_nothing_from_a_go_manager_that_renews() {
    let plane = plane().await;
    let client = plane.client().await;
    let go = GoManager::start(&client).await;
    let manager = manager_with_clock(&plane, "+3600").await;
    wait_waiting(&client, &manager).await;
    wait_skewed(&client, &manager, 3600).await;
    let beside = "nothing starts beside a Go manager that renews every 2 s";
    throughout(Duration::from_secs(60), beside, async || nothing_has_started(&client).await).await;

    go.renew_every(Duration::from_secs(10));
    let pausing = "nothing starts beside a Go manager that pauses for 10 s between renewals";
    throughout(Duration::from_secs(33), pausing, async || nothing_has_started(&client).await).await;
    drop(go);
    let changes = leases::history_of(plane.audit().entries(), NAMESPACE, LEGACY);
    let paused = |pair: &[leases::Change]| pair[1].received.duration_since(pair[0].received).as_secs() >= 10;
    assert!(changes.windows(2).filter(|pair| paused(pair)).count() >= 2, "it never paused: {changes:?}");
    assert_taken_when_the_claim_ended(&plane, &manager, Duration::from_secs(15)).await;
}

// scenario: hardening 1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clock_that_is_an_hour_slow_neither_robs_a_go_manager_nor_waits_for_a_dead_one() {
    let plane = plane().await;
    let client = plane.client().await;
    let go = GoManager::start_with(&client, SHORT_LEASE).await;
    let manager = manager_with_clock(&plane, "-3600").await;
    wait_waiting(&client, &manager).await;
    wait_skewed(&client, &manager, -3600).await;
    let beside = "nothing starts beside a Go manager that renews";
    throughout(2 * SHORT_LEASE, beside, async || nothing_has_started(&client).await).await;
    drop(go);
    assert_taken_when_the_claim_ended(&plane, &manager, SHORT_LEASE).await;
}

async fn assert_alive(manager: &Manager) {
    let answer = manager.get("/healthz").await.expect("the liveness endpoint answers");
    assert_eq!(answer.code, 200, "{}\n{}", answer.body, manager.log());
}

/// When that controller of that process last wrote something, by the audit log.
fn last_write(
    entries: &[Entry],
    manager: &Manager,
    controller: &str,
) -> kube_fenced_election::clock::Timestamp {
    let by = |it: &&Entry| {
        let caller = it.caller.as_ref();
        caller.is_some_and(|by| by.controller == controller && manager.is(&by.identity))
    };
    let wrote = entries.iter().filter(by).filter(|it| it.is_write() && it.is_ok() && !it.is_lease());
    let wrote = wrote.filter(|it| it.resource() != "events").map(|it| it.received);
    wrote.max().unwrap_or_else(|| panic!("{controller} of {} never wrote", manager.pod_name()))
}

// scenario: hardening 4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pass_that_never_ends_costs_a_hand_over_its_patience_and_the_replica_nothing() {
    // Patience, then the margin for what is on its way, then a moment.
    const HAND_OVER: Duration = Duration::from_secs(5 + 1 + 2);
    let plane = plane().await;
    let client = plane.client().await;
    let mut log = plane.audit();
    let controllers = format!("--controllers={}", PLAYED.join(","));
    let args = ["--probe-loops", "--disable-webhook", &controllers];
    let all: Vec<String> = PLAYED.iter().map(|it| default_lease(it)).collect();
    let first = Launch::new(&plane, &args).await.start();
    wait_held(&client, SOON, &all, &[&first]).await;
    for controller in &PLAYED {
        let blocked = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("blocking-{controller}"), "namespace": NAMESPACE,
                         "labels": {"probe/parent": controller}},
            "data": {"children": "0", "block": "true"},
        });
        objects::create(&client, &blocked).await;
    }
    eventually(SOON, "a pass of each controller blocks", async || {
        let blocks = first.log().lines().filter(|line| line.contains("probe pass blocks")).count();
        if blocks >= PLAYED.len() { Ok(()) } else { Err(format!("{blocks} of {}", PLAYED.len())) }
    })
    .await;
    for controller in PLAYED.iter().copied() {
        wait_counting(&client, SOON, controller).await;
    }

    // Four to none, then three to one: two are given away, 30 s apart.
    let second = Launch::new(&plane, &args).await.start();
    second.wait_ready().await;
    let mut moved = BTreeSet::new();
    while moved.len() < 2 {
        let controller =
            eventually(Duration::from_secs(60), "a Lease moves to the second replica", async || {
                assert_alive(&first).await;
                let holders = holders(&client).await?;
                let new = PLAYED.iter().filter(|it| !moved.contains(**it));
                let mut taken =
                    new.filter(|it| holders.get(&default_lease(it)).is_some_and(|by| second.is(by)));
                taken.next().copied().ok_or_else(|| format!("{holders:?}"))
            })
            .await;
        moved.insert(controller);
        wait_counting(&client, SOON, controller).await;
        let lease = default_lease(controller);
        // Whoever is asked to leave begins no further pass: its last count was then.
        let asked = last_write(log.entries(), &first, controller);
        let changes = leases::history_of(log.entries(), NAMESPACE, &lease);
        let taken = changes.iter().find(|it| second.is(&it.holder)).expect("it was taken").received;
        let gap: Duration = taken.duration_since(asked).try_into().expect("the first has stopped before");
        assert!(gap <= HAND_OVER, "{lease} was without a leader for {gap:?}");
        eventually(SOON, &format!("the first replica stands for {lease} again"), async || {
            assert_alive(&first).await;
            let entry = debug_entry(&first, controller).await?;
            let state = entry["state"].as_str().unwrap_or_default();
            if ["standby", "leading"].contains(&state) { Ok(()) } else { Err(entry.to_string()) }
        })
        .await;
    }

    second.sigkill();
    eventually(EXPIRY, "the first replica leads all again", async || {
        assert_alive(&first).await;
        let holders = holders(&client).await?;
        let led = all.iter().all(|lease| holders.get(lease).is_some_and(|by| first.is(by)));
        if led { Ok(()) } else { Err(format!("{holders:?}")) }
    })
    .await;
    for controller in PLAYED.iter().copied() {
        wait_counting(&client, SOON, controller).await;
        assert_alive(&first).await;
    }
    assert!(first.exit_status().is_none(), "the first replica ended");
    assert_nothing_without_lease(&mut log);
}

/// What a tool that labels everything does, from now on every 5 s. Dropping it ends it.
fn labelling(client: &Client, lease: &str) -> JoinSet<()> {
    let (client, lease) = (client.clone(), lease.to_owned());
    let mut tool = JoinSet::new();
    tool.spawn(async move {
        for n in 0.. {
            label(&client, &lease, n).await;
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    });
    tool
}

async fn label(client: &Client, lease: &str, n: usize) {
    edit_lease(client, lease, &json!({"metadata": {"labels": {"example.com/edited": n.to_string()}}})).await;
}

// scenario: hardening 8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_edited_by_a_tool_extend_no_claim_of_a_dead_leader_and_end_none_of_a_living_one() {
    let plane = plane().await;
    let client = plane.client().await;
    let mut log = plane.audit();
    let mut args = vec!["--probe-loops", "--disable-webhook", "--leader-election-spread=false"];
    args.push("--controllers=kv-cache-controller");
    args.extend(SHORT);
    let managers = [Manager::start(&plane, &args).await, Manager::start(&plane, &args).await];
    for manager in &managers {
        manager.wait_ready().await;
    }
    let lease = default_lease(PROBED);
    let held = wait_held(&client, SOON, std::slice::from_ref(&lease), &managers.each_ref()).await;
    let victim = holder_of(&held, &lease, &managers);
    let heir = managers.iter().find(|it| it.pod_name() != victim.pod_name()).expect("another");
    wait_counting(&client, SOON, PROBED).await;

    // It lives and renews: neither do the edits hide that, nor does anybody take the Lease.
    let mut n = 0;
    throughout(3 * SHORT_LEASE, "the living leader keeps its Lease", async || {
        n += 1;
        label(&client, &lease, n).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        match holders(&client).await?.get(&lease) {
            Some(holder) if victim.is(holder) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let changes = leases::history_of(log.entries(), NAMESPACE, &lease);
    assert!(changes.iter().all(|it| victim.is(&it.holder) && it.transitions == 0), "{changes:?}");

    victim.sigkill();
    let tool = labelling(&client, &lease);
    wait_held(&client, 4 * SHORT_LEASE, std::slice::from_ref(&lease), &[heir]).await;
    drop(tool);
    wait_counting(&client, SOON, PROBED).await;
    let changes = leases::history_of(log.entries(), NAMESPACE, &lease);
    let by_victim = |it: &&leases::Change| it.writer.as_deref().is_some_and(|by| victim.is(by));
    let last = changes.iter().rfind(by_victim).expect("it was renewed").received;
    let taken = changes.iter().find(|it| heir.is(&it.holder)).expect("it was taken").received;
    let edits = changes.iter().filter(|it| it.writer.is_none() && last < it.received && it.received < taken);
    assert!(edits.count() >= 1, "nobody edited the Lease of the dead leader: {changes:?}");
    let after: Duration = taken.duration_since(last).try_into().expect("in this order");
    assert!(after >= SHORT_LEASE, "taken {after:?} after the last renewal");
    assert!(after <= SHORT_LEASE + Duration::from_secs(1), "taken {after:?} after the last renewal");
    assert_nothing_without_lease(&mut log);
}

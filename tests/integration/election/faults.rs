// SPDX-License-Identifier: Apache-2.0
//! What happens to Leases when processes, connections, the API server or the Leases themselves fail.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Client, ResourceExt,
    api::{DeleteParams, ListParams},
};
use kube_fenced_election::clock::Timestamp;
use serde_json::json;

use crate::support::{
    audit::Entry,
    eventually, leases,
    manager::{Launch, Manager},
    probes::PLAYED,
    toxiproxy::Toxiproxy,
    wait::{now, throughout},
};

use super::{
    CONTROLLERS, EXPIRY, PROBED, SOON, assert_nothing_without_lease, debug_entry, default_lease,
    default_leases, edit_lease, holder_of, holders, leases_of, managers, plane, probe_count, wait_counting,
    wait_held,
};

/// When each Lease of the list was first written by another holder after `from`.
fn taken_after(
    history: &BTreeMap<leases::LeaseKey, Vec<leases::Change>>,
    from: Timestamp,
    lease: &str,
    by: &Manager,
) -> Option<Timestamp> {
    let (_, changes) = history.iter().find(|((_, name), _)| name == lease)?;
    changes.iter().find(|it| it.finished > from && by.is(&it.holder)).map(|it| it.finished)
}

// scenario: leader-election 6
// scenario: manager-and-deployment 18
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terminated_leader_hands_every_lease_over_at_once() {
    let plane = plane().await;
    let client = plane.client().await;
    let mut log = plane.audit();
    let first = managers(&plane, 1, &[]).await;
    wait_held(&client, SOON, &default_leases(), &[&first[0]]).await;
    let second = managers(&plane, 1, &[]).await;
    second[0].wait_ready().await;
    wait_counting(&client, SOON, PROBED).await;

    let asked = now();
    first[0].sigterm();
    assert_eq!(first[0].wait_exit(Duration::from_secs(9)).await, Some(0));
    wait_held(&client, SOON, &default_leases(), &[&second[0]]).await;
    for controller in PLAYED.iter().copied() {
        wait_counting(&client, SOON, controller).await;
    }

    let (mut led, mut worked) = (Vec::new(), Vec::new());
    let history = leases::history(log.entries());
    for lease in default_leases() {
        let (_, changes) = history.iter().find(|((_, name), _)| *name == lease).expect("a history");
        let released = changes.iter().find(|it| it.finished > asked && it.holder.is_empty());
        let released = released.unwrap_or_else(|| panic!("{lease} was not released: {changes:?}"));
        assert_eq!(released.duration, Duration::from_secs(1), "{lease}");
        let taken = taken_after(&history, asked, &lease, &second[0]).expect("taken over");
        led.push(taken.duration_since(released.received));
        let by_heir = |it: &&Entry| it.caller.as_ref().is_some_and(|by| second[0].is(&by.identity));
        let works = |it: &&Entry| it.is_write() && it.is_ok() && !it.is_lease() && it.resource() != "events";
        let own = |it: &&Entry| it.caller.as_ref().is_some_and(|by| default_lease(&by.controller) == lease);
        let first = log.entries().iter().filter(by_heir).filter(works).find(own).map(|it| it.received);
        if PLAYED.iter().any(|it| default_lease(it) == lease) {
            let first = first.unwrap_or_else(|| panic!("{lease}: its controller did nothing"));
            worked.push(first.duration_since(released.received));
        }
    }
    // The one that leaves says so first: nobody waits for a less loaded replica then. One of them may be
    // held up by a busy machine, but not most.
    for (what, mut gaps) in [("no leader", led), ("no work", worked)] {
        gaps.sort_unstable();
        assert!(gaps[gaps.len() / 2].as_millis() < 1000, "{what}: {gaps:?}");
        assert!(gaps.last().is_some_and(|it| it.as_secs() < 5), "{what}: {gaps:?}");
    }
    assert_nothing_without_lease(&mut log);
}

/// Waits until `manager` knows who holds each Lease, and each was renewed since.
async fn wait_seen_and_renewed(client: &Client, manager: &Manager, held: &BTreeMap<String, String>) {
    for controller in CONTROLLERS {
        let holder = held.get(&default_lease(controller)).expect("a holder");
        eventually(SOON, &format!("{} sees who leads {controller}", manager.pod_name()), async || {
            let entry = debug_entry(manager, controller).await?;
            if entry["holder"] == holder.as_str() { Ok(()) } else { Err(entry.to_string()) }
        })
        .await;
    }
    let seen = now();
    eventually(SOON, "each Lease is renewed", async || {
        let leases =
            leases_of(client).list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let renewed =
            |lease: &&Lease| lease.spec.as_ref().and_then(|it| it.renew_time.as_ref()).map(|it| it.0);
        let ours = leases.iter().filter(|lease| default_leases().contains(&lease.name_any()));
        let late: Vec<_> = ours.filter(|it| renewed(it) <= Some(seen)).map(ResourceExt::name_any).collect();
        if late.is_empty() { Ok(()) } else { Err(format!("{late:?}")) }
    })
    .await;
}

// scenario: leader-election 6
// scenario: manager-and-deployment 13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_leaders_leases_all_move_within_the_lease_duration_and_a_second() {
    let plane = plane().await;
    let client = plane.client().await;
    let mut log = plane.audit();
    let managers = managers(&plane, 2, &["--leader-election-spread=false"]).await;
    let all: Vec<_> = managers.iter().collect();
    let held = wait_held(&client, SOON, &default_leases(), &all).await;
    let victim = holder_of(&held, &default_lease(PROBED), &managers);
    let heir = managers.iter().find(|it| it.pod_name() != victim.pod_name()).expect("another");
    // Whoever did not see the last renewal counts from the moment at which he sees the Lease.
    wait_seen_and_renewed(&client, heir, &held).await;
    victim.sigkill();
    wait_held(&client, EXPIRY, &default_leases(), &[heir]).await;
    wait_counting(&client, SOON, PROBED).await;
    let history = leases::history(log.entries());
    for (lease, _) in held.iter().filter(|(name, by)| default_leases().contains(name) && victim.is(by)) {
        let (_, changes) = history.iter().find(|((_, name), _)| name == lease).expect("a history");
        let last = changes.iter().rfind(|it| victim.is(&it.holder)).expect("it was held");
        let taken = changes.iter().find(|it| heir.is(&it.holder)).expect("it was taken");
        let gap = taken.received.duration_since(last.finished);
        assert!(gap.as_millis() <= 16_000, "{lease}: {gap:#} after the last renewal");
        assert_eq!(taken.transitions, last.transitions + 1, "{lease}");
    }
    assert_nothing_without_lease(&mut log);
}

// scenario: leader-election 6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_leader_writes_nothing_when_it_wakes() {
    let plane = plane().await;
    let client = plane.client().await;
    let mut log = plane.audit();
    let managers = managers(&plane, 2, &["--leader-election-spread=false"]).await;
    let all: Vec<_> = managers.iter().collect();
    let held = wait_held(&client, SOON, &default_leases(), &all).await;
    let victim = holder_of(&held, &default_lease(PROBED), &managers);
    let heir = managers.iter().find(|it| it.pod_name() != victim.pod_name()).expect("another");
    wait_counting(&client, SOON, PROBED).await;
    victim.sigstop();
    wait_held(&client, EXPIRY, &default_leases(), &[heir]).await;
    wait_counting(&client, SOON, PROBED).await;
    let woken = now();
    victim.sigcont();
    // It notices, and stands by; the heir goes on.
    let frozen = victim.pod_name().to_owned();
    eventually(SOON, "the woken manager knows that it does not lead", async || {
        let metric = format!("leader_election_master_status{{name=\"{}\"}}", default_lease(PROBED));
        match victim.metric(&metric).await {
            Ok(Some(0.0)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    wait_counting(&client, SOON, PROBED).await;
    throughout(Duration::from_secs(5), "the heir keeps every Lease", async || {
        let holders = holders(&client).await?;
        let lost: Vec<_> =
            default_leases().into_iter().filter(|it| holders.get(it).is_none_or(|by| !heir.is(by))).collect();
        if lost.is_empty() { Ok(()) } else { Err(format!("{lost:?}")) }
    })
    .await;
    let wrote: Vec<_> = log
        .entries()
        .iter()
        .filter(|it| it.received > woken && it.is_write() && it.is_ok() && !it.is_lease())
        .filter(|it| it.object.as_ref().is_some_and(|object| object.resource != "events"))
        .filter(|it| it.caller.as_ref().is_some_and(|by| by.identity.starts_with(&frozen)))
        .collect();
    assert!(wrote.is_empty(), "{wrote:?}");
    assert_nothing_without_lease(&mut log);
}

// scenario: leader-election 6
// scenario: manager-and-deployment 15
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_or_mangled_lease_is_mended_and_never_led_twice() {
    let plane = plane().await;
    let client = plane.client().await;
    let mut log = plane.audit();
    let managers = managers(&plane, 2, &["--leader-election-spread=false"]).await;
    let all: Vec<_> = managers.iter().collect();
    let lease = default_lease(PROBED);
    wait_held(&client, SOON, &default_leases(), &all).await;

    leases_of(&client).delete(&lease, &DeleteParams::default()).await.expect("delete");
    wait_held(&client, Duration::from_secs(5), std::slice::from_ref(&lease), &all).await;
    wait_counting(&client, SOON, PROBED).await;

    let garbage = [
        json!({"spec": null}),
        json!({"spec": {"holderIdentity": null, "leaseDurationSeconds": null, "renewTime": null,
                        "acquireTime": null, "leaseTransitions": null}}),
        json!({"spec": {"leaseTransitions": i32::MAX}}),
        json!({"spec": {"renewTime": "2199-01-01T00:00:00.000000Z"}}),
        json!({"metadata": {"labels": null}}),
    ];
    for patch in garbage {
        edit_lease(&client, &lease, &patch).await;
        wait_held(&client, EXPIRY, std::slice::from_ref(&lease), &all).await;
        wait_counting(&client, EXPIRY, PROBED).await;
        assert!(managers.iter().all(|it| it.exit_status().is_none()), "a manager ended on {patch}");
    }
    assert_nothing_without_lease(&mut log);
}

// scenario: leader-election 6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarted_api_server_ends_no_process_and_every_lease_has_one_holder_after_it() {
    let plane = plane().await;
    let client = plane.client().await;
    let mut log = plane.audit();
    let managers = managers(&plane, 2, &["--leader-election-spread=false"]).await;
    let all: Vec<_> = managers.iter().collect();
    wait_held(&client, SOON, &default_leases(), &all).await;
    plane.stop_apiserver();
    tokio::time::sleep(Duration::from_secs(20)).await;
    plane.restart_apiserver().await;
    let client = plane.client().await;
    wait_held(&client, EXPIRY, &default_leases(), &all).await;
    wait_counting(&client, EXPIRY, PROBED).await;
    assert!(managers.iter().all(|it| it.exit_status().is_none()), "a manager ended");
    assert_nothing_without_lease(&mut log);
}

// scenario: leader-election 6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_that_is_cut_off_stops_and_one_that_is_slow_stays() {
    let plane = plane().await;
    let client = plane.client().await;
    let mut log = plane.audit();
    let toxiproxy = Toxiproxy::start(&plane).await;
    let proxy = toxiproxy.proxy(plane.port()).await;
    let args = ["--probe-loops", "--disable-webhook", "--leader-election-spread=false"];
    let far = Launch::through(&plane, proxy.port(), &args).await.start();
    wait_held(&client, SOON, &default_leases(), &[&far]).await;
    let near = managers(&plane, 1, &["--leader-election-spread=false"]).await;
    near[0].wait_ready().await;

    // Two seconds a request: leadership is kept.
    proxy.slow(Duration::from_secs(2)).await;
    throughout(Duration::from_secs(25), "the slow one keeps its Leases", async || {
        let holders = holders(&client).await?;
        let lost: Vec<_> =
            default_leases().into_iter().filter(|it| holders.get(it).is_none_or(|by| !far.is(by))).collect();
        if lost.is_empty() { Ok(()) } else { Err(format!("{lost:?}")) }
    })
    .await;
    proxy.heal().await;
    wait_counting(&client, SOON, PROBED).await;

    proxy.cut().await;
    wait_held(&client, EXPIRY, &default_leases(), &[&near[0]]).await;
    let count = probe_count(&client, PROBED).await.expect("read the count");
    proxy.heal().await;
    wait_counting(&client, SOON, PROBED).await;
    assert!(probe_count(&client, PROBED).await.expect("read the count") > count);
    assert!(far.exit_status().is_none(), "the cut one ended");
    assert_nothing_without_lease(&mut log);
}

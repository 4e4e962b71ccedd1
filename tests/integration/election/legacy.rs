// SPDX-License-Identifier: Apache-2.0
//! Taking over from a Go manager, and keeping one away that starts later.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    audit::Entry,
    contender::Contender,
    install::NAMESPACE,
    leases,
    wait::{now, throughout},
};

use super::{
    EXPIRY, PROBED, SOON, default_leases, edit_lease,
    go_manager::{GO_MANAGER, GoManager, LEGACY},
    holders, leases_of, managers, plane, probe_count, wait_counting, wait_held,
};

const GROUP: &str = "aibrix-controller-manager-group";

// scenario: leader-election 10
// scenario: manager-and-deployment 20
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_starts_beside_a_go_manager_and_everything_when_it_is_gone() {
    let plane = plane().await;
    let client = plane.client().await;
    let go = GoManager::start(&client).await;
    let managers = managers(&plane, 1, &["--leader-election-spread=false"]).await;
    managers[0].wait_ready().await;
    throughout(Duration::from_secs(20), "nothing starts", async || {
        let holders = holders(&client).await?;
        let ours: Vec<_> = default_leases().into_iter().filter(|it| holders.contains_key(it)).collect();
        let counts = probe_count(&client, PROBED).await?;
        if ours.is_empty() && counts == 0 { Ok(()) } else { Err(format!("{ours:?}, {counts}")) }
    })
    .await;
    let waiting = managers[0].metrics().await.expect("metrics");
    let gauge = waiting.lines().find(|line| line.starts_with("leader_election_waiting_for_legacy"));
    assert!(gauge.is_some_and(|line| line.ends_with(" 1")), "{gauge:?}");

    drop(go);
    let held = wait_held(&client, EXPIRY, &default_leases(), &[&managers[0]]).await;
    assert_eq!(held.get(LEGACY).map(String::as_str), Some(GROUP), "{held:?}");
    let history = leases::history(plane.audit().entries());
    let changes = |name: &str| history.get(&(NAMESPACE.to_owned(), name.to_owned())).expect("a history");
    let last = changes(LEGACY).iter().rfind(|it| it.holder == GO_MANAGER).expect("it was held");
    for lease in default_leases() {
        let taken = changes(&lease).iter().find(|it| managers[0].is(&it.holder)).expect("it was taken");
        let after = taken.received.duration_since(last.finished);
        let expiry = i128::try_from(last.duration.as_millis()).expect("a duration");
        assert!(after.as_millis() >= expiry - 100, "{lease} {after:#} after the last renewal");
        assert!(after.as_millis() <= expiry + 2000, "{lease} {after:#} after the last renewal");
    }
    // A Go manager that starts now, a rollback, does not get it while a manager leads.
    let rollback = Contender::start_on(&plane, LEGACY, &[]).await;
    rollback.wait_until_it_says(SOON, &format!("leader {GROUP}")).await;
    throughout(Duration::from_secs(20), "the group renews its Lease", async || {
        let lease = leases_of(&client).get(LEGACY).await.map_err(|error| error.to_string())?;
        let spec = lease.spec.ok_or("no spec")?;
        let renewed = spec.renew_time.ok_or("never renewed")?.0;
        let left = now().duration_since(renewed);
        let duration = i64::from(spec.lease_duration_seconds.unwrap_or_default());
        if left.as_secs() < duration { Ok(()) } else { Err(format!("{left:#} ago, good for {duration} s")) }
    })
    .await;
    assert!(!rollback.said("leading"), "client-go leads beside us");
    managers[0].sigterm();
    assert_eq!(managers[0].wait_exit(SOON).await, Some(0));
    // The last manager released the Lease: the rollback goes on.
    rollback.wait_until_it_says(Duration::from_secs(10), "leading").await;
}

// scenario: manager-and-deployment 21
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stale_legacy_lease_is_waited_for_as_long_as_it_says_from_the_first_look_on() {
    // Shorter than ours: the stored one counts.
    const STORED: Duration = Duration::from_secs(6);
    let plane = plane().await;
    let client = plane.client().await;
    let go = GoManager::start_with(&client, STORED).await;
    drop(go);
    let hour_ago = now() - Duration::from_hours(1);
    edit_lease(&client, LEGACY, &json!({"spec": {"renewTime": format!("{hour_ago:.6}")}})).await;
    let managers = managers(&plane, 1, &["--leader-election-spread=false"]).await;
    wait_held(&client, EXPIRY, &default_leases(), &[&managers[0]]).await;
    let mut log = plane.audit();
    let history = leases::history(log.entries());
    let own =
        |it: &&Entry| it.is_lease() && it.caller.as_ref().is_some_and(|by| managers[0].is(&by.identity));
    let looked = log.entries().iter().filter(own).map(|it| it.received).min().expect("it looked");
    for lease in default_leases() {
        let changes = &history[&(NAMESPACE.to_owned(), lease.clone())];
        let taken = changes.iter().find(|it| managers[0].is(&it.holder)).expect("it was taken");
        let after: Duration = taken.received.duration_since(looked).try_into().expect("in this order");
        assert!(after >= STORED, "{lease} {after:?} after the first look: renewTime was believed");
        assert!(after <= STORED + Duration::from_secs(2), "{lease} {after:?} after the first look");
    }
}

// scenario: manager-and-deployment 22
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_controllers_stop_when_a_go_manager_takes_the_legacy_lease() {
    let plane = plane().await;
    let client = plane.client().await;
    let managers = managers(&plane, 1, &["--leader-election-spread=false"]).await;
    wait_held(&client, SOON, &default_leases(), &[&managers[0]]).await;
    wait_counting(&client, SOON, PROBED).await;
    let end = crate::support::wait::instant() + Duration::from_secs(12);
    while crate::support::wait::instant() < end {
        let time = format!("{:.6}", now());
        let take =
            json!({"spec": {"holderIdentity": GO_MANAGER, "leaseDurationSeconds": 15, "renewTime": time}});
        edit_lease(&client, LEGACY, &take).await;
        let holders = holders(&client).await.expect("read Leases");
        if default_leases().iter().all(|lease| !holders.contains_key(lease)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("still held: {:?}", holders(&client).await);
}

// scenario: manager-and-deployment 23
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_legacy_lease_controllers_start_beside_a_go_manager() {
    let plane = plane().await;
    let client = plane.client().await;
    let _go = GoManager::start(&client).await;
    let args = ["--leader-election-spread=false", "--legacy-leader-election-id="];
    let managers = managers(&plane, 1, &args).await;
    wait_held(&client, Duration::from_secs(10), &default_leases(), &[&managers[0]]).await;
    assert_eq!(holders(&client).await.expect("read").get(LEGACY).map(String::as_str), Some(GO_MANAGER));
}

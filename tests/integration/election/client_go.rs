// SPDX-License-Identifier: Apache-2.0
//! Side by side with client-go's leaderelection on one Lease, as in a migration: never both.

use std::time::Duration;

use kube_fenced_election::clock::Timestamp;

use crate::support::{
    ControlPlane,
    contender::Contender,
    install::NAMESPACE,
    leases::{self, Change},
    manager::{Launch, Manager},
    process::Signal,
    takes::taken_early,
    wait::{now, throughout},
};

use super::{
    PROBED, SOON, assert_nothing_without_lease, default_lease, holders, plane, wait_counting, wait_held,
};

/// Lease duration of both sides, shorter than the default so that the test need not wait.
const LEASE: Duration = Duration::from_secs(6);
/// Retry period of both sides. client-go waits up to 2.2 times as long between two looks.
const RETRY: Duration = Duration::from_secs(1);

/// client-go's contends with this manager's for the probed controller's Lease.
async fn contender(plane: &ControlPlane) -> Contender {
    let short = [
        format!("-lease-duration={}s", LEASE.as_secs()),
        "-renew-deadline=4s".to_owned(),
        format!("-retry-period={}s", RETRY.as_secs()),
    ];
    Contender::start_on(plane, &default_lease(PROBED), &short).await
}

async fn manager(plane: &ControlPlane) -> Manager {
    let args = [
        "--probe-loops",
        "--disable-webhook",
        "--controllers=kv-cache-controller",
        "--leader-election-lease-duration=6s",
        "--leader-election-renew-deadline=4s",
        "--leader-election-retry-period=1s",
    ];
    let manager = Launch::new(plane, &args).await.start();
    manager.wait_ready().await;
    manager
}

/// The holder stays for longer than a Lease lasts.
async fn assert_respected(plane: &ControlPlane, holds: impl Fn(&str) -> bool) {
    let client = plane.client().await;
    let lease = default_lease(PROBED);
    throughout(LEASE + 2 * RETRY, "the holder is respected while it renews", async || {
        match holders(&client).await?.get(&lease) {
            Some(holder) if holds(holder) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// The history of the Lease so far.
fn changes(plane: &ControlPlane) -> Vec<Change> {
    leases::history_of(plane.audit().entries(), NAMESPACE, &default_lease(PROBED))
}

/// The time between the first take by `winner` after `after` and the write before it: a renewal or a release.
fn hand_over(plane: &ControlPlane, winner: impl Fn(&str) -> bool, after: Timestamp) -> Duration {
    let changes = changes(plane);
    let won = changes.iter().position(|it| it.finished > after && winner(&it.holder)).expect("it was won");
    let before = &changes[won.checked_sub(1).expect("somebody held it before")];
    let took = changes[won].received.duration_since(before.received);
    let how = if before.holder.is_empty() { "after the release" } else { "after the last renewal" };
    let to = &changes[won].holder;
    println!("client-go side by side: {to} leads {:.2} s {how}", took.as_secs_f64());
    took.try_into().expect("in this order")
}

// scenario: leader-election 9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_go_and_this_manager_contend_for_one_lease_and_never_both_lead() {
    let plane = plane().await;
    let client = plane.client().await;
    let mut log = plane.audit();
    let lease = [default_lease(PROBED)];
    let expiry = LEASE + 4 * RETRY;

    // client-go's is respected while it renews, and until it has expired by observation.
    let go = contender(&plane).await;
    go.wait_until_it_says(SOON, "leading").await;
    let ours = manager(&plane).await;
    assert_respected(&plane, |holder| holder == go.identity).await;
    let killed = now();
    go.process.kill();
    wait_held(&client, expiry, &lease, &[&ours]).await;
    let took = hand_over(&plane, |it| ours.is(it), killed);
    assert!(took >= LEASE && took <= LEASE + 2 * RETRY, "{took:?} after the last renewal");
    wait_counting(&client, SOON, PROBED).await;

    // Ours is understood: the same holder is seen, and respected while it renews.
    let go = contender(&plane).await;
    let holder = holders(&client).await.expect("the holders")[&lease[0]].clone();
    go.wait_until_it_says(SOON, &format!("leader {holder}")).await;
    assert_respected(&plane, |it| it == holder).await;
    assert!(!go.said("leading"), "both led");

    // Ours, released, is taken at client-go's next look.
    let asked = now();
    ours.sigterm();
    assert_eq!(ours.wait_exit(Duration::from_secs(9)).await, Some(0));
    go.wait_until_it_says(expiry, "leading").await;
    let took = hand_over(&plane, |it| it == go.identity, asked);
    // client-go looks each 2.2 s at most, and the Lease would have lasted for 6.
    assert!(took + RETRY < LEASE, "{took:?} after the release");

    // client-go's, released, is taken at once.
    let ours = manager(&plane).await;
    let asked = now();
    go.process.signal(Signal::TERM);
    wait_held(&client, expiry, &lease, &[&ours]).await;
    let took = hand_over(&plane, |it| ours.is(it), asked);
    assert!(took < 2 * RETRY, "{took:?} after the release");
    go.wait_until_it_says(SOON, "stopped").await;
    wait_counting(&client, SOON, PROBED).await;

    // Ours, killed, is taken by client-go when it has expired.
    let go = contender(&plane).await;
    go.wait_until_it_says(
        SOON,
        &format!("leader {}", holders(&client).await.expect("the holders")[&lease[0]]),
    )
    .await;
    let killed = now();
    ours.sigkill();
    go.wait_until_it_says(expiry, "leading").await;
    assert!(hand_over(&plane, |it| it == go.identity, killed) >= LEASE);

    assert_eq!(taken_early(&changes(&plane)), [], "two held the Lease at one time");
    assert_nothing_without_lease(&mut log);
}

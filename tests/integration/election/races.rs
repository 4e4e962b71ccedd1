// SPDX-License-Identifier: Apache-2.0
//! Candidates that race for an expired Lease: why the lease library has a guard underneath.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::PostParams};
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
use tokio::sync::Barrier;

use crate::support::{ControlPlane, Options};

/// Races of each kind; the full campaign runs many more.
const ROUNDS: usize = 300;
const NS: &str = "default";

async fn expired_lease(leases: &Api<Lease>, name: &str) -> Lease {
    let long_ago = "2026-01-01T00:00:00.000000Z";
    let lease = json!({
        "metadata": {"name": name},
        "spec": {"holderIdentity": "gone", "leaseDurationSeconds": 1, "leaseTransitions": 0,
                 "acquireTime": long_ago, "renewTime": long_ago},
    });
    let lease = serde_json::from_value(lease).expect("a Lease");
    leases.create(&PostParams::default(), &lease).await.expect("create the Lease")
}

/// Two clients whose connections are warm.
async fn two_clients(plane: &ControlPlane) -> [Client; 2] {
    let clients = [plane.client().await, plane.client().await];
    for client in &clients {
        client.apiserver_version().await.expect("an answer");
    }
    clients
}

async fn bare(client: Client, lease: String, me: String, start: Arc<Barrier>) -> bool {
    let params = LeaseLockParams { holder_id: me, lease_name: lease, lease_ttl: Duration::from_secs(15) };
    let lock = LeaseLock::new(client, NS, params);
    start.wait().await;
    matches!(lock.try_acquire_or_renew().await, Ok(LeaseLockResult::Acquired(_)))
}

async fn guarded(client: Client, lease: Lease, me: String, start: Arc<Barrier>) -> bool {
    let name = lease.metadata.name.clone().expect("a name");
    let guarded = GuardedLease::new(&names(), NS, &name, &me, &Timing::default());
    let clients = LeaseClients { first: client.clone(), second: client };
    let lock = Lock::new(&clients, guarded, Duration::from_secs(15), Arc::new(SystemClock));
    // Seen 10 s ago and not renewed since: expired by observation.
    let long_ago = SystemClock.instant() - Duration::from_secs(10);
    let mut view = Observation::new(long_ago);
    view.observe(LeaseSnapshot::Present(Box::new(lease)), Source::Watch, long_ago);
    start.wait().await;
    matches!(lock.try_acquire(view, false).await.end, AttemptEnd::Holding { .. })
}

// scenario: leader-election 8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bare_library_gives_one_lease_to_two_racers_and_the_guarded_one_never() {
    let plane = ControlPlane::start(Options::bare()).await;
    let [first, second] = two_clients(&plane).await;
    let leases: Api<Lease> = Api::namespaced(plane.client().await, NS);
    let (mut twice_bare, mut twice_guarded, mut won) = (0, 0, 0);
    for round in 0..ROUNDS {
        let name = format!("bare-{round}");
        expired_lease(&leases, &name).await;
        let start = Arc::new(Barrier::new(2));
        let (one, other) = tokio::join!(
            bare(first.clone(), name.clone(), "one".to_owned(), Arc::clone(&start)),
            bare(second.clone(), name, "other".to_owned(), start),
        );
        twice_bare += usize::from(one && other);

        let lease = expired_lease(&leases, &format!("guarded-{round}")).await;
        let start = Arc::new(Barrier::new(2));
        let (one, other) = tokio::join!(
            guarded(first.clone(), lease.clone(), "one".to_owned(), Arc::clone(&start)),
            guarded(second.clone(), lease, "other".to_owned(), start),
        );
        twice_guarded += usize::from(one && other);
        won += usize::from(one || other);
    }
    println!(
        "of {ROUNDS} races both racers won {twice_bare} with the bare library, {twice_guarded} with the guard"
    );
    assert_eq!(twice_guarded, 0, "races that both won");
    assert_eq!(won, ROUNDS, "somebody wins every race");
    assert!(twice_bare > 0, "the library needs no guard any more?");
}

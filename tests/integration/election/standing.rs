// SPDX-License-Identifier: Apache-2.0
//! Who stands for what, with which flags.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use tokio::net::TcpListener;

use crate::support::{ControlPlane, Options, eventually, manager::Launch, wait::throughout};

use super::{
    CONTROLLERS, PROBED, SOON, assert_nothing_without_lease, default_lease, default_leases, holders,
    leases_of, managers, plane, wait_counting, wait_held,
};

// scenario: leader-election 1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seven_controllers_of_one_replica_hold_seven_leases_of_their_own() {
    let plane = plane().await;
    let client = plane.client().await;
    let mut log = plane.audit();
    let managers = managers(&plane, 1, &[]).await;
    wait_held(&client, SOON, &default_leases(), &[&managers[0]]).await;
    for controller in CONTROLLERS {
        let lease: Lease = leases_of(&client).get(&default_lease(controller)).await.expect("the Lease");
        let labels = lease.labels();
        let label = |key: &str| labels.get(key).map(String::as_str);
        assert_eq!(label("app.kubernetes.io/name"), Some("aibrix"));
        assert_eq!(label("app.kubernetes.io/managed-by"), Some("aibrix-controller-manager"));
        assert_eq!(label("app.kubernetes.io/component"), Some(controller));
        assert_eq!(label("leaders.aibrix.ai/controller"), Some(controller));
        let spec = lease.spec.expect("a spec");
        assert_eq!(spec.lease_duration_seconds, Some(15));
        assert_eq!(spec.lease_transitions, Some(0));
        assert!(spec.acquire_time.is_some() && spec.renew_time.is_some());
        let writers: BTreeSet<_> =
            lease.metadata.managed_fields.iter().flatten().filter_map(|it| it.manager.as_deref()).collect();
        assert_eq!(writers, BTreeSet::from(["aibrix-controller-manager"]));
    }
    wait_counting(&client, SOON, PROBED).await;
    let mut held = holders(&client).await.expect("read Leases");
    held.retain(|lease, _| default_leases().contains(lease));
    let identities: BTreeSet<_> = held.into_values().collect();
    assert_eq!(identities.len(), 1, "one identity per process: {identities:?}");
    // From the first request on, nothing but Leases and their events was written before the Lease was held.
    assert_nothing_without_lease(&mut log);
    let identity = identities.first().expect("a holder");
    let named = log.entries().iter().any(|it| it.user_agent.ends_with(&format!("{PROBED}/{identity}")));
    assert!(named, "the user agent tells controller and identity");
}

// scenario: leader-election 2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seven_leases_spread_over_three_replicas() {
    let plane = plane().await;
    let client = plane.client().await;
    let mut log = plane.audit();
    let managers = managers(&plane, 3, &[]).await;
    let all: Vec<_> = managers.iter().collect();
    wait_held(&client, SOON, &default_leases(), &all).await;
    eventually(Duration::from_secs(90), "each replica holds 2 or 3", async || {
        let holders = holders(&client).await?;
        let mut held: BTreeMap<&str, usize> = managers.iter().map(|it| (it.pod_name(), 0)).collect();
        for lease in default_leases() {
            let by = managers.iter().find(|one| holders.get(&lease).is_some_and(|it| one.is(it)));
            let by = by.ok_or_else(|| format!("{lease} is not held"))?;
            *held.entry(by.pod_name()).or_default() += 1;
        }
        if held.values().all(|n| (2..=3).contains(n)) { Ok(()) } else { Err(format!("{held:?}")) }
    })
    .await;
    assert_nothing_without_lease(&mut log);
}

// scenario: leader-election 3
// scenario: manager-and-deployment 7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_problems_of_ids_and_durations_are_told_at_once_and_nothing_is_contacted() {
    let plane = ControlPlane::start(Options::bare()).await;
    let server = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let port = server.local_addr().expect("an address").port();
    let kubeconfig = plane.new_path("nobody.kubeconfig");
    let text = std::fs::read_to_string(plane.admin_kubeconfig()).expect("read");
    let text = text.replace(&plane.port().to_string(), &port.to_string());
    std::fs::write(&kubeconfig, text).expect("write");
    let launch = Launch {
        kubeconfig,
        pod_name: "wrong".to_owned(),
        args: [
            "--leader-election-id=kv-cache-controller=same,stormservice-controller=same",
            "--leader-election-id=model-claim-controller=Upper_Case",
            "--leader-election-lease-duration=5s",
            "--leader-election-renew-deadline=10s",
        ]
        .map(str::to_owned)
        .to_vec(),
        env: Vec::new(),
        binary: None,
        network: None,
        log: plane.new_path("wrong.log"),
        address: "127.0.0.1".to_owned(),
        ports: None,
    };
    let manager = launch.start();
    assert_eq!(manager.wait_exit(SOON).await, Some(1));
    let said = manager.log();
    for part in
        ["kv-cache-controller", "stormservice-controller", "same", "--leader-election-id", "Upper_Case"]
    {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    assert!(said.contains("leaseDuration must be greater than renewDeadline"), "{said}");
    let contacted = tokio::time::timeout(Duration::from_millis(100), server.accept()).await;
    assert!(contacted.is_err(), "the API server was contacted");
}

// scenario: leader-election 4
// scenario: manager-and-deployment 4-5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bare_id_is_one_controllers_lease_and_several_controllers_never_share_it() {
    let plane = plane().await;
    let client = plane.client().await;
    {
        let args =
            ["--controllers=pod-autoscaler-controller", "--leader-election-id=my-lease", "--disable-webhook"];
        let manager = crate::support::manager::Manager::start(&plane, &args).await;
        wait_held(&client, SOON, &["my-lease".to_owned()], &[&manager]).await;
        let held = holders(&client).await.expect("read Leases");
        assert!(!held.contains_key("aibrix-pod-autoscaler-controller"), "{held:?}");
        assert!(!held.contains_key("aibrix-controller-manager"), "{held:?}");
        manager.sigterm();
        assert_eq!(manager.wait_exit(SOON).await, Some(0));
    }
    let managers = managers(&plane, 1, &["--leader-election-id=shared-by-all"]).await;
    wait_held(&client, SOON, &default_leases(), &[&managers[0]]).await;
    let held = holders(&client).await.expect("read Leases");
    // The bare id is the Go manager's Lease: held by the group, by no controller.
    assert!(held.get("shared-by-all").is_none_or(|it| it == "aibrix-controller-manager-group"), "{held:?}");
    let log = managers[0].log();
    let warned: Vec<_> =
        log.lines().filter(|line| line.starts_with('W') && line.contains("shared-by-all")).collect();
    assert_eq!(warned.len(), 1, "one warning, which shows the flags to write: {warned:?}");
    assert!(warned[0].contains("kv-cache-controller="), "{}", warned[0]);
}

// scenario: leader-election 12
// scenario: manager-and-deployment 24
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_election_no_lease_is_touched_and_all_controllers_work() {
    let plane = plane().await;
    let client = plane.client().await;
    let mut log = plane.audit();
    let managers = managers(&plane, 1, &["--leader-elect=false"]).await;
    wait_counting(&client, SOON, PROBED).await;
    managers[0].wait_for_line(SOON, "replica").await;
    let said = managers[0].log();
    assert!(
        said.lines().any(|line| line.starts_with('W') && line.contains("--leader-elect=false")),
        "{said}"
    );
    let account = "system:serviceaccount:aibrix-system:aibrix-controller-manager";
    let leases = log.entries().iter().filter(|it| it.user == account && it.is_lease()).count();
    assert_eq!(leases, 0, "requests for Leases");
}

// scenario: leader-election 15
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seven_controllers_on_three_replicas_at_rest_make_few_lease_requests() {
    let plane = plane().await;
    let client = plane.client().await;
    let mut log = plane.audit();
    let managers = managers(&plane, 3, &[]).await;
    let all: Vec<_> = managers.iter().collect();
    wait_held(&client, SOON, &default_leases(), &all).await;
    // Rebalancing moves one Lease per 30 s; it is over when nothing moved for a while.
    let mut before = holders(&client).await.expect("read Leases");
    let mut calm = Duration::ZERO;
    while calm < Duration::from_secs(40) {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let now = holders(&client).await.expect("read Leases");
        calm = if now == before { calm + Duration::from_secs(5) } else { Duration::ZERO };
        before = now;
    }
    let mark = log.mark();
    let minute = crate::support::wait::now() + Duration::from_mins(1);
    throughout(Duration::from_secs(60), "nothing moves", async || {
        let now = holders(&client).await?;
        if now == before { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
    let account = "system:serviceaccount:aibrix-system:aibrix-controller-manager";
    let requests: Vec<_> = log
        .since(mark)
        .iter()
        .filter(|it| it.user == account && it.is_lease() && it.verb != "watch" && it.received < minute)
        .collect();
    let summary = crate::support::audit::summary(requests.iter().copied());
    assert!(requests.len() <= 150, "{} requests in a minute:\n{summary}", requests.len());
}

// SPDX-License-Identifier: Apache-2.0
//! Trouble with Lease requests, blocked passes and signals.

use std::time::Duration;

use kube::{Api, Client};
use serde_json::json;

use crate::{
    election::{
        EXPIRY, PROBED, SOON, assert_nothing_without_lease, default_lease, default_leases, holders,
        leases_of, plane, wait_counting, wait_held,
    },
    support::{
        audit::{Entry, count_by},
        eventually,
        install::NAMESPACE,
        manager::{Launch, Manager, value_of},
        objects,
        proxy::{Proxy, Rule, Treatment},
        wait::{instant, now, throughout},
    },
};

const ARGS: [&str; 3] = ["--probe-loops", "--disable-webhook", "--leader-election-spread=false"];

async fn wait_leading(manager: &Manager, leads: bool, within: Duration) {
    eventually(within, &format!("leading is {leads}"), async || {
        let page = manager.metrics().await.map_err(|error| format!("{error:#}"))?;
        let series = |lease: &String| format!("leader_election_master_status{{name=\"{lease}\"}}");
        let values: Vec<_> = default_leases().iter().map(|it| value_of(&page, &series(it))).collect();
        let want = Some(f64::from(u8::from(leads)));
        if values.iter().all(|it| *it == want) { Ok(()) } else { Err(format!("{values:?}")) }
    })
    .await;
}

/// Makes a pass of the probe loop that never ends.
pub(super) async fn block_a_pass(client: &Client, manager: &Manager) {
    let blocked = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "blocking", "namespace": NAMESPACE, "labels": {"probe/parent": PROBED}},
        "data": {"children": "0", "block": "true"},
    });
    objects::create(client, &blocked).await;
    manager.wait_for_line(SOON, "probe pass blocks").await;
}

// scenario: manager-and-deployment 16
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn controllers_stop_when_lease_requests_fail_and_go_on_afterwards() {
    let plane = plane().await;
    let client = plane.client().await;
    let mut log = plane.audit();
    let proxy = Proxy::start(&plane).await;
    let mut launch = Launch::new(&plane, &ARGS).await;
    launch.kubeconfig = proxy.manager_kubeconfig(&plane).await;
    let manager = launch.start();
    wait_held(&client, SOON, &default_leases(), &[&manager]).await;
    wait_counting(&client, SOON, PROBED).await;

    let failing = instant();
    proxy.rule(vec![Rule::new(&["/leases"], Treatment::Refuse(500))]);
    // Twelve seconds after the last renewal, which was up to 5 s ago; and a moment to ask for seven figures.
    wait_leading(&manager, false, Duration::from_secs(15)).await;
    let stopped = now();
    tokio::time::sleep(Duration::from_secs(30).saturating_sub(failing.elapsed())).await;
    let late = log.entries().iter().filter(|it| it.received > stopped);
    let wrote = late.filter(|it| it.is_by(PROBED) && it.is_write() && !it.is_lease()).count();
    assert_eq!(wrote, 0, "writes after the controllers had stopped");
    proxy.rule(Vec::new());
    wait_leading(&manager, true, EXPIRY).await;
    wait_counting(&client, SOON, PROBED).await;
    assert!(manager.exit_status().is_none());
    assert_nothing_without_lease(&mut log);
}

// scenario: manager-and-deployment 17
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_that_hang_for_less_than_five_seconds_cost_no_lease() {
    const HANG: Duration = Duration::from_millis(4500);
    let plane = plane().await;
    let client = plane.client().await;
    let proxy = Proxy::start(&plane).await;
    let mut launch = Launch::new(&plane, &ARGS).await;
    launch.kubeconfig = proxy.manager_kubeconfig(&plane).await;
    let manager = launch.start();
    wait_held(&client, SOON, &default_leases(), &[&manager]).await;
    for _ in 0..3 {
        // The next renewal of each Lease hangs; all other requests pass, a second try among them.
        let hang = |lease: &String| {
            Rule::new(&["PATCH", &format!("/leases/{lease}?")], Treatment::Delay(HANG)).times(1)
        };
        let rules: Vec<_> = default_leases().iter().map(hang).collect();
        proxy.rule(rules.clone());
        eventually(SOON, "a renewal of each Lease hangs", async || {
            let left: Vec<_> = rules.iter().map(Rule::left).collect();
            if left.iter().all(|it| *it == Some(0)) { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
        throughout(HANG + Duration::from_secs(2), "all Leases are kept", async || {
            let page = manager.metrics().await.map_err(|it| it.to_string())?;
            for lease in default_leases() {
                let series = format!("leader_election_master_status{{name=\"{lease}\"}}");
                if value_of(&page, &series) != Some(1.0) {
                    return Err(lease);
                }
            }
            Ok(())
        })
        .await;
    }
    for lease in default_leases() {
        let stored = leases_of(&client).get(&lease).await.expect("the Lease");
        let transitions = stored.spec.and_then(|it| it.lease_transitions);
        assert_eq!(transitions, Some(0), "{lease} was never lost");
    }
}

// scenario: manager-and-deployment 19
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocked_pass_keeps_its_lease_at_shutdown_and_the_others_are_released() {
    let plane = plane().await;
    let client = plane.client().await;
    let manager = Manager::start(&plane, &ARGS).await;
    wait_held(&client, SOON, &default_leases(), &[&manager]).await;
    wait_counting(&client, SOON, PROBED).await;
    block_a_pass(&client, &manager).await;
    let from = instant();
    manager.sigterm();
    let code = manager.wait_exit(Duration::from_secs(9)).await;
    assert_eq!(code, Some(1), "{:?}: {}", from.elapsed(), manager.log());
    let held = holders(&client).await.expect("read Leases");
    let ours: Vec<_> = default_leases().into_iter().filter(|it| held.contains_key(it)).collect();
    assert_eq!(ours, [default_lease(PROBED)], "what stays held");
}

/// The second signal does not wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_signal_ends_the_process_at_once_with_1() {
    let plane = plane().await;
    let client = plane.client().await;
    let manager = Manager::start(&plane, &ARGS).await;
    wait_held(&client, SOON, &default_leases(), &[&manager]).await;
    block_a_pass(&client, &manager).await;
    manager.sigterm();
    manager.wait_for_line(SOON, "waiting for all workers to finish").await;
    let from = instant();
    manager.sigterm();
    assert_eq!(manager.wait_exit(SOON).await, Some(1));
    // The first signal alone would have waited for the pass for longer.
    assert!(from.elapsed() < Duration::from_secs(4), "it took {:?}", from.elapsed());
}

// scenario: manager-and-deployment 26
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_election_namespace_is_waited_for() {
    let plane = plane().await;
    let client = plane.client().await;
    let args: Vec<&str> = ARGS.into_iter().chain(["--leader-election-namespace=late"]).collect();
    let manager = Manager::start(&plane, &args).await;
    manager.wait_ready().await;
    manager.wait_for_line(SOON, "late").await;
    // It tries again and again, lives and is ready.
    let mut log = plane.audit();
    eventually(SOON, "it has asked for the same three times", async || {
        let refused = |it: &&Entry| it.uri.contains("/namespaces/late/leases") && !it.is_ok();
        let asked = count_by(log.entries().iter().filter(refused), |it| (it.verb.clone(), it.uri.clone()));
        let most = asked.values().max().copied().unwrap_or_default();
        if most >= 3 { Ok(()) } else { Err(format!("{asked:?}")) }
    })
    .await;
    let ready = manager.get("/readyz").await.expect("an answer");
    assert_eq!((ready.code, manager.exit_status()), (200, None), "{}", ready.body);
    objects::create(&client, &objects::namespace("late")).await;
    plane.allow_elections_in("late").await;
    let leases: Api<k8s_openapi::api::coordination::v1::Lease> = Api::namespaced(client.clone(), "late");
    eventually(SOON, "Leases are held in the new namespace", async || {
        let list = leases.list(&kube::api::ListParams::default()).await.map_err(|it| it.to_string())?;
        let held = list.iter().filter(|it| {
            it.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).is_some_and(|it| manager.is(it))
        });
        let held = held.count();
        if held >= 7 { Ok(()) } else { Err(format!("{held} held")) }
    })
    .await;
}

/// Forbidden Leases: told with verb, resource and namespace, ready stays, and cured without a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forbidden_leases_are_told_and_cured_without_a_restart() {
    let plane = plane().await;
    let client = plane.client().await;
    let name = "aibrix-controller-manager-leader-election-role";
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": name, "namespace": NAMESPACE},
    });
    let shipped = objects::get(&client, &role).await.expect("the shipped Role");
    objects::patch(&client, &role, &json!({"rules": []})).await;
    let manager = Manager::start(&plane, &ARGS).await;
    manager.wait_ready().await;
    let line = eventually(SOON, "an error names what is missing", async || {
        let log = manager.log();
        let line = log.lines().find(|it| {
            it.starts_with('E') && it.contains("leases") && it.contains(NAMESPACE) && it.contains("forbidden")
        });
        line.map(str::to_owned).ok_or_else(|| log.lines().last().unwrap_or_default().to_owned())
    })
    .await;
    assert!(["get", "create", "watch", "list"].iter().any(|verb| line.contains(verb)), "{line}");
    let verbose = manager.get("/readyz?verbose").await.expect("an answer");
    assert_eq!(verbose.code, 200);
    assert!(verbose.body.to_lowercase().contains("lease"), "{}", verbose.body);
    objects::patch(&client, &role, &json!({"rules": shipped["rules"]})).await;
    wait_held(&client, SOON, &default_leases(), &[&manager]).await;
}

/// The probes answer, nothing ends, and work begins when the API server comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreachable_api_server_at_start_is_waited_for() {
    let plane = plane().await;
    let launch = Launch::new(&plane, &ARGS).await;
    plane.stop_apiserver();
    let manager = launch.start();
    eventually(SOON, "the probes answer without an API server", async || {
        let answer = manager.get("/healthz").await.map_err(|error| format!("{error:#}"))?;
        if answer.code == 200 { Ok(()) } else { Err(answer.body) }
    })
    .await;
    // A request for each of them has failed, and more.
    eventually(SOON, "requests fail", async || {
        let metrics = manager.metrics().await.map_err(|error| format!("{error:#}"))?;
        let failed =
            metrics.lines().filter(|it| it.starts_with("rest_client_requests_total{code=\"<error>\""));
        let failed: f64 = failed.filter_map(|it| it.rsplit(' ').next()?.parse::<f64>().ok()).sum();
        let want = f64::from(3 * u32::try_from(default_leases().len()).unwrap_or(u32::MAX));
        if failed >= want { Ok(()) } else { Err(format!("{failed}")) }
    })
    .await;
    assert_eq!(manager.exit_status(), None, "it does not end: {}", manager.log());
    plane.restart_apiserver().await;
    let client = plane.client().await;
    wait_held(&client, SOON, &default_leases(), &[&manager]).await;
    wait_counting(&client, SOON, PROBED).await;
}

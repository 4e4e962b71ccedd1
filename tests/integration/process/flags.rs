// SPDX-License-Identifier: Apache-2.0
//! Flags, as they decide which Leases are held.

use std::{path::PathBuf, time::Duration};

use crate::{
    election::{CONTROLLERS, SOON, default_lease, default_leases, holders, plane, wait_held, wait_renewed},
    support::{
        ControlPlane, eventually,
        install::NAMESPACE,
        leases::history_of,
        manager::{Launch, Manager, binary},
        ports::free_port,
        process::Process,
        shared,
    },
};

/// Runs the binary with these arguments until it ends; answers its exit code and all it printed. Its
/// listeners have places of their own: the usual ones are those of pods in other tests.
async fn run_to_end(dir: &ControlPlane, args: &[&str]) -> (Option<i32>, String) {
    let log = dir.new_path("run.log");
    let listeners =
        ["metrics", "health-probe"].map(|it| format!("--{it}-bind-address=127.0.0.1:{}", free_port()));
    let args: Vec<String> = args.iter().map(|&it| it.to_owned()).chain(listeners).collect();
    let process = Process::spawn(&binary(), args, &[], &log).expect("start the binary");
    let status = process.wait_exit(SOON).await.expect("it ends by itself");
    (status.code(), process.output())
}

// scenario: manager-and-deployment 1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_flags_seven_default_leases_are_held_within_ten_seconds() {
    let plane = plane().await;
    let client = plane.client().await;
    let manager = Manager::start(&plane, &["--probe-loops"]).await;
    wait_held(&client, Duration::from_secs(10), &default_leases(), &[&manager]).await;
    for lease in default_leases() {
        let lease = crate::election::leases_of(&client).get(&lease).await.expect("the Lease");
        let spec = lease.spec.expect("a spec");
        assert_eq!((spec.lease_transitions, spec.lease_duration_seconds), (Some(0), Some(15)));
    }
}

// scenario: manager-and-deployment 2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn last_item_about_a_controller_decides_whether_its_lease_is_taken() {
    let plane = plane().await;
    let client = plane.client().await;
    let route = default_lease("model-route-controller");
    let others: Vec<_> = default_leases().into_iter().filter(|it| *it != route).collect();
    {
        let args = ["--probe-loops", "--controllers=*,-model-route-controller"];
        let manager = Manager::start(&plane, &args).await;
        wait_held(&client, SOON, &others, &[&manager]).await;
        wait_renewed(&client, &others).await;
        manager.sigterm();
        assert_eq!(manager.wait_exit(SOON).await, Some(0));
        let taken = history_of(plane.audit().entries(), NAMESPACE, &route);
        assert!(taken.is_empty(), "the seventh is not taken: {taken:?}");
    }
    let args = ["--probe-loops", "--controllers=-model-route-controller,*"];
    let manager = Manager::start(&plane, &args).await;
    wait_held(&client, SOON, &default_leases(), &[&manager]).await;
}

// scenario: manager-and-deployment 3
// scenario: manager-and-deployment 9-11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_flags_end_the_process_with_the_code_and_the_words_of_the_table() {
    let plane = shared().await;
    for value in ["--controllers=foo", "--controllers=", "--controllers=-*", "--controllers=a,,b"] {
        let (code, said) = run_to_end(plane, &[value]).await;
        assert_eq!(code, Some(1), "{value}: {said}");
        assert!(said.contains("invalid controller specified: "), "{value}: {said}");
    }
    let (code, said) = run_to_end(plane, &["--no-such-flag"]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("no-such-flag"), "{said}");
    let (code, said) = run_to_end(plane, &["-help"]).await;
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run_to_end(plane, &["--leader-election-lease-duration=15"]).await;
    assert_eq!(code, Some(2), "a duration needs a unit: {said}");
    let durations = ["--leader-election-lease-duration=5s", "--leader-election-renew-deadline=10s"];
    let (code, said) = run_to_end(plane, &durations).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("leaseDuration must be greater than renewDeadline"), "{said}");
    let (code, said) = run_to_end(plane, &["--leader-election-resource-lock=configmaps"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("configmaps lock is removed, migrate to leases"), "{said}");
}

// scenario: manager-and-deployment 6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn map_form_names_the_lease_of_each_controller() {
    let plane = plane().await;
    let client = plane.client().await;
    let args = [
        "--probe-loops",
        "--controllers=kv-cache-controller,stormservice-controller",
        "--leader-election-id=kv-cache-controller=kv,stormservice-controller=storm",
    ];
    let manager = Manager::start(&plane, &args).await;
    wait_held(&client, SOON, &["kv".to_owned(), "storm".to_owned()], &[&manager]).await;
    let held = holders(&client).await.expect("read Leases");
    assert!(CONTROLLERS.iter().all(|it| !held.contains_key(&default_lease(it))), "{held:?}");
}

// scenario: manager-and-deployment 8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_dashes_and_separate_values_are_understood() {
    let plane = plane().await;
    let client = plane.client().await;
    let kubeconfig = plane.manager_kubeconfig().await;
    let probes = free_port();
    let log = plane.new_path("dashes.log");
    let args: Vec<String> = [
        "-v=4",
        "-metrics-bind-address",
        "0",
        "-disable-webhook",
        "--leader-elect",
        "--probe-loops",
        "-kubeconfig",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([kubeconfig.display().to_string(), format!("-health-probe-bind-address=127.0.0.1:{probes}")])
    .collect();
    let env = [("POD_NAME", "dashes".to_owned())];
    let process = Process::spawn(&binary(), args, &env, &log).expect("start the binary");
    eventually(SOON, "its Leases are held", async || {
        let held = holders(&client).await?;
        let ours = held.values().filter(|it| it.starts_with("dashes_")).count();
        if ours >= 7 { Ok(()) } else { Err(format!("{held:?}\n{}", process.last_lines(5))) }
    })
    .await;
    let default_metrics = tokio::net::TcpStream::connect("127.0.0.1:8080").await;
    assert!(default_metrics.is_err(), "metrics are off");
    eventually(SOON, "it prints a line of verbosity 4", async || {
        let printed = process.output().contains("controller state changed");
        if printed { Ok(()) } else { Err(process.last_lines(5)) }
    })
    .await;
}

/// Arguments of AIBrix's manifests and the Leases that the process must come to hold with them.
fn aibrix_manifests() -> Vec<(&'static str, Vec<&'static str>, Vec<String>)> {
    let standalone = |controller: &'static str| vec![default_lease(controller)];
    vec![
        (
            "default",
            vec![
                "--leader-elect",
                "--health-probe-bind-address=:8081",
                "--metrics-bind-address=:8080",
                "--enable-runtime-sidecar",
            ],
            default_leases(),
        ),
        (
            "helm",
            vec![
                "--leader-elect",
                "--leader-election-namespace=aibrix-system",
                "--health-probe-bind-address=:8081",
                "--metrics-bind-address=:8080",
                "--enable-runtime-sidecar",
            ],
            default_leases(),
        ),
        ("dev", vec!["--leader-elect", "--health-probe-bind-address=:8081", "-v=4"], default_leases()),
        (
            "autoscaler",
            vec![
                "--leader-elect",
                "--leader-election-id=aibrix-pod-autoscaler-controller",
                "--health-probe-bind-address=:8081",
                "--metrics-bind-address=0",
                "--controllers=pod-autoscaler-controller",
                "--disable-webhook",
            ],
            standalone("pod-autoscaler-controller"),
        ),
        (
            "distributed-inference",
            vec![
                "--leader-elect",
                "--leader-election-id=aibrix-distributed-inference-controller",
                "--health-probe-bind-address=:8081",
                "--metrics-bind-address=0",
                "--controllers=distributed-inference-controller",
                "--disable-webhook",
            ],
            standalone("distributed-inference-controller"),
        ),
        (
            "kv-cache",
            vec![
                "--leader-elect",
                "--leader-election-id=aibrix-kv-cache-controller",
                "--health-probe-bind-address=:8081",
                "--metrics-bind-address=:8080",
                "--controllers=kv-cache-controller",
                "--disable-webhook",
            ],
            standalone("kv-cache-controller"),
        ),
        (
            "model-adapter",
            vec![
                "--leader-elect",
                "--leader-election-id=aibrix-model-adapter-controller",
                "--health-probe-bind-address=:8081",
                "--metrics-bind-address=0",
                "--controllers=model-adapter-controller",
            ],
            standalone("model-adapter-controller"),
        ),
        (
            "stormservice",
            vec![
                "--leader-elect",
                "--leader-election-id=aibrix-controller-manager",
                "--health-probe-bind-address=:8081",
                "--metrics-bind-address=0",
                "--controllers=stormservice-controller",
                "--disable-webhook",
            ],
            vec!["aibrix-controller-manager".to_owned()],
        ),
    ]
}

// scenario: manager-and-deployment 12
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_of_every_aibrix_manifest_start_and_hold_their_leases() {
    let plane = plane().await;
    let client = plane.client().await;
    for (manifest, args, leases) in aibrix_manifests() {
        let args: Vec<&str> = args.into_iter().chain(["--probe-loops"]).collect();
        let manager = Launch::new(&plane, &args).await.start();
        wait_held(&client, SOON, &leases, &[&manager]).await;
        manager.sigterm();
        assert_eq!(manager.wait_exit(SOON).await, Some(0), "{manifest}");
    }
}

// scenario: manager-and-deployment 25
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn managers_with_disjoint_or_overlapping_controllers_share_the_seven_leases() {
    let plane = plane().await;
    let client = plane.client().await;
    let of = |names: &[&str]| format!("--controllers={}", names.join(","));
    let (left, right) = (of(&CONTROLLERS[..4]), of(&CONTROLLERS[3..]));
    let first = Manager::start(&plane, &["--probe-loops", &left]).await;
    let second = Manager::start(&plane, &["--probe-loops", &right]).await;
    let held = wait_held(&client, SOON, &default_leases(), &[&first, &second]).await;
    let by = |controller: &str| held.get(&default_lease(controller)).expect("held");
    assert!(CONTROLLERS[..3].iter().all(|it| first.is(by(it))), "{held:?}");
    assert!(CONTROLLERS[4..].iter().all(|it| second.is(by(it))), "{held:?}");
}

/// What decision 15 of the specifications asks of a controller that this build lacks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn controller_that_is_not_built_takes_no_lease_and_says_so() {
    let plane = plane().await;
    let client = plane.client().await;
    let manager = Manager::start(&plane, &[]).await;
    wait_held(&client, SOON, &[default_lease("pod-autoscaler-controller")], &[&manager]).await;
    let entry = crate::election::debug_entry(&manager, "kv-cache-controller").await.expect("an entry");
    assert_eq!(entry["state"], "notBuilt", "{entry}");
    let log = manager.log();
    let warnings = log.lines().filter(|it| it.starts_with('W') && it.contains("kv-cache-controller")).count();
    assert_eq!(warnings, 1, "{log}");
    let held = holders(&client).await.expect("read Leases");
    assert!(!held.contains_key(&default_lease("kv-cache-controller")), "{held:?}");
}

/// A kubeconfig that is missing, and one that is garbage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unusable_kubeconfig_is_told_by_name_and_ends_with_1() {
    let plane = shared().await;
    let (code, said) = run_to_end(plane, &["--kubeconfig=/nowhere/kubeconfig", "--disable-webhook"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("/nowhere/kubeconfig"), "{said}");
    let garbage: PathBuf = plane.new_path("garbage.kubeconfig");
    std::fs::write(&garbage, "{ not yaml: [").expect("write");
    let garbage = format!("--kubeconfig={}", garbage.display());
    let (code, said) = run_to_end(plane, &[&garbage, "--disable-webhook"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("garbage.kubeconfig"), "{said}");
}

// SPDX-License-Identifier: Apache-2.0
//! Tests of the harness itself: other tests believe what it says.

use std::{
    collections::BTreeSet, fs::Permissions, net::Ipv4Addr, os::unix::fs::PermissionsExt, time::Duration,
};

use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::support::{
    ControlPlane, Options, audit, eventually,
    history::History,
    install,
    kubelet::Kubelet,
    leases,
    manager::Launch,
    objects,
    ports::free_port,
    proxy, shared,
    stalling_proxy::{StallingProxy, Withheld},
    toxiproxy::Toxiproxy,
    usage,
    wait::{instant, now, throughout},
};

const SOON: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engine_answers_at_the_address_of_a_pod_that_a_deployment_made() {
    let plane = shared().await;
    let client = plane.client().await;
    let ns = plane.namespace("engines").await;
    objects::create(&client, &objects::deployment(&ns, "web", 2)).await;

    let pods: Api<Pod> = Api::namespaced(client.clone(), &ns);
    let addresses = eventually(SOON, "two pods are ready", async || {
        let list = pods.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let ready: Vec<_> = list.iter().filter(|pod| is_ready(pod)).collect();
        let addresses: Vec<_> = ready.iter().filter_map(|pod| pod.status.as_ref()?.pod_ip.clone()).collect();
        if addresses.len() == 2 { Ok(addresses) } else { Err(format!("ready at {addresses:?}")) }
    })
    .await;
    assert!(addresses.iter().all(|it| it.starts_with("10.244.")), "{addresses:?}");

    let server = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.expect("listen");
    let port = server.local_addr().expect("an address").port();
    let serve = async {
        for _ in 0..2 {
            let (mut stream, _) = server.accept().await.expect("accept");
            let meant = stream.local_addr().expect("an address").ip().to_string();
            stream.write_all(meant.as_bytes()).await.expect("answer");
        }
    };
    let ask = async {
        for address in &addresses {
            let mut answer = String::new();
            let mut stream = TcpStream::connect((address.as_str(), port)).await.expect("connect");
            stream.read_to_string(&mut answer).await.expect("read");
            assert_eq!(&answer, address, "the server sees which pod was meant");
        }
    };
    tokio::join!(serve, ask);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audit_log_tells_who_held_a_lease_and_who_wrote_without_it() {
    let plane = shared().await;
    let client = plane.client().await;
    let ns = plane.namespace("audit").await;
    let mut log = plane.audit();
    let mark = log.mark();

    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"namespace": ns, "name": "some-lease",
                     "labels": {"leaders.aibrix.ai/controller": "some-controller"}},
        "spec": {"holderIdentity": "web-0_a", "leaseDurationSeconds": 15, "leaseTransitions": 3},
    });
    objects::create(&client, &lease).await;
    let leases_api: Api<Lease> = Api::namespaced(client.clone(), &ns);
    let release = json!({"spec": {"holderIdentity": "", "leaseDurationSeconds": 1}});
    let release = Patch::Merge(&release);
    leases_api.patch("some-lease", &PatchParams::default(), &release).await.expect("release");

    let entries: Vec<_> = log.since(mark).iter().filter(|it| it.is_in(&ns)).cloned().collect();
    let counts = audit::count_by(&entries, |it| (it.verb.clone(), it.resource(), it.user.clone()));
    assert_eq!(counts.get(&("create".into(), "leases".into(), "admin".into())), Some(&1), "{counts:?}");
    let changes = leases::history_of(&entries, &ns, "some-lease");
    let said: Vec<_> = changes.iter().map(|it| (it.holder.as_str(), it.duration.as_secs())).collect();
    assert_eq!(said, [("web-0_a", 15), ("", 1)]);
    assert_eq!((changes[0].component.as_str(), changes[0].transitions), ("some-controller", 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recordings_and_audit_log_hold_what_was_seen_before_they_are_read() {
    let plane = shared().await;
    let (client, other) = (plane.client().await, plane.client().await);
    let ns = plane.namespace("seen").await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": ns}});
    let history = History::of(objects::api_of(&client, &map).await, "a").await;
    assert!(history.all().await.is_empty(), "it does not exist yet");
    objects::create(&client, &map).await;
    assert_eq!(history.all().await.len(), 1);
    let mut log = plane.audit();
    for n in 0..50 {
        let mark = log.mark();
        let value = n.to_string();
        // Nobody waits for the answer of the one that writes.
        let (by, like, patch) = (client.clone(), map.clone(), json!({"data": {"n": value}}));
        let mut writer = JoinSet::new();
        writer.spawn(async move { objects::patch(&by, &like, &patch).await });
        while objects::get(&other, &map).await.expect("it is there")["data"]["n"] != value {}
        let is_ours = |it: &&audit::Entry| it.object.as_ref().is_some_and(|it| it.name == "a");
        let written = log.since(mark).iter().filter(|it| it.is_write() && it.is_in(&ns));
        let seen = written.filter(is_ours).count();
        assert_eq!(seen, 1, "write {n}");
        let last = history.all().await.pop().expect("a version");
        assert_eq!(last["data"]["n"], value);
        writer.join_next().await.expect("it was started").expect("the writer ends");
    }
    objects::delete(&client, &map).await;
    assert_eq!(history.mark().await, 51, "a deletion is no version");
    objects::create(&client, &map).await;
    let values =
        history.texts(51, |seen| seen["metadata"]["name"].as_str().unwrap_or_default().to_owned()).await;
    assert_eq!(values, ["a"], "the one that comes after it is recorded, too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_that_are_handed_out_are_given_to_nobody_by_chance() {
    let ours: BTreeSet<u16> = (0..200).map(|_| free_port()).collect();
    assert_eq!(ours.len(), 200, "each once");
    // Those of engines, probes, webhooks and the debug mode.
    assert!([8000, 8080, 8081, 9443, 30081].iter().all(|port| !ours.contains(port)), "{ours:?}");
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("listen");
    let place = server.local_addr().expect("an address");
    for _ in 0..2000 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("listen");
        let port = listener.local_addr().expect("an address").port();
        assert!(!ours.contains(&port), "a listener on port 0 was given {port}");
        let (client, accepted) = tokio::join!(TcpStream::connect(place), server.accept());
        let port = client.expect("connect").local_addr().expect("an address").port();
        assert!(!ours.contains(&port), "a connection was given {port}");
        drop(accepted.expect("accept"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarted_api_server_keeps_its_address_and_its_objects() {
    let plane = ControlPlane::start(Options::bare()).await;
    let client = plane.client().await;
    let ns = plane.namespace("kept").await;
    plane.stop_apiserver();
    client.apiserver_version().await.expect_err("nobody answers");
    plane.restart_apiserver().await;
    let kept = objects::get(&plane.client().await, &objects::namespace(&ns)).await;
    assert!(kept.is_some(), "the namespace is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn test_plays_kubelet_where_nothing_else_does() {
    let plane = ControlPlane::start(Options::bare()).await;
    let client = plane.client().await;
    let ns = plane.namespace("kubelet").await;
    objects::create(&client, &objects::pod(&ns, "web")).await;
    let kubelet = Kubelet::new(client.clone(), &ns);
    let address = kubelet.ready("web").await;
    let pods: Api<Pod> = Api::namespaced(client, &ns);
    let pod = pods.get("web").await.expect("the pod");
    assert!(is_ready(&pod));
    assert_eq!(pod.status.and_then(|status| status.pod_ip), Some(address.clone()));
    assert_eq!(kubelet.not_ready("web").await, address, "a pod keeps its address");
    assert!(!is_ready(&pods.get("web").await.expect("the pod")));
    kubelet.gone("web").await;
    assert!(pods.get_opt("web").await.expect("ask").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxy_slows_and_cuts_the_way_to_the_api_server() {
    let plane = shared().await;
    let proxies = Toxiproxy::start(plane).await;
    let proxy = proxies.proxy(plane.port()).await;
    let ns = plane.namespace("proxied").await;
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot", "namespace": ns}});
    objects::create(&plane.client().await, &account).await;
    let path = plane.kubeconfig_through(proxy.port(), &ns, "robot").await;
    let client = crate::support::kubeconfig::client(&path).await.expect("a client");

    client.apiserver_version().await.expect("the API server answers through the proxy");
    proxy.slow(Duration::from_millis(700)).await;
    let start = instant();
    client.apiserver_version().await.expect("it answers slowly");
    assert!(start.elapsed() >= Duration::from_millis(700), "took {:?}", start.elapsed());
    proxy.cut().await;
    client.apiserver_version().await.expect_err("it is cut off");
    proxy.heal().await;
    client.apiserver_version().await.expect("it answers again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxy_of_bytes_holds_up_one_connection_and_no_other() {
    const HANG: Duration = Duration::from_secs(2);
    let plane = shared().await;
    let proxy = StallingProxy::start(plane.port()).await;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let path = plane.kubeconfig_through(proxy.port(), install::NAMESPACE, install::NAME).await;
        clients.push(crate::support::kubeconfig::client(&path).await.expect("a client"));
    }
    for what in [Withheld::Both, Withheld::Answers] {
        clients[1].apiserver_version().await.expect("an answer");
        clients[0].apiserver_version().await.expect("an answer");
        let connection = proxy.that_carried(now()).expect("the first client's was used last");
        let stall = connection.stall(what, HANG);
        assert_eq!(stall.began(), None, "it begins with the next request");
        let start = instant();
        clients[1].apiserver_version().await.expect("the other connection passes");
        assert!(start.elapsed() < HANG, "took {:?}", start.elapsed());
        let start = instant();
        clients[0].apiserver_version().await.expect("an answer after the hang");
        assert!(start.elapsed() >= HANG, "took {:?}", start.elapsed());
        assert!(stall.began().is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_of_a_proxy_applies_to_as_many_requests_as_it_says() {
    let plane = shared().await;
    let proxy = proxy::Proxy::start(plane).await;
    let client = crate::support::kubeconfig::client(&proxy.manager_kubeconfig(plane).await).await;
    let client = client.expect("a client");
    let twice = proxy::Rule::new(&["GET", "/version"], proxy::Treatment::Refuse(418)).times(2);
    proxy.rule(vec![twice.clone()]);
    for left in [1, 0] {
        client.apiserver_version().await.expect_err("it is refused");
        assert_eq!(twice.left(), Some(left));
    }
    client.apiserver_version().await.expect("the third passes");
    assert_eq!(twice.left(), Some(0));
    for lost in [proxy::Treatment::Swallow, proxy::Treatment::SwallowAnswer] {
        proxy.rule(vec![proxy::Rule::new(&["GET", "/version"], lost).times(1)]);
        let answer = tokio::time::timeout(Duration::from_secs(1), client.apiserver_version()).await;
        assert!(answer.is_err(), "it was answered: {answer:?}");
        client.apiserver_version().await.expect("the next passes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_control_plane_has_the_manager_installed() {
    let plane = shared().await;
    assert!(!plane.shipped_arguments().await.is_empty());
    let path = plane.manager_kubeconfig().await;
    let client = crate::support::kubeconfig::client(&path).await.expect("a client");
    let mine: Api<Lease> = Api::namespaced(client.clone(), install::NAMESPACE);
    mine.list(&ListParams::default()).await.map(drop).expect("the manager may list its Leases");
    let pods: Api<Pod> = Api::namespaced(plane.client().await, install::NAMESPACE);
    let pods = pods.list(&ListParams::default()).await.expect("list pods");
    assert!(pods.iter().all(|pod| pod.name_any().starts_with(install::NAME)), "only the manager's pods");
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|it| it.type_ == "Ready" && it.status == "True"))
}

#[test]
fn usage_of_a_process_is_read_until_it_is_gone() {
    let own = usage::of(std::process::id()).expect("this process runs");
    assert!(own.resident_bytes > 1_000_000 && own.peak_bytes >= own.resident_bytes, "{own:?}");
    assert!(own.threads >= 1, "{own:?}");
    assert_eq!(usage::of(u32::MAX), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_that_plays_manager_is_watched_frozen_and_stopped() {
    let dir = tempfile::tempdir().expect("a folder");
    let binary = dir.path().join("manager");
    let script =
        "#!/bin/sh\ntrap 'echo stopping; exit 7' TERM\necho \"$POD_NAME $1\"\nwhile :; do sleep 0.02; done\n";
    std::fs::write(&binary, script).expect("write a script");
    std::fs::set_permissions(&binary, Permissions::from_mode(0o755)).expect("make it a program");
    let launch = Launch {
        kubeconfig: dir.path().join("kubeconfig"),
        pod_name: "web-0".to_owned(),
        args: vec!["--first".to_owned()],
        env: Vec::new(),
        binary: Some(binary),
        network: None,
        log: dir.path().join("log"),
        address: "127.0.0.1".to_owned(),
        ports: None,
    };
    let manager = launch.start();
    assert_eq!(manager.wait_for_line(SOON, "web-0").await, "web-0 --first");
    assert!(manager.is("web-0_some-uuid") && !manager.is("web-01_some-uuid"));
    manager.get("/readyz").await.expect_err("a script serves nothing");
    manager.sigstop();
    manager.sigterm();
    throughout(Duration::from_millis(200), "a frozen process does not end", async || {
        manager.exit_status().map_or(Ok(()), |status| Err(status.to_string()))
    })
    .await;
    manager.sigcont();
    assert_eq!(manager.wait_exit(SOON).await, Some(7));
    assert!(manager.log().ends_with("stopping\n"), "{}", manager.log());
    manager.sigterm(); // too late, and harmless
}

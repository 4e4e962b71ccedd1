// SPDX-License-Identifier: Apache-2.0
//! Two installations that work in some namespaces only, each with the permissions of the shipped component.

use std::time::Duration;

use kube::Client;
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::support::{
    ControlPlane, Options,
    audit::Entry,
    eventually,
    install::{NAME, NAMESPACE},
    manager::{Launch, Manager},
    objects,
    tools::repository,
};

use super::SOON;

const PHRASE: &str = "another installation works on the same objects";
const GAUGE: &str = "leader_election_overlap";
const SECOND: &str = "second";
/// Controllers of this build.
const BUILT: [&str; 4] = [
    "pod-autoscaler-controller",
    "model-adapter-controller",
    "model-route-controller",
    "stormservice-controller",
];
/// From the first look for other installations to the second, and the time to start.
const SECOND_LOOK: Duration = Duration::from_secs(60 + 30);

fn overlay() -> std::path::PathBuf {
    repository().join("deploy/kustomize/overlays/namespaced")
}

/// A control plane with the overlay `namespaced`, which watches team-a and team-b, and the same permissions for an
/// installation with its Leases in another namespace, which watches team-c and team-d.
async fn plane() -> ControlPlane {
    let plane = ControlPlane::start(Options::bare()).await;
    plane.install_gateway_api().await;
    plane.apply_crds(&repository().join("deploy/crds")).await;
    let client = plane.client().await;
    for namespace in [SECOND, "team-a", "team-b", "team-c", "team-d", "nobody"] {
        objects::create(&client, &objects::namespace(namespace)).await;
    }
    plane.apply_kustomization(&overlay()).await;
    let rendered = plane.kubectl(&["kustomize", &overlay().display().to_string()]).await.expect("rendered");
    for document in serde_yaml_ng::Deserializer::from_str(&rendered) {
        let object = Value::deserialize(document).expect("YAML");
        let kind = object["kind"].as_str().unwrap_or_default();
        if !matches!(kind, "ServiceAccount" | "Role" | "RoleBinding" | "ClusterRoleBinding") {
            continue;
        }
        let text = object.to_string().replace(NAMESPACE, SECOND);
        let text = text.replace("\"team-a\"", "\"team-c\"").replace("\"team-b\"", "\"team-d\"");
        let mut copy: Value = serde_json::from_str(&text).expect("JSON");
        if kind == "ClusterRoleBinding" {
            copy["metadata"]["name"] = json!(format!("{SECOND}-{}", text_of(&copy, "name")));
        }
        objects::create(&client, &copy).await;
    }
    // Both use the gateway in the namespace of the first.
    let gateway = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": SECOND, "namespace": NAMESPACE},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": format!("{NAME}-home-role"),
        },
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": SECOND}],
    });
    objects::create(&client, &gateway).await;
    // For the first, when it works in a namespace of the second.
    let guest = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "guest", "namespace": "team-c"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": format!("{NAME}-role"),
        },
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
    });
    objects::create(&client, &guest).await;
    plane
}

fn text_of(object: &Value, field: &str) -> String {
    object["metadata"][field].as_str().unwrap_or_default().to_owned()
}

/// An installation with its Leases and its account in a namespace.
async fn installation(plane: &ControlPlane, home: &str, watched: &str) -> Manager {
    let args = [
        format!("--leader-election-namespace={home}"),
        format!("--watch-namespaces={watched}"),
        "--disable-webhook".to_owned(),
    ];
    let args = args.each_ref().map(String::as_str);
    let kubeconfig = plane.kubeconfig_for_service_account(home, NAME).await;
    Launch { kubeconfig, ..Launch::new(plane, &args).await }.start()
}

/// Waits until the manager holds the Leases of the built controllers, and tells where it works.
async fn until_held(client: &Client, home: &str, manager: &Manager, watched: &str) {
    for controller in BUILT {
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": format!("aibrix-{controller}"), "namespace": home},
        });
        eventually(SOON, &format!("{home} leads {controller}"), async || {
            let lease = objects::get(client, &lease).await.ok_or("no Lease")?;
            let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
            let told = &lease["metadata"]["annotations"]["leaders.aibrix.ai/watch-namespaces"];
            if manager.is(holder) && told == watched { Ok(()) } else { Err(lease.to_string()) }
        })
        .await;
    }
}

/// Objects of all built controllers in a namespace: one for each of them.
fn work_in(ns: &str) -> [Value; 4] {
    let mut served = objects::deployment(ns, "web", 0);
    served["metadata"]["labels"] = json!({"model.aibrix.ai/name": ns, "model.aibrix.ai/port": "8000"});
    let adapter = json!({
        "apiVersion": "model.aibrix.ai/v1alpha1", "kind": "ModelAdapter",
        "metadata": {"name": format!("{ns}-lora"), "namespace": ns},
        "spec": {
            "baseModel": "base", "podSelector": {"matchLabels": {"app": "none"}}, "artifactURL": "s3://bucket/lora",
        },
    });
    let pod_set = json!({
        "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "PodSet",
        "metadata": {"name": "pods", "namespace": ns},
        "spec": {"podGroupSize": 2, "template": {"spec": objects::pod(ns, "x")["spec"]}},
    });
    [served, objects::pod_autoscaler(ns, "web", "KPA"), adapter, pod_set]
}

/// Waits until each of the objects has been worked on.
async fn until_worked(client: &Client, ns: &str) {
    let [_, autoscaler, adapter, pod_set] = work_in(ns);
    for object in [&autoscaler, &adapter, &pod_set] {
        eventually(SOON, &format!("{} of {ns} has a status", object["kind"]), async || {
            let seen = objects::get(client, object).await.ok_or("it is not there")?;
            if seen["status"].is_object() { Ok(()) } else { Err(seen.to_string()) }
        })
        .await;
    }
    let in_gateway = |name: &str| {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": name, "namespace": NAMESPACE},
        })
    };
    let grant = json!({
        "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
        "metadata": {"name": format!("{NAMESPACE}-reserved-referencegrant-in-{ns}"), "namespace": ns},
    });
    for object in [in_gateway(&format!("{ns}-router")), grant] {
        eventually(SOON, &format!("{ns} is routed"), async || {
            objects::get(client, &object).await.map(|_| ()).ok_or_else(|| object.to_string())
        })
        .await;
    }
}

/// What the account of an installation asked for.
fn asked_by<'a>(entries: &'a [Entry], home: &str) -> Vec<&'a Entry> {
    let account = format!("system:serviceaccount:{home}:{NAME}");
    entries.iter().filter(|entry| entry.user == account).collect()
}

/// A list of the Leases of all namespaces: it looks for other installations.
fn looks(entry: &Entry) -> bool {
    let object = entry.object.as_ref();
    entry.verb == "list" && object.is_some_and(|it| it.resource == "leases" && it.namespace.is_empty())
}

/// Every request is one that the installation may make, and for an object that is its own.
fn assert_own_only(asked: &[&Entry], home: &str, teams: [&str; 2]) {
    for entry in asked {
        assert_ne!(entry.code, 403, "{home}: {entry:?}");
        let Some(object) = &entry.object else { continue };
        let namespace = object.namespace.as_str();
        let here = teams.contains(&namespace)
            || (namespace == home && matches!(object.resource.as_str(), "leases" | "events" | "deployments"))
            || (namespace == NAMESPACE && object.resource == "httproutes")
            || looks(entry);
        assert!(here, "{home}: {entry:?}");
        // Of the routes beside the gateway each writes its own.
        let of_a_team = teams.iter().any(|team| object.name == format!("{team}-router"));
        assert!(object.resource != "httproutes" || !entry.is_write() || of_a_team, "{home}: {entry:?}");
    }
}

// scenario: hardening 13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_installations_share_a_cluster_by_namespaces_and_say_so_when_they_overlap() {
    let plane = plane().await;
    let client = plane.client().await;
    let mut audit = plane.audit();
    let installations = [(NAMESPACE, ["team-a", "team-b"]), (SECOND, ["team-c", "team-d"])];
    let mut managers = Vec::new();
    for (home, teams) in installations {
        let manager = installation(&plane, home, &teams.join(",")).await;
        until_held(&client, home, &manager, &teams.join(",")).await;
        managers.push(manager);
    }
    for ns in ["nobody", "team-a", "team-b", "team-c", "team-d"] {
        for object in work_in(ns) {
            objects::create(&client, &object).await;
        }
    }
    for ns in ["team-a", "team-b", "team-c", "team-d"] {
        until_worked(&client, ns).await;
    }
    eventually(SECOND_LOOK, "each looks for the other while that one leads", async || {
        let entries = audit.entries();
        let looked =
            installations.map(|(home, _)| asked_by(entries, home).iter().filter(|it| looks(it)).count());
        if looked.iter().all(|count| *count >= 2) { Ok(()) } else { Err(format!("{looked:?}")) }
    })
    .await;
    for ((home, teams), manager) in installations.into_iter().zip(&managers) {
        let asked = asked_by(audit.entries(), home);
        assert_own_only(&asked, home, teams);
        // Pages of metrics are a second apart: by the second one the look has been judged.
        for _ in 0..2 {
            assert_eq!(manager.metric(GAUGE).await.expect("metrics"), Some(0.0), "{home}");
        }
        assert!(!manager.log().contains(PHRASE), "{home} says that it overlaps");
    }

    // One after the other comes again, with a namespace of the other.
    for ((home, _), n) in installations.into_iter().zip(0..) {
        let stopped = managers.remove(n);
        stopped.sigterm();
        stopped.wait_exit(SOON).await;
        let watched = if home == NAMESPACE { "team-a,team-c" } else { "team-c,team-d" };
        let manager = installation(&plane, home, watched).await;
        until_held(&client, home, &manager, watched).await;
        managers.insert(n, manager);
    }
    for (manager, other) in managers.iter().zip([SECOND, NAMESPACE]) {
        let line = manager.wait_for_line(SOON, PHRASE).await;
        assert!(line.starts_with('E') && line.contains(other), "{line}");
        assert_eq!(manager.metric(GAUGE).await.expect("metrics"), Some(1.0));
    }
}

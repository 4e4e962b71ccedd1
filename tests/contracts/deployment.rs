// SPDX-License-Identifier: Apache-2.0
//! The shipped Deployments: selectors, arguments, security, disruption.

use serde_json::{Value, json};

use crate::manifests::{
    KUSTOMIZATIONS, STANDALONE, args, deployment, object, prefixes, read, render, standalone,
};

const CONTROLLERS: &[&str] = &aibrix_controller_manager::internals::NAMES;

fn pod(kustomization: &str) -> Value {
    deployment(&render(kustomization))["spec"]["template"].clone()
}

#[test]
fn the_selector_is_exactly_that_of_an_aibrix_install() {
    for kustomization in KUSTOMIZATIONS {
        let deployment = deployment(&render(kustomization));
        // Immutable: one more label, and an update in place would be refused.
        assert_eq!(
            deployment["spec"]["selector"],
            json!({"matchLabels": {"control-plane": "controller-manager"}})
        );
    }
}

// scenario: hardening 62
#[test]
fn services_and_budgets_tell_the_pods_of_different_deployments_apart() {
    // The first of each pair and the second are not for the same cluster.
    const EXCLUSIVE: [(&str, &str); 2] = [
        ("overlays/release", "overlays/webhook-only"),
        ("overlays/release", "overlays/standalone/stormservice-controller"),
    ];
    let alone = STANDALONE.iter().map(|(controller, _)| standalone(controller));
    let all: Vec<String> = ["overlays/release".to_owned(), "overlays/webhook-only".to_owned()]
        .into_iter()
        .chain(alone)
        .collect();
    let pairs =
        all.iter().enumerate().flat_map(|(n, one)| all[n + 1..].iter().map(move |other| (&**one, &**other)));
    let pairs = pairs.filter(|pair| !EXCLUSIVE.contains(pair));
    for (one, other) in pairs.flat_map(|(one, other)| [(one, other), (other, one)]) {
        let labels = |kustomization| pod(kustomization)["metadata"]["labels"].clone();
        assert_eq!(labels(one)["control-plane"], "controller-manager");
        let objects = render(one);
        let selectors: Vec<_> = objects
            .iter()
            .filter_map(|object| match object["kind"].as_str() {
                Some("Service") => Some(&object["spec"]["selector"]),
                Some("PodDisruptionBudget") => Some(&object["spec"]["selector"]["matchLabels"]),
                _ => None,
            })
            .collect();
        assert!(!selectors.is_empty(), "{one} has Services");
        for selector in selectors {
            assert!(selects(selector, &labels(one)), "{one}: {selector} selects its own pods");
            assert!(!selects(selector, &labels(other)), "{one}: {selector} selects no pods of {other}");
        }
    }
}

/// Whether a map of labels selects pods with these labels.
fn selects(selector: &Value, labels: &Value) -> bool {
    let selector = selector.as_object().expect("a selector");
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

#[test]
fn every_controller_has_its_lease_id_spelt_out() {
    for kustomization in ["base", "overlays/release", "overlays/dev"] {
        let args = args(&render(kustomization));
        for controller in CONTROLLERS {
            let id = format!("--leader-election-id={controller}=aibrix-{controller}");
            assert_eq!(args.iter().filter(|arg| **arg == id).count(), 1, "{kustomization}: {id}");
        }
        assert_eq!(args.iter().filter(|arg| arg.contains("leader-election-id")).count(), CONTROLLERS.len());
        assert_eq!(args[0], "--leader-elect");
    }
    for (controller, _) in STANDALONE {
        assert_eq!(
            args(&render(&standalone(controller))),
            [
                "--leader-elect".to_owned(),
                format!("--controllers={controller}"),
                format!("--leader-election-id={controller}=aibrix-{controller}"),
                "--health-probe-bind-address=:8081".to_owned(),
                "--metrics-bind-address=:8080".to_owned(),
                "--disable-webhook".to_owned(),
            ]
        );
    }
}

#[test]
fn the_dev_overlay_logs_decisions_and_names_the_account_that_it_brings() {
    assert_eq!(args(&render("overlays/dev")).last().map(String::as_str), Some("-v=4"));
    assert_eq!(pod("overlays/dev")["spec"]["serviceAccountName"], "aibrix-controller-manager");
}

#[test]
fn pods_are_hardened() {
    for kustomization in KUSTOMIZATIONS {
        let pod = pod(kustomization)["spec"].clone();
        let container = &pod["containers"][0];
        assert_eq!(
            pod["securityContext"],
            json!({
                "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            })
        );
        assert_eq!(
            container["securityContext"],
            json!({
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
            })
        );
        assert_eq!(container["command"], json!(["/manager"]));
        assert_eq!(pod["terminationGracePeriodSeconds"], 15, "more than the 8 s of an orderly stop");
        let volumes = pod.get("volumes").and_then(Value::as_array).map_or(0, Vec::len);
        let certificate = usize::from(!kustomization.contains("standalone"));
        assert_eq!(volumes, certificate, "{kustomization}: nothing else to mount");
    }
}

#[test]
fn probes_and_resources_are_those_of_aibrix() {
    for kustomization in KUSTOMIZATIONS {
        let container = pod(kustomization)["spec"]["containers"][0].clone();
        let probe = |path: &str, delay: u8, period: u8| {
            json!({
                "httpGet": {"path": path, "port": 8081}, "initialDelaySeconds": delay, "periodSeconds": period,
            })
        };
        assert_eq!(container["livenessProbe"], probe("/healthz", 15, 20));
        assert_eq!(container["readinessProbe"], probe("/readyz", 5, 10));
        assert_eq!(
            container["resources"],
            json!({
                "requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "512Mi"},
            })
        );
    }
}

#[test]
fn pods_know_their_name() {
    let env = pod("base")["spec"]["containers"][0]["env"].clone();
    assert_eq!(
        env,
        json!([
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "AIBRIX_GATEWAY_TIMEOUT_SECONDS", "value": "120"},
        ])
    );
}

#[test]
fn a_release_survives_a_drained_node_and_a_roll_out() {
    let objects = render("overlays/release");
    let deployment = deployment(&objects);
    assert_eq!(deployment["spec"]["replicas"], 2);
    assert_eq!(
        deployment["spec"]["strategy"],
        json!({
            "type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
        })
    );
    let affinity = &deployment["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"];
    let term = &affinity["preferredDuringSchedulingIgnoredDuringExecution"][0]["podAffinityTerm"];
    assert_eq!(term["topologyKey"], "kubernetes.io/hostname");
    let spread = &term["labelSelector"]["matchLabels"];
    assert!(selects(spread, &pod("overlays/release")["metadata"]["labels"]), "{spread}");
    let budget = object(&objects, "PodDisruptionBudget", "aibrix-controller-manager");
    assert_eq!(budget["spec"]["maxUnavailable"], 1);
}

#[test]
fn the_service_monitor_finds_the_metrics_services() {
    let monitor = crate::manifests::documents(&read("deploy/observability/service_monitor.yaml")).remove(0);
    let selector = monitor["spec"]["selector"]["matchLabels"].as_object().expect("a label selector").clone();
    let endpoint = &monitor["spec"]["endpoints"][0];
    for (kustomization, prefix) in prefixes() {
        let name = format!("{prefix}controller-manager-metrics-service");
        let service = object(&render(&kustomization), "Service", &name);
        for (key, value) in &selector {
            assert_eq!(service["metadata"]["labels"][key], *value);
        }
        assert_eq!(service["metadata"]["namespace"], monitor["metadata"]["namespace"]);
        let port = &service["spec"]["ports"][0];
        assert_eq!((&port["name"], &port["port"]), (&endpoint["port"], &json!(8080)));
        assert!(args(&render(&kustomization)).contains(&"--metrics-bind-address=:8080".to_owned()));
    }
    assert_eq!(endpoint["path"], "/metrics");
}

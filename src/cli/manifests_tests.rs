// SPDX-License-Identifier: Apache-2.0
//! The arguments of every manifest that users of AIBrix have deployed.

use std::ffi::OsString;

use super::{
    controllers::NAMES,
    invocation::{Command, interpret},
    notice::Level,
    settings::{Env, Settings},
};
use crate::server::Bind;

fn started(line: &str) -> Settings {
    let arguments = line.split_whitespace().map(OsString::from);
    match interpret(arguments, &Env::new(|_| None)) {
        Ok(Command::Run(settings)) => *settings,
        other => panic!("{line} gave {other:?}"),
    }
}

/// Controllers that run, with their Leases.
fn elected(settings: &Settings) -> Vec<(&'static str, &str)> {
    settings.controllers.iter().filter(|it| it.enabled).map(|it| (it.name, it.lease.as_str())).collect()
}

#[test]
fn arguments_of_the_full_installs_run_all_on_leases_of_their_own() {
    let table = [
        (
            "kustomize default",
            "--leader-elect --health-probe-bind-address=:8081 --metrics-bind-address=:8080 --enable-runtime-sidecar",
            "aibrix-system",
        ),
        (
            "helm",
            "--leader-elect --leader-election-namespace=serving --health-probe-bind-address=:8081 \
             --metrics-bind-address=:8080 --enable-runtime-sidecar",
            "serving",
        ),
        ("dev overlay", "--leader-elect --health-probe-bind-address=:8081 -v=4", "aibrix-system"),
    ];
    for (name, line, namespace) in table {
        let settings = started(line);
        let leases = [
            "aibrix-pod-autoscaler-controller",
            "aibrix-distributed-inference-controller",
            "aibrix-model-adapter-controller",
            "aibrix-model-route-controller",
            "aibrix-kv-cache-controller",
            "aibrix-model-claim-controller",
            "aibrix-stormservice-controller",
        ];
        assert_eq!(elected(&settings), NAMES.into_iter().zip(leases).collect::<Vec<_>>(), "{name}");
        assert_eq!(settings.election.legacy_lease.as_deref(), Some("aibrix-controller-manager"), "{name}");
        assert_eq!(settings.election.namespace, namespace, "{name}");
        assert_eq!(settings.server.metrics, Bind::On(":8080".into()), "{name}");
        assert_eq!(settings.server.probes, Bind::On(":8081".into()), "{name}");
        assert_eq!(settings.loops.model_adapter.runtime_sidecar, line.contains("sidecar"), "{name}");
        assert_eq!(settings.log.verbosity, if line.contains("-v=4") { 4 } else { 0 }, "{name}");
        assert!(settings.webhook.is_some(), "{name}");
        assert_eq!(settings.notices, [], "{name}");
    }
}

#[test]
fn arguments_of_the_standalone_overlays_run_one_on_the_lease_that_they_name() {
    // Overlay, controller, bare lease id, metrics, webhooks off.
    let table = [
        ("autoscaler-controller", "pod-autoscaler-controller", "aibrix-pod-autoscaler-controller", "0", true),
        (
            "distributed-inference-controller",
            "distributed-inference-controller",
            "aibrix-distributed-inference-controller",
            "0",
            true,
        ),
        ("kv-cache-controller", "kv-cache-controller", "aibrix-kv-cache-controller", ":8080", true),
        (
            "model-adapter-controller",
            "model-adapter-controller",
            "aibrix-model-adapter-controller",
            "0",
            false,
        ),
        ("stormservice-controller", "stormservice-controller", "aibrix-controller-manager", "0", true),
    ];
    for (overlay, controller, lease, metrics, disabled) in table {
        let webhook = if disabled { "--disable-webhook" } else { "" };
        let settings = started(&format!(
            "--leader-elect --leader-election-id={lease} --controllers={controller} {webhook} \
             --health-probe-bind-address=:8081 --metrics-bind-address={metrics}"
        ));
        assert_eq!(elected(&settings), [(controller, lease)], "{overlay}");
        assert_eq!(settings.election.legacy_lease, None, "{overlay}: its old pod uses the same Lease");
        assert_eq!(settings.server.metrics, Bind::metrics(metrics), "{overlay}");
        assert_eq!(settings.webhook.is_none(), disabled, "{overlay}");
        let warned = settings.notices.iter().any(|notice| notice.level == Level::Warning);
        assert_eq!(
            warned,
            overlay == "stormservice-controller",
            "{overlay}: only its id differs from the default"
        );
    }
}

#[test]
fn arguments_that_this_project_ships_name_every_lease() {
    let ids = NAMES.map(|name| format!("--leader-election-id={name}=aibrix-{name}")).join(" ");
    let settings = started(&format!("--leader-elect {ids} --health-probe-bind-address=:8081"));
    assert_eq!(elected(&settings).len(), 7);
    assert_eq!(settings.notices, []);
    for name in NAMES {
        let settings = started(&format!(
            "--leader-elect --controllers={name} --leader-election-id={name}=aibrix-{name} --disable-webhook"
        ));
        assert_eq!(elected(&settings), [(name, format!("aibrix-{name}").as_str())]);
        assert_eq!(settings.notices, []);
    }
}

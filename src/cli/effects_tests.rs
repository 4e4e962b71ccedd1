// SPDX-License-Identifier: Apache-2.0
//! What each flag and each variable of the environment does: it changes one setting, it is refused, or it is
//! said that it has no effect. And each setting is read by somebody.

use std::{collections::BTreeSet, fs, path::Path};

use super::{
    flags,
    go_flags::{Parsed, parse},
    settings::{Env, Settings, resolve},
};

/// What somebody notices who sets it.
enum Effect {
    /// This setting, and what it is then.
    Sets(fn(&Settings) -> String, &'static str),
    /// The process does not start, and says this.
    Refused(&'static str),
    /// The process starts, and says this.
    Said(&'static str),
}

use Effect::{Refused, Said, Sets};

/// Given with every variable of [`ENVIRONMENT`]: without a server the others about it have nothing to act on.
const SERVER: (&str, &str) = ("PROMETHEUS_ENDPOINT", "http://prometheus:9090");

fn text(value: impl std::fmt::Debug) -> String {
    format!("{value:?}")
}

fn webhook<T: std::fmt::Debug>(
    it: &Settings,
    pick: impl Fn(&super::consumers::WebhookSettings) -> T,
) -> String {
    it.webhook.as_ref().map_or_else(String::new, |webhook| text(pick(webhook)))
}

fn prometheus(it: &Settings) -> &super::consumers::PrometheusSettings {
    it.loops.model_adapter.metrics.prometheus.as_ref().expect("a server")
}

const IGNORED: &str = "logs go to stderr";
const GATEWAY: &str = "only the gateway does that";

#[rustfmt::skip]
const FLAGS: &[(&str, Effect)] = &[
    ("add_dir_header=true", Said(IGNORED)),
    ("alsologtostderr=true", Said(IGNORED)),
    ("controllers=kv-cache-controller", Sets(|it| text(it.controllers.iter().filter(|it| it.enabled).count()), "1")),
    ("debug-mode=true", Sets(|it| text(it.loops.model_adapter.debug_mode), "true")),
    ("disable-webhook=true", Sets(|it| text(it.webhook.is_some()), "false")),
    ("enable-http2=true", Sets(|it| webhook(it, |it| it.enable_http2) + &text(it.server.enable_http2), "truetrue")),
    ("enable-runtime-sidecar=true", Sets(|it| text(it.loops.model_adapter.runtime_sidecar), "true")),
    ("graceful-shutdown-timeout=9s", Sets(|it| text(it.shutdown.timeout), "9s")),
    ("health-probe-bind-address=:1", Sets(|it| text(&it.server.probes), "On(\":1\")")),
    ("kube-api-burst=7", Sets(|it| text(it.client.burst), "7")),
    ("kube-api-qps=7", Sets(|it| text(it.client.qps), "7.0")),
    ("kubeconfig=/k", Sets(|it| text(&it.client.kubeconfig_flag), "Some(\"/k\")")),
    ("leader-elect=false", Sets(|it| text(it.elect), "false")),
    ("leader-election-id=kv-cache-controller=x", Sets(|it| text(it.controllers.iter().any(|it| it.lease == "x")), "true")),
    ("leader-election-lease-duration=20s", Sets(|it| text(it.election.lease_duration), "20s")),
    ("leader-election-namespace=n", Sets(|it| text(&it.election.namespace), "\"n\"")),
    ("leader-election-release-on-cancel=false", Sets(|it| text(it.election.release_on_cancel), "false")),
    ("leader-election-renew-deadline=9s", Sets(|it| text(it.election.renew_deadline), "9s")),
    ("leader-election-resource-lock=endpoints", Refused("endpoints lock is removed, migrate to leases")),
    ("leader-election-retry-period=1s", Sets(|it| text(it.election.retry_period), "1s")),
    ("leader-election-spread=false", Sets(|it| text(it.election.spread), "false")),
    ("leader-election-warm-standby=false", Sets(|it| text(it.warm_standby), "false")),
    ("legacy-leader-election-id=old", Sets(|it| text(&it.election.legacy_lease), "Some(\"old\")")),
    ("log-format=json", Sets(|it| text(it.log.json), "true")),
    ("log_backtrace_at=a.go:1", Said(IGNORED)),
    ("log_dir=/d", Said(IGNORED)),
    ("log_file=/f", Said(IGNORED)),
    ("log_file_max_size=1", Said(IGNORED)),
    ("logtostderr=false", Said(IGNORED)),
    ("manage-webhook-certs=false", Sets(|it| webhook(it, |it| it.manage_certs), "false")),
    ("max-concurrent-reconciles=kv-cache-controller=3", Sets(|it| text(it.controllers.iter().find_map(|it| it.workers)), "Some(3)")),
    ("metric-scrape-timeout=3s", Sets(|it| text(it.loops.longest_scrape()), "3s")),
    ("metrics-bind-address=:1", Sets(|it| text(&it.server.metrics), "On(\":1\")")),
    ("metrics-secure=true", Sets(|it| text(it.server.metrics_secure), "true")),
    ("model-adapter-scheduler-policy=random", Sets(|it| text(it.loops.model_adapter.policy), "Random")),
    ("mutating-webhook-configuration-name=m", Sets(|it| webhook(it, |it| it.mutating_configuration.clone()), "\"m\"")),
    ("one_output=true", Said(IGNORED)),
    ("probe-loops=true", Sets(|it| text(it.probe_loops), "true")),
    ("skip_headers=true", Sets(|it| text(it.log.skip_headers), "true")),
    ("skip_log_headers=true", Said(IGNORED)),
    ("stderrthreshold=1", Said(IGNORED)),
    ("sync-period=1s", Sets(|it| text(it.loops.sync_period), "1s")),
    ("v=3", Sets(|it| text(it.log.verbosity), "3")),
    ("validating-webhook-configuration-name=v", Sets(|it| webhook(it, |it| it.validating_configuration.clone()), "\"v\"")),
    ("vmodule=a=1", Sets(|it| text(&it.log.vmodule), "\"a=1\"")),
    ("watch-namespaces=b,a", Sets(|it| text(&it.watch_namespaces), "{\"a\", \"b\"}")),
    ("webhook-cert-dir=/c", Sets(|it| webhook(it, |it| it.cert_dir.clone()), "\"/c\"")),
    ("webhook-host=h", Sets(|it| webhook(it, |it| it.host.clone()), "\"h\"")),
    ("webhook-port=1", Sets(|it| webhook(it, |it| it.port), "1")),
    ("webhook-secret-name=s", Sets(|it| webhook(it, |it| it.secret_name.clone()), "\"s\"")),
    ("webhook-service-name=s", Sets(|it| webhook(it, |it| it.service_name.clone()), "\"s\"")),
];

#[rustfmt::skip]
const ENVIRONMENT: &[(&str, Effect)] = &[
    ("AIBRIX_GATEWAY_NAME=g", Sets(|it| text(&it.loops.model_route.gateway_name), "\"g\"")),
    ("AIBRIX_GATEWAY_NAMESPACE=n", Sets(|it| text(&it.loops.model_route.gateway_namespace), "\"n\"")),
    ("AIBRIX_GATEWAY_TIMEOUT_SECONDS=7", Sets(|it| text(it.loops.model_route.request_timeout), "7s")),
    ("AIBRIX_POD_DEPLOYMENT_LABEL=app", Said(GATEWAY)),
    ("AIBRIX_POD_METRIC_REFRESH_INTERVAL_MS=7", Sets(|it| text(it.loops.model_adapter.metrics.refresh_interval), "7ms")),
    ("AIBRIX_POD_RAYCLUSTERFLEET_LABEL=fleet", Said(GATEWAY)),
    ("AIBRIX_PROMETHEUS_QUERY_INTERVAL_MS=7", Sets(|it| text(prometheus(it).query_interval), "7ms")),
    ("AIBRIX_PROMETHEUS_QUERY_TIMEOUT_MS=7", Sets(|it| text(prometheus(it).query_timeout), "7ms")),
    ("HOME=/h", Sets(|it| text(&it.client.home), "Some(\"/h\")")),
    ("KUBECONFIG=/k", Sets(|it| text(&it.client.kubeconfig_env), "Some(\"/k\")")),
    ("POD_NAME=p", Sets(|it| text(it.election.identity.starts_with("p_")), "true")),
    ("PROMETHEUS_BASIC_AUTH_PASSWORD=p", Sets(|it| text(&prometheus(it).login), "Password")),
    ("PROMETHEUS_BASIC_AUTH_PASSWORD_KEY=k", Sets(secret_of, "aibrix-system/s username k")),
    ("PROMETHEUS_BASIC_AUTH_SECRET_NAME=t", Sets(secret_of, "aibrix-system/t username password")),
    ("PROMETHEUS_BASIC_AUTH_SECRET_NAMESPACE=n", Sets(secret_of, "n/s username password")),
    ("PROMETHEUS_BASIC_AUTH_USERNAME=u", Sets(|it| text(&prometheus(it).login), "Password")),
    ("PROMETHEUS_BASIC_AUTH_USERNAME_KEY=k", Sets(secret_of, "aibrix-system/s k password")),
    ("PROMETHEUS_ENDPOINT=http://p", Sets(|it| text(&prometheus(it).endpoint), "\"http://p\"")),
];

fn secret_of(it: &Settings) -> String {
    use super::consumers::PrometheusLogin::{Anonymous, Password, Secret};
    match &prometheus(it).login {
        Secret { namespace, name, username_key, password_key } => {
            format!("{namespace}/{name} {username_key} {password_key}")
        }
        Anonymous | Password { .. } => String::new(),
    }
}

fn resolved(arguments: &[String], variables: &[(&str, &str)]) -> Result<Settings, String> {
    let variables: Vec<(String, String)> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let env = Env::new(move |name| {
        variables.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    });
    match parse(flags::ALL, arguments) {
        Ok(Parsed::Given(given)) => resolve(&given, &env).map_err(|invalid| {
            invalid.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        }),
        other => panic!("{arguments:?} gave {other:?}"),
    }
}

fn check(what: &str, effect: &Effect, before: &Settings, after: Result<Settings, String>) {
    let said = |settings: &Settings| -> Vec<String> {
        settings.notices.iter().map(|notice| notice.detail.clone()).collect()
    };
    match (effect, after) {
        (Sets(setting, want), Ok(after)) => {
            assert_eq!(setting(&after), *want, "{what}");
            assert_ne!(setting(before), *want, "{what}: it is so without it");
        }
        (Said(want), Ok(after)) => {
            let lines = said(&after);
            assert!(lines.iter().any(|line| line.contains(want)), "{what}: {lines:?}");
            assert!(
                lines.iter().any(|line| line.contains(what.split('=').next().unwrap())),
                "{what}: {lines:?}"
            );
            assert!(!said(before).iter().any(|line| line.contains(want)), "{what}");
            assert_eq!(
                Settings { notices: Vec::new(), ..after },
                Settings { notices: Vec::new(), ..before.clone() }
            );
        }
        (Refused(want), Err(error)) => assert!(error.contains(want), "{what}: {error}"),
        (Sets(..) | Said(_), Err(error)) => panic!("{what} is refused: {error}"),
        (Refused(_), Ok(_)) => panic!("{what} is not refused"),
    }
}

// scenario: hardening 20
#[test]
fn each_flag_changes_a_setting_or_is_refused_or_said_to_have_no_effect() {
    let before = resolved(&[], &[]).unwrap();
    for (flag, effect) in FLAGS {
        check(flag, effect, &before, resolved(&[format!("--{flag}")], &[]));
    }
    let known: BTreeSet<&str> = flags::ALL.iter().map(|flag| flag.name()).collect();
    let listed: BTreeSet<&str> = FLAGS.iter().map(|(flag, _)| flag.split('=').next().unwrap()).collect();
    assert_eq!(listed, known);
}

// scenario: hardening 20
#[test]
fn each_variable_changes_a_setting_or_is_said_to_have_no_effect() {
    for (variable, effect) in ENVIRONMENT {
        let (name, value) = variable.split_once('=').unwrap();
        let mut base = vec![SERVER];
        if name.contains("_SECRET_") || name.ends_with("_KEY") {
            base.push(("PROMETHEUS_BASIC_AUTH_SECRET_NAME", "s"));
        }
        let before = resolved(&[], &base).unwrap();
        check(variable, effect, &before, resolved(&[], &[base, vec![(name, value)]].concat()));
    }
    // What is read here has a line above.
    let sources = [include_str!("env_vars.rs"), include_str!("settings.rs")];
    let quoted = sources.iter().flat_map(|source| source.split('"'));
    let is_name = |text: &&str| {
        text.len() > 3
            && text.bytes().all(|it| it.is_ascii_uppercase() || it == b'_')
            && !text.starts_with('_')
    };
    let read: BTreeSet<&str> = quoted.filter(is_name).collect();
    let listed: BTreeSet<&str> = ENVIRONMENT.iter().map(|(it, _)| it.split('=').next().unwrap()).collect();
    assert_eq!(listed, read);
}

/// Structs that hold settings, by file.
const SETTINGS: &[(&str, &[&str])] = &[
    ("cli/settings.rs", &["Settings"]),
    ("cli/consumers.rs", &["ControllerSettings", "WebhookSettings", "ShutdownSettings"]),
    (
        "controllers/model_adapter/settings.rs",
        &["ModelAdapterSettings", "EngineMetricsSettings", "PrometheusSettings"],
    ),
];

// scenario: hardening 20
#[test]
fn each_setting_is_read_by_somebody_else_than_the_command_line() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    collect(&root, &mut sources);
    assert!(sources.len() > 100, "the sources are there");
    let used = sources.concat();
    for (file, structs) in SETTINGS {
        let source = fs::read_to_string(root.join(file)).unwrap();
        for name in *structs {
            let fields = fields_of(&source, name);
            assert!(!fields.is_empty(), "{name} in {file}");
            for field in fields {
                let is_read = used.match_indices(&field).any(|(at, _)| {
                    let (before, after) =
                        (used[..at].chars().next_back(), used[at + field.len()..].chars().next());
                    let is_word = |it: Option<char>| it.is_some_and(|it| it.is_alphanumeric() || it == '_');
                    // By a dot, or by taking the struct apart.
                    let read = before == Some('.') && after != Some('(') || matches!(after, Some(',' | ' '));
                    read && !is_word(before) && !is_word(after)
                });
                assert!(is_read, "nobody reads {name}.{field}");
            }
        }
    }
}

/// The code of all files outside `cli` that are no tests.
fn collect(folder: &Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "cli" && name != "testkit" {
            collect(&path, into);
        } else if name.strip_suffix(".rs").is_some_and(|it| !it.ends_with("_tests") && it != "settings") {
            into.push(fs::read_to_string(&path).unwrap());
        }
    }
}

fn fields_of(source: &str, name: &str) -> Vec<String> {
    let start = source.split_once(&format!("pub struct {name} {{")).map_or("", |(_, rest)| rest);
    let body = start.split_once("\n}").map_or("", |(body, _)| body);
    let fields = body.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(':'));
    fields.map(|(field, _)| field.to_owned()).collect()
}

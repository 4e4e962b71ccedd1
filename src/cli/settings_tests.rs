// SPDX-License-Identifier: Apache-2.0
use std::{path::PathBuf, time::Duration};

use uuid::Uuid;

use super::{
    consumers::SchedulerPolicy,
    controllers::{NAMES, default_lease},
    election_settings::identity,
    flags,
    go_flags::{Parsed, parse},
    notice::Level,
    problems::Problem,
    settings::{Env, Settings, resolve},
};
use crate::server::Bind;

fn in_env(vars: &'static [(&'static str, &'static str)]) -> Env {
    Env::new(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
}

fn resolve_in(line: &[&str], env: &Env) -> Result<Settings, Vec<Problem>> {
    let arguments: Vec<_> = line.iter().map(|&argument| argument.to_owned()).collect();
    match parse(flags::ALL, &arguments) {
        Ok(Parsed::Given(given)) => resolve(&given, env).map_err(|invalid| invalid.problems),
        other => panic!("{line:?} gave {other:?}"),
    }
}

fn settings(line: &[&str]) -> Settings {
    resolve_in(line, &in_env(&[])).unwrap_or_else(|problems| panic!("{line:?} gave {problems:?}"))
}

fn problems(line: &[&str]) -> Vec<Problem> {
    resolve_in(line, &in_env(&[])).err().unwrap_or_default()
}

fn texts(line: &[&str]) -> Vec<String> {
    problems(line).iter().map(ToString::to_string).collect()
}

fn warnings(line: &[&str]) -> Vec<(&'static str, String)> {
    let notices = settings(line).notices;
    let warnings = notices.into_iter().filter(|notice| notice.level == Level::Warning);
    warnings.map(|notice| (notice.message, notice.detail)).collect()
}

#[test]
fn nothing_said_means_all_controllers_elected_on_leases_of_their_own() {
    let all = settings(&[]);
    let names: Vec<_> =
        all.controllers.iter().map(|it| (it.name, it.enabled, it.lease.clone(), it.workers)).collect();
    let want: Vec<_> = NAMES.iter().map(|&name| (name, true, default_lease(name), None)).collect();
    assert_eq!(names, want);
    assert!(all.elect && all.warm_standby && all.election.spread && all.election.release_on_cancel);
    assert_eq!(all.election.namespace, "aibrix-system");
    assert_eq!(all.election.lease_duration, Duration::from_secs(15));
    assert_eq!(all.election.renew_deadline, Duration::from_secs(10));
    assert_eq!(all.election.retry_period, Duration::from_secs(2));
    assert_eq!(all.election.legacy_lease.as_deref(), Some("aibrix-controller-manager"));
    assert_eq!(all.server.metrics, Bind::On(":8080".into()));
    assert_eq!(all.server.probes, Bind::On(":8081".into()));
    assert!(!all.server.metrics_secure && !all.server.enable_http2);
    assert_eq!(all.server.metrics_cert_dir, PathBuf::from("/tmp/k8s-metrics-server/serving-certs"));
    assert_eq!((all.log.verbosity, all.log.json, all.log.skip_headers), (0, false, false));
    assert_eq!(all.client.qps.to_bits(), 100.0_f32.to_bits());
    assert_eq!(all.client.burst, 100);
    assert_eq!(all.shutdown.timeout, Duration::from_secs(8));
    assert_eq!(all.loops.model_adapter.policy, SchedulerPolicy::LeastAdapters);
    assert!(
        !all.loops.model_adapter.runtime_sidecar && !all.loops.model_adapter.debug_mode && !all.probe_loops
    );
    let webhook = all.webhook.unwrap();
    assert_eq!(
        (webhook.port, webhook.manage_certs, webhook.namespace.as_str()),
        (9443, true, "aibrix-system")
    );
    assert_eq!(webhook.secret_name, "aibrix-webhook-server-cert");
    assert_eq!(webhook.service_name, "aibrix-webhook-service");
    assert_eq!(all.notices, []);
}

#[test]
fn controllers_that_are_not_enabled_are_listed_as_such() {
    let got = settings(&["--controllers=*,-model-route-controller"]);
    let off: Vec<_> = got.controllers.iter().filter(|it| !it.enabled).map(|it| it.name).collect();
    assert_eq!(off, ["model-route-controller"]);
    assert!(settings(&["--controllers=-kv-cache-controller"]).controllers.iter().all(|it| !it.enabled));
}

#[test]
fn invalid_controllers_are_refused_with_the_text_that_people_know() {
    for list in ["foo", "", "-*"] {
        let text = texts(&[&format!("--controllers={list}")]).join("\n");
        assert!(text.contains("invalid controller specified: "), "{list:?}: {text}");
        assert!(text.contains("please type the right controller names through --controllers"), "{text}");
    }
}

#[test]
fn election_off_is_honoured_with_a_warning() {
    for line in [&[][..], &["--leader-elect"], &["--leader-elect=true"]] {
        assert!(settings(line).elect, "{line:?}");
    }
    let line = ["--leader-elect=false"];
    assert!(!settings(&line).elect);
    let warned = warnings(&line);
    assert!(
        matches!(&warned[..], [("leader election is off", detail)] if detail.contains("only one replica")),
        "{warned:?}"
    );
}

#[test]
fn rules_of_elections_do_not_count_when_there_are_none() {
    let odd = [
        "--leader-elect=false",
        "--leader-election-id=",
        "--leader-election-lease-duration=5s",
        "--leader-election-renew-deadline=10s",
    ];
    assert!(settings(&odd).notices.iter().all(|notice| notice.message == "leader election is off"));
    let unknown = problems(&["--leader-elect=false", "--leader-election-id=foo=bar"]);
    assert!(matches!(unknown[..], [Problem::LeaseIds(_)]), "{unknown:?}");
}

#[test]
fn durations_keep_their_distance() {
    let table: &[(&str, &str, &str, &[&str])] = &[
        ("15s", "10s", "2s", &[]),
        ("1s", "900ms", "700ms", &[]),
        ("5s", "10s", "2s", &["leaseDuration must be greater than renewDeadline"]),
        ("10s", "10s", "2s", &["leaseDuration must be greater than renewDeadline"]),
        ("15s", "2400ms", "2s", &["renewDeadline must be greater than retryPeriod*JitterFactor"]),
        ("15s", "2401ms", "2s", &[]),
        ("15500ms", "10s", "2s", &["leaseDuration must be whole seconds"]),
        ("999ms", "500ms", "100ms", &["leaseDuration must be whole seconds"]),
        (
            "0",
            "-1s",
            "-2s",
            &["leaseDuration must be whole seconds", "retryPeriod must be greater than zero"],
        ),
        ("15s", "10s", "0s", &["retryPeriod must be greater than zero"]),
        ("600000h", "10s", "2s", &["leaseDuration must be whole seconds"]),
        (
            "1500ms",
            "2s",
            "2s",
            &[
                "leaseDuration must be whole seconds",
                "leaseDuration must be greater than renewDeadline",
                "renewDeadline must be greater than retryPeriod*JitterFactor",
            ],
        ),
    ];
    for (lease, renew, retry, want) in table {
        let got = texts(&[
            &format!("--leader-election-lease-duration={lease}"),
            &format!("--leader-election-renew-deadline={renew}"),
            &format!("--leader-election-retry-period={retry}"),
        ]);
        assert_eq!(got.len(), want.len(), "{lease} {renew} {retry}: {got:?}");
        for (got, want) in got.iter().zip(*want) {
            assert!(got.starts_with(want) && got.contains("--leader-election-"), "{got}");
        }
    }
}

#[test]
fn only_leases_are_locks() {
    for lock in ["", "leases"] {
        settings(&[&format!("--leader-election-resource-lock={lock}")]);
    }
    for lock in ["endpoints", "configmaps", "endpointsleases", "configmapsleases"] {
        let got = texts(&[&format!("--leader-election-resource-lock={lock}")]);
        assert!(got[0].starts_with(&format!("{lock} lock is removed, migrate to leases")), "{got:?}");
    }
    let got = texts(&["--leader-election-resource-lock=files"]);
    assert!(got[0].starts_with("Invalid lock-type files"), "{got:?}");
}

#[test]
fn namespace_is_the_flag_else_the_pods_own_else_the_usual_one() {
    let table = [
        (&[][..], None, "aibrix-system"),
        (&[], Some("mine\n"), "mine"),
        (&["--leader-election-namespace="], Some("mine"), "mine"),
        (&["--leader-election-namespace="], None, "aibrix-system"),
        (&["--leader-election-namespace=other"], Some("mine"), "other"),
        (&[], Some(""), "aibrix-system"),
    ];
    for (line, pod, want) in table {
        let mut env = in_env(&[]);
        env.pod_namespace = pod.map(str::to_owned);
        let got = resolve_in(line, &env).unwrap();
        assert_eq!(got.election.namespace, want, "{line:?} {pod:?}");
        assert_eq!(got.webhook.unwrap().namespace, want, "{line:?} {pod:?}");
    }
    assert_eq!(problems(&["--leader-election-namespace=No/Name"]), [Problem::Namespace("No/Name".into())]);
}

#[test]
fn identity_is_the_pod_or_host_and_a_uuid() {
    let mut env = in_env(&[("POD_NAME", "manager-0")]);
    env.hostname = Some("host".into());
    let nil = "00000000-0000-0000-0000-000000000000";
    let got = resolve_in(&[], &env).unwrap();
    assert_eq!(got.election.identity, format!("manager-0_{nil}"));
    assert_eq!(got.client.identity, got.election.identity);
    let mut env = in_env(&[("POD_NAME", "")]);
    env.hostname = Some("host".into());
    assert_eq!(resolve_in(&[], &env).unwrap().election.identity, format!("host_{nil}"));
}

#[test]
fn identity_is_cut_on_the_left_part() {
    let cut = identity(&"a".repeat(200), Uuid::nil());
    assert_eq!(cut.len(), 128);
    assert!(cut.ends_with("a_00000000-0000-0000-0000-000000000000"));
    let between_characters = identity(&"ä".repeat(100), Uuid::nil());
    assert_eq!(between_characters.len(), 127, "cut on a character boundary");
    assert_eq!(identity(&"a".repeat(91), Uuid::nil()).len(), 128);
}

#[test]
fn addresses_have_their_words_for_off() {
    let bound = |line: &[&str]| (settings(line).server.metrics, settings(line).server.probes);
    let on = |address: &str| Bind::On(address.to_owned());
    assert_eq!(bound(&["--metrics-bind-address=0", "--health-probe-bind-address=0"]), (Bind::Off, Bind::Off));
    assert_eq!(bound(&["--metrics-bind-address=", "--health-probe-bind-address="]), (on(":8080"), Bind::Off));
    assert_eq!(bound(&["-metrics-bind-address", "0"]), (Bind::Off, on(":8081")));
    assert_eq!(bound(&["--metrics-bind-address=127.0.0.1:9"]), (on("127.0.0.1:9"), on(":8081")));
}

#[test]
fn rates_follow_the_rules_of_the_go_client() {
    let table = [
        ("0", "0", 5.0, 10),
        ("-1", "0", -1.0, 10),
        ("20.5", "30", 20.5, 30),
        ("1e3", "5000000000", 1000.0, u32::MAX),
    ];
    for (qps, burst, want_qps, want_burst) in table {
        let got = settings(&[&format!("--kube-api-qps={qps}"), &format!("--kube-api-burst={burst}")]).client;
        assert_eq!((got.qps.to_bits(), got.burst), (f32::to_bits(want_qps), want_burst), "{qps} {burst}");
    }
    assert_eq!(problems(&["--kube-api-burst=0"]), [Problem::Burst(0)]);
    assert_eq!(problems(&["--kube-api-qps=NaN"]), [Problem::Qps("NaN".into())]);
}

#[test]
fn client_gets_every_place_where_a_kubeconfig_may_be() {
    let env = in_env(&[("KUBECONFIG", "/a:/b"), ("HOME", "/home/x")]);
    let got = resolve_in(&["--kubeconfig=/k"], &env).unwrap().client;
    assert_eq!(got.kubeconfig_flag, Some(PathBuf::from("/k")));
    assert_eq!(got.kubeconfig_env.as_deref(), Some("/a:/b"));
    assert_eq!(got.home, Some(PathBuf::from("/home/x")));
    let empty = settings(&["--kubeconfig="]).client;
    assert_eq!((empty.kubeconfig_flag, empty.kubeconfig_env, empty.home), (None, None, None));
}

#[test]
fn scheduler_policy_is_checked_only_for_its_controller() {
    let names = [
        ("random", SchedulerPolicy::Random),
        ("leastAdapters", SchedulerPolicy::LeastAdapters),
        ("binPack", SchedulerPolicy::BinPack),
        ("leastLatency", SchedulerPolicy::LeastLatency),
        ("leastThroughput", SchedulerPolicy::LeastThroughput),
    ];
    for (name, want) in names {
        let flag = format!("--model-adapter-scheduler-policy={name}");
        assert_eq!(settings(&[&flag]).loops.model_adapter.policy, want);
    }
    let got = texts(&["--model-adapter-scheduler-policy=best"]);
    assert!(got[0].starts_with("unknown scheduler policy"), "{got:?}");
    settings(&["--model-adapter-scheduler-policy=best", "--controllers=kv-cache-controller"]);
}

#[test]
fn passes_at_a_time_are_pairs() {
    let workers = |flag: &str| {
        let got = settings(&[&format!("--max-concurrent-reconciles={flag}")]).controllers;
        got.into_iter().filter_map(|it| Some((it.name, it.workers?))).collect::<Vec<_>>()
    };
    assert_eq!(workers(""), []);
    assert_eq!(
        workers("stormservice-controller=4, kv-cache-controller=2"),
        [("kv-cache-controller", 2), ("stormservice-controller", 4)]
    );
    assert_eq!(workers("kv-cache-controller=2,kv-cache-controller=3"), [("kv-cache-controller", 3)]);
    for bad in
        ["kv-cache-controller", "kv-cache-controller=", "kv-cache-controller=0", "kv-cache-controller=x", ","]
    {
        let got = problems(&[&format!("--max-concurrent-reconciles={bad}")]);
        assert!(got.iter().all(|it| matches!(it, Problem::Workers(_))) && !got.is_empty(), "{bad}: {got:?}");
    }
    assert_eq!(
        texts(&["--max-concurrent-reconciles=foo=1"]),
        ["invalid controller specified: foo in --max-concurrent-reconciles"]
    );
}

#[test]
fn webhook_flags_count_unless_webhooks_are_off() {
    assert_eq!(settings(&["--disable-webhook", "--webhook-port=0"]).webhook, None);
    assert_eq!(problems(&["--webhook-port=0"]), [Problem::WebhookPort(0)]);
    assert_eq!(problems(&["--webhook-port=65536"]), [Problem::WebhookPort(65536)]);
    let bad = Problem::Name { name: String::new(), flag: "webhook-secret-name" };
    assert_eq!(problems(&["--webhook-secret-name="]), [bad]);
    let unmanaged = settings(&["--manage-webhook-certs=false", "--webhook-secret-name=", "--enable-http2"])
        .webhook
        .unwrap();
    assert!(!unmanaged.manage_certs && unmanaged.enable_http2);
    let named = settings(&["--webhook-service-name=s", "--webhook-cert-dir=/c", "--webhook-port", "0x2537"])
        .webhook
        .unwrap();
    assert_eq!((named.service_name.as_str(), named.cert_dir, named.port), ("s", PathBuf::from("/c"), 9527));
    assert_eq!(named.host, "");
    assert_eq!(settings(&["--webhook-host=10.0.0.1"]).webhook.unwrap().host, "10.0.0.1");
}

#[test]
fn an_orderly_stop_takes_time() {
    assert_eq!(settings(&["--graceful-shutdown-timeout=1m30s"]).shutdown.timeout, Duration::from_secs(90));
    for bad in ["0", "-1s"] {
        let got = problems(&["--graceful-shutdown-timeout", bad]);
        assert!(matches!(got[..], [Problem::ShutdownTimeout(_)]), "{bad}: {got:?}");
    }
}

#[test]
fn logs_follow_their_flags() {
    let log = settings(&["-v=4", "--vmodule=a=1", "-skip_headers", "--log-format=json"]).log;
    assert_eq!((log.verbosity, log.vmodule.as_str(), log.skip_headers, log.json), (4, "a=1", true, true));
    assert_eq!(problems(&["--log-format=xml"]), [Problem::LogFormat("xml".into())]);
}

#[test]
fn logging_flags_without_effect_get_one_warning() {
    let line = [
        "-logtostderr=true",
        "-log_dir=/logs",
        "--alsologtostderr",
        "-stderrthreshold=ERROR",
        "-one_output=0",
    ];
    let want = "-alsologtostderr -log_dir: logs go to stderr";
    assert_eq!(warnings(&line), [("logging flags ignored", want.to_owned())]);
    assert_eq!(warnings(&["-logtostderr"]), [], "it says what happens anyway");
}

#[test]
fn ignored_arguments_get_one_warning() {
    let warned = warnings(&["--leader-elect", "true", "--controllers=foo"]);
    let want =
        ("arguments ignored behind the first one that is not a flag", "true --controllers=foo".to_owned());
    assert_eq!(warned, [want]);
}

#[test]
fn everything_wrong_is_said_in_one_message() {
    let arguments: Vec<_> = [
        "--controllers=foo,bar",
        "--leader-election-id=baz=x",
        "--leader-election-lease-duration=5s",
        "--kube-api-burst=-1",
        "--graceful-shutdown-timeout=0",
    ]
    .map(str::to_owned)
    .to_vec();
    let Ok(Parsed::Given(given)) = parse(flags::ALL, &arguments) else { panic!("malformed") };
    let text = resolve(&given, &in_env(&[])).unwrap_err().to_string();
    assert!(text.starts_with("6 problems with the command line:\n  - "), "{text}");
    for part in [
        "specified: foo",
        "specified: bar",
        "specified: baz",
        "renewDeadline",
        "--kube-api-burst",
        "orderly stop",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(text.lines().count(), 7);
}

#[test]
fn reads_of_metrics_may_take_no_longer_than_their_period_allows() {
    assert_eq!(settings(&[]).loops.longest_scrape(), Duration::from_secs(8));
    assert_eq!(settings(&["--metric-scrape-timeout=3s"]).loops.longest_scrape(), Duration::from_secs(3));
    assert_eq!(settings(&["--sync-period=2s"]).loops.longest_scrape(), Duration::from_millis(1200));
    for bad in ["0", "-1s", "8001ms"] {
        let got = problems(&["--metric-scrape-timeout", bad]);
        assert!(matches!(got[..], [Problem::ScrapeTimeout { .. }]), "{bad}: {got:?}");
        let text = got[0].to_string();
        assert!(text.contains(" 8s at most"), "{text}");
    }
}

#[test]
fn watched_namespaces_are_a_list_that_never_stands_for_all_by_mistake() {
    let watched = |line: &[&str]| Vec::from_iter(settings(line).watch_namespaces);
    assert_eq!(watched(&[]), Vec::<String>::new());
    assert_eq!(watched(&["--watch-namespaces= "]), Vec::<String>::new());
    assert_eq!(watched(&["--watch-namespaces=b, a,b"]), ["a", "b"]);
    assert_eq!(settings(&["--watch-namespaces=a"]).loops.model_route.watched, ["a".to_owned()].into());
    for (bad, named) in
        [("a,", "\"\""), (",", "\"\""), ("a,Team", "\"Team\""), ("*", "\"*\""), ("a.b", "\"a.b\"")]
    {
        let got = problems(&[&format!("--watch-namespaces={bad}")]);
        let [problem] = got.as_slice() else { panic!("{bad}: {got:?}") };
        let text = problem.to_string();
        assert!(text.contains(named) && text.contains("--watch-namespaces"), "{text}");
    }
}

#[test]
fn test_loops_are_asked_for_by_a_hidden_flag() {
    assert!(settings(&["--probe-loops"]).probe_loops);
    assert_eq!(settings(&[]).loops.sync_period, Duration::from_secs(10));
    assert_eq!(settings(&["--sync-period=2s"]).loops.sync_period, Duration::from_secs(2));
}

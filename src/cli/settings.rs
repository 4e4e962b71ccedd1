// SPDX-License-Identifier: Apache-2.0
//! Arguments and environment become [`Settings`]. The only reader of the environment.

use std::{collections::BTreeSet, fmt, path::Path, time::Duration};

use jiff::SignedDuration;
use uuid::Uuid;

use super::{
    consumers::{
        ControllerSettings, ModelAdapterSettings, SchedulerPolicy, ShutdownSettings, WebhookSettings,
    },
    controllers::{self, InvalidController, NAMES},
    election_settings::{self, positive},
    env_vars::EnvVars,
    flags,
    go_flags::{AnyFlag, Flag, Given},
    klog_flags as klog,
    lease_ids::{self, LeaseIds},
    notice::StartupNotice,
    problems::{InvalidSettings, Problem},
};
use crate::{
    controllers::{LoopSettings, longest_scrape, model_route::ModelRouteSettings},
    gocompat::{duration::format_duration, number::parse_int},
    server::{Bind, ServerSettings},
    telemetry::LogSettings,
};
use kube_loops::{
    cluster::client::ClientSettings,
    k8s::names::{is_dns1123_label, is_dns1123_subdomain},
};

/// Where a pod finds its own namespace.
const POD_NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// Certificate and key of secure metrics, if somebody mounts them.
const METRICS_CERT_DIR: &str = "/tmp/k8s-metrics-server/serving-certs";
/// Most passes at a time for one loop: beyond it a typing mistake is likelier than a wish.
const MAX_WORKERS: i64 = 1000;

/// Looks up a variable of the environment.
type Lookup = Box<dyn Fn(&str) -> Option<String>>;

/// Settings of the process that are no arguments: environment variables, host, pod.
pub struct Env {
    vars: Lookup,
    /// Name of the host.
    pub hostname: Option<String>,
    /// The pod's own namespace; `None` outside a cluster.
    pub pod_namespace: Option<String>,
    /// Unique to this process.
    pub uuid: Uuid,
}

impl Env {
    /// For tests: variables by lookup, outside a cluster.
    #[cfg(any(test, feature = "testkit"))]
    pub fn new(env: impl Fn(&str) -> Option<String> + 'static) -> Self {
        Self { vars: Box::new(env), hostname: None, pod_namespace: None, uuid: Uuid::nil() }
    }

    /// Those of this process.
    #[expect(clippy::disallowed_methods, reason = "the one home of reading the environment")]
    pub fn of_this_process() -> Self {
        Self {
            vars: Box::new(|name| std::env::var(name).ok()),
            hostname: hostname::get().ok().and_then(|name| name.into_string().ok()),
            pod_namespace: std::fs::read_to_string(Path::new(POD_NAMESPACE_FILE)).ok(),
            uuid: Uuid::new_v4(),
        }
    }

    /// A variable; empty counts as unset.
    pub fn var(&self, name: &str) -> Option<String> {
        (self.vars)(name).filter(|value| !value.is_empty())
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env")
            .field("hostname", &self.hostname)
            .field("pod_namespace", &self.pod_namespace)
            .finish_non_exhaustive()
    }
}

/// All settings of the process.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The seven controllers in the order of [`NAMES`], those that do not run here included.
    pub controllers: Vec<ControllerSettings>,
    /// Whether controllers stand for election; otherwise each enabled one runs at once.
    pub elect: bool,
    /// What the elections share.
    pub election: kube_fenced_election::Settings,
    /// Fill the caches of controllers that do not lead.
    pub warm_standby: bool,
    /// Namespaces in which controllers work; none: all.
    pub watch_namespaces: BTreeSet<String>,
    /// How to reach the API server.
    pub client: ClientSettings,
    /// Shape and amount of logs.
    pub log: LogSettings,
    /// Metrics and probes.
    pub server: ServerSettings,
    /// Webhooks and certificates; `None`: off.
    pub webhook: Option<WebhookSettings>,
    /// What controllers are told, one by one.
    pub loops: LoopSettings,
    /// The orderly stop.
    pub shutdown: ShutdownSettings,
    /// Loops that only write markers, under controllers that this build does not contain (test builds).
    pub probe_loops: bool,
    /// What to log once logging is up.
    pub notices: Vec<StartupNotice>,
}

/// Turns a parsed command line and the environment into settings.
///
/// # Errors
/// Everything that is wrong, at once: exit code 1.
pub(crate) fn resolve(given: &Given, env: &Env) -> Result<Settings, InvalidSettings> {
    let mut problems = Vec::new();
    let mut vars = EnvVars::new(env);
    let elect = given.get(&flags::LEADER_ELECT);
    let (enabled, ids) = controllers_and_leases(given, elect, &mut problems);
    let workers = workers(&given.get(&flags::MAX_CONCURRENT_RECONCILES), &mut problems);
    let controllers = NAMES.into_iter().map(|name| ControllerSettings {
        name,
        enabled: enabled.contains(&name),
        lease: ids.by_controller.get(name).cloned().unwrap_or_else(|| controllers::default_lease(name)),
        workers: workers.iter().rev().find(|(of, _)| *of == name).map(|(_, count)| *count),
    });
    let controllers = controllers.collect();

    let own_name = env.var("POD_NAME").or_else(|| env.hostname.clone());
    let identity = election_settings::identity(own_name.as_deref().unwrap_or("unknown"), env.uuid);
    let namespace = election_settings::namespace(given, env.pod_namespace.as_deref());
    let membership = (identity.clone(), namespace.clone());
    let election = election_settings::settings(given, elect, membership, ids.legacy, &mut problems);

    let sync_period = sync_period(given).unwrap_or_else(|| LoopSettings::default().sync_period);
    let watch_namespaces = watch_namespaces(&given.get(&flags::WATCH_NAMESPACES), &mut problems);
    let loops = LoopSettings {
        sync_period,
        scrape_timeout: scrape_timeout(given, sync_period, &mut problems),
        model_adapter: ModelAdapterSettings {
            policy: policy(given, enabled.contains(&"model-adapter-controller"), &mut problems),
            runtime_sidecar: given.get(&flags::ENABLE_RUNTIME_SIDECAR),
            debug_mode: given.get(&flags::DEBUG_MODE),
            metrics: vars.engine_metrics(),
        },
        model_route: ModelRouteSettings { watched: watch_namespaces.clone(), ..vars.model_route(&namespace) },
    };
    let settings = Settings {
        controllers,
        elect,
        election,
        warm_standby: given.get(&flags::LEADER_ELECTION_WARM_STANDBY),
        watch_namespaces,
        client: client(given, env, identity, &mut problems),
        log: log(given, &mut problems),
        server: server(given),
        webhook: webhook(given, namespace, &mut problems),
        loops,
        shutdown: shutdown(given, &mut problems),
        probe_loops: probe_loops(given),
        notices: [notices(given, elect), ids.notices, vars.notices].concat(),
    };
    if problems.is_empty() { Ok(settings) } else { Err(InvalidSettings { problems }) }
}

/// The enabled controllers and the Lease of each. Without elections the names of Leases have no effect, so
/// nothing about them is wrong, except a controller that does not exist.
fn controllers_and_leases(
    given: &Given,
    elect: bool,
    problems: &mut Vec<Problem>,
) -> (Vec<&'static str>, LeaseIds) {
    let controllers::Selection { enabled, invalid } = controllers::select(&given.get(&flags::CONTROLLERS));
    problems.extend(invalid.into_iter().map(Problem::Controllers));
    let legacy = given.given(&flags::LEGACY_LEADER_ELECTION_ID);
    let ids = given.all(&flags::LEADER_ELECTION_ID);
    let mut ids = lease_ids::resolve(&lease_ids::Request {
        enabled: &enabled,
        ids,
        legacy: legacy.as_deref().map(str::trim),
    });
    if !elect {
        ids.problems.retain(|problem| matches!(problem, lease_ids::Problem::UnknownController(_)));
        ids.notices.clear();
    }
    problems.extend(ids.problems.iter().cloned().map(Problem::from));
    (enabled, ids)
}

/// The namespaces of `--watch-namespaces`. A list that names none by mistake must not stand for all.
fn watch_namespaces(list: &str, problems: &mut Vec<Problem>) -> BTreeSet<String> {
    let named = list.split(',').map(str::trim).filter(|_| !list.trim().is_empty()).map(str::to_owned);
    let (valid, invalid): (BTreeSet<_>, BTreeSet<_>) = named.partition(|name| is_dns1123_label(name));
    let flag = flags::WATCH_NAMESPACES.name;
    problems.extend(invalid.into_iter().map(|name| Problem::Name { name, flag }));
    valid
}

/// The pairs of `--max-concurrent-reconciles`.
fn workers(pairs: &str, problems: &mut Vec<Problem>) -> Vec<(&'static str, usize)> {
    let mut workers = Vec::new();
    for item in pairs.split(',').map(str::trim).filter(|_| !pairs.trim().is_empty()) {
        let Some((name, count)) = item.split_once('=') else {
            problems.push(Problem::Workers(item.to_owned()));
            continue;
        };
        let count = parse_int(count.trim()).ok().filter(|count| (1..=MAX_WORKERS).contains(count));
        match (controllers::known(name.trim()), count.and_then(|count| usize::try_from(count).ok())) {
            (Some(name), Some(count)) => workers.push((name, count)),
            (None, _) => problems.push(Problem::WorkersOf(InvalidController(name.trim().to_owned()))),
            (Some(_), None) => problems.push(Problem::Workers(item.to_owned())),
        }
    }
    workers
}

fn policy(given: &Given, enabled: bool, problems: &mut Vec<Problem>) -> SchedulerPolicy {
    let name = given.get(&flags::MODEL_ADAPTER_SCHEDULER_POLICY);
    SchedulerPolicy::parse(&name).unwrap_or_else(|| {
        if enabled {
            problems.push(Problem::SchedulerPolicy(name));
        }
        SchedulerPolicy::LeastAdapters
    })
}

/// What Go's client does with a rate of 0.
const FALLBACK_QPS: f32 = 5.0;
const FALLBACK_BURST: u32 = 10;

fn client(given: &Given, env: &Env, identity: String, problems: &mut Vec<Problem>) -> ClientSettings {
    let (qps, burst) = (given.get(&flags::KUBE_API_QPS), given.get(&flags::KUBE_API_BURST));
    if !qps.is_finite() {
        problems.push(Problem::Qps(qps.to_string()));
    }
    if qps > 0.0 && burst < 1 {
        problems.push(Problem::Burst(burst));
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a rate needs no more digits; Go's client takes 32 bits too"
    )]
    let qps = if qps == 0.0 { FALLBACK_QPS } else { qps as f32 };
    let kubeconfig = given.get(&flags::KUBECONFIG);
    ClientSettings {
        kubeconfig_flag: (!kubeconfig.is_empty()).then(|| kubeconfig.into()),
        kubeconfig_env: env.var("KUBECONFIG"),
        home: env.var("HOME").map(Into::into),
        qps,
        burst: if burst < 1 { FALLBACK_BURST } else { u32::try_from(burst).unwrap_or(u32::MAX) },
        program: format!("{}/{}", super::PROGRAM, super::VERSION),
        identity,
    }
}

fn log(given: &Given, problems: &mut Vec<Problem>) -> LogSettings {
    let format = given.get(&flags::LOG_FORMAT);
    if !matches!(format.as_str(), "text" | "json") {
        problems.push(Problem::LogFormat(format.clone()));
    }
    LogSettings {
        verbosity: given.get(&klog::V).0,
        vmodule: given.get(&klog::VMODULE).0,
        skip_headers: given.get(&klog::SKIP_HEADERS),
        json: format == "json",
    }
}

fn server(given: &Given) -> ServerSettings {
    ServerSettings {
        metrics: Bind::metrics(&given.get(&flags::METRICS_BIND_ADDRESS)),
        metrics_secure: given.get(&flags::METRICS_SECURE),
        metrics_cert_dir: METRICS_CERT_DIR.into(),
        probes: Bind::probes(&given.get(&flags::HEALTH_PROBE_BIND_ADDRESS)),
        enable_http2: given.get(&flags::ENABLE_HTTP2),
    }
}

fn webhook(given: &Given, namespace: String, problems: &mut Vec<Problem>) -> Option<WebhookSettings> {
    if given.get(&flags::DISABLE_WEBHOOK) {
        return None;
    }
    let port = given.get(&flags::WEBHOOK_PORT);
    let valid_port = u16::try_from(port).ok().filter(|port| *port > 0);
    if valid_port.is_none() {
        problems.push(Problem::WebhookPort(port));
    }
    let manage_certs = given.get(&flags::MANAGE_WEBHOOK_CERTS);
    let mut name = |flag: &Flag<String>| {
        let name = given.get(flag);
        if manage_certs && !is_dns1123_subdomain(&name) {
            problems.push(Problem::Name { name: name.clone(), flag: flag.name });
        }
        name
    };
    Some(WebhookSettings {
        host: given.get(&flags::WEBHOOK_HOST),
        port: valid_port.unwrap_or_default(),
        enable_http2: given.get(&flags::ENABLE_HTTP2),
        cert_dir: given.get(&flags::WEBHOOK_CERT_DIR).into(),
        manage_certs,
        namespace,
        secret_name: name(&flags::WEBHOOK_SECRET_NAME),
        service_name: name(&flags::WEBHOOK_SERVICE_NAME),
        mutating_configuration: name(&flags::MUTATING_WEBHOOK_CONFIGURATION_NAME),
        validating_configuration: name(&flags::VALIDATING_WEBHOOK_CONFIGURATION_NAME),
    })
}

fn shutdown(given: &Given, problems: &mut Vec<Problem>) -> ShutdownSettings {
    let timeout = given.get(&flags::GRACEFUL_SHUTDOWN_TIMEOUT);
    if !timeout.is_positive() {
        problems.push(Problem::ShutdownTimeout(format_duration(timeout)));
    }
    ShutdownSettings { timeout: positive(timeout) }
}

fn scrape_timeout(given: &Given, period: Duration, problems: &mut Vec<Problem>) -> Option<Duration> {
    let (timeout, most) = (given.given(&flags::METRIC_SCRAPE_TIMEOUT)?, longest_scrape(period));
    if !timeout.is_positive() || timeout.unsigned_abs() > most {
        let most = SignedDuration::try_from(most).map_or_else(|_| String::new(), format_duration);
        problems.push(Problem::ScrapeTimeout { given: format_duration(timeout), most });
    }
    Some(positive(timeout))
}

#[cfg(feature = "testkit")]
fn probe_loops(given: &Given) -> bool {
    given.get(&flags::PROBE_LOOPS)
}

#[cfg(not(feature = "testkit"))]
fn probe_loops(_: &Given) -> bool {
    false
}

#[cfg(feature = "testkit")]
fn sync_period(given: &Given) -> Option<Duration> {
    Duration::try_from(given.given(&flags::SYNC_PERIOD)?).ok().filter(|period| !period.is_zero())
}

#[cfg(not(feature = "testkit"))]
fn sync_period(_: &Given) -> Option<Duration> {
    None
}

/// Notices about flags that have no effect, or a dangerous one.
fn notices(given: &Given, elect: bool) -> Vec<StartupNotice> {
    let mut notices = Vec::new();
    if !given.ignored.is_empty() {
        let detail = given.ignored.join(" ");
        notices.push(StartupNotice::warning(
            "arguments ignored behind the first one that is not a flag",
            detail,
        ));
    }
    if !elect {
        let detail =
            "--leader-elect=false: every enabled controller runs at once, so only one replica may run";
        notices.push(StartupNotice::warning("leader election is off", detail));
    }
    let without_effect: Vec<_> = klog::WITHOUT_EFFECT
        .iter()
        .filter(|flag| differs(given, **flag))
        .map(|flag| format!("-{}", flag.name()))
        .collect();
    if !without_effect.is_empty() {
        let detail = format!("{}: logs go to stderr", without_effect.join(" "));
        notices.push(StartupNotice::warning("logging flags ignored", detail));
    }
    notices
}

/// Whether a flag was given with another value than its default.
fn differs(given: &Given, flag: &dyn AnyFlag) -> bool {
    given.named(flag.name()).last().is_some_and(|value| !flag.same(value, flag.default_text()))
}

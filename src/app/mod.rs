// SPDX-License-Identifier: Apache-2.0
//! Composition root: the only place that knows everything. Order of a start:
//!
//! log → metrics → listeners (probes answer before anything contacts the API server) → clients → watches →
//! elections → controllers. Order of a stop: readiness fails → controllers drain and release, each as
//! soon as it can → events are flushed → listeners close, that of the webhooks not before others have had the
//! time to notice.

mod election_metrics;
mod election_thread;
mod elections;
mod overlap;
mod report;
mod shutdown;
mod webhooks;

#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod election_metrics_tests;
#[cfg(test)]
mod overlap_tests;
#[cfg(test)]
mod shutdown_tests;

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{consumers::ControllerSettings, settings::Settings},
    controllers::{self, Deps},
    manager::{
        ControllerRunner, ControllerState, ControllerStates, HealthGate, KindProbe, RunnerContext,
        ShutdownOutcome, Signals, TermClient,
    },
    server::{MetricsServer, ProbeServer, Probes, metrics::Secure, tls::ReadCounter},
    telemetry,
};
use kube_fenced_election::{
    clock::{BootClock, ClockCheck, SharedClock, SystemClock},
    fence::Fence,
};
use kube_loops::{
    chain::Chain,
    cluster::{client, client::Clients, discovery::Discovery},
    metrics::{Metrics, MetricsError},
    runtime::{
        controller::{Controller, FencedClient},
        metrics::RuntimeMetrics,
        tasks::TaskSet,
        watches::Watches,
    },
};

use self::{
    election_metrics::ElectionMetrics,
    elections::Elections,
    report::Report,
    shutdown::{Runnables, run_until_signal},
    webhooks::{ProcessTasks, Webhooks},
};

/// How long webhooks are answered after the signal, at least: until the API server sends reviews to other replicas.
const DRAIN_DELAY: Duration = Duration::from_secs(3);
/// Part of `--graceful-shutdown-timeout` in which Leases are released and events are sent, after the passes have ended.
const FLUSH_BUDGET: Duration = Duration::from_millis(1500);

/// Runs the manager with these settings until a signal ends it.
pub(crate) fn run(settings: Settings) -> ExitCode {
    let clock: SharedClock = Arc::new(SystemClock);
    if let Err(error) = telemetry::init(&settings.log, Arc::clone(&clock)) {
        tracing::error!(error = %error, "unable to set up logging");
        return ExitCode::FAILURE;
    }
    telemetry::log_panics();
    // Two threads do: passes wait far more than they compute, and each thread has its own allocation caches.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(serve(settings, clock));
            // Whatever still runs ends with the process; a blocked thread must not hold it.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(anyhow::Error::new(error).context("unable to start the runtime")),
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "problem running manager");
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: Settings, clock: SharedClock) -> anyhow::Result<ExitCode> {
    for notice in &settings.notices {
        notice.log();
    }
    let mut signals = Signals::new().context("unable to handle signals")?;
    let metrics = Metrics::new();
    telemetry::process::register(&metrics).context("unable to set up metrics")?;
    let shutdown = CancellationToken::new();
    let closing = CancellationToken::new();
    let election_clock: SharedClock = Arc::new(BootClock);
    let clock_check = ClockCheck::new(Arc::clone(&election_clock), settings.election.lease_duration);
    let report = Report::new(Arc::clone(&election_clock), shutdown.clone(), settings.election.lease_duration);
    let webhooks = settings.webhook.as_ref().map(Webhooks::new);
    report.add_ready_check(webhooks.as_ref().map(Webhooks::check));
    let servers = start_servers(&settings, &metrics, &report, &closing).await?;
    let process = ProcessTasks { servers: &servers, shutdown: &shutdown, closing: &closing };
    if let Some(webhooks) = &webhooks {
        Webhooks::start(webhooks, &metrics, &clock, &process).await?;
        if !webhooks.manages_certificates() {
            Webhooks::read_files(webhooks, certificate_reads(&metrics)?, &process);
        }
    } else {
        tracing::info!("webhook setup skipped due to --disable-webhook flag");
    }

    let requests = metrics.int_counter(
        "rest_client_requests_total",
        "Number of HTTP requests, partitioned by status code, method, and host.",
        &["code", "method", "host"],
    )?;
    let clients = Clients::new(&settings.client, &requests, Some(&clock_check)).await?;
    tracing::info!("{}", clients.source());
    let host = Host::new(&settings, &clock, &metrics, &clients, &shutdown)?;
    if let Some(webhooks) = &webhooks {
        webhooks.read_with(clients.process());
    }
    let managed = webhooks.as_ref().filter(|webhooks| webhooks.manages_certificates());
    // Held until the end: the webhook server needs certificates as long as it answers reviews.
    let certificates =
        managed.map(|webhooks| webhooks.manage_certificates(clients.process(), host.watches.clone(), &clock));
    let elections = Elections::start(&settings, &host, election_clock, clock_check)?;
    report.set_sources(elections.statuses.clone(), Arc::clone(&host.states), not_running(&settings, &host));

    tracing::info!("starting manager");
    let runners: TaskSet<ShutdownOutcome> = TaskSet::new();
    for (controller, handle, workers) in elections.runners {
        let runner = ControllerRunner::new(controller, handle, workers, host.runner_context.clone());
        runners.spawn(runner_name(&runner), runner.run());
    }
    let timeout = settings.shutdown.timeout;
    let parts = Runnables {
        timeout,
        drain_delay: webhooks
            .map_or(Duration::ZERO, |_| DRAIN_DELAY.min(timeout.saturating_sub(FLUSH_BUDGET))),
        shutdown,
        closing,
        runners,
        electors: elections.electors,
        _election_thread: elections.thread,
        background: elections.background,
        senders: elections.senders,
        recorders: elections.recorders,
        servers,
        report,
    };
    let code = run_until_signal(parts, &mut signals).await;
    drop(certificates);
    Ok(code)
}

fn runner_name(runner: &ControllerRunner) -> String {
    format!("{runner:?}")
}

/// Controllers that have an entry in `/debug/leases` without an election: this build lacks them.
fn not_running(settings: &Settings, host: &Host) -> Vec<&'static str> {
    let lacking = settings.controllers.iter().filter(|it| it.enabled).map(|it| it.name);
    lacking.filter(|name| host.states.get(name) == Some(ControllerState::NotBuilt)).collect()
}

/// What controllers and elections of the process share.
struct Host {
    clock: SharedClock,
    metrics: Metrics,
    clients: Clients,
    watches: Watches,
    states: Arc<ControllerStates>,
    election_metrics: ElectionMetrics,
    controllers: Vec<Arc<dyn Controller>>,
    runner_context: RunnerContext,
}

impl Host {
    fn new(
        settings: &Settings,
        clock: &SharedClock,
        metrics: &Metrics,
        clients: &Clients,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let gauge = metrics.int_gauge(
            "aibrix_controller_state",
            "Where the life of a controller stands: 1 for its state, 0 for the others.",
            &["controller", "state"],
        )?;
        let states = Arc::new(ControllerStates::new(gauge));
        let runtime_metrics = RuntimeMetrics::register_with_prefix(metrics.registry(), "aibrix_")?;
        let warm = settings.warm_standby;
        let watches = Watches::new(clients.reader(), Arc::clone(clock), runtime_metrics.clone(), warm)
            .in_namespaces(&settings.watch_namespaces);
        let discovery = Arc::new(Discovery::new(clients.reader(), Arc::clone(clock)));
        // As in the requests to the API server: engines can tell replicas apart, and so can tests.
        let agent = client::user_agent(&settings.client.program, "engines", &settings.client.identity);
        let mut deps = Deps::new(watches.clone(), runtime_metrics, metrics, &agent, settings.loops.clone())
            .context("could not make the client towards engines")?;
        deps.engine = deps.engine.resetting_after(settings.election.longest_unacknowledged());
        let controllers = enabled_controllers(settings, &deps, &states)
            .context("could not register the metrics of the controllers")?;
        for controller in &controllers {
            let workers = workers_of(settings, controller.spec().name);
            for spec in controller.loops() {
                deps.metrics.start_at_zero(spec, workers.unwrap_or(spec.workers));
            }
        }
        let election_metrics = ElectionMetrics::register(metrics.registry())?;
        let runner_context = RunnerContext {
            clock: Arc::clone(clock),
            client: term_client(settings, clients, &election_metrics),
            probe: kind_probe(discovery),
            states: Arc::clone(&states),
            shutdown: shutdown.clone(),
            drain_budget: settings.shutdown.timeout.saturating_sub(FLUSH_BUDGET),
            warm_standby: warm,
            health_gate: HealthGate::default(),
        };
        let (clock, metrics, clients) = (Arc::clone(clock), metrics.clone(), clients.clone());
        Ok(Self { clock, metrics, clients, watches, states, election_metrics, controllers, runner_context })
    }
}

/// The enabled controllers that this build contains; logs the others.
fn enabled_controllers(
    settings: &Settings,
    deps: &Deps,
    states: &ControllerStates,
) -> Result<Vec<Arc<dyn Controller>>, MetricsError> {
    let mut enabled = Vec::new();
    for ControllerSettings { name, .. } in settings.controllers.iter().filter(|it| it.enabled) {
        let played = probe_controller(settings, deps, name);
        if let Some(controller) =
            played.map_or_else(|| controllers::by_name(name, deps), |it| Ok(Some(it)))?
        {
            enabled.push(controller);
        } else {
            tracing::warn!(
                controller = name,
                "this build does not contain the controller yet, it takes no lease"
            );
            states.set(name, ControllerState::NotBuilt);
        }
    }
    Ok(enabled)
}

/// With `--probe-loops`, in test builds: a loop that leaves marks an audit log can judge.
#[cfg(feature = "testkit")]
fn probe_controller(settings: &Settings, deps: &Deps, name: &'static str) -> Option<Arc<dyn Controller>> {
    use crate::testkit::probe::{self, ProbeDeps};
    (settings.probe_loops && probe::PLAYED.contains(&name)).then(|| {
        let deps = ProbeDeps {
            watches: deps.watches.clone(),
            metrics: deps.metrics.clone(),
            namespace: settings.election.namespace.clone(),
            identity: settings.election.identity.clone(),
        };
        probe::controller(name, &deps)
    })
}

#[cfg(not(feature = "testkit"))]
fn probe_controller(_: &Settings, _: &Deps, _: &'static str) -> Option<Arc<dyn Controller>> {
    None
}

fn workers_of(settings: &Settings, controller: &str) -> Option<usize> {
    settings.controllers.iter().find(|it| it.name == controller)?.workers
}

fn term_client(settings: &Settings, clients: &Clients, metrics: &ElectionMetrics) -> TermClient {
    let (clients, fenced) = (clients.clone(), metrics.fenced_requests());
    let leases: Vec<_> = settings.controllers.iter().map(|it| (it.name, it.lease.clone())).collect();
    let unacknowledged = settings.election.longest_unacknowledged();
    Arc::new(move |controller: &'static str, fence: &Fence| {
        let lease = leases.iter().find(|(name, _)| *name == controller).map(|(_, lease)| lease.clone());
        let (lease, fenced) = (lease.unwrap_or_default(), fenced.clone());
        let refused = Arc::new(move |method: &http::Method| {
            fenced.with_label_values(&[lease.as_str(), method.as_str()]).inc();
        });
        FencedClient(clients.fenced(controller, fence, refused, unacknowledged))
    })
}

fn kind_probe(discovery: Arc<Discovery>) -> KindProbe {
    Arc::new(move |kind| {
        let discovery = Arc::clone(&discovery);
        async move {
            let served = discovery.is_served(kind.group, kind.version, kind.plural).await;
            served.map_err(|error| Chain(&error).to_string())
        }
        .boxed()
    })
}

/// Binds the listeners and starts to serve.
async fn start_servers(
    settings: &Settings,
    metrics: &Metrics,
    report: &Arc<Report>,
    closing: &CancellationToken,
) -> anyhow::Result<TaskSet<()>> {
    let servers = TaskSet::new();
    if let Some(address) = settings.server.probes.address() {
        let probes: Probes = Report::probes(report);
        let server =
            ProbeServer::bind(address, probes).await.context("unable to start the health probe server")?;
        let closing = closing.clone();
        servers.spawn("health probe server", async move {
            if let Err(error) = server.serve(closing).await {
                tracing::error!(error = %Chain(&error), "health probe server failed");
            }
        });
    }
    if let Some(address) = settings.server.metrics.address() {
        let rendered = metrics.clone();
        let secure = secure_metrics(settings, metrics)?;
        let render = Arc::new(move || rendered.render());
        tracing::info!("Starting metrics server");
        let server = MetricsServer::bind(address, render, secure)
            .await
            .context("unable to start the metrics server")?;
        let closing = closing.clone();
        servers.spawn("metrics server", async move {
            if let Err(error) = server.serve(closing).await {
                tracing::error!(error = %Chain(&error), "metrics server failed");
            }
        });
    }
    Ok(servers)
}

fn secure_metrics(settings: &Settings, metrics: &Metrics) -> anyhow::Result<Option<Secure>> {
    let counter = certificate_reads(metrics)?;
    if !settings.server.metrics_secure {
        return Ok(None);
    }
    let (cert_dir, http2) = (settings.server.metrics_cert_dir.clone(), settings.server.enable_http2);
    Ok(Some(Secure { cert_dir, http2, counter }))
}

/// Counts how often certificates are read from files, of whichever server.
fn certificate_reads(metrics: &Metrics) -> anyhow::Result<ReadCounter> {
    let name = "certwatcher_read_certificate";
    let reads = metrics.int_counter(&format!("{name}_total"), "Total number of certificate reads", &[])?;
    let errors = metrics.int_counter(
        &format!("{name}_errors_total"),
        "Total number of certificate read errors",
        &[],
    )?;
    let (reads, errors) = (reads.with_label_values::<&str>(&[]), errors.with_label_values::<&str>(&[]));
    Ok(Arc::new(move |well: bool| {
        reads.inc();
        if !well {
            errors.inc();
        }
    }))
}

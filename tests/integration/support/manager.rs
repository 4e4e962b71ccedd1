// SPDX-License-Identifier: Apache-2.0
//! The manager's binary as a process of the test.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use anyhow::Result;
use serde_json::Value;
use tokio::{sync::Mutex, time::Instant};

use super::{
    ControlPlane,
    http::{self, Answer},
    ports::free_port,
    process::{Process, Signal},
    wait::{eventually, instant},
};

/// How a manager is started.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// Its kubeconfig.
    pub(crate) kubeconfig: PathBuf,
    /// `POD_NAME`: the left part of its identity.
    pub(crate) pod_name: String,
    /// Arguments. Those for kubeconfig and listeners are added after them, and the last one counts.
    pub(crate) args: Vec<String>,
    /// Further environment variables.
    pub(crate) env: Vec<(String, String)>,
    /// Another binary than ours.
    pub(crate) binary: Option<PathBuf>,
    /// Another network namespace than the sandbox's.
    pub(crate) network: Option<PathBuf>,
    /// Where it prints.
    pub(crate) log: PathBuf,
    /// The address on which it serves metrics and probes.
    pub(crate) address: String,
    /// Its ports for metrics, probes and webhooks; free ones when `None`.
    pub(crate) ports: Option<Ports>,
}

/// Where a manager listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) metrics: u16,
    pub(crate) probes: u16,
    pub(crate) webhooks: u16,
}

impl Ports {
    /// Those of the shipped manifests.
    pub(crate) const SHIPPED: Self = Self { metrics: 8080, probes: 8081, webhooks: 9443 };

    fn free() -> Self {
        Self { metrics: free_port(), probes: free_port(), webhooks: free_port() }
    }
}

impl Launch {
    /// The manager as its own `ServiceAccount`, with a pod name that is unique in the control plane.
    pub(crate) async fn new(plane: &ControlPlane, args: &[&str]) -> Self {
        let kubeconfig = plane.manager_kubeconfig().await;
        let pod_name = format!("manager-{}", plane.next_number());
        Self {
            log: plane.new_path(&format!("{pod_name}.log")),
            kubeconfig,
            pod_name,
            args: args.iter().map(|&it| it.to_owned()).collect(),
            env: Vec::new(),
            binary: None,
            network: None,
            address: "127.0.0.1".to_owned(),
            ports: None,
        }
    }

    /// The manager of a pod that kwok pretends to run: the pod's name, its address, the shipped arguments and
    /// ports.
    pub(crate) async fn in_pod(plane: &ControlPlane, pod_name: &str, address: &str) -> Self {
        let args = plane.shipped_arguments().await;
        Self {
            pod_name: pod_name.to_owned(),
            log: plane.new_path(&format!("{pod_name}.log")),
            args,
            address: address.to_owned(),
            ports: Some(Ports::SHIPPED),
            ..Self::new(plane, &[]).await
        }
    }

    /// The same through a proxy in front of the API server.
    pub(crate) async fn through(plane: &ControlPlane, port: u16, args: &[&str]) -> Self {
        let kubeconfig =
            plane.kubeconfig_through(port, super::install::NAMESPACE, super::install::NAME).await;
        Self { kubeconfig, ..Self::new(plane, args).await }
    }

    /// Starts it; does not wait for anything.
    ///
    /// # Panics
    /// When the binary cannot be started.
    pub(crate) fn start(&self) -> Manager {
        let ports = self.ports.unwrap_or_else(Ports::free);
        let Ports { metrics, probes, webhooks } = ports;
        let mut args = self.args.clone();
        args.push(format!("--kubeconfig={}", self.kubeconfig.display()));
        args.push(format!("--metrics-bind-address={}:{metrics}", self.address));
        args.push(format!("--health-probe-bind-address={}:{probes}", self.address));
        // Other binaries need not know these, and serve none in tests.
        if self.binary.is_none() {
            args.push(format!("--webhook-host={}", self.address));
            args.push(format!("--webhook-port={webhooks}"));
        }
        let mut env: Vec<(&str, String)> = vec![("POD_NAME", self.pod_name.clone())];
        env.extend(self.env.iter().map(|(key, value)| (key.as_str(), value.clone())));
        let mut program = self.binary.clone().unwrap_or_else(binary);
        if let Some(network) = &self.network {
            // It becomes the manager: the same process.
            let enter =
                [format!("--net={}", network.display()), "--".to_owned(), program.display().to_string()];
            args.splice(0..0, enter);
            program = PathBuf::from("nsenter");
        }
        let process = Process::spawn(&program, args, &env, &self.log)
            .unwrap_or_else(|error| panic!("start a manager: {error:#}"));
        let (pod_name, address) = (self.pod_name.clone(), self.address.clone());
        Manager { process, pod_name, address, ports, asked_metrics: Mutex::default() }
    }
}

/// A running manager. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Manager {
    process: Process,
    pod_name: String,
    address: String,
    ports: Ports,
    /// When its metrics were asked for last.
    asked_metrics: Mutex<Option<Instant>>,
}

impl Manager {
    /// Starts a manager with `args`, as its own `ServiceAccount`.
    pub(crate) async fn start(plane: &ControlPlane, args: &[&str]) -> Self {
        Launch::new(plane, args).await.start()
    }

    /// `POD_NAME`.
    pub(crate) fn pod_name(&self) -> &str {
        &self.pod_name
    }

    /// Whether the holder of a Lease is this process.
    pub(crate) fn is(&self, holder: &str) -> bool {
        holder.strip_prefix(&self.pod_name).is_some_and(|rest| rest.starts_with('_'))
    }

    /// Where it answers admission reviews.
    pub(crate) fn webhooks(&self) -> SocketAddr {
        SocketAddr::new(self.address.parse().expect("an address"), self.ports.webhooks)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where it serves metrics.
    pub(crate) fn metrics_url(&self) -> String {
        format!("http://{}:{}/metrics", self.address, self.ports.metrics)
    }

    /// Everything that it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.process.output()
    }

    /// Waits for a line of its log that contains `text`, and returns the line.
    ///
    /// # Panics
    /// When there is none within `within`; the message holds the last lines.
    pub(crate) async fn wait_for_line(&self, within: Duration, text: &str) -> String {
        eventually(within, &format!("{} logs {text:?}", self.pod_name), async || {
            let log = self.log();
            let line = log.lines().find(|line| line.contains(text)).map(str::to_owned);
            line.ok_or_else(|| format!("\n{}", self.process.last_lines(20)))
        })
        .await
    }

    /// `GET` on the health port, such as `/readyz?verbose`.
    ///
    /// # Errors
    /// No answer.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer> {
        http::get(&format!("http://{}:{}{path}", self.address, self.ports.probes)).await
    }

    /// Waits until `/readyz` answers 200.
    pub(crate) async fn wait_ready(&self) {
        eventually(Duration::from_mins(1), &format!("{} is ready", self.pod_name), async || {
            match self.get("/readyz?verbose").await {
                Ok(answer) if answer.code == 200 => Ok(()),
                Ok(answer) => Err(answer.body),
                Err(error) => Err(format!("{error:#}\n{}", self.process.last_lines(20))),
            }
        })
        .await;
    }

    /// What `/metrics` says now.
    ///
    /// # Errors
    /// No answer.
    pub(crate) async fn metrics(&self) -> Result<String> {
        // A page is good for a second: one that is asked for earlier may be older than the question.
        let mut asked = self.asked_metrics.lock().await;
        if let Some(last) = *asked {
            tokio::time::sleep_until(last + Duration::from_secs(1)).await;
        }
        let page = http::get(&self.metrics_url()).await;
        *asked = Some(instant());
        Ok(page?.body)
    }

    /// The value of the series that is written `series`, such as `up{name="x"}`, labels as printed; `None`
    /// when there is no such series.
    ///
    /// # Errors
    /// No answer.
    pub(crate) async fn metric(&self, series: &str) -> Result<Option<f64>> {
        Ok(value_of(&self.metrics().await?, series))
    }

    /// What `/debug/leases` says.
    ///
    /// # Errors
    /// No answer.
    pub(crate) async fn leases(&self) -> Result<Value> {
        Ok(self.get("/debug/leases").await?.json())
    }

    /// Asks it to stop.
    pub(crate) fn sigterm(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Kills it.
    pub(crate) fn sigkill(&self) {
        self.process.kill();
    }

    /// Freezes it.
    pub(crate) fn sigstop(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Wakes it.
    pub(crate) fn sigcont(&self) {
        self.process.signal(Signal::CONT);
    }

    /// How it ended; `None` while it runs.
    pub(crate) fn exit_status(&self) -> Option<ExitStatus> {
        self.process.exit_status()
    }

    /// Waits for its end and returns the exit code; `None` when a signal ended it.
    ///
    /// # Panics
    /// When it runs longer than `within`; the message holds its last lines.
    pub(crate) async fn wait_exit(&self, within: Duration) -> Option<i32> {
        let status = self.process.wait_exit(within).await;
        let status = status.unwrap_or_else(|| {
            panic!("{} did not end within {within:?}:\n{}", self.pod_name, self.process.last_lines(20))
        });
        status.code()
    }
}

/// The value of a series on a page of metrics.
pub(crate) fn value_of(page: &str, series: &str) -> Option<f64> {
    let value = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.and_then(|value| value.trim().parse().ok())
}

/// The manager's binary of this build.
pub(crate) fn binary() -> PathBuf {
    if let Some(path) = option_env!("CARGO_BIN_EXE_aibrix-controller-manager") {
        return PathBuf::from(path);
    }
    // In an example: target/<profile>/examples/<name>.
    let own = std::env::current_exe().expect("a running program has a path");
    let profile = own.parent().and_then(Path::parent).expect("an example lies two folders deep");
    profile.join("aibrix-controller-manager")
}

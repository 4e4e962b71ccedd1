// SPDX-License-Identifier: Apache-2.0
//! etcd, kube-apiserver and friends as child processes.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use ::http::{Method, Request};
use anyhow::{Context, Result, ensure};
use k8s_openapi::{ByteString, api::core::v1::Node};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::{
    audit::AuditLog,
    http, kubeconfig, objects, parts,
    ports::{free_port, require_sandbox},
    preconditions::Preconditions,
    process::{Process, Signal},
    tools::program,
    wait::{eventually, within_deadline},
};

/// The administrator's token.
pub(super) const ADMIN_TOKEN: &str = "dev-admin";
/// How long a part may take to come up; seconds are usual, this bounds a machine that is overloaded.
pub(super) const START: Duration = Duration::from_mins(2);

/// What runs beside etcd and kube-apiserver.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// kube-controller-manager: Deployments get `ReplicaSet`s and pods, HPAs act, owned objects are collected.
    pub(crate) controller_manager: bool,
    /// kube-scheduler: pods get nodes.
    pub(crate) scheduler: bool,
    /// kwok: scheduled pods run and get addresses of 10.244.0.0/16, within a second.
    pub(crate) kwok: bool,
    /// Nodes to create, `node-0` and so on; they need kwok to be ready.
    pub(crate) nodes: usize,
    /// Further flags of kube-apiserver.
    pub(crate) apiserver_args: Vec<String>,
}

impl Options {
    /// etcd and kube-apiserver alone: ready in about 4 s.
    pub(crate) fn bare() -> Self {
        Self::default()
    }

    /// Everything, with three nodes: Deployments make pods that become ready.
    pub(crate) fn full() -> Self {
        Self { controller_manager: true, scheduler: true, kwok: true, nodes: 3, ..Self::default() }
    }
}

/// A running control plane. Dropping it kills all of it, and fails when a process of ours has asked for a change without
/// a precondition; one that tests share fails when the next of them asks for a namespace.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    // The order of the fields is the order of their ends: without etcd, kube-apiserver lingers.
    others: Vec<Process>,
    apiserver: Mutex<Option<Process>>,
    etcd: Mutex<Process>,
    options: Options,
    etcd_port: u16,
    port: u16,
    names: AtomicU32,
    admin: PathBuf,
    preconditions: Mutex<Preconditions>,
    dir: TempDir,
}

/// The control plane that all tests of a binary may share: everything runs, and the manager's namespace,
/// CRDs and roles are installed. Tests that use it keep to a namespace of their own
/// ([`ControlPlane::namespace`]) and run no manager with all controllers.
pub(crate) async fn shared() -> &'static ControlPlane {
    static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
    SHARED
        .get_or_init(async || {
            let plane = ControlPlane::start(Options::full()).await;
            plane.install_without_storm_services().await;
            plane
        })
        .await
}

impl ControlPlane {
    /// Starts what `options` ask for and waits until it serves.
    ///
    /// # Panics
    /// Outside the sandbox, and when a part does not come up; the message holds its last lines.
    pub(crate) async fn start(options: Options) -> Self {
        require_sandbox();
        Self::try_start(options).await.unwrap_or_else(|error| panic!("start a control plane: {error:#}"))
    }

    async fn try_start(options: Options) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("plane-").tempdir().context("make a folder")?;
        parts::write_files(dir.path())?;
        let (etcd_port, port) = (free_port(), free_port());
        let etcd = parts::start_etcd(dir.path(), etcd_port).await?;
        let apiserver = parts::start_apiserver(dir.path(), &options, etcd_port, port)?;
        let mut plane = Self {
            others: Vec::new(),
            admin: dir.path().join("admin.kubeconfig"),
            apiserver: Mutex::new(Some(apiserver)),
            etcd: Mutex::new(etcd),
            options,
            etcd_port,
            port,
            names: AtomicU32::new(0),
            preconditions: Mutex::default(),
            dir,
        };
        plane.wait_ready().await?;
        plane.create_nodes().await?;
        plane.others = parts::start_others(plane.dir.path(), &plane.options, &plane.admin)?;
        if plane.options.kwok && plane.options.nodes > 0 {
            plane.wait_nodes().await?;
        }
        Ok(plane)
    }

    /// A client of the administrator (`system:masters`), with connections of its own: one made on the
    /// runtime of another test would end with that test.
    pub(crate) async fn client(&self) -> Client {
        kubeconfig::client(&self.admin).await.unwrap_or_else(|error| panic!("make a client: {error:#}"))
    }

    /// The administrator's kubeconfig.
    pub(crate) fn admin_kubeconfig(&self) -> &Path {
        &self.admin
    }

    /// The folder of its files; gone when the control plane is.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The API server's port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What the API server has logged about requests so far and from now on. Each read waits until the log
    /// holds what could be seen before it.
    pub(crate) fn audit(&self) -> AuditLog {
        AuditLog::of_server(self.dir.path().join("audit.log"), self.admin.clone())
    }

    /// A new file's path in [`Self::dir`], with a number that makes it unique.
    pub(crate) fn new_path(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{}-{name}", self.next_number()))
    }

    /// A number that this control plane gives out once.
    pub(crate) fn next_number(&self) -> u32 {
        self.names.fetch_add(1, Ordering::Relaxed)
    }

    /// The changes that a process of ours has asked for without a precondition since the last call.
    pub(crate) fn unguarded(&self) -> Vec<String> {
        self.preconditions.lock().missing(&self.dir().join("audit.log"))
    }

    fn assert_guarded(&self) {
        let unguarded = self.unguarded();
        assert!(unguarded.is_empty(), "changes without a precondition:\n{}", unguarded.join("\n"));
    }

    /// Creates a namespace whose name starts with `prefix` and is unique, and returns its name.
    pub(crate) async fn namespace(&self, prefix: &str) -> String {
        self.assert_guarded();
        let name = format!("{prefix}-{}", self.next_number());
        objects::create(&self.client().await, &objects::namespace(&name)).await;
        name
    }

    /// Runs `kubectl` as administrator and returns what it printed on stdout.
    ///
    /// # Errors
    /// Its stderr, when it ends with another code than 0.
    pub(crate) async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(program("kubectl"));
        command.arg("--kubeconfig").arg(&self.admin).arg("--cache-dir").arg(self.dir().join("kubectl-cache"));
        command.args(args);
        let output = tokio::task::spawn_blocking(move || command.output()).await?.context("run kubectl")?;
        ensure!(
            output.status.success(),
            "kubectl {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Kills the API server. Its data stays in etcd.
    pub(crate) fn stop_apiserver(&self) {
        drop(self.apiserver.lock().take());
    }

    /// Starts the API server again at the same address, after [`Self::stop_apiserver`] or in place of the
    /// running one, and waits until it is ready.
    pub(crate) async fn restart_apiserver(&self) {
        self.stop_apiserver();
        let started = parts::start_apiserver(self.dir(), &self.options, self.etcd_port, self.port)
            .unwrap_or_else(|error| panic!("restart the API server: {error:#}"));
        *self.apiserver.lock() = Some(started);
        self.wait_ready().await.unwrap_or_else(|error| panic!("restart the API server: {error:#}"));
    }

    /// Freezes (`SIGSTOP`) or wakes (`SIGCONT`) the API server.
    pub(crate) fn signal_apiserver(&self, signal: Signal) {
        if let Some(apiserver) = self.apiserver.lock().as_ref() {
            apiserver.signal(signal);
        }
    }

    /// Freezes (`SIGSTOP`) or wakes (`SIGCONT`) etcd.
    pub(crate) fn signal_etcd(&self, signal: Signal) {
        self.etcd.lock().signal(signal);
    }

    /// Copies the database as it is now, for [`Self::restore`].
    pub(crate) fn backup(&self) -> PathBuf {
        let copy = self.new_path("etcd");
        self.signal_etcd(Signal::STOP);
        copy_folder(&self.dir().join("etcd"), &copy)
            .unwrap_or_else(|error| panic!("copy the database: {error}"));
        self.signal_etcd(Signal::CONT);
        copy
    }

    /// Puts a copy of the database into its place, with all servers stopped, and starts them again at the same
    /// addresses.
    pub(crate) async fn restore(&self, backup: &Path) {
        self.stop_apiserver();
        self.etcd.lock().kill();
        let folder = self.dir().join("etcd");
        std::fs::remove_dir_all(&folder).expect("remove the database");
        copy_folder(backup, &folder).unwrap_or_else(|error| panic!("copy the database: {error}"));
        let etcd = parts::start_etcd(self.dir(), self.etcd_port).await;
        *self.etcd.lock() = etcd.unwrap_or_else(|error| panic!("start etcd again: {error:#}"));
        self.restart_apiserver().await;
    }

    /// Stores an object as it is, with its uid, times, field managers and status, past the API server. `resource`: what
    /// etcd calls its kind, such as `pods`.
    pub(crate) async fn store(&self, resource: &str, object: &Value) {
        let text = |of: &str| serde_json::to_value(ByteString(of.as_bytes().to_vec())).expect("base64");
        let part = |name: &str| object["metadata"][name].as_str().expect("namespace and name");
        let key = format!("/registry/{resource}/{}/{}", part("namespace"), part("name"));
        let put = json!({"key": text(&key), "value": text(&object.to_string())});
        let url = format!("http://127.0.0.1:{}/v3/kv/put", self.etcd_port);
        let answer = http::send(Method::POST, &url, Some(&put)).await.expect("ask etcd");
        assert_eq!(answer.code, 200, "{}", answer.body);
    }

    /// Resident memory is asked of these, by name: (program, process id).
    pub(crate) fn processes(&self) -> Vec<(String, u32)> {
        let apiserver = self.apiserver.lock().as_ref().map(|it| (it.name().to_owned(), it.pid()));
        let others = self.others.iter().map(|it| (it.name().to_owned(), it.pid()));
        let etcd = self.etcd.lock();
        apiserver.into_iter().chain([(etcd.name().to_owned(), etcd.pid())]).chain(others).collect()
    }

    async fn wait_ready(&self) -> Result<()> {
        let certificate = self.dir().join("certs/apiserver.crt");
        let ready = within_deadline(START, async || {
            if let Some(status) = self.apiserver.lock().as_ref().and_then(Process::exit_status) {
                return Ok(Err(status)); // no need to wait for the deadline
            }
            if !certificate.exists() {
                return Err("it has not made its certificate yet".to_owned());
            }
            let server = format!("https://127.0.0.1:{}", self.port);
            kubeconfig::write(&self.admin, &server, &certificate, ADMIN_TOKEN)
                .map_err(|error| error.to_string())?;
            let client = kubeconfig::client(&self.admin).await.map_err(|error| format!("{error:#}"))?;
            let request = Request::get("/readyz").body(Vec::new()).map_err(|error| error.to_string())?;
            client.request_text(request).await.map(|_| Ok(())).map_err(|error| error.to_string())
        })
        .await;
        let log = |process: &Process| process.last_lines(15);
        let lines = || {
            let apiserver = self.apiserver.lock();
            format!("{}\n{}", apiserver.as_ref().map(log).unwrap_or_default(), log(&self.etcd.lock()))
        };
        match ready {
            Ok(Ok(())) => Ok(()),
            Ok(Err(status)) => anyhow::bail!("kube-apiserver ended with {status}:\n{}", lines()),
            Err(seen) => anyhow::bail!("kube-apiserver is not ready: {seen}:\n{}", lines()),
        }
    }

    async fn create_nodes(&self) -> Result<()> {
        let nodes: Api<Node> = Api::all(self.client().await);
        for n in 0..self.options.nodes {
            let node = json!({"metadata": {"name": format!("node-{n}"), "labels": {
                "kubernetes.io/hostname": format!("node-{n}"), "kubernetes.io/os": "linux",
            }}});
            let node: Node = serde_json::from_value(node).context("build a node")?;
            nodes.create(&PostParams::default(), &node).await.context("create a node")?;
        }
        Ok(())
    }

    async fn wait_nodes(&self) -> Result<()> {
        let nodes: Api<Node> = Api::all(self.client().await);
        let want = self.options.nodes;
        within_deadline(START, async || {
            if let Some(dead) = self.others.iter().find(|it| it.exit_status().is_some()) {
                return Ok(Err(dead.last_lines(80))); // a crash tells its cause first
            }
            let list = nodes.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            let ready = list.iter().filter(|node| node_is_ready(node)).count();
            if ready == want { Ok(Ok(())) } else { Err(format!("{ready} of {want} nodes are ready")) }
        })
        .await
        .unwrap_or_else(Err)
        .map_err(|seen| {
            let lines: Vec<_> = self.others.iter().map(|it| it.last_lines(15)).collect();
            let lines = lines.join("\n");
            anyhow::anyhow!("{seen}\n{lines}")
        })
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_guarded();
        }
    }
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&path, &copy)?;
        } else {
            std::fs::copy(&path, &copy)?;
        }
    }
    Ok(())
}

fn node_is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|it| it.type_ == "Ready" && it.status == "True"))
}

/// Waits until the API server answers a request of `client`.
pub(crate) async fn answers(client: &Client) {
    eventually(START, "the API server answers", async || {
        client.apiserver_version().await.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

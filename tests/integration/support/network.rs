// SPDX-License-Identifier: Apache-2.0
//! A network of its own for a manager, joined to the sandbox's by a cable that can be pulled.
//!
//! Unlike a proxy that stops to forward, a pulled cable leaves requests in the sockets of the manager's own kernel, which
//! sends them again when the cable is back.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    ControlPlane, Options,
    manager::Launch,
    process::{Process, read_lossy},
    wait::eventually,
};

/// A network namespace with one interface.
#[derive(Debug)]
pub(crate) struct Network {
    /// Keeps the namespace.
    keeper: Process,
    number: u8,
}

impl Options {
    /// The API server answers at every address of the sandbox, for managers in a [`Network`].
    pub(crate) fn reachable(mut self) -> Self {
        self.apiserver_args.push("--bind-address=0.0.0.0".to_owned());
        self
    }
}

impl Network {
    /// A new network whose cable is plugged in.
    ///
    /// # Panics
    /// Where the sandbox may not make network namespaces.
    pub(crate) async fn new(plane: &ControlPlane) -> Self {
        static NUMBERS: AtomicU8 = AtomicU8::new(1);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let log = plane.new_path("network.log");
        let keeper = Process::spawn(Path::new("unshare"), ["--net", "sleep", "infinity"], &[], &log)
            .unwrap_or_else(|error| panic!("make a network namespace: {error:#}"));
        let network = Self { keeper, number };
        let of = |path: &Path| std::fs::read_link(path).map_err(|error| error.to_string());
        let own = of(Path::new("/proc/self/ns/net")).expect("a network namespace");
        eventually(Duration::from_secs(10), "there is a network namespace", async || {
            let its = of(&network.namespace())?;
            if its == own { Err("not yet".to_owned()) } else { Ok(()) }
        })
        .await;
        let (cable, pid) = (network.cable(), network.keeper.pid().to_string());
        let inside = format!("--net={}", network.namespace().display());
        let enter = |args: &str| run("nsenter", &format!("{inside} -- ip {args}"));
        run("ip", &format!("link add {cable} type veth peer name cable netns {pid}"));
        run("ip", &format!("address add {}/30 dev {cable}", network.address_outside()));
        run("ip", &format!("link set {cable} up"));
        enter("link set lo up");
        enter(&format!("address add {}/30 dev cable", network.address()));
        enter("link set cable up");
        enter(&format!("route add default via {}", network.address_outside()));
        network
    }

    /// The manager runs in this network, and reaches what its kubeconfig names, and the pods, through the cable.
    pub(crate) fn hosts(&self, plane: &ControlPlane, mut launch: Launch) -> Launch {
        let mut config: Value =
            serde_json::from_str(&read_lossy(&launch.kubeconfig)).expect("a kubeconfig in JSON");
        let cluster = &mut config["clusters"][0]["cluster"];
        let server = cluster["server"].as_str().expect("a server").to_owned();
        cluster["server"] = json!(server.replace("127.0.0.1", &self.address_outside()));
        cluster["tls-server-name"] = json!("kubernetes.default.svc");
        launch.kubeconfig = plane.new_path("networked.kubeconfig");
        std::fs::write(&launch.kubeconfig, config.to_string()).expect("write a kubeconfig");
        launch.address = self.address();
        launch.network = Some(self.namespace());
        launch
    }

    /// Pulls the cable: nothing arrives any more, in either direction.
    pub(crate) fn pull(&self) {
        run("ip", &format!("link set {} down", self.cable()));
    }

    /// Plugs it in again.
    pub(crate) fn plug_in(&self) {
        run("ip", &format!("link set {} up", self.cable()));
    }

    /// Waits until no socket in there holds anything that has not arrived.
    pub(crate) async fn until_all_is_delivered(&self, within: Duration) {
        eventually(within, "everything is delivered", async || {
            let sockets = ["tcp", "tcp6"].map(|it| format!("/proc/{}/net/{it}", self.keeper.pid()));
            let text: String = sockets.iter().map(|path| read_lossy(Path::new(path))).collect();
            // `<slot>: <local> <remote> <state> <sending>:<receiving>`, the queues in hexadecimal.
            let holds = |line: &&str| {
                let sending = line.split_whitespace().nth(4).and_then(|it| it.split(':').next());
                sending.is_some_and(|it| u32::from_str_radix(it, 16).is_ok_and(|bytes| bytes > 0))
            };
            let left: Vec<_> = text.lines().filter(holds).collect();
            if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
        })
        .await;
    }

    fn namespace(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.keeper.pid()))
    }

    fn cable(&self) -> String {
        format!("cable{}", self.number)
    }

    fn address(&self) -> String {
        format!("10.245.{}.2", self.number)
    }

    fn address_outside(&self) -> String {
        format!("10.245.{}.1", self.number)
    }
}

fn run(program: &str, args: &str) {
    let output = Command::new(program).args(args.split(' ')).output();
    let output = output.unwrap_or_else(|error| panic!("run {program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args}: {}", said.trim());
}

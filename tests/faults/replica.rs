// SPDX-License-Identifier: Apache-2.0
//! A replica: a manager behind a proxy of its own, in one process after the other.

use std::time::Duration;

use parking_lot::Mutex;

use crate::support::{
    ControlPlane,
    manager::{Launch, Manager},
    toxiproxy::{Proxy, Toxiproxy},
    wait::within_deadline,
};

const ARGS: [&str; 3] = ["--probe-loops", "--disable-webhook", "--sync-period=2s"];
/// `--graceful-shutdown-timeout` and a moment.
const STOP: Duration = Duration::from_secs(12);

/// A replica of the manager.
#[derive(Debug)]
pub(crate) struct Replica {
    /// Its way to the API server.
    pub(crate) proxy: Proxy,
    launch: Launch,
    manager: Mutex<Manager>,
}

impl Replica {
    /// Starts its first process.
    pub(crate) async fn start(plane: &ControlPlane, toxiproxy: &Toxiproxy) -> Self {
        let proxy = toxiproxy.proxy(plane.port()).await;
        let launch = Launch::through(plane, proxy.port(), &ARGS).await;
        let manager = launch.start();
        manager.wait_ready().await;
        let manager = Mutex::new(manager);
        Self { proxy, launch, manager }
    }

    /// Does something with its present process.
    pub(crate) fn with<T>(&self, what: impl FnOnce(&Manager) -> T) -> T {
        what(&self.manager.lock())
    }

    /// A new process in place of the present one, which is killed if it still runs: another pod, as a
    /// Deployment makes one.
    pub(crate) fn restart(&self, plane: &ControlPlane) {
        let pod_name = format!("manager-{}", plane.next_number());
        let log = plane.new_path(&format!("{pod_name}.log"));
        *self.manager.lock() = Launch { pod_name, log, ..self.launch.clone() }.start();
    }

    /// Waits for the end of the present process after SIGTERM, and answers its exit code.
    pub(crate) async fn wait_exit(&self) -> Result<Option<i32>, String> {
        let status = within_deadline(STOP, async || {
            self.with(Manager::exit_status).ok_or_else(|| "it runs".to_owned())
        });
        status.await.map(|it| it.code())
    }
}

// SPDX-License-Identifier: Apache-2.0
//! A replica: a manager behind a proxy and in a network of its own, in one process after the other.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use parking_lot::Mutex;

use crate::{
    Settings,
    support::{
        ControlPlane,
        manager::{Launch, Manager},
        network::Network,
        proxy,
        toxiproxy::{Proxy, Toxiproxy},
        wait::within_deadline,
    },
};

/// `--graceful-shutdown-timeout` and a moment.
const STOP: Duration = Duration::from_secs(12);

/// A replica of the manager.
#[derive(Debug)]
pub(crate) struct Replica {
    /// Its way to the API server.
    pub(crate) proxy: Proxy,
    /// On that way, one replica has a proxy that can tell requests from each other.
    pub(crate) http: Option<proxy::Proxy>,
    /// Where its processes run.
    pub(crate) network: Network,
    launch: Launch,
    manager: Mutex<Manager>,
    clock: PathBuf,
}

impl Replica {
    /// Starts its first process.
    pub(crate) async fn start(
        plane: &ControlPlane,
        toxiproxy: &Toxiproxy,
        settings: &Settings,
        with_http: bool,
    ) -> Self {
        let http = if with_http { Some(proxy::Proxy::start(plane).await) } else { None };
        let upstream = http.as_ref().map_or_else(|| plane.port(), proxy::Proxy::port);
        let toxic = toxiproxy.proxy(upstream).await;
        let args: Vec<String> = settings.args();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut launch = match &http {
            Some(http) => {
                let kubeconfig = http.manager_kubeconfig(plane).await;
                redirect(&kubeconfig, http.port(), toxic.port());
                Launch { kubeconfig, ..Launch::new(plane, &args).await }
            }
            None => Launch::through(plane, toxic.port(), &args).await,
        };
        let clock = plane.new_path("clock");
        std::fs::write(&clock, "+0").expect("write the clock's offset");
        if let Some(library) = &settings.faketime {
            let file = clock.display().to_string();
            let variables = [("FAKETIME_TIMESTAMP_FILE", file.as_str()), ("FAKETIME_CACHE_DURATION", "1")];
            launch = launch.with_faketime(library, &variables);
        }
        let network = Network::new(plane).await;
        let launch = network.hosts(plane, launch);
        let manager = launch.start();
        manager.wait_ready().await;
        let manager = Mutex::new(manager);
        Self { proxy: toxic, http, network, launch, manager, clock }
    }

    /// Does something with its present process.
    pub(crate) fn with<T>(&self, what: impl FnOnce(&Manager) -> T) -> T {
        what(&self.manager.lock())
    }

    /// Moves its wall clock by `offset`, such as `+3600`.
    pub(crate) fn set_clock(&self, offset: &str) {
        // Another file in its place: it is never seen half-written.
        let next = self.clock.with_extension("next");
        std::fs::write(&next, offset).expect("write the clock's offset");
        std::fs::rename(&next, &self.clock).expect("replace the clock's offset");
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

/// Another port of 127.0.0.1 in a kubeconfig.
fn redirect(kubeconfig: &Path, from: u16, to: u16) {
    let text = std::fs::read_to_string(kubeconfig).expect("the kubeconfig was just written");
    let other = text.replace(&format!("127.0.0.1:{from}"), &format!("127.0.0.1:{to}"));
    assert_ne!(text, other, "the kubeconfig names the proxy");
    std::fs::write(kubeconfig, other).expect("write the kubeconfig");
}

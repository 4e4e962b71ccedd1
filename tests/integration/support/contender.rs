// SPDX-License-Identifier: Apache-2.0
//! `dev/leasecontender`: a candidate that elects with client-go, as Go managers do.

use std::{path::Path, time::Duration};

use super::{ControlPlane, install::NAMESPACE, process::Process, tools::own_program, wait::eventually};

/// One candidate. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Contender {
    /// Its process.
    pub(crate) process: Process,
    /// Its name in the Lease.
    pub(crate) identity: String,
}

impl Contender {
    /// Stands for this Lease as the manager's user, with client-go's usual durations unless `more` says
    /// otherwise.
    pub(crate) async fn start_on(plane: &ControlPlane, lease: &str, more: &[String]) -> Self {
        Self::start_as(plane, &plane.manager_kubeconfig().await, lease, more)
    }

    /// Stands for this Lease as the user of a kubeconfig.
    pub(crate) fn start_as(plane: &ControlPlane, kubeconfig: &Path, lease: &str, more: &[String]) -> Self {
        let identity = format!("go-{}", plane.next_number());
        let mut args = vec![
            format!("-kubeconfig={}", kubeconfig.display()),
            format!("-namespace={NAMESPACE}"),
            format!("-lease={lease}"),
            format!("-identity={identity}"),
        ];
        args.extend_from_slice(more);
        let log = plane.new_path(&format!("{identity}.log"));
        let process =
            Process::spawn(&own_program("leasecontender"), args, &[], &log).expect("start client-go");
        Self { process, identity }
    }

    /// Whether it printed that line.
    pub(crate) fn said(&self, what: &str) -> bool {
        self.process.output().lines().any(|line| line == what)
    }

    /// Waits until it has printed that line.
    pub(crate) async fn wait_until_it_says(&self, within: Duration, what: &str) {
        eventually(within, &format!("{} says {what:?}", self.identity), async || {
            if self.said(what) { Ok(()) } else { Err(self.process.last_lines(10)) }
        })
        .await;
    }
}

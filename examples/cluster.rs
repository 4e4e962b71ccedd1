// SPDX-License-Identifier: Apache-2.0
//! `make cluster`: a control plane with the manager's CRDs and roles, and a shell in it.
//!
//! With arguments it runs these as a command instead of the shell and passes on the exit code: `make cluster
//! CMD="kubectl get crd"`. Everything ends with the shell.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::{
    ffi::OsString,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};
use support::{ControlPlane, Options, manager, tools};

#[path = "../tests/integration/support/mod.rs"]
mod support;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let mut command = std::env::args_os().skip(1);
    let interactive = command.len() == 0;
    let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
    let program = command.next().unwrap_or(shell);

    eprintln!("starting etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kwok ...");
    let plane = ControlPlane::start(Options::full()).await;
    eprintln!("installing CRDs, roles and the Deployment of the manager ...");
    plane.install_manager().await;
    if interactive {
        println!("{}", greeting(&plane));
    }
    let mut child = Command::new(&program);
    child.args(command).env("KUBECONFIG", plane.admin_kubeconfig()).env("PATH", search_path()?);
    let mut running = tokio::task::spawn_blocking(move || child.status());
    let status = loop {
        tokio::select! {
            status = &mut running => break status?,
            // Ctrl-C is for the shell's programs: it reaches this process too where the shell has no job
            // control.
            caught = tokio::signal::ctrl_c() => caught.context("watch for Ctrl-C")?,
        }
    };
    let status = status.with_context(|| format!("run {}", Path::new(&program).display()))?;
    // The last command of a session at the keyboard may have failed; the session has not.
    let code = if interactive { 0 } else { status.code().unwrap_or(1) };
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

fn greeting(plane: &ControlPlane) -> String {
    let manager = manager::binary();
    let dir = plane.dir().display();
    format!(
        "\nA control plane of your own. KUBECONFIG is set; everything ends with this shell.\n\n  \
         kubectl get deployments,pods -A      what there is; kwok pretends to run the pods\n  \
         {manager} --help\n  \
         {manager} leases                     who holds which Lease\n  \
         {dir}      logs; audit.log tells who asked for what\n",
        manager = manager.display(),
    )
}

/// Our kubectl before any other.
fn search_path() -> Result<OsString> {
    let folder = tools::program("kubectl").parent().map(Path::to_owned).context("a folder of programs")?;
    let own = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(folder).chain(std::env::split_paths(&own));
    std::env::join_paths(all).context("join the search path")
}

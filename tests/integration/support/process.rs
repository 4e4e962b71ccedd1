// SPDX-License-Identifier: Apache-2.0
//! A child process that writes into a log file and ends with its owner.

use std::{
    ffi::OsStr,
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use parking_lot::Mutex;
pub(crate) use rustix::process::Signal;

use super::wait::within_deadline;

/// A running program. Dropping it kills it (SIGKILL) and waits for its end.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    pid: u32,
    child: Mutex<Child>,
    log: PathBuf,
}

impl Process {
    /// Starts `program`; what it prints is appended to the file `log`. `env` is added to our own environment.
    pub(crate) fn spawn<A, S>(program: &Path, args: A, env: &[(&str, String)], log: &Path) -> Result<Self>
    where
        A: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let out = open_log(log)?;
        let child = Command::new(program)
            .args(args)
            .envs(env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(out.try_clone().context("share the log file")?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        Ok(Self { name, pid: child.id(), child: Mutex::new(child), log: log.to_owned() })
    }

    /// The program's file name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, as the sandbox sees it.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The file into which it prints.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended; `None` while it runs.
    pub(crate) fn exit_status(&self) -> Option<ExitStatus> {
        self.child.lock().try_wait().ok().flatten()
    }

    /// Waits for its end; `None` when `within` passes first.
    pub(crate) async fn wait_exit(&self, within: Duration) -> Option<ExitStatus> {
        within_deadline(within, async || self.exit_status().ok_or_else(|| "it runs".to_owned())).await.ok()
    }

    /// Sends a signal; nothing happens when it has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        let mut child = self.child.lock();
        // Not after its end has been collected: the number may belong to another process by then.
        if matches!(child.try_wait(), Ok(None)) {
            let pid = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(pid, signal)
                .unwrap_or_else(|error| panic!("send a signal to {}: {error}", self.name));
        }
    }

    /// Kills it and waits for its end.
    pub(crate) fn kill(&self) {
        let mut child = self.child.lock();
        // Fails only when it has ended already.
        drop(child.kill());
        drop(child.wait());
    }

    /// Everything that it has printed.
    pub(crate) fn output(&self) -> String {
        read_lossy(&self.log)
    }

    /// The last `count` lines that it printed.
    pub(crate) fn last_lines(&self, count: usize) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(count)..).unwrap_or_default();
        tail.iter().map(|line| format!("  {}: {line}", self.name)).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A file's text, with replacement characters where it is not UTF-8; empty when it cannot be read.
pub(crate) fn read_lossy(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn open_log(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("open {}", path.display()))
}

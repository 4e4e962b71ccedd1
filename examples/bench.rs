// SPDX-License-Identifier: Apache-2.0
//! `make bench`: figures of this build, or of another manager by `MANAGER=path`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use bench::{Figure, megabytes};
use support::{
    ControlPlane, Options, eventually,
    holders::holders,
    install::NAMESPACE,
    manager::{self, Launch},
    usage,
    wait::instant,
};

#[path = "../tests/bench/mod.rs"]
mod bench;
#[path = "../tests/integration/support/mod.rs"]
mod support;

/// Flags that the Go manager has as well.
const ARGS: [&str; 2] = ["--leader-elect", "--disable-webhook"];

#[tokio::main]
async fn main() -> Result<()> {
    let binary = std::env::var_os("MANAGER").filter(|it| !it.is_empty());
    let binary = binary.map_or_else(manager::binary, PathBuf::from);
    let size = std::fs::metadata(&binary).with_context(|| format!("look at {}", binary.display()))?.len();
    let mut figures = vec![Figure::new("binary", megabytes(size), "≤ 20 MB")];

    eprintln!("bench: empty cluster ...");
    let plane = ControlPlane::start(Options::bare()).await;
    plane.install_manager().await;
    empty_cluster(&plane, &binary, &mut figures).await?;

    println!("{}", bench::table(&figures));
    Ok(())
}

/// Start, and memory at rest, with nothing to do.
async fn empty_cluster(plane: &ControlPlane, binary: &Path, figures: &mut Vec<Figure>) -> Result<()> {
    let client = plane.client().await;
    let mut launch = Launch::new(plane, &ARGS).await;
    launch.binary = Some(binary.to_owned());
    let start = instant();
    let manager = launch.start();
    eventually(Duration::from_mins(1), "some Lease is held", async || {
        let all = holders(&client, NAMESPACE).await.map_err(|error| error.to_string())?;
        if all.values().any(|holder| !holder.is_empty()) { Ok(()) } else { Err(manager.log()) }
    })
    .await;
    figures.push(Figure::new(
        "start → leading",
        format!("{:.2} s", start.elapsed().as_secs_f64()),
        "≤ 0.3 s",
    ));
    tokio::time::sleep(Duration::from_secs(15)).await;
    let used = usage::of(manager.pid()).context("the manager has ended")?;
    figures.push(Figure::new("RSS, empty cluster", megabytes(used.resident_bytes), "≤ 20 MB"));
    Ok(())
}

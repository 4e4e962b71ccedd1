// SPDX-License-Identifier: Apache-2.0
//! `make bench`: figures of the release binary, or of another manager by `MANAGER=path`.
//!
//! Arguments name the measurements to take: all without one, and `--list` tells the names. This program
//! needs the test kit; the binary that is measured is another build, without it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use bench::{ALL, Measurement, subject::Subject};

#[path = "../tests/bench/mod.rs"]
mod bench;
#[path = "../tests/integration/support/mod.rs"]
mod support;

#[tokio::main]
async fn main() -> Result<()> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    if names.iter().any(|it| it == "--list") {
        for Measurement { name, about, .. } in &ALL {
            println!("{name:<14} {about}");
        }
        return Ok(());
    }
    if let Some(unknown) = names.iter().find(|name| !ALL.iter().any(|it| it.name == **name)) {
        bail!("there is no measurement {unknown}: --list tells the names");
    }
    let manager = std::env::var_os("MANAGER").filter(|it| !it.is_empty()).map(PathBuf::from);
    let binary = manager.map_or_else(release_binary, Ok)?;
    ensure!(binary.is_file(), "there is no manager at {}", binary.display());
    let binary = std::path::absolute(&binary)?;
    eprintln!("bench: {}", binary.display());
    let subject = Subject { binary };
    let (mut figures, mut failures) = (Vec::new(), Vec::new());
    for measurement in ALL.iter().filter(|it| names.is_empty() || names.iter().any(|name| name == it.name)) {
        eprintln!("bench: {}: {}", measurement.name, measurement.about);
        // One that fails must not cost the figures of the others.
        match measurement.run(&subject).await {
            Ok(more) => {
                eprintln!("{}", bench::table(&more));
                figures.extend(more);
            }
            Err(error) => failures.push(format!("{}: {error:#}", measurement.name)),
        }
    }
    println!("{}", bench::table(&figures));
    ensure!(failures.is_empty(), "not measured:\n{}", failures.join("\n"));
    Ok(())
}

/// The manager of `cargo build --release --bins`, in the same target folder as this program:
/// `<target>/<profile>/examples/bench`.
fn release_binary() -> Result<PathBuf> {
    let own = std::env::current_exe().context("find this program")?;
    let target =
        own.ancestors().nth(3).map(Path::to_path_buf).context("an example lies three folders deep")?;
    Ok(target.join("release/aibrix-controller-manager"))
}

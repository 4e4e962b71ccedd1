// SPDX-License-Identifier: Apache-2.0
//! The manager's binary: parse, run, exit code.

use std::process::ExitCode;

use aibrix_controller_manager::{app, cli, crds};

fn main() -> ExitCode {
    let wiring = cli::Wiring { run: app::run, crds };
    cli::start(std::env::args_os().skip(1), wiring)
}
